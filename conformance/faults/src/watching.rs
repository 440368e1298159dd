//! Clients that watch, and go to another server when theirs goes, as ZooKeeper's own do: with their session, their
//! ephemeral node and their watches. And one that changes what they watch.
//!
//! A spot is a node, with a count of its changes. It is changed only when every watcher stands with a watch behind the
//! last change, and each of them must then be told once: one that is not told is missing, and whatever else is told
//! was told for nothing. A read behind each event shows the change and sets the watch anew; other reads, in between,
//! must not show a change that no event has told of.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::{Client, ConnectError, Event, Kind, Op, Reply, Session, Watches},
    content::Claim,
    ledger::Broken,
    session::SESSION_TIMEOUT_MS,
    worker::{NO_NODE, Order, SESSION_EXPIRED, SESSION_MOVED, judge_ephemeral, keep_ephemeral, lock},
};

/// The folder of all that is watched.
pub const FOLDER: &str = "/watched";
/// The folder of the watchers' ephemeral nodes.
pub const LIVING: &str = "/watched/living";

/// How long a watch may take to fire, all that may happen to its client included.
const FIRES_WITHIN: Duration = Duration::from_mins(1);
/// A reply that takes longer than this counts as a lost connection.
const REPLY_PATIENCE: Duration = Duration::from_millis(3_300);
/// Between two requests of a watcher that has nothing to do.
const IDLE: Duration = Duration::from_millis(20);
/// Between two rounds of changes.
const PACE: Duration = Duration::from_millis(10);
/// How long a watcher waits before it dials again, times its number: so that changes come while it is away, and not
/// all come back at once.
const AWAY_EACH: Duration = Duration::from_millis(60);

/// How a spot is watched, and changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// The data is set, to the count of changes.
    Data,
    /// The node is made and removed by turns.
    Exists,
    /// A child is made and removed by turns.
    Children,
    /// As `Data`, but only when asked for: its watches have to last.
    Quiet,
}

/// A node that is watched.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Where.
    pub path: String,
    /// How.
    pub way: Way,
}

impl Spot {
    /// What must stand of it behind this many changes, the last of them by this transaction.
    pub fn claims(&self, changes: u64, zxid: Option<i64>) -> Vec<(String, Claim)> {
        let (path, odd, count) = (self.path.clone(), changes % 2 == 1, i32::try_from(changes).ok());
        let made = || Claim { czxid: zxid, mzxid: zxid, version: Some(0), ..Claim::holds("1") };
        match self.way {
            // It was made with 0, and that is no change.
            Way::Data | Way::Quiet => {
                vec![(path, Claim { mzxid: zxid, version: count, ..Claim::holds(changes.to_string()) })]
            }
            Way::Exists => odd.then(|| (path, made())).into_iter().collect(),
            Way::Children => {
                let child = odd.then(|| (format!("{path}/child"), made()));
                let folder = (path, Claim { cversion: count, version: Some(0), ..Claim::holds("0") });
                std::iter::once(folder).chain(child).collect()
            }
        }
    }
}

/// What is broken on purpose, to see that it is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// Watchers that come back do not bring their watches.
    WatchesForgotten,
    /// Watchers that come back say that they have seen nothing yet.
    WatchesFiredAgain,
}

/// What the watchers, the changer and their conductor share.
#[derive(Debug)]
pub struct Board {
    /// The spots.
    pub spots: Vec<Spot>,
    flaw: Option<Flaw>,
    state: Mutex<State>,
    changed: Condvar,
}

/// The part of a board that changes.
#[derive(Debug)]
pub struct State {
    order: Order,
    /// How often all were sent home.
    homes: u64,
    /// How often quiet spots are to be changed.
    quiet: u64,
    resting: bool,
    /// How often each spot was changed, with one that is under way.
    changes: Vec<u64>,
    /// The transaction of each spot's last change.
    zxids: Vec<i64>,
    /// Each watcher's part.
    pub watchers: Vec<Seen>,
    /// How often the changer's session went on at another server.
    pub changer_moves: u64,
    /// Sessions that were closed in order.
    closed: Vec<i64>,
    broken: Option<String>,
}

