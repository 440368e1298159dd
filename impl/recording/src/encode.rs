//! Writing records: into one buffer, without an allocation for most.

use protocol::{
    Message,
    peer::{ClientRequest, Input, Op, Packet, Request},
};
use serde::Serialize;
use spec::{ServerId, Zxid};
use tree::{Identity, Tree};

use crate::{
    codec::{put, put_identities, put_write, zigzag},
    record::{Before, Boot, Checkpoint, LinkMark, Other, RUN_MAX, TreeMark, kind},
};

/// A record as postcard has it is not longer than this: what does not fit is left out, and that shows.
const RECORD_MAX: usize = 8 << 20;

/// Fills a chunk.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    before: Before,
    /// What was written last, as long as the next may be one more of it.
    run: Option<Run>,
    /// A record was too long.
    incomplete: bool,
    /// Servers that record what they send: their packets are named, and not copied.
    recording: Vec<ServerId>,
}

/// Records of a kind whose numbers follow one another.
#[derive(Clone, Copy, Debug)]
struct Run {
    kind: u8,
    whose: u64,
    first: u64,
    /// How many stand behind the first.
    more: u64,
}

/// How an input was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// As any other.
    Plainly,
    /// It collects the sessions that were touched: whether a client was heard of counts anew from here on.
    Collecting,
}

/// Takes what postcard writes, up to a length.
struct Bounded {
    buffer: Vec<u8>,
    length_max: usize,
}

impl postcard::ser_flavors::Flavor for Bounded {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.buffer.len() + bytes.len() > self.length_max {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.buffer)
    }
}

impl Encoder {
    /// How many bytes the chunk has.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is in the chunk.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.run.is_none()
    }

    /// Takes the chunk and goes on with an empty one in `next`. None if something of it was left out.
    pub fn take(&mut self, next: Vec<u8>) -> Option<Vec<u8>> {
        self.close();
        self.before = Before::default();
        let chunk = std::mem::replace(&mut self.buffer, next);
        (!std::mem::take(&mut self.incomplete)).then_some(chunk)
    }

    #[inline]
    fn number(&mut self, value: u64) {
        put(&mut self.buffer, value);
    }

    #[inline]
    fn step(&mut self, value: u64, place: impl Fn(&mut Before) -> &mut u64) {
        let before = place(&mut self.before);
        let difference = value.wrapping_sub(*before);
        *before = value;
        self.number(zigzag(difference.cast_signed()));
    }

    /// A record of this kind begins.
    #[inline]
    fn begin(&mut self, kind: u8) {
        self.close();
        self.buffer.push(kind);
    }

    /// One more of a kind: the next number of a run costs no byte.
    #[inline]
    fn one_of(&mut self, kind: u8, whose: u64, number: u64) {
        if let Some(run) = &mut self.run
            && run.kind == kind
            && run.whose == whose
            && run.first.wrapping_add(run.more + 1) == number
            && run.more + 1 < RUN_MAX
        {
            run.more += 1;
            return;
        }
        self.close();
        self.run = Some(Run { kind, whose, first: number, more: 0 });
    }

    /// Writes the run that is over.
    #[inline]
    fn close(&mut self) {
        let Some(Run { kind, whose, first, more }) = self.run.take() else { return };
        self.buffer.push(kind);
        match kind {
            kind::DONE => {}
            kind::WRITE => self.step(whose, |before| &mut before.client),
            _ => self.number(whose),
        }
        self.step(first, |before| &mut before.runs[usize::from(kind)]);
        self.number(more);
        self.before.runs[usize::from(kind)] = first.wrapping_add(more);
    }

    fn value(&mut self, kind: u8, value: &impl Serialize) {
        self.begin(kind);
        let buffer = std::mem::take(&mut self.buffer);
        let length_max = buffer.len() + RECORD_MAX;
        self.buffer =
            postcard::serialize_with_flavor(value, Bounded { buffer, length_max }).unwrap_or_default();
        self.incomplete |= self.buffer.is_empty();
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
        self.begin(kind::TURN);
        self.step(at_us, |before| &mut before.turn);
    }

    /// The actor is told something; `learning` if what a client writes only goes on to the leader.
    #[inline]
    pub fn input(&mut self, input: &Input<Tree>, learning: bool) -> Writes {
        match input {
            Input::ClientRequest { client, xid, request: ClientRequest::Write(_), .. } if learning => {
                self.one_of(kind::WRITE, client.0, u64::from(xid.cast_unsigned()));
                Writes::Plainly
            }
            Input::ClientRequest { client, xid, request: ClientRequest::Write(write), time } => {
                self.begin(kind::ASKED);
                self.step(client.0, |before| &mut before.client);
                self.step(u64::from(xid.cast_unsigned()), |before| &mut before.xid);
                self.step(time.cast_unsigned(), |before| &mut before.time);
                put_write(&mut self.buffer, write);
                Writes::Plainly
            }
            Input::Done(ticket) => {
                self.one_of(kind::DONE, 0, ticket.0.into());
                Writes::Plainly
            }
            Input::Packet { from, packet, time } => self.packet(*from, packet, *time, input),
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

    fn packet(&mut self, from: ServerId, packet: &Packet<Tree>, time: i64, input: &Input<Tree>) -> Writes {
        match packet {
            Packet::Zab(Message::Proposal { zxid, .. }) if self.recording.contains(&from) => {
                self.one_of(kind::PROPOSAL, from.0, zxid.0);
            }
            Packet::Zab(Message::Inform { zxid, .. }) if self.recording.contains(&from) => {
                self.one_of(kind::INFORM, from.0, zxid.0);
            }
            Packet::Zab(Message::Commit { zxid }) => self.one_of(kind::COMMIT, from.0, zxid.0),
            Packet::Zab(Message::Ack { zxid }) => self.one_of(kind::ACK, from.0, zxid.0),
            Packet::Request(Request { session, xid, identities, op: Op::Write(write) }) => {
                self.begin(kind::REQUEST);
                self.number(from.0);
                self.step(session.0.cast_unsigned(), |before| &mut before.session);
                self.step(u64::from(xid.cast_unsigned()), |before| &mut before.xid);
                self.step(time.cast_unsigned(), |before| &mut before.time);
                let other = self.before.identities != *identities;
                self.buffer.push(u8::from(other));
                if other {
                    put_identities(&mut self.buffer, identities);
                    // Copies: a part of what was received would keep all of it.
                    let copy = |identity: &Identity| Identity {
                        scheme: identity.scheme.detached(),
                        id: identity.id.detached(),
                    };
                    self.before.identities = identities.iter().map(copy).collect();
                }
                put_write(&mut self.buffer, write);
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

    /// The digest of what was told and asked for.
    #[inline]
    pub fn told(&mut self, short: u32) {
        self.begin(kind::TOLD);
        self.buffer.extend_from_slice(&short.to_le_bytes());
    }

    /// The state as it is.
    pub fn state(&mut self, last: Zxid, digest: i64) {
        self.begin(kind::STATE);
        self.step(last.0, |before| &mut before.state);
        self.number(zigzag(digest));
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
        self.begin(kind::END);
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
        let chunk = encoder.take(Vec::new()).expect("whole");
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
        let chunk = encoder.take(Vec::new()).expect("whole");
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
