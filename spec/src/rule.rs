//! Rules as values: each has an identifier, a statement for people, its source, and a predicate over the parts of a
//! run that it speaks of.
//!
//! The parts are few on purpose. A checker meets the same server in millions of states; since a rule names the parts
//! it needs, its verdict can be computed once for each distinct part, or combination of two.

use alloc::{collections::BTreeSet, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    ServerId,
    history::{Breach, Claim, History, Record, ServerView},
    recovery, session, zab,
};

/// What a rule says of the parts it was shown.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing: its premise is not given. A rule that never says more has checked nothing.
    Silent,
    /// It was put to the test and holds.
    Holds,
    /// It is broken.
    Broken,
}

impl Verdict {
    /// Silent without the premise, otherwise what the conclusion says.
    pub fn of(premise: bool, conclusion: impl FnOnce() -> bool) -> Self {
        match premise {
            false => Self::Silent,
            true if conclusion() => Self::Holds,
            true => Self::Broken,
        }
    }

    /// Both taken together: broken if either is, silent if both are.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

/// The predicate of a rule, by the parts of a run that it depends on.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Of each server.
    Server(fn(&ServerView) -> Verdict),
    /// Of each ordered pair of two servers.
    Pair(fn(&ServerView, &ServerView) -> Verdict),
    /// Of each server and the record.
    ServerAndRecord(fn(&ServerView, &Record) -> Verdict),
    /// Of the record.
    Record(fn(&Record) -> Verdict),
    /// Of each server and the record; it must hold at every member of some deciding set, not everywhere. Silent is
    /// as good as holding.
    Quorum(fn(&ServerView, &Record) -> Verdict),
    /// Of one server before and after each step, and the record after it. The step may be a crash.
    Step(fn(&ServerView, &ServerView, &Record) -> Verdict),
    /// Of a server and something that it has just said; the server as it is at the end of that step.
    Claim(fn(&ServerView, Claim) -> Verdict),
    /// Of what a server has just found wrong with another one's packet.
    Breach(fn(Breach) -> Verdict),
    /// Of what clients saw; judged by scenarios and property tests over the predicates of [`session`].
    Clients,
}

/// The parts of a run that a rule depends on: the key under which its verdict may be remembered.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// One server.
    Server,
    /// Two servers, in order.
    Pair,
    /// One server and the record.
    ServerAndRecord,
    /// The record.
    Record,
    /// One server before and after a step, and the record.
    Step,
    /// One server and a message.
    Message,
    /// What clients saw.
    Clients,
}

/// What a rule speaks of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum About {
    /// Histories, and what clients see of them. A flaw in replication must break one of these.
    Histories,
    /// One step, message or server only.
    Local,
}

/// Something that must hold.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Short and unique, such as `I-8`.
    pub id: &'static str,
    /// What must hold, in a sentence.
    pub statement: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What it speaks of.
    pub about: About,
    /// The predicate.
    pub check: Check,
}

impl Rule {
    /// What its verdict depends on.
    pub fn scope(&self) -> Scope {
        match self.check {
            Check::Server(_) => Scope::Server,
            Check::Pair(_) => Scope::Pair,
            Check::ServerAndRecord(_) | Check::Quorum(_) => Scope::ServerAndRecord,
            Check::Record(_) => Scope::Record,
            Check::Step(_) => Scope::Step,
            Check::Claim(_) | Check::Breach(_) => Scope::Message,
            Check::Clients => Scope::Clients,
        }
    }

    /// Whether it speaks of histories.
    pub fn is_about_histories(&self) -> bool {
        self.about == About::Histories
    }

    /// The verdict on a run as it stands. Rules about steps, messages and clients are silent here.
    pub fn judge<H: History>(&self, run: &H) -> Verdict {
        let (servers, record) = (run.servers(), run.record());
        let each = |check: &dyn Fn(&ServerView) -> Verdict| {
            servers.iter().map(check).fold(Verdict::Silent, Verdict::and)
        };
        match self.check {
            Check::Server(check) => each(&|server| check(server)),
            Check::ServerAndRecord(check) => each(&|server| check(server, record)),
            Check::Pair(check) => each(&|one| {
                let others = servers.iter().filter(|other| other.id != one.id);
                others.map(|other| check(one, other)).fold(Verdict::Silent, Verdict::and)
            }),
            Check::Record(check) => check(record),
            Check::Quorum(check) => {
                let verdicts = servers.iter().map(|server| (server.id, check(server, record)));
                of_quorum(verdicts, |good| run.decides(good))
            }
            Check::Step(_) | Check::Claim(_) | Check::Breach(_) | Check::Clients => Verdict::Silent,
        }
    }
}

/// The verdict of a rule that must hold at every member of some deciding set, from its verdicts on all servers.
pub fn of_quorum(
    verdicts: impl IntoIterator<Item = (ServerId, Verdict)>,
    decides: impl FnOnce(&BTreeSet<ServerId>) -> bool,
) -> Verdict {
    let mut premise = false;
    let mut good = BTreeSet::new();
    for (server, verdict) in verdicts {
        premise |= verdict != Verdict::Silent;
        if verdict != Verdict::Broken {
            good.insert(server);
        }
    }
    Verdict::of(premise, || decides(&good))
}

/// Every rule over servers and records, in the order in which they are best reported: the local ones first.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    recovery::RULES.iter().chain(zab::RULES).chain(session::RULES)
}

/// The rules that a run breaks as it stands.
pub fn broken<H: History>(run: &H) -> Vec<&'static Rule> {
    all().filter(|rule| rule.judge(run) == Verdict::Broken).collect()
}