/// What is known of a watcher.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its session.
    pub session: Option<Session>,
    /// The transaction that made its ephemeral node.
    pub ephemeral: Option<i64>,
    /// How often its session went on at another server.
    pub moves: u64,
    /// How many watches have fired.
    pub fired: u64,
    /// How many of them when the watches were brought to another server, for changes behind its back.
    pub fired_on_return: u64,
    /// Whether it was told that its neighbour's ephemeral node is gone.
    pub neighbour_gone: bool,
    /// For each spot, behind which change it has a watch.
    set: Vec<Option<u64>>,
    /// How often it has gone home.
    homes: u64,
    neighbour_set: bool,
    /// Whether its session was closed in order.
    pub ended: bool,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Looks at the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.lock()
    }

    fn order(&self) -> Order {
        self.lock().order
    }

    fn sleep(&self, time: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner));
    }

    fn break_promise(&self, why: impl fmt::Display) {
        self.lock().broken.get_or_insert_with(|| why.to_string());
    }
}

/// The ephemeral node of a watcher's session.
pub fn ephemeral(session: i64) -> String {
    format!("{LIVING}/{session:016x}")
}

/// The watchers with what they share, and the client that changes what they watch.
#[derive(Debug)]
pub struct Watching {
    /// What they share.
    pub board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

impl Watching {
    /// Starts this many watchers of these spots, which must stand as after no change, and the changer, which rests.
    pub fn start(servers: &[SocketAddr], spots: Vec<Spot>, watchers: usize, flaw: Option<Flaw>) -> Self {
        let seen = Seen { set: vec![None; spots.len()], ..Seen::default() };
        let state = State {
            order: Order::Rest,
            homes: 0,
            quiet: 0,
            resting: false,
            changes: vec![0; spots.len()],
            zxids: vec![0; spots.len()],
            watchers: vec![seen; watchers],
            changer_moves: 0,
            closed: Vec::new(),
            broken: None,
        };
        let board = Arc::new(Board { spots, flaw, state: Mutex::new(state), changed: Condvar::new() });
        let mut threads = Vec::new();
        for number in 0..watchers {
            let (board, servers) = (Arc::clone(&board), servers.to_vec());
            threads.push(thread::spawn(move || Watcher::new(board, servers, number).run()));
        }
        let (changer, servers) = (Arc::clone(&board), servers.to_vec());
        threads.push(thread::spawn(move || Changer { line: Line::new(servers, 0), board: changer }.run()));
        Self { board, threads }
    }

    /// Has every watcher go on at the server that it dialled first, as if it had lost its connection, and lets the changer
    /// change what they watch. Returns when all are there.
    ///
    /// # Errors
    /// If a promise is broken.
    pub fn run(&self) -> Result<()> {
        let mut state = self.board.lock();
        state.homes += 1;
        state.order = Order::Run;
        drop(state);
        self.board.changed.notify_all();
        self.until("every watcher goes home", |_, state| {
            state.watchers.iter().all(|seen| seen.homes == state.homes)
        })
    }

    /// Fails if a promise is broken.
    ///
    /// # Errors
    /// Says which.
    pub fn check(&self) -> Result<()> {
        match &self.board.lock().broken {
            Some(broken) => bail!(Broken(broken.clone())),
            None => Ok(()),
        }
    }

    /// Lets the changer rest, and waits until every watch has fired and is set again.
    ///
    /// # Errors
    /// Says which has not.
    pub fn rest(&self) -> Result<()> {
        self.board.lock().order = Order::Rest;
        self.until("the changer comes to rest", |_, state| state.resting)?;
        self.await_watches()
    }

