//! A client: what it has asked and been told, and what it makes of that.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use protocol::peer::ClientRequest;
use spec::{ErrorCode, SessionId, Zxid, rule::Verdict};
use tree::{Acl, CreateRequest, Event, EventKind, Read, Text, Write, acl::ALL};
use world::{Fault, Said};

use crate::{
    coverage::Coverage,
    node::Subject,
    plan::Act,
    record::{Order, Watch, holds},
    time::Time,
};

/// The node that all others are below.
const ROOT: &str = "/n";
const PERSISTENT: i32 = 0;
const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// How often who may go without writing tries to go on with a session before it does.
const TURNED_AWAY_MAX: u32 = 3;

/// The numbers of requests that are not the caller's, as ZooKeeper's clients have them.
const PING_XID: i32 = -2;
const WATCHES_XID: i32 = -8;

/// What is under way to a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Letter {
    /// The offer to go on with a session, or the wish for a new one.
    Connect {
        /// The session; 0 for a new one.
        session: SessionId,
        /// Its password.
        password: [u8; 16],
        /// The latest state that the client was shown.
        seen: Zxid,
        /// The timeout that it asks for, in milliseconds.
        timeout_ms: i32,
        /// Whether the client goes without writing where there is no leader.
        read_only: bool,
    },
    /// A request with the client's number.
    Request(i32, ClientRequest<Subject>),
}

/// A request without an answer.
#[derive(Clone, Debug)]
struct Asked {
    xid: i32,
    what: What,
    /// The last write that anybody was told of when it was sent.
    known: Zxid,
    at: Time,
}

#[derive(Clone, Debug)]
enum What {
    Write,
    Read(Read),
    Sync,
    Close,
    Ping,
    Watches,
}

/// A watch that was left.
#[derive(Clone, Copy, Debug)]
struct Left {
    since: Zxid,
    /// Whether its node was there.
    existed: bool,
}

/// The connection that a client uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) connection: u64,
    pub(crate) server: usize,
    /// When it was made.
    pub(crate) since: Time,
    /// Whether the session is granted.
    pub(crate) open: bool,
    /// Whether the watches of an earlier connection are being left anew.
    resuming: bool,
    /// Whether the server has said that it only reads.
    pub(crate) read_only: bool,
}

/// What a client does when it has heard something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Then {
    Stay,
    /// The connection is over.
    Leave,
}

/// One client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Whether it goes without writing where there is no leader.
    reads_only: bool,
    session: SessionId,
    password: [u8; 16],
    /// Whether its session is known to one server alone, which had no leader.
    local: bool,
    /// How often it was hung up on without a word, as one that has a session of the ensemble.
    turned_away: u32,
    pub(crate) home: Option<Home>,
    asked: VecDeque<Asked>,
    xid: i32,
    /// The latest state that it was shown.
    seen: Zxid,
    /// The place of its last write that it knows of.
    wrote: Zxid,
    watches: BTreeMap<Watch, Left>,
    /// What it is to do once it has a session.
    pub(crate) wishes: VecDeque<Act>,
    /// When it spoke last.
    pub(crate) spoke: Time,
    /// Until when it is dead or says nothing.
    pub(crate) quiet_until: Time,
    /// A probe connects to this server alone, and creates one node there.
    pub(crate) probes: Option<usize>,
    pub(crate) probed: bool,
}

impl Client {
    /// A client that goes without writing where there is no leader, or not.
    pub(crate) fn new(reads_only: bool) -> Self {
        Self { reads_only, ..Self::default() }
    }

    /// A client that shows that this server can be written through.
    pub(crate) fn probe(server: usize) -> Self {
        Self { probes: Some(server), ..Self::default() }
    }

