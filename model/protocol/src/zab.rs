//! Zab: one order of transactions over servers that crash and links that break.
//!
//! A server recovers, looks for a leader, then leads or follows until it loses the role, and looks again. Between
//! two roles it comes to rest: every disk operation under way ends first, and the state becomes what a restart would
//! load. So a role starts from what is durable, and from nothing else (rule Z-12).

mod core;
mod history;
mod leader;
mod learner;
mod rename;
mod surface;
mod ticket;

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};

use self::{
    core::{Core, Next},
    leader::Leader,
    learner::Learner,
    ticket::Pending,
};
pub use self::{
    history::History,
    surface::{Config, Effects, Input},
};
use crate::{Exit, Message, Note, Recovered, Role, Ticket, Timer};

/// One server's part in Zab; `T` is the transaction, opaque here.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Zab<T> {
    phase: Phase<T>,
    core: Core<T>,
}

/// What a server is at.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Phase<T> {
    /// Coming to rest: disk operations are under way, from recovery or from a role that is lost.
    Resting,
    /// Taking part in an election.
    Looking,
    /// Following, or trying to.
    Learning(Learner<T>),
    /// Leading, or trying to.
    Leading(Leader),
}

impl<T: Clone> Zab<T> {
    /// Starts from what recovery read: none of it counts before it is durable (rule D-9).
    pub fn boot(config: Config, recovered: Recovered<T>, out: &mut impl Effects<T>) -> Self {
        let mut core = Core::new(config, recovered);
        let ticket = core.tickets.issue(Pending::Recovered);
        out.sync_log(ticket);
        Self { phase: Phase::Resting, core }
    }

    /// The last epoch promised, durably.
    pub fn accepted(&self) -> Epoch {
        self.core.accepted
    }

    /// The last epoch joined, as it is stored.
    pub fn current(&self) -> Epoch {
        self.core.current
    }

    /// What elections compare: the last epoch joined, which the last transaction may tell of, and that transaction.
    pub fn rank(&self) -> (Epoch, Zxid) {
        self.core.rank()
    }

    /// The last transaction that this start of the process knows to be committed.
    pub fn committed(&self) -> Zxid {
        self.core.committed
    }

    /// Whether this server has no vote.
    pub fn is_observer(&self) -> bool {
        self.core.config.is_observer()
    }

    /// The recent end of the log.
    pub fn history(&self) -> &History<T> {
        &self.core.history
    }

    /// The role that was taken up, established or not, and its epoch as far as it is known.
    pub fn role(&self) -> Option<(Role, Epoch)> {
        match &self.phase {
            Phase::Resting | Phase::Looking => None,
            Phase::Learning(learner) => Some((learner.role(&self.core), learner.epoch)),
            Phase::Leading(leader) => Some((Role::Leading, leader.epoch)),
        }
    }

    /// How many packets of the leader wait until the log is cut, or the state that was received is stored. Whoever reads
    /// them off the link may leave more of them there.
    pub fn kept_aside(&self) -> usize {
        match &self.phase {
            Phase::Learning(learner) => learner.kept_aside(),
            Phase::Resting | Phase::Looking | Phase::Leading(_) => 0,
        }
    }

    /// Whether the server waits for an election to choose a leader.
    pub fn is_looking(&self) -> bool {
        matches!(self.phase, Phase::Looking)
    }

    /// Whether clients may be served: the epoch is established here.
    pub fn is_serving(&self) -> bool {
        match &self.phase {
            Phase::Resting | Phase::Looking => false,
            Phase::Learning(learner) => learner.stage == learner::Stage::Following,
            Phase::Leading(leader) => leader.stage == leader::Stage::Broadcasting,
        }
    }

    /// Whether the leader, this server or the one that it follows, has the promise of a quorum; the epoch may not be
    /// established yet.
    pub fn is_past_discovery(&self) -> bool {
        match &self.phase {
            Phase::Resting | Phase::Looking => false,
            Phase::Learning(learner) => learner.stage >= learner::Stage::Synchronising,
            Phase::Leading(leader) => leader.stage >= leader::Stage::Synchronising,
        }
    }

    /// The epoch whose NEWLEADER this server has acknowledged, or proposed as its leader.
    pub fn joined(&self) -> Option<Epoch> {
        match &self.phase {
            Phase::Learning(learner) if learner.stage >= learner::Stage::Joined => Some(learner.epoch),
            Phase::Leading(leader) if leader.stage >= leader::Stage::Synchronising => Some(leader.epoch),
            Phase::Resting | Phase::Looking | Phase::Learning(_) | Phase::Leading(_) => None,
        }
    }

    /// How many proposals this follower has read and not logged: the open ones of its synchronisation.
    pub fn queued(&self) -> usize {
        match &self.phase {
            Phase::Learning(learner) => learner.queued(),
            Phase::Resting | Phase::Looking | Phase::Leading(_) => 0,
        }
    }