    /// Waits until every watch has fired that is due, and is set again.
    ///
    /// # Errors
    /// Says which has not.
    pub fn await_watches(&self) -> Result<()> {
        let deadline = Instant::now() + FIRES_WITHIN;
        loop {
            self.check()?;
            let missing = missing(&self.board, &self.board.lock());
            let Some(missing) = missing else { return Ok(()) };
            if Instant::now() > deadline {
                bail!(Broken(missing));
            }
            thread::sleep(IDLE);
        }
    }

    /// Has every quiet spot changed, now.
    ///
    /// # Errors
    /// If a watch does not fire, or more than it should.
    pub fn change_quiet(&self) -> Result<()> {
        self.board.lock().quiet += 1;
        self.until("the quiet spots change", |board, state| {
            let mut spots = board.spots.iter().zip(&state.changes);
            spots.all(|(spot, changes)| spot.way != Way::Quiet || *changes == state.quiet)
        })?;
        self.await_watches()
    }

    /// Ends every second watcher, whose session it closes: its neighbour must be told that its ephemeral is gone.
    /// Returns how many have ended, each of which one other watches.
    ///
    /// # Errors
    /// If one is not told, or a session cannot be closed.
    pub fn end_half(&self) -> Result<usize> {
        let count = {
            let mut state = self.board.lock();
            let ends: Vec<usize> = (0..state.watchers.len()).step_by(2).collect();
            for number in &ends {
                let session =
                    state.watchers[*number].session.clone().context("a watcher without a session")?;
                state.closed.push(session.id);
            }
            ends.len()
        };
        self.until("half of the watchers close their sessions", |_, state| {
            state.watchers.iter().step_by(2).all(|seen| seen.ended)
        })?;
        self.until("each neighbour is told of it", |_, state| {
            state.watchers.iter().skip(1).step_by(2).all(|seen| seen.neighbour_gone)
        })?;
        Ok(count)
    }

    fn until(&self, what: &str, is: impl Fn(&Board, &State) -> bool) -> Result<()> {
        let deadline = Instant::now() + FIRES_WITHIN;
        while !is(&self.board, &self.board.lock()) {
            self.check()?;
            if Instant::now() > deadline {
                bail!(Broken(format!("not within {FIRES_WITHIN:?}: {what}")));
            }
            thread::sleep(IDLE);
        }
        self.check()
    }

    /// How often each spot was changed, and its last transaction, while the changer rests.
    pub fn changes(&self) -> Vec<(u64, i64)> {
        let state = self.board.lock();
        state.changes.iter().copied().zip(state.zxids.iter().copied()).collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.board.lock().order = Order::Stop;
        self.board.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// The first watch that is not set behind its spot's last change.
fn missing(board: &Board, state: &State) -> Option<String> {
    for (number, seen) in state.watchers.iter().enumerate().filter(|(_, seen)| !seen.ended) {
        if !seen.neighbour_set && !seen.neighbour_gone {
            return Some(format!("watcher {number} has no watch on its neighbour's node"));
        }
        for ((spot, changes), set) in board.spots.iter().zip(&state.changes).zip(&seen.set) {
            if *set != Some(*changes) {
                return Some(format!(
                    "watcher {number} was not told of change {changes} of {}: its watch is behind {set:?}",
                    spot.path
                ));
            }
        }
    }
    None
}

/// A session, and where it goes on.
struct Line {
    servers: Vec<SocketAddr>,
    next: usize,
    last: Option<SocketAddr>,
    session: Option<Session>,
    /// The last transaction seen.
    seen: i64,
    heard: Instant,
}

/// How an attempt to connect ended.
enum Dialled {
    /// With a connection; whether to another server than the last.
    Connected(Box<Client>, bool),
    /// Not this time.
    Unreachable,
    /// The session is declared dead, behind this time without contact.
    Dead(Duration),
}

impl Line {
    fn new(servers: Vec<SocketAddr>, next: usize) -> Self {
        Self { servers, next, last: None, session: None, seen: 0, heard: Instant::now() }
    }

    fn dial(&mut self) -> Dialled {
        let server = self.servers[self.next % self.servers.len()];
        self.next += 1;
        let dialled =
            Client::connect(server, self.session.as_ref(), SESSION_TIMEOUT_MS, self.seen, REPLY_PATIENCE);
        match dialled {
            Ok(client) => {
                self.session = Some(client.session().clone());
                self.heard = Instant::now();
                let moved = self.last.replace(server).is_some_and(|last| last != server);
                Dialled::Connected(Box::new(client), moved)
            }
            Err(ConnectError::Unreachable(_)) => Dialled::Unreachable,
            Err(ConnectError::Expired) => Dialled::Dead(self.heard.elapsed()),
        }
    }

    fn hear(&mut self, reply: &Reply) {
        self.heard = Instant::now();
        self.seen = self.seen.max(reply.zxid);
    }
}

struct Watcher {
    board: Arc<Board>,
    number: usize,
    line: Line,
    /// How often it was sent home.
    homes: u64,
    /// The next spot to look at without a watch.
    look: usize,
}

impl Watcher {
    fn new(board: Arc<Board>, servers: Vec<SocketAddr>, number: usize) -> Self {
        Self { board, number, line: Line::new(servers, number), homes: 0, look: number }
    }

    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.board.lock().watchers[self.number])
    }

