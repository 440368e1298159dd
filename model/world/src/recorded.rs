//! A state that remembers what was applied to it, for rules that look at whole histories.

use spec::{
    ClientId, ErrorCode, Machine, SessionId, Zxid,
    history::Entry,
    machine::{Author, Origin, Reader, Unproved},
};

use crate::{Replica, view::hash_of};

/// A state with the transactions that made it, from the first one on. It travels and is stored with them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Recorded<M> {
    /// The state.
    pub machine: M,
    history: Vec<Entry>,
}

impl<M: Replica> Recorded<M> {
    /// A state that counts as the one before the first transaction of all.
    pub fn new(machine: M) -> Self {
        Self { machine, history: Vec::new() }
    }

    /// A state that these transactions have made, as somebody else remembers.
    pub fn remembered(machine: M, history: Vec<Entry>) -> Self {
        Self { machine, history }
    }
}

impl<M: Replica> Replica for Recorded<M> {
    fn reloaded(&mut self) -> Self {
        Self { machine: self.machine.reloaded(), history: self.history.clone() }
    }

    fn tell(answer: &Self::Answer<'_>) -> String {
        M::tell(answer)
    }

    fn sketch(&self) -> Vec<String> {
        self.machine.sketch()
    }

    fn sketch_txn(txn: &Self::Txn) -> String {
        M::sketch_txn(txn)
    }

    fn sketch_write(write: &Self::Write) -> String {
        M::sketch_write(write)
    }

    fn sketch_read(read: &Self::Read) -> String {
        M::sketch_read(read)
    }

    fn history(&self) -> Option<&[Entry]> {
        Some(&self.history)
    }
}

impl<M: Machine> Machine for Recorded<M> {
    type Settings = M::Settings;
    type Txn = M::Txn;
    type Write = M::Write;
    type Read = M::Read;
    type Identity = M::Identity;
    type Credential = M::Credential;
    type Outstanding = M::Outstanding;
    type Watches = M::Watches;
    type Outcome = M::Outcome;
    type Answer<'a>
        = M::Answer<'a>
    where
        M: 'a;
    type Event = M::Event;

    fn last_processed(&self) -> Zxid {
        self.machine.last_processed()
    }

    fn prepare(
        &self,
        settings: &Self::Settings,
        outstanding: &mut Self::Outstanding,
        author: Author<'_, Self::Identity>,
        zxid: Zxid,
        write: &Self::Write,
    ) -> Self::Txn {
        self.machine.prepare(settings, outstanding, author, zxid, write)
    }

    fn prepare_create_session(
        &self,
        outstanding: &mut Self::Outstanding,
        author: Author<'_, Self::Identity>,
        zxid: Zxid,
        timeout_ms: i32,
    ) -> Self::Txn {
        self.machine.prepare_create_session(outstanding, author, zxid, timeout_ms)
    }

    fn prepare_close_session(
        &self,
        outstanding: &mut Self::Outstanding,
        author: Author<'_, Self::Identity>,
        zxid: Zxid,
    ) -> Self::Txn {
        self.machine.prepare_close_session(outstanding, author, zxid)
    }

    fn due(&self, settings: &Self::Settings, time: i64, max: usize) -> Vec<Self::Write> {
        self.machine.due(settings, time, max)
    }

    fn prepare_error(author: Author<'_, Self::Identity>, code: ErrorCode) -> Self::Txn {
        M::prepare_error(author, code)
    }

    fn settle(&self, outstanding: &mut Self::Outstanding, zxid: Zxid) {
        self.machine.settle(outstanding, zxid);
    }

    fn origin(txn: &Self::Txn) -> Origin {
        M::origin(txn)
    }

    fn refusal(outcome: &Self::Outcome) -> Option<ErrorCode> {
        M::refusal(outcome)
    }

    fn apply(
        &mut self,
        zxid: Zxid,
        txn: &Self::Txn,
        watches: &mut Self::Watches,
        notify: &mut dyn FnMut(ClientId, &Self::Event),
    ) -> Self::Outcome {
        self.history.push(Entry { zxid, digest: hash_of(txn) });
        self.machine.apply(zxid, txn, watches, notify)
    }

    fn read<'a>(
        &'a self,
        read: &Self::Read,
        reader: Reader<'_, Self::Identity, Self::Settings>,
        watches: &mut Self::Watches,
        notify: &mut dyn FnMut(ClientId, &Self::Event),
    ) -> Result<Self::Answer<'a>, ErrorCode> {
        self.machine.read(read, reader, watches, notify)
    }

    fn identify(
        settings: &Self::Settings,
        watches: &mut Self::Watches,
        client: ClientId,
        identities: &[Self::Identity],
    ) {
        M::identify(settings, watches, client, identities);
    }

    fn forget_client(watches: &mut Self::Watches, client: ClientId) {
        M::forget_client(watches, client);
    }

    fn authenticate(
        settings: &Self::Settings,
        identities: &[Self::Identity],
        credential: &Self::Credential,
    ) -> Result<Vec<Self::Identity>, Unproved> {
        M::authenticate(settings, identities, credential)
    }

    fn admit(settings: &Self::Settings, identities: &[Self::Identity]) -> Result<(), ErrorCode> {
        M::admit(settings, identities)
    }

    fn session_timeout(&self, session: SessionId) -> Option<i32> {
        self.machine.session_timeout(session)
    }

    fn sessions(&self) -> Vec<(SessionId, i32)> {
        self.machine.sessions()
    }
}