    /// The learners that get everything of this leader: followers what it proposes, observers what is decided.
    pub fn learners(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.leader().into_iter().flat_map(Leader::forwarding)
    }

    /// The learners that have joined this leader's epoch.
    pub fn joined_learners(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.leader().into_iter().flat_map(Leader::joined)
    }

    /// Whether this learner of this leader knows Zabkeeper's extensions.
    pub fn is_extended(&self, learner: ServerId) -> bool {
        self.leader().is_some_and(|leader| leader.is_extended(learner))
    }

    /// The zxid that the next proposal will have; none if this server does not lead an established epoch, or its
    /// counter is used up.
    pub fn next_zxid(&self) -> Option<Zxid> {
        self.leader().and_then(|leader| leader.next_zxid(&self.core))
    }

    /// The last zxid proposed in the epoch that this server leads.
    pub fn last_proposed(&self) -> Option<Zxid> {
        self.leader().map(|leader| leader.last_proposed)
    }

    fn leader(&self) -> Option<&Leader> {
        match &self.phase {
            Phase::Leading(leader) => Some(leader),
            Phase::Resting | Phase::Looking | Phase::Learning(_) => None,
        }
    }

    /// A packet that is not of this actor came from there: the other end lives.
    pub fn heard_from(&self, from: ServerId, out: &mut impl Effects<T>) {
        match &self.phase {
            Phase::Leading(leader) => leader.heard_from(&self.core, from, out),
            Phase::Learning(learner) if learner.stage == learner::Stage::Following => {
                out.set_timer(Timer::Silence(learner.leader));
            }
            Phase::Learning(_) | Phase::Resting | Phase::Looking => {}
        }
    }

    /// Gives the role up, as after a lost quorum: for a server that is about to stop.
    pub fn resign(&mut self, out: &mut impl Effects<T>) {
        if self.role().is_some() {
            self.lose_role(out);
        }
    }

    /// Whether a whole state with this label from this server would be taken now. Whoever drives this actor puts the
    /// state in place in front of [`Input::Snapshot`], and only if so (rule Z-14).
    pub fn takes_snapshot(&self, from: ServerId, label: Zxid) -> bool {
        match &self.phase {
            Phase::Learning(learner) if learner.leader == from => {
                learner.takes_snapshot(&self.core, label).is_ok()
            }
            Phase::Leading(_) | Phase::Learning(_) | Phase::Resting | Phase::Looking => false,
        }
    }

    /// Takes one input.
    pub fn step(&mut self, input: Input<T>, out: &mut impl Effects<T>) {
        let next = match input {
            Input::Elected(leader) => self.on_elected(leader, out),
            Input::Connected(to) => self.on_connected(to, out),
            Input::Accepted(from) => self.on_accepted(from, out),
            Input::Disconnected(peer) => self.on_disconnected(peer, out),
            Input::Message { from, message } => self.on_message(from, message, out),
            Input::Snapshot { from, zxid } => self.on_snapshot(from, zxid, out),
            Input::Timer(timer) => self.on_timer(timer, out),
            Input::Done(ticket) => self.on_done(ticket, out),
            Input::Located { ticket, at } => self.on_located(ticket, at, out),
            Input::Reloaded(recovered) => self.on_reloaded(recovered, out),
            Input::Propose(txn) => self.on_propose(txn, out),
        };
        if next == Next::Look {
            self.lose_role(out);
        }
    }

    fn on_elected(&mut self, chosen: ServerId, out: &mut impl Effects<T>) -> Next {
        assert!(self.is_looking(), "Z-11: a leader was elected while this server was not looking");
        assert!(self.core.config.quorum.may_lead(chosen), "F-3: {chosen} was elected, and may not lead");
        self.phase = if chosen == self.core.config.me {
            Phase::Leading(Leader::start(&mut self.core, out))
        } else {
            Phase::Learning(Learner::start(chosen, &self.core, out))
        };
        Next::Stay
    }

