//! The audit log: who asked for which change, and what came of it (`audit.enable`).
//!
//! A line says it in ZooKeeper's words, `key=value` with tabs in between, on the target `audit` of the server's log, or
//! in a file of its own (`zabkeeper.auditFile`). The server that a client is connected to tells of what it asks, when it is answered. A client that hangs up is answered
//! nothing, but what it asked for may still be done: that is told when its transaction, which has its session and its
//! number of the request, is applied here. The ephemerals that go with a session are told by every server, as they go
//! everywhere.
//!
//! Anybody chooses names and paths, of any length, and one request may take thousands of lines: values are cut, and each
//! line is made when it is written.
//!
//! Source: ZooKeeper `AuditHelper`, `AuditEvent`, `ZKAuditProvider`.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    net::IpAddr,
    rc::Rc,
};

use protocol::peer::{Answer, ClientRequest};
use spec::{ErrorCode, SessionId, Zxid};
use tree::{Acl, Identity, Outcome, Settings, Text, Tree, Txn, TxnBody, Write};
use wire::client::opcode;

use crate::{
    excerpt::{REST, put_escaped},
    logging::TARGET,
    net::java_ip,
};

/// Requests of clients that have hung up that are remembered at most.
const LEFT_MAX: usize = 4096;
/// The bytes that they take at most: one of them may have as many paths as fit in a request.
const LEFT_BYTES_MAX: usize = 16 << 20;
/// The bytes that a path, or an access control list, may have in a line.
const VALUE_BYTES_MAX: usize = 4096;
/// The bytes that the name of a user may have.
const NAME_BYTES_MAX: usize = 256;
/// Those of all names of a connection.
const USERS_BYTES_MAX: usize = 1024;

const CREATE: &str = "create";
const DELETE: &str = "delete";
const SET_DATA: &str = "setData";
const SET_ACL: &str = "setAcl";
const MULTI: &str = "multiOperation";
const RECONFIG: &str = "reconfig";
const EPHEMERAL: &str = "ephemeralZNodeDeletionOnSessionCloseOrExpire";

/// A line of the audit log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    text: String,
    failed: bool,
}

impl Line {
    /// A line that begins so, with these pairs, without those that have no value, and the result.
    fn new(front: &str, pairs: &[(&str, Option<&str>)], result: &str) -> Self {
        let mut text = front.to_owned();
        for (key, value) in pairs {
            if let Some(value) = value {
                put_pair(&mut text, key, value);
            }
        }
        let _ = write!(text, "result={result}");
        Self { text, failed: result == "failure" }
    }

    fn log(&self) {
        if self.failed {
            tracing::error!(target: TARGET, "{}", self.text);
        } else {
            tracing::info!(target: TARGET, "{}", self.text);
        }
    }
}

/// Puts a pair behind a line. What a client chooses must not pass for another pair, or another line.
fn put_pair(line: &mut String, key: &str, value: &str) {
    let _ = write!(line, "{key}=");
    put_escaped(line, value, VALUE_BYTES_MAX);
    line.push('\t');
}

/// Tells that the server has started, or could not.
pub fn started(succeeded: bool) {
    let result = if succeeded { "success" } else { "failure" };
    Line::new("", &[("user", Some(&operator())), ("operation", Some("serverStart"))], result).log();
}

/// Tells that the server is about to stop.
pub(crate) fn stops() {
    Line::new("", &[("user", Some(&operator())), ("operation", Some("serverStop"))], "invoked").log();
}

/// The user that the server runs as, or its number.
fn operator() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

/// What a request does that is worth a line.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Deed {
    Create {
        path: Text,
        kind: Option<&'static str>,
    },
    Delete(Text),
    SetData(Text),
    SetAcl {
        path: Text,
        acl: String,
    },
    /// The parts of a multi; none for one that only checks.
    Multi(Vec<Option<Deed>>),
    Reconfig,
    /// It was meant to be this, and cannot be read.
    Unread(&'static str),
}

impl Deed {
    fn of(request: &ClientRequest<Tree>, operation: i32) -> Option<Self> {
        match request {
            ClientRequest::Write(write) => Self::of_write(write),
            ClientRequest::Refused { code: ErrorCode::ReconfigDisabled, .. }
                if operation == opcode::RECONFIG =>
            {
                Some(Self::Reconfig)
            }
            ClientRequest::Refused { code: ErrorCode::MarshallingError, .. } => {
                meant(operation).map(Self::Unread)
            }
            ClientRequest::Refused { .. }
            | ClientRequest::Ping
            | ClientRequest::Authenticate(_)
            | ClientRequest::Read(_)
            | ClientRequest::Sync(_)
            | ClientRequest::Close
            | ClientRequest::Exchange { .. } => None,
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::Create { .. } => CREATE,
            Self::Delete(_) => DELETE,
            Self::SetData(_) => SET_DATA,
            Self::SetAcl { .. } => SET_ACL,
            Self::Multi(_) => MULTI,
            Self::Reconfig => RECONFIG,
            Self::Unread(operation) => operation,
        }
    }

