//! One client: a session that it keeps over connections, with everything it sees entered in the history.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use faults::client::{Client, ConnectError, Event, Reply as Raw, Session};

use crate::{
    dice::Dice,
    history::{Answer, Entry, Op, Reply, Request, Seen, What},
    judge::watch::{Armed, armed_by, ended_by},
};

/// The timeout that sessions ask for, in milliseconds.
pub const TIMEOUT_MS: i32 = 3_000;

/// How long a reply may take before a client goes elsewhere.
const REPLY_PATIENCE: Duration = Duration::from_millis(1_500);

/// Of a hundred times, how often a client hangs up on its own requests: what comes of them is unknown.
const RASH: u64 = 1;

/// The error of a node that is not there.
pub const NO_NODE: i32 = -101;

/// Where all clients enter what they see.
#[derive(Debug)]
pub struct Log {
    began: Instant,
    entries: Mutex<Vec<Entry>>,
}

impl Log {
    /// An empty one, whose time begins now.
    pub fn new() -> Self {
        Self { began: Instant::now(), entries: Mutex::default() }
    }

    /// Now, in microseconds of this log.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was entered so far; it is empty then.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.entries())
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that logs.
#[derive(Debug)]
pub struct Logged<'a> {
    log: &'a Log,
    name: String,
    servers: Vec<(usize, SocketAddr)>,
    dice: Dice,
    connection: Option<Client>,
    session: Option<Session>,
    /// The number of the next request, once the connection is gone.
    next_number: i32,
    last_zxid: i64,
    armed: BTreeSet<Armed>,
}

impl<'a> Logged<'a> {
    /// One that has no session yet, and connects to any of these servers.
    pub fn new(log: &'a Log, name: &str, servers: &[(usize, SocketAddr)], dice: Dice) -> Self {
        Self {
            log,
            name: name.to_owned(),
            servers: servers.to_vec(),
            dice,
            connection: None,
            session: None,
            next_number: 1,
            last_zxid: 0,
            armed: BTreeSet::new(),
        }
    }

    /// Its dice.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Enters what was seen.
    pub fn enter(&self, what: What) {
        let session = self.session.as_ref().map_or(0, |session| session.id);
        let mut entries = self.log.entries();
        let at = self.log.now();
        entries.push(Entry { at, client: self.name.clone(), session, what });
    }

    /// Connects to one of the servers, whichever comes first in this trial; the watches of the connection before are
    /// left again.
    ///
    /// Returns whether a connection stands.
    pub fn connect(&mut self) -> bool {
        if self.connection.is_some() {
            return true;
        }
        let Some(&(server, address)) = self.dice.pick(&self.servers) else { return false };
        let patience = REPLY_PATIENCE;
        match Client::connect(address, self.session.as_ref(), TIMEOUT_MS, self.last_zxid, patience) {
            Ok(mut client) => {
                client.number_from(self.next_number);
                self.session = Some(client.session().clone());
                let timeout_ms = client.session().timeout_ms;
                self.connection = Some(client);
                self.enter(What::Connected { server, timeout_ms });
                self.leave_watches_again();
            }
            Err(ConnectError::Expired) => {
                self.enter(What::Expired);
                self.forget();
            }
            Err(ConnectError::Unreachable(_)) => thread::sleep(Duration::from_millis(30)),
        }
        self.connection.is_some()
    }

    fn leave_watches_again(&mut self) {
        if self.armed.is_empty() {
            return;
        }
        let of = |kind| {
            let kind = self.armed.iter().filter(move |armed| armed.kind == kind);
            kind.map(|armed| armed.path.clone()).collect()
        };
        let request = Request::SetWatches {
            relative: self.last_zxid,
            data: of(crate::judge::watch::Kind::Data),
            exist: of(crate::judge::watch::Kind::Exist),
            child: of(crate::judge::watch::Kind::Child),
        };
        self.batch(vec![request]);
    }

    /// Leaves the session to itself: the next connection begins another one.
    pub fn forget(&mut self) {
        self.hang_up();
        self.session = None;
        self.armed.clear();
        // What another session has seen is no promise to this one, but what this client has seen is its own.
    }

    /// Breaks the connection; the session lives on.
    pub fn hang_up(&mut self) {
        if let Some(client) = self.connection.take() {
            self.next_number = client.next_number();
            self.enter(What::Broken);
        }
    }

