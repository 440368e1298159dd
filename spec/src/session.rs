//! Sessions, ephemerals and what clients see.
//!
//! These rules are about what clients did and were told, which no server can tell. Their predicates take it as it is
//! recorded: by the `session` model at every transition, and by scenarios and property tests over whole runs.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::{
    SessionId, Zxid,
    rule::{About, Check, Rule, Verdict},
};

/// The rules of this module.
pub const RULES: &[Rule] = &[
    Rule {
        id: "S-1",
        statement: "whoever owns an ephemeral node is in the session table of the same state",
        source: "ZooKeeper issues 1208, 1367",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-2",
        statement: "behind the transaction that closes a session, no state shows a node of it",
        source: "ZooKeeper issues 1208, 2355, 3145",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-3",
        statement: "a leader expires a session only after more ticks without a word of it than its timeout spans, and a new leader starts to count anew",
        source: "ZooKeeper `SessionTrackerImpl`, `LeaderSessionTracker`",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-4",
        statement: "servers that have applied the same transactions have the same session table",
        source: "ZooKeeper issues 3144, 3145",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-5",
        statement: "the writes of a session are committed in the order in which it sent them, whatever servers it was connected to",
        source: "ZooKeeper programmer's guide, consistency guarantees; `checkSession`",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-7",
        statement: "within a session, no reply shows an older state than a reply or event before it",
        source: "ZooKeeper programmer's guide, single system image",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-8",
        statement: "an acknowledged write is committed exactly once, any other at most once",
        source: "ZooKeeper programmer's guide, atomicity and reliability",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-9",
        statement: "a read shows the state behind the transaction that its answer names, and that is not before the session's own last write",
        source: "ZooKeeper programmer's guide, consistency guarantees; issues 1863, 2684",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-10",
        statement: "a watch fires for the first change behind its registration, once, before anything that shows the change, and for nothing else",
        source: "ZooKeeper programmer's guide, what ZooKeeper guarantees about watches",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-11",
        statement: "a write comes behind every write that was acknowledged to anyone before it was sent",
        source: "ZooKeeper programmer's guide, linearizable writes",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-12",
        statement: "a multi leaves all of its changes, or none",
        source: "ZooKeeper issue 3127",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-13",
        statement: "what a client is shown is committed",
        source: "Zab paper, section 4; Remix",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-14",
        statement: "a read behind a sync shows every write that was acknowledged to anyone before the sync was sent",
        source: "stronger than ZooKeeper's sync, see spec/deviations.md",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-15",
        statement: "what a leader deletes by itself is a container or has a time to live, and has no child",
        source: "ZooKeeper `ContainerManager`, `PrepRequestProcessor`; stronger there, see spec/deviations.md",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-16",
        statement: "what a learner without our extensions has forwarded is answered in the order in which it forwarded, syncs and writes of all its clients in one",
        source: "ZooKeeper `CommitProcessor`, which compares what comes with the oldest that it waits for alone",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-17",
        statement: "a server without a leader shows what it has logged, durably and to the end, and no place beyond",
        source: "ZooKeeper `ReadOnlyZooKeeperServer`; issue 3526",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-18",
        statement: "a write that is admitted comes to what the state before its place makes of it, but for quotas, though it was prepared when that state was still to come",
        source: "ZooKeeper `PrepRequestProcessor`, outstanding changes",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-19",
        statement: "a transaction that is more than an error tells the digest of the state behind it",
        source: "ZooKeeper `TxnDigest`, `DataTree.compareDigest`",
        about: About::Histories,
        check: Check::Clients,
    },
    Rule {
        id: "S-20",
        statement: "whatever a client waits for on the connection that it uses can still be answered, or its connection closed, without a further fault",
        source: "ZooKeeper `CommitProcessor`, whose clients can wait for ever (rule C-16)",
        about: About::Histories,
        check: Check::Clients,
    },
];

/// What a learner has forwarded, as it recognises the answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Forwarded {
    /// A sync, answered by SYNC.
    Sync,
    /// Anything else, answered by the commit of its transaction.
    Request {
        /// The session that asked.
        session: SessionId,
        /// The client's number of the request.
        xid: i32,
    },
}

