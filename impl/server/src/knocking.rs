//! Who shakes hands with this server: so many at a time, and whoever comes next always may.
//!
//! A handshake takes some milliseconds; who is silent holds a place for seconds. So where a place is missing, the oldest
//! one gives way, of the host that has most: to keep others out takes more than to connect and say nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use rustc_hash::FxHashMap;

use crate::net::plain_ip;

/// How many may shake hands at a time: each holds a few ten kilobytes meanwhile.
const PLACES_MAX: usize = 1000;
/// How many of them may be of one host.
const PLACES_OF_HOST_MAX: usize = PLACES_MAX / 2;

/// Those who shake hands, each with what it takes to end that, once there is something to end.
#[derive(Debug)]
pub(crate) struct Knocking<T> {
    taken: BTreeMap<u64, (SocketAddr, Option<T>)>,
    hosts: FxHashMap<IpAddr, usize>,
    next: u64,
}

impl<T> Default for Knocking<T> {
    fn default() -> Self {
        Self { taken: BTreeMap::new(), hosts: FxHashMap::default(), next: 0 }
    }
}

impl<T> Knocking<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.taken.len()
    }

    /// Somebody comes: its place, and who gives way to it, if one has to.
    pub(crate) fn enter(&mut self, from: SocketAddr) -> (u64, Option<(SocketAddr, Option<T>)>) {
        let gone = self.crowded(host(from)).and_then(|crowded| {
            let oldest = self.taken.iter().find(|(_, (address, _))| host(*address) == crowded);
            let place = *oldest?.0;
            self.leave(place)
        });
        let place = self.next;
        self.next += 1;
        self.taken.insert(place, (from, None));
        *self.hosts.entry(host(from)).or_default() += 1;
        (place, gone)
    }

    /// The host of which somebody has to give way to one more of this one.
    fn crowded(&self, newcomer: IpAddr) -> Option<IpAddr> {
        if self.hosts.get(&newcomer).is_some_and(|count| *count >= PLACES_OF_HOST_MAX) {
            return Some(newcomer);
        }
        let full = self.taken.len() >= PLACES_MAX;
        let most = full.then(|| self.hosts.iter().max_by_key(|(host, count)| (**count, **host)));
        most.flatten().map(|(host, _)| *host)
    }

    /// What ends the handshake of this place.
    pub(crate) fn hold(&mut self, place: u64, end: T) {
        if let Some((_, held)) = self.taken.get_mut(&place) {
            *held = Some(end);
        }
    }

    /// Hands are shaken, or will not be: whose place that was, if it has not given it up already.
    pub(crate) fn leave(&mut self, place: u64) -> Option<(SocketAddr, Option<T>)> {
        let left = self.taken.remove(&place)?;
        let host = host(left.0);
        match self.hosts.get_mut(&host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.hosts.remove(&host);
            }
        }
        Some(left)
    }
}

/// The address; of IPv6 the network, for a host has as many addresses there as it likes.
fn host(address: SocketAddr) -> IpAddr {
    match plain_ip(address) {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8, port: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], u16::try_from(port).expect("few")))
    }

    fn enter(knocking: &mut Knocking<()>, from: SocketAddr) -> Option<SocketAddr> {
        knocking.enter(from).1.map(|(gone, _)| gone)
    }

    #[test]
    fn the_oldest_of_the_host_that_has_most_gives_way() {
        let mut knocking = Knocking::default();
        for port in 0..PLACES_OF_HOST_MAX {
            assert_eq!(enter(&mut knocking, address(1, port)), None);
        }
        assert_eq!(enter(&mut knocking, address(1, 9000)), Some(address(1, 0)), "one of its own");
        for port in 0..PLACES_MAX - PLACES_OF_HOST_MAX {
            assert_eq!(enter(&mut knocking, address(2 + u8::from(port % 2 == 0), port)), None);
        }
        assert_eq!(knocking.len(), PLACES_MAX);
        assert_eq!(enter(&mut knocking, address(4, 1)), Some(address(1, 1)));
        assert_eq!(enter(&mut knocking, address(5, 1)), Some(address(1, 2)));
        assert_eq!(knocking.len(), PLACES_MAX);
    }

    #[test]
    fn a_place_is_left_once() {
        let mut knocking = Knocking::default();
        let (place, _) = knocking.enter(address(1, 1));
        knocking.hold(place, 'a');
        assert_eq!(knocking.leave(place), Some((address(1, 1), Some('a'))));
        assert_eq!(knocking.leave(place), None);
        knocking.hold(place, 'b');
        assert!(knocking.len() == 0 && knocking.hosts.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_host() {
        let of = |text: &str| host(SocketAddr::new(text.parse().expect("an address"), 1));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
