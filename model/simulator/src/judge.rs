//! The rules of `spec` over servers and the record of a run, asked of what a step has changed.

use protocol::Quorum;
use spec::{
    history::{Part, Phase, Record, ServerView},
    rule::{self, Check, Rule, Verdict},
};
use world::{Fault, text};

use crate::coverage::Coverage;

/// Asks one rule of everything that `changed` is part of. Rules about the record alone are asked if it is new.
fn ask(
    rule: &Rule,
    changed: &ServerView,
    others: &[&ServerView],
    record: &Record,
    record_is_new: bool,
    quorum: &Quorum,
) -> (Verdict, String) {
    let mut found = String::new();
    let mut verdict = Verdict::Silent;
    let mut take = |ruling: Verdict, tell: &dyn Fn() -> String| {
        if ruling == Verdict::Broken && found.is_empty() {
            found = tell();
        }
        verdict = verdict.and(ruling);
    };
    match rule.check {
        Check::Server(check) => take(check(changed), &|| text::server(changed)),
        Check::Pair(check) => {
            for other in others {
                let ruling = check(changed, other).and(check(other, changed));
                take(ruling, &|| format!("{}, and {}", text::server(changed), text::server(other)));
            }
        }
        Check::ServerAndRecord(check) => {
            let all = others.iter().copied().filter(|_| record_is_new).chain([changed]);
            for server in all {
                take(check(server, record), &|| {
                    format!("{}, and {}", text::server(server), text::record(record))
                });
            }
        }
        Check::Record(check) if record_is_new => take(check(record), &|| text::record(record)),
        Check::Quorum(check) => {
            let all = || others.iter().copied().chain([changed]);
            let verdicts = all().map(|server| (server.id, check(server, record)));
            take(rule::of_quorum(verdicts, |good| quorum.decides(good)), &|| {
                let servers: Vec<_> = all().map(text::server).collect();
                format!("{}, and {}", servers.join(", "), text::record(record))
            });
        }
        // Servers are asked those about steps and messages themselves; those about clients stand elsewhere.
        Check::Record(_) | Check::Step(_) | Check::Claim(_) | Check::Breach(_) | Check::Clients => {}
    }
    (verdict, found)
}

/// Judges what a step has changed: a server, and perhaps the record.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn step(
    changed: &ServerView,
    others: &[&ServerView],
    record: &Record,
    record_is_new: bool,
    quorum: &Quorum,
    coverage: &mut Coverage,
) -> Result<(), Fault> {
    for rule in rule::all() {
        let (verdict, found) = ask(rule, changed, others, record, record_is_new, quorum);
        match verdict {
            Verdict::Silent => {}
            Verdict::Holds => coverage.tested(rule.id),
            Verdict::Broken => {
                let why = format!("{}; but {found}", rule.statement);
                return Err(Fault { rule: rule.id.to_owned(), why });
            }
        }
    }
    let leads =
        |server: &ServerView| matches!(server.part, Part::Leading(Phase::Synchronisation | Phase::Broadcast));
    if leads(changed) && others.iter().any(|other| leads(other)) {
        coverage.met("two-live-leaders");
        if changed.serving && others.iter().any(|other| leads(other) && other.serving) {
            coverage.met("deposed-leader-serves");
        }
    }
    Ok(())
}

/// The rules about steps that need the record, asked of a step that loses something durable.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn forgetting(
    before: &ServerView,
    after: &ServerView,
    record: &Record,
    coverage: &mut Coverage,
) -> Result<(), Fault> {
    for rule in rule::all() {
        let Check::Step(check) = rule.check else { continue };
        match check(before, after, record) {
            Verdict::Silent => {}
            Verdict::Holds => coverage.tested(rule.id),
            Verdict::Broken => {
                let why = format!(
                    "{}; but {} became {}",
                    rule.statement,
                    text::server(before),
                    text::server(after)
                );
                return Err(Fault { rule: rule.id.to_owned(), why });
            }
        }
    }
    Ok(())
}