/// A transaction that answers a client's write, at its place.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Answered {
    /// Its place.
    pub zxid: Zxid,
    /// The session that asked.
    pub session: SessionId,
    /// The client's number of the request.
    pub xid: i32,
}

/// A write as its client remembers it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Attempt {
    /// The session that asked.
    pub session: SessionId,
    /// The client's number of the request, unique within its session, unless the client numbers anew when it comes back.
    pub xid: i32,
    /// The place that the reply named; none if no reply came.
    pub acknowledged: Option<Zxid>,
}

/// S-1, of one state: the owners of its ephemerals, and its session table.
pub fn owners_are_open(owners: &BTreeSet<SessionId>, table: &BTreeSet<SessionId>) -> Verdict {
    Verdict::of(!owners.is_empty(), || owners.is_subset(table))
}

/// S-2, of one state: the owners of its ephemerals, and the sessions that were closed at or before it.
pub fn closed_own_nothing(owners: &BTreeSet<SessionId>, closed: &BTreeSet<SessionId>) -> Verdict {
    Verdict::of(!closed.is_empty(), || owners.is_disjoint(closed))
}

/// C-15, of one server: the sessions of the requests that it keeps though their connections are gone, and the sessions
/// whose close it has applied.
pub fn closed_keep_nothing(kept: &BTreeSet<SessionId>, closed: &BTreeSet<SessionId>) -> Verdict {
    Verdict::of(!closed.is_empty(), || kept.is_disjoint(closed))
}

/// C-17, of one answer where an identity is demanded: whether its connection had proved one when it asked, and whether it
/// was refused for want of one.
pub fn only_who_proved_may_ask(proved: bool, refused: bool) -> Verdict {
    Verdict::of(true, || proved != refused)
}

/// S-5, of the committed writes in their order.
pub fn sessions_write_in_order(committed: &[Answered]) -> Verdict {
    let mut last = BTreeMap::new();
    let mut verdict = Verdict::Silent;
    for write in committed {
        if let Some(before) = last.insert(write.session, write.xid) {
            verdict = verdict.and(Verdict::of(true, || before < write.xid));
        }
    }
    verdict
}

/// S-7, of the states that one session was shown by replies and events, in the order of receipt; 0 is none.
pub fn session_sees_forward(shown: &[Zxid]) -> Verdict {
    let states = shown.iter().filter(|zxid| **zxid > Zxid::ZERO);
    Verdict::of(states.count() > 1, || shown.is_sorted())
}

/// S-8, of the committed writes and what the clients know of theirs. Where a client has given several writes of a
/// session one number, there may be as many of it, and each answer is for another one.
pub fn writes_happen_once(committed: &[Answered], attempts: &[Attempt]) -> Verdict {
    let mut places: BTreeMap<(SessionId, i32), BTreeSet<Zxid>> = BTreeMap::new();
    for write in committed {
        places.entry((write.session, write.xid)).or_default().insert(write.zxid);
    }
    let allowed = |request: &(SessionId, i32)| {
        attempts.iter().filter(|attempt| (attempt.session, attempt.xid) == *request).count().max(1)
    };
    let once = places.iter().all(|(request, zxids)| zxids.len() <= allowed(request));
    let kept = attempts.iter().all(|attempt| match attempt.acknowledged {
        Some(zxid) => {
            let found = places.get_mut(&(attempt.session, attempt.xid));
            found.is_some_and(|zxids| zxids.remove(&zxid))
        }
        None => true,
    });
    Verdict::of(!attempts.is_empty() || !committed.is_empty(), || once && kept)
}

/// S-14, of one sync: the latest write that was acknowledged to anyone when it was sent, 0 being none, and the state
/// that the reads behind it showed.
pub fn sync_shows_acknowledged(acknowledged_before: Option<Zxid>, shown_behind: &[Zxid]) -> Verdict {
    match acknowledged_before {
        Some(latest) => Verdict::of(latest > Zxid::ZERO && !shown_behind.is_empty(), || {
            shown_behind.iter().all(|zxid| *zxid >= latest)
        }),
        None => Verdict::Silent,
    }
}

