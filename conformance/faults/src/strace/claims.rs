//! What servers say to each other and to clients, as far as it rests on a disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::trace::{Act, Call};

/// Something said that must be durable first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Claim {
    /// ACK, ACKEPOCH or a vote for itself: this transaction is durable here.
    Logged(i64),
    /// LEADERINFO, or the ACKEPOCH that answers it: this epoch is promised here.
    Promised(i64),
    /// ACK of NEWLEADER, or ACKEPOCH: this epoch is joined here.
    Joined(i64),
    /// COMMIT, or a reply to a client: this transaction is durable on a quorum.
    Decided(i64),
}

/// A claim, when the last byte of it left, and what it stood in.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) at: u64,
    pub(super) claim: Claim,
    pub(super) by: &'static str,
}

/// Which ports are whose.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    pub(super) client: BTreeSet<u16>,
    pub(super) quorum: BTreeSet<u16>,
    pub(super) election: BTreeSet<u16>,
}

/// A connection as one end sees it.
type Ends = (SocketAddr, SocketAddr);

/// One direction of a connection: all that was sent, and when which part of it left.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Ends of parts with their times.
    parts: Vec<(usize, u64)>,
}

impl Stream {
    /// When the byte before `end` left.
    fn time(&self, end: usize) -> u64 {
        let part = self.parts.partition_point(|(part_end, _)| *part_end < end);
        self.parts.get(part).map_or(u64::MAX, |(_, time)| *time)
    }
}

/// Everything that one server said, by connection.
#[derive(Debug, Default)]
pub(super) struct Speech {
    streams: BTreeMap<Ends, Stream>,
}

impl Speech {
    /// Follows a call. Calls of one connection come in the order of its bytes.
    pub(super) fn follow(&mut self, call: &Call) {
        if let Act::Send { from, to, bytes } = &call.act {
            let stream = self.streams.entry((*from, *to)).or_default();
            stream.bytes.extend_from_slice(bytes);
            stream.parts.push((stream.bytes.len(), call.begin));
        }
    }

    /// The epochs that this server, as leader, announced on each connection, as its other end names it.
    pub(super) fn announced(&self, ports: &Ports) -> BTreeMap<Ends, i64> {
        let mut announced = BTreeMap::new();
        for ((from, to), stream) in
            self.streams.iter().filter(|((from, _), _)| ports.quorum.contains(&from.port()))
        {
            for packet in packets(&stream.bytes) {
                if packet.kind == LEADERINFO {
                    announced.insert((*to, *from), packet.zxid >> 32);
                }
            }
        }
        announced
    }

    /// Every claim of this server, the `me`th; `announced` are the epochs that leaders announced.
    pub(super) fn claims(&self, me: i64, ports: &Ports, announced: &BTreeMap<Ends, i64>) -> Vec<Said> {
        let mut said = Vec::new();
        for (ends, stream) in &self.streams {
            let on = |set: &BTreeSet<u16>| set.contains(&ends.0.port()) || set.contains(&ends.1.port());
            if on(&ports.quorum) {
                quorum_claims(stream, announced.get(ends).copied(), &mut said);
            } else if on(&ports.election) {
                election_claims(stream, me, &mut said);
            } else if ports.client.contains(&ends.0.port()) {
                client_claims(stream, &mut said);
            }
        }
        said
    }
}

const ACK: i32 = 3;
const COMMIT: i32 = 4;
const NEWLEADER: i32 = 10;
const SNAP: i32 = 15;
const LEADERINFO: i32 = 17;
const ACKEPOCH: i32 = 18;

/// A packet between a leader and a learner.
struct Packet {
    kind: i32,
    zxid: i64,
    data: Vec<u8>,
    end: usize,
}

/// The packets of a stream, up to a SNAP: what follows that is no packet.
fn packets(bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut at = 0;
    while let Some(packet) = packet(bytes, at) {
        at = packet.end;
        let over = packet.kind == SNAP;
        packets.push(packet);
        if over {
            break;
        }
    }
    packets
}

fn packet(bytes: &[u8], at: usize) -> Option<Packet> {
    let mut cursor = Cursor { bytes, at };
    let kind = cursor.int()?;
    let zxid = cursor.long()?;
    let data = cursor.buffer()?.to_vec();
    for _ in 0..cursor.int()?.max(0) {
        cursor.buffer()?;
        cursor.buffer()?;
    }
    Some(Packet { kind, zxid, data, end: cursor.at })
}

/// Whether this is the start of an epoch, and no transaction: its counter is 0.
pub(super) fn opens_epoch(zxid: i64) -> bool {
    zxid.trailing_zeros() >= 32
}

fn quorum_claims(stream: &Stream, announced: Option<i64>, said: &mut Vec<Said>) {
    let mut synchronised = false;
    for packet in packets(&stream.bytes) {
        let mut say = |claim, by| said.push(Said { at: stream.time(packet.end), claim, by });
        match packet.kind {
            ACK if opens_epoch(packet.zxid) => say(Claim::Joined(packet.zxid >> 32), "ACK of NEWLEADER"),
            ACK => say(Claim::Logged(packet.zxid), "ACK"),
            NEWLEADER => synchronised = true,
            // Before NEWLEADER, COMMIT only says that a transaction is of the new leader's own history; it is decided
            // with that history, by the ACKs of NEWLEADER.
            COMMIT if synchronised => say(Claim::Decided(packet.zxid), "COMMIT"),
            LEADERINFO => say(Claim::Promised(packet.zxid >> 32), "LEADERINFO"),
            ACKEPOCH => {
                say(Claim::Logged(packet.zxid), "ACKEPOCH");
                if let Some(epoch) = announced {
                    say(Claim::Promised(epoch), "ACKEPOCH");
                }
                let current = packet.data.first_chunk().map(|bytes| i64::from(i32::from_be_bytes(*bytes)));
                if let Some(current) = current.filter(|current| *current > 0) {
                    say(Claim::Joined(current), "ACKEPOCH");
                }
            }
            _ => {}
        }
    }
}

