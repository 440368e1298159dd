//! What is read back from each server at the end is the same.

use std::collections::BTreeMap;

use super::{Facts, Verdict};
use crate::history::{Answer, Request, Seen};

pub(super) const RULE: &str = "servers end up equal";

/// How the names of those begin that read a server back, when nobody writes any more.
pub const READER: &str = "final-";

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    type Shown<'a> = (Option<(&'a str, Seen)>, Vec<&'a str>);
    let mut shown: BTreeMap<&str, BTreeMap<&str, Shown<'_>>> = BTreeMap::new();
    for placed in facts.ops.iter().filter(|placed| placed.entry.client.starts_with(READER)) {
        let (Request::Get { path, .. } | Request::List { path, .. }, Some(reply)) =
            (&placed.op.request, placed.told())
        else {
            continue;
        };
        let this = match &reply.answer {
            Answer::Data { value, stat } => (Some((value.as_str(), *stat)), Vec::new()),
            Answer::Names { names, stat } => {
                let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
                names.sort_unstable();
                (Some(("", *stat)), names)
            }
            Answer::Empty | Answer::Path(_) | Answer::Stat(_) => (None, Vec::new()),
        };
        // The last one counts: it may have been read again.
        shown.entry(&placed.entry.client).or_default().insert(path, this);
    }
    let Some((first, reference)) = shown.first_key_value() else { return };
    for (reader, nodes) in &shown {
        for path in reference.keys().chain(nodes.keys()) {
            let (one, other) = (reference.get(path), nodes.get(path));
            verdict.check(RULE, one == other, || {
                format!("{path} is {one:?} for {first}, and {other:?} for {reader}")
            });
        }
    }
}
