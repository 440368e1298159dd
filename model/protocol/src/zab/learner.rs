//! Following: promise the leader's epoch, take over its history, join the epoch, then log and apply what it proposes.
//! An observer goes the same way; but what reaches it is decided, and it acknowledges none of it (rule Z-19).
//!
//! The order at NEWLEADER is the heart of it (rule Z-6): history first, then the current epoch, then the
//! acknowledgement, each after the disk has confirmed the one before. An epoch saved ahead of its history would let
//! this server win an election over servers that hold committed transactions it lacks.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};

use super::{
    Effects,
    core::{Core, Next},
    ticket::Pending,
};
use crate::{Message, Note, Role, Timer, Violation};

/// A server that follows, or means to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Learner<T> {
    pub(super) leader: ServerId,
    /// The epoch that the leader named, once it has.
    pub(super) epoch: Epoch,
    pub(super) stage: Stage,
    /// Proposals of the synchronisation that are not logged yet.
    queue: VecDeque<(Zxid, T)>,
    /// How many of the queue are committed already: COMMITs that came behind NEWLEADER.
    ready: usize,
    /// What arrived while the disk prepares the state that the synchronisation builds on.
    inbox: VecDeque<Message<T>>,
}

/// How far a learner is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Dialling.
    Connecting,
    /// FOLLOWERINFO is sent.
    Introduced,
    /// The promise is being stored.
    Promising,
    /// ACKEPOCH is sent.
    Promised,
    /// TRUNC: the log is being cut, then the state loaded anew.
    Cutting(Zxid),
    /// SNAP: the received state is being stored.
    Storing(Zxid),
    /// The synchronisation's proposals and commits come in.
    Synchronising,
    /// NEWLEADER was read: the synchronised history becomes durable.
    Joining,
    /// The current epoch is being stored.
    SavingCurrent,
    /// NEWLEADER is acknowledged.
    Joined,
    /// The epoch is established.
    Following,
}

impl<T> Learner<T> {
    /// The part that it plays, by whether it has a vote.
    pub(super) fn role(&self, core: &Core<T>) -> Role {
        if core.config.is_observer() { Role::Observing(self.leader) } else { Role::Following(self.leader) }
    }
}

impl<T: Clone> Learner<T> {
    pub(super) fn start(leader: ServerId, core: &Core<T>, out: &mut impl Effects<T>) -> Self {
        out.set_timer(Timer::Establish);
        out.connect(leader);
        Self {
            leader,
            epoch: core.accepted,
            stage: Stage::Connecting,
            queue: VecDeque::new(),
            ready: 0,
            inbox: VecDeque::new(),
        }
    }

    pub(super) fn on_connected(&mut self, core: &Core<T>, out: &mut impl Effects<T>) {
        self.stage = Stage::Introduced;
        let accepted = core.accepted;
        let introduction = if core.config.is_observer() {
            Message::ObserverInfo { accepted, extended: true }
        } else {
            Message::FollowerInfo { accepted, extended: true }
        };
        out.send(self.leader, &introduction);
    }

    /// A leader that still waits for the end of its own election turns its followers away: dial again, until the
    /// timer says that this takes too long. Once it has named its epoch, a lost link is a lost leader.
    pub(super) fn on_disconnected(&mut self, out: &mut impl Effects<T>) -> Next {
        match self.stage {
            Stage::Connecting | Stage::Introduced => {
                self.stage = Stage::Connecting;
                out.connect(self.leader);
                Next::Stay
            }
            Stage::Promising
            | Stage::Promised
            | Stage::Cutting(_)
            | Stage::Storing(_)
            | Stage::Synchronising
            | Stage::Joining
            | Stage::SavingCurrent
            | Stage::Joined
            | Stage::Following => Next::Look,
        }
    }

