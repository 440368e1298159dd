//! Asks the rules about what servers say and how they change, step by step, and keeps which of them were tested.

use std::collections::BTreeSet;

use spec::{
    history::{Breach, Claim, Record, ServerView},
    rule::{self, Check, Verdict},
};

use crate::Fault;

/// The rule about steps that speaks of what is committed.
const OF_THE_RECORD: &str = "CommittedLogDurability";

/// The rules about what a server says and finds wrong, asked at the end of what made it speak.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn words(
    view: &ServerView,
    claims: &[Claim],
    breaches: &[Breach],
    tested: &mut BTreeSet<&'static str>,
) -> Result<(), Fault> {
    for rule in rule::all() {
        let found: Vec<_> = match rule.check {
            Check::Claim(check) => claims
                .iter()
                .map(|claim| (check(view, *claim), format!("server {} says {claim:?}", view.id)))
                .collect(),
            Check::Breach(check) => breaches
                .iter()
                .map(|breach| (check(*breach), format!("server {} finds {breach:?}", view.id)))
                .collect(),
            Check::Server(_)
            | Check::Pair(_)
            | Check::ServerAndRecord(_)
            | Check::Record(_)
            | Check::Quorum(_)
            | Check::Step(_)
            | Check::Clients => continue,
        };
        for (verdict, why) in found {
            note(rule, verdict, tested, || format!("{why}: {view:?}"))?;
        }
    }
    Ok(())
}

/// The rules about steps that need no record of the run. Whether a step has lost what is committed, those are asked who
/// keep the record; with an empty one nothing could.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn step(
    before: &ServerView,
    after: &ServerView,
    tested: &mut BTreeSet<&'static str>,
) -> Result<(), Fault> {
    let record = Record::default();
    for rule in rule::all() {
        if let Check::Step(check) = rule.check
            && rule.id != OF_THE_RECORD
        {
            let why = || format!("from {before:?} to {after:?}");
            note(rule, check(before, after, &record), tested, why)?;
        }
    }
    Ok(())
}

fn note(
    rule: &'static rule::Rule,
    verdict: Verdict,
    tested: &mut BTreeSet<&'static str>,
    why: impl FnOnce() -> String,
) -> Result<(), Fault> {
    match verdict {
        Verdict::Silent => Ok(()),
        Verdict::Holds => {
            tested.insert(rule.id);
            Ok(())
        }
        Verdict::Broken => Err(Fault { rule: rule.id.to_owned(), why: why() }),
    }
}
