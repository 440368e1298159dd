//! How long transactions take on their way: from the leader's clock to this server's log, to a quorum, into the state.
//!
//! A transaction carries the time at which its leader prepared it. It is noted when it goes to the log, and told of in the
//! turn in which it is applied, against the clock that was read when that turn began: so nothing here costs a look at a
//! clock. Between servers whose clocks differ the figures do too, as ZooKeeper's; one that would be negative is left out.
//!
//! Source: ZooKeeper `ServerMetrics`, and where each of these is counted.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use protocol::{
    Message, Role,
    peer::{Op, Packet, Request},
};
use spec::{ServerId, Zxid};
use tree::{Tree, Txn};

use crate::{
    measure::{Measure, micros},
    store::Flushed,
};

/// What is known of transactions and of learners on their way.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Transactions that go to the log and are not applied, with their leader's time, oldest first.
    open: VecDeque<(Zxid, i64)>,
    /// How long the last proposals took that came in this turn, and how many took so long.
    proposals: (u64, u64),
    /// When a leader let this server in that it is not yet level with.
    let_in: Option<Instant>,
    /// Since when no clients are served.
    idle_since: Option<Instant>,
    /// Syncs of learners that this leader has not answered.
    syncs: BTreeMap<ServerId, u64>,
    /// Transactions that went to the log.
    pub(crate) queued: u64,
    /// Transactions that this server has committed as a leader.
    pub(crate) commits: u64,
    /// Proposals that came from a leader behind the synchronisation.
    pub(crate) proposals_received: u64,
    /// Commits that did.
    pub(crate) commits_received: u64,
    /// Sessions that learners asked this leader for.
    pub(crate) revalidations: u64,
    /// From the leader's time to the state, in milliseconds; the same for the next three.
    pub(crate) propagation: Measure,
    /// To a follower.
    pub(crate) proposal: Measure,
    /// To the acknowledgement of a quorum, at a leader.
    pub(crate) quorum_ack: Measure,
    /// To the acknowledgement of each follower, at a leader, for the transactions that one names.
    pub(crate) acks: BTreeMap<ServerId, Measure>,
    /// To the commit, at a learner.
    pub(crate) commit_propagation: Measure,
    /// From being let in to being level with the leader, in milliseconds.
    pub(crate) follower_sync: Measure,
    /// The same of an observer.
    pub(crate) observer_sync: Measure,
    /// How long no clients were served, in milliseconds.
    pub(crate) unavailable: Measure,
    /// The same where this server leads behind it.
    pub(crate) leader_unavailable: Measure,
    /// How long a batch took to be written and synced, in microseconds.
    pub(crate) batch: Measure,
    /// How long its sync took.
    pub(crate) flush: Measure,
    /// Transactions of a batch.
    pub(crate) batch_size: Measure,
    /// Learners that were sent a whole state at once, whenever one more was.
    pub(crate) snaps_at_once: Measure,
    /// Learners that were sent a part of the log at once, whenever one more was.
    pub(crate) diffs_at_once: Measure,
}

impl Pipeline {
    pub(crate) fn new() -> Self {
        let measure = Measure::new;
        Self {
            open: VecDeque::new(),
            proposals: (0, 0),
            let_in: None,
            idle_since: None,
            syncs: BTreeMap::new(),
            queued: 0,
            commits: 0,
            proposals_received: 0,
            commits_received: 0,
            revalidations: 0,
            propagation: measure(),
            proposal: measure(),
            quorum_ack: measure(),
            acks: BTreeMap::new(),
            commit_propagation: measure(),
            follower_sync: measure(),
            observer_sync: measure(),
            unavailable: measure(),
            leader_unavailable: measure(),
            batch: measure(),
            flush: measure(),
            batch_size: measure(),
            snaps_at_once: measure(),
            diffs_at_once: measure(),
        }
    }

    /// With every figure begun anew, and what is under way as it is. Who has acknowledged before goes on to be told of.
    pub(crate) fn anew(self) -> Self {
        let Self { open, proposals, let_in, idle_since, syncs, acks, .. } = self;
        let acks = acks.into_keys().map(|server| (server, Measure::new())).collect();
        Self { open, proposals, let_in, idle_since, syncs, acks, ..Self::new() }
    }

