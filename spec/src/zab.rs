//! The order of transactions: what must hold of established reigns, of what is decided and of what servers deliver.
//!
//! The identifiers I-1 to I-14 are those of Remix (`EuroSys` 2025, table 2), which took I-1 to I-10 from the Zab
//! paper; the other names are those of the published system specification. Where the published form says less than
//! the prose beside it, the stronger form stands here.

use crate::{
    Epoch,
    history::{Breach, Entry, Part, Phase, Record, ServerView},
    rule::{About, Check, Rule, Verdict},
};

/// The rules of this module.
pub const RULES: &[Rule] = &[
    Rule {
        id: "I-1",
        statement: "an epoch is established under one leader at most",
        source: "Remix I-1; Zab paper, section 4",
        about: About::Histories,
        check: Check::Record(primary_uniqueness),
    },
    Rule {
        id: "I-1-live",
        statement: "no two live leaders past discovery have accepted the same epoch",
        source: "Remix I-1",
        about: About::Histories,
        check: Check::Pair(live_primary_uniqueness),
    },
    Rule {
        id: "I-2",
        statement: "what is delivered was broadcast, by the leader of an established epoch",
        source: "Remix I-2; Zab paper, integrity",
        about: About::Histories,
        check: Check::ServerAndRecord(integrity),
    },
    Rule {
        id: "I-3",
        statement: "of two transactions delivered at two servers, one of the servers has both",
        source: "Remix I-3; Zab paper, agreement",
        about: About::Histories,
        check: Check::Pair(agreement),
    },
    Rule {
        id: "I-4",
        statement: "what is delivered before something at one server is delivered before it at every server that has it",
        source: "Remix I-4; Zab paper, total order",
        about: About::Histories,
        check: Check::Pair(total_order),
    },
    Rule {
        id: "I-5",
        statement: "a delivered transaction stands behind everything that its leader broadcast before it",
        source: "Remix I-5; Zab paper, local primary order, over all pairs",
        about: About::Histories,
        check: Check::ServerAndRecord(local_primary_order),
    },
    Rule {
        id: "I-6",
        statement: "transactions of an earlier epoch are delivered before those of a later one, and each once",
        source: "Remix I-6; Zab paper, global primary order",
        about: About::Histories,
        check: Check::Server(global_primary_order),
    },
    Rule {
        id: "I-7",
        statement: "whatever of earlier epochs is delivered anywhere is in the history that an established leader broadcasts on",
        source: "Remix I-7; Zab paper, primary integrity",
        about: About::Histories,
        check: Check::ServerAndRecord(primary_integrity),
    },
    Rule {
        id: "I-8",
        statement: "an established epoch starts from everything that was committed before",
        source: "Remix I-8; Zab paper, initial history; in the stronger form, with all of C",
        about: About::Histories,
        check: Check::Record(initial_history_integrity),
    },
    Rule {
        id: "I-9",
        statement: "a server serves only in an established epoch, and has delivered its initial history",
        source: "Remix I-9; Zab paper, commit consistency",
        about: About::Histories,
        check: Check::ServerAndRecord(commit_consistency),
    },
    Rule {
        id: "I-10",
        statement: "of two servers that joined the same epoch, one has the other's durable history as a prefix",
        source: "Remix I-10; Zab paper, history consistency",
        about: About::Histories,
        check: Check::Pair(history_consistency),
    },
    Rule {
        id: "I-11",
        statement: "a phase sees only the packets that it takes",
        source: "Remix I-11",
        about: About::Local,
        check: Check::Breach(no_bad_state),
    },
    Rule {
        id: "I-12",
        statement: "an acknowledgement names the next open proposal of its sender, or the epoch of NEWLEADER",
        source: "Remix I-12",
        about: About::Local,
        check: Check::Breach(no_bad_ack),
    },
    Rule {
        id: "I-13",
        statement: "a proposal is the next one",
        source: "Remix I-13",
        about: About::Local,
        check: Check::Breach(no_bad_proposal),
    },
    Rule {
        id: "I-14",
        statement: "a commit names the oldest open proposal",
        source: "Remix I-14",
        about: About::Local,
        check: Check::Breach(no_bad_commit),
    },
    Rule {
        id: "PrefixConsistency",
        statement: "of what two servers delivered, one is a prefix of the other",
        source: "ZooKeeper system specification, PrefixConsistency",
        about: About::Histories,
        check: Check::Pair(prefix_consistency),
    },
    Rule {
        id: "DeliveredIsCommitted",
        statement: "what a server delivered is a prefix of what is committed",
        source: "Zab paper, section 4; implies I-3, I-4 and PrefixConsistency",
        about: About::Histories,
        check: Check::ServerAndRecord(delivered_is_committed),
    },
    Rule {
        id: "ObserverNeverLeads",
        statement: "a server without a vote leads nobody, not even on trial",
        source: "ZooKeeper `QuorumPeer`, `LearnerType.OBSERVER`",
        about: About::Local,
        check: Check::Server(observer_never_leads),
    },
    Rule {
        id: "ObserverLogsCommitted",
        statement: "whatever an observer has logged is committed, in the order in which it is",
        source: "rule Z-20; stronger than ZooKeeper, where observers log the initial history of leaders that fail",
        about: About::Histories,
        check: Check::ServerAndRecord(observer_logs_committed),
    },
    Rule {
        id: "LeaderLogCompleteness",
        statement: "a leader past discovery has everything that was committed before a later epoch",
        source: "ZooKeeper system specification, LeaderLogCompleteness",
        about: About::Local,
        check: Check::ServerAndRecord(leader_log_completeness),
    },
    Rule {
        id: "CommittedLogMonotonicity",
        statement: "what is committed stays: no leader ever decides something else in its place",
        source: "ZooKeeper system specification, CommittedLogMonotonicity",
        about: About::Histories,
        check: Check::Record(committed_log_monotonicity),
    },
    Rule {
        id: "ProcessConsistency",
        statement: "a follower that has joined its leader's epoch has a durable prefix of the leader's history",
        source: "ZooKeeper system specification, ProcessConsistency",
        about: About::Local,
        check: Check::Pair(process_consistency),
    },
    Rule {
        id: "CommittedLogDurability",
        statement: "no server loses a committed transaction that was durable on it, unless its leader sends it again",
        source: "ZooKeeper system specification, CommittedLogDurability",
        about: About::Histories,
        check: Check::Step(committed_log_durability),
    },
    Rule {
        id: "CommittedLogDurability-refused",
        statement: "no server is asked to cut what it knows to be committed",
        source: "ZooKeeper system specification, CommittedLogDurability",
        about: About::Histories,
        check: Check::Breach(no_bad_truncate),
    },
];

