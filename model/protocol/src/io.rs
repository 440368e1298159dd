//! The words that actors share: messages, timers, tickets, and what they tell about themselves.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use spec::{Breach, Claim, ClientId, Epoch, ServerId, SessionId, Zxid};

/// A packet between a leader and one of its learners, as the order of proposals needs it; `T` is the transaction.
///
/// SNAP is missing: its header and stream arrive as one [`Snapshot`](crate::zab::Input) input, when the state has
/// been replaced. Each packet and its fields: `spec/wire.md`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Message<T> {
    /// Learner to leader, first on a link: the last epoch promised.
    FollowerInfo {
        /// The learner's accepted epoch.
        accepted: Epoch,
        /// Whether the learner knows Zabkeeper's extensions (protocol version 0x10001 or later).
        extended: bool,
    },
    /// Observer to leader, first on a link, in place of FOLLOWERINFO. Nothing that it says later counts in a quorum.
    ObserverInfo {
        /// The observer's accepted epoch.
        accepted: Epoch,
        /// As in FOLLOWERINFO.
        extended: bool,
    },
    /// Leader to learner: the new epoch, promised durably by the leader itself.
    LeaderInfo {
        /// The epoch to promise.
        epoch: Epoch,
        /// Whether the leader knows Zabkeeper's extensions.
        extended: bool,
    },
    /// Learner to leader: the promise is durable.
    AckEpoch {
        /// The learner's current epoch; none says "bring me up to date, and do not count me", for a promise that
        /// had been made before.
        current: Option<Epoch>,
        /// The learner's last durable transaction.
        last: Zxid,
        /// The learner's log is whole from here on, so that it can be cut at any transaction behind this one; below,
        /// it may have nothing but a snapshot. An extension: a learner that does not say so says 0.
        floor: Zxid,
    },
    /// Leader to learner: what follows continues your log as it is.
    Diff {
        /// The last transaction that the leader will send as committed in this synchronisation.
        last: Zxid,
    },
    /// Leader to learner: cut your log behind this transaction; what follows continues it.
    Trunc {
        /// The last transaction to keep.
        last: Zxid,
    },
    /// Leader to learner: log this.
    Proposal {
        /// Its place.
        zxid: Zxid,
        /// The transaction.
        txn: T,
    },
    /// Leader to learner: this proposal is decided; apply it.
    Commit {
        /// Its place.
        zxid: Zxid,
    },
    /// Leader to observer, in place of PROPOSAL and COMMIT: this is decided; log and apply it.
    Inform {
        /// Its place.
        zxid: Zxid,
        /// The transaction.
        txn: T,
    },
    /// Leader to learner, behind the synchronisation: make all of it durable, and join the epoch.
    NewLeader {
        /// The epoch to join; the wire carries its start.
        epoch: Epoch,
    },
    /// Learner to leader: durable through this proposal; with counter 0 the answer to NEWLEADER.
    Ack {
        /// What is durable.
        zxid: Zxid,
    },
    /// Leader to learner: the epoch is established; serve.
    UpToDate,
}

impl<T> Message<T> {
    /// What it claims to be durable (rules ), if it does.
    pub fn claim(&self) -> Option<Claim> {
        match self {
            Self::LeaderInfo { epoch, .. } => Some(Claim::LeaderInfo(*epoch)),
            Self::AckEpoch { current, last, .. } => Some(Claim::AckEpoch { current: *current, last: *last }),
            Self::NewLeader { epoch } => Some(Claim::NewLeader(*epoch)),
            Self::Ack { zxid } => Some(Claim::Ack(*zxid)),
            Self::FollowerInfo { .. }
            | Self::ObserverInfo { .. }
            | Self::Inform { .. }
            | Self::Diff { .. }
            | Self::Trunc { .. }
            | Self::Proposal { .. }
            | Self::Commit { .. }
            | Self::UpToDate => None,
        }
    }
}

