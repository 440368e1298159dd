//! What a run has met: named situations, rules that were put to the test, faults, figures.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use world::Sight;

use crate::plan::{Size, Trouble};

/// The situations that many seeds together should meet.
pub const SITUATIONS: [&str; 40] = [
    "diff",
    "trunc",
    "snap",
    "diff-from-log",
    "ackepoch-again",
    "joiner-with-outstanding",
    "foreign-suffix-removed",
    "overflow-step-down",
    "step-down-for-new-link",
    "torn-tail-kept-in-part",
    "crash-image-recovered",
    "two-live-leaders",
    "leader-changed",
    "deposed-leader-serves",
    "all-down",
    "moved",
    "refused",
    "expired",
    "expired-with-ephemeral",
    "event",
    "event-after-return",
    "multi-done",
    "multi-failed",
    "unanswered-write-committed",
    "unanswered-write-vanished",
    "connection-lost",
    "answered-by-leader",
    "answered-by-follower",
    "answered-by-observer",
    "informed",
    "inform-while-joining",
    "snap-to-observer",
    "sync-answered",
    "request-timed-out",
    "dial-in-vain",
    "answered-without-a-leader",
    "read-only-opened",
    "read-only-ended",
    "write-declined",
    "let-in-behind-a-cut",
];

/// Those of them, and of the rules, that take an observer.
const OF_OBSERVERS: [&str; 6] = [
    "answered-by-observer",
    "informed",
    "inform-while-joining",
    "snap-to-observer",
    "ObserverNeverLeads",
    "ObserverLogsCommitted",
];

/// The rules that many seeds together should put to the test; those about breaches are silent while nothing is wrong.
pub const RULES: [&str; 43] = [
    "I-1",
    "I-1-live",
    "I-2",
    "I-3",
    "I-4",
    "I-5",
    "I-6",
    "I-7",
    "I-8",
    "I-9",
    "I-10",
    "PrefixConsistency",
    "DeliveredIsCommitted",
    "ObserverNeverLeads",
    "ObserverLogsCommitted",
    "LeaderLogCompleteness",
    "CommittedLogMonotonicity",
    "ProcessConsistency",
    "CommittedLogDurability",
    "R-1",
    "R-1-order",
    "R-2",
    "R-3",
    "R-4",
    "R-5",
    "R-6",
    "R-7",
    "R-7-serving",
    "R-8",
    "R-8-committed",
    "F-1",
    "F-2",
    "F-3",
    "F-4",
    "S-1",
    "S-2",
    "S-3",
    "S-4",
    "S-5",
    "S-7",
    "S-8",
    "S-9",
    "S-10",
];

/// More of them: what clients are told.
pub const CLIENT_RULES: [&str; 10] =
    ["S-11", "S-12", "S-13", "S-14", "S-17", "S-18", "S-19", "C-4", "C-19", "heals"];

/// Whether an ensemble of this size, or of some size, may meet this.
fn is_of(size: Option<Size>, name: &str) -> bool {
    size.is_none_or(|size| size.observers > 0) || !OF_OBSERVERS.contains(&name)
}

/// What was met.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// How many events were carried out.
    pub steps: u64,
    /// How many of them were steps of servers.
    pub server_steps: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// How long healing took, in simulated milliseconds.
    pub healing_ms: u64,
    /// Transactions that were committed.
    pub txns: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Faults that came to pass, by kind.
    pub faults: BTreeMap<String, u64>,
    /// In how many runs each situation was met.
    pub situations: BTreeMap<String, u64>,
    /// In how many runs each rule was put to the test.
    pub rules: BTreeMap<String, u64>,
    #[serde(skip)]
    met: BTreeSet<&'static str>,
    #[serde(skip)]
    tested: BTreeSet<&'static str>,
}

impl Coverage {
    pub(crate) fn met(&mut self, situation: &'static str) {
        debug_assert!(SITUATIONS.contains(&situation), "{situation} is not listed");
        self.met.insert(situation);
    }

    pub(crate) fn tested(&mut self, rule: &'static str) {
        self.tested.insert(rule);
    }

    pub(crate) fn fault(&mut self, trouble: &Trouble) {
        *self.faults.entry(Trouble::KINDS[trouble.kind()].to_owned()).or_default() += 1;
    }

    pub(crate) fn sight(&mut self, sight: Sight) {
        self.met(match sight {
            Sight::DiffWithContent => "diff",
            Sight::Trunc => "trunc",
            Sight::Snap => "snap",
            Sight::DiffFromLog => "diff-from-log",
            Sight::AckEpochAgain => "ackepoch-again",
            Sight::JoinerWithOutstanding => "joiner-with-outstanding",
            Sight::ForeignSuffixRemoved => "foreign-suffix-removed",
            Sight::OverflowStepDown => "overflow-step-down",
            Sight::StepDownForNewLink => "step-down-for-new-link",
            Sight::TornTailKept => "torn-tail-kept-in-part",
            Sight::CrashImageRecovered => "crash-image-recovered",
            // Seen by hosts of the `zab` model alone.
            Sight::CommitWhileJoining
            | Sight::JoinedBehind
            | Sight::Informed
            | Sight::InformWhileJoining
            | Sight::SearchOvertaken => return,
        });
    }

    /// The run is over: what it met counts once.
    pub(crate) fn close(&mut self) {
        for name in std::mem::take(&mut self.met) {
            *self.situations.entry(name.to_owned()).or_default() += 1;
        }
        for rule in std::mem::take(&mut self.tested) {
            *self.rules.entry(rule.to_owned()).or_default() += 1;
        }
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.server_steps += other.server_steps;
        self.simulated_ms += other.simulated_ms;
        self.healing_ms = self.healing_ms.max(other.healing_ms);
        self.txns += other.txns;
        self.writes += other.writes;
        let tables = [
            (&mut self.faults, &other.faults),
            (&mut self.situations, &other.situations),
            (&mut self.rules, &other.rules),
        ];
        for (sum, more) in tables {
            for (name, count) in more {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// Situations and rules that were not met in any run of ensembles of this size, or of all sizes.
    pub fn missing(&self, size: Option<Size>) -> Vec<&'static str> {
        let situations = SITUATIONS.iter().filter(|name| !self.situations.contains_key(**name));
        let situations = situations.copied().filter(|name| is_of(size, name));
        situations.chain(self.untested(size)).collect()
    }

    /// Rules that were not put to the test in any of these runs.
    pub fn untested(&self, size: Option<Size>) -> Vec<&'static str> {
        let rules = RULES.iter().chain(&CLIENT_RULES).copied();
        rules.filter(|name| !self.rules.contains_key(*name) && is_of(size, name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_observers_meet_is_not_missed_without_them() {
        let mut coverage = Coverage::default();
        let rules = RULES.len() + CLIENT_RULES.len();
        assert_eq!(coverage.untested(None).len(), rules);
        assert_eq!(coverage.missing(None).len(), rules + SITUATIONS.len());
        let without = Size { voters: 3, observers: 0 };
        assert_eq!(coverage.untested(Some(without)).len(), rules - 2);
        assert_eq!(coverage.missing(Some(without)).len(), rules + SITUATIONS.len() - OF_OBSERVERS.len());
        coverage.tested("R-7");
        coverage.close();
        assert!(!coverage.untested(None).contains(&"R-7") && coverage.untested(None).contains(&"R-8"));
    }
}
