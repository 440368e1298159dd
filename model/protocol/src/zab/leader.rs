//! Leading: win a quorum's promise for a new epoch, bring each learner to this server's history, establish the
//! epoch, then propose and commit in one order.
//!
//! What counts as an acknowledgement is read off the learners that are connected now: a learner whose link broke may
//! have to cut proposals that it acknowledged before, when it comes back (rule Z-8).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};

use super::{
    Effects,
    core::{Core, Next, rank},
    ticket::Pending,
};
use crate::{Message, Note, Role, Timer, Violation, io::SyncKind};

/// A server that leads, or means to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Leader {
    pub(super) stage: Stage,
    /// The epoch that is led, once it is chosen; before that the least that would do.
    pub(super) epoch: Epoch,
    /// Whose FOLLOWERINFO was counted, then whose ACKEPOCH: kept when a link breaks, for a promise lasts.
    pub(super) promises: BTreeSet<ServerId>,
    pub(super) learners: BTreeMap<ServerId, Learner>,
    pub(super) last_proposed: Zxid,
}

/// How far a leader is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Waiting for the FOLLOWERINFO of a quorum.
    Gathering,
    /// Its own promise is being stored.
    Promising,
    /// LEADERINFO is out; waiting for the ACKEPOCH of a quorum.
    Electing,
    /// The current epoch is being stored.
    SavingCurrent,
    /// Bringing learners up to date; waiting for a quorum to have joined.
    Synchronising,
    /// The epoch is established.
    Broadcasting,
}

/// One connected learner, as its leader sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Learner {
    stage: LearnerStage,
    /// Whether it knows Zabkeeper's extensions.
    extended: bool,
}

/// The log of a learner that is to be brought up to date.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Log {
    /// Its last transaction.
    last: Zxid,
    /// It can be cut at any transaction from this one on.
    floor: Zxid,
}

/// How far a learner is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum LearnerStage {
    /// The link is up.
    Connected,
    /// FOLLOWERINFO was read.
    Introduced,
    /// LEADERINFO was sent.
    Told,
    /// ACKEPOCH was read; this is the log it has.
    Promised(Log),
    /// The own log on disk is searched for the end of this one.
    Locating(Log),
    /// NEWLEADER was sent, and every proposal since; this is the last transaction sent as committed before, or a later
    /// one that was acknowledged too early (rule Z-8).
    Synchronising(Zxid),
    /// It has joined the epoch, and is durable through this transaction.
    Joined(Zxid),
}

impl Leader {
    pub(super) fn start<T: Clone>(core: &mut Core<T>, out: &mut impl Effects<T>) -> Self {
        out.set_timer(Timer::Establish);
        let mut leader = Self {
            stage: Stage::Gathering,
            epoch: core.accepted.checked_next().unwrap_or(Epoch::LAST),
            promises: BTreeSet::from([core.config.me]),
            learners: BTreeMap::new(),
            last_proposed: core.history.last(),
        };
        leader.gather(core, out);
        leader
    }

    /// The learners that get what this leader sends to all: the voters among them every proposal and its commit, the
    /// observers what is decided.
    pub(super) fn forwarding(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.learners.iter().filter(|(_, learner)| learner.forwards()).map(|(id, _)| *id)
    }

    /// The learners that have joined the epoch.
    pub(super) fn joined(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.learners.iter().filter(|(_, learner)| learner.durable().is_some()).map(|(id, _)| *id)
    }

    /// Whether this learner knows Zabkeeper's extensions.
    pub(super) fn is_extended(&self, learner: ServerId) -> bool {
        self.learners.get(&learner).is_some_and(|learner| learner.extended)
    }

    /// A new link takes the place of an older one, if that was not noticed to be broken yet. What the learner had
    /// acknowledged on it counts no longer (rule Z-8), and the quorum may be gone with it (rule Z-10).
    pub(super) fn on_accepted<T>(
        &mut self,
        core: &Core<T>,
        from: ServerId,
        out: &mut impl Effects<T>,
    ) -> Next {
        out.set_timer(Timer::Handshake(from));
        out.cancel_timer(Timer::Silence(from));
        self.learners.insert(from, Learner { stage: LearnerStage::Connected, extended: false });
        let next = self.check_quorum(core);
        if next == Next::Look {
            out.note(Note::CameBack { learner: from });
        }
        next
    }

