//! A running digest of what an actor asks for.

use protocol::{
    Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Packet},
};
use serde::{Deserialize, Serialize};
use spec::{ClientId, Epoch, ServerId, SessionId, Zxid};
use tree::{Tree, Txn};

/// A digest over everything that an actor has been told and has asked for, in order: equal ones are, by all odds,
/// equal runs. It covers what an effect is and whom and which place it names; the content of transactions shows in the
/// digest of the state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Told {
    digest: u64,
    /// How often the actor was told something. It goes into the digest with what is asked for.
    inputs: u64,
}

/// Odd, and its bits look random.
const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

fn timer(timer: Timer) -> u64 {
    match timer {
        Timer::Establish => 0,
        Timer::Handshake(peer) => 1 << 32 | peer.0,
        Timer::Silence(peer) => 2 << 32 | peer.0,
        Timer::Ping => 3,
        Timer::Expiry => 4,
        Timer::Resend => 5,
        Timer::Finalize => 6,
        Timer::Sweep => 7,
        Timer::SweepNext => 8,
        Timer::ReadOnly => 9,
    }
}

fn kind_of(note: Note) -> u64 {
    match note {
        Note::StaleAck { zxid, .. } => zxid.0,
        Note::Looking { last } => last.0 ^ 1,
        Note::Synchronising { learner, last, how } => learner.0 ^ last.0 ^ (how as u64) << 56,
        Note::Established { epoch } => u64::from(epoch.0) ^ 2,
        Note::Stray { from }
        | Note::Refused { from }
        | Note::VoteIgnored { from }
        | Note::StaleVote { from } => from.0 ^ 3,
        Note::Dropped { peer, .. } => peer.0 ^ 4,
        Note::Outranked { by } | Note::InVain { by } => by.0 ^ 5,
        Note::CameBack { learner } => learner.0 ^ 6,
        Note::CounterUsedUp { epoch } => u64::from(epoch.0) ^ 7,
        Note::ReadOnly { last } => last.0 ^ 0xc,
        Note::IdleTimer(idle) => timer(idle) ^ 8,
        Note::UnknownClient { client } => client.0 ^ 9,
        Note::OfAnotherConnection { client, zxid } => client.0 ^ zxid.0 ^ 0xb,
        Note::SessionExpired { session } | Note::SessionIdTaken { session } => {
            session.0.cast_unsigned() ^ 0xa
        }
    }
}

impl Told {
    /// The digest as it is recorded.
    pub fn short(self) -> u32 {
        u32::try_from(self.digest >> 32).unwrap_or_default()
    }

    #[inline]
    fn add(&mut self, value: u64) {
        self.digest = (self.digest.rotate_left(5) ^ value).wrapping_mul(FACTOR);
    }

    #[inline]
    fn pair(&mut self, kind: u64, one: u64, other: u64) {
        self.add((kind << 56 ^ one.rotate_left(40) ^ other).wrapping_add(self.inputs.rotate_left(24)));
    }

    /// The actor is told something.
    #[inline]
    pub fn input(&mut self) {
        self.inputs = self.inputs.wrapping_add(1);
    }

    /// A packet is sent that is not one of the order of proposals.
    pub fn send(&mut self, to: ServerId, packet: &Packet<Tree>) {
        match packet {
            Packet::Zab(message) => self.send_message(to, message),
            Packet::Ping { last, touched } => {
                self.pair(2, to.0, last.0);
                self.add(touched.len() as u64);
            }
            Packet::Request(request) => {
                self.pair(3, to.0, request.session.0.cast_unsigned());
                self.add(u64::from(request.xid.cast_unsigned()));
            }
            Packet::Sync => self.pair(4, to.0, 0),
            Packet::Revalidate { session, .. } => self.pair(5, to.0, session.0.cast_unsigned()),
            Packet::Revalidated { session, valid } => {
                self.pair(6, to.0, session.0.cast_unsigned() ^ u64::from(*valid));
            }
        }
    }