/// Whether one is a prefix of the other.
fn comparable(one: &[Entry], other: &[Entry]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The place of an entry in a sequence.
fn place(sequence: &[Entry], entry: &Entry) -> Option<usize> {
    sequence.iter().position(|other| other == entry)
}

/// I-1, over established reigns.
pub fn primary_uniqueness(record: &Record) -> Verdict {
    let reigns = record.reigns();
    Verdict::of(reigns.len() > 1, || {
        reigns
            .iter()
            .enumerate()
            .all(|(at, reign)| reigns[..at].iter().all(|before| before.epoch != reign.epoch))
    })
}

/// I-1, over live leaders.
pub fn live_primary_uniqueness(one: &ServerView, other: &ServerView) -> Verdict {
    let past_discovery =
        |server: &ServerView| matches!(server.part, Part::Leading(Phase::Synchronisation | Phase::Broadcast));
    Verdict::of(past_discovery(one) && past_discovery(other), || one.accepted.memory != other.accepted.memory)
}

/// I-2. The leader of an established epoch is all that broadcasts, apart from what a run starts with.
pub fn integrity(server: &ServerView, record: &Record) -> Verdict {
    let committed = record.committed();
    let start = record.reigns().first().map_or(committed.len(), |reign| reign.committed_before);
    let broadcast = |entry: &Entry| {
        let reigned = record.reigns_of(entry.zxid.epoch()).next().is_some();
        committed[..start].contains(entry) || (reigned && committed.contains(entry))
    };
    Verdict::of(!server.delivered.is_empty(), || server.delivered.iter().all(broadcast))
}

/// I-3.
pub fn agreement(one: &ServerView, other: &ServerView) -> Verdict {
    let lacks = |server: &ServerView, entries: &[Entry]| {
        entries.iter().any(|entry| !server.delivered.contains(entry))
    };
    Verdict::of(!one.delivered.is_empty() && !other.delivered.is_empty(), || {
        !(lacks(one, &other.delivered) && lacks(other, &one.delivered))
    })
}

/// I-4, over all pairs: each entry of `one` that `other` has, and everything before it.
pub fn total_order(one: &ServerView, other: &ServerView) -> Verdict {
    let shared = one.delivered.iter().enumerate().filter_map(|(at, entry)| {
        place(&other.delivered, entry).map(|there| (&one.delivered[..at], &other.delivered[..there]))
    });
    let ordered = |(here, there): (&[Entry], &[Entry])| {
        Verdict::of(true, || here.iter().all(|before| there.contains(before)))
    };
    shared.map(ordered).fold(Verdict::Silent, Verdict::and)
}

/// I-5, over all pairs: a leader broadcasts its initial history, then the counters of its epoch from 1 on without a
/// gap. The published specifications say "there is a pair", which holds of any run.
pub fn local_primary_order(server: &ServerView, record: &Record) -> Verdict {
    let delivered = &server.delivered;
    let behind_its_past = |(at, entry): (usize, &Entry)| {
        let before = &delivered[..at];
        let (epoch, counter) = (entry.zxid.epoch(), entry.zxid.counter());
        let own = before.iter().filter(|other| other.zxid.epoch() == epoch);
        let gapless = (1..counter).eq(own.map(|other| other.zxid.counter()));
        gapless && record.reigns_of(epoch).all(|reign| reign.initial.iter().all(|old| before.contains(old)))
    };
    Verdict::of(!delivered.is_empty(), || delivered.iter().enumerate().all(behind_its_past))
}

/// I-6.
pub fn global_primary_order(server: &ServerView) -> Verdict {
    Verdict::of(server.delivered.len() > 1, || {
        server.delivered.is_sorted_by(|one, next| one.zxid < next.zxid)
    })
}

/// I-7. An established leader broadcasts on its initial history, so that is where every delivered transaction of an
/// earlier epoch must be.
pub fn primary_integrity(server: &ServerView, record: &Record) -> Verdict {
    let of_reign = |epoch: Epoch, initial: &[Entry]| {
        let mut earlier = server.delivered.iter().filter(|entry| entry.zxid.epoch() < epoch).peekable();
        Verdict::of(earlier.peek().is_some(), || earlier.all(|entry| initial.contains(entry)))
    };
    let verdicts = record.reigns().iter().map(|reign| of_reign(reign.epoch, &reign.initial));
    verdicts.fold(Verdict::Silent, Verdict::and)
}

/// I-8: initial histories grow from epoch to epoch, and each holds everything committed before it.
///
/// Reigns are compared by epoch: an earlier epoch that is established late must fit too.
pub fn initial_history_integrity(record: &Record) -> Verdict {
    let reigns = record.reigns();
    let fits = |reign: &crate::history::Reign| {
        let before = &record.committed()[..reign.committed_before];
        let earlier = reigns.iter().filter(|other| other.epoch < reign.epoch);
        let superseded =
            reigns.iter().take_while(|other| *other != reign).any(|other| other.epoch > reign.epoch);
        (superseded || reign.initial.starts_with(before))
            && earlier.map(|other| &other.initial).all(|initial| reign.initial.starts_with(initial))
    };
    let premise = reigns.iter().any(|reign| reign.committed_before > 0);
    Verdict::of(premise, || reigns.iter().all(fits))
}

/// I-9.
pub fn commit_consistency(server: &ServerView, record: &Record) -> Verdict {
    Verdict::of(server.serving, || {
        let mut reigns = record.reigns_of(server.current.memory).peekable();
        reigns.peek().is_some() && reigns.all(|reign| server.delivered.starts_with(&reign.initial))
    })
}

/// I-10.
pub fn history_consistency(one: &ServerView, other: &ServerView) -> Verdict {
    Verdict::of(one.joined.is_some() && one.joined == other.joined, || {
        comparable(&one.durable, &other.durable)
    })
}

/// I-11.
pub fn no_bad_state(breach: Breach) -> Verdict {
    Verdict::of(breach == Breach::State, || false)
}

/// I-12.
pub fn no_bad_ack(breach: Breach) -> Verdict {
    Verdict::of(breach == Breach::Ack, || false)
}

/// I-13.
pub fn no_bad_proposal(breach: Breach) -> Verdict {
    Verdict::of(breach == Breach::Proposal, || false)
}

/// I-14.
pub fn no_bad_commit(breach: Breach) -> Verdict {
    Verdict::of(breach == Breach::Commit, || false)
}

/// The alarm that a truncation raises at its receiver.
pub fn no_bad_truncate(breach: Breach) -> Verdict {
    Verdict::of(breach == Breach::Truncate, || false)
}

/// `PrefixConsistency`.
pub fn prefix_consistency(one: &ServerView, other: &ServerView) -> Verdict {
    Verdict::of(!one.delivered.is_empty() && !other.delivered.is_empty(), || {
        comparable(&one.delivered, &other.delivered)
    })
}

/// `DeliveredIsCommitted`.
pub fn delivered_is_committed(server: &ServerView, record: &Record) -> Verdict {
    Verdict::of(!server.delivered.is_empty(), || record.committed().starts_with(&server.delivered))
}

/// `ObserverNeverLeads`.
pub fn observer_never_leads(server: &ServerView) -> Verdict {
    Verdict::of(!server.votes && server.part != Part::Down, || !matches!(server.part, Part::Leading(_)))
}

/// `ObserverLogsCommitted`.
pub fn observer_logs_committed(server: &ServerView, record: &Record) -> Verdict {
    Verdict::of(!server.votes && !server.logged.is_empty(), || record.committed().starts_with(&server.logged))
}

/// `LeaderLogCompleteness`. What a later epoch commits is beyond a leader that does not know yet that it is deposed.
pub fn leader_log_completeness(server: &ServerView, record: &Record) -> Verdict {
    let leads = matches!(server.part, Part::Leading(Phase::Synchronisation | Phase::Broadcast));
    let later = record.reigns().iter().find(|reign| reign.epoch > server.accepted.memory);
    let due = later.map_or(record.committed().len(), |reign| reign.committed_before);
    Verdict::of(leads && due > 0, || server.logged.starts_with(&record.committed()[..due]))
}

/// `CommittedLogMonotonicity`.
pub fn committed_log_monotonicity(record: &Record) -> Verdict {
    Verdict::of(!record.committed().is_empty(), || record.clash().is_none())
}

/// `ProcessConsistency`.
pub fn process_consistency(follower: &ServerView, leader: &ServerView) -> Verdict {
    let follows = matches!(follower.part, Part::Following(id, _) if id == leader.id);
    let leads = matches!(leader.part, Part::Leading(Phase::Synchronisation | Phase::Broadcast));
    let joined = follower.joined.is_some() && follower.joined == leader.joined;
    Verdict::of(follows && leads && joined, || leader.logged.starts_with(&follower.durable))
}

/// `CommittedLogDurability`. A leader has a learner that returns cut the open proposals of its own epoch, and sends them
/// again behind the cut; they may be committed, by others, before the learner reads of it. Only a copy that was not
/// counted goes that way, and never in a crash.
pub fn committed_log_durability(before: &ServerView, after: &ServerView, record: &Record) -> Verdict {
    let shrinks = !after.durable.starts_with(&before.durable);
    let comes_again = |entry: &Entry| after.part != Part::Down && entry.zxid.epoch() == after.accepted.memory;
    let due = |entry: &&Entry| record.committed().contains(entry) && !comes_again(entry);
    Verdict::of(shrinks, || before.durable.iter().filter(due).all(|entry| after.durable.contains(entry)))
}
