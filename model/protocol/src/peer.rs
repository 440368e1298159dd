//! One server: routes inputs to the actors of election, Zab and sessions, and runs the pipeline of requests.
//!
//! A request of a client is answered from the state at once, or it becomes a transaction: the server of the
//! connection submits it to the leader, perhaps itself; the leader checks who owns the session, prepares the whole
//! outcome and proposes it; every server applies it at its place in the order, and the one whose client waits for it
//! answers. Nothing of this outlives the role: when it is lost, all connections are closed, and clients come back to
//! whoever serves then.
mod barrier;
mod client;
mod links;
mod pipeline;
mod read_only;
mod service;
mod sink;
mod surface;
mod turns;
mod words;

use serde::{Deserialize, Serialize};
use spec::{ClientId, Machine, ServerId, SessionId, Zxid};

pub use self::surface::{Answer, ClientRequest, Config, Effects, Input, Op, Packet, Request};
use self::{
    barrier::{Source, Waiter},
    client::Clients,
    pipeline::Claim,
    service::Service,
    sink::{ElectionSink, ZabSink},
    words::Words,
};
use crate::{Election, Note, Recovered, Role, Timer, election, session::Sessions, zab, zab::Zab};

/// One server's peer, for a replicated state of type `M`, which its caller owns.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Peer<M: Machine> {
    config: Config<M::Settings>,
    zab: Zab<M::Txn>,
    election: Election,
    words: Words,
    clients: Clients<M>,
    service: Service<M>,
    next_session: SessionId,
}

impl<M: Machine> Peer<M> {
    /// Starts from what recovery read; `machine` holds all of it.
    pub fn boot(
        config: Config<M::Settings>,
        recovered: Recovered<M::Txn>,
        machine: &mut M,
        out: &mut impl Effects<M>,
    ) -> Self {
        let (mut clients, mut service) = (Clients::new(config.settings.clone()), Service::Closed);
        let mut sink = ZabSink {
            config: &config,
            clients: &mut clients,
            service: &mut service,
            machine,
            out,
            look: None,
            established: None,
        };
        let zab = Zab::boot(config.zab.clone(), recovered, &mut sink);
        let election = Election::new(config.zab.me, config.zab.quorum.clone());
        let next_session = config.first_session;
        Self { config, zab, election, words: Words::default(), clients, service, next_session }
    }

    /// The order of transactions, to look at.
    pub fn zab(&self) -> &Zab<M::Txn> {
        &self.zab
    }

    /// The elections, to look at.
    pub fn election(&self) -> &Election {
        &self.election
    }

    /// Whether clients are served, under a leader.
    pub fn is_serving(&self) -> bool {
        match self.service {
            Service::Leading(_) | Service::Following(_) => true,
            Service::Closed | Service::ReadOnly(_) => false,
        }
    }

    /// Whether clients that only read are served, for want of a leader.
    pub fn is_read_only(&self) -> bool {
        matches!(self.service, Service::ReadOnly(_))
    }

    /// Requests of this server's clients that are not answered. A caller that bounds them stops reading its clients.
    pub fn outstanding_requests(&self) -> usize {
        self.clients.unanswered()
    }

    /// The session that a connection has, or is to have.
    pub fn session_of(&self, client: ClientId) -> Option<SessionId> {
        self.clients.session_of(client)
    }

    /// How many connections have a session, or are about to.
    pub fn connections(&self) -> usize {
        self.clients.len()
    }

    /// Whether a request with this number is under way whose connection, which had this session, is gone.
    pub fn keeps(&self, session: SessionId, xid: i32) -> bool {
        self.clients.keeps(session, xid)
    }

    /// The sessions of which requests are under way whose connections are gone, to look at: once for each number.
    pub fn kept(&self) -> impl Iterator<Item = SessionId> {
        self.clients.kept()
    }

    /// What this leader holds of each session: the ticks until it expires if nothing touches it, to look at. Of a server
    /// that has no leader, of the sessions that only read there; nothing of a learner.
    pub fn expiries(&self) -> impl Iterator<Item = (SessionId, u32)> {
        let sessions = match &self.service {
            Service::Leading(reign) => Some(&reign.sessions),
            Service::ReadOnly(resort) => Some(&resort.sessions),
            Service::Closed | Service::Following(_) => None,
        };
        sessions.into_iter().flat_map(Sessions::left)
    }

