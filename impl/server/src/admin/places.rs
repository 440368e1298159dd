//! Which connections of the admin server are served: few, and a new one always is.
//!
//! Where a place is missing, who has been silent for longest gives up its own: those who do not ask, or do not read, keep
//! nobody else out. Those of one address give way to each other first, so that it takes many addresses to hurt others.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

/// Connections that are served at once.
const PLACES_MAX: usize = 64;
/// Those of them that come from one address.
const PLACES_OF_ADDRESS_MAX: usize = 16;

/// The connections that are served, each with what it takes to end it.
#[derive(Debug)]
pub(super) struct Places<T> {
    taken: BTreeMap<u64, (IpAddr, T)>,
    next: u64,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { taken: BTreeMap::new(), next: 0 }
    }
}

impl<T> Places<T> {
    /// Makes room for a connection from this address: the one that gives up its place for it, if one has to. `heard` says
    /// when something last went on with one.
    pub(super) fn make_room(&mut self, from: IpAddr, heard: impl Fn(&T) -> Instant) -> Option<T> {
        let of_address = self.taken.values().filter(|(address, _)| *address == from).count();
        let is_crowded = of_address >= PLACES_OF_ADDRESS_MAX;
        if !is_crowded && self.taken.len() < PLACES_MAX {
            return None;
        }
        let candidates = self.taken.iter().filter(|(_, (address, _))| !is_crowded || *address == from);
        let (&place, _) = candidates.min_by_key(|(_, (_, connection))| heard(connection))?;
        self.leave(place)
    }

    /// A place that nobody has had.
    pub(super) fn reserve(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives a place to a connection.
    pub(super) fn enter(&mut self, place: u64, from: IpAddr, connection: T) {
        self.taken.insert(place, (from, connection));
    }

    /// Gives a place up, if it is not given up already.
    pub(super) fn leave(&mut self, place: u64) -> Option<T> {
        self.taken.remove(&place).map(|(_, connection)| connection)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Enters connections that were heard of at these moments, each behind the one that gives way to it.
    fn enter(
        places: &mut Places<Instant>,
        host: u8,
        heard: impl IntoIterator<Item = Instant>,
    ) -> Vec<Instant> {
        let from = IpAddr::from([10, 0, 0, host]);
        let enter = |at| {
            let gone = places.make_room(from, |heard| *heard);
            let place = places.reserve();
            places.enter(place, from, at);
            gone
        };
        heard.into_iter().filter_map(enter).collect()
    }

    #[test]
    fn the_longest_silence_gives_way() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut places = Places::default();
        assert_eq!(enter(&mut places, 1, [at(3), at(1), at(2)]), []);
        assert_eq!(enter(&mut places, 2, (10..26).map(at)), []);
        assert_eq!(enter(&mut places, 2, [at(30), at(31)]), [at(10), at(11)], "of the address's own");
        assert_eq!(enter(&mut places, 3, (40..56).map(at)), []);
        assert_eq!(enter(&mut places, 4, (60..76).map(at)), []);
        assert_eq!(enter(&mut places, 5, (80..93).map(at)), []);
        assert_eq!(places.taken.len(), PLACES_MAX);
        assert_eq!(enter(&mut places, 5, [at(95), at(96), at(97)]), [at(1), at(2), at(3)], "of all");
        assert_eq!(enter(&mut places, 5, [at(98)]), [at(80)]);
        let place = *places.taken.keys().next().expect("there is one");
        assert_eq!((places.leave(place), places.leave(place)), (Some(at(12)), None));
        assert_eq!(enter(&mut places, 6, [at(99)]), [], "there is room");
    }
}
