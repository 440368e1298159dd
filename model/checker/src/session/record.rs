//! What no server and no client can tell alone: the committed order, and who has been told of what.

use std::{collections::BTreeMap, hash::BuildHasher};

use rustc_hash::FxBuildHasher;
use serde::{Serialize, Serializer};
use spec::{
    ClientId, ErrorCode, Machine, ServerId, SessionId, Verdict, Zxid,
    machine::{Reader, SessionChange},
    session::{
        Answered, Attempt, Forwarded, answered_in_turn, digest_is_that_of_the_state, event_has_cause,
        expired_in_silence, nothing_was_missed, read_shows_its_place, sessions_write_in_order,
        shown_is_committed, write_comes_behind, write_meets_its_place, writes_happen_once,
    },
};
use tree::{Outcome, Outstanding, Read, Settings, Tree, Txn, TxnBody, Watches, Write};
use world::{
    Replica, Stretch,
    placed::{self, LeftOfMulti, author},
};

use super::{
    client::Watch,
    rules::{Judged, broken, holds},
    script::NODE,
};
use crate::engine::Broken;

/// Silence beyond this makes no difference.
const SILENCE_MAX: u32 = 4;

/// The ghost of a run.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Record {
    /// Behind the state that every run starts from.
    committed: Vec<(Zxid, Txn)>,
    /// The last write that anybody was told of.
    told: Zxid,
    /// Ticks of each leader since it has heard of a session, or since it leads.
    silence: BTreeMap<ServerId, BTreeMap<SessionId, u32>>,
    /// What the server without extensions has forwarded, and has no answer to.
    waiting: Vec<Forwarded>,
    /// No tick will pass any more.
    still: bool,
    /// Numbers of requests tell nothing of their order.
    unordered: bool,
}

/// Something that a client was told, to be judged by the committed order.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Question {
    /// It was shown the state at this place.
    Shown {
        /// The place.
        zxid: Zxid,
    },
    /// It was shown a state, and this watch has not fired.
    Missed {
        /// Which.
        watch: Watch,
        /// The place of its registration.
        since: Zxid,
        /// The place of the state.
        shown: Zxid,
    },
    /// A watch has fired.
    Fired {
        /// Which.
        watch: Watch,
        /// The place of its registration.
        since: Zxid,
        /// The place that the event names.
        event: Zxid,
        /// Whether it makes up for what the client has missed.
        late: bool,
    },
    /// A write, or a close, was answered.
    Write {
        /// Who.
        session: SessionId,
        /// The client's number.
        xid: i32,
        /// The place that the answer names.
        zxid: Zxid,
        /// The session's earlier writes of that number, by a client that numbers anew.
        earlier: Vec<Attempt>,
        /// The last write that anybody was told of when it was sent.
        known: Zxid,
        /// What it was; none is a close.
        write: Option<Write>,
        /// What was answered.
        answer: String,
    },
    /// A read was answered.
    Read {
        /// What was read.
        read: Read,
        /// The place that the answer names.
        zxid: Zxid,
        /// The place of the session's last write that it knows of.
        own: Zxid,
        /// What was answered.
        told: String,
    },
    /// A client was told that its session is not to be had.
    Refused {
        /// The session.
        session: SessionId,
    },
}

/// What happens to the record.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RecordChange {
    /// A leader holds this for committed.
    Commit(Stretch<Txn>),
    /// Something was told.
    Ask(Question),
    /// This leader has heard of these sessions.
    Hear(ServerId, Vec<SessionId>),
    /// A tick of this leader, which has these sessions.
    Tick(ServerId, Vec<SessionId>),
    /// This leader has found these sessions expired.
    Expire(ServerId, Vec<SessionId>),
    /// A server begins to lead, or ends.
    Reign(ServerId),
    /// The server without extensions has a new link with a leader.
    Introduce,
    /// It forwards this.
    Forward(Forwarded),
    /// It is answered by a SYNC.
    Synced,
    /// It reads that the transaction at this place is committed.
    Committed(Zxid),
    /// No tick will pass any more.
    LastTick,
}

/// What rules about servers see of the record.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RecordView {
    /// The state behind each transaction, the one before the first included.
    pub states: Vec<StateView>,
    /// The sessions that were closed, and where.
    pub closed: Vec<(SessionId, Zxid)>,
}

/// What rules see of a state.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct StateView {
    /// Its last transaction.
    pub last: Zxid,
    /// Its session table.
    pub sessions: Vec<(SessionId, i32)>,
    /// Tells states apart.
    pub digest: u64,
}

impl StateView {
    /// Of this state.
    pub fn of(state: &Tree) -> Self {
        let digest = FxBuildHasher.hash_one(state);
        Self { last: state.last_processed(), sessions: state.sessions(), digest }
    }
}

