//! The least machine with sessions: cells that hold a number, some of them for as long as a session lives.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use spec::{
    ClientId, ErrorCode, Machine, SessionId, Zxid,
    machine::{Author, Origin, Reader, SessionChange, Unproved},
};

use crate::net::Subject;

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Register {
    pub(crate) last: Zxid,
    pub(crate) cells: BTreeMap<u8, Cell>,
    pub(crate) sessions: BTreeMap<SessionId, i32>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) value: u32,
    pub(crate) owner: Option<SessionId>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Write {
    /// Sets a cell.
    Set(u8, u32),
    /// Sets a cell that goes with its session.
    Own(u8, u32),
    /// Sets a cell if its value is as expected, outstanding changes included.
    Swap(u8, u32, u32),
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Read {
    Get(u8),
    Watch(u8),
    Identities,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Txn {
    Open(SessionId, i32),
    Close { session: SessionId, xid: i32, cells: Vec<u8> },
    Set { session: SessionId, xid: i32, cell: u8, value: Cell },
    Error { session: SessionId, xid: i32, code: ErrorCode },
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Outcome {
    Done,
    Failed(ErrorCode),
}

/// Cells as they will be, each with the transaction that does it; none is a cell that is gone.
pub(crate) type Outstanding = BTreeMap<u8, (Zxid, Option<Cell>)>;

impl Register {
    fn ahead(&self, outstanding: &Outstanding, cell: u8) -> Option<Cell> {
        match outstanding.get(&cell) {
            Some((_, value)) => value.clone(),
            None => self.cells.get(&cell).cloned(),
        }
    }
}

impl Machine for Register {
    /// What is due whenever somebody looks.
    type Settings = Vec<Write>;
    type Txn = Txn;
    type Write = Write;
    type Read = Read;
    type Identity = u8;
    type Credential = Option<u8>;
    type Outstanding = Outstanding;
    type Watches = BTreeSet<(u8, ClientId)>;
    type Outcome = Outcome;
    type Answer<'a> = String;
    type Event = u8;

    fn last_processed(&self) -> Zxid {
        self.last
    }

    fn prepare(
        &self,
        _settings: &Vec<Write>,
        outstanding: &mut Outstanding,
        author: Author<'_, u8>,
        zxid: Zxid,
        write: &Write,
    ) -> Txn {
        let Author { session, xid, .. } = author;
        assert!(outstanding.values().all(|(at, _)| *at > self.last), "what is applied is not outstanding");
        let (cell, value) = match *write {
            Write::Set(cell, value) => (cell, Cell { value, owner: None }),
            Write::Own(cell, value) => (cell, Cell { value, owner: Some(session) }),
            Write::Swap(cell, before, value) => {
                if self.ahead(outstanding, cell).map(|cell| cell.value) != Some(before) {
                    return Txn::Error { session, xid, code: ErrorCode::BadVersion };
                }
                (cell, Cell { value, owner: None })
            }
        };
        outstanding.insert(cell, (zxid, Some(value.clone())));
        Txn::Set { session, xid, cell, value }
    }

    fn prepare_create_session(
        &self,
        _outstanding: &mut Outstanding,
        author: Author<'_, u8>,
        _zxid: Zxid,
        timeout_ms: i32,
    ) -> Txn {
        Txn::Open(author.session, timeout_ms)
    }

    fn prepare_close_session(
        &self,
        outstanding: &mut Outstanding,
        author: Author<'_, u8>,
        zxid: Zxid,
    ) -> Txn {
        let session = author.session;
        let cells: BTreeSet<u8> = self.cells.keys().chain(outstanding.keys()).copied().collect();
        let owned =
            |cell: &u8| self.ahead(outstanding, *cell).is_some_and(|cell| cell.owner == Some(session));
        let cells: Vec<u8> = cells.into_iter().filter(owned).collect();
        for cell in &cells {
            outstanding.insert(*cell, (zxid, None));
        }
        Txn::Close { session, xid: author.xid, cells }
    }

    fn due(&self, settings: &Vec<Write>, _time: i64, max: usize) -> Vec<Write> {
        settings.iter().take(max).cloned().collect()
    }

    fn prepare_error(author: Author<'_, u8>, code: ErrorCode) -> Txn {
        Txn::Error { session: author.session, xid: author.xid, code }
    }

    fn settle(&self, outstanding: &mut Outstanding, zxid: Zxid) {
        outstanding.retain(|_, (at, _)| *at > zxid);
    }

    fn origin(txn: &Txn) -> Origin {
        match *txn {
            Txn::Open(session, timeout_ms) => {
                Origin { session, xid: 0, change: SessionChange::Open(timeout_ms) }
            }
            Txn::Close { session, xid, .. } => Origin { session, xid, change: SessionChange::Close },
            Txn::Set { session, xid, .. } | Txn::Error { session, xid, .. } => {
                Origin { session, xid, change: SessionChange::None }
            }
        }
    }

    fn refusal(outcome: &Outcome) -> Option<ErrorCode> {
        match outcome {
            Outcome::Done => None,
            Outcome::Failed(code) => Some(*code),
        }
    }

    fn apply(
        &mut self,
        zxid: Zxid,
        txn: &Txn,
        watches: &mut BTreeSet<(u8, ClientId)>,
        notify: &mut dyn FnMut(ClientId, &u8),
    ) -> Outcome {
        assert!(zxid > self.last, "applied in order, once");
        self.last = zxid;
        let touched = match txn {
            Txn::Open(session, timeout_ms) => {
                self.sessions.insert(*session, *timeout_ms);
                Vec::new()
            }
            Txn::Close { session, cells, .. } => {
                self.sessions.remove(session);
                for cell in cells {
                    self.cells.remove(cell);
                }
                let left = self.cells.values().any(|cell| cell.owner == Some(*session));
                assert!(!left, "S-2: a cell of a closed session");
                cells.clone()
            }
            Txn::Set { cell, value, .. } => {
                let owner_lives = value.owner.is_none_or(|owner| self.sessions.contains_key(&owner));
                assert!(owner_lives, "S-1: a cell of no session");
                self.cells.insert(*cell, value.clone());
                vec![*cell]
            }
            Txn::Error { code, .. } => return Outcome::Failed(*code),
        };
        for cell in touched {
            for watch in watches.clone() {
                if watch.0 == cell {
                    watches.remove(&watch);
                    notify(watch.1, &cell);
                }
            }
        }
        Outcome::Done
    }

    fn read<'a>(
        &'a self,
        read: &Read,
        reader: Reader<'_, u8, Self::Settings>,
        watches: &mut BTreeSet<(u8, ClientId)>,
        _notify: &mut dyn FnMut(ClientId, &u8),
    ) -> Result<String, ErrorCode> {
        let cell = match read {
            Read::Get(cell) => cell,
            Read::Watch(cell) => {
                watches.insert((*cell, reader.client));
                cell
            }
            Read::Identities => return Ok(format!("{:?}", reader.identities)),
        };
        self.cells.get(cell).map(|cell| cell.value.to_string()).ok_or(ErrorCode::NoNode)
    }

    fn identify(
        _settings: &Self::Settings,
        _watches: &mut BTreeSet<(u8, ClientId)>,
        _client: ClientId,
        _identities: &[u8],
    ) {
    }

    fn forget_client(watches: &mut BTreeSet<(u8, ClientId)>, client: ClientId) {
        watches.retain(|(_, watcher)| *watcher != client);
    }

    /// The identity 254 is another ensemble's.
    fn authenticate(
        _settings: &Self::Settings,
        _identities: &[u8],
        credential: &Option<u8>,
    ) -> Result<Vec<u8>, Unproved> {
        match credential {
            Some(254) => Err(Unproved::Elsewhere),
            Some(identity) => Ok(vec![*identity]),
            None => Err(Unproved::Failed),
        }
    }

    /// The identity 0 is what addresses have, and 255 one that nobody may have.
    fn admit(_settings: &Self::Settings, identities: &[u8]) -> Result<(), ErrorCode> {
        if identities.contains(&u8::MAX) { Err(ErrorCode::SessionClosedRequireAuth) } else { Ok(()) }
    }

    fn session_timeout(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    fn sessions(&self) -> Vec<(SessionId, i32)> {
        self.sessions.iter().map(|(session, timeout_ms)| (*session, *timeout_ms)).collect()
    }
}

impl Subject for Register {
    fn show(answer: &String) -> String {
        answer.clone()
    }
}