    /// What it says first on a new connection.
    pub(crate) fn connect(&mut self, connection: u64, server: usize, timeout_ms: i32, now: Time) -> Letter {
        assert!(self.home.is_none() && self.asked.is_empty(), "it has left the one before");
        let (open, resuming, read_only) = (false, false, false);
        self.home = Some(Home { connection, server, since: now, open, resuming, read_only });
        self.spoke = now;
        let Self { session, password, seen, reads_only, .. } = *self;
        Letter::Connect { session, password, seen, timeout_ms, read_only: reads_only }
    }

    /// Its connection is gone.
    pub(crate) fn lose(&mut self) {
        self.home = None;
        self.asked.clear();
    }

    /// Since when it has waited for its oldest answer.
    pub(crate) fn waits_since(&self) -> Option<Time> {
        self.asked.front().map(|asked| asked.at)
    }

    /// How many of its requests are not answered.
    pub(crate) fn outstanding(&self) -> usize {
        self.asked.len()
    }

    /// Whether it has asked for the end of its session.
    pub(crate) fn is_closing(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked.what, What::Close))
    }

    /// Its writes that are not answered.
    pub(crate) fn unanswered_writes(&self) -> Vec<(SessionId, i32)> {
        let writes = self.asked.iter().filter(|asked| matches!(asked.what, What::Write));
        writes.map(|asked| (self.session, asked.xid)).collect()
    }

    /// Another life: it has no session any more.
    fn begin_anew(&mut self) {
        self.lose();
        self.forget_session();
        (self.seen, self.wrote) = (Zxid::ZERO, Zxid::ZERO);
        self.watches.clear();
    }

    fn forget_session(&mut self) {
        (self.session, self.password, self.local) = (SessionId(0), [0; 16], false);
    }

    pub(crate) fn ping(&mut self, now: Time) -> Letter {
        self.ask(PING_XID, ClientRequest::Ping, What::Ping, Zxid::ZERO, now)
    }

    /// The request for something that is done by asking.
    pub(crate) fn request(&mut self, act: Act, number: usize, known: Zxid, now: Time) -> Option<Letter> {
        let data = || Some(Bytes::from(format!("{number}.{}", self.xid + 1)));
        let create = |path: String, flags| create(Text::from(&*path), data(), flags);
        let set = |node: u8| Write::SetData { path: Text::from(&*path(node)), data: data(), version: -1 };
        let request: ClientRequest<Subject> = match act {
            Act::Set { node } => ClientRequest::Write(set(node)),
            Act::Create { node } => ClientRequest::Write(create(path(node), PERSISTENT)),
            Act::Delete { node } => {
                ClientRequest::Write(Write::Delete { path: Text::from(&*path(node)), version: -1 })
            }
            Act::Lock { node } => ClientRequest::Write(create(format!("{ROOT}/lock{node}"), EPHEMERAL)),
            Act::Enqueue => ClientRequest::Write(create(format!("{ROOT}/e-"), EPHEMERAL | SEQUENTIAL)),
            Act::Multi { node, other } => ClientRequest::Write(Write::Multi(vec![
                set(node),
                create(format!("{ROOT}/s-"), SEQUENTIAL),
                create(path(other), PERSISTENT),
            ])),
            Act::Get { node, watch } => {
                ClientRequest::Read(Read::GetData { path: Text::from(&*path(node)), watch })
            }
            Act::Exists { node, watch } => {
                ClientRequest::Read(Read::Exists { path: Text::from(&*path(node)), watch })
            }
            Act::List { watch } => {
                ClientRequest::Read(Read::GetChildren { path: Text::from_static(ROOT), watch })
            }
            Act::Sync => ClientRequest::Sync(ROOT.as_bytes().to_vec()),
            Act::Close => ClientRequest::Close,
            Act::Move | Act::Die { .. } | Act::Idle { .. } => return None,
        };
        let what = match &request {
            ClientRequest::Write(_) => What::Write,
            ClientRequest::Read(read) => What::Read(read.clone()),
            ClientRequest::Close => What::Close,
            ClientRequest::Sync(_)
            | ClientRequest::Ping
            | ClientRequest::Authenticate(_)
            | ClientRequest::Exchange { .. }
            | ClientRequest::Refused { .. } => What::Sync,
        };
        Some(self.ask_next(request, what, known, now))
    }

    /// The node that all others are below.
    pub(crate) fn create_root(&mut self, known: Zxid, now: Time) -> Letter {
        let path = Text::from_static(ROOT);
        let write = create(path, None, PERSISTENT);
        self.ask_next(ClientRequest::Write(write), What::Write, known, now)
    }

    /// What a probe writes.
    pub(crate) fn probe_write(&mut self, server: usize, known: Zxid, now: Time) -> Letter {
        let path = Text::from(&*format!("/probe{server}-{}", self.xid + 1));
        let write = create(path, None, PERSISTENT);
        self.ask_next(ClientRequest::Write(write), What::Write, known, now)
    }

    fn ask_next(&mut self, request: ClientRequest<Subject>, what: What, known: Zxid, now: Time) -> Letter {
        self.xid += 1;
        self.ask(self.xid, request, what, known, now)
    }

    fn ask(
        &mut self,
        xid: i32,
        request: ClientRequest<Subject>,
        what: What,
        known: Zxid,
        now: Time,
    ) -> Letter {
        self.asked.push_back(Asked { xid, what, known, at: now });
        self.spoke = now;
        Letter::Request(xid, request)
    }

    /// It is told something on the connection that it uses; what it says at once is put into `says`.
    ///
    /// # Errors
    /// The rule that is broken.
    pub(crate) fn hear(
        &mut self,
        said: &Said<Event>,
        order: &mut Order,
        coverage: &mut Coverage,
        now: Time,
        says: &mut Vec<Letter>,
    ) -> Result<Then, Fault> {
        match said {
            Said::Accepted { session, password, read_only } => {
                self.admitted(*read_only, order, coverage)?;
                self.hear_accepted(*session, *password, coverage, now, says)?;
                Ok(Then::Stay)
            }
            // Nobody else knows it. The client is the same, and so is what it has seen.
            Said::Refused if self.local => {
                self.lose();
                self.forget_session();
                Ok(Then::Leave)
            }
            Said::Refused => {
                order.refused(self.session, coverage)?;
                coverage.met("refused");
                self.begin_anew();
                Ok(Then::Leave)
            }
            Said::Closed => {
                let home = self.home.expect("it listens where it is");
                if home.read_only {
                    coverage.met("read-only-ended");
                }
                self.lose();
                if self.reads_only && !home.open && self.session != SessionId(0) && !self.local {
                    self.turned_away += 1;
                    if self.turned_away.is_multiple_of(TURNED_AWAY_MAX) {
                        // Somebody else takes its place, who would rather read than wait.
                        self.begin_anew();
                    }
                }
                Ok(Then::Leave)
            }
            Said::Event { zxid, event } => {
                self.hear_event(*zxid, event, order, coverage)?;
                Ok(Then::Stay)
            }
            Said::Reply { xid, zxid, answer } => self.hear_reply(*xid, *zxid, answer, order, coverage),
        }
    }

    /// A server lets it in, without a leader or with one (rule C-19).
    fn admitted(&mut self, read_only: bool, order: &Order, coverage: &mut Coverage) -> Result<(), Fault> {
        let may = self.session == SessionId(0) || self.local == read_only;
        let fits = may && (self.reads_only || !read_only);
        holds("C-19", Verdict::of(self.reads_only || read_only, || fits), coverage, || {
            format!("{self:?} is let in, read-only: {read_only}")
        })?;
        if read_only {
            coverage.met("read-only-opened");
        } else if self.reads_only && self.seen != Zxid::ZERO && !order.is_committed(self.seen) {
            coverage.met("let-in-behind-a-cut");
        }
        self.local = read_only;
        if let Some(home) = &mut self.home {
            home.read_only = read_only;
        }
        Ok(())
    }

    /// It is answered by a server without a leader: the place is judged where it is told.
    fn hear_without_a_leader(
        &mut self,
        asked: &Asked,
        zxid: Zxid,
        answer: &str,
        coverage: &mut Coverage,
    ) -> Result<Then, Fault> {
        Order::shown_behind(self.seen, zxid, coverage)?;
        self.seen = zxid;
        match asked.what {
            What::Write | What::Sync => {
                coverage.met("write-declined");
                let is_declined = answer == format!("{:?}", ErrorCode::NotReadOnly);
                holds("C-19", Verdict::of(true, || is_declined), coverage, || {
                    format!("{asked:?} is answered {answer:?} without a leader")
                })?;
            }
            What::Close => {
                self.begin_anew();
                return Ok(Then::Leave);
            }
            What::Read(_) | What::Ping | What::Watches => {}
        }
        Ok(Then::Stay)
    }

    fn hear_accepted(
        &mut self,
        session: SessionId,
        password: [u8; 16],
        coverage: &mut Coverage,
        now: Time,
        says: &mut Vec<Letter>,
    ) -> Result<(), Fault> {
        if self.session == SessionId(0) {
            (self.session, self.password) = (session, password);
        } else if (self.session, self.password) == (session, password) {
            coverage.met("moved");
        } else {
            let why = format!("a client that has session {} is given {session}", self.session);
            return Err(Fault { rule: "C-4".to_owned(), why });
        }
        let resuming = !self.watches.is_empty();
        let home = self.home.as_mut().expect("it listens where it is");
        (home.open, home.resuming) = (true, resuming);
        if resuming {
            let (mut data, mut exist, mut child) = (Vec::new(), Vec::new(), Vec::new());
            for (watch, left) in &self.watches {
                match watch {
                    Watch::Data(path) if left.existed => data.push(Text::from(&**path)),
                    Watch::Data(path) => exist.push(Text::from(&**path)),
                    Watch::Children(path) => child.push(Text::from(&**path)),
                }
            }
            let read = Read::SetWatches {
                relative: self.seen,
                data,
                exist,
                child,
                persistent: Vec::new(),
                recursive: Vec::new(),
            };
            let request = ClientRequest::Read(read);
            says.push(self.ask(WATCHES_XID, request, What::Watches, Zxid::ZERO, now));
        }
        Ok(())
    }

    /// Whatever names a place shows the state there; no watch that has not fired has missed something through
    /// `through`.
    fn show(
        &mut self,
        zxid: Zxid,
        through: Zxid,
        order: &Order,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        order.shown(self.seen, zxid, coverage)?;
        self.seen = self.seen.max(zxid);
        for (watch, left) in &self.watches {
            order.missed(watch, left.since, through, coverage)?;
        }
        Ok(())
    }

    fn hear_event(
        &mut self,
        zxid: Zxid,
        event: &Event,
        order: &Order,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let path = event.path.as_str().to_owned();
        let watch = match event.kind {
            EventKind::NodeDataChanged | EventKind::NodeCreated | EventKind::NodeDeleted => Watch::Data(path),
            EventKind::NodeChildrenChanged => Watch::Children(path),
        };
        let Some(left) = self.watches.remove(&watch) else {
            let why = format!("a client is told of {event:?} at {zxid}, and has left no watch");
            return Err(Fault { rule: "S-10".to_owned(), why });
        };
        let late = self.home.is_some_and(|home| home.resuming);
        coverage.met(if late { "event-after-return" } else { "event" });
        order.fired(&watch, left.since, zxid, late, coverage)?;
        // Another watch may fire for the same transaction, next; and all that are late before anything is shown.
        let through = if late { Zxid::ZERO } else { before(zxid) };
        self.show(zxid, through, order, coverage)
    }

    fn hear_reply(
        &mut self,
        xid: i32,
        zxid: Zxid,
        answer: &str,
        order: &mut Order,
        coverage: &mut Coverage,
    ) -> Result<Then, Fault> {
        let Some(asked) = self.asked.pop_front().filter(|asked| asked.xid == xid) else {
            let why = format!("a client is given an answer to {xid} out of turn");
            return Err(Fault { rule: "C-8".to_owned(), why });
        };
        if self.home.is_some_and(|home| home.read_only) {
            return self.hear_without_a_leader(&asked, zxid, answer, coverage);
        }
        if matches!(asked.what, What::Watches) {
            self.watches_are_back(zxid, order);
        }
        self.show(zxid, zxid, order, coverage)?;
        match asked.what {
            What::Write => {
                order.answered(self.session, xid, zxid, asked.known, answer, coverage)?;
                self.wrote = self.wrote.max(zxid);
                self.probed |= self.probes.is_some();
            }
            What::Close => {
                order.answered(self.session, xid, zxid, asked.known, answer, coverage)?;
                self.begin_anew();
                return Ok(Then::Leave);
            }
            What::Read(read) => {
                order.read(&read, zxid, self.wrote, answer, coverage)?;
                self.leave_watch(&read, zxid, order);
            }
            What::Sync => {
                coverage.met("sync-answered");
                Order::synced(asked.known, zxid, coverage)?;
            }
            What::Ping | What::Watches => {}
        }
        Ok(Then::Stay)
    }

    /// A read that is answered has left the watch that it asked for.
    fn leave_watch(&mut self, read: &Read, zxid: Zxid, order: &Order) {
        let (watch, path, always) = match read {
            Read::GetData { path, watch: true } => (Watch::Data(path.as_str().to_owned()), path, false),
            Read::Exists { path, watch: true } => (Watch::Data(path.as_str().to_owned()), path, true),
            Read::GetChildren { path, watch: true } => {
                (Watch::Children(path.as_str().to_owned()), path, false)
            }
            Read::GetData { .. }
            | Read::Exists { .. }
            | Read::GetChildren { .. }
            | Read::GetChildren2 { .. }
            | Read::GetAcl { .. }
            | Read::GetEphemerals { .. }
            | Read::GetAllChildrenNumber { .. }
            | Read::WhoAmI
            | Read::Multi(_)
            | Read::AddWatch { .. }
            | Read::CheckWatches { .. }
            | Read::RemoveWatches { .. }
            | Read::SetWatches { .. } => return,
        };
        let existed = order.has(path.as_str(), zxid);
        if existed || always {
            self.watches.insert(watch, Left { since: zxid, existed });
        }
    }

    /// The watches that have not fired are left anew, at this place. One for a node that was not there does not tell
    /// of a node that came and went meanwhile (rule T-15).
    fn watches_are_back(&mut self, zxid: Zxid, order: &Order) {
        for (watch, left) in &mut self.watches {
            if let (Watch::Data(path), false) = (watch, left.existed)
                && !order.has(path, zxid)
            {
                left.since = zxid;
            }
        }
        if let Some(home) = &mut self.home {
            home.resuming = false;
        }
    }

    /// Whether its connection is with a session that it has.
    pub(crate) fn is_open(&self) -> bool {
        self.home.is_some_and(|home| home.open)
    }

    /// The session that it speaks for; 0 for none.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }
}

/// Creates a node, whoever may do what with it.
fn create(path: Text, data: Option<Bytes>, flags: i32) -> Write {
    Write::Create { path, data, acl: anyone(), flags, request: CreateRequest::Create }
}

fn anyone() -> Vec<Acl> {
    vec![Acl::world(ALL)]
}

fn path(node: u8) -> String {
    format!("{ROOT}/{node}")
}

/// The place before this one, in its epoch.
fn before(zxid: Zxid) -> Zxid {
    Zxid::new(zxid.epoch(), zxid.counter().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use spec::Zxid;

    use super::before;

    #[test]
    fn the_place_before_is_of_the_same_epoch() {
        let second = Zxid::new(spec::Epoch(3), 2);
        assert_eq!(before(second), Zxid::new(spec::Epoch(3), 1));
        assert_eq!(before(before(before(second))), Zxid::new(spec::Epoch(3), 0));
    }
}
