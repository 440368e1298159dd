//! The connections of this server: which session each has, and the order of its answers.
//!
//! A connection is answered in the order it asked (rule C-8). A read waits for the writes and syncs of its own
//! connection and for nobody else's; with nothing ahead it is answered at once. What needs the leader is handed to it
//! as it comes, except behind a sync: a write is held back until the sync before it is through, since a write that is
//! applied earlier would show in the reads between the two.
//!
//! A transaction carries the session and the client's number of the request that it came from, and no more. A client
//! that comes back may number from 1 again, as kazoo does, while a write of its old connection is under way. That write
//! must not pass for the answer to the new one of the same number, and there are two ways for it to come (rule C-15):
//!
//! 1. From this server, under a leader that grants a session beside its pipeline, as Apache's does. What a connection
//!    had submitted when it ended is kept until its transaction is applied; a leader takes up a link's requests in
//!    order, so the older one comes first.
//! 2. From the server that the client has left. Its leader has proposed it before it granted the session here, or else
//!    refuses it. So the proposal has arrived here before the new request was submitted, and only what comes behind
//!    the last proposal of that moment counts as the answer.
//!    An observer does not hear of proposals, so its leader grants when all of that is committed.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use spec::{
    ClientId, ErrorCode, Machine, SessionId, Zxid,
    machine::{Origin, Reader, SessionChange, Unproved},
};

use super::{Answer, ClientRequest, Effects, Op};
use crate::{Note, session::password};

/// All connections, and the watches that they have left.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Clients<M: Machine> {
    settings: M::Settings,
    table: BTreeMap<ClientId, Client<M>>,
    /// The connection that has the session, or is to have it once it is created.
    holders: BTreeMap<SessionId, ClientId>,
    pub(super) watches: M::Watches,
    /// Requests that are not answered, over all connections.
    unanswered: usize,
    /// Connections that may have something to submit that was held back.
    resumable: VecDeque<ClientId>,
    /// Sessions that were touched through connections that are gone.
    departed: Vec<(SessionId, i32)>,
    /// What connections that are gone have submitted and was not applied: how many requests of a session and a number.
    abandoned: BTreeMap<(SessionId, i32), usize>,
}

/// One connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
struct Client<M: Machine> {
    session: SessionId,
    timeout_ms: i32,
    identities: Vec<M::Identity>,
    stage: Stage,
    /// Something was heard of it since the last collection.
    touched: bool,
    /// The end of the answers is known: nothing is taken any more.
    ending: bool,
    pending: VecDeque<Pending<M>>,
    /// How many of the pending are held back.
    held: usize,
    /// How many of the pending are syncs under way.
    syncs: usize,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Stage {
    /// The session is being created.
    Creating,
    /// The leader is asked whether the session may be had.
    Claiming,
    /// The client has its session.
    Open,
}

/// A request that is not answered, with the client's number.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
enum Pending<M: Machine> {
    /// To be submitted, with the wall clock at its arrival.
    Held { xid: i32, time: i64, request: Held<M::Write> },
    /// A write, or a close, that is submitted; this was the last proposal known here then.
    Submitted { xid: i32, close: bool, behind: Zxid },
    /// A sync that is submitted, and perhaps through.
    Sync { xid: i32, path: Vec<u8>, through: bool },
    /// A read.
    Read { xid: i32, read: M::Read },
    /// What can be answered as it is.
    Settled(Settled),
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Held<W> {
    Write(W),
    Sync(Vec<u8>),
    Close,
}

/// An answer that depends on nothing but its turn.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Settled {
    Ping {
        xid: i32,
    },
    Authenticated {
        xid: i32,
    },
    Exchanged {
        xid: i32,
        answer: Option<Vec<u8>>,
    },
    AuthFailed {
        xid: i32,
    },
    /// The client looks for another ensemble.
    Elsewhere,
    Refused {
        xid: i32,
        code: ErrorCode,
        close: bool,
    },
}

/// Something for the leader to do.
#[derive(Debug)]
pub(super) struct Submission<W> {
    pub(super) session: SessionId,
    pub(super) xid: i32,
    pub(super) op: Op<W>,
    pub(super) time: i64,
}

impl<M: Machine> Clients<M> {
    /// None yet, of a server with these settings.
    pub(super) fn new(settings: M::Settings) -> Self {
        Self {
            settings,
            table: BTreeMap::new(),
            holders: BTreeMap::new(),
            watches: M::Watches::default(),
            unanswered: 0,
            resumable: VecDeque::new(),
            departed: Vec::new(),
            abandoned: BTreeMap::new(),
        }
    }