    /// Whether the request was refused before it could be one.
    fn is_none_at_all(&self) -> bool {
        match self {
            Self::Reconfig | Self::Unread(_) => true,
            Self::Create { .. }
            | Self::Delete(_)
            | Self::SetData(_)
            | Self::SetAcl { .. }
            | Self::Multi(_) => false,
        }
    }

    fn path(&self) -> Option<&Text> {
        match self {
            Self::Create { path, .. }
            | Self::Delete(path)
            | Self::SetData(path)
            | Self::SetAcl { path, .. } => Some(path),
            Self::Multi(_) | Self::Reconfig | Self::Unread(_) => None,
        }
    }

    /// The bytes that it takes, without what the allocator adds.
    fn bytes(&self) -> usize {
        match self {
            Self::Create { path, .. } | Self::Delete(path) | Self::SetData(path) => path.len(),
            Self::SetAcl { path, acl } => path.len() + acl.len(),
            Self::Multi(parts) => {
                size_of_val(&parts[..]) + parts.iter().flatten().map(Self::bytes).sum::<usize>()
            }
            Self::Reconfig | Self::Unread(_) => 0,
        }
    }

    fn of_write(write: &Write) -> Option<Self> {
        Some(match write {
            Write::Create { path, flags, .. } => Self::Create { path: kept(path), kind: kind(*flags) },
            Write::Delete { path, .. } => Self::Delete(kept(path)),
            Write::SetData { path, .. } => Self::SetData(kept(path)),
            Write::SetAcl { path, acl, .. } => Self::SetAcl { path: kept(path), acl: list(acl) },
            Write::Multi(parts) => Self::Multi(parts.iter().map(Self::of_write).collect()),
            Write::Check { .. } | Write::Sweep { .. } => return None,
        })
    }
}

/// So much of a text that a line has no more of it, and shows that there is more.
fn beginning(text: &Text) -> Text {
    text.slice(0..text.as_str().ceil_char_boundary(VALUE_BYTES_MAX + 1))
}

/// The same of a path, to be kept: no receive buffer stays alive for it.
fn kept(path: &Text) -> Text {
    beginning(path).detached()
}

/// What a request with this number was to do.
fn meant(operation: i32) -> Option<&'static str> {
    Some(match operation {
        opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => CREATE,
        opcode::DELETE => DELETE,
        opcode::SET_DATA => SET_DATA,
        opcode::SET_ACL => SET_ACL,
        opcode::MULTI => MULTI,
        _ => return None,
    })
}

/// The kind of a node that is created so.
///
/// Source: ZooKeeper `CreateMode`.
fn kind(flags: i32) -> Option<&'static str> {
    Some(match flags {
        0 => "persistent",
        1 => "ephemeral",
        2 => "persistent_sequential",
        3 => "ephemeral_sequential",
        4 => "container",
        5 => "persistent_with_ttl",
        6 => "persistent_sequential_with_ttl",
        _ => return None,
    })
}

/// An access control list, as ZooKeeper says it: nothing stands between its entries. Behind what a line has of it there
/// is one more at most.
///
/// Source: ZooKeeper `ZKUtil.aclToString`.
fn list(acl: &[Acl]) -> String {
    let mut text = String::new();
    for Acl { perms, scheme, id } in acl {
        if text.len() > VALUE_BYTES_MAX {
            break;
        }
        let (scheme, id) = (beginning(scheme), beginning(id));
        let _ = write!(text, "{scheme}:{id}:");
        let bits = [
            (tree::acl::CREATE, 'c'),
            (tree::acl::DELETE, 'd'),
            (tree::acl::READ, 'r'),
            (tree::acl::WRITE, 'w'),
            (tree::acl::ADMIN, 'a'),
        ];
        text.extend(bits.iter().filter(|(bit, _)| perms & bit != 0).map(|(_, letter)| *letter));
    }
    text
}

/// What has become of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Fate {
    Failed,
    /// It is done; the node, if one was created.
    Done(Option<Text>),
    /// All of a multi's parts are; the nodes, where any were created.
    All(Vec<Option<Text>>),
}

