//! The whole surface of one server's peer: what the shell tells it, and what it asks the shell for.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use spec::{ClientId, Epoch, ErrorCode, Machine, ServerId, SessionId, Zxid};

use crate::{Exit, Message, Note, Notification, Recovered, Role, Ticket, Timer, zab};

/// What shapes one server's peer, and never changes while it runs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Config<S> {
    /// What shapes its Zab actor; the same servers vote in elections.
    pub zab: zab::Config,
    /// The unit of time of session expiry, in milliseconds.
    pub tick_ms: u32,
    /// The least session timeout that is granted, in milliseconds.
    pub session_timeout_min_ms: i32,
    /// The greatest session timeout that is granted, in milliseconds.
    pub session_timeout_max_ms: i32,
    /// The first session id of this start of the server: its id in the high byte, then its start time.
    pub first_session: SessionId,
    /// What requests come to while this server leads.
    pub settings: S,
    /// How many nodes a leader deletes by itself between two looks for those that are due; 0 for none, ever.
    pub sweep_max: usize,
    /// Whether a server that finds no leader serves clients that only read (rule C-19).
    pub read_only: bool,
}

/// A packet between a leader and one of its learners.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Packet<M: Machine> {
    /// One of the order of proposals.
    Zab(Message<M::Txn>),
    /// Leader to learner, and back with the sessions that were touched since.
    Ping {
        /// The leader's last proposal.
        last: Zxid,
        /// Sessions and their timeouts in milliseconds; empty from a leader.
        touched: Vec<(SessionId, i32)>,
    },
    /// Learner to leader: a client's write, session change or sync, in the order of arrival.
    Request(Request<M>),
    /// Leader to learner: the oldest sync of that learner is through.
    Sync,
    /// Learner to leader: a client offers to go on with this session here.
    Revalidate {
        /// The session.
        session: SessionId,
        /// The timeout that was negotiated, in milliseconds.
        timeout_ms: i32,
    },
    /// Leader to learner: the answer.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it lives, and is this learner's now.
        valid: bool,
    },
}

/// What a learner forwards to its leader.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Request<M: Machine> {
    /// The session that asks.
    pub session: SessionId,
    /// The client's number of the request.
    pub xid: i32,
    /// Whom the connection has authenticated as.
    pub identities: Vec<M::Identity>,
    /// What is asked.
    pub op: Op<M::Write>,
}

/// What needs the leader.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Op<W> {
    /// A change of the state.
    Write(W),
    /// Open the session, with this timeout in milliseconds.
    CreateSession {
        /// In milliseconds.
        timeout_ms: i32,
    },
    /// Close the session.
    CloseSession,
    /// Tell when everything that was proposed by now is committed.
    Sync,
    /// A write that this server does not offer, or cannot read, and that a learner has forwarded as it came: an error
    /// transaction with this code takes its place.
    Refused(ErrorCode),
}

/// What a client asks of the server that it is connected to.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum ClientRequest<M: Machine> {
    /// Nothing, to keep the session alive.
    Ping,
    /// To prove an identity.
    Authenticate(M::Credential),
    /// To read.
    Read(M::Read),
    /// To write.
    Write(M::Write),
    /// To see everything that is committed by now in the reads behind this. The path is echoed.
    Sync(Vec<u8>),
    /// To close the session.
    Close,
    /// Something that this server does not offer, or cannot read: answered with this code in its turn, and the
    /// connection is closed if `close` says so.
    Refused {
        /// The answer.
        code: ErrorCode,
        /// Whether to hang up behind it.
        close: bool,
    },
    /// A step of a mechanism that proves an identity in several. The shell has looked at what the client said.
    Exchange {
        /// What the client is told; none where there is no such mechanism.
        answer: Option<Vec<u8>>,
        /// What is proved by now, which counts as if it had been authenticated.
        proves: Vec<M::Identity>,
    },
}

