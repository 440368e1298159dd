//! The rules of `spec`, each asked of the parts that it speaks of, and what a search should meet.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function asks the rules of one scope and no others"
)]

use std::collections::BTreeSet;

use protocol::Quorum;
use spec::{
    history::{Part as Doing, Phase, Record, ServerView},
    rule::{self, Check, Rule, Verdict as Ruling},
};
use world::{Sight, text};

use crate::engine::{Broken, Verdict};

/// What a search should meet, and the sight that shows it; two live leaders are seen in pairs of servers.
const SIGHTS: [(&str, Option<Sight>); 17] = [
    ("diff", Some(Sight::DiffWithContent)),
    ("trunc", Some(Sight::Trunc)),
    ("snap", Some(Sight::Snap)),
    ("diff-from-log", Some(Sight::DiffFromLog)),
    ("ackepoch-again", Some(Sight::AckEpochAgain)),
    ("joiner-with-outstanding", Some(Sight::JoinerWithOutstanding)),
    ("commit-while-joining", Some(Sight::CommitWhileJoining)),
    ("joined-behind", Some(Sight::JoinedBehind)),
    ("foreign-suffix-removed", Some(Sight::ForeignSuffixRemoved)),
    ("overflow-step-down", Some(Sight::OverflowStepDown)),
    ("step-down-for-new-link", Some(Sight::StepDownForNewLink)),
    ("torn-tail-kept-in-part", Some(Sight::TornTailKept)),
    ("crash-image-recovered", Some(Sight::CrashImageRecovered)),
    ("two-live-leaders", None),
    ("observer-informed", Some(Sight::Informed)),
    ("inform-while-joining", Some(Sight::InformWhileJoining)),
    ("search-overtaken", Some(Sight::SearchOvertaken)),
];

fn tested_rules() -> impl Iterator<Item = &'static Rule> {
    rule::all().filter(|rule| !matches!(rule.check, Check::Breach(_) | Check::Clients))
}

/// Asks the rules, and knows what a search should meet: the named situations, every rule that a model can test (its
/// premise was given), and what the model adds.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    quorum: Quorum,
    local: bool,
    witnesses: Vec<&'static str>,
}

impl Rules {
    /// Without `local`, only those about histories are asked. What the model can never meet is no witness.
    pub(crate) fn new(quorum: Quorum, local: bool, never: &[&'static str], also: &[&'static str]) -> Self {
        let named = SIGHTS.iter().map(|(name, _)| *name);
        let tested = tested_rules().map(|rule| rule.id);
        let all = named.chain(tested).filter(|name| !never.contains(name));
        Self { quorum, local, witnesses: all.chain(also.iter().copied()).collect() }
    }

    pub(crate) fn witnesses(&self) -> &[&'static str] {
        &self.witnesses
    }

    pub(crate) fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// The bit of a witness; none of a name that is not one.
    pub(crate) fn bit(&self, name: &str) -> u64 {
        let place = self.witnesses.iter().position(|witness| *witness == name);
        place.map_or(0, |place| 1 << place)
    }

    /// The bits of what was met in a step, and of the rules that it tested.
    pub(crate) fn met(&self, sights: &BTreeSet<Sight>, tested: &BTreeSet<&'static str>) -> u64 {
        let seen = SIGHTS.iter().filter(|(_, sight)| sight.is_some_and(|sight| sights.contains(&sight)));
        let bits = seen.fold(0, |bits, (name, _)| bits | self.bit(name));
        tested.iter().fold(bits, |bits, id| bits | self.bit(id))
    }

    fn judge(&self, ask: impl Fn(&Rule) -> Ruling, found: impl Fn() -> String) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in rule::all().filter(|rule| self.local || rule.is_about_histories()) {
            match ask(rule) {
                Ruling::Holds => verdict.witnesses |= self.bit(rule.id),
                Ruling::Broken if verdict.broken.is_none() => {
                    let why = format!("{}; but {}", rule.statement, found());
                    verdict.broken = Some(Broken::new(rule.id, why));
                }
                Ruling::Silent | Ruling::Broken => {}
            }
        }
        verdict
    }

    pub(crate) fn server(&self, server: &ServerView) -> Verdict {
        let ask = |rule: &Rule| match rule.check {
            Check::Server(check) => check(server),
            _ => Ruling::Silent,
        };
        self.judge(ask, || text::server(server))
    }

    pub(crate) fn record(&self, record: &Record) -> Verdict {
        let ask = |rule: &Rule| match rule.check {
            Check::Record(check) => check(record),
            _ => Ruling::Silent,
        };
        self.judge(ask, || text::record(record))
    }

    pub(crate) fn pair(&self, one: &ServerView, other: &ServerView) -> Verdict {
        let ask = |rule: &Rule| match rule.check {
            Check::Pair(check) => check(one, other).and(check(other, one)),
            _ => Ruling::Silent,
        };
        let mut verdict = self.judge(ask, || format!("{}, and {}", text::server(one), text::server(other)));
        let leads = |server: &ServerView| {
            matches!(server.part, Doing::Leading(Phase::Synchronisation | Phase::Broadcast))
        };
        if leads(one) && leads(other) {
            verdict.witnesses |= self.bit("two-live-leaders");
        }
        verdict
    }

    pub(crate) fn server_and_record(&self, server: &ServerView, record: &Record) -> Verdict {
        let ask = |rule: &Rule| match rule.check {
            Check::ServerAndRecord(check) => check(server, record),
            _ => Ruling::Silent,
        };
        self.judge(ask, || format!("{}, and {}", text::server(server), text::record(record)))
    }

    pub(crate) fn quorums(&self, servers: &[&ServerView], record: &Record) -> Verdict {
        let ask = |rule: &Rule| {
            let Check::Quorum(check) = rule.check else { return Ruling::Silent };
            let rulings = servers.iter().map(|server| (server.id, check(server, record)));
            rule::of_quorum(rulings, |good| self.quorum.decides(good))
        };
        self.judge(ask, || {
            let servers: Vec<_> = servers.iter().map(|server| text::server(server)).collect();
            format!("{}, and {}", servers.join(", "), text::record(record))
        })
    }

    /// The rules about steps that need the record, asked of a step that loses something durable: which of them it tests.
    pub(crate) fn forgetting(
        &self,
        before: &ServerView,
        after: &ServerView,
        record: &Record,
    ) -> Result<u64, Broken> {
        let ask = |rule: &Rule| match rule.check {
            Check::Step(check) => check(before, after, record),
            _ => Ruling::Silent,
        };
        let found = || {
            format!("{} became {}, and {}", text::server(before), text::server(after), text::record(record))
        };
        let verdict = self.judge(ask, found);
        verdict.broken.map_or(Ok(verdict.witnesses), Err)
    }
}