    fn run(&mut self) {
        while self.board.order() != Order::Stop && !self.seen(|seen| seen.ended) {
            let outcome = match self.line.dial() {
                Dialled::Connected(client, moved) => {
                    let session = client.session().clone();
                    self.seen(|seen| {
                        seen.moves += u64::from(moved);
                        seen.session = Some(session);
                    });
                    self.talk(*client)
                }
                Dialled::Unreachable => Ok(()),
                Dialled::Dead(silence) => {
                    let session = self.line.session.as_ref().map_or(0, |session| session.id);
                    Err(Broken(format!(
                        "session 0x{session:x} of watcher {} was declared dead, {} ms after its last word",
                        self.number,
                        silence.as_millis()
                    ))
                    .into())
                }
            };
            if let Err(error) = outcome
                && let Some(broken) = error.downcast_ref::<Broken>()
            {
                self.board.break_promise(broken);
                return;
            }
            self.board.sleep(AWAY_EACH * u32::try_from(self.number + 1).unwrap_or(1));
        }
    }

    /// Watches until the connection is gone, a promise is broken, or the order is to stop.
    fn talk(&mut self, mut client: Client) -> Result<()> {
        self.bring_watches(&mut client)?;
        // An event may have told of more than any reply: this server may be behind it.
        self.sync(&mut client)?;
        let path = ephemeral(client.session().id);
        let made = self.seen(|seen| seen.ephemeral);
        let made = if made.is_none() {
            // The first thing that a session does: there is no watch yet that could fire.
            keep_ephemeral(&mut client, &path, None)?
        } else {
            let reply = self.exchange(&mut client, &Op::GetData(path.clone()))?;
            judge_ephemeral(&reply, &path, client.session().id, made)?
        };
        self.line.seen = self.line.seen.max(made);
        let homes = self.homes;
        self.seen(|seen| (seen.ephemeral, seen.homes) = (Some(made), homes));
        loop {
            let id = client.session().id;
            let (stop, close, homes) = {
                let state = self.board.lock();
                (state.order == Order::Stop, state.closed.contains(&id), state.homes)
            };
            if std::mem::replace(&mut self.homes, homes) != homes {
                self.line.next = self.number;
                bail!("sent home");
            }
            if stop || close {
                self.exchange(&mut client, &Op::Close)?;
                self.seen(|seen| seen.ended = true);
                return Ok(());
            }
            let unset = self.seen(|seen| seen.set.iter().position(Option::is_none));
            match unset {
                Some(spot) => self.set_watch(&mut client, spot)?,
                None if self.neighbour_due() => self.watch_neighbour(&mut client)?,
                None => {
                    self.look(&mut client)?;
                    self.board.sleep(IDLE);
                }
            }
        }
    }