    fn on_connected(&mut self, to: ServerId, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Learning(learner) if learner.leader == to => learner.on_connected(&self.core, out),
            Phase::Learning(_) | Phase::Leading(_) | Phase::Resting | Phase::Looking => {
                out.note(Note::Stray { from: to });
            }
        }
        Next::Stay
    }

    fn on_accepted(&mut self, from: ServerId, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Leading(leader) => leader.on_accepted(&self.core, from, out),
            Phase::Learning(_) | Phase::Resting | Phase::Looking => {
                out.note(Note::Refused { from });
                out.refuse(from);
                Next::Stay
            }
        }
    }

    fn on_disconnected(&mut self, peer: ServerId, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Leading(leader) => leader.on_disconnected(&self.core, peer, out),
            Phase::Learning(learner) if learner.leader == peer => learner.on_disconnected(out),
            Phase::Learning(_) | Phase::Resting | Phase::Looking => {
                out.note(Note::Stray { from: peer });
                Next::Stay
            }
        }
    }

    fn on_message(&mut self, from: ServerId, message: Message<T>, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Leading(leader) => leader.on_message(&mut self.core, from, message, out),
            Phase::Learning(learner) if learner.leader == from => {
                learner.on_message(&mut self.core, message, out)
            }
            Phase::Learning(_) | Phase::Resting | Phase::Looking => {
                out.note(Note::Stray { from });
                Next::Stay
            }
        }
    }

    fn on_snapshot(&mut self, from: ServerId, zxid: Zxid, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Learning(learner) if learner.leader == from => {
                learner.on_snapshot(&mut self.core, zxid, out)
            }
            Phase::Leading(_) | Phase::Learning(_) | Phase::Resting | Phase::Looking => {
                out.note(Note::Stray { from });
                Next::Stay
            }
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Leading(leader) => leader.on_timer(&self.core, timer, out),
            Phase::Learning(learner) => learner.on_timer(timer, out),
            Phase::Resting | Phase::Looking => {
                out.note(Note::IdleTimer(timer));
                Next::Stay
            }
        }
    }

    /// A disk operation is durable. What that means for the disk's image is the same in every role; what follows from
    /// it is the role's.
    fn on_done(&mut self, ticket: Ticket, out: &mut impl Effects<T>) -> Next {
        let pending =
            self.core.tickets.take(ticket).expect("D-16: the disk ended an operation that nobody asked for");
        let core = &mut self.core;
        match pending {
            Pending::Recovered => core.history.flush(core.history.last()),
            Pending::Append(zxid) => core.history.flush(zxid),
            Pending::Accepted(epoch) => core.accepted = epoch,
            Pending::Current(epoch) => core.current = epoch,
            Pending::Truncate(_) => {}
            Pending::Snapshot(label) => {
                core.history.reset(label);
                core.stale = false;
            }
            Pending::Locate(..) => unreachable!("D-16: a search of the log ends with its answer"),
        }
        match &mut self.phase {
            Phase::Leading(leader) => leader.on_done(core, pending, out),
            Phase::Learning(learner) => learner.on_done(core, pending, out),
            Phase::Resting => {
                self.rest(out);
                Next::Stay
            }
            Phase::Looking => unreachable!("Z-12: an operation outlived its role"),
        }
    }

    fn on_located(&mut self, ticket: Ticket, at: Option<Zxid>, out: &mut impl Effects<T>) -> Next {
        let pending = self.core.tickets.take(ticket);
        match (&mut self.phase, pending) {
            (Phase::Leading(leader), Some(Pending::Locate(to, wanted))) => {
                leader.on_located(&self.core, to, wanted, at, out);
            }
            (Phase::Resting, Some(Pending::Locate(..))) => self.rest(out),
            _ => unreachable!("D-16: an answer that nobody asked for"),
        }
        Next::Stay
    }

    fn on_reloaded(&mut self, recovered: Recovered<T>, out: &mut impl Effects<T>) -> Next {
        let found = recovered.last;
        self.core.on_reloaded(recovered);
        match &mut self.phase {
            Phase::Learning(learner) => {
                if let learner::Stage::Cutting(wanted) = learner.stage
                    && !learner::is_cut(wanted, found)
                {
                    out.exit(Exit::TruncateFailed { wanted, found });
                    return Next::Stay;
                }
                learner.prepared(&mut self.core, out)
            }
            Phase::Resting => {
                self.rest(out);
                Next::Stay
            }
            Phase::Leading(_) | Phase::Looking => {
                unreachable!("Z-12: the state was loaded anew under a role")
            }
        }
    }

    fn on_propose(&mut self, txn: T, out: &mut impl Effects<T>) -> Next {
        match &mut self.phase {
            Phase::Leading(leader) => leader.propose(&mut self.core, txn, out),
            Phase::Learning(_) | Phase::Resting | Phase::Looking => {
                unreachable!("Z-7: a proposal by a server that does not lead")
            }
        }
    }

    /// Ends the role: every link is closed and every timer stopped, so that nothing of it reaches the next one.
    fn lose_role(&mut self, out: &mut impl Effects<T>) {
        let serving = self.is_serving();
        match &self.phase {
            Phase::Leading(leader) => leader.close(out),
            Phase::Learning(learner) => learner.close(out),
            Phase::Resting | Phase::Looking => {}
        }
        self.phase = Phase::Resting;
        if serving {
            out.retire();
        }
        self.rest(out);
    }

    /// Looks for a leader once the disk is idle and the state is what a restart would load: by applying what is
    /// logged, or, if the state does not belong to the log, by loading it.
    fn rest(&mut self, out: &mut impl Effects<T>) {
        if !self.core.tickets.is_empty() || self.core.reloading {
            return;
        }
        if self.core.stale {
            return self.core.reload(out);
        }
        self.core.replay(out);
        self.phase = Phase::Looking;
        out.note(Note::Looking { last: self.core.history.last() });
        out.look(self.core.vote());
    }
}
