//! Whether nodes are there: one sweep over each path in the order of zxids. It holds for nodes of lists and queues,
//! and for ephemerals: none is gone while its session lives, none stays beyond it, and a lock has one holder.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Facts, Placed, Verdict,
    answers::{BAD_VERSION, NODE_EXISTS},
    folder, known_paths,
};
use crate::{
    client::NO_NODE,
    history::{Answer, Request},
};

pub(super) const RULE: &str = "nodes are there from create to delete";
pub(super) const LOCK: &str = "ephemerals live as their sessions do";

/// Something that is known of a path at a zxid.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fact {
    Died,
    Born { owner: i64 },
    There { czxid: Option<i64>, owner: Option<i64> },
    Gone,
}

/// What a path is at a point of the sweep.
#[derive(Clone, Copy, Debug)]
enum State {
    Never,
    There { since: i64, owner: i64, exact: bool },
    Gone,
}

type Known = BTreeMap<String, Vec<(i64, Fact)>>;

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut known = Known::new();
    let paths = known_paths(facts);
    for placed in &facts.ops {
        enter(placed, &paths, facts.strict, &mut known);
    }
    let mut vague = vague(facts);
    for (path, mut known) in known {
        for (from, to) in vague.remove(&path).unwrap_or_default() {
            known.push((absent_at(&known, from, to), Fact::Gone));
        }
        // A write first, then what is seen of the state behind it.
        known.sort_by_key(|(at, fact)| (*at, matches!(fact, Fact::There { .. } | Fact::Gone), *fact));
        let unknown = Unknown::of(&path, facts);
        Sweep { path: &path, facts, unknown, state: State::Never }.run(&known, verdict);
    }
}

/// Reads of nodes that were not there, where reads race with commits: the state that was read is one from the zxid that
/// the session had seen to the one that the reply names.
fn vague(facts: &Facts<'_>) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut vague: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for placed in facts.ops.iter().filter(|_| !facts.strict) {
        if let Request::Get { path, .. } | Request::Exists { path } | Request::List { path, .. } =
            &placed.op.request
            && let Some(reply) = placed.told().filter(|reply| reply.code == NO_NODE)
        {
            vague.entry(path.clone()).or_default().push((placed.prior, reply.zxid));
        }
    }
    vague
}

/// The state in this range in which a node may have been absent.
fn absent_at(known: &[(i64, Fact)], from: i64, to: i64) -> i64 {
    let within = || known.iter().filter(|(at, _)| from < *at && *at <= to);
    let died = within().filter(|(_, fact)| *fact == Fact::Died).map(|(at, _)| *at).min();
    let born = within().any(|(_, fact)| matches!(fact, Fact::Born { .. }));
    died.unwrap_or(if born { from } else { to })
}

fn enter(placed: &Placed<'_>, paths: &BTreeMap<String, BTreeSet<String>>, strict: bool, known: &mut Known) {
    let Some(reply) = placed.told() else { return };
    let at = placed.state(reply, strict);
    let mut add = |path: &str, fact| known.entry(path.to_owned()).or_default().push((at, fact));
    let there = Fact::There { czxid: None, owner: None };
    if !strict && !placed.op.request.writes() && reply.code == NO_NODE {
        return;
    }
    match (&placed.op.request, &reply.answer, reply.code) {
        (Request::Lock { path, .. }, _, 0) => add(path, Fact::Born { owner: placed.entry.session }),
        (Request::Create { .. } | Request::Append { .. }, Answer::Path(path), 0) => {
            add(path, Fact::Born { owner: 0 });
        }
        (Request::Create { path, .. } | Request::Lock { path, .. }, _, NODE_EXISTS)
        | (Request::Set { path, .. }, _, BAD_VERSION) => add(path, there),
        // What is missing is the folder.
        (
            Request::Create { path, .. } | Request::Append { path, .. } | Request::Lock { path, .. },
            _,
            NO_NODE,
        ) => add(folder(path), Fact::Gone),
        (Request::Delete { path }, _, 0) => add(path, Fact::Died),
        (
            Request::Delete { path }
            | Request::Get { path, .. }
            | Request::Exists { path }
            | Request::List { path, .. }
            | Request::Set { path, .. },
            _,
            NO_NODE,
        ) => add(path, Fact::Gone),
        (
            Request::Get { path, .. } | Request::Exists { path } | Request::Set { path, .. },
            Answer::Stat(stat) | Answer::Data { stat, .. },
            0,
        ) => add(path, Fact::There { czxid: Some(stat.czxid), owner: Some(stat.owner) }),
        (Request::List { path, .. }, Answer::Names { names, .. }, 0) => {
            let shown: BTreeSet<String> = names.iter().map(|name| format!("{path}/{name}")).collect();
            for node in paths.get(path).into_iter().flatten() {
                add(node, if shown.contains(node) { there } else { Fact::Gone });
            }
        }
        _ => {}
    }
}

