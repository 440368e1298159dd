//! The judges: each holds one kind of promise against a history.
//!
//! Two assumptions carry them, and both are checked by [`order`]: no two writes share a zxid, and a write that was sent
//! after any reply had come has a higher zxid than that reply. So zxids are an order of all writes that real time
//! agrees with, and what is left is to see that each answer is the one of the state at its zxid. Where servers let
//! reads race with commits (Apache ZooKeeper's do, `strict` is false), a reply may name a later zxid than that of the
//! state that it shows; then a read is held against the earliest state that it can be of: what it shows itself, and
//! what its session had seen before.

mod answers;
pub mod lists;
pub mod nodes;
pub mod order;
pub mod registers;
pub mod servers;
#[cfg(test)]
mod tests;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Answer, Entry, History, Op, Reply, Request, What};

/// Every promise. Each is counted from nothing, so that a run shows which it never put to the test.
pub const PROMISES: &[&str] = &[
    answers::RULE,
    order::IN_TURN,
    order::ONE_A_ZXID,
    order::REAL_TIME,
    order::SYNC,
    order::NEVER_BACK,
    order::SHORT_SILENCE,
    registers::RULE,
    registers::VALUES,
    nodes::RULE,
    nodes::LOCK,
    lists::RULE,
    watch::MISSED,
    watch::ONCE,
    watch::SPURIOUS,
    servers::RULE,
];

/// A promise that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Which.
    pub rule: &'static str,
    /// How.
    pub what: String,
}

/// What the judges found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How often each rule was held against something.
    pub checks: BTreeMap<&'static str, u64>,
    /// What is broken.
    pub broken: Vec<Broken>,
    /// What would be broken by ours, and is no promise of these servers.
    pub told: BTreeMap<&'static str, u64>,
}

impl Verdict {
    /// Counts a check, and enters what it found.
    pub fn check(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        *self.checks.entry(rule).or_default() += 1;
        if !holds {
            self.broken.push(Broken { rule, what: what() });
        }
    }
}

/// One request with its place in the history.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Who asked.
    pub entry: &'a Entry,
    /// What.
    pub op: &'a Op,
    /// The last zxid that its session had seen before.
    pub prior: i64,
}

impl<'a> Placed<'a> {
    /// The reply, if it says what became of the request.
    pub fn told(&self) -> Option<&'a Reply> {
        self.op.reply.as_ref().filter(|reply| answers::is_told(&self.op.request, reply.code))
    }

    /// The reply of a request that went well.
    pub fn well(&self) -> Option<&'a Reply> {
        self.told().filter(|reply| reply.code == 0)
    }

    /// Whether it may or may not have been carried out.
    pub fn unknown(&self) -> bool {
        self.op.request.writes() && self.told().is_none()
    }

    /// The zxid of the state that a reply shows; where reads race with commits, of the earliest that it can be of.
    pub fn state(&self, reply: &Reply, strict: bool) -> i64 {
        if strict || self.op.request.writes() {
            return reply.zxid;
        }
        let shown = match &reply.answer {
            Answer::Stat(stat) | Answer::Data { stat, .. } => stat.czxid.max(stat.mzxid),
            Answer::Names { stat, .. } => stat.czxid.max(stat.pzxid),
            Answer::Empty | Answer::Path(_) => 0,
        };
        self.prior.max(shown)
    }
}

/// The life of a session, as far as clients know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// The last zxid at which it lived.
    pub seen: i64,
    /// The transaction that closed it.
    pub closed: Option<i64>,
}

/// A history, prepared.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Every request, in the order in which clients saw them end.
    pub ops: Vec<Placed<'a>>,
    /// Every session.
    pub lives: BTreeMap<i64, Life>,
    /// Whether a reply's zxid is that of the state that it shows.
    pub strict: bool,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let strict = history.header.strict;
        let (mut ops, mut seen) = (Vec::new(), BTreeMap::<i64, i64>::new());
        let mut lives = BTreeMap::<i64, Life>::new();
        for entry in &history.entries {
            let What::Op(op) = &entry.what else { continue };
            let prior = seen.entry(entry.session).or_default();
            let placed = Placed { entry, op, prior: *prior };
            ops.push(placed);
            let life = lives.entry(entry.session).or_default();
            if let Some(reply) = placed.told() {
                *prior = (*prior).max(reply.zxid);
                if op.request == Request::Close {
                    life.closed = Some(reply.zxid);
                } else if strict || (op.request.writes() && reply.code == 0) {
                    life.seen = life.seen.max(reply.zxid);
                }
            }
        }
        Self { ops, lives, strict }
    }

    /// Whether a session may have ended behind the transaction `after`, up to `until`.
    pub fn may_end(&self, session: i64, after: i64, until: i64) -> bool {
        match self.lives.get(&session) {
            Some(Life { closed: Some(closed), .. }) => after < *closed && *closed <= until,
            Some(life) => life.seen < until,
            None => true,
        }
    }
}

/// The folder of a node.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The paths of nodes that a history knows of, by their folders.
pub fn known_paths(facts: &Facts<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut enter = |path: &str| {
        known.entry(folder(path).to_owned()).or_default().insert(path.to_owned());
    };
    for placed in &facts.ops {
        match &placed.op.request {
            Request::Create { path, .. } | Request::Lock { path, .. } => enter(path),
            Request::Append { .. } => {
                if let Some(Reply { answer: Answer::Path(path), .. }) = placed.well() {
                    enter(path);
                }
            }
            Request::List { path, .. } => {
                if let Some(Reply { answer: Answer::Names { names, .. }, .. }) = placed.well() {
                    for name in names {
                        enter(&format!("{path}/{name}"));
                    }
                }
            }
            Request::Set { .. }
            | Request::Delete { .. }
            | Request::Get { .. }
            | Request::Exists { .. }
            | Request::Sync
            | Request::SetWatches { .. }
            | Request::Close => {}
        }
    }
    known
}

/// Holds every promise against a history.
pub fn judge(history: &History) -> Verdict {
    let facts = Facts::of(history);
    let mut verdict = Verdict::default();
    verdict.checks.extend(PROMISES.iter().map(|rule| (*rule, 0)));
    answers::judge(&facts, &mut verdict);
    order::judge(history, &facts, &mut verdict);
    registers::judge(&facts, &mut verdict);
    nodes::judge(&facts, &mut verdict);
    lists::judge(&facts, &mut verdict);
    watch::judge(history, &facts, &mut verdict);
    servers::judge(&facts, &mut verdict);
    verdict
}
