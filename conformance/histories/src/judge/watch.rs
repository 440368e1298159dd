//! Watches: one event for each that was left and whose node changed, ahead of every reply that could show the change,
//! over any number of connections.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Placed, Verdict, folder};
use crate::history::{Answer, Entry, History, Reply, Request, What};

/// What a watch waits for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A node that is there changes or goes.
    Data,
    /// A node that is not there comes.
    Exist,
    /// A name comes or goes below a node.
    Child,
}

/// A watch that was left.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Armed {
    /// What for.
    pub kind: Kind,
    /// Where.
    pub path: String,
}

/// The watch that a request leaves, if it is answered with this code.
pub fn armed_by(request: &Request, code: i32) -> Option<Armed> {
    let armed = |kind, path: &String| Some(Armed { kind, path: path.clone() });
    match (request, code) {
        (Request::Get { path, watch: true } | Request::Exists { path }, 0) => armed(Kind::Data, path),
        (Request::Exists { path }, -101) => armed(Kind::Exist, path),
        (Request::List { path, watch: true }, 0) => armed(Kind::Child, path),
        _ => None,
    }
}

/// The kinds of events, as the protocol numbers them.
const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

/// The watches that an event of this kind ends.
pub fn ended_by(kind: i32) -> &'static [Kind] {
    match kind {
        CREATED | DATA_CHANGED => &[Kind::Data, Kind::Exist],
        DELETED => &[Kind::Data, Kind::Exist, Kind::Child],
        CHILDREN_CHANGED => &[Kind::Child],
        _ => &[],
    }
}

pub(super) const MISSED: &str = "events come before what they tell of";
pub(super) const ONCE: &str = "events come once, to those who asked";
pub(super) const SPURIOUS: &str = "events tell of changes";

/// What is known of the changes of nodes.
#[derive(Default)]
struct Changes {
    /// Zxids at which what a watch waits for happened.
    known: BTreeMap<Armed, Vec<i64>>,
    /// What each transaction that is known to have changed a path did there, as the kind of the event that tells of it.
    deeds: BTreeMap<String, BTreeMap<i64, i32>>,
    /// Watches for which more may have happened than is known.
    unknown: BTreeSet<Armed>,
}

impl Changes {
    fn of(facts: &Facts<'_>) -> Self {
        let mut this = Self::default();
        for placed in &facts.ops {
            this.enter(placed);
        }
        for zxids in this.known.values_mut() {
            zxids.sort_unstable();
            zxids.dedup();
        }
        this
    }

    fn add(&mut self, deed: i32, path: &str, zxid: i64) {
        let kind = match deed {
            CREATED => Kind::Exist,
            CHILDREN_CHANGED => Kind::Child,
            _ => Kind::Data,
        };
        self.deeds.entry(path.to_owned()).or_default().insert(zxid, deed);
        self.known.entry(Armed { kind, path: path.to_owned() }).or_default().push(zxid);
    }

    fn enter(&mut self, placed: &Placed<'_>) {
        let request = &placed.op.request;
        if let Some(reply) = placed.well() {
            match (request, &reply.answer) {
                (Request::Set { path, .. }, _) => self.add(DATA_CHANGED, path, reply.zxid),
                (Request::Delete { path }, _) => {
                    self.add(DELETED, path, reply.zxid);
                    self.add(CHILDREN_CHANGED, folder(path), reply.zxid);
                }
                (
                    Request::Create { .. } | Request::Lock { .. } | Request::Append { .. },
                    Answer::Path(path),
                ) => {
                    self.add(CREATED, path, reply.zxid);
                    self.add(CHILDREN_CHANGED, folder(path), reply.zxid);
                }
                (Request::Get { path, .. }, Answer::Data { stat, .. })
                | (Request::Exists { path }, Answer::Stat(stat)) => {
                    self.add(CREATED, path, stat.czxid);
                    if stat.mzxid > stat.czxid {
                        self.add(DATA_CHANGED, path, stat.mzxid);
                    }
                }
                (Request::List { path, .. }, Answer::Names { stat, .. }) if stat.pzxid > stat.czxid => {
                    self.add(CHILDREN_CHANGED, path, stat.pzxid);
                }
                _ => {}
            }
        }
        let mut may = |kind, path: &str| {
            self.unknown.insert(Armed { kind, path: path.to_owned() });
        };
        // An ephemeral may go at any time, with its session.
        if let Request::Lock { path, .. } = request {
            may(Kind::Data, path);
            may(Kind::Child, folder(path));
        }
        if !placed.unknown() {
            return;
        }
        if let Request::Set { path, .. } | Request::Delete { path } = request {
            may(Kind::Data, path);
            may(Kind::Child, folder(path));
        }
        if let Request::Create { path, .. } | Request::Append { path, .. } | Request::Lock { path, .. } =
            request
        {
            may(Kind::Exist, path);
            may(Kind::Child, folder(path));
        }
    }

    /// A change that is known to have happened behind `after` and not behind `until`.
    fn between(&self, armed: &Armed, after: i64, until: i64) -> Option<i64> {
        let zxids = self.known.get(armed)?;
        zxids.get(zxids.partition_point(|zxid| *zxid <= after)).copied().filter(|zxid| *zxid <= until)
    }

    /// The last change that is known to have happened behind `after` and not behind `until`.
    fn last(&self, armed: &Armed, after: i64, until: i64) -> Option<i64> {
        let zxids = self.known.get(armed)?;
        let last = zxids.partition_point(|zxid| *zxid <= until).checked_sub(1)?;
        Some(zxids[last]).filter(|zxid| *zxid > after)
    }