    pub(super) fn on_message(
        &mut self,
        core: &mut Core<T>,
        message: Message<T>,
        out: &mut impl Effects<T>,
    ) -> Next {
        if self.stage == Stage::Following {
            out.set_timer(Timer::Silence(self.leader));
        }
        if matches!(self.stage, Stage::Cutting(_) | Stage::Storing(_)) {
            self.inbox.push_back(message);
            return Next::Stay;
        }
        let informed = core.config.is_observer() && self.stage == Stage::Following;
        let verdict = match message {
            Message::Proposal { zxid, .. } | Message::Commit { zxid }
                if self.is_part_of_the_state(core, zxid) =>
            {
                Ok(())
            }
            Message::Inform { zxid, .. }
                if core.config.is_observer() && self.is_part_of_the_state(core, zxid) =>
            {
                Ok(())
            }
            Message::Proposal { .. } | Message::Commit { .. } if informed => Err(Violation::BadState),
            Message::Inform { zxid, txn } => self.on_inform(core, zxid, txn, out),
            Message::LeaderInfo { epoch, extended: _ } => self.on_leader_info(core, epoch, out),
            Message::Diff { last: _ } => self.on_diff(),
            Message::Trunc { last } => self.on_trunc(core, last, out),
            Message::Proposal { zxid, txn } => self.on_proposal(core, zxid, txn, out),
            Message::Commit { zxid } => self.on_commit(core, zxid, out),
            Message::NewLeader { epoch } => self.on_new_leader(core, epoch, out),
            Message::UpToDate => self.on_up_to_date(core, out),
            Message::FollowerInfo { .. }
            | Message::ObserverInfo { .. }
            | Message::AckEpoch { .. }
            | Message::Ack { .. } => Err(Violation::BadState),
        };
        self.judge(verdict, out)
    }

    /// Whether a transaction of the synchronisation is held by the state below the log. A leader of Apache's forwards
    /// what it decides while it sends the whole state, some of which that state then holds (rule Z-14).
    fn is_part_of_the_state(&self, core: &Core<T>, zxid: Zxid) -> bool {
        self.stage == Stage::Synchronising && zxid <= core.history.floor()
    }

    /// The leader broke the protocol: it is no leader to follow.
    fn judge(&self, verdict: Result<(), Violation>, out: &mut impl Effects<T>) -> Next {
        match verdict {
            Ok(()) => Next::Stay,
            Err(violation) => {
                out.note(Note::Dropped { peer: self.leader, violation });
                Next::Look
            }
        }
    }

    /// A promise is kept once. Acknowledging an epoch that was promised before says so with no current epoch, for
    /// the first acknowledgement may have been counted by another leader of the same epoch number (rule Z-4).
    fn on_leader_info(
        &mut self,
        core: &mut Core<T>,
        epoch: Epoch,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        if self.stage != Stage::Introduced || epoch == Epoch::LAST {
            return Err(Violation::BadState);
        }
        if epoch < core.accepted {
            return Err(Violation::OldEpoch { found: epoch, accepted: core.accepted });
        }
        self.epoch = epoch;
        if epoch == core.accepted {
            self.stage = Stage::Promised;
            core.send_ack_epoch(self.leader, false, out);
        } else {
            self.stage = Stage::Promising;
            core.save_accepted(epoch, out);
        }
        Ok(())
    }

    fn on_diff(&mut self) -> Result<(), Violation> {
        if self.stage != Stage::Promised {
            return Err(Violation::BadState);
        }
        self.stage = Stage::Synchronising;
        Ok(())
    }

    fn on_trunc(
        &mut self,
        core: &mut Core<T>,
        last: Zxid,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        if self.stage != Stage::Promised {
            return Err(Violation::BadState);
        }
        if last < core.committed {
            return Err(Violation::BadTruncate { found: last, committed: core.committed });
        }
        self.stage = Stage::Cutting(last);
        core.truncate(last, out);
        Ok(())
    }