    /// Requests that are not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// How many connections have a session, or are about to.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The sessions of what is kept of connections that are gone, once for each number.
    pub(super) fn kept(&self) -> impl Iterator<Item = SessionId> {
        self.abandoned.keys().map(|(session, _)| *session)
    }

    /// Whether a request with this number of a connection that is gone waits for its transaction.
    pub(super) fn keeps(&self, session: SessionId, xid: i32) -> bool {
        self.abandoned.contains_key(&(session, xid))
    }

    /// Whether a connection of this server has this session, or is about to.
    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.holders.contains_key(&session)
    }

    /// The session that a connection has, or is to have.
    pub(super) fn session_of(&self, client: ClientId) -> Option<SessionId> {
        self.table.get(&client).map(|entry| entry.session)
    }

    /// A connection waits for a session that is being created for it.
    pub(super) fn create(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        identities: Vec<M::Identity>,
    ) {
        self.holders.insert(session, client);
        self.insert(client, session, timeout_ms, identities, Stage::Creating);
    }

    /// A connection wants to go on with this session, which it has [to be given](Self::grant). An older connection of
    /// that session goes at once: what is still read from it would count as asked by the new one (rule C-4).
    pub(super) fn claim(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        identities: Vec<M::Identity>,
        out: &mut impl Effects<M>,
    ) {
        self.evict(session, out);
        self.insert(client, session, timeout_ms, identities, Stage::Claiming);
    }

    /// Gives a connection the session that it claims, and takes it from one that has claimed it before (rule C-4).
    pub(super) fn grant(&mut self, client: ClientId, machine: &M, out: &mut impl Effects<M>) {
        let Some(session) = self.claimed(client) else { return };
        if let Some(older) = self.holders.insert(session, client)
            && older != client
        {
            self.hang_up(older, out);
        }
        self.open(client, machine, false, out);
    }

    /// A connection has a session that only reads, and that was made or found here.
    pub(super) fn attach_read_only(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        identities: Vec<M::Identity>,
        machine: &M,
        out: &mut impl Effects<M>,
    ) {
        self.evict(session, out);
        self.create(client, session, timeout_ms, identities);
        self.open(client, machine, true, out);
    }

    /// Answers what needs a leader, and there is none: all that was asked before it is answered, so it is the oldest.
    /// Hangs up behind it if the connection has said that it ends.
    pub(super) fn decline(
        &mut self,
        client: ClientId,
        xid: i32,
        code: Option<ErrorCode>,
        machine: &M,
        out: &mut impl Effects<M>,
    ) {
        let Some(entry) = self.table.get_mut(&client) else { return };
        if let Some(Pending::Sync { through: false, .. }) = entry.pending.pop_front() {
            entry.syncs -= 1;
        }
        self.unanswered -= 1;
        let ends = entry.ending;
        out.reply(client, xid, machine.last_processed(), code.map_or(Answer::Empty, Answer::Error));
        if ends {
            self.hang_up(client, out);
        }
    }

    /// Tells a connection that the session that it claims is not to be had.
    pub(super) fn refuse(&mut self, client: ClientId, out: &mut impl Effects<M>) {
        if self.claimed(client).is_some() {
            self.forget(client);
            out.refuse_client(client);
        }
    }

    /// The session that this connection claims and does not have.
    fn claimed(&self, client: ClientId) -> Option<SessionId> {
        self.table.get(&client).filter(|entry| entry.stage == Stage::Claiming).map(|entry| entry.session)
    }