    /// Whether an event of this kind may tell of what this transaction did to the path. A watch that is left again is
    /// told of the state that it is left in, not of one change: a node that came may have been set by then, and one
    /// that was set may have gone and come anew. Whether it is there must be right all the same.
    fn agree(&self, (zxid, kind, path): (i64, i32, &str), left_again: bool) -> bool {
        let Some(deed) = self.deeds.get(path).and_then(|deeds| deeds.get(&zxid)) else { return true };
        if left_again { (kind == DELETED) == (*deed == DELETED) } else { kind == *deed }
    }

    fn possible_behind(&self, armed: &Armed, after: i64) -> bool {
        self.unknown.contains(armed) || self.between(armed, after, i64::MAX).is_some()
    }
}

/// When a watch was left.
#[derive(Clone, Copy)]
struct Since {
    /// What the reply that left it names: every change behind it must be told.
    named: i64,
    /// What that reply shows: no change up to it may be told.
    shown: i64,
}

/// The watches of one session, as it sees them.
#[derive(Default)]
struct Session {
    armed: BTreeMap<Armed, Since>,
    last: i64,
    /// A connection has begun and nothing is answered: events now may be those of watches that are being left again.
    begins: bool,
}

pub(super) fn judge(history: &History, facts: &Facts<'_>, verdict: &mut Verdict) {
    let changes = Changes::of(facts);
    let mut sessions: BTreeMap<i64, Session> = BTreeMap::new();
    for entry in &history.entries {
        let session = sessions.entry(entry.session).or_default();
        match &entry.what {
            What::Op(op) => {
                session.begins = false;
                if let Some(reply) = &op.reply {
                    session.on_reply(entry, &op.request, reply, &changes, verdict);
                }
            }
            What::Event { zxid, kind, path } => {
                session.on_event(entry, (*zxid, *kind, path), &changes, verdict);
            }
            What::Connected { .. } => session.begins = true,
            What::Broken | What::Expired | What::Stays(_) | What::Lost(_) | What::Wrong(_) => {}
        }
    }
}

impl Session {
    fn on_reply(
        &mut self,
        entry: &Entry,
        request: &Request,
        reply: &Reply,
        changes: &Changes,
        verdict: &mut Verdict,
    ) {
        if let Request::SetWatches { .. } = request {
            self.forgive(reply, changes);
        }
        let mut missed = Vec::new();
        for (armed, since) in &self.armed {
            let change = changes.between(armed, since.named, reply.zxid);
            verdict.check(MISSED, change.is_none(), || {
                missed.push(armed.clone());
                format!(
                    "{} had a {:?} watch on {} since 0x{:x}, and was shown 0x{:x} at {} us without word of 0x{:x}",
                    entry.client,
                    armed.kind,
                    armed.path,
                    since.named,
                    reply.zxid,
                    reply.at,
                    change.unwrap_or_default()
                )
            });
        }
        // Once is enough.
        for armed in missed {
            self.armed.remove(&armed);
        }
        if let Some(armed) = armed_by(request, reply.code) {
            let shown = match &reply.answer {
                Answer::Stat(stat) | Answer::Data { stat, .. } => stat.mzxid,
                Answer::Names { stat, .. } => stat.pzxid,
                Answer::Empty | Answer::Path(_) => self.last,
            };
            self.armed.entry(armed).or_insert(Since { named: reply.zxid, shown });
        }
        self.last = self.last.max(reply.zxid);
    }

    /// A node that came and went between two connections leaves nothing by which a server could tell: that the watch
    /// for its coming is told nothing of it is ZooKeeper's protocol.
    fn forgive(&mut self, reply: &Reply, changes: &Changes) {
        for (armed, since) in self.armed.iter_mut().filter(|(armed, _)| armed.kind == Kind::Exist) {
            let gone = Armed { kind: Kind::Data, path: armed.path.clone() };
            if let Some(came) = changes.last(armed, since.named, reply.zxid)
                && (changes.unknown.contains(&gone) || changes.last(&gone, came, reply.zxid).is_some())
            {
                since.named = reply.zxid;
            }
        }
    }

    fn on_event(
        &mut self,
        entry: &Entry,
        (zxid, kind, path): (i64, i32, &str),
        changes: &Changes,
        verdict: &mut Verdict,
    ) {
        let ended = ended_by(kind).iter().map(|kind| Armed { kind: *kind, path: path.to_owned() });
        let ended: Vec<(Armed, Since)> =
            ended.filter_map(|armed| self.armed.remove(&armed).map(|since| (armed, since))).collect();
        verdict.check(ONCE, !ended.is_empty(), || {
            format!("{} got event {kind} of {path} at {} us, and had no watch there", entry.client, entry.at)
        });
        if ended.is_empty() {
            return;
        }
        let behind = ended.iter().all(|(_, since)| zxid <= 0 || zxid > since.shown);
        let happened = ended.iter().any(|(armed, since)| changes.possible_behind(armed, since.shown));
        let agree = changes.agree((zxid, kind, path), self.begins);
        verdict.check(SPURIOUS, behind && happened && agree, || {
            let what = if agree { "nothing changed" } else { "the change was another one" };
            format!(
                "{} got event {kind} of {path} with 0x{zxid:x} at {} us, and {what}; its watch is of 0x{:x}",
                entry.client, entry.at, ended[0].1.shown
            )
        });
    }
}
