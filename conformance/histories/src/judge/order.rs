//! The order of zxids: no write shares one, real time agrees with it, no session goes back in it.

use std::collections::BTreeMap;

use super::{Facts, Verdict};
use crate::history::{History, Request, What};

pub(super) const ONE_A_ZXID: &str = "one write a zxid";
pub(super) const REAL_TIME: &str = "writes in real time";
pub(super) const SYNC: &str = "sync reads the latest";
pub(super) const NEVER_BACK: &str = "sessions never go back";
pub(super) const SHORT_SILENCE: &str = "sessions outlive short silence";
pub(super) const IN_TURN: &str = "answers in the order of asking";

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
        // A write that is refused is a transaction with a zxid of its own as well (C-10): a server that refuses out of
        // a state of its own, without the log, shows by that.
        if placed.op.request.writes() {
            let other = owners.insert(reply.zxid, who);
            verdict.check(ONE_A_ZXID, other.is_none(), || {
                format!("writes of {who} and {} have both zxid 0x{:x}", other.map_or("?", |o| o), reply.zxid)
            });
            verdict.check(REAL_TIME, reply.zxid > before, || {
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
            verdict.check(SYNC, holds || !facts.strict, || {
                format!(
                    "a sync of {who}, sent at {} us, shows 0x{:x}; 0x{before:x} had been seen before",
                    op.sent, reply.zxid
                )
            });
        }
        verdict.check(NEVER_BACK, reply.zxid >= placed.prior, || {
            format!(
                "session 0x{:x} of {who} is shown 0x{:x} at {} us, and had seen 0x{:x}",
                placed.entry.session, reply.zxid, reply.at, placed.prior
            )
        });
    }
    judge_sessions(history, verdict);
}

/// When a session was heard of through the leader.
#[derive(Default)]
struct Contacts {
    timeout_us: u64,
    sent: Vec<u64>,
}

/// A server tells its leader of the sessions that it heard with each PING, a few times a tick. A contact that is older
/// than this has been told, if another one went through the leader since.
const TOLD_WITHIN_US: u64 = 500_000;

impl Contacts {
    /// How long the session had been silent when it was declared dead, if that can be held against the servers: only
    /// the contact before the last is sure to have been told to the leader, and the session may have died of the
    /// silence between the two.
    fn silence(&self, dead: u64) -> Option<u64> {
        let last = *self.sent.last()?;
        let told = self.sent.iter().rfind(|sent| **sent + TOLD_WITHIN_US <= last)?;
        (last - told <= self.timeout_us / 2).then(|| dead.saturating_sub(last))
    }
}

/// What else a session may not see: answers against the protocol, and its end while it was well.
fn judge_sessions(history: &History, verdict: &mut Verdict) {
    // Over a slow link the word of a session is late, too, and nothing says how late.
    let prompt = !matches!(history.header.nemesis.as_str(), "slow" | "mixed");
    let mut well: BTreeMap<i64, Contacts> = BTreeMap::new();
    for entry in &history.entries {
        match &entry.what {
            What::Connected { timeout_ms, .. } => {
                let contacts = well.entry(entry.session).or_default();
                contacts.timeout_us = 1_000 * u64::try_from(*timeout_ms).unwrap_or(0);
            }
            What::Op(op) => {
                if op.reply.is_some() {
                    verdict.check(IN_TURN, true, String::new);
                }
                let through = op.request.writes() || op.request == Request::Sync;
                if let (true, Some(_), Some(contacts)) = (through, &op.reply, well.get_mut(&entry.session)) {
                    contacts.sent.push(op.sent);
                }
            }
            What::Expired => {
                let Some(contacts) = well.get(&entry.session).filter(|_| prompt) else { continue };
                let Some(silence) = contacts.silence(entry.at) else { continue };
                verdict.check(SHORT_SILENCE, silence > contacts.timeout_us / 2, || {
                    format!(
                        "session 0x{:x} of {} was dead {silence} us after it had been heard; its timeout is {} us",
                        entry.session, entry.client, contacts.timeout_us
                    )
                });
            }
            What::Stays(path) => verdict.check(super::nodes::LOCK, false, || {
                format!("{} saw {path} stay, long after every session was closed or left", entry.client)
            }),
            What::Lost(path) => verdict.check(super::nodes::RULE, false, || {
                format!("{} saw no {path}, which was there from the start, when all was well", entry.client)
            }),
            What::Wrong(what) => verdict.check(IN_TURN, false, || format!("{} saw {what}", entry.client)),
            What::Event { .. } | What::Broken => {}
        }
    }
}
