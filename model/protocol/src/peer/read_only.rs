//! Service without a leader, for clients that only read (rule C-19).
//!
//! A server that looks for a leader for some time may be cut off from the others. If it is configured so, it then shows
//! its state to clients that have said that they go without writing. Nothing is decided here: a session that is opened,
//! closed or expires is an entry in a table of this server, and makes no transaction, no zxid and no change of the state.
//! A read-only server of ZooKeeper has counted up zxids of its own, in the very state that it then joined an ensemble
//! with, which took them for a history (ZOOKEEPER-3526).
//!
//! What is shown is all that this server has logged, since that is what its state is between two roles (rule Z-12). The
//! end of it may never be committed: the run of events is that a leader has sent it a proposal and was lost, and that
//! the others, who never had it, go on without. Nor may what is committed be all here. A client that has been told that
//! it only reads knows both. The place of what it was shown goes with it (C-7), so no server of an older state takes it;
//! one that serves in a later epoch does, with all that was committed and without an end that was cut.

use alloc::vec::Vec;

use spec::{ClientId, ErrorCode, Machine, SessionId};

use super::{Effects, Op, Peer, client::Submission, pipeline::Claim, service::Resort, service::Service};
use crate::{
    Note, Timer,
    session::{self, Sessions},
};

impl<M: Machine> Peer<M> {
    /// No leader was found for some time: serves reads, from a state that nothing changes while this server looks.
    pub(super) fn serve_reads(&mut self, machine: &M, out: &mut impl Effects<M>) {
        let sessions = Sessions::new(self.config.tick_ms, Vec::new());
        self.service = Service::ReadOnly(Resort { sessions, first: self.next_session });
        out.note(Note::ReadOnly { last: machine.last_processed() });
        out.set_timer(Timer::Expiry);
        out.role(None, self.zab.current(), true);
    }

    /// A leader is found: whoever only read here has to come back, for a session of the ensemble.
    pub(super) fn leave_read_only(&mut self, out: &mut impl Effects<M>) {
        if !self.config.read_only {
            return;
        }
        out.cancel_timer(Timer::ReadOnly);
        if self.is_read_only() {
            out.cancel_timer(Timer::Expiry);
            self.service = Service::Closed;
            self.clients.clear(out);
        }
    }

    /// A client that goes without writing has connected, and this server shows what it has seen.
    pub(super) fn attach_read_only(
        &mut self,
        machine: &M,
        client: ClientId,
        identities: Vec<M::Identity>,
        claim: Claim,
        out: &mut impl Effects<M>,
    ) {
        let Claim { session: claimed, password, timeout_ms, .. } = claim;
        let me = self.config.zab.me;
        let is_new = claimed == SessionId(0);
        let session = if is_new { self.new_session(machine) } else { claimed };
        let Service::ReadOnly(resort) = &mut self.service else { return };
        if is_new {
            resort.sessions.open(session, timeout_ms, me);
        } else if password != session::password(session) {
            return out.refuse_client(client);
        } else if !resort.sessions.revalidate(session, timeout_ms, me) {
            // One of the ensemble may stand in the way of the numbers, and was passed over.
            let is_living = machine.session_timeout(session).is_some();
            return if (resort.first..self.next_session).contains(&session) && !is_living {
                // It was one of those, and is closed or has expired.
                out.refuse_client(client);
            } else {
                // It is the ensemble's, or of another such time or server, and may live: only a leader could tell (rule
                // C-4).
                out.close_client(client);
            };
        }
        self.clients.attach_read_only(client, session, timeout_ms, identities, machine, out);
    }

    /// A client that only reads asks for what a leader would have to do. All that it gets is its session closed.
    pub(super) fn decline(
        &mut self,
        machine: &M,
        client: ClientId,
        submission: Submission<M::Write>,
        out: &mut impl Effects<M>,
    ) {
        let Service::ReadOnly(resort) = &mut self.service else { return };
        let Submission { session, xid, op, .. } = submission;
        let code = match op {
            Op::CloseSession => {
                resort.sessions.remove(session);
                None
            }
            Op::Write(_) | Op::Sync | Op::CreateSession { .. } | Op::Refused(_) => {
                Some(ErrorCode::NotReadOnly)
            }
        };
        self.clients.decline(client, xid, code, machine, out);
    }

    /// A tick has passed: forgets the sessions that nothing was heard of. A clock of this server's decides, since they
    /// are nobody else's.
    pub(super) fn expire_read_only(&mut self, out: &mut impl Effects<M>) {
        let Service::ReadOnly(resort) = &mut self.service else { return };
        for (session, timeout_ms) in self.clients.collect_touched() {
            resort.sessions.touch(session, timeout_ms);
        }
        for session in resort.sessions.tick() {
            out.note(Note::SessionExpired { session });
            resort.sessions.remove(session);
            self.clients.evict(session, out);
        }
    }
}
