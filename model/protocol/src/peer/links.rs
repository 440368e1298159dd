//! What leader and learners tell each other beside the order of proposals: PINGs, forwarded requests, claims of
//! sessions, syncs.

use alloc::vec::Vec;

use spec::{Machine, ServerId, Zxid};

use super::{
    Effects, Op, Packet, Peer, Request,
    barrier::{Source, Waiter},
    client::Submission,
    service::Service,
};
use crate::{Note, Role, Violation, zab};

impl<M: Machine> Peer<M> {
    /// A packet of the link with this server.
    pub(super) fn on_packet(
        &mut self,
        machine: &mut M,
        from: ServerId,
        packet: Packet<M>,
        time: i64,
        out: &mut impl Effects<M>,
    ) {
        if let Packet::Zab(message) = packet {
            return self.zab_step(machine, zab::Input::Message { from, message }, out);
        }
        let allowed = match self.zab.role() {
            Some((Role::Following(leader) | Role::Observing(leader), _)) if leader == from => {
                self.on_leaders_packet(machine, packet, out)
            }
            Some((Role::Leading, _)) if self.is_joined(from) => {
                self.on_learners_packet(machine, from, packet, time, out)
            }
            Some((Role::Leading, _)) => false,
            Some((Role::Following(_) | Role::Observing(_), _)) | None => {
                return out.note(Note::Stray { from });
            }
        };
        if allowed {
            self.with_zab(machine, out, |zab, sink| zab.heard_from(from, sink));
        } else {
            out.note(Note::Dropped { peer: from, violation: Violation::BadState });
            out.disconnect(from);
            self.forget_link(from);
            self.zab_step(machine, zab::Input::Disconnected(from), out);
        }
    }

    /// What a leader may tell its learner. Returns false for anything else.
    fn on_leaders_packet(&mut self, machine: &M, packet: Packet<M>, out: &mut impl Effects<M>) -> bool {
        match (packet, &mut self.service) {
            (Packet::Ping { last, .. }, _) => {
                let Some(leader) = self.zab.role().and_then(|(role, _)| role.leader()) else { return false };
                if self.zab.joined().is_none() {
                    // An Apache leader may send one behind NEWLEADER, and takes nothing but the ACK for an answer.
                    return true;
                }
                let touched = self.clients.collect_touched();
                out.send(leader, &Packet::Ping { last, touched });
                true
            }
            (Packet::Sync, Service::Following(fellowship)) => {
                let Some(client) = fellowship.syncs.pop_front() else { return false };
                self.clients.sync_through(client, machine, out);
                true
            }
            (Packet::Revalidated { session, valid }, Service::Following(fellowship)) => {
                let place = fellowship.claims.iter().position(|(claimed, _)| *claimed == session);
                let Some((_, client)) = place.and_then(|place| fellowship.claims.remove(place)) else {
                    return false;
                };
                if valid {
                    self.clients.grant(client, machine, out);
                } else {
                    self.clients.refuse(client, out);
                }
                true
            }
            (
                Packet::Zab(_)
                | Packet::Sync
                | Packet::Request(_)
                | Packet::Revalidate { .. }
                | Packet::Revalidated { .. },
                _,
            ) => false,
        }
    }

    /// What a learner that has joined may tell its leader. Returns false for anything else.
    fn on_learners_packet(
        &mut self,
        machine: &mut M,
        from: ServerId,
        packet: Packet<M>,
        time: i64,
        out: &mut impl Effects<M>,
    ) -> bool {
        let Service::Leading(reign) = &mut self.service else { return false };
        match packet {
            Packet::Ping { touched, .. } => {
                for (session, timeout_ms) in touched {
                    reign.sessions.touch(session, timeout_ms);
                }
                let asked_for = reign.barrier.echoed(from);
                if asked_for && reign.barrier.conclude(&self.config.zab.quorum) {
                    self.ping_round(out);
                }
                asked_for
            }
            Packet::Request(Request { op: Op::Sync, .. }) if !self.zab.is_extended(from) => {
                self.flush(from, out);
                true
            }
            Packet::Request(Request { session, xid, identities, op }) => {
                let submission = Submission { session, xid, op, time };
                self.lead(machine, Source::Learner(from), submission, &identities, out);
                true
            }
            Packet::Revalidate { session, timeout_ms } => {
                let valid = reign.sessions.revalidate(session, timeout_ms, from);
                if valid {
                    // The client is there now; what it left here would only be told that it has moved.
                    self.clients.evict(session, out);
                }
                if valid && self.config.zab.quorum.is_voter(from) {
                    out.send(from, &Packet::Revalidated { session, valid });
                } else if valid {
                    // It knows of no proposal that is not committed, and could not tell an older answer (rule C-15).
                    self.pass_barrier(Waiter::Claim(from, session), out);
                } else {
                    self.pass_barrier(Waiter::Refusal(Source::Learner(from), session), out);
                }
                true
            }
            Packet::Zab(_) | Packet::Sync | Packet::Revalidated { .. } => false,
        }
    }

    /// The leader's beat: PINGs every learner that has joined.
    pub(super) fn ping(&mut self, out: &mut impl Effects<M>) {
        let Service::Leading(reign) = &mut self.service else { return };
        let packet =
            Packet::Ping { last: self.zab.last_proposed().unwrap_or(Zxid::ZERO), touched: Vec::new() };
        for learner in self.zab.joined_learners() {
            out.send(learner, &packet);
            reign.barrier.pinged(learner);
        }
    }

    /// A sync, or a claim that is to be refused or is an observer's, has reached the leader.
    pub(super) fn pass_barrier(&mut self, waiter: Waiter, out: &mut impl Effects<M>) {
        let Service::Leading(reign) = &mut self.service else { return };
        let after = self.zab.last_proposed().unwrap_or(Zxid::ZERO);
        if reign.barrier.ask(waiter, after) {
            self.ping_round(out);
        }
    }

    /// A sync of a learner without our extensions has reached the leader (rule C-16).
    fn flush(&mut self, learner: ServerId, out: &mut impl Effects<M>) {
        let Service::Leading(reign) = &mut self.service else { return };
        match self.zab.last_proposed() {
            // Counter 0 is no transaction: nothing has been proposed in this epoch.
            Some(after) if after.counter() > 0 && after > self.zab.committed() => {
                reign.turns.wait(learner, after);
            }
            Some(_) | None => out.send(learner, &Packet::Sync),
        }
    }

    /// PINGs every learner at once, on behalf of the syncs that wait.
    fn ping_round(&mut self, out: &mut impl Effects<M>) {
        if let Service::Leading(reign) = &mut self.service {
            reign.barrier.begin(self.config.zab.me);
        }
        self.ping(out);
        if let Service::Leading(reign) = &mut self.service {
            // A leader that is a quorum by itself waits for nobody, and nothing came in between.
            let again = reign.barrier.conclude(&self.config.zab.quorum);
            debug_assert!(!again, "S-14: syncs wait behind a round that has just begun");
        }
    }

    /// The link with this learner is gone, or new.
    pub(super) fn forget_link(&mut self, learner: ServerId) {
        if let Service::Leading(reign) = &mut self.service {
            reign.forget(learner);
        }
    }

    /// Whether this server is the leader of that learner, which has joined the epoch.
    fn is_joined(&self, learner: ServerId) -> bool {
        matches!(self.service, Service::Leading(_))
            && self.zab.joined_learners().any(|joined| joined == learner)
    }
}