    /// A transaction goes to the log, of a server that serves or that is brought up to date.
    pub(crate) fn logged(&mut self, zxid: Zxid, time: i64, serves: bool) {
        self.queued += 1;
        if serves {
            self.open.push_back((zxid, time));
        }
    }

    /// The state has come this far, in a turn that began then. `role` is that of a server of an ensemble.
    pub(crate) fn applied(&mut self, through: Zxid, now: i64, role: Option<Role>) {
        let (took, times) = std::mem::take(&mut self.proposals);
        self.proposal.record_many(took, times);
        // Those of one batch have the same time, or nearly.
        let mut run = (0, 0);
        while let Some((_, time)) = self.open.pop_front_if(|(zxid, _)| *zxid <= through) {
            self.commits += u64::from(role == Some(Role::Leading));
            if time != run.0 {
                self.told(now.saturating_sub(run.0), run.1, role);
                run = (time, 0);
            }
            run.1 += 1;
        }
        self.told(now.saturating_sub(run.0), run.1, role);
    }

    /// So many transactions took so long; nothing is told of what began by a clock that is ahead.
    fn told(&mut self, took: i64, times: u64, role: Option<Role>) {
        let Ok(took) = u64::try_from(took) else { return };
        self.propagation.record_many(took, times);
        match role {
            Some(Role::Leading) => self.quorum_ack.record_many(took, times),
            Some(Role::Following(_) | Role::Observing(_)) => self.commit_propagation.record_many(took, times),
            None => {}
        }
    }

    /// A packet has come from another server, to one that is level with its leader or leads if `serves`.
    pub(crate) fn received(&mut self, from: ServerId, packet: &Packet<Tree>, serves: bool, now: i64) {
        if let Packet::Zab(Message::Ack { zxid }) = packet {
            self.acknowledged(from, *zxid, now);
        } else if let Packet::Zab(message) = packet {
            self.message(message, serves, now);
        } else if let Packet::Revalidate { .. } = packet {
            self.revalidations += 1;
        } else if let Packet::Request(Request { op: Op::Sync, .. }) = packet {
            *self.syncs.entry(from).or_default() += 1;
        }
    }

    /// A packet goes to another server.
    pub(crate) fn sent(&mut self, to: ServerId, packet: &Packet<Tree>) {
        if let Packet::Sync = packet
            && let Some(open) = self.syncs.get_mut(&to)
        {
            *open = open.saturating_sub(1);
        }
    }

    /// The link with a learner is new: nothing of it is open.
    pub(crate) fn begins(&mut self, learner: ServerId) {
        self.syncs.remove(&learner);
    }

    /// Syncs of learners that are not answered.
    pub(crate) fn open_syncs(&self) -> u64 {
        self.syncs.values().sum()
    }

    /// What is applied already counts no more.
    fn acknowledged(&mut self, by: ServerId, zxid: Zxid, now: i64) {
        let Ok(place) = self.open.binary_search_by_key(&zxid, |(zxid, _)| *zxid) else { return };
        if let Ok(took) = u64::try_from(now.saturating_sub(self.open[place].1)) {
            self.acks.entry(by).or_default().record(took);
        }
    }

    fn message(&mut self, message: &Message<Txn>, serves: bool, now: i64) {
        if let Message::LeaderInfo { .. } = message {
            self.let_in = Some(Instant::now());
        } else if let (Message::Proposal { txn, .. }, true) = (message, serves) {
            self.proposals_received += 1;
            if let Ok(took) = u64::try_from(now.saturating_sub(txn.time)) {
                let (last, times) = &mut self.proposals;
                if *last != took {
                    self.proposal.record_many(*last, *times);
                    (*last, *times) = (took, 0);
                }
                *times += 1;
            }
        } else if let (Message::Commit { .. } | Message::Inform { .. }, true) = (message, serves) {
            self.commits_received += 1;
        }
    }

    /// This server looks for a leader.
    pub(crate) fn looks(&mut self) {
        self.idle_since.get_or_insert_with(Instant::now);
    }

    /// Its part has changed.
    pub(crate) fn plays(&mut self, role: Option<Role>, serving: bool) {
        // What is open now is applied by another leader's word, or never.
        self.open.clear();
        self.syncs.clear();
        if !serving {
            return;
        }
        let ms = |since: Instant| micros(since.elapsed()) / 1000;
        if let Some(took) = self.let_in.take().map(ms) {
            match role {
                Some(Role::Following(_)) => self.follower_sync.record(took),
                Some(Role::Observing(_)) => self.observer_sync.record(took),
                Some(Role::Leading) | None => {}
            }
        }
        if let Some(took) = self.idle_since.take().map(ms) {
            self.unavailable.record(took);
            if role == Some(Role::Leading) {
                self.leader_unavailable.record(took);
            }
        }
    }

