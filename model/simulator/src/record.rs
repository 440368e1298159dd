//! The committed order, and what clients were told, judged by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
};

use rustc_hash::FxBuildHasher;
use spec::{
    ClientId, Machine, ServerId, SessionId, Zxid,
    history::Entry,
    machine::{Reader, SessionChange},
    rule::Verdict,
    session::{
        Answered, Attempt, closed_own_nothing, digest_is_that_of_the_state, event_has_cause,
        expired_in_silence, nothing_was_missed, owners_are_open, read_shows_its_place, session_sees_forward,
        sessions_write_in_order, shown_is_committed, sync_shows_acknowledged, tables_agree,
        write_comes_behind, write_meets_its_place, writes_happen_once,
    },
};
use tree::{Outcome, Read, Settings, Tree, Txn, TxnBody, Watches};
use world::{
    Fault, Host, Replica, Storage, Stretch,
    placed::{self, LeftOfMulti},
};

use crate::{coverage::Coverage, node::Subject, plan::TICK_MS};

/// What a watch waits for, and where.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Watch {
    /// A node comes, goes, or has its data set.
    Data(String),
    /// A node's children change.
    Children(String),
}

/// The state behind a transaction.
#[derive(Debug)]
struct Place {
    zxid: Zxid,
    txn: Txn,
    outcome: Outcome,
    state: Tree,
    digest: u64,
}

/// The committed order.
#[derive(Debug)]
pub(crate) struct Order {
    start: Tree,
    start_digest: u64,
    places: Vec<Place>,
    /// Where the writes of clients stand.
    writes: BTreeMap<(SessionId, i32), Vec<Zxid>>,
    last_xid: BTreeMap<SessionId, Answered>,
    closed: BTreeMap<SessionId, Zxid>,
    /// The last write that anybody was told of.
    pub(crate) told: Zxid,
    acknowledged: Vec<Attempt>,
    /// Ticks of each leader since it leads.
    ticks: BTreeMap<ServerId, u32>,
    /// At which of them it has last heard of a session.
    heard: BTreeMap<(ServerId, SessionId), u32>,
}

fn digest(state: &Tree) -> u64 {
    FxBuildHasher.hash_one(state)
}

/// Takes a verdict down.
pub(crate) fn holds(
    rule: &'static str,
    verdict: Verdict,
    coverage: &mut Coverage,
    why: impl FnOnce() -> String,
) -> Result<(), Fault> {
    match verdict {
        Verdict::Silent => Ok(()),
        Verdict::Holds => {
            coverage.tested(rule);
            Ok(())
        }
        Verdict::Broken => Err(Fault { rule: rule.to_owned(), why: why() }),
    }
}

