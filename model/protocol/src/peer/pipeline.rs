//! From a client's wish to a proposal: connecting, submitting, preparing, expiring.

use alloc::vec::Vec;

use spec::{ClientId, Machine, SessionId, Zxid, machine::Author};

use super::{
    Config, Effects, Op, Packet, Peer, Request,
    barrier::{Source, Waiter},
    client::Submission,
    service::Service,
};
use crate::{Note, Timer, session, zab};

/// What a client brings to a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// The session to go on with; 0 asks for a new one.
    pub(super) session: SessionId,
    pub(super) password: [u8; 16],
    pub(super) timeout_ms: i32,
    /// The last zxid that it has seen.
    pub(super) last_seen: Zxid,
    /// Whether it goes without writing while there is no leader.
    pub(super) read_only: bool,
}

impl<M: Machine> Peer<M> {
    /// A client has connected. Nothing happens to another connection of its session before the claim is proved,
    /// by the password here and by the leader's table (rule C-4).
    pub(super) fn on_connect(
        &mut self,
        machine: &mut M,
        client: ClientId,
        identities: Vec<M::Identity>,
        claim: Claim,
        time: i64,
        out: &mut impl Effects<M>,
    ) {
        // No transaction has the number of an epoch's start: it cannot be one that is missing.
        let is_start = claim.last_seen.counter() == 0;
        let behind = claim.last_seen > self.goes_on_from(machine, claim.read_only || is_start);
        let served = self.is_serving() || self.is_read_only() && claim.read_only;
        if behind || !served {
            // Another server may do better: one that answered would have to show what the client has seen (S-7).
            return out.close_client(client);
        }
        let least = self.config.session_timeout_min_ms;
        let timeout_ms = claim.timeout_ms.min(self.config.session_timeout_max_ms).max(least);
        if self.is_read_only() {
            let claim = Claim { timeout_ms, ..claim };
            return self.attach_read_only(machine, client, identities, claim, out);
        }
        if claim.session == SessionId(0) {
            let session = self.new_session(machine);
            self.clients.create(client, session, timeout_ms, identities);
            let submission = Submission { session, xid: 0, op: Op::CreateSession { timeout_ms }, time };
            return self.submit(machine, client, submission, out);
        }
        if claim.password != session::password(claim.session) {
            return out.refuse_client(client);
        }
        self.clients.claim(client, claim.session, timeout_ms, identities, out);
        match &mut self.service {
            Service::Leading(reign) => {
                if reign.sessions.revalidate(claim.session, timeout_ms, self.config.zab.me) {
                    self.clients.grant(client, machine, out);
                } else {
                    self.pass_barrier(Waiter::Refusal(Source::Client(client), claim.session), out);
                }
            }
            Service::Following(fellowship) => {
                fellowship.claims.push_back((claim.session, client));
                let packet = Packet::Revalidate { session: claim.session, timeout_ms };
                out.send(fellowship.leader, &packet);
            }
            Service::Closed | Service::ReadOnly(_) => {}
        }
    }

    /// The place from which a connection can go on here: the last transaction of what this server shows. Who goes
    /// without writing may have been shown the end of a log that was cut since, and that nobody has (rule C-19), and a
    /// leader of ZooKeeper names the start of its epoch while it has no transaction (rule C-7): for those it may be
    /// `from_start` of the epoch. Who serves in one has all that was committed in those before; what is missing of them
    /// never will be.
    fn goes_on_from(&self, machine: &M, from_start: bool) -> Zxid {
        let last = machine.last_processed();
        if from_start && self.is_serving() { last.max(Zxid::new(self.zab.current(), 0)) } else { last }
    }

    /// An id that no living session has, as far as this server knows; the leader knows for sure.
    pub(super) fn new_session(&mut self, machine: &M) -> SessionId {
        loop {
            let session = self.next_session;
            self.next_session = SessionId(session.0.wrapping_add(1));
            let taken = self.clients.holds(session) || machine.session_timeout(session).is_some();
            if !taken && session != SessionId(0) {
                return session;
            }
        }
    }

    /// Hands a client's request to the leader.
    pub(super) fn submit(
        &mut self,
        machine: &mut M,
        client: ClientId,
        submission: Submission<M::Write>,
        out: &mut impl Effects<M>,
    ) {
        match &mut self.service {
            Service::Leading(_) => self.lead(machine, Source::Client(client), submission, &[], out),
            Service::Following(fellowship) => {
                if submission.op == Op::Sync {
                    fellowship.syncs.push_back(client);
                }
                let Submission { session, xid, op, .. } = submission;
                // Lent to the packet, so that nothing is copied.
                let identities = self.clients.lend_identities(client);
                let packet = Packet::Request(Request { session, xid, identities, op });
                out.send(fellowship.leader, &packet);
                if let Packet::Request(request) = packet {
                    self.clients.return_identities(client, request.identities);
                }
            }
            Service::ReadOnly(_) => self.decline(machine, client, submission, out),
            Service::Closed => {}
        }
    }