/// Writes to a path of which nobody knows whether they were carried out.
#[derive(Clone, Copy, Debug, Default)]
struct Unknown {
    creates: bool,
    deletes: bool,
    /// An append to its folder, which may have made this path if nobody else did.
    appends: bool,
}

impl Unknown {
    fn of(path: &str, facts: &Facts<'_>) -> Self {
        let mut unknown = Self::default();
        for placed in facts.ops.iter().filter(|placed| placed.unknown()) {
            let request = &placed.op.request;
            if let Request::Create { path: of, .. } | Request::Lock { path: of, .. } = request {
                unknown.creates |= of == path;
            } else if let Request::Delete { path: of } = request {
                unknown.deletes |= of == path;
            } else if let Request::Append { path: of, .. } = request {
                unknown.appends |= folder(of) == folder(path);
            }
        }
        unknown
    }
}

struct Sweep<'a> {
    path: &'a str,
    facts: &'a Facts<'a>,
    unknown: Unknown,
    state: State,
}

impl Sweep<'_> {
    fn run(mut self, known: &[(i64, Fact)], verdict: &mut Verdict) {
        let ephemeral = known.iter().any(|(_, fact)| matches!(fact, Fact::Born { owner } if *owner != 0));
        let rule = if ephemeral { LOCK } else { RULE };
        for (at, fact) in known {
            let before = self.state;
            let holds = self.step(*at, *fact);
            verdict.check(rule, holds, || {
                format!("{} at 0x{at:x}: {fact:x?}, and it was {before:x?}", self.path)
            });
        }
    }

    /// Whether what is there since `since` may be gone at `at`.
    fn may_be_gone(&self, since: i64, owner: i64, at: i64) -> bool {
        self.unknown.deletes || (owner != 0 && self.facts.may_end(owner, since, at))
    }

    fn step(&mut self, at: i64, fact: Fact) -> bool {
        match (self.state, fact) {
            (State::Never | State::Gone, Fact::Gone) => true,
            (State::Never | State::Gone, Fact::Born { owner }) => {
                self.state = State::There { since: at, owner, exact: true };
                true
            }
            (State::There { since, owner, .. }, Fact::Born { owner: next }) => {
                self.state = State::There { since: at, owner: next, exact: true };
                self.may_be_gone(since, owner, at)
            }
            (State::There { .. }, Fact::Died) => {
                self.state = State::Gone;
                true
            }
            (State::Never, Fact::Died) => {
                self.state = State::Gone;
                self.unknown.creates || self.unknown.appends
            }
            (State::Gone, Fact::Died) => self.unknown.creates,
            (State::There { since, owner, .. }, Fact::Gone) => {
                self.state = State::Gone;
                self.may_be_gone(since, owner, at)
            }
            (State::Never | State::Gone, Fact::There { czxid, owner }) => {
                let first = matches!(self.state, State::Never);
                let (since, exact) = (czxid.unwrap_or(at), czxid.is_some());
                self.state = State::There { since, owner: owner.unwrap_or(0), exact };
                since <= at && (self.unknown.creates || (first && self.unknown.appends))
            }
            (State::There { since, owner, exact }, Fact::There { czxid, owner: of }) => {
                self.still_there(at, (since, owner, exact), czxid, of)
            }
        }
    }

    /// The node that was there is seen, or another one of its name.
    fn still_there(
        &mut self,
        at: i64,
        (since, owner, exact): (i64, i64, bool),
        czxid: Option<i64>,
        of: Option<i64>,
    ) -> bool {
        let made = czxid.unwrap_or(since);
        if made == since || (!exact && made < since) {
            let another = exact && of.is_some_and(|of| of != owner);
            let owner = of.unwrap_or(owner);
            self.state = State::There { since: made, owner, exact: exact || czxid.is_some() };
            let closed = self.facts.lives.get(&owner).and_then(|life| life.closed);
            // Without its czxid it may be another one, if somebody may have made that.
            let same = czxid.is_some() || !self.unknown.creates;
            let beyond = owner != 0 && same && closed.is_some_and(|closed| since < closed && closed <= at);
            return !beyond && !another;
        }
        self.state = State::There { since: made, owner: of.unwrap_or(0), exact: true };
        since < made && made <= at && self.unknown.creates && self.may_be_gone(since, owner, made)
    }
}
