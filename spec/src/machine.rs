//! What the protocol asks of the state that it replicates.

use alloc::vec::Vec;
use core::{fmt::Debug, hash::Hash};

use serde::{Serialize, de::DeserializeOwned};

use crate::{ClientId, ErrorCode, SessionId, Zxid};

/// Who asked for a write, and when.
#[derive(Debug)]
pub struct Author<'a, I> {
    /// The session that the request came in on.
    pub session: SessionId,
    /// The client's own number of the request.
    pub xid: i32,
    /// Whom the connection has authenticated as.
    pub identities: &'a [I],
    /// The leader's wall clock at preparation, in milliseconds since 1970.
    pub time: i64,
}

// Derived, it would ask the same of `I`, of which there is only a borrowed slice.
impl<I> Clone for Author<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Author<'_, I> {}

/// Who asks for a read.
#[derive(Debug)]
pub struct Reader<'a, I, S> {
    /// The connection, which may leave watches.
    pub client: ClientId,
    /// Its session.
    pub session: SessionId,
    /// Whom the connection has authenticated as.
    pub identities: &'a [I],
    /// What the operator of its server has set.
    pub settings: &'a S,
}

// As for [`Author`].
impl<I, S> Clone for Reader<'_, I, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, S> Copy for Reader<'_, I, S> {}

/// A deterministic state that transactions change and reads look at: in production the tree of znodes with its
/// session table.
///
/// The life of a write: the leader *prepares* it against the state and the outstanding changes, which yields a
/// transaction that holds the whole outcome; every server *applies* that transaction at its place in the order.
/// Both are pure functions of their arguments.
pub trait Machine {
    /// What an operator has set about what requests come to. For writes the leader's counts for all servers, for the
    /// rest that of the server with the connection.
    type Settings: Clone + Debug + Default + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// What is logged and replicated. Applying it needs nothing else.
    type Txn: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// A client's request to change the state.
    type Write: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// A client's request to look at the state, perhaps leaving watches (`setWatches` is one too).
    type Read: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// An identity that a connection has proved.
    type Identity: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// What a client offers to prove one.
    type Credential: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// Changes that are prepared and not yet applied. Empty at the start of a reign.
    type Outstanding: Clone + Debug + Default + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// The watches of this server's connections.
    type Watches: Clone + Debug + Default + Eq + Ord + Hash + Serialize + DeserializeOwned;
    /// The result of a write, for the client that asked.
    type Outcome: Clone + Debug + Eq + Ord + Hash;
    /// The result of a read, borrowed from the state.
    type Answer<'a>
    where
        Self: 'a;
    /// What a fired watch tells its client.
    type Event: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned;

    /// The last transaction in the state.
    fn last_processed(&self) -> Zxid;

    /// The transaction for `write` at place `zxid`. A write that fails yields an error transaction, which is logged
    /// like any other (rule T-1). Records its changes in `outstanding`.
    fn prepare(
        &self,
        settings: &Self::Settings,
        outstanding: &mut Self::Outstanding,
        author: Author<'_, Self::Identity>,
        zxid: Zxid,
        write: &Self::Write,
    ) -> Self::Txn;

    /// The transaction that opens a session with this timeout in milliseconds.
    fn prepare_create_session(
        &self,
        outstanding: &mut Self::Outstanding,
        author: Author<'_, Self::Identity>,
        zxid: Zxid,
        timeout_ms: i32,
    ) -> Self::Txn;

    /// The transaction that closes the author's session: it names every ephemeral of that session, those of the
    /// outstanding changes included (rule C-6).
    fn prepare_close_session(
        &self,
        outstanding: &mut Self::Outstanding,
        author: Author<'_, Self::Identity>,
        zxid: Zxid,
    ) -> Self::Txn;

    /// What the leader is to write by itself at this time, in milliseconds since 1970: at most so many writes, and none
    /// before others. Each is prepared later, against the state as it is by then (rule T-21).
    fn due(&self, settings: &Self::Settings, time: i64, max: usize) -> Vec<Self::Write>;

    /// The error transaction for a request that was refused before preparation, such as one of a moved session.
    fn prepare_error(author: Author<'_, Self::Identity>, code: ErrorCode) -> Self::Txn;

    /// Forgets outstanding changes up to `zxid`, which is applied now.
    fn settle(&self, outstanding: &mut Self::Outstanding, zxid: Zxid);

    /// The session and the client's request number that a transaction answers, and whether it opens or closes the
    /// session.
    fn origin(txn: &Self::Txn) -> Origin;

    /// Why the whole request was refused, if it was. A failed multi is answered slot by slot and is no refusal,
    /// unless its session has moved.
    fn refusal(outcome: &Self::Outcome) -> Option<ErrorCode>;

    /// Applies a transaction at its place, fires the watches it touches in order, and returns the outcome.
    ///
    /// Idempotent over a snapshot that already holds the transaction's effects (rule T-3).
    fn apply(
        &mut self,
        zxid: Zxid,
        txn: &Self::Txn,
        watches: &mut Self::Watches,
        notify: &mut dyn FnMut(ClientId, &Self::Event),
    ) -> Self::Outcome;

    /// The answer to a read. Registers the watches asked for; events that are due at once (`setWatches`) go to
    /// `notify`.
    ///
    /// # Errors
    /// The code that the client is to see.
    fn read<'a>(
        &'a self,
        read: &Self::Read,
        reader: Reader<'_, Self::Identity, Self::Settings>,
        watches: &mut Self::Watches,
        notify: &mut dyn FnMut(ClientId, &Self::Event),
    ) -> Result<Self::Answer<'a>, ErrorCode>;

    /// Tells whom a connection has authenticated as by now, for the choice of the events that it may see. To be called
    /// when that changes; a read that leaves a watch tells it as well.
    fn identify(
        settings: &Self::Settings,
        watches: &mut Self::Watches,
        client: ClientId,
        identities: &[Self::Identity],
    );

    /// Drops every watch of a connection.
    fn forget_client(watches: &mut Self::Watches, client: ClientId);

    /// The identities that a credential proves, on a connection that has these already.
    ///
    /// # Errors
    /// [`Unproved`].
    fn authenticate(
        settings: &Self::Settings,
        identities: &[Self::Identity],
        credential: &Self::Credential,
    ) -> Result<Vec<Self::Identity>, Unproved>;

    /// Whether a connection with these identities may ask for anything but to prove another one.
    ///
    /// # Errors
    /// The code that it is told before it is hung up on.
    fn admit(settings: &Self::Settings, identities: &[Self::Identity]) -> Result<(), ErrorCode>;

    /// The timeout in milliseconds of a session in the session table.
    fn session_timeout(&self, session: SessionId) -> Option<i32>;

    /// Every session in the table with its timeout in milliseconds, in the order of ids.
    fn sessions(&self) -> Vec<(SessionId, i32)>;
}

/// What becomes of a credential that proves nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Unproved {
    /// It is wrong: the client is told so, and hung up on.
    Failed,
    /// It is meant for another ensemble: the client is hung up on without a word, and so tries another server.
    Elsewhere,
}

/// What a transaction answers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// The session that asked, or that is opened or closed.
    pub session: SessionId,
    /// The client's number of the request.
    pub xid: i32,
    /// What becomes of the session.
    pub change: SessionChange,
}

/// What a transaction does to its session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SessionChange {
    /// Nothing.
    None,
    /// Opens it, with this timeout in milliseconds.
    Open(i32),
    /// Closes it.
    Close,
}