    /// A batch of so many transactions is durable.
    pub(crate) fn flushed(&mut self, txns: usize, flushed: Flushed) {
        self.batch.record(micros(flushed.whole));
        self.flush.record(micros(flushed.sync));
        self.batch_size.record(u64::try_from(txns).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, SessionId};

    use super::*;

    const LEADER: ServerId = ServerId(3);

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(Epoch(1), counter)
    }

    #[test]
    fn a_transaction_is_told_of_when_it_is_applied() {
        let mut pipeline = Pipeline::new();
        for (counter, time) in [(1, 100), (2, 105), (3, 130)] {
            pipeline.logged(zxid(counter), time, true);
        }
        for (zxid, now) in [(zxid(2), 110), (zxid(3), 131), (zxid(4), 140)] {
            pipeline.received(ServerId(7), &Packet::Zab(Message::Ack { zxid }), true, now);
        }
        pipeline.applied(zxid(2), 120, Some(Role::Leading));
        pipeline.received(ServerId(8), &Packet::Zab(Message::Ack { zxid: zxid(2) }), true, 125);
        let summary = |measure: &Measure| (measure.summary.count, measure.summary.sum);
        assert_eq!((pipeline.commits, summary(&pipeline.quorum_ack)), (2, (2, 35)));
        assert_eq!(
            (summary(&pipeline.propagation), summary(&pipeline.commit_propagation)),
            ((2, 35), (0, 0))
        );
        pipeline.applied(zxid(9), 129, Some(Role::Following(LEADER)));
        assert_eq!(summary(&pipeline.commit_propagation), (0, 0), "the leader's clock is ahead");
        pipeline.logged(zxid(4), 140, true);
        pipeline.plays(None, false);
        pipeline.applied(zxid(9), 150, Some(Role::Leading));
        assert_eq!(pipeline.commits, 2, "it was of another time");
        for (counter, time) in [(5, 200), (6, 200), (7, 200), (8, 206), (9, i64::MIN)] {
            pipeline.logged(zxid(counter), time, true);
        }
        pipeline.applied(zxid(8), 210, None);
        let told = pipeline.propagation.summary;
        assert_eq!((told.count, told.sum, told.min, told.max), (6, 35 + 34, 4, 20));
        pipeline.applied(zxid(9), 210, None);
        assert_eq!(pipeline.propagation.summary.count, 7, "a clock may be anywhere");
    }

    #[test]
    fn syncs_are_open_until_they_are_answered_or_their_link_is_gone() {
        let mut pipeline = Pipeline::new();
        let request = Request { session: SessionId(1), xid: 1, identities: Vec::new(), op: Op::Sync };
        for learner in [1, 1, 2] {
            pipeline.received(ServerId(learner), &Packet::Request(request.clone()), true, 0);
        }
        assert_eq!(pipeline.open_syncs(), 3);
        pipeline.sent(ServerId(1), &Packet::Sync);
        pipeline.begins(ServerId(2));
        assert_eq!(pipeline.open_syncs(), 1);
        pipeline.sent(ServerId(2), &Packet::Sync);
        pipeline.plays(None, false);
        assert_eq!(pipeline.open_syncs(), 0);
    }

    #[test]
    fn what_comes_while_a_server_catches_up_does_not_count() {
        let mut pipeline = Pipeline::new();
        let commit = Packet::Zab(Message::Commit { zxid: zxid(1) });
        let let_in = Packet::Zab(Message::LeaderInfo { epoch: Epoch(1), extended: false });
        pipeline.received(LEADER, &let_in, false, 0);
        pipeline.received(LEADER, &commit, false, 0);
        pipeline.plays(Some(Role::Following(LEADER)), true);
        pipeline.received(LEADER, &commit, true, 0);
        assert_eq!((pipeline.commits_received, pipeline.follower_sync.summary.count), (1, 1));
        pipeline.plays(Some(Role::Following(LEADER)), true);
        assert_eq!(pipeline.follower_sync.summary.count, 1, "it was let in once");
    }
}
