//! What the link of a learner has carried, as the command `observers` tells it.
//!
//! Source: ZooKeeper `LearnerHandler.getLearnerHandlerInfo`.

use std::net::SocketAddr;

use protocol::Quorum;
use spec::{ServerId, Zxid};

use super::Links;
use crate::net::plain_ip;

/// Where a packet has its zxid, behind its type.
const ZXID: std::ops::Range<usize> = 4..12;

/// What came and went on one link, in packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// When the link came up, in milliseconds since 1970.
    pub(crate) established: i64,
    /// What came.
    pub(crate) received: u64,
    /// What was handed to the socket, or waits for it.
    pub(crate) sent: u64,
    /// What of it waits: all that came behind the last moment at which nothing did.
    pub(crate) queued: u64,
    /// What came that asks for a transaction or a sync.
    pub(crate) requests: u64,
    /// The zxid of the last packet that was sent and has one.
    pub(crate) last: Option<Zxid>,
}

impl Traffic {
    /// This packet goes.
    pub(super) fn goes(&mut self, packet: &[u8]) {
        self.sent += 1;
        self.queued += 1;
        let zxid = packet.get(ZXID).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        self.last = zxid.filter(|zxid| *zxid > 0).map(|zxid| Zxid(zxid.cast_unsigned())).or(self.last);
    }

    /// A packet has come.
    pub(super) fn came(&mut self, is_request: bool) {
        self.received += 1;
        self.requests += u64::from(is_request);
    }
}

/// One observer at a leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObserverLink {
    /// Which server it is.
    pub(crate) id: ServerId,
    /// Where it dialled from, if the socket still knows.
    pub(crate) address: Option<SocketAddr>,
    /// What its link has carried.
    pub(crate) traffic: Traffic,
    /// How many bytes of packets wait.
    pub(crate) queued_bytes: usize,
    /// Whether it is brought up to date.
    pub(crate) synced: bool,
}

impl Links {
    /// The observers that have dialled this server.
    pub(crate) fn observers(&self, quorum: &Quorum) -> Vec<ObserverLink> {
        let dialled = self.table.iter().filter(|(id, link)| link.accepted && !quorum.is_voter(**id));
        let row = |(id, link): (&ServerId, &super::Link)| ObserverLink {
            id: *id,
            address: link
                .writer
                .as_ref()
                .and_then(|writer| writer.tcp().peer_addr().ok())
                .map(|from| SocketAddr::new(plain_ip(from), from.port())),
            traffic: link.traffic,
            queued_bytes: link.packet_bytes,
            synced: link.synced,
        };
        dialled.map(row).collect()
    }

    /// Counts the packets of observers anew.
    pub(crate) fn reset_observers(&mut self, quorum: &Quorum) {
        for (_, link) in self.table.iter_mut().filter(|(id, _)| !quorum.is_voter(**id)) {
            let Traffic { established, queued, .. } = link.traffic;
            link.traffic = Traffic { established, queued, ..Traffic::default() };
        }
    }

    /// A packet has come on the link with that server.
    pub(super) fn came(&mut self, from: ServerId, is_request: bool) {
        if let Some(link) = self.table.get_mut(&from) {
            link.traffic.came(is_request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_and_the_last_zxid_is_kept() {
        let mut traffic = Traffic::default();
        let packet = |zxid: i64| [&2_i32.to_be_bytes()[..], &zxid.to_be_bytes()[..], &[0; 8]].concat();
        traffic.goes(&packet(0x1_0000_0005));
        traffic.goes(&packet(-1));
        traffic.goes(b"short");
        traffic.came(true);
        traffic.came(false);
        assert_eq!((traffic.sent, traffic.queued), (3, 3));
        assert_eq!((traffic.received, traffic.requests), (2, 1));
        assert_eq!(traffic.last, Some(Zxid(0x1_0000_0005)));
    }
}