    /// Takes a request, while `latest` is the last proposal known here. Returns what the leader has to do for it, if
    /// that is due now.
    pub(super) fn request(
        &mut self,
        machine: &M,
        latest: Zxid,
        client: ClientId,
        (xid, request): (i32, ClientRequest<M>),
        time: i64,
        out: &mut impl Effects<M>,
    ) -> Option<Submission<M::Write>> {
        let Some(entry) = self.table.get_mut(&client) else {
            out.note(Note::UnknownClient { client });
            return None;
        };
        if entry.ending {
            return None;
        }
        entry.touched = true;
        let pending = match admitted(&self.settings, &entry.identities, request) {
            ClientRequest::Read(read) if entry.is_idle() => {
                let reader = entry.reader(client, &self.settings);
                answer_read(machine, &mut self.watches, reader, xid, &read, out);
                return None;
            }
            ClientRequest::Ping if entry.is_idle() => {
                out.reply(client, xid, machine.last_processed(), Answer::Empty);
                return None;
            }
            ClientRequest::Read(read) => Pending::Read { xid, read },
            ClientRequest::Ping => Pending::Settled(Settled::Ping { xid }),
            ClientRequest::Authenticate(credential) => {
                let settled = entry.authenticate(&self.settings, xid, &credential);
                M::identify(&self.settings, &mut self.watches, client, &entry.identities);
                Pending::Settled(settled)
            }
            ClientRequest::Exchange { answer, proves } => {
                entry.identify(proves);
                M::identify(&self.settings, &mut self.watches, client, &entry.identities);
                Pending::Settled(Settled::Exchanged { xid, answer })
            }
            ClientRequest::Refused { code, close } => {
                entry.ending = close;
                Pending::Settled(Settled::Refused { xid, code, close })
            }
            ClientRequest::Write(write) => Pending::Held { xid, time, request: Held::Write(write) },
            ClientRequest::Sync(path) => Pending::Held { xid, time, request: Held::Sync(path) },
            ClientRequest::Close => {
                entry.ending = true;
                Pending::Held { xid, time, request: Held::Close }
            }
        };
        self.unanswered += 1;
        let due = match &pending {
            Pending::Held { request, .. } => {
                entry.held += 1;
                entry.held == 1 && entry.may_submit(request)
            }
            Pending::Submitted { .. } | Pending::Sync { .. } | Pending::Read { .. } | Pending::Settled(_) => {
                false
            }
        };
        entry.pending.push_back(pending);
        if due {
            let last = entry.pending.len() - 1;
            return entry.submit(last, latest);
        }
        self.drain(client, machine, out);
        None
    }

    /// A transaction is applied: answers the request that it came from, if its client still waits here.
    pub(super) fn applied(
        &mut self,
        machine: &M,
        zxid: Zxid,
        origin: Origin,
        outcome: &M::Outcome,
        out: &mut impl Effects<M>,
    ) {
        let is_abandoned = self.take_abandoned(origin);
        if let Some(&client) = self.holders.get(&origin.session) {
            let is_refused = M::refusal(outcome).is_some();
            let waits = self.take_awaited(client, zxid, origin, is_refused, is_abandoned, out);
            self.answer(machine, client, waits, (zxid, origin, outcome), out);
        }
        if origin.change == SessionChange::Close {
            self.end_abandoned(origin.session);
        }
    }

    /// Whether the oldest request of a connection is the one that this transaction came from (rule C-15), which then is
    /// none of its requests any more.
    fn take_awaited(
        &mut self,
        client: ClientId,
        zxid: Zxid,
        origin: Origin,
        is_refused: bool,
        is_abandoned: bool,
        out: &mut impl Effects<M>,
    ) -> bool {
        let Some(entry) = self.table.get_mut(&client) else { return false };
        let Some(Pending::Submitted { xid, close, behind }) = entry.pending.front() else { return false };
        let fits = match origin.change {
            // A close that the leader makes by itself has a number too, and is no answer to a write of the same one.
            SessionChange::Close => *close,
            SessionChange::None => !*close || is_refused,
            SessionChange::Open(_) => false,
        };
        if *xid != origin.xid || !fits {
            return false;
        }
        if is_abandoned || zxid <= *behind {
            out.note(Note::OfAnotherConnection { client, zxid });
            return false;
        }
        entry.pending.pop_front();
        self.unanswered -= 1;
        true
    }

    /// Tells a connection what its request, if it `waits` for this one, has come to, and what has become of its session.
    fn answer(
        &mut self,
        machine: &M,
        client: ClientId,
        waits: bool,
        (zxid, origin, outcome): (Zxid, Origin, &M::Outcome),
        out: &mut impl Effects<M>,
    ) {
        let Some(entry) = self.table.get(&client) else { return };
        let refusal = M::refusal(outcome);
        match origin.change {
            SessionChange::Open(_) if entry.stage == Stage::Creating => {
                self.open(client, machine, false, out);
            }
            SessionChange::Close => {
                if waits {
                    out.reply(client, origin.xid, zxid, Answer::Empty);
                }
                self.hang_up(client, out);
            }
            SessionChange::None if entry.stage == Stage::Creating => {
                // The leader knows a session of this id already: the client has to ask anew.
                self.hang_up(client, out);
            }
            // A client that has moved on must not take this for an answer to what it asked elsewhere (rule C-5).
            SessionChange::None if waits && refusal == Some(ErrorCode::SessionMoved) => {
                self.hang_up(client, out);
            }
            SessionChange::None if waits => {
                let is_last = entry.ending && entry.pending.is_empty();
                let answer = refusal.map_or(Answer::Outcome(outcome), Answer::Error);
                out.reply(client, origin.xid, zxid, answer);
                if is_last {
                    // What was refused is its close.
                    self.hang_up(client, out);
                } else {
                    self.drain(client, machine, out);
                }
            }
            SessionChange::None | SessionChange::Open(_) => {}
        }
    }