    /// The whole state has arrived. It takes the place of everything on disk at once: with the old log cut first, a
    /// crash would leave a server of high rank and short history; with the state stored first, the foreign end of the
    /// old log on top of it (rule Z-14).
    pub(super) fn on_snapshot(&mut self, core: &mut Core<T>, label: Zxid, out: &mut impl Effects<T>) -> Next {
        let verdict = self.takes_snapshot(core, label);
        if verdict.is_ok() {
            self.stage = Stage::Storing(label);
            core.stale = true;
            core.store(label, out);
        }
        self.judge(verdict, out)
    }

    /// Whether a whole state with this label is what comes next.
    pub(super) fn takes_snapshot(&self, core: &Core<T>, label: Zxid) -> Result<(), Violation> {
        if self.stage != Stage::Promised || label.epoch() > self.epoch {
            Err(Violation::BadState)
        } else if label < core.committed {
            Err(Violation::BadTruncate { found: label, committed: core.committed })
        } else {
            Ok(())
        }
    }

    fn on_proposal(
        &mut self,
        core: &mut Core<T>,
        zxid: Zxid,
        txn: T,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        let after = self.queue.back().map_or(core.history.last(), |(queued, _)| *queued);
        match self.stage {
            Stage::Synchronising
            | Stage::Joining
            | Stage::SavingCurrent
            | Stage::Joined
            | Stage::Following
                if !zxid.follows(after) || zxid.epoch() > self.epoch =>
            {
                Err(Violation::BadProposal { found: zxid, after })
            }
            Stage::Following => {
                core.append(zxid, txn, out);
                Ok(())
            }
            Stage::Synchronising | Stage::Joining | Stage::SavingCurrent | Stage::Joined => {
                self.queue.push_back((zxid, txn));
                Ok(())
            }
            Stage::Connecting
            | Stage::Introduced
            | Stage::Promising
            | Stage::Promised
            | Stage::Cutting(_)
            | Stage::Storing(_) => Err(Violation::BadState),
        }
    }

    fn on_commit(
        &mut self,
        core: &mut Core<T>,
        zxid: Zxid,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        match self.stage {
            Stage::Synchronising => {
                let expected = self.queue.front().map(|(queued, _)| *queued);
                if expected != Some(zxid) {
                    return Err(Violation::BadCommit { found: zxid, expected });
                }
                if let Some((zxid, txn)) = self.queue.pop_front() {
                    core.append(zxid, txn, out);
                    core.replay(out);
                }
                Ok(())
            }
            Stage::Joining | Stage::SavingCurrent | Stage::Joined => {
                let expected = self.queue.get(self.ready).map(|(queued, _)| *queued);
                if expected != Some(zxid) {
                    return Err(Violation::BadCommit { found: zxid, expected });
                }
                self.ready += 1;
                Ok(())
            }
            Stage::Following => {
                let expected = core.history.oldest_open().map(|(open, _)| *open);
                if expected != Some(zxid) {
                    return Err(Violation::BadCommit { found: zxid, expected });
                }
                core.deliver(out);
                Ok(())
            }
            Stage::Connecting
            | Stage::Introduced
            | Stage::Promising
            | Stage::Promised
            | Stage::Cutting(_)
            | Stage::Storing(_) => Err(Violation::BadState),
        }
    }

    /// A decided transaction: to an observer, what PROPOSAL and COMMIT together are to a follower.
    fn on_inform(
        &mut self,
        core: &mut Core<T>,
        zxid: Zxid,
        txn: T,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        if !core.config.is_observer() {
            return Err(Violation::BadState);
        }
        self.on_proposal(core, zxid, txn, out)?;
        self.on_commit(core, zxid, out)
    }

    fn on_new_leader(
        &mut self,
        core: &mut Core<T>,
        epoch: Epoch,
        out: &mut impl Effects<T>,
    ) -> Result<(), Violation> {
        if self.stage != Stage::Synchronising {
            return Err(Violation::BadState);
        }
        if epoch != self.epoch {
            return Err(Violation::OldEpoch { found: epoch, accepted: self.epoch });
        }
        self.stage = Stage::Joining;
        self.join(core, out);
        Ok(())
    }