    pub(super) fn on_disconnected<T>(
        &mut self,
        core: &Core<T>,
        from: ServerId,
        out: &mut impl Effects<T>,
    ) -> Next {
        out.cancel_timer(Timer::Handshake(from));
        out.cancel_timer(Timer::Silence(from));
        self.learners.remove(&from);
        self.check_quorum(core)
    }

    /// An established leader that is left without a quorum of joined learners leads no longer.
    pub(super) fn check_quorum<T>(&self, core: &Core<T>) -> Next {
        let lost = self.stage == Stage::Broadcasting && !self.quorum_joined(core);
        if lost { Next::Look } else { Next::Stay }
    }

    fn quorum_joined<T>(&self, core: &Core<T>) -> bool {
        core.config.quorum.decides_where(|voter| voter == core.config.me || self.durable(voter).is_some())
    }

    /// Through which transaction a learner that has joined the epoch is durable.
    fn durable(&self, learner: ServerId) -> Option<Zxid> {
        self.learners.get(&learner).and_then(|learner| learner.durable())
    }

    fn drop_learner<T>(&mut self, core: &Core<T>, learner: ServerId, out: &mut impl Effects<T>) -> Next {
        out.disconnect(learner);
        self.on_disconnected(core, learner, out)
    }

    pub(super) fn on_message<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        from: ServerId,
        message: Message<T>,
        out: &mut impl Effects<T>,
    ) -> Next {
        let Some(learner) = self.learners.get(&from).copied() else {
            out.note(Note::Stray { from });
            return Next::Stay;
        };
        let votes = core.config.quorum.is_voter(from);
        let verdict = match message {
            Message::FollowerInfo { .. } if !votes => Err(Violation::NotItsPart),
            Message::ObserverInfo { .. } if votes => Err(Violation::NotItsPart),
            // It has promised a later epoch, as the leader that it failed to become, and can never join this one.
            // The next epoch will be one that it can (rule F-5); but none is above the end of all (Z-4).
            Message::FollowerInfo { accepted, .. }
                if accepted > self.epoch && self.stage == Stage::Broadcasting =>
            {
                if accepted.checked_next().is_some() {
                    out.note(Note::Outranked { by: from });
                    return Next::Look;
                }
                Err(Violation::BadState)
            }
            Message::FollowerInfo { accepted, extended } | Message::ObserverInfo { accepted, extended } => {
                self.on_introduction(core, from, accepted, extended, out)
            }
            Message::AckEpoch { current, last, floor } => {
                return self.on_ack_epoch(core, from, current, Log { last, floor }, out);
            }
            Message::Ack { zxid } => match self.on_ack(core, from, learner, zxid, out) {
                Ok(next) => return next,
                Err(violation) => Err(violation),
            },
            Message::LeaderInfo { .. }
            | Message::Diff { .. }
            | Message::Trunc { .. }
            | Message::Proposal { .. }
            | Message::Commit { .. }
            | Message::Inform { .. }
            | Message::NewLeader { .. }
            | Message::UpToDate => Err(Violation::BadState),
        };
        self.judge(core, from, verdict, out)
    }

    fn judge<T>(
        &mut self,
        core: &Core<T>,
        from: ServerId,
        verdict: Result<(), Violation>,
        out: &mut impl Effects<T>,
    ) -> Next {
        match verdict {
            Ok(()) => Next::Stay,
            Err(violation) => {
                out.note(Note::Dropped { peer: from, violation });
                self.drop_learner(core, from, out)
            }
        }
    }

    /// FOLLOWERINFO or OBSERVERINFO. The epoch is chosen above every promise that is heard of, that of an observer too,
    /// or it could not join; only those of voters are counted. An observer is told of the epoch when it is established:
    /// so nothing reaches it that is not decided, it unseats nobody by what it has, and it promises no epoch that comes
    /// to nothing and would keep it from the leader that there is (rule Z-20).
    fn on_introduction<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        from: ServerId,
        accepted: Epoch,
        extended: bool,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        match self.learners.get_mut(&from) {
            Some(learner) if learner.stage == LearnerStage::Connected => {
                *learner = Learner { stage: LearnerStage::Introduced, extended };
            }
            _ => return Err(Violation::BadState),
        }
        let votes = core.config.quorum.is_voter(from);
        match self.stage {
            Stage::Gathering => {
                // A server that names an epoch at the end of all has not come to it by elections.
                // Nor is an observer to use the last epoch up, which nobody leads (Z-4).
                let above = accepted.checked_next().filter(|above| votes || *above != Epoch::LAST);
                self.epoch = self.epoch.max(above.ok_or(Violation::BadState)?);
                if votes {
                    self.promises.insert(from);
                    self.gather(core, out);
                }
            }
            Stage::Promising => {}
            Stage::Electing | Stage::SavingCurrent | Stage::Synchronising if !votes => {}
            Stage::Electing | Stage::SavingCurrent | Stage::Synchronising | Stage::Broadcasting => {
                self.tell(from, out);
            }
        }
        Ok(())
    }

    /// With a quorum's FOLLOWERINFO the epoch is chosen: greater than every promise seen. It is this server's own
    /// promise first of all, durable before anybody hears of it (rule Z-3). Nobody leads the last epoch of all (Z-4).
    fn gather<T: Clone>(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) {
        let free = self.epoch != Epoch::LAST;
        if self.stage == Stage::Gathering && free && core.config.quorum.decides(&self.promises) {
            self.stage = Stage::Promising;
            self.promises.clear();
            core.save_accepted(self.epoch, out);
        }
    }

    fn tell<T>(&mut self, to: ServerId, out: &mut impl Effects<T>) {
        if let Some(learner) = self.learners.get_mut(&to) {
            learner.stage = LearnerStage::Told;
            out.send(to, &Message::LeaderInfo { epoch: self.epoch, extended: true });
        }
    }

    fn on_ack_epoch<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        from: ServerId,
        current: Option<Epoch>,
        log: Log,
        out: &mut impl Effects<T>,
    ) -> Next {
        match self.learners.get_mut(&from) {
            Some(learner) if learner.stage == LearnerStage::Told => {
                learner.stage = LearnerStage::Promised(log);
            }
            _ => return self.judge(core, from, Err(Violation::BadState), out),
        }
        match (self.stage, current) {
            (Stage::Electing, Some(current)) => {
                // Without weight it counts for nothing, and neither does what it alone holds.
                if core.config.quorum.may_lead(from) && rank(current, log.last) > core.rank() {
                    out.note(Note::Outranked { by: from });
                    return Next::Look;
                }
                self.promises.insert(from);
                self.elect(core, out);
            }
            (Stage::Synchronising | Stage::Broadcasting, _) => self.synchronise(core, from, log, out),
            (Stage::Electing | Stage::SavingCurrent, _) => {}
            (Stage::Gathering | Stage::Promising, _) => {
                return self.judge(core, from, Err(Violation::BadState), out);
            }
        }
        Next::Stay
    }

    /// A quorum has promised, and nobody in it has more than this server: its history is the epoch's.
    fn elect<T: Clone>(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) {
        if self.stage == Stage::Electing && core.config.quorum.decides(&self.promises) {
            self.stage = Stage::SavingCurrent;
            self.promises.clear();
            core.save_current(self.epoch, out);
        }
    }

    fn on_ack<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        from: ServerId,
        learner: Learner,
        zxid: Zxid,
        out: &mut impl Effects<T>,
    ) -> Result<Next, Violation> {
        match learner.stage {
            LearnerStage::Synchronising(sent) if zxid == self.epoch.start() => {
                self.advance(from, LearnerStage::Joined(sent));
                out.cancel_timer(Timer::Handshake(from));
                if self.stage == Stage::Broadcasting {
                    out.set_timer(Timer::Silence(from));
                    out.send(from, &Message::UpToDate);
                    // What it acknowledged early counts from now on.
                    self.commit(core, out);
                } else {
                    self.establish(core, out);
                }
                Ok(Next::Stay)
            }
            // An observer answers NEWLEADER and UPTODATE, and acknowledges nothing else.
            LearnerStage::Synchronising(_) | LearnerStage::Joined(_)
                if zxid.counter() != 0 && !core.config.quorum.is_voter(from) =>
            {
                Err(Violation::BadAck { zxid })
            }
            LearnerStage::Synchronising(sent) if zxid <= sent => {
                out.note(Note::StaleAck { from, zxid });
                Ok(Next::Stay)
            }
            LearnerStage::Synchronising(sent) if zxid.follows(sent) && zxid <= self.last_proposed => {
                self.advance(from, LearnerStage::Synchronising(zxid));
                Ok(Next::Stay)
            }
            // UPTODATE is answered with the start of the epoch, as NEWLEADER is.
            LearnerStage::Joined(acked) if zxid <= acked || zxid == self.epoch.start() => {
                out.note(Note::StaleAck { from, zxid });
                self.heard_from(core, from, out);
                Ok(Next::Stay)
            }
            LearnerStage::Joined(acked) if zxid.follows(acked) && zxid <= self.last_proposed => {
                self.advance(from, LearnerStage::Joined(zxid));
                out.set_timer(Timer::Silence(from));
                self.commit(core, out);
                Ok(Next::Stay)
            }
            LearnerStage::Connected
            | LearnerStage::Introduced
            | LearnerStage::Told
            | LearnerStage::Promised(_)
            | LearnerStage::Locating(_)
            | LearnerStage::Synchronising(_)
            | LearnerStage::Joined(_) => Err(Violation::BadAck { zxid }),
        }
    }

    fn advance(&mut self, id: ServerId, stage: LearnerStage) {
        if let Some(learner) = self.learners.get_mut(&id) {
            learner.stage = stage;
        }
    }

    /// A packet from a learner shows that it lives; that its disk does, only an acknowledgement shows, while
    /// proposals wait for one. None waits for an observer.
    pub(super) fn heard_from<T>(&self, core: &Core<T>, from: ServerId, out: &mut impl Effects<T>) {
        let open = core.config.quorum.is_voter(from) && self.last_proposed.counter() != 0;
        if self.stage == Stage::Broadcasting
            && let Some(Learner { stage: LearnerStage::Joined(acked), .. }) = self.learners.get(&from)
            && (!open || *acked >= self.last_proposed)
        {
            out.set_timer(Timer::Silence(from));
        }
    }

    fn establish<T: Clone>(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) {
        if self.stage != Stage::Synchronising || !self.quorum_joined(core) {
            return;
        }
        self.stage = Stage::Broadcasting;
        self.last_proposed = self.epoch.start();
        core.committed = core.history.last();
        out.cancel_timer(Timer::Establish);
        out.note(Note::Established { epoch: self.epoch });
        for (id, learner) in &self.learners {
            // Before this there was nothing for it to say, however long the others took to join.
            if learner.durable().is_some() {
                out.set_timer(Timer::Silence(*id));
                out.send(*id, &Message::UpToDate);
            }
        }
        out.serve(Role::Leading, self.epoch);
        self.tell_waiting(|id| !core.config.quorum.is_voter(id), out);
    }

    /// Tells those of the epoch that have introduced themselves and wait for it.
    fn tell_waiting<T>(&mut self, whom: impl Fn(ServerId) -> bool, out: &mut impl Effects<T>) {
        let waiting = self.learners.iter().filter(|(_, learner)| learner.stage == LearnerStage::Introduced);
        let waiting: Vec<_> = waiting.map(|(id, _)| *id).filter(|id| whom(*id)).collect();
        for to in waiting {
            self.tell(to, out);
        }
    }

    /// Brings a learner from its last transaction to this server's history, and from here on sends it every proposal
    /// and commit: choosing where to start and joining the stream are one step, or a transaction could slip between.
    ///
    /// A learner that goes beyond what is applied here holds all of that (rule Z-13), and is cut back to it. The whole
    /// state would do for one of ours; one of ZooKeeper's leaves its log in place under a state that it receives, and
    /// would replay the end of it at its next start.
    fn synchronise<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        to: ServerId,
        log: Log,
        out: &mut impl Effects<T>,
    ) {
        let applied = core.history.applied();
        let ahead = log.last > applied && log.last.counter() != 0;
        match core.history.at_or_before(log.last) {
            _ if ahead => self.send_history(core, to, log, Start::cut(log, applied), out),
            Some(found) => self.send_history(core, to, log, Start::at(log, found), out),
            None if core.config.log_sync && log.last >= core.history.floor() => {
                self.advance(to, LearnerStage::Locating(log));
                let ticket = core.tickets.issue(Pending::Locate(to, log.last));
                out.locate(ticket, log.last);
            }
            None => self.send_snapshot(core, to, log, out),
        }
    }

    /// The log on disk was searched for this transaction. If the link broke meanwhile, the answer is for nobody; and if
    /// the learner is back with another log, it says nothing of that one (rule Z-13).
    pub(super) fn on_located<T: Clone>(
        &mut self,
        core: &Core<T>,
        to: ServerId,
        wanted: Zxid,
        at: Option<Zxid>,
        out: &mut impl Effects<T>,
    ) {
        let log = match self.learners.get(&to) {
            Some(Learner { stage: LearnerStage::Locating(log), .. }) if log.last == wanted => *log,
            _ => return out.note(Note::Stray { from: to }),
        };
        match at {
            // Below its floor the log on disk may have holes, and the floor is a transaction of this history.
            Some(found) => {
                let found = found.max(core.history.floor());
                self.send_history(core, to, log, Start::at(log, found), out);
            }
            None => self.send_snapshot(core, to, log, out),
        }
    }

    fn send_history<T: Clone>(
        &mut self,
        core: &Core<T>,
        to: ServerId,
        log: Log,
        start: Start,
        out: &mut impl Effects<T>,
    ) {
        let applied = core.history.applied();
        let (after, how) = match start {
            Start::Snapshot => return self.send_snapshot(core, to, log, out),
            Start::Cut(after) => {
                out.send(to, &Message::Trunc { last: after });
                (after, SyncKind::Trunc)
            }
            Start::Behind(after) => {
                out.send(to, &Message::Diff { last: applied });
                (after, if after < core.history.base() { SyncKind::DiffFromLog } else { SyncKind::Diff })
            }
        };
        out.note(Note::Synchronising { learner: to, last: log.last, how });
        if after < core.history.base() {
            out.stream_log(to, after, core.history.base());
        }
        for (zxid, txn) in core.history.applied_behind(after) {
            out.send(to, &Message::Proposal { zxid: *zxid, txn: txn.clone() });
            out.send(to, &Message::Commit { zxid: *zxid });
        }
        self.join_stream(core, to, after.max(applied), out);
    }

    fn send_snapshot<T: Clone>(&mut self, core: &Core<T>, to: ServerId, log: Log, out: &mut impl Effects<T>) {
        let applied = core.history.applied();
        out.note(Note::Synchronising { learner: to, last: log.last, how: SyncKind::Snap });
        out.stream_snapshot(to, applied);
        self.join_stream(core, to, applied, out);
    }

    fn join_stream<T: Clone>(&mut self, core: &Core<T>, to: ServerId, sent: Zxid, out: &mut impl Effects<T>) {
        if core.config.quorum.is_voter(to) {
            for (zxid, txn) in core.history.open() {
                out.send(to, &Message::Proposal { zxid: *zxid, txn: txn.clone() });
            }
        }
        out.send(to, &Message::NewLeader { epoch: self.epoch });
        self.advance(to, LearnerStage::Synchronising(sent));
    }

    /// The zxid of the next proposal; none before the epoch is established, and none once its counter is used up.
    pub(super) fn next_zxid<T>(&self, core: &Core<T>) -> Option<Zxid> {
        let free =
            self.stage == Stage::Broadcasting && self.last_proposed.counter() < core.config.counter_max;
        free.then(|| self.last_proposed.next())
    }

    pub(super) fn propose<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        txn: T,
        out: &mut impl Effects<T>,
    ) -> Next {
        let Some(zxid) = self.next_zxid(core) else {
            out.note(Note::CounterUsedUp { epoch: self.epoch });
            return Next::Look;
        };
        self.last_proposed = zxid;
        let proposal = Message::Proposal { zxid, txn };
        for to in self.forwarding().filter(|to| core.config.quorum.is_voter(*to)) {
            out.send(to, &proposal);
        }
        if let Message::Proposal { zxid, txn } = proposal {
            core.append(zxid, txn, out);
        }
        Next::Stay
    }

    /// Commits, in order, what a quorum holds durably: learners that acknowledged on the link they have now, and this
    /// server itself.
    fn commit<T: Clone>(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) {
        while let Some((zxid, txn)) = core.history.oldest_open() {
            let zxid = *zxid;
            let holds = |voter| {
                let durable =
                    if voter == core.config.me { Some(core.history.flushed()) } else { self.durable(voter) };
                durable.is_some_and(|durable| durable >= zxid)
            };
            if !core.config.quorum.decides_where(holds) {
                return;
            }
            let quorum = &core.config.quorum;
            for to in self.forwarding().filter(|to| quorum.is_voter(*to)) {
                out.send(to, &Message::Commit { zxid });
            }
            let mut observers = self.forwarding().filter(|to| !quorum.is_voter(*to)).peekable();
            if observers.peek().is_some() {
                let inform = Message::Inform { zxid, txn: txn.clone() };
                observers.for_each(|to| out.send(to, &inform));
            }
            core.deliver(out);
        }
    }

    pub(super) fn on_done<T: Clone>(
        &mut self,
        core: &mut Core<T>,
        pending: Pending,
        out: &mut impl Effects<T>,
    ) -> Next {
        match pending {
            Pending::Append(_) => self.commit(core, out),
            Pending::Accepted(_) => {
                self.stage = Stage::Electing;
                self.promises.insert(core.config.me);
                self.tell_waiting(|id| core.config.quorum.is_voter(id), out);
                self.elect(core, out);
            }
            Pending::Current(_) => {
                self.stage = Stage::Synchronising;
                let waiting: Vec<_> = self
                    .learners
                    .iter()
                    .filter_map(|(id, learner)| match learner.stage {
                        LearnerStage::Promised(log) => Some((*id, log)),
                        LearnerStage::Connected
                        | LearnerStage::Introduced
                        | LearnerStage::Told
                        | LearnerStage::Locating(_)
                        | LearnerStage::Synchronising(_)
                        | LearnerStage::Joined(_) => None,
                    })
                    .collect();
                for (to, log) in waiting {
                    self.synchronise(core, to, log, out);
                }
                self.establish(core, out);
            }
            Pending::Recovered | Pending::Truncate(_) | Pending::Snapshot(_) | Pending::Locate(..) => {
                unreachable!("Z-12: an operation outlived its role")
            }
        }
        Next::Stay
    }

    pub(super) fn on_timer<T>(&mut self, core: &Core<T>, timer: Timer, out: &mut impl Effects<T>) -> Next {
        match timer {
            Timer::Establish if self.stage != Stage::Broadcasting => Next::Look,
            Timer::Handshake(learner) | Timer::Silence(learner) if self.learners.contains_key(&learner) => {
                self.drop_learner(core, learner, out)
            }
            Timer::Establish
            | Timer::Handshake(_)
            | Timer::Silence(_)
            | Timer::Ping
            | Timer::Expiry
            | Timer::Sweep
            | Timer::SweepNext
            | Timer::ReadOnly
            | Timer::Resend
            | Timer::Finalize => {
                out.note(Note::IdleTimer(timer));
                Next::Stay
            }
        }
    }

    pub(super) fn close<T>(&self, out: &mut impl Effects<T>) {
        out.cancel_timer(Timer::Establish);
        for id in self.learners.keys() {
            out.cancel_timer(Timer::Handshake(*id));
            out.cancel_timer(Timer::Silence(*id));
            out.disconnect(*id);
        }
    }
}