    /// The oldest sync of this connection that was not through is.
    pub(super) fn sync_through(&mut self, client: ClientId, machine: &M, out: &mut impl Effects<M>) {
        let Some(entry) = self.table.get_mut(&client) else { return };
        let oldest = entry.pending.iter_mut().find_map(|pending| match pending {
            Pending::Sync { through, .. } if !*through => Some(through),
            Pending::Sync { .. }
            | Pending::Held { .. }
            | Pending::Submitted { .. }
            | Pending::Read { .. }
            | Pending::Settled(_) => None,
        });
        if let Some(through) = oldest {
            *through = true;
            entry.syncs -= 1;
        }
        self.drain(client, machine, out);
    }

    /// Whether this transaction came from a request of a connection that is gone, which then waits no longer.
    fn take_abandoned(&mut self, origin: Origin) -> bool {
        if self.abandoned.is_empty() {
            return false;
        }
        let request = (origin.session, origin.xid);
        let found = self.abandoned.get_mut(&request).map(|count| {
            *count -= 1;
            *count == 0
        });
        if found == Some(true) {
            self.abandoned.remove(&request);
        }
        found.is_some()
    }

    /// The session is closed: nothing of it that still comes answers anybody.
    fn end_abandoned(&mut self, session: SessionId) {
        while let Some((&request, _)) = self.abandoned.range((session, i32::MIN)..=(session, i32::MAX)).next()
        {
            self.abandoned.remove(&request);
        }
    }

    /// The next request that was held back and may go to the leader now, with its connection; `latest` is the last
    /// proposal known here.
    pub(super) fn resume(&mut self, latest: Zxid) -> Option<(ClientId, Submission<M::Write>)> {
        while let Some(&client) = self.resumable.front() {
            if let Some(submission) = self.table.get_mut(&client).and_then(|entry| entry.resume(latest)) {
                return Some((client, submission));
            }
            self.resumable.pop_front();
        }
        None
    }

    /// Whom the connection has authenticated as.
    pub(super) fn identities(&self, client: ClientId) -> &[M::Identity] {
        self.table.get(&client).map_or(&[], |entry| &entry.identities)
    }

    /// The same, to be [given back](Self::return_identities).
    pub(super) fn lend_identities(&mut self, client: ClientId) -> Vec<M::Identity> {
        self.table.get_mut(&client).map(|entry| core::mem::take(&mut entry.identities)).unwrap_or_default()
    }

    /// Puts back what was lent.
    pub(super) fn return_identities(&mut self, client: ClientId, identities: Vec<M::Identity>) {
        if let Some(entry) = self.table.get_mut(&client) {
            entry.identities = identities;
        }
    }

    /// The sessions that were heard of since the last call, with their timeouts in milliseconds.
    pub(super) fn collect_touched(&mut self) -> Vec<(SessionId, i32)> {
        let mut touched = core::mem::take(&mut self.departed);
        for entry in self.table.values_mut().filter(|entry| entry.touched) {
            entry.touched = false;
            touched.push((entry.session, entry.timeout_ms));
        }
        touched
    }

    /// The connection of this session has to go, if there is one here: another server has it now.
    pub(super) fn evict(&mut self, session: SessionId, out: &mut impl Effects<M>) {
        if let Some(&client) = self.holders.get(&session) {
            self.hang_up(client, out);
        }
    }

    /// The next write or close of a connection that is gone by itself, which was held back behind a sync: nobody reads
    /// there any more, so it need not wait (rule C-8).
    pub(super) fn left_behind(&mut self, client: ClientId, latest: Zxid) -> Option<Submission<M::Write>> {
        let entry = self.table.get_mut(&client).filter(|entry| entry.stage == Stage::Open)?;
        let place = entry.pending.iter().position(|pending| match pending {
            Pending::Held { request, .. } => matches!(request, Held::Write(_) | Held::Close),
            Pending::Submitted { .. } | Pending::Sync { .. } | Pending::Read { .. } | Pending::Settled(_) => {
                false
            }
        })?;
        entry.submit(place, latest)
    }