impl Record {
    /// Of a run that begins, of clients that may number their requests anew on each connection.
    pub fn new(restarts: bool) -> Self {
        Self { unordered: restarts, ..Self::default() }
    }

    /// All that a reader is told of it, in some lines.
    pub fn sketch(&self) -> Vec<String> {
        let committed =
            self.committed.iter().map(|(zxid, txn)| format!("{zxid} = {}", Tree::sketch_txn(txn)));
        let mut lines = vec![format!("clients were told of {}; committed are", self.told)];
        lines.extend(committed);
        lines
    }

    /// The committed transactions.
    pub fn committed(&self) -> &[(Zxid, Txn)] {
        &self.committed
    }

    /// The last write that anybody was told of.
    pub fn told(&self) -> Zxid {
        self.told
    }

    /// Whether this place is committed, or is no place of a transaction.
    pub fn holds(&self, start: &Tree, zxid: Zxid) -> bool {
        zxid.counter() == 0
            || zxid == start.last_processed()
            || self.committed.iter().any(|(place, _)| *place == zxid)
    }

    /// What happens to it; every run starts from `start`.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn change(&mut self, start: &Tree, change: &RecordChange) -> Result<Judged, Broken> {
        let mut judged = Judged::default();
        match change {
            RecordChange::Commit(held) => self.commit(start, held, &mut judged)?,
            RecordChange::Ask(question) => self.ask(start, question, &mut judged)?,
            RecordChange::Hear(leader, sessions) => {
                if let Some(silence) = self.silence.get_mut(leader) {
                    silence.retain(|session, _| !sessions.contains(session));
                }
            }
            RecordChange::Tick(leader, sessions) => {
                let mut silence = self.silence.remove(leader).unwrap_or_default();
                assert!(!self.still, "that was the last tick");
                for session in sessions {
                    let ticks = silence.entry(*session).or_default();
                    *ticks = (*ticks + 1).min(SILENCE_MAX);
                }
                self.silence.insert(*leader, silence);
            }
            RecordChange::Expire(leader, sessions) => {
                for session in sessions {
                    let silent = self.silence.get(leader).and_then(|silence| silence.get(session));
                    let silent = silent.copied().unwrap_or_default();
                    let verdict = expired_in_silence(silent, super::TIMEOUT_TICKS);
                    holds("S-3", verdict, &mut judged, || {
                        format!("server {leader} expires {session:?} after {silent} ticks without a word")
                    })?;
                    judged.met("expired");
                }
            }
            RecordChange::Reign(leader) => {
                self.silence.remove(leader);
            }
            RecordChange::Introduce => self.waiting.clear(),
            RecordChange::Forward(forwarded) => self.waiting.push(*forwarded),
            RecordChange::Synced => self.answer(Forwarded::Sync, &mut judged)?,
            RecordChange::Committed(zxid) => {
                let found = self.committed.iter().find(|(place, _)| place == zxid);
                if let Some(origin) = found.map(|(_, txn)| Tree::origin(txn)) {
                    let answered = Forwarded::Request { session: origin.session, xid: origin.xid };
                    self.answer(answered, &mut judged)?;
                }
            }
            RecordChange::LastTick => {
                self.silence.clear();
                self.still = true;
            }
        }
        Ok(judged)
    }

    /// The server without extensions is told this.
    fn answer(&mut self, answered: Forwarded, judged: &mut Judged) -> Result<(), Broken> {
        let verdict = answered_in_turn(&self.waiting, answered);
        if matches!(self.waiting[..], [Forwarded::Sync, Forwarded::Request { .. }, ..]) {
            judged.met("write-behind-a-sync");
        }
        holds("S-16", verdict, judged, || format!("{answered:?}, where {:?} waits", self.waiting))?;
        if self.waiting.first() == Some(&answered) {
            self.waiting.remove(0);
        }
        Ok(())
    }

    fn commit(&mut self, start: &Tree, held: &Stretch<Txn>, judged: &mut Judged) -> Result<(), Broken> {
        let Stretch { after, txns: held } = held;
        let begins = match self.committed.iter().position(|(place, _)| place == after) {
            Some(place) => place + 1,
            None if *after == start.last_processed() => 0,
            None => {
                return Err(broken(
                    "CommittedLogMonotonicity",
                    format!("a leader's history begins at {after}"),
                ));
            }
        };
        let known = self.committed.get(begins..).unwrap_or_default();
        let common = known.len().min(held.len());
        if known[..common] != held[..common] {
            return Err(broken(
                "CommittedLogMonotonicity",
                format!("committed is {known:?}, and a leader holds {held:?}"),
            ));
        }
        for (zxid, txn) in held.get(common..).unwrap_or_default() {
            self.append(start, *zxid, txn, judged)?;
        }
        Ok(())
    }

    fn append(&mut self, start: &Tree, zxid: Zxid, txn: &Txn, judged: &mut Judged) -> Result<(), Broken> {
        let mut state = self.last_state(start);
        judge_sweep(&state, zxid, txn, judged)?;
        if let Some(met) = placed::close_anew(&state, zxid, txn) {
            judge_preparation(zxid, txn, &met, judged)?;
        }
        let nodes_before = state.digest();
        apply(&mut state, zxid, txn);
        judge_digest(&state, zxid, txn, judged)?;
        if let TxnBody::Multi(parts) = &txn.body {
            let left = LeftOfMulti::of(zxid, parts, nodes_before, &state);
            judged.met(if left.done { "multi-done" } else { "multi-failed" });
            let why = || format!("{left:?} behind the multi at {zxid}: {parts:?}");
            holds("S-12", left.is_whole(), judged, why)?;
        }
        if let TxnBody::CloseSession { ephemerals: Some(found) } = &txn.body
            && txn.cxid == 0
            && !found.is_empty()
        {
            judged.met("expired-with-ephemeral");
        }
        if txn.body == (TxnBody::Error { code: ErrorCode::SessionMoved.number() }) {
            judged.met("late-write-refused");
        }
        self.committed.push((zxid, txn.clone()));
        if self.unordered {
            return Ok(());
        }
        let carried_out = |(zxid, txn): &(Zxid, Txn)| {
            let origin = Tree::origin(txn);
            let done = origin.xid > 0 && !matches!(txn.body, TxnBody::Error { .. });
            done.then_some(Answered { zxid: *zxid, session: origin.session, xid: origin.xid })
        };
        let writes: Vec<_> = self.committed.iter().filter_map(carried_out).collect();
        holds("S-5", sessions_write_in_order(&writes), judged, || format!("{zxid} in {writes:?}"))
    }

    fn ask(&mut self, start: &Tree, question: &Question, judged: &mut Judged) -> Result<(), Broken> {
        let why = |record: &Self| {
            let places: Vec<_> = record.committed.iter().map(|(zxid, _)| zxid.to_string()).collect();
            format!("{question:?}, and committed is {}", places.join(" "))
        };
        match question {
            Question::Shown { zxid } => {
                let verdict = shown_is_committed(self.holds(start, *zxid));
                holds("S-13", verdict, judged, || why(self))
            }
            Question::Missed { watch, since, shown } => {
                let change = self.first_change(start, *watch, *since);
                holds("S-10", nothing_was_missed(change, *shown), judged, || why(self))
            }
            Question::Fired { watch, since, event, late } => {
                let change = self.first_change(start, *watch, *since);
                holds("S-10", event_has_cause(change, *event, *late), judged, || why(self))
            }
            Question::Write { session, xid, zxid, earlier, known, write, answer } => {
                let placed = |(zxid, txn): &(Zxid, Txn)| {
                    let origin = Tree::origin(txn);
                    Answered { zxid: *zxid, session: origin.session, xid: origin.xid }
                };
                let is_own = |write: &Answered| write.session == *session && write.xid == *xid;
                let writes: Vec<_> = self.committed.iter().map(placed).filter(is_own).collect();
                let attempt = Attempt { session: *session, xid: *xid, acknowledged: Some(*zxid) };
                let attempts = [&earlier[..], &[attempt]].concat();
                holds("S-8", writes_happen_once(&writes, &attempts), judged, || why(self))?;
                holds("S-11", write_comes_behind(*known, *zxid), judged, || why(self))?;
                let expected = self.outcome(start, *zxid);
                let verdict = read_shows_its_place(*zxid, Zxid::ZERO, answer, &expected);
                holds("S-9", verdict, judged, || format!("{}; it came to {expected}", why(self)))?;
                if let Some(write) = write {
                    self.judge_write(start, *zxid, write, judged)?;
                }
                self.told = self.told.max(*zxid);
                Ok(())
            }
            Question::Read { read, zxid, own, told } => {
                let state = self.state_at(start, *zxid);
                let mut watches = Watches::default();
                let settings = &Settings::default();
                let reader = Reader { client: ClientId(0), session: SessionId(0), identities: &[], settings };
                let answer = state.read(read, reader, &mut watches, &mut |_, _| {});
                let shows = answer.map_or_else(|code| format!("{code:?}"), |answer| Tree::tell(&answer));
                let verdict = read_shows_its_place(*zxid, *own, told, &shows);
                holds("S-9", verdict, judged, || format!("{}; the state has {shows}", why(self)))
            }
            Question::Refused { session } => {
                if self.closed().any(|(closed, _)| closed == *session) {
                    judged.tested("C-4");
                    Ok(())
                } else {
                    Err(broken("C-4", why(self)))
                }
            }
        }
    }

    /// The first transaction behind this place that changes what is watched.
    fn first_change(&self, start: &Tree, watch: Watch, since: Zxid) -> Option<Zxid> {
        let shown = |tree: &Tree| {
            let node = tree.stat(NODE).expect("nobody deletes the node");
            match watch {
                Watch::Data => (node.mzxid, 0),
                Watch::Children => (node.pzxid, node.num_children),
            }
        };
        let mut state = self.state_at(start, since);
        let before = shown(&state);
        for (zxid, txn) in self.committed.iter().filter(|(zxid, _)| *zxid > since) {
            apply(&mut state, *zxid, txn);
            if shown(&state) != before {
                return Some(*zxid);
            }
        }
        None
    }

    /// What the transaction at this place came to, as its client is to be told.
    fn outcome(&self, start: &Tree, zxid: Zxid) -> String {
        let mut state = start.clone();
        for (place, txn) in &self.committed {
            let outcome = apply(&mut state, *place, txn);
            if *place == zxid {
                let closes = Tree::origin(txn).change == SessionChange::Close;
                return match Tree::refusal(&outcome) {
                    Some(code) => format!("{code:?}"),
                    None if closes => String::new(),
                    None => format!("{outcome:?}"),
                };
            }
        }
        "nothing".to_owned()
    }

    /// A write that was admitted is prepared once more, against the state that it meets, where nothing is open.
    fn judge_write(
        &self,
        start: &Tree,
        zxid: Zxid,
        write: &Write,
        judged: &mut Judged,
    ) -> Result<(), Broken> {
        let Some((_, txn)) = self.committed.iter().find(|(place, _)| *place == zxid) else { return Ok(()) };
        let state = self.state_at(start, Zxid(zxid.0 - 1));
        let mut open = Outstanding::default();
        let met = state.prepare(&Settings::default(), &mut open, author(txn), zxid, write);
        judge_preparation(zxid, txn, &met, judged)
    }

    fn closed(&self) -> impl Iterator<Item = (SessionId, Zxid)> + '_ {
        let origins = self.committed.iter().map(|(zxid, txn)| (*zxid, Tree::origin(txn)));
        let closes = origins.filter(|(_, origin)| origin.change == SessionChange::Close);
        closes.map(|(zxid, origin)| (origin.session, zxid))
    }

    fn state_at(&self, start: &Tree, zxid: Zxid) -> Tree {
        let mut state = start.clone();
        for (place, txn) in self.committed.iter().take_while(|(place, _)| *place <= zxid) {
            apply(&mut state, *place, txn);
        }
        state
    }

    fn last_state(&self, start: &Tree) -> Tree {
        self.state_at(start, Zxid(u64::MAX))
    }

    /// What rules about servers see.
    pub fn view(&self, start: &Tree) -> RecordView {
        let mut state = start.clone();
        let mut states = vec![StateView::of(&state)];
        for (zxid, txn) in &self.committed {
            apply(&mut state, *zxid, txn);
            states.push(StateView::of(&state));
        }
        RecordView { states, closed: self.closed().collect() }
    }
}