    /// The watches of this server's connections, to look at.
    pub fn watches(&self) -> &M::Watches {
        &self.clients.watches
    }

    /// Whether a whole state with this label from this server would be taken now; see [`Zab::takes_snapshot`].
    pub fn takes_snapshot(&self, from: ServerId, label: Zxid) -> bool {
        self.zab.takes_snapshot(from, label)
    }

    /// Gives the role up, as after a lost quorum: for a server that is about to stop.
    pub fn resign(&mut self, machine: &mut M, out: &mut impl Effects<M>) {
        self.with_zab(machine, out, |zab, sink| zab.resign(sink));
    }

    /// Takes one input.
    pub fn step(&mut self, machine: &mut M, input: Input<M>, out: &mut impl Effects<M>) {
        match input {
            Input::Connected(to) => self.zab_step(machine, zab::Input::Connected(to), out),
            Input::Accepted(from) => {
                self.forget_link(from);
                self.zab_step(machine, zab::Input::Accepted(from), out);
            }
            Input::Disconnected(peer) => {
                self.forget_link(peer);
                self.zab_step(machine, zab::Input::Disconnected(peer), out);
            }
            Input::Packet { from, packet, time } => self.on_packet(machine, from, packet, time, out),
            Input::Snapshot { from, zxid } => {
                self.zab_step(machine, zab::Input::Snapshot { from, zxid }, out);
            }
            Input::Notification { from, notification } => {
                if self.config.zab.quorum.is_voter(from) {
                    self.words.hear(from, notification);
                }
                self.elect(machine, election::Input::Notification { from, notification }, out);
                self.reconsider(machine, from, out);
            }
            Input::ElectionLinkDown(peer) => {
                self.words.lose(peer);
                self.elect(machine, election::Input::LinkDown(peer), out);
                self.reconsider(machine, peer, out);
            }
            Input::Timer { timer, time } => self.on_timer(machine, timer, time, out),
            Input::Done(ticket) => self.zab_step(machine, zab::Input::Done(ticket), out),
            Input::Located { ticket, at } => {
                self.zab_step(machine, zab::Input::Located { ticket, at }, out);
            }
            Input::Reloaded(recovered) => self.zab_step(machine, zab::Input::Reloaded(recovered), out),
            Input::ClientConnect {
                client,
                identities,
                session,
                password,
                timeout_ms,
                last_seen,
                read_only,
                time,
            } => {
                let claim = Claim { session, password, timeout_ms, last_seen, read_only };
                self.on_connect(machine, client, identities, claim, time, out);
            }
            Input::ClientRequest { client, xid, request, time } => {
                let latest = self.zab.history().last();
                let due = self.clients.request(machine, latest, client, (xid, request), time, out);
                if let Some(submission) = due {
                    self.submit(machine, client, submission, out);
                }
            }
            Input::ClientClosed(client) => {
                while let Some(submission) = self.clients.left_behind(client, self.zab.history().last()) {
                    self.submit(machine, client, submission, out);
                }
                self.clients.closed(client, out);
            }
        }
        self.advance(machine, out);
    }

    /// Lets everything go on that an input has unblocked.
    fn advance(&mut self, machine: &mut M, out: &mut impl Effects<M>) {
        loop {
            while let Service::Leading(reign) = &mut self.service
                && let Some(waiter) = reign.barrier.release(self.zab.committed())
            {
                match waiter {
                    Waiter::Sync(Source::Client(client)) => self.clients.sync_through(client, machine, out),
                    Waiter::Sync(Source::Learner(learner)) => out.send(learner, &Packet::Sync),
                    Waiter::Refusal(Source::Client(client), _) => self.clients.refuse(client, out),
                    Waiter::Refusal(Source::Learner(learner), session) => {
                        out.send(learner, &Packet::Revalidated { session, valid: false });
                    }
                    Waiter::Claim(observer, session) => {
                        let valid = reign.sessions.knows(session);
                        out.send(observer, &Packet::Revalidated { session, valid });
                    }
                }
            }
            match self.clients.resume(self.zab.history().last()) {
                Some((client, submission)) => self.submit(machine, client, submission, out),
                None => return,
            }
        }
    }

    fn zab_step(&mut self, machine: &mut M, input: zab::Input<M::Txn>, out: &mut impl Effects<M>) {
        self.with_zab(machine, out, |zab, sink| zab.step(input, sink));
    }