impl Learner {
    fn forwards(self) -> bool {
        matches!(self.stage, LearnerStage::Synchronising(_) | LearnerStage::Joined(_))
    }

    fn durable(self) -> Option<Zxid> {
        match self.stage {
            LearnerStage::Joined(acked) => Some(acked),
            LearnerStage::Connected
            | LearnerStage::Introduced
            | LearnerStage::Told
            | LearnerStage::Promised(_)
            | LearnerStage::Locating(_)
            | LearnerStage::Synchronising(_) => None,
        }
    }
}

/// Where a learner's synchronisation starts.
enum Start {
    /// Behind this transaction, which its log ends with.
    Behind(Zxid),
    /// Behind this one, once it has cut its log there.
    Cut(Zxid),
    /// Anew.
    Snapshot,
}

impl Start {
    /// `found` is this server's last transaction at or before the end of the learner's log. A log that differs may be
    /// cut only inside one epoch: there, both logs hold the same primary's proposals up to `found`, without a hole.
    /// Across epochs the learner may lack `found` itself, and takes the whole state instead.
    fn at(log: Log, found: Zxid) -> Self {
        if found == log.last || log.last.counter() == 0 {
            Self::Behind(log.last)
        } else if found.epoch() == log.last.epoch() {
            Self::cut(log, found)
        } else {
            Self::Snapshot
        }
    }

    /// A learner whose snapshot goes beyond `last` cannot cut there. It got that snapshot from a leader that was
    /// never established, or it would be this server's history too.
    fn cut(log: Log, last: Zxid) -> Self {
        if log.floor <= last { Self::Cut(last) } else { Self::Snapshot }
    }
}