/// What the peer is told after its start, which is `Peer::boot`. Wall-clock stamps are milliseconds since 1970.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Input<M: Machine> {
    /// The link that this server dialled to its leader is up.
    Connected(ServerId),
    /// A learner's link to this server is up. It takes the place of an older one with the same learner.
    Accepted(ServerId),
    /// The link with this server is gone, refused or broken; never told of a link that the peer closed.
    Disconnected(ServerId),
    /// A packet of the link that is up.
    Packet {
        /// The other end.
        from: ServerId,
        /// What it said.
        packet: Packet<M>,
        /// The wall clock at receipt, for what a leader prepares.
        time: i64,
    },
    /// The leader's SNAP stream has arrived whole and the state now holds it, up to this transaction.
    Snapshot {
        /// The leader.
        from: ServerId,
        /// The last transaction in it.
        zxid: Zxid,
    },
    /// An election message.
    Notification {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// The election link with this server was refused or reset.
    ElectionLinkDown(ServerId),
    /// A timer that was set has fired.
    Timer {
        /// Which.
        timer: Timer,
        /// The wall clock now.
        time: i64,
    },
    /// This disk operation is durable.
    Done(Ticket),
    /// The answer to [`zab::Effects::locate`].
    Located {
        /// Which question.
        ticket: Ticket,
        /// As in [`zab::Input::Located`].
        at: Option<Zxid>,
    },
    /// The state has been loaded anew from disk.
    Reloaded(Recovered<M::Txn>),
    /// A client has connected and offers, or asks for, a session.
    ClientConnect {
        /// The connection.
        client: ClientId,
        /// The identity that its address gives, and those of its transport.
        identities: Vec<M::Identity>,
        /// The session to go on with; 0 asks for a new one.
        session: SessionId,
        /// The password of that session.
        password: [u8; 16],
        /// The timeout asked for, in milliseconds.
        timeout_ms: i32,
        /// The last zxid that this client has seen.
        last_seen: Zxid,
        /// Whether it goes without writing while there is no leader.
        read_only: bool,
        /// The wall clock now.
        time: i64,
    },
    /// A request of a connection whose session is accepted or under way.
    ClientRequest {
        /// The connection.
        client: ClientId,
        /// The client's number of the request.
        xid: i32,
        /// What it asks.
        request: ClientRequest<M>,
        /// The wall clock now.
        time: i64,
    },
    /// A connection is gone; never told of one that the peer closed.
    ClientClosed(ClientId),
}

/// The answer to one request, to be encoded at once: it borrows from the state.
#[derive(Debug)]
pub enum Answer<'a, M: Machine + 'a> {
    /// Of a write that was carried out, or of a multi.
    Outcome(&'a M::Outcome),
    /// Of a read.
    Read(M::Answer<'a>),
    /// Of a sync: the path that was named.
    Sync(&'a [u8]),
    /// Of a step of a mechanism that proves an identity.
    Exchange(Option<&'a [u8]>),
    /// Of a ping, an authentication or a close: nothing but the header.
    Empty,
    /// It failed.
    Error(ErrorCode),
}

/// What the peer asks the shell for: everything of [`zab::Effects`] that touches the world, the election mesh, and
/// clients. Each call is carried out in order; none answers.
pub trait Effects<M: Machine> {
    /// Puts a packet on the link with this server; those of the order of proposals come by way of
    /// [`Effects::send_message`].
    fn send(&mut self, to: ServerId, packet: &Packet<M>);
    /// As [`zab::Effects::send`]: the packet is [`Packet::Zab`], borrowed, since the transaction goes to many.
    fn send_message(&mut self, to: ServerId, message: &Message<M::Txn>);
    /// As [`zab::Effects::stream_snapshot`]; `machine` is the state to send, mutable so that a walk over it can begin.
    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut M);
    /// As [`zab::Effects::stream_log`].
    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid);
    /// As [`zab::Effects::connect`].
    fn connect(&mut self, to: ServerId);
    /// As [`zab::Effects::disconnect`].
    fn disconnect(&mut self, peer: ServerId);
    /// As [`zab::Effects::refuse`].
    fn refuse(&mut self, from: ServerId);
    /// As [`zab::Effects::append`].
    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &M::Txn);
    /// As [`zab::Effects::truncate`].
    fn truncate(&mut self, ticket: Ticket, last: Zxid);
    /// As [`zab::Effects::sync_log`].
    fn sync_log(&mut self, ticket: Ticket);
    /// As [`zab::Effects::save_accepted`].
    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch);
    /// As [`zab::Effects::save_current`].
    fn save_current(&mut self, ticket: Ticket, epoch: Epoch);
    /// As [`zab::Effects::save_snapshot`].
    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, machine: &mut M);
    /// As [`zab::Effects::locate`].
    fn locate(&mut self, ticket: Ticket, zxid: Zxid);
    /// As [`zab::Effects::reload`].
    fn reload(&mut self);
    /// Sends an election message; a newer one replaces one that has not left yet.
    fn notify_server(&mut self, to: ServerId, notification: &Notification);
    /// Starts (anew) a timer.
    fn set_timer(&mut self, timer: Timer);
    /// Stops a timer, if it runs.
    fn cancel_timer(&mut self, timer: Timer);
    /// The part this server plays now, for those who ask; `None` while it looks for a leader. `serving` is true once
    /// clients are served; without a role, those that only read.
    fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool);
    /// A connection has its session; `read_only` tells it that this server does not write, and that the session is
    /// known to nobody else.
    fn accept_client(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        read_only: bool,
    );
    /// A connection's session is not to be had: tell it so and hang up.
    fn refuse_client(&mut self, client: ClientId);
    /// Answers a request; `zxid` is the last transaction of the state that the answer shows.
    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, M>);
    /// A watch has fired, for the transaction `zxid`.
    fn notify_client(&mut self, client: ClientId, zxid: Zxid, event: &M::Event);
    /// Hangs up, once what was said before is sent.
    fn close_client(&mut self, client: ClientId);
    /// Tells something that changes nothing.
    fn note(&mut self, note: Note);
    /// The server must end.
    fn exit(&mut self, why: Exit);
}
