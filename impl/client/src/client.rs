//! The client as its owner has it, and what it shares with the thread that keeps the connection.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use protocol::peer::ClientRequest;
use spec::{SessionId, Zxid};
use tree::{Credential, Text, Tree, Write as Change};
use wire::{
    Buffer, Sink,
    client::{Response, connect::PASSWORD_BYTES, opcode, put_request},
    record::CLIENT_FRAME_BYTES_MAX,
};

use crate::{
    Failure, Servers, keep,
    state::{Connection, Notice},
    stream::Stream,
    watches::{Kind, Watches},
};

/// How long the end of a session may take before the connection is just dropped.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a request waits for a connection that has been away for longer than anybody would wait.
const LEAST: Duration = Duration::from_secs(1);

/// The number of a server's refusal of who somebody is.
pub(crate) const AUTH_FAILED: i32 = -115;

/// What a client needs to know at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the servers are.
    pub servers: Servers,
    /// The session timeout to ask for, which also bounds how long a first connection may take.
    pub timeout: Duration,
    /// Whether a server without a quorum will do.
    pub read_only: bool,
    /// How servers are spoken with inside TLS; plain if `None`.
    pub tls: Option<Arc<tls::rustls::ClientConfig>>,
    /// Who proves to be somebody on each connection, by SASL with DIGEST-MD5; nobody if `None`.
    pub user: Option<sasl::User>,
    /// Whether requests wait for a first server also while none even listens.
    pub patient: bool,
}

/// One session with an ensemble. Dropped, it is closed.
#[derive(Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

/// What is asked, in the forms that the wire knows.
#[derive(Debug)]
pub(crate) enum Request {
    /// What both sides of the wire know.
    Known(ClientRequest<Tree>),
    /// reconfig: its lists, and the version of the configuration that it is to change.
    Reconfigure { joining: Option<String>, leaving: Option<String>, members: Option<String>, version: i64 },
}

/// A watch that a request leaves if it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Leaves {
    pub(crate) path: Text,
    /// The kind if there is such a node.
    pub(crate) found: Kind,
    /// The kind if there is none; without one, no watch is left then.
    pub(crate) missing: Option<Kind>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) xid: i32,
    pub(crate) operation: i32,
    pub(crate) leaves: Option<Leaves>,
    pub(crate) answer: Sender<Result<Response, Failure>>,
}

/// What both threads share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) inner: Mutex<Inner>,
    /// The connection, or what is wrong with it, has changed.
    pub(crate) changed: Condvar,
    notices: Mutex<Box<dyn FnMut(Notice) + Send>>,
}

/// The changing part of it. It cannot be printed: it has the password.
pub(crate) struct Inner {
    pub(crate) connection: Connection,
    /// Where requests are written while there is a connection.
    pub(crate) stream: Option<Stream>,
    pub(crate) pending: VecDeque<Pending>,
    next_xid: i32,
    pub(crate) watches: Watches,
    /// Shown to each server anew.
    pub(crate) credentials: Vec<Credential>,
    pub(crate) session: SessionId,
    /// That is known to one server alone, which had no leader: no other one will have it.
    pub(crate) local: bool,
    /// How many connections there were.
    pub(crate) number: u64,
    /// A server that was found to write while another one only read.
    pub(crate) writer: Option<(String, u16)>,
    pub(crate) password: [u8; PASSWORD_BYTES],
    /// What the server has granted.
    pub(crate) granted: Duration,
    /// The last transaction that was heard of: no server that is behind it is gone to.
    pub(crate) last_seen: Zxid,
    /// Whether the owner closes it: that the connection ends then is no news.
    pub(crate) closing: bool,
    /// Since when there is no connection, if there is none.
    pub(crate) since: Instant,
    /// Whether in the last round nobody even listened.
    pub(crate) nobody_listens: bool,
    /// What went wrong last.
    pub(crate) trouble: String,
    /// Why its user is not proved, if that has ended it.
    pub(crate) unproved: Option<String>,
    /// Whether nobody is to wait for anything.
    interrupted: bool,
    /// Whether a server is being dialled, which may take as long as it likes.
    pub(crate) dialling: bool,
}

impl std::fmt::Debug for Shared {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in there is left half done by a panic: each change is one assignment.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the owner.
    pub(crate) fn tell(&self, notice: Notice) {
        (self.notices.lock().unwrap_or_else(PoisonError::into_inner))(notice);
    }
}

impl Inner {
    /// Gives everybody who waits for an answer this one.
    pub(crate) fn fail_all(&mut self, failure: &Failure) {
        for pending in self.pending.drain(..) {
            // Whoever no longer waits is not told.
            let _ = pending.answer.send(Err(failure.clone()));
        }
    }