    /// Sends a request and waits for its reply; enters what watches say before it.
    fn exchange(&mut self, client: &mut Client, op: &Op) -> Result<Reply> {
        let xid = client.send(op)?;
        loop {
            let reply = client.receive()?;
            match reply.event().map_err(|error| Broken::new(&error))? {
                Some(event) => self.fired(&event, matches!(op, Op::SetWatches(_)))?,
                None if reply.xid == xid => {
                    self.line.hear(&reply);
                    return Ok(reply);
                }
                None => bail!(Broken(format!("reply to request {} where {xid} was due", reply.xid))),
            }
        }
    }

    fn bring_watches(&mut self, client: &mut Client) -> Result<()> {
        let mut watches = Watches { seen: self.line.seen, ..Watches::default() };
        let (set, neighbour) = self.seen(|seen| (seen.set.clone(), seen.neighbour_set));
        let number = self.number;
        for (spot, set) in self.board.spots.iter().zip(&set) {
            let Some(changes) = set else { continue };
            let list = match spot.way {
                Way::Data | Way::Quiet => &mut watches.data,
                // A watch on a node that stood is one on its data, to clients and servers.
                Way::Exists if changes % 2 == 1 => &mut watches.data,
                Way::Exists => &mut watches.exists,
                Way::Children => &mut watches.children,
            };
            list.push(spot.path.clone());
        }
        if neighbour {
            watches.data.extend(neighbour_of(&self.board.lock(), number));
        }
        match self.board.flaw {
            Some(Flaw::WatchesForgotten) => watches = Watches { seen: watches.seen, ..Watches::default() },
            Some(Flaw::WatchesFiredAgain) => watches.seen = 0,
            None => {}
        }
        let reply = self.exchange(client, &Op::SetWatches(watches))?;
        ensure!(reply.code == 0, "watches cannot be brought along: code {}", reply.code);
        Ok(())
    }

    fn sync(&mut self, client: &mut Client) -> Result<()> {
        let reply = self.exchange(client, &Op::Sync("/".to_owned()))?;
        ensure!(reply.code == 0, "sync failed with {}", reply.code);
        Ok(())
    }

    /// Enters that a watch has fired.
    fn fired(&mut self, event: &Event, on_return: bool) -> Result<()> {
        let mut state = self.board.lock();
        let number = self.number;
        let Event { kind, path } = event;
        let told = format!("watcher {number} was told of {path} (event {kind})");
        if neighbour_of(&state, number).as_ref() == Some(path) {
            let closed = neighbour_session(&state, number).is_some_and(|id| state.closed.contains(&id));
            let seen = &mut state.watchers[number];
            if *kind != 2 || !closed || !seen.neighbour_set {
                bail!(Broken(format!("{told}: the ephemeral of a session that lives, or one gone twice")));
            }
            (seen.neighbour_set, seen.neighbour_gone) = (false, true);
            return Ok(());
        }
        let Some(spot) = self.board.spots.iter().position(|spot| spot.path == *path) else {
            bail!(Broken(format!("{told}, which it does not watch")));
        };
        let changes = state.changes[spot];
        let Some(set) = state.watchers[number].set[spot] else {
            bail!(Broken(format!("{told} a second time: no watch is set")));
        };
        if set == changes {
            bail!(Broken(format!(
                "{told}, and nothing has changed since change {set}, behind which it watches"
            )));
        }
        let due = match self.board.spots[spot].way {
            Way::Data | Way::Quiet => 3,
            Way::Exists if changes % 2 == 1 => 1,
            Way::Exists => 2,
            Way::Children => 4,
        };
        if *kind != due {
            bail!(Broken(format!("{told}, not of event {due}, for change {changes}")));
        }
        let seen = &mut state.watchers[number];
        seen.set[spot] = None;
        seen.fired += 1;
        seen.fired_on_return += u64::from(on_return);
        Ok(())
    }