/// What a server votes for.
///
/// Field order is vote order: epoch, then last transaction, then id (rule E-3).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Vote {
    /// The proposed leader's current epoch.
    pub epoch: Epoch,
    /// The proposed leader's last durable transaction; none if its data is missing, or if it has no vote.
    pub zxid: Option<Zxid>,
    /// The proposed leader.
    pub leader: ServerId,
}

/// What a server is doing, as election notifications tell it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum ServerState {
    /// Taking part in an election.
    Looking,
    /// Following a leader.
    Following,
    /// Leading.
    Leading,
    /// Learning without a vote.
    Observing,
}

/// A message of the election mesh.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Notification {
    /// The sender's state.
    pub state: ServerState,
    /// The sender's vote.
    pub vote: Vote,
    /// The sender's election round (ZooKeeper's `electionEpoch`).
    pub round: u64,
}

/// The part that an elected server plays.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Role {
    /// Leads.
    Leading,
    /// Follows this leader.
    Following(ServerId),
    /// Learns from this leader, without a vote.
    Observing(ServerId),
}

impl Role {
    /// The leader of a server in this role, if that is another one.
    pub fn leader(self) -> Option<ServerId> {
        match self {
            Self::Leading => None,
            Self::Following(leader) | Self::Observing(leader) => Some(leader),
        }
    }
}

/// A disk operation under way. Tickets start at 0 again when none is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Ticket(pub u32);

/// A timer by name. Setting one that is set starts it anew; each fires once. How long each takes is the caller's.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Timer {
    /// A new epoch takes too long to be established, at the leader or for one follower: `initLimit` ticks.
    Establish,
    /// This learner takes too long to be brought up to date: `initLimit` ticks.
    Handshake(ServerId),
    /// Nothing was heard of the other end, or it is behind with its acks: `syncLimit` ticks.
    Silence(ServerId),
    /// A leader is due to ping its learners: half a tick.
    Ping,
    /// A leader is due to look for expired sessions: one tick.
    Expiry,
    /// An election is silent: send the vote again, 200 ms, doubling while nothing changes.
    Resend,
    /// An election has a quorum: wait this long for a better vote, 200 ms.
    Finalize,
    /// A leader is due to look for nodes that it is to delete by itself: `znode.container.checkIntervalMs`.
    Sweep,
    /// A leader may delete the next of them: a minute over `znode.container.maxPerMinute`.
    SweepNext,
    /// A server has looked for a leader for long enough to serve clients that only read: a tick, at least 2 s.
    ReadOnly,
}

/// What recovery found on disk, beside the state itself.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Recovered<T> {
    /// The last epoch promised.
    pub accepted: Epoch,
    /// The last epoch joined.
    pub current: Epoch,
    /// The label of the snapshot that recovery started from: the log is known to be whole from here on.
    pub floor: Zxid,
    /// The last transaction of snapshot and log, all of which the state holds.
    pub last: Zxid,
    /// The transaction that the tail continues: the one before its first, or `last` if the tail is empty.
    pub base: Zxid,
    /// The end of the log: everything in `(base, last]`, at most as long as the committed window.
    pub tail: Vec<(Zxid, T)>,
}

/// Why a link was dropped on purpose: the other end broke the protocol (rules I-11 to I-14).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Violation {
    /// A packet that this role or phase does not take.
    BadState,
    /// An acknowledgement out of order, of another epoch, or of nothing.
    BadAck {
        /// What was acknowledged.
        zxid: Zxid,
    },
    /// A proposal that is not the next one.
    BadProposal {
        /// What was proposed.
        found: Zxid,
        /// What stands before it.
        after: Zxid,
    },
    /// A commit that is not the oldest open proposal.
    BadCommit {
        /// What was committed.
        found: Zxid,
        /// The oldest open proposal, if there is one.
        expected: Option<Zxid>,
    },
    /// A truncation below what this server knows to be committed.
    BadTruncate {
        /// Where to cut.
        found: Zxid,
        /// What must stay.
        committed: Zxid,
    },
    /// A server without a vote that calls itself a follower, or one with a vote that calls itself an observer: the two
    /// ends do not agree on who votes.
    NotItsPart,
    /// A leader's epoch below the one that was promised.
    OldEpoch {
        /// What the leader said.
        found: Epoch,
        /// What was promised.
        accepted: Epoch,
    },
}