/// Applies a transaction where nobody watches.
fn apply(state: &mut Tree, zxid: Zxid, txn: &Txn) -> Outcome {
    state.apply(zxid, txn, &mut Watches::default(), &mut |_, _| {})
}

/// As it is printed.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// A transaction, and what the state before its place makes of the request.
fn judge_preparation(zxid: Zxid, txn: &Txn, met: &Txn, judged: &mut Judged) -> Result<(), Broken> {
    holds("S-18", write_meets_its_place(txn, met), judged, || {
        format!("{zxid} is {txn:?}, and the state before it makes {met:?} of it")
    })
}

/// The state behind a transaction has the digest that it tells.
fn judge_digest(behind: &Tree, zxid: Zxid, txn: &Txn, judged: &mut Judged) -> Result<(), Broken> {
    let must_tell = !matches!(txn.body, TxnBody::Error { .. });
    let told = txn.digest.map(|told| told.tree);
    let verdict = digest_is_that_of_the_state(told, must_tell, behind.digest());
    holds("S-19", verdict, judged, || {
        format!("{zxid} tells {:?}, and the state behind it has {}", txn.digest, behind.digest())
    })
}

/// A leader deletes by itself what is due in the state that this transaction meets.
fn judge_sweep(before: &Tree, zxid: Zxid, txn: &Txn, judged: &mut Judged) -> Result<(), Broken> {
    let (verdict, what) = placed::judge_sweep(before, txn);
    if verdict != Verdict::Silent {
        judged.met("swept");
    }
    if placed::is_late_sweep(txn) {
        judged.met("sweep-came-late");
    }
    holds("S-15", verdict, judged, || format!("{what} at {zxid}"))
}
