//! The client as its owner has it.

use std::{
    io::{ErrorKind, Write},
    sync::{
        Arc, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use protocol::peer::ClientRequest;
use spec::SessionId;
use tree::{Tree, Write as Change};
use wire::{
    Buffer, Sink,
    client::{Response, opcode, put_request},
    record::CLIENT_FRAME_BYTES_MAX,
};

use crate::{
    Failure, Servers, keep,
    shared::{Inner, Leaves, Options, Pending, Shared},
    state::{Connection, Notice},
};

/// How long the end of a session may take before the connection is just dropped.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a request waits for a connection that has been away for longer than anybody would wait.
const LEAST: Duration = Duration::from_secs(1);

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

impl Client {
    /// Starts to connect, and goes on trying until it is closed. Notices are given on a thread of the client's, which
    /// reads nothing until the function returns.
    pub fn start(options: Options, notices: impl FnMut(Notice) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::new(options, notices));
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
            Err(Failure::ConnectionLoss(why)) => Err(lost_with(why, bytes)),
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
            let operation =
                wire::client::request::operation(known).map_err(|error| Failure::malformed(&error))?;
            let xid = if operation == opcode::AUTH { opcode::XID_AUTH } else { inner.take_xid() };
            put_request(xid, known, &mut frame).map_err(|error| Failure::malformed(&error))?;
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
    let bytes = frame.len() - 4;
    let stream = inner.stream.as_mut();
    let stream = stream.ok_or_else(|| Failure::ConnectionLoss("the connection has just ended".to_owned()))?;
    if let Err(error) = stream.write_all(&frame) {
        // Part of it may be on its way: nothing can follow that.
        stream.shutdown();
        return Err(lost_with(unwritten(&error), bytes));
    }
    inner.pending.push_back(Pending { xid, operation, leaves, answer });
    Ok((receiver, bytes))
}

/// Why a request could not be written: the end of the other side has a word of its own, as when it is read.
fn unwritten(error: &std::io::Error) -> String {
    if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
        "the server hung up".to_owned()
    } else {
        error.to_string()
    }
}

/// The loss of a connection that this request was on. Servers hang up on one that is too large, without a word: while it
/// is being written, if it is larger than what lies between the two.
fn lost_with(why: String, bytes: usize) -> Failure {
    if bytes <= CLIENT_FRAME_BYTES_MAX {
        return Failure::ConnectionLoss(why);
    }
    Failure::ConnectionLoss(format!(
        "{why}; the request has {bytes} bytes, and servers take {CLIENT_FRAME_BYTES_MAX} unless their jute.maxbuffer \
         is greater"
    ))
}

/// A write as a request.
pub(crate) fn write(change: Change) -> Request {
    Request::Known(ClientRequest::Write(change))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::scout::tests::server;

    #[test]
    fn a_request_that_is_too_large_to_be_written_is_told_its_size() {
        let options = Options {
            servers: Servers::parse(&server(false, 7).to_string()).expect("valid"),
            timeout: Duration::from_mins(1),
            read_only: false,
            tls: None,
            user: None,
            credentials: Vec::new(),
            patient: false,
        };
        let client = Client::start(options, drop);
        // More than a socket holds: it is being written when the server hangs up.
        let data = Bytes::from(vec![0; 64 << 20]);
        let bytes = data.len() + "/big".len() + 5 * 4;
        match client.set("/big", data, -1) {
            Err(Failure::ConnectionLoss(why)) => {
                let told =
                    format!("the server hung up; the request has {bytes} bytes, and servers take 1048575");
                assert!(why.starts_with(&told), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}
