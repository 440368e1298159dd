//! Sessions, ephemerals and what clients see.
//!
//! These rules are about whole runs of clients, so no checker can ask them of one state: they are stated here, and
//! judged by scenarios and property tests, which record what their clients did.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::{
    SessionId, Zxid,
    rule::{Check, Rule, Verdict},
};

/// The rules of this module.
pub const RULES: &[Rule] = &[
    Rule {
        id: "S-1",
        statement: "whoever owns an ephemeral node is in the session table of the same state",
        source: "ZooKeeper issues 1208, 1367",
        check: Check::Clients,
    },
    Rule {
        id: "S-2",
        statement: "behind the transaction that closes a session, no state shows a node of it",
        source: "ZooKeeper issues 1208, 2355, 3145",
        check: Check::Clients,
    },
    Rule {
        id: "S-5",
        statement: "the writes of a session are committed in the order in which it sent them, whatever servers it was connected to",
        source: "ZooKeeper programmer's guide, consistency guarantees; `checkSession`",
        check: Check::Clients,
    },
    Rule {
        id: "S-7",
        statement: "within a session, no reply shows an older state than a reply or event before it",
        source: "ZooKeeper programmer's guide, single system image",
        check: Check::Clients,
    },
    Rule {
        id: "S-8",
        statement: "an acknowledged write is committed exactly once, any other at most once",
        source: "ZooKeeper programmer's guide, atomicity and reliability",
        check: Check::Clients,
    },
    Rule {
        id: "S-14",
        statement: "a read behind a sync shows every write that was acknowledged to anyone before the sync was sent",
        source: "stronger than ZooKeeper's sync, see spec/deviations.md",
        check: Check::Clients,
    },
];

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
    /// The client's number of the request, unique within its session.
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

/// S-7, of the states that one session was shown by replies and events, in the order of receipt.
pub fn session_sees_forward(shown: &[Zxid]) -> Verdict {
    Verdict::of(shown.len() > 1, || shown.is_sorted())
}

/// S-8, of the committed writes and what the clients know of theirs.
pub fn writes_happen_once(committed: &[Answered], attempts: &[Attempt]) -> Verdict {
    let mut places: BTreeMap<(SessionId, i32), Zxid> = BTreeMap::new();
    let mut once = true;
    for write in committed {
        once &= places.insert((write.session, write.xid), write.zxid).is_none();
    }
    let kept = attempts.iter().all(|attempt| {
        attempt.acknowledged.is_none_or(|zxid| places.get(&(attempt.session, attempt.xid)) == Some(&zxid))
    });
    Verdict::of(!attempts.is_empty() || !committed.is_empty(), || once && kept)
}

/// S-14, of one sync: the latest write that was acknowledged to anyone when it was sent, and the state that the
/// reads behind it showed.
pub fn sync_shows_acknowledged(acknowledged_before: Option<Zxid>, shown_behind: &[Zxid]) -> Verdict {
    match acknowledged_before {
        Some(latest) => {
            Verdict::of(!shown_behind.is_empty(), || shown_behind.iter().all(|zxid| *zxid >= latest))
        }
        None => Verdict::Silent,
    }
}