    fn set_watch(&mut self, client: &mut Client, spot: usize) -> Result<()> {
        let Spot { path, way } = self.board.spots[spot].clone();
        let op = match way {
            Way::Data | Way::Quiet => Op::WatchData(path.clone()),
            Way::Exists => Op::WatchExists(path.clone()),
            Way::Children => Op::WatchChildren(path.clone()),
        };
        // Nothing is changed before every watch is set, so this stands still until the reply is read.
        let due = self.board.lock().changes[spot];
        let reply = self.exchange(client, &op)?;
        if !shows(&reply, way, due)? {
            bail!(Broken(format!(
                "watcher {} read {path} behind an event, and not its change {due}: {reply:x?}",
                self.number
            )));
        }
        self.seen(|seen| seen.set[spot] = Some(due));
        Ok(())
    }

    /// Reads a spot without setting a watch: it may show the next change only behind the event that tells of it.
    fn look(&mut self, client: &mut Client) -> Result<()> {
        self.look = (self.look + 1) % self.board.spots.len();
        let Spot { path, way } = self.board.spots[self.look].clone();
        if !matches!(way, Way::Data | Way::Quiet) {
            return self.exchange(client, &Op::Ping).map(drop);
        }
        let reply = self.exchange(client, &Op::GetData(path.clone()))?;
        if let Some(set) = self.seen(|seen| seen.set[self.look])
            && !shows(&reply, way, set)?
        {
            bail!(Broken(format!(
                "watcher {} read a change of {path} before it was told of it; its watch is behind {set}: {reply:x?}",
                self.number
            )));
        }
        Ok(())
    }

    fn neighbour_due(&self) -> bool {
        let state = self.board.lock();
        let seen = &state.watchers[self.number];
        !seen.neighbour_set && !seen.neighbour_gone && neighbour_of(&state, self.number).is_some()
    }

    fn watch_neighbour(&mut self, client: &mut Client) -> Result<()> {
        let path = neighbour_of(&self.board.lock(), self.number).context("no neighbour")?;
        self.sync(client)?;
        let reply = self.exchange(client, &Op::WatchData(path.clone()))?;
        let (owner, made) = {
            let state = self.board.lock();
            let next = &state.watchers[(self.number + 1) % state.watchers.len()];
            (next.session.as_ref().map_or(0, |session| session.id), next.ephemeral)
        };
        judge_ephemeral(&reply, &path, owner, made)?;
        self.seen(|seen| seen.neighbour_set = true);
        Ok(())
    }
}

/// Whether this read shows a spot behind this many changes.
fn shows(reply: &Reply, way: Way, changes: u64) -> Result<bool> {
    Ok(match way {
        Way::Data | Way::Quiet => reply.code == 0 && reply.data()?.0 == changes.to_string().into_bytes(),
        Way::Exists => reply.code == if changes % 2 == 1 { 0 } else { NO_NODE },
        Way::Children => {
            reply.code == 0 && u64::try_from(reply.children_with_stat()?.1.cversion).ok() == Some(changes)
        }
    })
}

fn neighbour_session(state: &State, number: usize) -> Option<i64> {
    let next = &state.watchers[(number + 1) % state.watchers.len()];
    next.ephemeral.and(next.session.as_ref()).map(|session| session.id)
}

/// The ephemeral node that a watcher watches: the next watcher's.
fn neighbour_of(state: &State, number: usize) -> Option<String> {
    neighbour_session(state, number).map(ephemeral)
}

struct Changer {
    board: Arc<Board>,
    line: Line,
}

impl Changer {
    fn run(&mut self) {
        let mut pending = None;
        while self.board.order() != Order::Stop {
            let outcome = match self.line.dial() {
                Dialled::Connected(client, moved) => {
                    self.board.lock().changer_moves += u64::from(moved);
                    self.talk(*client, &mut pending)
                }
                Dialled::Unreachable => Ok(()),
                Dialled::Dead(silence) => Err(Broken(format!(
                    "the changer's session was declared dead, {} ms after its last word",
                    silence.as_millis()
                ))
                .into()),
            };
            if let Err(error) = outcome
                && let Some(broken) = error.downcast_ref::<Broken>()
            {
                self.board.break_promise(broken);
                return;
            }
            self.board.sleep(Duration::from_millis(5));
        }
    }