impl Order {
    /// Nothing is committed behind this state.
    pub(crate) fn new(start: Tree) -> Self {
        Self {
            start_digest: digest(&start),
            start,
            places: Vec::new(),
            writes: BTreeMap::new(),
            last_xid: BTreeMap::new(),
            closed: BTreeMap::new(),
            told: Zxid::ZERO,
            acknowledged: Vec::new(),
            ticks: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    fn at(&self, zxid: Zxid) -> Option<&Place> {
        self.places.binary_search_by_key(&zxid, |place| place.zxid).ok().map(|at| &self.places[at])
    }

    /// The state at this place: behind all that is not later.
    fn state_at(&self, zxid: Zxid) -> &Tree {
        let behind = self.places.partition_point(|place| place.zxid <= zxid);
        behind.checked_sub(1).map_or(&self.start, |at| &self.places[at].state)
    }

    fn last_state(&self) -> &Tree {
        self.state_at(Zxid(u64::MAX))
    }

    /// All of this is committed; what is new is looked up among all that was proposed.
    pub(crate) fn follow(
        &mut self,
        committed: &[Entry],
        proposed: &BTreeMap<Entry, Txn>,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        for entry in committed.get(self.places.len()..).unwrap_or_default() {
            let Some(txn) = proposed.get(entry) else {
                let why = format!("{} is committed, and nobody has ever proposed it", entry.zxid);
                return Err(Fault { rule: "I-2".to_owned(), why });
            };
            self.append(entry.zxid, txn, coverage)?;
        }
        Ok(())
    }

    /// A leader holds this for committed.
    pub(crate) fn commit(&mut self, held: &Stretch<Txn>, coverage: &mut Coverage) -> Result<(), Fault> {
        let begins = self.places.partition_point(|place| place.zxid <= held.after);
        let broken = |why: String| Err(Fault { rule: "CommittedLogMonotonicity".to_owned(), why });
        if held.after.counter() > 0 && self.at(held.after).is_none() {
            return broken(format!("a leader's history begins at {}, which is not committed", held.after));
        }
        let known = &self.places[begins..];
        for (known, (zxid, txn)) in known.iter().zip(&held.txns) {
            if (known.zxid, &known.txn) != (*zxid, txn) {
                return broken(format!(
                    "committed is {:?} at {}, and a leader holds {txn:?} at {zxid}",
                    known.txn, known.zxid
                ));
            }
        }
        let common = known.len().min(held.txns.len());
        for (zxid, txn) in &held.txns[common..] {
            self.append(*zxid, txn, coverage)?;
        }
        Ok(())
    }

    fn append(&mut self, zxid: Zxid, txn: &Txn, coverage: &mut Coverage) -> Result<(), Fault> {
        let before = self.last_state();
        let nodes_before = before.digest();
        if let Some(met) = placed::close_anew(before, zxid, txn) {
            holds("S-18", write_meets_its_place(txn, &met), coverage, || {
                format!("{zxid} is {txn:?}, and the state before it makes {met:?} of it")
            })?;
        }
        let mut state = before.clone();
        let outcome = state.apply(zxid, txn, &mut Watches::default(), &mut |_, _| {});
        let told = txn.digest.map(|told| told.tree);
        let must_tell = !matches!(txn.body, TxnBody::Error { .. });
        holds("S-19", digest_is_that_of_the_state(told, must_tell, state.digest()), coverage, || {
            format!("{zxid} tells {told:?}, and the state behind it has {}", state.digest())
        })?;
        if let TxnBody::Multi(parts) = &txn.body {
            judge_multi(zxid, parts, &state, nodes_before, coverage)?;
        }
        let origin = Tree::origin(txn);
        if origin.change == SessionChange::Close {
            self.closed.entry(origin.session).or_insert(zxid);
            if let TxnBody::CloseSession { ephemerals: Some(found) } = &txn.body
                && txn.cxid == 0
                && !found.is_empty()
            {
                coverage.met("expired-with-ephemeral");
            }
        }
        if origin.xid > 0 {
            self.writes.entry((origin.session, origin.xid)).or_default().push(zxid);
            if !matches!(txn.body, TxnBody::Error { .. }) {
                let write = Answered { zxid, session: origin.session, xid: origin.xid };
                if let Some(last) = self.last_xid.insert(origin.session, write) {
                    let verdict = sessions_write_in_order(&[last, write]);
                    holds("S-5", verdict, coverage, || format!("{write:?} is committed behind {last:?}"))?;
                }
            }
        }
        let digest = digest(&state);
        self.places.push(Place { zxid, txn: txn.clone(), outcome, state, digest });
        Ok(())
    }

    /// A client is shown the state at this place, and was shown another one before.
    pub(crate) fn shown(&self, seen: Zxid, zxid: Zxid, coverage: &mut Coverage) -> Result<(), Fault> {
        Self::shown_behind(seen, zxid, coverage)?;
        let committed = zxid.counter() == 0 || self.at(zxid).is_some();
        holds("S-13", shown_is_committed(committed), coverage, || {
            format!("a client is shown {zxid}, which is not committed; {} is last", self.last())
        })
    }

    /// A client is shown the state at this place, which may be no more than logged, and was shown another one before.
    pub(crate) fn shown_behind(seen: Zxid, zxid: Zxid, coverage: &mut Coverage) -> Result<(), Fault> {
        holds("S-7", session_sees_forward(&[seen, zxid]), coverage, || {
            format!("a client is shown {zxid} behind {seen}")
        })
    }

    /// Whether this place is of a transaction that is committed.
    pub(crate) fn is_committed(&self, zxid: Zxid) -> bool {
        self.at(zxid).is_some()
    }

    pub(crate) fn last(&self) -> Zxid {
        self.places.last().map_or(Zxid::ZERO, |place| place.zxid)
    }

    /// A watch that was left at `since` has not fired, and its client is shown the state at `shown`.
    pub(crate) fn missed(
        &self,
        watch: &Watch,
        since: Zxid,
        shown: Zxid,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let change = self.first_change(watch, since, shown);
        // A watch without a change is silent: its rule is not put to the test.
        holds("S-10", nothing_was_missed(change, shown), coverage, || {
            format!("{watch:?}, left at {since}, has not fired for {change:?}, and {shown} is shown")
        })
    }

    /// A watch that was left at `since` fires.
    pub(crate) fn fired(
        &self,
        watch: &Watch,
        since: Zxid,
        event: Zxid,
        late: bool,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let change = self.first_change(watch, since, Zxid(u64::MAX));
        holds("S-10", event_has_cause(change, event, late), coverage, || {
            format!("{watch:?}, left at {since}, fires for {event}, and its first change is {change:?}")
        })
    }

    /// The first transaction in `(since, through]` that changes what is watched.
    fn first_change(&self, watch: &Watch, since: Zxid, through: Zxid) -> Option<Zxid> {
        let sees = |state: &Tree| match watch {
            Watch::Data(path) => state.stat(path).map(|stat| (stat.czxid, stat.mzxid)),
            Watch::Children(path) => state.stat(path).map(|stat| (stat.czxid, stat.pzxid)),
        };
        let before = sees(self.state_at(since));
        let from = self.places.partition_point(|place| place.zxid <= since);
        let due = self.places[from..].iter().take_while(|place| place.zxid <= through);
        due.into_iter().find(|place| sees(&place.state) != before).map(|place| place.zxid)
    }

    /// Whether the node is there at this place.
    pub(crate) fn has(&self, path: &str, zxid: Zxid) -> bool {
        self.state_at(zxid).stat(path).is_some()
    }

    /// A write, or a close, is answered; `known` was the last write that anybody was told of when it was sent.
    pub(crate) fn answered(
        &mut self,
        session: SessionId,
        xid: i32,
        zxid: Zxid,
        known: Zxid,
        answer: &str,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let why = || format!("session {session} is answered {answer:?} at {zxid} to its request {xid}");
        let attempt = Attempt { session, xid, acknowledged: Some(zxid) };
        holds("S-8", writes_happen_once(&self.places_of(session, xid), &[attempt]), coverage, why)?;
        holds("S-11", write_comes_behind(known, zxid), coverage, || {
            format!("{}, and {known} was known when it was sent", why())
        })?;
        let expected = self.at(zxid).map_or_else(|| "nothing".to_owned(), Place::answer);
        holds("S-9", read_shows_its_place(zxid, Zxid::ZERO, answer, &expected), coverage, || {
            format!("{}; it came to {expected:?}", why())
        })?;
        self.told = self.told.max(zxid);
        self.acknowledged.push(attempt);
        Ok(())
    }

    fn places_of(&self, session: SessionId, xid: i32) -> Vec<Answered> {
        let places = self.writes.get(&(session, xid));
        places.into_iter().flatten().map(|zxid| Answered { zxid: *zxid, session, xid }).collect()
    }

    /// A read is answered; `own` is the place of the session's last write that it knows of.
    pub(crate) fn read(
        &self,
        read: &Read,
        zxid: Zxid,
        own: Zxid,
        told: &str,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let mut watches = Watches::default();
        let settings = &Settings::default();
        let reader = Reader { client: ClientId(0), session: SessionId(0), identities: &[], settings };
        let answer = self.state_at(zxid).read(read, reader, &mut watches, &mut |_, _| {});
        let shows = answer.map_or_else(|code| format!("{code:?}"), |answer| Tree::tell(&answer));
        holds("S-9", read_shows_its_place(zxid, own, told, &shows), coverage, || {
            format!("{read:?} is answered {told:?} at {zxid}, behind {own}; the state has {shows:?}")
        })
    }

    /// A sync is answered; `known` was the last write that anybody was told of when it was sent.
    pub(crate) fn synced(known: Zxid, zxid: Zxid, coverage: &mut Coverage) -> Result<(), Fault> {
        holds("S-14", sync_shows_acknowledged(Some(known), &[zxid]), coverage, || {
            format!("a sync shows {zxid}, and {known} was known when it was sent")
        })
    }

    /// A client is told that its session is not to be had.
    pub(crate) fn refused(&self, session: SessionId, coverage: &mut Coverage) -> Result<(), Fault> {
        holds("C-4", Verdict::of(true, || self.closed.contains_key(&session)), coverage, || {
            format!("session {session} is refused, and nobody has closed it")
        })
    }

    fn ticks(&self, leader: ServerId) -> u32 {
        self.ticks.get(&leader).copied().unwrap_or_default()
    }

    /// This leader has heard of a session.
    pub(crate) fn heard_of(&mut self, leader: ServerId, session: SessionId) {
        self.heard.insert((leader, session), self.ticks(leader));
    }

    /// A tick of this leader.
    pub(crate) fn tick(&mut self, leader: ServerId) {
        *self.ticks.entry(leader).or_default() += 1;
    }

    /// A server begins to lead, or ends.
    pub(crate) fn reign(&mut self, server: ServerId) {
        self.ticks.remove(&server);
        self.heard.retain(|(leader, _), _| *leader != server);
    }

    /// This leader has found a session expired, whose timeout is so long.
    pub(crate) fn expired(
        &self,
        leader: ServerId,
        session: SessionId,
        timeout_ms: i32,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let heard = self.heard.get(&(leader, session)).copied().unwrap_or_default();
        let silent = self.ticks(leader) - heard;
        let spans = u32::try_from(timeout_ms).unwrap_or_default().div_ceil(TICK_MS);
        coverage.met("expired");
        holds("S-3", expired_in_silence(silent, spans), coverage, || {
            format!("server {leader} expires {session} after {silent} ticks, and its timeout spans {spans}")
        })
    }

    /// Judges a server's state: by itself, and by the committed order if it serves.
    pub(crate) fn judge_state<D: Storage<Subject>>(
        &self,
        host: &Host<Subject, D>,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let state = &host.state().machine;
        let table = state.sessions();
        let known: BTreeSet<_> = table.iter().map(|(session, _)| *session).collect();
        let owners = state.owners();
        let me = host.id();
        holds("S-1", owners_are_open(&owners, &known), coverage, || {
            format!("at server {me}, {owners:?} own something, and open are {known:?}")
        })?;
        if !host.peer().is_serving() {
            return Ok(());
        }
        let last = state.last_processed();
        let (ordered, digest_there) = match self.at(last) {
            Some(place) => (&place.state, place.digest),
            None if last == self.start.last_processed() => (&self.start, self.start_digest),
            None => {
                let why = format!("server {me} serves the state at {last}, which is not committed");
                return Err(Fault { rule: "S-13".to_owned(), why });
            }
        };
        holds("S-4", tables_agree(&table, &ordered.sessions()), coverage, || {
            format!("server {me} has the sessions {table:?}, and committed are {:?}", ordered.sessions())
        })?;
        holds("R-7", Verdict::of(true, || digest(state) == digest_there), coverage, || {
            format!("server {me} serves {state:?}, and what is committed makes {ordered:?}")
        })?;
        let closed = self.closed.iter().filter(|(_, at)| **at <= last).map(|(session, _)| *session).collect();
        holds("S-2", closed_own_nothing(&owners, &closed), coverage, || {
            format!("at server {me}, {owners:?} own something, and closed are {closed:?}")
        })
    }

    /// Judges everything that was acknowledged by the order as it is in the end.
    pub(crate) fn judge_end(&self, coverage: &mut Coverage) -> Result<(), Fault> {
        let placed: Vec<_> = self
            .acknowledged
            .iter()
            .flat_map(|attempt| self.places_of(attempt.session, attempt.xid))
            .collect();
        holds("S-8", writes_happen_once(&placed, &self.acknowledged), coverage, || {
            format!("acknowledged were {:?}, and committed are {placed:?}", self.acknowledged)
        })
    }

    /// What became of writes whose answer their client did not wait for.
    pub(crate) fn meet_unanswered(&self, writes: &[(SessionId, i32)], coverage: &mut Coverage) {
        for write in writes {
            let kept = self.writes.contains_key(write);
            coverage.met(if kept { "unanswered-write-committed" } else { "unanswered-write-vanished" });
        }
    }

    /// Whether there is the node that all others are below.
    pub(crate) fn has_root(&self) -> bool {
        self.last_state().stat("/n").is_some()
    }

    /// How many writes were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }
}

impl Place {
    /// What its client is to be told.
    fn answer(&self) -> String {
        let closes = Tree::origin(&self.txn).change == SessionChange::Close;
        match Tree::refusal(&self.outcome) {
            Some(code) => format!("{code:?}"),
            None if closes => String::new(),
            None => format!("{:?}", self.outcome),
        }
    }
}

/// S-12, of a multi that has made this state.
fn judge_multi(
    zxid: Zxid,
    parts: &[TxnBody],
    state: &Tree,
    nodes_before: i64,
    coverage: &mut Coverage,
) -> Result<(), Fault> {
    let left = LeftOfMulti::of(zxid, parts, nodes_before, state);
    coverage.met(if left.done { "multi-done" } else { "multi-failed" });
    holds("S-12", left.is_whole(), coverage, || format!("{left:?} behind the multi at {zxid}: {parts:?}"))
}
