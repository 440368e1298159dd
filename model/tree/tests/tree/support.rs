//! A leader that is its own only follower, and a plain second tree to compare with.
pub(crate) mod naive;

use spec::{ClientId, Epoch, Machine, SessionId, Zxid, machine::Author};
use tree::{
    Acl, CreateRequest, Credential, Event, Identity, Outcome, Outstanding, Settings, Text, Tree, Txn,
    Watches, Write,
};

/// The session that most tests write in.
pub(crate) const ME: SessionId = SessionId(1);
/// Another one.
pub(crate) const OTHER: SessionId = SessionId(2);

/// A leader without followers.
pub(crate) struct Leader {
    pub(crate) tree: Tree,
    pub(crate) outstanding: Outstanding,
    pub(crate) watches: Watches,
    pub(crate) identities: Vec<Identity>,
    pub(crate) settings: Settings,
    /// What was prepared and not applied.
    pub(crate) queue: Vec<(Zxid, Txn)>,
    /// All that was prepared, in order.
    pub(crate) log: Vec<(Zxid, Txn)>,
    pub(crate) events: Vec<(ClientId, Event)>,
    next: Zxid,
}

impl Leader {
    /// With both sessions open.
    pub(crate) fn new() -> Self {
        let mut leader = Self::without_sessions();
        leader.open(ME);
        leader.open(OTHER);
        leader.apply_all();
        leader
    }

    pub(crate) fn without_sessions() -> Self {
        Self {
            tree: Tree::new(),
            outstanding: Outstanding::default(),
            watches: Watches::default(),
            identities: Vec::new(),
            settings: Settings::default(),
            queue: Vec::new(),
            log: Vec::new(),
            events: Vec::new(),
            next: Zxid::new(Epoch(1), 1),
        }
    }

    fn author(identities: &[Identity], session: SessionId, zxid: Zxid) -> Author<'_, Identity> {
        Author { session, xid: 7, identities, time: 1000 + i64::from(zxid.counter()) }
    }

    fn enqueue(&mut self, txn: Txn) -> Zxid {
        let zxid = self.next;
        self.next = zxid.next();
        self.queue.push((zxid, txn.clone()));
        self.log.push((zxid, txn));
        zxid
    }

    pub(crate) fn open(&mut self, session: SessionId) -> Zxid {
        let author = Self::author(&self.identities, session, self.next);
        let txn = self.tree.prepare_create_session(&mut self.outstanding, author, self.next, 4000);
        self.enqueue(txn)
    }

    pub(crate) fn close(&mut self, session: SessionId) -> Zxid {
        let author = Self::author(&self.identities, session, self.next);
        let txn = self.tree.prepare_close_session(&mut self.outstanding, author, self.next);
        self.enqueue(txn)
    }

    /// Prepares a write and does not apply it.
    pub(crate) fn prepare(&mut self, session: SessionId, write: &Write) -> Zxid {
        let author = Self::author(&self.identities, session, self.next);
        let txn = self.tree.prepare(&self.settings, &mut self.outstanding, author, self.next, write);
        self.enqueue(txn)
    }

    /// Applies the oldest transaction that waits.
    pub(crate) fn apply_one(&mut self) -> Outcome {
        let (zxid, txn) = self.queue.remove(0);
        let events = &mut self.events;
        let outcome = self
            .tree
            .apply(zxid, &txn, &mut self.watches, &mut |client, event| events.push((client, event.clone())));
        self.tree.settle(&mut self.outstanding, zxid);
        assert_eq!(self.tree.digest_mismatches(), 0, "{txn:?} tells the digest of the state behind it");
        outcome
    }

    pub(crate) fn apply_all(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !self.queue.is_empty() {
            outcomes.push(self.apply_one());
        }
        outcomes
    }

    /// Prepares and applies.
    pub(crate) fn write(&mut self, write: &Write) -> Outcome {
        self.prepare(ME, write);
        self.apply_all().pop().expect("one was prepared")
    }
}

pub(crate) fn path(text: &str) -> Text {
    Text::from(text)
}

pub(crate) fn open_acl() -> Vec<Acl> {
    vec![Acl::world(tree::acl::ALL)]
}

/// The same, and nobody in particular 4,095 times: as long as a list may be.
pub(crate) fn long_acl() -> Vec<Acl> {
    let nobody = |at: usize| Acl {
        perms: tree::acl::READ,
        scheme: Text::from_static("ip"),
        id: Text::from(format!("10.1.{}.{}", at / 256, at % 256)),
    };
    open_acl().into_iter().chain((1..4096).map(nobody)).collect()
}

pub(crate) fn create(at: &str, flags: i32) -> Write {
    Write::Create {
        path: path(at),
        data: Some("x".into()),
        acl: open_acl(),
        flags,
        request: CreateRequest::Create,
    }
}

pub(crate) fn create_with(at: &str, acl: Vec<Acl>) -> Write {
    Write::Create { path: path(at), data: None, acl, flags: 0, request: CreateRequest::Create }
}

pub(crate) fn delete(at: &str, version: i32) -> Write {
    Write::Delete { path: path(at), version }
}

pub(crate) fn set(at: &str, version: i32) -> Write {
    Write::SetData { path: path(at), data: Some("y".into()), version }
}

pub(crate) fn set_acl(at: &str, acl: Vec<Acl>, version: i32) -> Write {
    Write::SetAcl { path: path(at), acl, version }
}

pub(crate) fn check(at: &str, version: i32) -> Write {
    Write::Check { path: path(at), version }
}

/// Somebody with a password.
pub(crate) fn user(name: &str) -> Identity {
    let credential =
        Credential { scheme: path("digest"), bytes: format!("{name}:secret").into(), sealed: false };
    let proved = Tree::authenticate(&Settings::default(), &[], &credential);
    proved.expect("digest proves itself").remove(0)
}

/// A list for one user.
pub(crate) fn only(identity: &Identity, perms: i32) -> Vec<Acl> {
    vec![Acl { perms, scheme: identity.scheme.clone(), id: identity.id.clone() }]
}