    /// Sends these requests one behind the other, and receives until each has its reply or the connection breaks. Now
    /// and then the client breaks it itself and does not wait.
    pub fn batch(&mut self, requests: Vec<Request>) -> Vec<Option<Reply>> {
        let mut replies: Vec<Option<Reply>> = Vec::new();
        let mut sent: Vec<(u64, i32, Request)> = Vec::new();
        let mut whole = self.connection.is_some();
        for request in requests {
            let Some(connection) = self.connection.as_mut().filter(|_| whole) else { break };
            let at = self.log.now();
            // What cannot be sent whole is counted as sent: a part of it may have left.
            let outcome = connection.send(&request.op());
            let xid = *outcome.as_ref().unwrap_or(&0);
            whole = outcome.is_ok();
            sent.push((at, xid, request));
        }
        whole = whole && !self.dice.percent(RASH);
        for (at, xid, request) in sent {
            let reply = if whole { self.await_reply(xid, &request) } else { None };
            whole = whole && reply.is_some();
            self.enter(What::Op(Op { sent: at, request, reply: reply.clone() }));
            replies.push(reply);
        }
        if !whole {
            self.hang_up();
        }
        replies
    }

    /// One request; nothing if it came to nothing.
    pub fn call(&mut self, request: Request) -> Option<Reply> {
        self.batch(vec![request]).pop().flatten()
    }

    /// The reply to the request that is next, with the events ahead of it entered.
    fn await_reply(&mut self, xid: i32, request: &Request) -> Option<Reply> {
        loop {
            let raw = self.connection.as_mut()?.receive().ok()?;
            if self.takes_event(&raw) {
                continue;
            }
            if raw.xid != xid {
                self.enter(What::Wrong(format!("a reply to request {} where {xid} was due", raw.xid)));
                return None;
            }
            let at = self.log.now();
            return match answer(request, &raw) {
                Ok(answer) => {
                    self.last_zxid = self.last_zxid.max(raw.zxid);
                    if let Some(armed) = armed_by(request, raw.code) {
                        self.armed.insert(armed);
                    }
                    Some(Reply { at, zxid: raw.zxid, code: raw.code, answer })
                }
                Err(error) => {
                    self.enter(What::Wrong(format!("an answer that cannot be read: {error:#}")));
                    None
                }
            };
        }
    }

    /// Enters an event, if this is one.
    fn takes_event(&mut self, raw: &Raw) -> bool {
        match raw.event() {
            Ok(None) => return false,
            Ok(Some(Event { kind, path })) => {
                self.armed.retain(|armed| armed.path != path || !ended_by(kind).contains(&armed.kind));
                self.enter(What::Event { zxid: raw.zxid, kind, path });
            }
            Err(error) => self.enter(What::Wrong(format!("an event that cannot be read: {error:#}"))),
        }
        true
    }

    /// Does nothing for a while but to take events.
    pub fn idle(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                return;
            }
            let Some(connection) = self.connection.as_mut() else { return thread::sleep(left) };
            match connection.stirs(left) {
                Ok(false) => {}
                Ok(true) => match connection.receive() {
                    Ok(raw) if self.takes_event(&raw) => {}
                    Ok(raw) => {
                        self.enter(What::Wrong(format!("a reply to request {} that nobody sent", raw.xid)));
                        self.hang_up();
                    }
                    Err(_) => self.hang_up(),
                },
                Err(_) => self.hang_up(),
            }
        }
    }

    /// Ends the session in order, if a connection stands.
    pub fn close(&mut self) {
        self.call(Request::Close);
        self.forget();
    }
}

/// What a reply says, by what was asked.
fn answer(request: &Request, raw: &Raw) -> Result<Answer> {
    if raw.code != 0 {
        return Ok(Answer::Empty);
    }
    Ok(match request {
        Request::Create { .. } | Request::Append { .. } | Request::Lock { .. } => Answer::Path(raw.path()?),
        Request::Set { .. } | Request::Exists { .. } => Answer::Stat(Seen::from(raw.stat()?)),
        Request::Get { .. } => {
            let (value, stat) = raw.data()?;
            let Ok(value) = String::from_utf8(value) else { bail!("a value that nobody wrote") };
            Answer::Data { value, stat: stat.into() }
        }
        Request::List { .. } => {
            let (names, stat) = raw.children_with_stat()?;
            Answer::Names { names, stat: stat.into() }
        }
        Request::Delete { .. } | Request::Sync | Request::SetWatches { .. } | Request::Close => Answer::Empty,
    })
}