    /// `pending` is a change that was asked for, and not answered.
    fn talk(&mut self, mut client: Client, pending: &mut Option<usize>) -> Result<()> {
        if let Some(spot) = *pending {
            self.find_out(&mut client, spot)?;
            *pending = None;
        }
        loop {
            let order = {
                let mut state = self.board.lock();
                state.resting = state.order == Order::Rest;
                state.order
            };
            if order == Order::Stop {
                return client.call(&Op::Close).map(drop);
            }
            for spot in 0..self.board.spots.len() {
                if self.may_change(spot) {
                    *pending = Some(spot);
                    self.change(&mut client, spot)?;
                    *pending = None;
                }
            }
            let reply = client.call(&Op::Ping)?;
            self.line.hear(&reply);
            self.board.sleep(PACE);
        }
    }

    /// Whether a change is wanted, and everybody watches behind the last one; if so, it begins.
    fn may_change(&self, spot: usize) -> bool {
        let mut state = self.board.lock();
        let changes = state.changes[spot];
        let wanted = match self.board.spots[spot].way {
            Way::Quiet => changes < state.quiet,
            Way::Data | Way::Exists | Way::Children => state.order == Order::Run,
        };
        let may = wanted && state.watchers.iter().all(|seen| seen.set[spot] == Some(changes));
        state.changes[spot] += u64::from(may);
        may
    }

    fn change(&mut self, client: &mut Client, spot: usize) -> Result<()> {
        let Spot { path, way } = self.board.spots[spot].clone();
        let changes = self.board.lock().changes[spot];
        let make = |path| Op::Create { path, data: b"1".to_vec(), kind: Kind::Persistent };
        let op = match way {
            Way::Data | Way::Quiet => {
                Op::SetData { path: path.clone(), data: changes.to_string().into_bytes() }
            }
            Way::Exists if changes % 2 == 1 => make(path.clone()),
            Way::Exists => Op::Delete(path.clone()),
            Way::Children if changes % 2 == 1 => make(format!("{path}/child")),
            Way::Children => Op::Delete(format!("{path}/child")),
        };
        let reply = client.call(&op)?;
        if reply.code == SESSION_EXPIRED || reply.code == SESSION_MOVED {
            bail!("the session is not this connection's any more");
        }
        if reply.code != 0 {
            bail!(Broken(format!(
                "change {changes} of {path} failed with {}: what it builds on is lost",
                reply.code
            )));
        }
        self.line.hear(&reply);
        self.board.lock().zxids[spot] = reply.zxid;
        Ok(())
    }

    /// What became of a change whose answer was lost: its session has gone on here, so it cannot come later any more.
    fn find_out(&mut self, client: &mut Client, spot: usize) -> Result<()> {
        let Spot { path, way } = self.board.spots[spot].clone();
        let changes = self.board.lock().changes[spot];
        let reply = client.call(&Op::Sync("/".to_owned()))?;
        ensure!(reply.code == 0, "sync failed with {}", reply.code);
        let op = match way {
            Way::Data | Way::Quiet | Way::Exists => Op::GetData(path.clone()),
            Way::Children => Op::ListChildren(path.clone()),
        };
        let reply = client.call(&op)?;
        self.line.hear(&reply);
        if shows(&reply, way, changes)? {
            // Which transaction it was is told only where there is a node that has it; else it stays unknown.
            let zxid = match way {
                Way::Children => reply.children_with_stat()?.1.pzxid,
                Way::Data | Way::Quiet | Way::Exists if reply.code == 0 => reply.data()?.1.mzxid,
                Way::Data | Way::Quiet | Way::Exists => 0,
            };
            self.board.lock().zxids[spot] = zxid;
            return Ok(());
        }
        if !shows(&reply, way, changes - 1)? {
            bail!(Broken(format!("{path} shows neither change {changes} nor the one before: {reply:x?}")));
        }
        self.change(client, spot)
    }
}