    /// The connection is gone by itself.
    pub(super) fn closed(&mut self, client: ClientId, out: &mut impl Effects<M>) {
        if !self.forget(client) {
            out.note(Note::UnknownClient { client });
        }
    }

    /// Hangs up on every client and forgets all of them: nobody is served any more.
    pub(super) fn clear(&mut self, out: &mut impl Effects<M>) {
        for &client in self.table.keys() {
            out.close_client(client);
        }
        *self = Self::new(core::mem::take(&mut self.settings));
    }

    fn insert(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        identities: Vec<M::Identity>,
        stage: Stage,
    ) {
        let entry = Client {
            session,
            timeout_ms,
            identities,
            stage,
            touched: false,
            ending: false,
            pending: VecDeque::new(),
            held: 0,
            syncs: 0,
        };
        let before = self.table.insert(client, entry);
        assert!(before.is_none(), "C-4: connection {client:?} connected twice");
    }

    fn open(&mut self, client: ClientId, machine: &M, read_only: bool, out: &mut impl Effects<M>) {
        let Some(entry) = self.table.get_mut(&client) else { return };
        entry.stage = Stage::Open;
        let password = password(entry.session);
        out.accept_client(client, entry.session, entry.timeout_ms, &password, read_only);
        if entry.held > 0 {
            self.resumable.push_back(client);
        }
        self.drain(client, machine, out);
    }

    /// Answers what has come to the front of a connection and needs no more waiting.
    fn drain(&mut self, client: ClientId, machine: &M, out: &mut impl Effects<M>) {
        let Some(entry) = self.table.get_mut(&client).filter(|entry| entry.stage == Stage::Open) else {
            return;
        };
        while let Some(front) = entry.pending.front() {
            match front {
                Pending::Held { .. } | Pending::Submitted { .. } | Pending::Sync { through: false, .. } => {
                    break;
                }
                Pending::Sync { xid, path, through: true } => {
                    out.reply(client, *xid, machine.last_processed(), Answer::Sync(path));
                }
                Pending::Read { xid, read } => {
                    let reader = entry.reader(client, &self.settings);
                    answer_read(machine, &mut self.watches, reader, *xid, read, out);
                }
                Pending::Settled(settled) => {
                    let hangs_up = settled.answer(client, machine.last_processed(), out);
                    if hangs_up {
                        self.hang_up(client, out);
                        return;
                    }
                }
            }
            entry.pending.pop_front();
            self.unanswered -= 1;
        }
        if entry.held > 0 && entry.syncs == 0 {
            self.resumable.push_back(client);
        }
    }

    fn hang_up(&mut self, client: ClientId, out: &mut impl Effects<M>) {
        self.forget(client);
        out.close_client(client);
    }

    /// Drops a connection with its watches and whatever waits. Returns whether it was there.
    fn forget(&mut self, client: ClientId) -> bool {
        let Some(entry) = self.table.remove(&client) else { return false };
        if self.holders.get(&entry.session) == Some(&client) {
            self.holders.remove(&entry.session);
        }
        if entry.touched {
            self.departed.push((entry.session, entry.timeout_ms));
        }
        self.unanswered -= entry.pending.len();
        for pending in &entry.pending {
            if let Pending::Submitted { xid, .. } = pending {
                *self.abandoned.entry((entry.session, *xid)).or_default() += 1;
            }
        }
        M::forget_client(&mut self.watches, client);
        true
    }
}

impl<M: Machine> Client<M> {
    /// Whether a request has nothing to wait for.
    fn is_idle(&self) -> bool {
        self.stage == Stage::Open && self.pending.is_empty()
    }

