//! The order of zxids: no write shares one, real time agrees with it, no session goes back in it.

use std::collections::BTreeMap;

use super::{Facts, Verdict};
use crate::history::{History, Request, What};

/// The highest zxid that anybody had been told of by some time.
struct Floor(Vec<(u64, i64)>);

impl Floor {
    fn of(facts: &Facts<'_>) -> Self {
        let replies = facts.ops.iter().filter_map(|placed| placed.op.reply.as_ref());
        let mut points: Vec<(u64, i64)> = replies.map(|reply| (reply.at, reply.zxid)).collect();
        points.sort_unstable();
        let mut highest = 0;
        for (_, zxid) in &mut points {
            highest = highest.max(*zxid);
            *zxid = highest;
        }
        Self(points)
    }

    fn before(&self, time: u64) -> i64 {
        let count = self.0.partition_point(|(at, _)| *at < time);
        count.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

pub(super) fn judge(history: &History, facts: &Facts<'_>, verdict: &mut Verdict) {
    let floor = Floor::of(facts);
    let mut owners = BTreeMap::new();
    for placed in &facts.ops {
        let (op, who) = (placed.op, &placed.entry.client);
        let Some(reply) = placed.told() else { continue };
        let before = floor.before(op.sent);
        if placed.op.request.writes() && reply.code == 0 {
            let other = owners.insert(reply.zxid, who);
            verdict.check("one write a zxid", other.is_none(), || {
                format!("writes of {who} and {} have both zxid 0x{:x}", other.map_or("?", |o| o), reply.zxid)
            });
            verdict.check("writes in real time", reply.zxid > before, || {
                format!(
                    "{:?} of {who}, sent at {} us, got zxid 0x{:x}; 0x{before:x} had been seen before",
                    op.request, op.sent, reply.zxid
                )
            });
        } else if op.request == Request::Sync {
            let holds = reply.zxid >= before;
            // Apache's leader answers a sync without asking whether it still leads.
            if !holds && !facts.strict {
                *verdict.told.entry("syncs that showed an old state").or_default() += 1;
            }
            verdict.check("sync reads the latest", holds || !facts.strict, || {
                format!(
                    "a sync of {who}, sent at {} us, shows 0x{:x}; 0x{before:x} had been seen before",
                    op.sent, reply.zxid
                )
            });
        }
        verdict.check("sessions never go back", reply.zxid >= placed.prior, || {
            format!(
                "session 0x{:x} of {who} is shown 0x{:x} at {} us, and had seen 0x{:x}",
                placed.entry.session, reply.zxid, reply.at, placed.prior
            )
        });
    }
    judge_sessions(history, verdict);
}

/// What else a session may not see: answers against the protocol, and its end while it was well.
fn judge_sessions(history: &History, verdict: &mut Verdict) {
    // Of each session: its timeout in milliseconds, and when it sent what went through the leader last.
    let mut well: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for entry in &history.entries {
        match &entry.what {
            What::Connected { timeout_ms, .. } => {
                let timeout = u64::try_from(*timeout_ms).unwrap_or(0);
                well.entry(entry.session).or_insert((timeout, entry.at)).0 = timeout;
            }
            What::Op(op) => {
                let through = op.request.writes() || op.request == Request::Sync;
                if let (true, Some(_), Some(well)) = (through, &op.reply, well.get_mut(&entry.session)) {
                    well.1 = well.1.max(op.sent);
                }
            }
            What::Expired => {
                let Some((timeout, last)) = well.get(&entry.session).copied() else { continue };
                let silence = entry.at.saturating_sub(last) / 1_000;
                // Half of it may be lost on the way to the leader.
                verdict.check("sessions outlive short silence", silence > timeout / 2, || {
                    format!(
                        "session 0x{:x} of {} was dead {silence} ms after it had been heard; its timeout is {timeout} ms",
                        entry.session, entry.client
                    )
                });
            }
            What::Stays(path) => verdict.check("ephemerals live as their sessions do", false, || {
                format!("{} saw {path} stay, long after every session was closed or left", entry.client)
            }),
            What::Wrong(what) => verdict
                .check("answers in the order of asking", false, || format!("{} saw {what}", entry.client)),
            What::Event { .. } | What::Broken => {}
        }
    }
}