    /// Saves the current epoch once the synchronised history is durable, and not before.
    fn join(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) {
        if self.stage == Stage::Joining && core.history.flushed() == core.history.last() {
            self.stage = Stage::SavingCurrent;
            core.save_current(self.epoch, out);
        }
    }

    /// Proposals that were open during the synchronisation are logged only now: acknowledged before NEWLEADER, they
    /// would be taken for its acknowledgement.
    fn on_up_to_date(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) -> Result<(), Violation> {
        if self.stage != Stage::Joined {
            return Err(Violation::BadState);
        }
        self.stage = Stage::Following;
        out.cancel_timer(Timer::Establish);
        out.set_timer(Timer::Silence(self.leader));
        out.send(self.leader, &Message::Ack { zxid: self.epoch.start() });
        core.committed = core.committed.max(core.history.applied());
        for (zxid, txn) in self.queue.drain(..) {
            core.append(zxid, txn, out);
        }
        for _ in 0..self.ready {
            core.deliver(out);
        }
        self.ready = 0;
        out.serve(self.role(core), self.epoch);
        Ok(())
    }

    pub(super) fn on_done(
        &mut self,
        core: &mut Core<T>,
        pending: Pending,
        out: &mut impl Effects<T>,
    ) -> Next {
        match pending {
            Pending::Append(_) if self.stage == Stage::Following && core.config.is_observer() => {}
            Pending::Append(zxid) if self.stage == Stage::Following => {
                out.send(self.leader, &Message::Ack { zxid });
            }
            Pending::Append(_) => self.join(core, out),
            Pending::Accepted(_) => {
                self.stage = Stage::Promised;
                core.send_ack_epoch(self.leader, true, out);
            }
            Pending::Current(_) => {
                self.stage = Stage::Joined;
                out.send(self.leader, &Message::Ack { zxid: self.epoch.start() });
            }
            Pending::Truncate(_) => core.reload(out),
            Pending::Snapshot(_) => return self.prepared(core, out),
            Pending::Recovered | Pending::Locate(..) => unreachable!("Z-12: an operation outlived its role"),
        }
        Next::Stay
    }

    /// The state that the synchronisation builds on is durable and in memory: go on with what arrived meanwhile.
    pub(super) fn prepared(&mut self, core: &mut Core<T>, out: &mut impl Effects<T>) -> Next {
        self.stage = Stage::Synchronising;
        while let Some(message) = self.inbox.pop_front() {
            if self.on_message(core, message, out) == Next::Look {
                return Next::Look;
            }
        }
        Next::Stay
    }

    pub(super) fn on_timer(&self, timer: Timer, out: &mut impl Effects<T>) -> Next {
        match timer {
            Timer::Establish if self.stage != Stage::Following => Next::Look,
            Timer::Silence(peer) if peer == self.leader && self.stage == Stage::Following => Next::Look,
            Timer::Establish
            | Timer::Silence(_)
            | Timer::Handshake(_)
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

    /// How many packets wait until the log is cut, or the state that was received is stored.
    pub(super) fn kept_aside(&self) -> usize {
        self.inbox.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn close(&self, out: &mut impl Effects<T>) {
        out.cancel_timer(Timer::Establish);
        out.cancel_timer(Timer::Silence(self.leader));
        out.disconnect(self.leader);
    }
}

/// Whether a log that ends at `found` is cut at `wanted`. The start of an epoch is no transaction: with nothing of that
/// epoch left, whatever came before it is the end (rule Z-14).
pub(super) fn is_cut(wanted: Zxid, found: Zxid) -> bool {
    found == wanted || (wanted.counter() == 0 && found < wanted)
}