    /// Who asks for its reads.
    fn reader<'a>(
        &'a self,
        client: ClientId,
        settings: &'a M::Settings,
    ) -> Reader<'a, M::Identity, M::Settings> {
        Reader { client, session: self.session, identities: &self.identities, settings }
    }

    /// Whether the first request that is held back may go.
    fn may_submit(&self, request: &Held<M::Write>) -> bool {
        self.stage == Stage::Open
            && match request {
                Held::Write(_) | Held::Close => self.syncs == 0,
                Held::Sync(_) => true,
            }
    }

    /// Submits the first request that is held back, if it may go.
    fn resume(&mut self, latest: Zxid) -> Option<Submission<M::Write>> {
        if self.held == 0 {
            return None;
        }
        let first = self.pending.iter().position(|pending| matches!(pending, Pending::Held { .. }))?;
        match self.pending.get(first) {
            Some(Pending::Held { request, .. }) if self.may_submit(request) => self.submit(first, latest),
            Some(_) | None => None,
        }
    }

    /// Makes the request at this place, which is held back, one that is under way.
    fn submit(&mut self, place: usize, latest: Zxid) -> Option<Submission<M::Write>> {
        let slot = self.pending.get_mut(place)?;
        let Pending::Held { xid, time, .. } = *slot else { return None };
        let close = matches!(slot, Pending::Held { request: Held::Close, .. });
        let Pending::Held { request, .. } =
            core::mem::replace(slot, Pending::Submitted { xid, close, behind: latest })
        else {
            return None;
        };
        self.held -= 1;
        let op = match request {
            Held::Write(write) => Op::Write(write),
            Held::Close => Op::CloseSession,
            Held::Sync(path) => {
                *slot = Pending::Sync { xid, path, through: false };
                self.syncs += 1;
                Op::Sync
            }
        };
        Some(Submission { session: self.session, xid, op, time })
    }

    fn authenticate(&mut self, settings: &M::Settings, xid: i32, credential: &M::Credential) -> Settled {
        match M::authenticate(settings, &self.identities, credential) {
            Ok(identities) => {
                self.identify(identities);
                Settled::Authenticated { xid }
            }
            Err(Unproved::Failed) => {
                self.ending = true;
                Settled::AuthFailed { xid }
            }
            Err(Unproved::Elsewhere) => {
                self.ending = true;
                Settled::Elsewhere
            }
        }
    }

    /// What is proved counts from now on.
    fn identify(&mut self, identities: Vec<M::Identity>) {
        for identity in identities {
            if !self.identities.contains(&identity) {
                self.identities.push(identity);
            }
        }
    }
}

impl Settled {
    /// Gives the answer. Returns whether the connection ends with it.
    fn answer<M: Machine>(&self, client: ClientId, last: Zxid, out: &mut impl Effects<M>) -> bool {
        match self {
            Self::Ping { xid } => out.reply(client, *xid, last, Answer::Empty),
            // Answers of an authentication show no state.
            Self::Authenticated { xid } => out.reply(client, *xid, Zxid::ZERO, Answer::Empty),
            Self::Exchanged { xid, answer } => {
                out.reply(client, *xid, Zxid::ZERO, Answer::Exchange(answer.as_deref()));
            }
            Self::AuthFailed { xid } => {
                out.reply(client, *xid, Zxid::ZERO, Answer::Error(ErrorCode::AuthFailed));
            }
            Self::Elsewhere => {}
            Self::Refused { xid, code, .. } => out.reply(client, *xid, last, Answer::Error(*code)),
        }
        matches!(self, Self::AuthFailed { .. } | Self::Elsewhere | Self::Refused { close: true, .. })
    }
}

/// The request, or its refusal where the operator demands an identity that the connection has not proved (rule C-17).
fn admitted<M: Machine>(
    settings: &M::Settings,
    identities: &[M::Identity],
    request: ClientRequest<M>,
) -> ClientRequest<M> {
    match request {
        ClientRequest::Authenticate(_)
        | ClientRequest::Exchange { .. }
        | ClientRequest::Refused { close: true, .. } => request,
        ClientRequest::Ping
        | ClientRequest::Read(_)
        | ClientRequest::Write(_)
        | ClientRequest::Sync(_)
        | ClientRequest::Close
        | ClientRequest::Refused { close: false, .. } => match M::admit(settings, identities) {
            Ok(()) => request,
            Err(code) => ClientRequest::Refused { code, close: true },
        },
    }
}

/// Answers a read from the state as it is; events that are due at once go first.
fn answer_read<M: Machine>(
    machine: &M,
    watches: &mut M::Watches,
    reader: Reader<'_, M::Identity, M::Settings>,
    xid: i32,
    read: &M::Read,
    out: &mut impl Effects<M>,
) {
    let zxid = machine.last_processed();
    let answer = machine.read(read, reader, watches, &mut |watcher, event| {
        out.notify_client(watcher, zxid, event);
    });
    out.reply(reader.client, xid, zxid, answer.map_or_else(Answer::Error, Answer::Read));
}