/// S-3, of one session that a leader has expired: the ticks of that leader since it heard of the session, or since it
/// began to lead, and the ticks that the session's timeout spans.
pub fn expired_in_silence(silent_ticks: u32, timeout_ticks: u32) -> Verdict {
    Verdict::of(true, || silent_ticks > timeout_ticks)
}

/// S-4, of two servers that have applied the same: their session tables.
pub fn tables_agree(one: &[(SessionId, i32)], other: &[(SessionId, i32)]) -> Verdict {
    Verdict::of(!one.is_empty() || !other.is_empty(), || one == other)
}

/// S-9, of one read: the place that its answer names, the place of the session's own last acknowledged write, what it
/// was told, and what the state at that place has to tell.
pub fn read_shows_its_place<T: PartialEq + ?Sized>(
    place: Zxid,
    own_write: Zxid,
    told: &T,
    state: &T,
) -> Verdict {
    Verdict::of(true, || place >= own_write && told == state)
}

/// S-10, of a watch that has not fired when a client is shown the state at `shown`: the first change behind its
/// registration, if there was one.
pub fn nothing_was_missed(change: Option<Zxid>, shown: Zxid) -> Verdict {
    Verdict::of(change.is_some(), || change.is_some_and(|zxid| zxid > shown))
}

/// S-10, of a watch that fires: the first change behind its registration, if there was one, and the place that the
/// event names. An event that makes up for one missed while the client was away names a later place.
pub fn event_has_cause(change: Option<Zxid>, event: Zxid, late: bool) -> Verdict {
    Verdict::of(true, || change.is_some_and(|zxid| zxid == event || (late && zxid < event)))
}

/// S-11, of one acknowledged write: the last write that was acknowledged to anyone when it was sent, and its place.
pub fn write_comes_behind(acknowledged_before: Zxid, place: Zxid) -> Verdict {
    Verdict::of(acknowledged_before > Zxid::ZERO, || place > acknowledged_before)
}

/// S-12, of one multi: whether it was carried out, how many of its changes the state behind it shows, and how many it
/// has.
pub fn multi_is_whole(done: bool, shown: usize, changes: usize) -> Verdict {
    Verdict::of(changes > 0, || shown == if done { changes } else { 0 })
}

/// S-15, of one node that a leader deletes by itself: whether it was a container or had a time to live when that became
/// final, and how many children it had then.
pub fn sweep_takes_what_is_due(may_end: bool, children: usize) -> Verdict {
    Verdict::of(true, || may_end && children == 0)
}

/// S-13, of one answer or event: whether the place that it names is committed.
pub fn shown_is_committed(is_committed: bool) -> Verdict {
    Verdict::of(true, || is_committed)
}

/// S-17, of one answer of a server without a leader: the place that it names, and the last one that is durable there.
pub fn shown_is_logged(shown: Zxid, durable: Zxid) -> Verdict {
    Verdict::of(true, || shown == durable)
}

/// S-18, of one write that its server admitted: the transaction that was made of it, and the one that the state before its
/// place makes of it.
pub fn write_meets_its_place<T: PartialEq + ?Sized>(prepared: &T, met: &T) -> Verdict {
    Verdict::of(true, || prepared == met)
}

/// S-19, of one transaction: the digest that it tells, whether it has to tell one, and that of the state behind it.
pub fn digest_is_that_of_the_state(told: Option<i64>, must_tell: bool, behind: i64) -> Verdict {
    Verdict::of(told.is_some() || must_tell, || told == Some(behind))
}

/// S-16, of one answer to a learner: what it has forwarded that was not answered before, in order. A transaction that
/// answers nothing of this comes from elsewhere.
pub fn answered_in_turn(waiting: &[Forwarded], answered: Forwarded) -> Verdict {
    let place = waiting.iter().position(|forwarded| *forwarded == answered);
    Verdict::of(place.is_some() && waiting.len() > 1, || place == Some(0))
}