/// A vote for itself that a server sends while it looks for a leader says what its log holds.
fn election_claims(stream: &Stream, me: i64, said: &mut Vec<Said>) {
    let mut cursor = Cursor { bytes: &stream.bytes, at: 0 };
    // A dialler begins with a version below zero, its id and its address.
    if stream.bytes.first().is_some_and(|byte| *byte >= 0x80)
        && (cursor.long().is_none() || cursor.long().is_none() || cursor.buffer().is_none())
    {
        return;
    }
    while let Some(message) = cursor.buffer() {
        let mut fields = Cursor { bytes: message, at: 0 };
        if let (Some(0), Some(leader), Some(zxid)) = (fields.int(), fields.long(), fields.long())
            && leader == me
        {
            said.push(Said { at: stream.time(cursor.at), claim: Claim::Logged(zxid), by: "vote" });
        }
    }
}

/// Every reply shows a state, and the last transaction of that state is decided.
fn client_claims(stream: &Stream, said: &mut Vec<Said>) {
    let mut cursor = Cursor { bytes: &stream.bytes, at: 0 };
    // The first frame grants the session. What is no such frame is the answer to a four-letter word.
    if cursor.buffer().is_none_or(|grant| grant.len() > 64) {
        return;
    }
    while let Some(reply) = cursor.buffer() {
        let mut fields = Cursor { bytes: reply, at: 0 };
        if let (Some(xid), Some(zxid)) = (fields.int(), fields.long())
            && xid > 0
        {
            said.push(Said { at: stream.time(cursor.at), claim: Claim::Decided(zxid), by: "reply" });
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Bytes behind their length; null is empty.
    fn buffer(&mut self) -> Option<&'a [u8]> {
        match self.int()? {
            -1 => Some(&[]),
            length => self.take(usize::try_from(length).ok()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Encoder;

    fn said(from: u16, to: u16, sends: &[Vec<u8>]) -> Vec<(u64, Claim)> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut speech = Speech::default();
        for (time, bytes) in sends.iter().enumerate() {
            let time = u64::try_from(time).expect("small");
            let act = Act::Send { from: address(from), to: address(to), bytes: bytes.clone() };
            speech.follow(&Call { begin: time, end: time, act });
        }
        let one = |port| BTreeSet::from([port]);
        let ports = Ports { client: one(1), quorum: one(2), election: one(3) };
        let announced = BTreeMap::from([((address(9), address(2)), 5)]);
        speech.claims(2, &ports, &announced).iter().map(|said| (said.at, said.claim)).collect()
    }

    fn packet(kind: i32, zxid: i64, data: &[u8]) -> Vec<u8> {
        Encoder::new().int(kind).long(zxid).bytes(data).int(-1).body()
    }

    #[test]
    fn a_learners_packets_claim_when_their_last_byte_left() {
        let ack = packet(ACK, 5 << 32 | 7, b"");
        let (head, tail) = ack.split_at(9);
        let sends = [packet(ACKEPOCH, 4 << 32 | 1, &4_i32.to_be_bytes()), head.to_vec(), tail.to_vec()];
        assert_eq!(
            said(9, 2, &sends),
            [
                (0, Claim::Logged(4 << 32 | 1)),
                (0, Claim::Promised(5)),
                (0, Claim::Joined(4)),
                (2, Claim::Logged(5 << 32 | 7)),
            ]
        );
        assert_eq!(said(9, 2, &[packet(ACK, 5 << 32, b"")]), [(0, Claim::Joined(5))]);
    }

    #[test]
    fn a_leaders_packets_claim_until_a_snapshot_and_its_commits_from_newleader_on() {
        let newleader = packet(NEWLEADER, 5 << 32, b"");
        let sends =
            [packet(LEADERINFO, 5 << 32, b"1234"), packet(COMMIT, 6, b""), newleader, packet(COMMIT, 7, b"")];
        assert_eq!(said(2, 9, &sends), [(0, Claim::Promised(5)), (3, Claim::Decided(7))]);
        let snap = [packet(LEADERINFO, 5 << 32, b"1234"), packet(SNAP, 7, b""), vec![1; 99]];
        assert_eq!(said(2, 9, &snap), [(0, Claim::Promised(5))]);
    }

    #[test]
    fn a_vote_for_itself_claims_and_another_does_not() {
        let vote = |state, leader| Encoder::new().int(state).long(leader).long(7).long(1).long(1).frame();
        let hello = Encoder::new().long(-65536).long(2).bytes(b"127.0.0.1:3").body();
        assert_eq!(said(9, 3, &[hello, vote(0, 2)]), [(1, Claim::Logged(7))]);
        assert_eq!(said(3, 9, &[vote(0, 2)]), [(0, Claim::Logged(7))]);
        assert!(said(3, 9, &[vote(0, 1), vote(2, 2)]).is_empty());
    }

    #[test]
    fn replies_claim_and_words_do_not() {
        let grant = Encoder::new().int(0).int(4000).long(1).bytes(&[0; 16]).bool(false).frame();
        let reply = |xid| Encoder::new().int(xid).long(7).int(0).frame();
        assert_eq!(said(1, 9, &[grant, reply(1), reply(-2)]), [(1, Claim::Decided(7))]);
        assert!(said(1, 9, &[b"Zookeeper version: 1".to_vec()]).is_empty());
    }
}
