//! What a server does for clients, by its role: nothing, prepare for the whole ensemble, or forward to the leader.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use spec::{ClientId, ErrorCode, Machine, ServerId, SessionId, Zxid, machine::Author};

use super::{Op, barrier::Barrier, turns::Turns};
use crate::session::Sessions;

/// What clients get from this server now.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum Service<M: Machine> {
    /// Nothing: there is no epoch that is established.
    Closed,
    /// This server leads.
    Leading(Reign<M>),
    /// This server follows.
    Following(Fellowship),
    /// This server has no leader, and serves clients that only read.
    ReadOnly(Resort),
}

/// What a server without a leader keeps for clients that only read. It is forgotten when a leader is found.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Resort {
    /// Their sessions, of which nobody else knows.
    pub(super) sessions: Sessions,
    /// The first id that was free when this began: those from here on were given to such sessions.
    pub(super) first: SessionId,
}

/// What a leader knows beyond the replicated state. It starts anew with every reign.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Reign<M: Machine> {
    pub(super) sessions: Sessions,
    /// What the proposals that are not applied will change.
    pub(super) outstanding: M::Outstanding,
    pub(super) barrier: Barrier,
    pub(super) turns: Turns,
    pub(super) sweep: Sweep<M::Write>,
}

/// What a leader is to write by itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub(super) struct Sweep<W> {
    /// What was found due, in order.
    pub(super) due: VecDeque<W>,
    /// The timer runs behind which the next one may be written.
    pub(super) paces: bool,
    /// It was time to look while some were still to be written.
    pub(super) looks_again: bool,
}

impl<W> Default for Sweep<W> {
    fn default() -> Self {
        Self { due: VecDeque::new(), paces: false, looks_again: false }
    }
}

/// What a follower has asked its leader.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Fellowship {
    pub(super) leader: ServerId,
    /// Whose syncs are under way, in the order they went out. A connection that is gone keeps its place.
    pub(super) syncs: VecDeque<ClientId>,
    /// The claims under way, in the order they went out.
    pub(super) claims: VecDeque<(SessionId, ClientId)>,
}

impl<M: Machine> Reign<M> {
    /// A reign over the sessions of this state.
    pub(super) fn new(machine: &M, tick_ms: u32) -> Self {
        Self {
            sessions: Sessions::new(tick_ms, machine.sessions()),
            outstanding: M::Outstanding::default(),
            barrier: Barrier::default(),
            turns: Turns::default(),
            sweep: Sweep::default(),
        }
    }

    /// The link with this learner is gone, or new: nothing that came on it is answered there.
    pub(super) fn forget(&mut self, learner: ServerId) {
        self.barrier.forget(learner);
        self.turns.forget(learner);
    }

    /// The transaction for a request that came by way of server `from`. A request that is refused becomes an error
    /// transaction, so that its answer has a place in the order (rule T-1). None for a sync, which changes nothing.
    pub(super) fn prepare(
        &mut self,
        machine: &M,
        settings: &M::Settings,
        from: ServerId,
        author: Author<'_, M::Identity>,
        zxid: Zxid,
        op: &Op<M::Write>,
    ) -> Option<M::Txn> {
        let session = author.session;
        let txn = match op {
            Op::Sync => return None,
            Op::CreateSession { .. } if self.sessions.knows(session) => {
                M::prepare_error(author, ErrorCode::SessionExpired)
            }
            Op::CreateSession { timeout_ms } => {
                self.sessions.open(session, *timeout_ms, from);
                machine.prepare_create_session(&mut self.outstanding, author, zxid, *timeout_ms)
            }
            Op::Write(_) | Op::CloseSession | Op::Refused(_)
                if let Err(code) = self.sessions.admit(session, from) =>
            {
                M::prepare_error(author, code)
            }
            Op::Write(write) => machine.prepare(settings, &mut self.outstanding, author, zxid, write),
            Op::CloseSession => self.prepare_close(machine, author, zxid),
            Op::Refused(code) => M::prepare_error(author, *code),
        };
        Some(txn)
    }

    /// The transaction that closes the author's session. From here on nothing else of that session is admitted
    /// (rule C-6).
    pub(super) fn prepare_close(
        &mut self,
        machine: &M,
        author: Author<'_, M::Identity>,
        zxid: Zxid,
    ) -> M::Txn {
        self.sessions.mark_closing(author.session);
        machine.prepare_close_session(&mut self.outstanding, author, zxid)
    }
}

impl Fellowship {
    /// A follower of this leader, which has asked for nothing yet.
    pub(super) fn new(leader: ServerId) -> Self {
        Self { leader, syncs: VecDeque::new(), claims: VecDeque::new() }
    }
}