    /// Ends for good what was there.
    pub(crate) fn end(&mut self, connection: Connection, failure: &Failure) {
        self.connection = connection;
        if let Some(stream) = self.stream.take() {
            stream.shutdown();
        }
        self.fail_all(failure);
    }

    /// Why there will be no answer any more, if that is so.
    fn over(&self) -> Option<Failure> {
        match self.connection {
            Connection::Expired => Some(Failure::SessionExpired),
            Connection::AuthFailed => {
                Some(self.unproved.clone().map_or(Failure::Server(AUTH_FAILED), Failure::Unproved))
            }
            Connection::Closed => Some(Failure::Closed),
            Connection::Connecting | Connection::Connected | Connection::ConnectedReadOnly => None,
        }
    }

    /// Whether there is nothing to wait for: no session, and nobody who listens.
    fn is_in_vain(&self, options: &Options) -> bool {
        self.nobody_listens && self.session == SessionId(0) && !options.patient
    }

    pub(crate) fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        xid
    }
}

impl Client {
    /// Starts to connect, and goes on trying until it is closed. Notices are given on a thread of the client's, which
    /// reads nothing until the function returns.
    pub fn start(options: Options, notices: impl FnMut(Notice) + Send + 'static) -> Self {
        let inner = Inner {
            connection: Connection::Connecting,
            stream: None,
            pending: VecDeque::new(),
            next_xid: 1,
            watches: Watches::default(),
            credentials: Vec::new(),
            session: SessionId(0),
            local: false,
            number: 0,
            writer: None,
            password: [0; PASSWORD_BYTES],
            granted: options.timeout,
            last_seen: Zxid(0),
            closing: false,
            since: Instant::now(),
            nobody_listens: false,
            trouble: "no server has answered yet".to_owned(),
            unproved: None,
            interrupted: false,
            dialling: false,
        };
        let shared = Arc::new(Shared {
            options,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            notices: Mutex::new(Box::new(notices)),
        });
        let kept = Arc::clone(&shared);
        let keeper = std::thread::spawn(move || keep::run(&kept));
        Self { shared, keeper: Some(keeper) }
    }

    /// How it stands to its servers.
    pub fn connection(&self) -> Connection {
        self.shared.lock().connection
    }

    /// Why there will be no answer any more, if that is so.
    pub fn over(&self) -> Option<Failure> {
        self.shared.lock().over()
    }

    /// Where its servers are.
    pub fn servers(&self) -> &Servers {
        &self.shared.options.servers
    }

    /// Whether a request would wait for a server now, rather than fail at once or be sent at once.
    pub fn waits(&self) -> bool {
        let inner = self.shared.lock();
        inner.connection == Connection::Connecting && !inner.is_in_vain(&self.shared.options)
    }

    /// Waits until a server is there.
    ///
    /// # Errors
    /// Why there is none: nobody listens, the session is over, or the time is.
    pub fn ready(&self, patience: Duration) -> Result<(), Failure> {
        self.connected(patience).map(drop)
    }

    /// The session; 0 before there is one.
    pub fn session(&self) -> SessionId {
        self.shared.lock().session
    }

    /// Ends what anybody waits for, now and until [`Self::resume`], with [`Failure::Interrupted`]. What was asked before
    /// may be done nevertheless.
    pub fn interrupt(&self) {
        let mut inner = self.shared.lock();
        inner.interrupted = true;
        inner.fail_all(&Failure::Interrupted);
        self.shared.changed.notify_all();
    }

    /// Whoever asks waits again.
    pub fn resume(&self) {
        self.shared.lock().interrupted = false;
    }

    /// Closes the session, so that its ephemerals go at once; waits for that, if there is a server, a short while.
    pub fn close(&self) {
        let answer = {
            let mut inner = self.shared.lock();
            if inner.connection.is_over() {
                return;
            }
            inner.closing = true;
            if inner.connection.is_up() {
                send(&mut inner, &Request::Known(ClientRequest::Close), None).ok()
            } else {
                None
            }
        };
        if let Some((answer, _)) = answer {
            // An answer, the end of the connection, or too long: closed all the same.
            let _ = answer.recv_timeout(FAREWELL);
        }
        let was_over = {
            let mut inner = self.shared.lock();
            let was_over = inner.connection.is_over();
            if !was_over {
                inner.end(Connection::Closed, &Failure::Closed);
            }
            self.shared.changed.notify_all();
            was_over
        };
        if !was_over {
            self.shared.tell(Notice::Connection(Connection::Closed));
        }
    }

