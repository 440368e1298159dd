//! A client on a thread of its own that writes without pause, through every fault, and keeps its account.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::{Client, ConnectError, Kind, Op, Reply, Session},
    ledger::{Broken, Ledger, Pending},
    session::SESSION_TIMEOUT_MS,
};

/// A reply that takes longer than this counts as a lost connection.
const REPLY_PATIENCE: Duration = Duration::from_millis(3_300);

/// Between two attempts to connect.
const REDIAL: Duration = Duration::from_millis(5);

/// The code of a node that does not stand.
pub const NO_NODE: i32 = -101;
/// The code of one that does.
const NODE_EXISTS: i32 = -110;

/// The code of a session that is dead.
pub const SESSION_EXPIRED: i32 = -112;
/// The code of one that is owned by another connection.
pub const SESSION_MOVED: i32 = -118;

/// What the conductor wants of all workers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Write.
    Run,
    /// Read every reply that is due, then keep the session alive and nothing else.
    Rest,
    /// End.
    Stop,
}

/// What conductor and workers share.
#[derive(Debug)]
pub struct Shared {
    order: Mutex<Order>,
    changed: Condvar,
    start: Instant,
    acked: AtomicU64,
    /// How often all were sent home.
    homes: AtomicU64,
}

impl Shared {
    /// Workers rest at first.
    pub fn new() -> Arc<Self> {
        let (order, changed) = (Mutex::new(Order::Rest), Condvar::new());
        Arc::new(Self {
            order,
            changed,
            start: Instant::now(),
            acked: AtomicU64::new(0),
            homes: AtomicU64::new(0),
        })
    }

    /// Tells every worker.
    pub fn order(&self, order: Order) {
        *lock(&self.order) = order;
        self.changed.notify_all();
    }

