//! The tree as the state that the protocol replicates.

use alloc::vec::Vec;

use spec::{
    ClientId, ErrorCode, Machine, SessionId, Zxid,
    machine::{Author, Origin, Reader, SessionChange, Unproved},
};

use crate::{
    Answer, Credential, Event, Identity, Outcome, Outstanding, Read, Settings, Tree, Txn, TxnBody, Watches,
    Write, auth, prepare,
};

impl Machine for Tree {
    type Settings = Settings;
    type Txn = Txn;
    type Write = Write;
    type Read = Read;
    type Identity = Identity;
    type Credential = Credential;
    type Outstanding = Outstanding;
    type Watches = Watches;
    type Outcome = Outcome;
    type Answer<'a> = Answer<'a>;
    type Event = Event;

    fn last_processed(&self) -> Zxid {
        self.last
    }

    fn prepare(
        &self,
        settings: &Settings,
        outstanding: &mut Outstanding,
        author: Author<'_, Identity>,
        zxid: Zxid,
        write: &Write,
    ) -> Txn {
        self.prepare_write(settings, outstanding, author, zxid, write)
    }

    fn prepare_create_session(
        &self,
        outstanding: &mut Outstanding,
        author: Author<'_, Identity>,
        zxid: Zxid,
        timeout_ms: i32,
    ) -> Txn {
        self.prepare_open(outstanding, author, zxid, timeout_ms)
    }

    fn prepare_close_session(
        &self,
        outstanding: &mut Outstanding,
        author: Author<'_, Identity>,
        zxid: Zxid,
    ) -> Txn {
        self.prepare_close(outstanding, author, zxid)
    }

    fn due(&self, settings: &Settings, time: i64, max: usize) -> Vec<Write> {
        self.sweepable(settings, time, max).into_iter().map(|path| Write::Sweep { path }).collect()
    }

    fn prepare_error(author: Author<'_, Identity>, code: ErrorCode) -> Txn {
        prepare::refused(author, code)
    }

    fn settle(&self, outstanding: &mut Outstanding, zxid: Zxid) {
        outstanding.settle(zxid);
    }

    fn origin(txn: &Txn) -> Origin {
        let change = match &txn.body {
            TxnBody::CreateSession { timeout_ms } => SessionChange::Open(*timeout_ms),
            TxnBody::CloseSession { .. } => SessionChange::Close,
            TxnBody::Create(_)
            | TxnBody::Delete { .. }
            | TxnBody::SetData { .. }
            | TxnBody::SetAcl { .. }
            | TxnBody::Check { .. }
            | TxnBody::Multi(_)
            | TxnBody::Error { .. } => SessionChange::None,
        };
        Origin { session: txn.session, xid: txn.cxid, change }
    }

    fn refusal(outcome: &Outcome) -> Option<ErrorCode> {
        let code = match outcome {
            Outcome::Error { code } => *code,
            Outcome::Multi(parts) => {
                let moved = Outcome::Error { code: ErrorCode::SessionMoved.number() };
                return parts.contains(&moved).then_some(ErrorCode::SessionMoved);
            }
            Outcome::Create { .. }
            | Outcome::Create2 { .. }
            | Outcome::Delete
            | Outcome::SetData(_)
            | Outcome::SetAcl(_)
            | Outcome::Check
            | Outcome::CreateSession { .. }
            | Outcome::CloseSession => return None,
        };
        // A Java leader has codes of requests that only it offers.
        Some(ErrorCode::from_number(code).unwrap_or(ErrorCode::SystemError))
    }

    fn apply(
        &mut self,
        zxid: Zxid,
        txn: &Txn,
        watches: &mut Watches,
        notify: &mut dyn FnMut(ClientId, &Event),
    ) -> Outcome {
        self.apply_txn(zxid, txn, watches, notify)
    }

    fn read<'a>(
        &'a self,
        read: &Read,
        reader: Reader<'_, Identity, Settings>,
        watches: &mut Watches,
        notify: &mut dyn FnMut(ClientId, &Event),
    ) -> Result<Answer<'a>, ErrorCode> {
        self.answer(read, reader, watches, notify)
    }

    fn identify(settings: &Settings, watches: &mut Watches, client: ClientId, identities: &[Identity]) {
        watches.identify(client, &auth::watching(settings, identities));
    }

    fn forget_client(watches: &mut Watches, client: ClientId) {
        watches.forget(client);
    }

    fn authenticate(
        settings: &Settings,
        identities: &[Identity],
        credential: &Credential,
    ) -> Result<Vec<Identity>, Unproved> {
        auth::authenticate(settings, identities, credential)
    }

    fn admit(settings: &Settings, identities: &[Identity]) -> Result<(), ErrorCode> {
        auth::admit(settings, identities)
    }

    fn session_timeout(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    fn sessions(&self) -> Vec<(SessionId, i32)> {
        self.sessions.iter().map(|(&session, &timeout_ms)| (session, timeout_ms)).collect()
    }
}