impl Violation {
    /// The rule's word for it.
    pub fn breach(self) -> Breach {
        match self {
            Self::BadState | Self::NotItsPart => Breach::State,
            Self::BadAck { .. } => Breach::Ack,
            Self::BadProposal { .. } => Breach::Proposal,
            Self::BadCommit { .. } => Breach::Commit,
            Self::BadTruncate { .. } => Breach::Truncate,
            Self::OldEpoch { .. } => Breach::OldEpoch,
        }
    }
}

/// Something worth telling that changes nothing: a decision to ignore, or a change of role.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Note {
    /// An acknowledgement that came too late to matter.
    StaleAck {
        /// Who sent it.
        from: ServerId,
        /// What was acknowledged.
        zxid: Zxid,
    },
    /// A message from a server that this role has no link with.
    Stray {
        /// Who sent it.
        from: ServerId,
    },
    /// A dial that was turned away, since this server does not lead.
    Refused {
        /// Who dialled.
        from: ServerId,
    },
    /// The link was dropped for this reason.
    Dropped {
        /// The other end.
        peer: ServerId,
        /// What it did.
        violation: Violation,
    },
    /// A learner has more than this leader, which gives up.
    Outranked {
        /// The learner.
        by: ServerId,
    },
    /// By the word of this voter, or since its election link broke, the role that came out of the election comes to
    /// nothing, and is given up.
    InVain {
        /// The voter.
        by: ServerId,
    },
    /// A learner has dialled anew before the break of its link was noticed. Without it there is no quorum, and this
    /// leader gives up.
    CameBack {
        /// The learner.
        learner: ServerId,
    },
    /// This server looks for a leader.
    Looking {
        /// The last durable transaction.
        last: Zxid,
    },
    /// A learner is brought up to date in this way.
    Synchronising {
        /// The learner.
        learner: ServerId,
        /// Its last transaction.
        last: Zxid,
        /// How.
        how: SyncKind,
    },
    /// An epoch is established under this leader.
    Established {
        /// The epoch.
        epoch: Epoch,
    },
    /// The counter of the epoch is used up, and the leader steps down.
    CounterUsedUp {
        /// The epoch.
        epoch: Epoch,
    },
    /// A vote was ignored: the server it is from, or for, has no vote, or data is missing.
    VoteIgnored {
        /// Who sent it.
        from: ServerId,
    },
    /// An election message that came too late to matter: of an older round, or when its receiver has a leader.
    StaleVote {
        /// Who sent it.
        from: ServerId,
    },
    /// A timer fired that nothing waits for any more.
    IdleTimer(Timer),
    /// A request, or the end, of a connection that was given up already.
    UnknownClient {
        /// The connection.
        client: ClientId,
    },
    /// A transaction has the session and the number of a request that waits, and came from an older connection of that
    /// session (rule C-15).
    OfAnotherConnection {
        /// The connection that waits.
        client: ClientId,
        /// The transaction.
        zxid: Zxid,
    },
    /// This server has no leader, and serves clients that only read, from here (rule C-19).
    ReadOnly {
        /// The last transaction of what it shows.
        last: Zxid,
    },
    /// A session was not heard of for longer than its timeout, and is being closed.
    SessionExpired {
        /// The session.
        session: SessionId,
    },
    /// A session was made under an id that is taken: the clock of the server that made it went back.
    SessionIdTaken {
        /// The session.
        session: SessionId,
    },
}

/// How a leader brings a learner up to date.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum SyncKind {
    /// The learner's log is a prefix of the leader's: only what is missing, perhaps nothing.
    Diff,
    /// The same, with the older part read from the log on disk.
    DiffFromLog,
    /// The learner's log is cut first.
    Trunc,
    /// The whole state.
    Snap,
}

/// Why a server must end.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Exit {
    /// A truncation that the disk could not carry out as asked.
    TruncateFailed {
        /// Where to cut.
        wanted: Zxid,
        /// Where the log ended after it.
        found: Zxid,
    },
}