impl Fate {
    /// What a client is told of its write; nothing where the request was none yet: it was turned away before.
    fn of_answer(answer: &Answer<'_, Tree>) -> Option<Self> {
        match answer {
            Answer::Outcome(outcome) => Some(Self::of_outcome(outcome)),
            Answer::Error(
                ErrorCode::NotReadOnly | ErrorCode::Throttled | ErrorCode::SessionClosedRequireAuth,
            )
            | Answer::Read(_)
            | Answer::Sync(_)
            | Answer::Exchange(_)
            | Answer::Empty => None,
            Answer::Error(_) => Some(Self::Failed),
        }
    }

    fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Create { path } | Outcome::Create2 { path, .. } => Self::Done(Some(path.clone())),
            Outcome::Delete
            | Outcome::SetData(_)
            | Outcome::SetAcl(_)
            | Outcome::Check
            | Outcome::CreateSession { .. }
            | Outcome::CloseSession => Self::Done(None),
            Outcome::Multi(parts) => Self::of_parts(parts.iter().map(Self::of_outcome)),
            Outcome::Error { .. } => Self::Failed,
        }
    }

    fn of_txn(body: &TxnBody) -> Self {
        match body {
            TxnBody::Create(create) => Self::Done(Some(create.path.clone())),
            TxnBody::Delete { .. }
            | TxnBody::SetData { .. }
            | TxnBody::SetAcl { .. }
            | TxnBody::Check { .. }
            | TxnBody::CreateSession { .. }
            | TxnBody::CloseSession { .. } => Self::Done(None),
            TxnBody::Multi(parts) => Self::of_parts(parts.iter().map(Self::of_txn)),
            TxnBody::Error { .. } => Self::Failed,
        }
    }

    /// That of a multi: all or none. There is no multi in a multi.
    fn of_parts(parts: impl Iterator<Item = Self>) -> Self {
        let made = parts.map(|part| match part {
            Self::Done(made) => Some(made),
            Self::Failed | Self::All(_) => None,
        });
        made.collect::<Option<_>>().map_or(Self::Failed, Self::All)
    }
}

/// Who a connection is.
#[derive(Debug)]
pub(crate) struct Who {
    address: IpAddr,
    identities: Vec<Identity>,
    /// As a line has them.
    users: Rc<str>,
}

impl Who {
    pub(crate) fn new(address: IpAddr, identities: &[Identity]) -> Self {
        let mut who = Self { address, identities: Vec::new(), users: Rc::from("") };
        who.proves(identities.to_vec());
        who
    }

    /// These are proved too.
    pub(crate) fn proves(&mut self, identities: Vec<Identity>) {
        for identity in identities {
            if !self.identities.contains(&identity) {
                self.identities.push(identity);
            }
        }
        self.users = users(&self.identities).into();
    }

    /// Something is asked on this connection. It is returned if it is worth a line.
    pub(crate) fn hears(
        &mut self,
        settings: &Settings,
        request: &ClientRequest<Tree>,
        operation: i32,
    ) -> Option<Box<Asked>> {
        match request {
            ClientRequest::Authenticate(credential) => {
                self.proves(
                    tree::auth::authenticate(settings, &self.identities, credential).unwrap_or_default(),
                );
            }
            ClientRequest::Exchange { proves, .. } => self.proves(proves.clone()),
            ClientRequest::Write(_)
            | ClientRequest::Refused { .. }
            | ClientRequest::Ping
            | ClientRequest::Read(_)
            | ClientRequest::Sync(_)
            | ClientRequest::Close => {}
        }
        let deed = Deed::of(request, operation)?;
        Some(Box::new(Asked { address: self.address, users: Rc::clone(&self.users), deed }))
    }
}

/// The names of users as a line has them: of `digest`, what stands before the hash. A super user has proved another name
/// too.
///
/// Source: ZooKeeper `AuthUtil.getUsers`.
fn users(identities: &[Identity]) -> String {
    let (mut names, mut bytes, mut all) = (Vec::new(), 0, true);
    // Anybody proves any number of names by digest: they get the room that is left by those that cannot be chosen.
    for by_digest in [false, true] {
        for (place, identity) in identities.iter().enumerate() {
            let id = identity.id.as_str();
            let name = if by_digest { id.split(':').next().unwrap_or(id) } else { id };
            let other = (identity.scheme == "digest") != by_digest;
            if other || identity.scheme == "super" || name.trim().is_empty() {
                continue;
            }
            let mut escaped = String::new();
            put_escaped(&mut escaped, name, NAME_BYTES_MAX);
            bytes += escaped.len() + 1;
            if bytes > USERS_BYTES_MAX {
                all = false;
                break;
            }
            names.push((place, escaped));
        }
    }
    names.sort_unstable();
    let rest = (!all).then(|| REST.to_string());
    names.into_iter().map(|(_, name)| name).chain(rest).collect::<Vec<_>>().join(",")
}