    /// Sends a request when there is a server, and waits for its answer.
    pub(crate) fn ask(&self, request: Request, leaves: Option<Leaves>) -> Result<Response, Failure> {
        let (answer, bytes) = {
            let mut inner = self.connected(self.shared.options.timeout)?;
            send(&mut inner, &request, leaves)?
        };
        match answer.recv().unwrap_or(Err(Failure::Closed)) {
            // Servers hang up on it, without a word.
            Err(Failure::ConnectionLoss(why)) if bytes > CLIENT_FRAME_BYTES_MAX => {
                Err(Failure::ConnectionLoss(format!(
                    "{why}; the request has {bytes} bytes, and servers take {CLIENT_FRAME_BYTES_MAX} unless their \
                     jute.maxbuffer is greater"
                )))
            }
            other => other,
        }
    }

    /// The same, but only if there is a server now, and no longer than this.
    pub(crate) fn ask_soon(&self, request: Request, patience: Duration) -> Result<Response, Failure> {
        let (answer, _) = {
            let mut inner = self.shared.lock();
            if !inner.connection.is_up() {
                return Err(Failure::Unreachable(inner.trouble.clone()));
            }
            send(&mut inner, &request, None)?
        };
        answer.recv_timeout(patience).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(Failure::Interrupted),
            RecvTimeoutError::Disconnected => Err(Failure::Closed),
        })
    }

    /// Waits for a connection, which may be away for so long, but not at all for servers of which none even listens,
    /// unless the session is there already and only looks for another server.
    fn connected(&self, patience: Duration) -> Result<MutexGuard<'_, Inner>, Failure> {
        let mut inner = self.shared.lock();
        let began = Instant::now();
        loop {
            if let Some(failure) = inner.over() {
                return Err(failure);
            }
            if inner.interrupted {
                return Err(Failure::Interrupted);
            }
            if inner.connection.is_up() {
                return Ok(inner);
            }
            let waited = if patience > LEAST { inner.since.elapsed() } else { began.elapsed() };
            let left =
                patience.saturating_sub(waited).max(patience.min(LEAST).saturating_sub(began.elapsed()));
            if left.is_zero() || inner.is_in_vain(&self.shared.options) {
                return Err(Failure::Unreachable(inner.trouble.clone()));
            }
            inner = self.shared.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
        if let Some(keeper) = self.keeper.take() {
            // It may be dropped by a notice, on that very thread; then nothing is waited for. Nor is it while a server is
            // dialled: the thread ends when that comes to something or nothing.
            let dialling = self.shared.lock().dialling;
            if !dialling && keeper.thread().id() != std::thread::current().id() {
                // A panic there has been printed.
                let _ = keeper.join();
            }
        }
    }
}

/// Writes a request; where its answer will come, and how many bytes it has behind its length.
fn send(
    inner: &mut Inner,
    request: &Request,
    leaves: Option<Leaves>,
) -> Result<(Receiver<Result<Response, Failure>>, usize), Failure> {
    let (answer, receiver) = channel();
    let mut frame = Vec::new();
    let (xid, operation) = match request {
        Request::Known(known) => {
            let operation = wire::client::request::operation(known).map_err(|error| malformed(&error))?;
            let xid = if operation == opcode::AUTH { opcode::XID_AUTH } else { inner.take_xid() };
            put_request(xid, known, &mut frame).map_err(|error| malformed(&error))?;
            (xid, operation)
        }
        Request::Reconfigure { joining, leaving, members, version } => {
            let xid = inner.take_xid();
            frame.put_sized(|out| {
                out.put_int(xid);
                out.put_int(opcode::RECONFIG);
                for list in [joining, leaving, members] {
                    out.put_optional(list.as_deref().map(str::as_bytes));
                }
                out.put_long(*version);
            });
            // It is answered as a read of the configuration.
            (xid, opcode::GET_DATA)
        }
    };
    let lost = |why: String| Failure::ConnectionLoss(why);
    let stream = inner.stream.as_mut().ok_or_else(|| lost("the connection has just ended".to_owned()))?;
    if let Err(error) = stream.write_all(&frame) {
        // Part of it may be on its way: nothing can follow that.
        stream.shutdown();
        return Err(lost(error.to_string()));
    }
    inner.pending.push_back(Pending { xid, operation, leaves, answer });
    Ok((receiver, frame.len() - 4))
}

pub(crate) fn malformed(error: &wire::Error) -> Failure {
    Failure::Malformed(error.to_string())
}

/// A write as a request.
pub(crate) fn write(change: Change) -> Request {
    Request::Known(ClientRequest::Write(change))
}