    /// A packet of the order of proposals is sent.
    #[inline]
    pub fn send_message(&mut self, to: ServerId, message: &Message<Txn>) {
        let (kind, value) = match message {
            Message::FollowerInfo { accepted, .. } => (7, u64::from(accepted.0)),
            Message::ObserverInfo { accepted, .. } => (28, u64::from(accepted.0)),
            Message::LeaderInfo { epoch, .. } => (8, u64::from(epoch.0)),
            Message::AckEpoch { current, last, floor } => {
                (9, last.0 ^ floor.0.rotate_left(7) ^ current.map_or(0, |epoch| u64::from(epoch.0) << 8))
            }
            Message::Diff { last } => (10, last.0),
            Message::Trunc { last } => (11, last.0),
            Message::Proposal { zxid, .. } => (12, zxid.0),
            Message::Commit { zxid } => (13, zxid.0),
            Message::Inform { zxid, .. } => (29, zxid.0),
            Message::NewLeader { epoch } => (14, u64::from(epoch.0)),
            Message::Ack { zxid } => (15, zxid.0),
            Message::UpToDate => (16, 0),
        };
        self.pair(kind, to.0, value);
    }

    /// A stream begins: of the state, or of a part of the log.
    pub fn stream(&mut self, to: ServerId, after: Option<Zxid>, through: Zxid) {
        self.pair(17, to.0, through.0);
        self.add(after.map_or(1, |zxid| zxid.0));
    }

    /// A link is asked for, closed or turned away.
    pub fn link(&mut self, change: u8, peer: ServerId) {
        self.pair(18, peer.0, u64::from(change));
    }

    /// A transaction is logged.
    #[inline]
    pub fn append(&mut self, ticket: Ticket, zxid: Zxid) {
        self.pair(19, u64::from(ticket.0), zxid.0);
    }

    /// Something else is asked of the disk.
    pub fn disk(&mut self, kind: u8, ticket: Ticket, value: u64) {
        self.pair(20, u64::from(ticket.0), value);
        self.add(u64::from(kind));
    }

    /// An election message is sent.
    pub fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        let vote = notification.vote;
        self.pair(21, to.0, notification.round ^ (notification.state as u64) << 32);
        self.pair(21, vote.leader.0, vote.zxid.map_or(u64::MAX, |zxid| zxid.0) ^ u64::from(vote.epoch.0));
    }

    /// A timer is set, or stopped.
    pub fn timer(&mut self, set: bool, which: Timer) {
        self.pair(22, u64::from(set), timer(which));
    }

    /// The part that is played changes.
    pub fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool) {
        let role = match role {
            None => 0,
            Some(Role::Leading) => 1,
            Some(Role::Following(leader)) => 2 + leader.0,
            Some(Role::Observing(leader)) => 1 << 32 | leader.0,
        };
        self.pair(23, role, u64::from(epoch.0) ^ u64::from(serving) << 40);
    }

    /// A connection has its session, or is refused one, or is closed, or has a session that only reads.
    pub fn client(&mut self, change: u8, client: ClientId, session: SessionId) {
        self.pair(24, client.0, session.0.cast_unsigned() ^ u64::from(change));
    }

    /// A request is answered.
    #[inline]
    pub fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: &Answer<'_, Tree>) {
        let kind = match answer {
            Answer::Outcome(_) => 0,
            Answer::Read(_) => 1,
            Answer::Sync(_) => 2,
            Answer::Empty => 3,
            Answer::Exchange(_) => 5,
            Answer::Error(code) => 4 ^ u64::from(code.number().cast_unsigned()) << 8,
        };
        self.pair(25, client.0 ^ kind << 48, zxid.0 ^ u64::from(xid.cast_unsigned()) << 32);
    }

    /// A watch fires.
    pub fn event(&mut self, client: ClientId, zxid: Zxid) {
        self.pair(26, client.0, zxid.0);
    }

    /// Something is told.
    pub fn note(&mut self, note: Note) {
        self.add(27 << 56 ^ kind_of(note));
    }
}
