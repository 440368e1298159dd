//! Where the effects of the inner actors go: most of them on to the shell, the rest to their neighbours in this peer.

use core::marker::PhantomData;

use spec::{Epoch, Machine, ServerId, Zxid, machine::SessionChange};

use super::{
    Config, Effects, Packet,
    client::Clients,
    service::{Fellowship, Reign, Service},
};
use crate::{Exit, Message, Note, Notification, Role, Ticket, Timer, Vote, election, zab};

/// Takes the effects of one step of Zab.
pub(super) struct ZabSink<'a, M: Machine, E: Effects<M>> {
    pub(super) config: &'a Config<M::Settings>,
    pub(super) clients: &'a mut Clients<M>,
    pub(super) service: &'a mut Service<M>,
    pub(super) machine: &'a mut M,
    pub(super) out: &'a mut E,
    /// The election that Zab asked for, to be held once its step is over.
    pub(super) look: Option<Vote>,
    /// The epoch that was established.
    pub(super) established: Option<Epoch>,
}

impl<M: Machine, E: Effects<M>> zab::Effects<M::Txn> for ZabSink<'_, M, E> {
    fn send(&mut self, to: ServerId, message: &Message<M::Txn>) {
        self.out.send_message(to, message);
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid) {
        self.out.stream_snapshot(to, last, self.machine);
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        self.out.stream_log(to, after, through);
    }

    fn connect(&mut self, to: ServerId) {
        self.out.connect(to);
    }

    fn disconnect(&mut self, peer: ServerId) {
        if let Service::Leading(reign) = self.service {
            reign.forget(peer);
        }
        self.out.disconnect(peer);
    }

    fn refuse(&mut self, from: ServerId) {
        self.out.refuse(from);
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &M::Txn) {
        self.out.append(ticket, zxid, txn);
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.out.truncate(ticket, last);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.out.sync_log(ticket);
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.out.save_accepted(ticket, epoch);
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.out.save_current(ticket, epoch);
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid) {
        self.out.save_snapshot(ticket, label, self.machine);
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.out.locate(ticket, zxid);
    }

    fn reload(&mut self) {
        self.out.reload();
    }

    /// Events go out while the transaction is applied, replies after it: a client learns of a change that it watches
    /// before it can see it (rule C-9).
    fn deliver(&mut self, zxid: Zxid, txn: &M::Txn) {
        let origin = M::origin(txn);
        let outcome = self.machine.apply(zxid, txn, &mut self.clients.watches, &mut |client, event| {
            self.out.notify_client(client, zxid, event);
        });
        if let Service::Leading(reign) = self.service {
            self.machine.settle(&mut reign.outstanding, zxid);
            if origin.change == SessionChange::Close {
                reign.sessions.remove(origin.session);
            }
            // The commit is sent, and the next one is not (rule C-16).
            while let Some(learner) = reign.turns.next(zxid) {
                self.out.send(learner, &Packet::Sync);
            }
        }
        self.clients.applied(self.machine, zxid, origin, &outcome, self.out);
    }

    fn replay(&mut self, zxid: Zxid, txn: &M::Txn) {
        // Nobody is served, so nobody watches.
        self.machine.apply(zxid, txn, &mut self.clients.watches, &mut |_, _| {});
    }

    fn set_timer(&mut self, timer: Timer) {
        self.out.set_timer(timer);
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.out.cancel_timer(timer);
    }

    fn look(&mut self, vote: Vote) {
        self.look = Some(vote);
    }

    fn serve(&mut self, role: Role, epoch: Epoch) {
        *self.service = match role {
            Role::Leading => {
                self.out.set_timer(Timer::Ping);
                self.out.set_timer(Timer::Expiry);
                if self.config.sweep_max > 0 {
                    self.out.set_timer(Timer::Sweep);
                }
                Service::Leading(Reign::new(self.machine, self.config.tick_ms))
            }
            Role::Following(leader) | Role::Observing(leader) => Service::Following(Fellowship::new(leader)),
        };
        self.established = Some(epoch);
        self.out.role(Some(role), epoch, true);
    }

    fn retire(&mut self) {
        match self.service {
            Service::Leading(reign) => {
                self.out.cancel_timer(Timer::Ping);
                self.out.cancel_timer(Timer::Expiry);
                if self.config.sweep_max > 0 {
                    self.out.cancel_timer(Timer::Sweep);
                }
                if reign.sweep.paces {
                    self.out.cancel_timer(Timer::SweepNext);
                }
            }
            Service::Following(_) | Service::ReadOnly(_) | Service::Closed => {}
        }
        *self.service = Service::Closed;
        self.clients.clear(self.out);
    }

    fn note(&mut self, note: Note) {
        self.out.note(note);
    }

    fn exit(&mut self, why: Exit) {
        self.out.exit(why);
    }
}

/// Takes the effects of one step of the election.
pub(super) struct ElectionSink<'a, M, E> {
    pub(super) out: &'a mut E,
    /// The leader that was elected, to be followed once the step is over.
    pub(super) elected: Option<ServerId>,
    machine: PhantomData<M>,
}

impl<'a, M: Machine, E: Effects<M>> ElectionSink<'a, M, E> {
    pub(super) fn new(out: &'a mut E) -> Self {
        Self { out, elected: None, machine: PhantomData }
    }
}

impl<M: Machine, E: Effects<M>> election::Effects for ElectionSink<'_, M, E> {
    fn notify(&mut self, to: ServerId, notification: &Notification) {
        self.out.notify_server(to, notification);
    }

    fn elected(&mut self, leader: ServerId) {
        self.elected = Some(leader);
    }

    fn set_timer(&mut self, timer: Timer) {
        self.out.set_timer(timer);
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.out.cancel_timer(timer);
    }

    fn note(&mut self, note: Note) {
        self.out.note(note);
    }
}
