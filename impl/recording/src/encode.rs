//! Writing records: into one buffer, without an allocation for most.

use protocol::{
    Message,
    peer::{ClientRequest, Input, Packet},
};
use serde::Serialize;
use spec::{ServerId, Zxid};
use tree::Tree;

use crate::record::{Before, Boot, Checkpoint, LinkMark, Other, TreeMark, kind};

/// Fills a chunk.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    before: Before,
    /// Servers that record what they send: their packets are named, and not copied.
    recording: Vec<ServerId>,
}

/// How an input was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// As any other.
    Plainly,
    /// It collects the sessions that were touched: whether a client was heard of counts anew from here on.
    Collecting,
}

impl Encoder {
    /// How many bytes the chunk has.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is in the chunk.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the chunk and goes on with an empty one in `next`.
    pub fn take(&mut self, next: Vec<u8>) -> Vec<u8> {
        self.before = Before::default();
        std::mem::replace(&mut self.buffer, next)
    }

    #[inline]
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.buffer.push(value.to_le_bytes()[0]);
    }

    #[inline]
    fn step(&mut self, value: u64, place: impl Fn(&mut Before) -> &mut u64) {
        let before = place(&mut self.before);
        let difference = value.wrapping_sub(*before);
        *before = value;
        self.number((difference << 1) ^ (difference >> 63).wrapping_neg());
    }

    fn value(&mut self, kind: u8, value: &impl Serialize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let length = buffer.len();
        buffer.push(kind);
        // Only what has no known length fails, and nothing here is so; then the record is missing, and that shows.
        self.buffer = postcard::to_extend(value, buffer).unwrap_or_default();
        debug_assert!(self.buffer.len() > length, "every record has an encoding");
    }

    /// The process starts.
    pub fn boot(&mut self, boot: &Boot) {
        self.value(kind::BOOT, boot);
    }

    /// The actor as it is.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.value(kind::CHECKPOINT, checkpoint);
    }

    /// A turn begins.
    #[inline]
    pub fn turn(&mut self, at_us: u64) {
        self.buffer.push(kind::TURN);
        self.step(at_us, |before| &mut before.turn);
    }

    /// The actor is told something; `learning` if what a client writes only goes on to the leader.
    #[inline]
    pub fn input(&mut self, input: &Input<Tree>, learning: bool) -> Writes {
        match input {
            Input::ClientRequest { client, xid, request: ClientRequest::Write(_), .. } if learning => {
                self.buffer.push(kind::WRITE);
                self.step(client.0, |before| &mut before.client);
                // As postcard has a signed number.
                self.number(u64::from(((xid << 1) ^ (xid >> 31)).cast_unsigned()));
                Writes::Plainly
            }
            Input::Done(ticket) => {
                self.buffer.push(kind::DONE);
                self.step(u64::from(ticket.0), |before| &mut before.ticket);
                Writes::Plainly
            }
            Input::Packet { from, packet, .. } => self.packet(*from, packet, input),
            Input::Timer { timer: protocol::Timer::Expiry, .. } => {
                self.value(kind::INPUT, input);
                Writes::Collecting
            }
            Input::Connected(_)
            | Input::Accepted(_)
            | Input::Disconnected(_)
            | Input::Snapshot { .. }
            | Input::Notification { .. }
            | Input::ElectionLinkDown(_)
            | Input::Timer { .. }
            | Input::Located { .. }
            | Input::Reloaded(_)
            | Input::ClientConnect { .. }
            | Input::ClientRequest { .. }
            | Input::ClientClosed(_) => {
                self.value(kind::INPUT, input);
                Writes::Plainly
            }
        }
    }

    fn packet(&mut self, from: ServerId, packet: &Packet<Tree>, input: &Input<Tree>) -> Writes {
        let known = self.recording.contains(&from);
        match packet {
            Packet::Zab(Message::Proposal { zxid, .. }) if known => {
                self.brief(kind::PROPOSAL, from, *zxid, |before| &mut before.proposal);
            }
            Packet::Zab(Message::Commit { zxid }) => {
                self.brief(kind::COMMIT, from, *zxid, |before| &mut before.commit);
            }
            Packet::Zab(Message::Ack { zxid }) => {
                self.brief(kind::ACK, from, *zxid, |before| &mut before.ack);
            }
            Packet::Zab(
                Message::FollowerInfo { extended, .. }
                | Message::ObserverInfo { extended, .. }
                | Message::LeaderInfo { extended, .. },
            ) => {
                self.recording.retain(|server| *server != from);
                if *extended {
                    self.recording.push(from);
                }
                self.value(kind::INPUT, input);
            }
            Packet::Ping { .. } => {
                self.value(kind::INPUT, input);
                return Writes::Collecting;
            }
            Packet::Zab(_)
            | Packet::Request(_)
            | Packet::Sync
            | Packet::Revalidate { .. }
            | Packet::Revalidated { .. } => self.value(kind::INPUT, input),
        }
        Writes::Plainly
    }

    #[inline]
    fn brief(&mut self, kind: u8, from: ServerId, zxid: Zxid, place: impl Fn(&mut Before) -> &mut u64) {
        self.buffer.push(kind);
        self.number(from.0);
        self.step(zxid.0, place);
    }

    /// The digest of what was told and asked for.
    #[inline]
    pub fn told(&mut self, short: u32) {
        self.buffer.push(kind::TOLD);
        self.number(u64::from(short));
    }

    /// The state as it is.
    pub fn state(&mut self, last: Zxid, digest: i64) {
        self.buffer.push(kind::STATE);
        self.step(last.0, |before| &mut before.state);
        // As postcard has a signed number.
        let digest = digest.cast_unsigned();
        self.number((digest << 1) ^ (digest >> 63).wrapping_neg());
    }

    /// The next input is about this link.
    pub fn link(&mut self, link: LinkMark) {
        self.value(kind::OTHER, &Other::Link(link));
    }

    /// The configuration node is set.
    pub fn adorn(&mut self, replaced: bool, text: &[u8], time: i64) {
        self.value(kind::OTHER, &Other::Adorn { replaced, text: text.to_vec(), time });
    }

    /// The next input brings this state.
    pub fn replaced(&mut self, mark: TreeMark) {
        self.value(kind::OTHER, &Other::Replaced(mark));
    }

    /// The process ends in order.
    pub fn end(&mut self) {
        self.buffer.push(kind::END);
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Ticket, Timer};
    use spec::{ClientId, Epoch, SessionId};
    use tree::{Text, Write};

    use super::*;
    use crate::{Brief, Record, Records};

    fn packet(from: u64, message: Message<tree::Txn>) -> Input<Tree> {
        Input::Packet { from: ServerId(from), packet: Packet::Zab(message), time: 7 }
    }

    #[test]
    fn what_is_written_is_read() {
        let zxid = |counter| Zxid::new(Epoch(3), counter);
        let write = Write::Delete { path: Text::from("/a"), version: -1 };
        let request = ClientRequest::Write(write);
        let inputs = [
            packet(2, Message::LeaderInfo { epoch: Epoch(3), extended: true }),
            Input::Done(Ticket(7)),
            Input::Done(Ticket(3)),
            Input::Timer { timer: Timer::Silence(ServerId(2)), time: -5 },
            Input::ClientRequest { client: ClientId(9), xid: -2, request, time: 1 << 41 },
        ];
        let mut encoder = Encoder::default();
        encoder.turn(1_700_000_000_000_000);
        for input in &inputs {
            encoder.input(input, false);
        }
        for counter in [9, 10, 8] {
            encoder.input(&packet(2, Message::Commit { zxid: zxid(counter) }), false);
        }
        encoder.input(&inputs[4], true);
        encoder.state(zxid(9), -77);
        encoder.told(u32::MAX);
        encoder.end();
        let chunk = encoder.take(Vec::new());
        let read: Vec<_> = Records::new(&chunk).collect::<Result<_, _>>().expect("whole");
        let mut expected = vec![Record::Turn(1_700_000_000_000_000)];
        expected.extend(inputs.iter().cloned().map(|input| Record::Input(Box::new(input))));
        expected.extend([9, 10, 8].map(|counter| Record::Brief(ServerId(2), Brief::Commit(zxid(counter)))));
        expected.push(Record::Write { client: ClientId(9), xid: -2 });
        expected.push(Record::State { last: zxid(9), digest: -77 });
        expected.extend([Record::Told(u32::MAX), Record::End]);
        assert_eq!(read, expected);
    }

    #[test]
    fn a_proposal_of_a_server_that_records_is_named_only() {
        let txn = tree::Txn {
            session: SessionId(1),
            cxid: 2,
            time: 3,
            body: tree::TxnBody::Error { code: -1 },
            digest: None,
        };
        let proposal = packet(2, Message::Proposal { zxid: Zxid(5), txn });
        let mut encoder = Encoder::default();
        encoder.input(&proposal, false);
        encoder.input(&packet(2, Message::LeaderInfo { epoch: Epoch(3), extended: true }), false);
        encoder.input(&proposal, false);
        let chunk = encoder.take(Vec::new());
        let read: Vec<_> = Records::new(&chunk).collect::<Result<_, _>>().expect("whole");
        assert_eq!(read[0], Record::Input(Box::new(proposal)));
        assert_eq!(read[2], Record::Brief(ServerId(2), Brief::Proposal(Zxid(5))));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 33).to_le_bytes()[0] & if seed & 1 == 0 { 0x0f } else { 0xff }
                })
                .collect();
            for record in Records::new(&bytes) {
                drop(record);
            }
        }
    }
}