/// A request under way that is worth a line.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    address: IpAddr,
    users: Rc<str>,
    deed: Deed,
}

impl Asked {
    /// Tells what a client is answered.
    pub(crate) fn answered(&self, session: SessionId, answer: &Answer<'_, Tree>) {
        if let Some(fate) = Fate::of_answer(answer) {
            self.tell(session, &fate, &mut |line| line.log());
        }
    }

    /// The bytes that it takes, without what the allocator adds.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.users.len() + self.deed.bytes()
    }

    /// With what each of its lines begins.
    fn front(&self, session: SessionId) -> String {
        let mut front = format!("session={session}\t");
        if !self.users.is_empty() {
            let _ = write!(front, "user={}\t", self.users);
        }
        let _ = write!(front, "ip={}\t", java_ip(self.address));
        front
    }

    /// That it was asked, by somebody who did not wait for what became of it.
    fn invoked(&self, session: SessionId) -> Line {
        let path = self.deed.path().map(Text::as_str);
        let pairs = [("operation", Some(self.deed.operation())), ("znode", path)];
        Line::new(&self.front(session), &pairs, "invoked")
    }

    /// Tells what became of it, line by line.
    fn tell(&self, session: SessionId, fate: &Fate, out: &mut impl FnMut(Line)) {
        let front = self.front(session);
        let line = |operation, path: Option<&Text>, kind, acl: Option<&str>, failed| {
            let pairs = [
                ("operation", Some(operation)),
                ("znode", path.map(Text::as_str)),
                ("znode_type", kind),
                ("acl", acl),
            ];
            Line::new(&front, &pairs, if failed { "failure" } else { "success" })
        };
        let failed = *fate == Fate::Failed;
        let made = if let Fate::Done(made) = fate { made.as_ref() } else { None };
        match &self.deed {
            Deed::Create { path, kind } => out(line(CREATE, made.or(Some(path)), *kind, None, failed)),
            Deed::Delete(path) => out(line(DELETE, Some(path), None, None, failed)),
            Deed::SetData(path) => out(line(SET_DATA, Some(path), None, None, failed)),
            Deed::SetAcl { path, acl } => out(line(SET_ACL, Some(path), None, Some(acl), failed)),
            Deed::Reconfig => out(line(RECONFIG, None, None, None, failed)),
            Deed::Unread(operation) => out(line(operation, None, None, None, failed)),
            Deed::Multi(parts) => {
                let Fate::All(made) = fate else { return out(line(MULTI, None, None, None, true)) };
                for (part, made) in parts.iter().zip(made) {
                    match part {
                        Some(Deed::Create { path, kind }) => {
                            // As ZooKeeper looks kinds up: by the node's path in the request, which has no number yet.
                            let kind =
                                kind.filter(|kind| !kind.ends_with("sequential") && !kind.ends_with("ttl"));
                            out(line(CREATE, made.as_ref().or(Some(path)), kind, None, false));
                        }
                        Some(Deed::Delete(path)) => out(line(DELETE, Some(path), None, None, false)),
                        Some(Deed::SetData(path)) => out(line(SET_DATA, Some(path), None, None, false)),
                        Some(Deed::SetAcl { .. } | Deed::Multi(_) | Deed::Reconfig | Deed::Unread(_))
                        | None => {}
                    }
                }
            }
        }
    }
}

/// What has to be remembered for lines to come.
#[derive(Debug)]
pub(crate) struct Audit {
    /// As whom the server does things of its own accord.
    operator: String,
    /// What was asked on connections that are no more.
    left: Left,
    /// What is in the log, and not applied.
    logged: VecDeque<Logged>,
}

/// The requests of one session and number, each with its age.
type Alike = VecDeque<(u64, Box<Asked>)>;

/// What was asked on connections that are no more, of which a client may have given the same number to several.
#[derive(Debug, Default)]
struct Left {
    by_request: BTreeMap<(SessionId, i32), Alike>,
    /// In the order in which they came.
    by_age: BTreeMap<u64, (SessionId, i32)>,
    next: u64,
    /// The bytes that all take.
    bytes: usize,
}