    /// Carries out a request as the leader; `identities` are those that came with it from a learner.
    pub(super) fn lead(
        &mut self,
        machine: &mut M,
        source: Source,
        submission: Submission<M::Write>,
        identities: &[M::Identity],
        out: &mut impl Effects<M>,
    ) {
        let Submission { session, xid, op, time } = submission;
        if op == Op::Sync {
            return self.pass_barrier(Waiter::Sync(source), out);
        }
        let Some(zxid) = self.next_zxid(machine, out) else { return };
        let Service::Leading(reign) = &mut self.service else { return };
        let (from, identities) = match source {
            Source::Client(client) => (self.config.zab.me, self.clients.identities(client)),
            Source::Learner(learner) => (learner, identities),
        };
        if matches!(op, Op::CreateSession { .. }) && reign.sessions.knows(session) {
            out.note(Note::SessionIdTaken { session });
        }
        let author = Author { session, xid, identities, time };
        if let Some(txn) = reign.prepare(machine, &self.config.settings, from, author, zxid, &op) {
            self.zab_step(machine, zab::Input::Propose(txn), out);
        }
    }

    /// The place of the leader's next transaction. If the counter of the epoch is used up, it leads no longer (rule
    /// Z-9).
    fn next_zxid(&mut self, machine: &mut M, out: &mut impl Effects<M>) -> Option<Zxid> {
        let zxid = self.zab.next_zxid();
        if zxid.is_none() && matches!(self.service, Service::Leading(_)) {
            out.note(Note::CounterUsedUp { epoch: self.zab.current() });
            self.resign(machine, out);
        }
        zxid
    }

    /// A tick has passed: closes the sessions that nothing was heard of. Whatever was received before counts, the
    /// touches of this server's own clients included.
    pub(super) fn expire(&mut self, machine: &mut M, time: i64, out: &mut impl Effects<M>) {
        let Service::Leading(reign) = &mut self.service else { return };
        for (session, timeout_ms) in self.clients.collect_touched() {
            reign.sessions.touch(session, timeout_ms);
        }
        for session in reign.sessions.tick() {
            let Some(zxid) = self.next_zxid(machine, out) else { return };
            let Service::Leading(reign) = &mut self.service else { return };
            out.note(Note::SessionExpired { session });
            let author = Author { session, xid: 0, identities: &[], time };
            let txn = reign.prepare_close(machine, author, zxid);
            self.zab_step(machine, zab::Input::Propose(txn), out);
        }
    }

    /// Looks for what this leader is to delete by itself, as soon as it has done with what it found before.
    pub(super) fn find_due(&mut self, machine: &mut M, time: i64, out: &mut impl Effects<M>) {
        let Service::Leading(reign) = &mut self.service else { return };
        reign.sweep.looks_again = true;
        if !reign.sweep.paces {
            self.sweep_next(machine, time, out);
        }
    }

    /// Proposes the next of these. Time has passed since it was found, so preparation looks at it again, against the
    /// outstanding changes (rule T-21). The one behind it has to wait for a timer, also if it is found later.
    pub(super) fn sweep_next(&mut self, machine: &mut M, time: i64, out: &mut impl Effects<M>) {
        let Config { settings, sweep_max, .. } = &self.config;
        let Service::Leading(reign) = &mut self.service else { return };
        let sweep = &mut reign.sweep;
        if sweep.due.is_empty() && core::mem::take(&mut sweep.looks_again) {
            sweep.due.extend(machine.due(settings, time, *sweep_max));
        }
        let next = sweep.due.pop_front();
        sweep.paces = next.is_some();
        let Some(write) = next else { return };
        out.set_timer(Timer::SweepNext);
        let Some(zxid) = self.next_zxid(machine, out) else { return };
        let Service::Leading(reign) = &mut self.service else { return };
        let author = Author { session: SessionId(0), xid: 0, identities: &[], time };
        let txn = machine.prepare(&self.config.settings, &mut reign.outstanding, author, zxid, &write);
        self.zab_step(machine, zab::Input::Propose(txn), out);
    }
}
