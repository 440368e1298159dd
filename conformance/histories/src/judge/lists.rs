//! The names below nodes, by the counter that every change of them moves.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Verdict, folder};
use crate::history::{Answer, Reply, Request};

pub(super) const RULE: &str = "lists are linearizable";

struct Shown<'a> {
    at: i64,
    cversion: i32,
    pzxid: i64,
    names: BTreeSet<&'a str>,
}

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut lists: BTreeMap<&str, Vec<Shown<'_>>> = BTreeMap::new();
    let mut changes: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    for placed in &facts.ops {
        let Some(path) = placed.op.request.changed() else {
            if let (Request::List { path, .. }, Some(reply)) = (&placed.op.request, placed.well())
                && let Answer::Names { names, stat } = &reply.answer
            {
                let at = placed.state(reply, facts.strict);
                let names = names.iter().map(String::as_str).collect();
                let shown = Shown { at, cversion: stat.cversion, pzxid: stat.pzxid, names };
                lists.entry(path).or_default().push(shown);
            }
            continue;
        };
        if let Some(Reply { zxid, .. }) = placed.well() {
            changes.entry(folder(path).to_owned()).or_default().push(*zxid);
        } else if placed.unknown() {
            *unknown.entry(folder(path).to_owned()).or_default() += 1;
        }
    }
    for (path, mut shown) in lists {
        let mut changes = changes.remove(path).unwrap_or_default();
        changes.sort_unstable();
        shown.sort_by_key(|shown| shown.at);
        judge_list(path, &shown, &changes, verdict);
        judge_births(path, &shown, facts, unknown.get(path).copied().unwrap_or(0), verdict);
    }
}

fn judge_list(path: &str, shown: &[Shown<'_>], changes: &[i64], verdict: &mut Verdict) {
    let up_to = |zxid: i64| changes.partition_point(|change| *change <= zxid);
    for pair in shown.windows(2) {
        let (before, now) = (&pair[0], &pair[1]);
        let moved = i64::from(now.cversion) - i64::from(before.cversion);
        let least = i64::try_from(up_to(now.at) - up_to(before.at)).unwrap_or(i64::MAX);
        verdict.check(RULE, moved >= least, || {
            format!(
                "{path} changed {moved} times between 0x{:x} and 0x{:x}, where {least} changes are acknowledged",
                before.at, now.at
            )
        });
        let same = now.pzxid == before.pzxid && now.names == before.names;
        let holds = if moved == 0 { same } else { now.pzxid > before.pzxid };
        verdict.check(RULE, holds, || {
            format!(
                "{path}: change {} of 0x{:x} is {:?}, and change {} of 0x{:x} is {:?}",
                before.cversion, before.pzxid, before.names, now.cversion, now.pzxid, now.names
            )
        });
    }
    for list in shown {
        let last = up_to(list.at).checked_sub(1).map_or(0, |index| changes[index]);
        verdict.check(RULE, last <= list.pzxid && list.pzxid <= list.at, || {
            format!(
                "{path} at 0x{:x} changed last at 0x{:x}; 0x{last:x} is acknowledged",
                list.at, list.pzxid
            )
        });
    }
}

/// Names that no acknowledged write made are no more than writes of unknown outcome.
fn judge_births(path: &str, shown: &[Shown<'_>], facts: &Facts<'_>, unknown: usize, verdict: &mut Verdict) {
    let made = facts.ops.iter().filter_map(|placed| match (&placed.op.request, placed.well()) {
        (request, Some(Reply { answer: Answer::Path(path), .. })) if request.changed().is_some() => {
            Some(path.as_str())
        }
        _ => None,
    });
    let made: BTreeSet<&str> =
        made.filter(|made| folder(made) == path).filter_map(|made| Some(made.rsplit_once('/')?.1)).collect();
    let seen: BTreeSet<&str> = shown.iter().flat_map(|shown| shown.names.iter().copied()).collect();
    let strangers: Vec<_> = seen.difference(&made).collect();
    verdict.check(RULE, strangers.len() <= unknown, || {
        format!("{path} showed {strangers:?}, and only {unknown} writes there are of unknown outcome")
    });
}