impl Left {
    /// One more.
    fn push(&mut self, session: SessionId, xid: i32, asked: Box<Asked>) {
        self.bytes += asked.bytes();
        self.by_request.entry((session, xid)).or_default().push_back((self.next, asked));
        self.by_age.insert(self.next, (session, xid));
        self.next += 1;
    }

    /// The oldest, and whose it is, if there are too many, or they take too much.
    fn take_excess(&mut self) -> Option<(SessionId, Box<Asked>)> {
        if self.by_age.len() <= LEFT_MAX && self.bytes <= LEFT_BYTES_MAX {
            return None;
        }
        let (session, xid) = self.by_age.first_key_value().map(|(_, request)| *request)?;
        Some((session, self.take(session, xid)?))
    }

    /// The oldest with this number.
    fn take(&mut self, session: SessionId, xid: i32) -> Option<Box<Asked>> {
        let queue = self.by_request.get_mut(&(session, xid))?;
        let (age, asked) = queue.pop_front()?;
        if queue.is_empty() {
            self.by_request.remove(&(session, xid));
        }
        self.by_age.remove(&age);
        self.bytes -= asked.bytes();
        Some(asked)
    }

    /// All of a session, in the order of their numbers.
    fn take_all(&mut self, session: SessionId) -> Vec<Asked> {
        let numbers = self.by_request.range((session, i32::MIN)..=(session, i32::MAX));
        let numbers: Vec<_> = numbers.map(|((_, xid), queue)| (*xid, queue.len())).collect();
        let all = numbers.into_iter().flat_map(|(xid, count)| std::iter::repeat_n(xid, count));
        all.filter_map(|xid| self.take(session, xid)).map(|asked| *asked).collect()
    }
}

#[derive(Debug)]
struct Logged {
    zxid: Zxid,
    session: SessionId,
    cxid: i32,
    what: What,
}

#[derive(Debug)]
enum What {
    Request(Fate),
    Close(Vec<Text>),
}

impl Default for Audit {
    fn default() -> Self {
        Self { operator: operator(), left: Left::default(), logged: VecDeque::new() }
    }
}

impl Audit {
    /// A connection is gone on which this was asked.
    pub(crate) fn left(&mut self, session: SessionId, xid: i32, asked: Box<Asked>) {
        if asked.deed.is_none_at_all() {
            // No transaction will come of it, and the next with its number has one.
            return asked.tell(session, &Fate::Failed, &mut |line| line.log());
        }
        self.left.push(session, xid, asked);
        while let Some((session, asked)) = self.left.take_excess() {
            // What becomes of it is not waited for any longer; that it was asked is told all the same.
            asked.invoked(session).log();
        }
    }

    /// A transaction goes to the log.
    pub(crate) fn logged(&mut self, zxid: Zxid, txn: &Txn) {
        let what = if let TxnBody::CloseSession { ephemerals } = &txn.body {
            What::Close(ephemerals.iter().flatten().map(Text::detached).collect())
        } else {
            What::Request(Fate::of_txn(&txn.body))
        };
        self.logged.push_back(Logged { zxid, session: txn.session, cxid: txn.cxid, what });
    }

    /// The log is cut behind this place.
    pub(crate) fn cut(&mut self, last: Zxid) {
        self.logged.retain(|logged| logged.zxid <= last);
    }

    /// Another state takes the place of the log.
    pub(crate) fn replaced(&mut self) {
        self.logged.clear();
    }

    /// Tells what was applied by now.
    pub(crate) fn applied(&mut self, last: Zxid) {
        self.tell(last, &mut |line| line.log());
    }

    fn tell(&mut self, last: Zxid, out: &mut impl FnMut(Line)) {
        while let Some(Logged { session, cxid, what, .. }) =
            self.logged.pop_front_if(|logged| logged.zxid <= last)
        {
            match what {
                What::Request(fate) => {
                    if let Some(asked) = self.left.take(session, cxid) {
                        asked.tell(session, &fate, out);
                    }
                }
                What::Close(ephemerals) => {
                    // It asks for nothing more.
                    // What has come to nothing was asked.
                    self.left.take_all(session).iter().for_each(|asked| out(asked.invoked(session)));
                    let mut front = format!("session={session}\t");
                    put_pair(&mut front, "user", &self.operator);
                    for path in &ephemerals {
                        let pairs = [("operation", Some(EPHEMERAL)), ("znode", Some(path.as_str()))];
                        out(Line::new(&front, &pairs, "success"));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