    /// Lets Zab do something, and carries out what it asks of its neighbours.
    fn with_zab<E: Effects<M>>(
        &mut self,
        machine: &mut M,
        out: &mut E,
        act: impl FnOnce(&mut Zab<M::Txn>, &mut ZabSink<'_, M, E>),
    ) {
        let had_role = self.zab.role().is_some();
        let mut sink = ZabSink {
            config: &self.config,
            clients: &mut self.clients,
            service: &mut self.service,
            machine,
            out,
            look: None,
            established: None,
        };
        act(&mut self.zab, &mut sink);
        let ZabSink { look, established, .. } = sink;
        let lost_role = had_role && self.zab.role().is_none();
        if lost_role {
            out.role(None, self.zab.current(), false);
        }
        if let Some(epoch) = established {
            self.elect(machine, election::Input::Established(epoch), out);
        }
        match look {
            Some(vote) => {
                if self.config.read_only {
                    out.set_timer(Timer::ReadOnly);
                }
                self.elect(machine, election::Input::Look(vote), out);
            }
            None if lost_role => self.elect(machine, election::Input::Stopped, out),
            None => {}
        }
    }

    /// Lets the election do something, and follows its leader if it has found one.
    fn elect<E: Effects<M>>(&mut self, machine: &mut M, input: election::Input, out: &mut E) {
        let mut sink = ElectionSink::<M, E>::new(out);
        self.election.step(input, &mut sink);
        if let Some(leader) = sink.elected {
            self.leave_read_only(out);
            let zab::Config { me, .. } = self.config.zab;
            let role = match leader {
                _ if leader == me => Role::Leading,
                _ if self.config.zab.is_observer() => Role::Observing(leader),
                _ => Role::Following(leader),
            };
            out.role(Some(role), self.zab.current(), false);
            self.zab_step(machine, zab::Input::Elected(leader), out);
        }
    }

    /// Gives a role up that has come to nothing by what this voter says, or by its silence, as the timer would that
    /// guards the wait for the epoch (rule E-15).
    fn reconsider(&mut self, machine: &mut M, voter: ServerId, out: &mut impl Effects<M>) {
        if self.is_serving() {
            return;
        }
        let zab::Config { me, quorum, .. } = &self.config.zab;
        let round = self.election.round();
        let stands = match self.zab.role() {
            None => true,
            Some((Role::Leading, _)) => self.words.stand_by(quorum, *me, round),
            Some((Role::Following(leader) | Role::Observing(leader), _)) => {
                leader != voter || self.words.may_lead(leader, round)
            }
        };
        if !stands {
            out.note(Note::InVain { by: voter });
            self.zab_step(machine, zab::Input::Timer(Timer::Establish), out);
        }
    }

    fn on_timer(&mut self, machine: &mut M, timer: Timer, time: i64, out: &mut impl Effects<M>) {
        match (timer, &self.service) {
            (Timer::Ping, Service::Leading(_)) => {
                self.ping(out);
                out.set_timer(Timer::Ping);
            }
            (Timer::Expiry, Service::Leading(_)) => {
                out.set_timer(Timer::Expiry);
                self.expire(machine, time, out);
            }
            (Timer::Sweep, Service::Leading(_)) => {
                out.set_timer(Timer::Sweep);
                self.find_due(machine, time, out);
            }
            (Timer::SweepNext, Service::Leading(_)) => self.sweep_next(machine, time, out),
            (Timer::ReadOnly, Service::Closed) if self.zab.is_looking() => self.serve_reads(machine, out),
            (Timer::Expiry, Service::ReadOnly(_)) => {
                out.set_timer(Timer::Expiry);
                self.expire_read_only(out);
            }
            (Timer::Expiry, Service::Following(_) | Service::Closed)
            | (
                Timer::Ping | Timer::Sweep | Timer::SweepNext,
                Service::Following(_) | Service::Closed | Service::ReadOnly(_),
            )
            | (Timer::ReadOnly, _) => out.note(Note::IdleTimer(timer)),
            (Timer::Resend | Timer::Finalize, _) => self.elect(machine, election::Input::Timer(timer), out),
            (Timer::Establish | Timer::Handshake(_) | Timer::Silence(_), _) => {
                self.zab_step(machine, zab::Input::Timer(timer), out);
            }
        }
    }
}
