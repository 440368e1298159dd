//! What the owner of a client shares with the thread that keeps its session.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    time::{Duration, Instant},
};

use spec::{SessionId, Zxid};
use tree::{Credential, Text};
use wire::client::{Response, connect::PASSWORD_BYTES};

use crate::{
    Failure, Servers,
    state::{Connection, Notice},
    stream::Stream,
    watches::{Kind, Watches},
};

/// The number of a server's refusal of who somebody is.
pub(crate) const AUTH_FAILED: i32 = -115;

/// What a client needs to know at its start.
#[derive(Clone)]
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
    /// What each server is shown that the session comes to.
    pub credentials: Vec<Credential>,
    /// Whether requests wait for a first server also while none even listens.
    pub patient: bool,
}

impl std::fmt::Debug for Options {
    /// Without the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { servers, timeout, read_only, tls: _, user, credentials: _, patient } = self;
        let mut shown = f.debug_struct("Options");
        shown.field("servers", servers).field("timeout", timeout).field("read_only", read_only);
        shown.field("user", user).field("patient", patient).finish_non_exhaustive()
    }
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
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not one state")]
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
    pub(crate) interrupted: bool,
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
    /// Nothing has happened yet.
    pub(crate) fn new(options: Options, notices: impl FnMut(Notice) + Send + 'static) -> Self {
        let inner = Inner {
            connection: Connection::Connecting,
            stream: None,
            pending: VecDeque::new(),
            next_xid: 1,
            watches: Watches::default(),
            credentials: options.credentials.clone(),
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
        Self {
            options,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            notices: Mutex::new(Box::new(notices)),
        }
    }

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
    pub(crate) fn over(&self) -> Option<Failure> {
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
    pub(crate) fn is_in_vain(&self, options: &Options) -> bool {
        self.nobody_listens && self.session == SessionId(0) && !options.patient
    }

    pub(crate) fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        xid
    }
}