    /// Has every worker go on at the server that it dialled first, when it has nothing under way.
    pub fn go_home(&self) {
        self.homes.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn current(&self) -> Order {
        *lock(&self.order)
    }

    /// Microseconds since the run began.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How many writes have been acknowledged, of all workers.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Sleeps, but not through a change of orders.
    fn sleep(&self, time: Duration) {
        let order = lock(&self.order);
        drop(self.changed.wait_timeout(order, time).unwrap_or_else(PoisonError::into_inner));
    }
}

/// What the conductor may see of a worker.
#[derive(Debug)]
pub struct State {
    /// Its account.
    pub ledger: Ledger,
    /// Its session, and the ephemeral node that lives with it.
    pub session: Option<Session>,
    /// The transaction that made the ephemeral node of this session, once that is known.
    pub ephemeral: Option<i64>,
    /// How often a session of this client went on at another server.
    pub moves: u64,
    /// Sessions that the ensemble has declared dead, each with the longest time in milliseconds that this client had
    /// let it go without contact.
    pub lost: Vec<(i64, u64)>,
    /// Whether nothing is outstanding and the worker obeys [`Order::Rest`].
    pub resting: bool,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// Its state; it holds the lock only for moments.
    pub state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Worker {
    /// Starts a worker that dials these servers in turn and keeps up to `window` requests under way.
    pub fn start(
        shared: &Arc<Shared>,
        servers: Vec<SocketAddr>,
        ledger: Ledger,
        window: usize,
        first: usize,
    ) -> Self {
        let state = Arc::new(Mutex::new(State {
            ledger,
            session: None,
            ephemeral: None,
            moves: 0,
            lost: Vec::new(),
            resting: false,
            broken: None,
        }));
        let mut run = Run {
            shared: Arc::clone(shared),
            state: Arc::clone(&state),
            servers,
            next: first,
            first,
            homes: 0,
            window,
            number: 1,
            last: None,
            heard: Instant::now(),
            silence: Duration::ZERO,
        };
        let thread = thread::spawn(move || run.run());
        Self { state, thread: Some(thread), shared: Arc::clone(shared) }
    }

    /// Looks at the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Takes a lock; a thread that panicked while it held it has printed why, and the state is judged anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ephemeral node of a session.
pub fn ephemeral(session: i64) -> String {
    format!("/faults/living/{session:016x}")
}

/// Makes the ephemeral node of this connection's session unless it is `made` already, and returns the transaction that
/// made it.
///
/// # Errors
/// That a promise is broken, if it was made and is not the same any more; else if the connection is gone.
pub fn keep_ephemeral(client: &mut Client, path: &str, made: Option<i64>) -> Result<i64> {
    let owner = client.session().id;
    if made.is_none() {
        let op = Op::Create { path: path.to_owned(), data: Vec::new(), kind: Kind::Ephemeral };
        let reply = client.call(&op)?;
        if reply.code == 0 {
            return Ok(reply.zxid);
        }
        // It may stand already, from before a break of the connection.
        ensure!(reply.code == NODE_EXISTS, "no ephemeral: code {}", reply.code);
    }
    let reply = client.call(&Op::GetData(path.to_owned()))?;
    judge_ephemeral(&reply, path, owner, made)
}

/// The transaction that made the ephemeral node of a session that lives, of a read that must show it.
///
/// # Errors
/// That a promise is broken, if it is gone or another one than was made; else if it could not be read.
pub fn judge_ephemeral(reply: &Reply, path: &str, owner: i64, made: Option<i64>) -> Result<i64> {
    if reply.code == NO_NODE {
        bail!(Broken(format!("{path} is gone, and its session lives")));
    }
    ensure!(reply.code == 0, "the ephemeral cannot be read: code {}", reply.code);
    let stat = reply.data()?.1;
    if stat.owner != owner || made.is_some_and(|made| made != stat.czxid) {
        bail!(Broken(format!("{path} is another node than the one made at {made:x?}: {stat:x?}")));
    }
    Ok(stat.czxid)
}

struct Run {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    servers: Vec<SocketAddr>,
    next: usize,
    /// The server dialled first, and how often this worker was sent there.
    first: usize,
    homes: u64,
    window: usize,
    /// The number of the next request. Every second worker numbers on over its connections, as Apache's client does; the
    /// others begin anew with each, as kazoo does.
    number: i32,
    /// Where the session was last.
    last: Option<SocketAddr>,
    /// When the last word of the session's server came.
    heard: Instant,
    /// The longest time without contact in the life of this session.
    silence: Duration,
}

impl Run {
    fn run(&mut self) {
        while self.shared.current() != Order::Stop {
            if let Some(mut client) = self.connect() {
                let ended = self.talk(&mut client);
                self.number = client.next_number();
                if let Err(error) = ended
                    && let Some(broken) = error.downcast_ref::<Broken>()
                {
                    lock(&self.state).broken.get_or_insert_with(|| broken.0.clone());
                    return;
                }
            }
            lock(&self.state).resting = false;
            self.shared.sleep(REDIAL);
        }
    }

    fn connect(&mut self) -> Option<Client> {
        let server = self.servers[self.next % self.servers.len()];
        self.next += 1;
        let (session, zxid) = {
            let state = lock(&self.state);
            (state.session.clone(), state.ledger.last_zxid().max(state.ephemeral.unwrap_or(0)))
        };
        let answer = Client::connect(server, session.as_ref(), SESSION_TIMEOUT_MS, zxid, REPLY_PATIENCE);
        match (answer, session) {
            (Ok(mut client), old) => {
                if self.first.is_multiple_of(2) {
                    client.number_from(self.number);
                }
                if old.is_some() {
                    self.hear();
                } else {
                    (self.heard, self.silence) = (Instant::now(), Duration::ZERO);
                }
                let mut state = lock(&self.state);
                state.session = Some(client.session().clone());
                state.moves += u64::from(self.last.replace(server).is_some_and(|last| last != server));
                drop(state);
                Some(client)
            }
            (Err(ConnectError::Expired), Some(old)) => {
                self.hear();
                let silence = u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX);
                let mut state = lock(&self.state);
                (state.session, state.ephemeral, self.last) = (None, None, None);
                state.lost.push((old.id, silence));
                None
            }
            (Err(_), _) => None,
        }
    }

    /// Notes that the server of this session has just spoken.
    fn hear(&mut self) {
        self.silence = self.silence.max(self.heard.elapsed());
        self.heard = Instant::now();
    }

    /// Writes until the connection is gone, a promise is broken, or the order is to stop.
    fn talk(&mut self, client: &mut Client) -> Result<()> {
        let made = lock(&self.state).ephemeral;
        let path = ephemeral(client.session().id);
        let made = keep_ephemeral(client, &path, made)?;
        lock(&self.state).ephemeral = Some(made);
        let mut under_way = VecDeque::new();
        loop {
            self.hear();
            if under_way.is_empty() {
                self.leave_for_home()?;
            }
            match self.shared.current() {
                Order::Stop => {
                    if under_way.is_empty() {
                        client.call(&Op::Close)?;
                    }
                    return Ok(());
                }
                Order::Rest if under_way.is_empty() => {
                    lock(&self.state).resting = true;
                    self.shared.sleep(Duration::from_millis(500));
                    self.send(client, &mut under_way, true)?;
                }
                Order::Rest => {}
                // Looked at twice, the second time under the lock: the conductor gives the order before it looks at
                // `resting`, so whoever it sees resting will not send.
                Order::Run if !self.leave_rest() => continue,
                Order::Run => {
                    while under_way.len() < self.window {
                        self.send(client, &mut under_way, false)?;
                    }
                }
            }
            self.receive(client, &mut under_way)?;
        }
    }

    /// Ends the connection if this worker is sent home.
    fn leave_for_home(&mut self) -> Result<()> {
        let homes = self.shared.homes.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.homes, homes) != homes {
            self.next = self.first;
            bail!("sent home");
        }
        Ok(())
    }

    /// Whether the order is to write; then this worker does not count as resting any more.
    fn leave_rest(&self) -> bool {
        let mut state = lock(&self.state);
        let run = self.shared.current() == Order::Run;
        state.resting &= !run;
        run
    }

    fn send(&mut self, client: &mut Client, under_way: &mut UnderWay, ping: bool) -> Result<()> {
        let (op, pending) = if ping { (Op::Ping, Pending::Ping) } else { lock(&self.state).ledger.send() };
        let sent = self.shared.micros();
        let xid = client.send(&op)?;
        under_way.push_back((xid, pending, sent));
        Ok(())
    }

    fn receive(&mut self, client: &mut Client, under_way: &mut UnderWay) -> Result<()> {
        let reply = client.receive()?;
        let acked = self.shared.micros();
        let (xid, pending, sent) = under_way.pop_front().context("a reply to nothing")?;
        if reply.xid != xid {
            bail!(Broken(format!("reply to request {} where {xid} ({pending:?}) was due", reply.xid)));
        }
        if reply.code == SESSION_EXPIRED || reply.code == SESSION_MOVED {
            bail!("the session is not this connection's any more");
        }
        if pending != Pending::Ping {
            self.shared.acked.fetch_add(1, Ordering::Relaxed);
        }
        let entered = lock(&self.state).ledger.acknowledge(pending, &reply, sent, acked);
        entered.map_err(|error| Broken::new(&error))
    }
}

type UnderWay = VecDeque<(i32, Pending, u64)>;
