//! What nodes hold: one sweep over each register in the order of zxids, in which every set has its version.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Placed, Verdict, answers::BAD_VERSION};
use crate::history::{Answer, Reply, Request, Seen};

pub(super) const RULE: &str = "registers are linearizable";
pub(super) const VALUES: &str = "values come from writes";

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    judge_values(facts, verdict);
    let sets = facts.ops.iter().filter_map(|placed| placed.op.request.set());
    for path in sets.collect::<BTreeSet<_>>() {
        judge_register(path, facts, verdict);
    }
}

/// Every value that is read was written there, by a write that did not fail, in the transaction that its reply names.
fn judge_values(facts: &Facts<'_>, verdict: &mut Verdict) {
    let writers: BTreeMap<&str, &Placed<'_>> =
        facts.ops.iter().filter_map(|placed| Some((placed.op.request.written()?.1, placed))).collect();
    for reader in &facts.ops {
        let (Request::Get { path, .. }, Some(reply)) = (&reader.op.request, reader.well()) else { continue };
        let Answer::Data { value, stat } = &reply.answer else { continue };
        let writer = writers.get(value.as_str());
        let holds = writer.is_some_and(|writer| {
            let at = writer.op.request.written().map_or("", |(at, _)| at);
            let sequential = matches!(writer.op.request, Request::Append { .. });
            let there = if sequential { path.starts_with(at) } else { path == at };
            let as_told = writer.told().is_none_or(|told| told.code == 0 && told.zxid == stat.mzxid);
            there && as_told && writer.op.sent < reply.at
        });
        verdict.check(VALUES, holds, || {
            format!(
                "{path} shows {value:?} of transaction 0x{:x} at 0x{:x}, and its writer is {:?}",
                stat.mzxid,
                reply.zxid,
                writer.map(|writer| &writer.op)
            )
        });
    }
}

/// Something that is known of a register at a zxid.
#[derive(Clone, Copy, Debug)]
enum Fact<'a> {
    Shows(Seen, Option<&'a str>),
    /// A set failed because the version was not this.
    IsNot(i32),
}

fn facts_of<'a>(path: &str, facts: &Facts<'a>) -> Vec<(i64, u8, Fact<'a>)> {
    let mut known = Vec::new();
    for placed in &facts.ops {
        let Some(reply) = placed.told() else { continue };
        let at = placed.state(reply, facts.strict);
        match (&placed.op.request, &reply.answer) {
            (Request::Set { path: of, value, .. }, Answer::Stat(stat)) if of == path => {
                known.push((at, 0, Fact::Shows(*stat, Some(value))));
            }
            (Request::Get { path: of, .. }, Answer::Data { value, stat }) if of == path => {
                known.push((at, 1, Fact::Shows(*stat, Some(value))));
            }
            (Request::Exists { path: of }, Answer::Stat(stat)) if of == path => {
                known.push((at, 1, Fact::Shows(*stat, None)));
            }
            (Request::Set { path: of, version: Some(version), .. }, _)
                if of == path && reply.code == BAD_VERSION =>
            {
                known.push((at, 1, Fact::IsNot(*version)));
            }
            _ => {}
        }
    }
    known.sort_by_key(|(at, rank, _)| (*at, *rank));
    known
}

fn judge_register(path: &str, facts: &Facts<'_>, verdict: &mut Verdict) {
    judge_conditions(path, facts, verdict);
    let known = facts_of(path, facts);
    let mut versions: BTreeMap<i32, (i64, Option<&str>)> = BTreeMap::new();
    let mut last = Seen::default();
    let mut denied: Vec<(i64, i32)> = Vec::new();
    for (at, _, fact) in known {
        let Fact::Shows(stat, value) = fact else {
            if let Fact::IsNot(version) = fact {
                denied.push((at, version));
            }
            continue;
        };
        let forward = stat.version >= last.version
            && stat.mzxid <= at
            && (stat.version > last.version) == (stat.mzxid > last.mzxid || last == Seen::default());
        let first = last == Seen::default();
        verdict.check(RULE, forward || (first && stat.mzxid <= at), || {
            format!(
                "{path} at 0x{at:x} has version {} of 0x{:x}, behind version {} of 0x{:x}",
                stat.version, stat.mzxid, last.version, last.mzxid
            )
        });
        let same = versions.entry(stat.version).or_insert((stat.mzxid, value));
        let value = value.or(same.1);
        let holds = same.0 == stat.mzxid && (same.1.is_none() || same.1 == value);
        verdict.check(RULE, holds, || {
            format!(
                "{path}: version {} is {:?} of 0x{:x}, and also {value:?} of 0x{:x}",
                stat.version, same.1, same.0, stat.mzxid
            )
        });
        same.1 = value;
        // What was the version before and behind a refusal was the version then.
        for (when, version) in denied.drain(..) {
            verdict.check(RULE, !(version == last.version && version == stat.version), || {
                format!("{path} at 0x{when:x}: a set was refused for its version {version}, which was right")
            });
        }
        last = stat;
    }
    judge_unknown(path, &versions, facts, verdict);
}

/// A set that asked for a version got the next one.
fn judge_conditions(path: &str, facts: &Facts<'_>, verdict: &mut Verdict) {
    for placed in &facts.ops {
        let Request::Set { path: of, version: Some(version), .. } = &placed.op.request else { continue };
        let Some(Reply { answer: Answer::Stat(stat), zxid, .. }) = placed.well() else { continue };
        if of == path {
            verdict.check(RULE, stat.version == version + 1 && stat.mzxid == *zxid, || {
                format!("{path}: a set of version {version} at 0x{zxid:x} made version {}", stat.version)
            });
        }
    }
}

/// Versions that no acknowledged set made are those of unknown sets, each of which was carried out once at most.
fn judge_unknown(
    path: &str,
    versions: &BTreeMap<i32, (i64, Option<&str>)>,
    facts: &Facts<'_>,
    verdict: &mut Verdict,
) {
    let values: Vec<&str> = versions.values().filter_map(|(_, value)| *value).collect();
    let distinct: BTreeSet<&str> = values.iter().copied().collect();
    verdict.check(RULE, distinct.len() == values.len(), || format!("{path}: one set made two versions"));
    let of_path = |placed: &&Placed<'_>| placed.op.request.set() == Some(path);
    let acked = facts.ops.iter().filter(of_path).filter(|placed| placed.well().is_some()).count();
    let unknown = facts.ops.iter().filter(of_path).filter(|placed| placed.unknown()).count();
    let highest = versions.keys().next_back().copied().unwrap_or(0);
    let made = usize::try_from(highest).unwrap_or(0);
    verdict.check(RULE, made <= acked + unknown, || {
        format!("{path} has version {highest} after {acked} sets and {unknown} of unknown outcome")
    });
}
