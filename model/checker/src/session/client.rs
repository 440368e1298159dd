//! A client: what it has asked and been told, its connection, and the one that it has left behind.
//!
//! A client reads what it is told at once. One that reads later differs in nothing but that it acts later, for what a
//! server puts on a connection does not depend on when it is read.

mod sketch;

use std::collections::{BTreeMap, VecDeque};

use protocol::peer::ClientRequest;
use serde::{Deserialize, Serialize, Serializer};
use spec::{
    ClientId, ErrorCode, ServerId, SessionId, Zxid,
    rule::Verdict,
    session::{Attempt, only_who_proved_may_ask, session_sees_forward, sync_shows_acknowledged},
};
use tree::{Event, EventKind, Read, Tree, Write};
use world::Said;

use super::{
    record::Question,
    rules::{Judged, broken, holds},
    script::{Deed, NODE, TOKEN},
};
use crate::engine::Broken;

pub(super) use self::sketch::letter;

/// The number of a setWatches, as ZooKeeper's clients have it.
const WATCHES_XID: i32 = -8;

/// Connections of one client differ in so many numbers.
const CONNECTIONS_MAX: u64 = 16;

/// What a watch waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Watch {
    /// The node's data.
    Data,
    /// The node's children.
    Children,
}

/// What is under way to a server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Letter {
    /// The offer to go on with a session, or the wish for a new one.
    Connect {
        /// 0 asks for a new one.
        session: SessionId,
        /// Its password.
        password: [u8; 16],
        /// What the client has seen.
        seen: Zxid,
    },
    /// A request with the client's number.
    Request(i32, ClientRequest<Tree>),
}

/// A connection, as its client has it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Connection {
    /// Which.
    pub id: ClientId,
    /// To which server.
    pub server: ServerId,
    /// Whether the session is granted.
    open: bool,
    /// Whether an identity is demanded that it has not proved.
    unproved: bool,
    /// Whether the watches of an earlier connection are being left anew.
    resuming: bool,
    /// What the server has not read.
    unread: VecDeque<Letter>,
}

/// A request without an answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Asked {
    xid: i32,
    what: What,
    /// Whether its connection had not proved what is demanded.
    unproved: bool,
    /// The last write that anybody was told of when it was sent.
    known: Zxid,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum What {
    Write(Write),
    Read(Read),
    Sync,
    Close,
    Watches,
    Proof,
}

/// One client.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Client {
    /// Its number.
    pub number: u8,
    /// 0 until it has one.
    pub session: SessionId,
    password: [u8; 16],
    /// What it does.
    pub deed: Option<Deed>,
    /// How many of its requests it has sent.
    sent: usize,
    /// Whether it numbers requests anew on each connection.
    restarts: bool,
    /// Whether servers demand an identity of each connection.
    demanded: bool,
    /// How many it had sent when its connection was made, if it does.
    numbered: usize,
    /// The writes that it has sent and waits for no more, if it does.
    earlier: Vec<Attempt>,
    /// Connections that it has made.
    pub connections: u8,
    /// The connection that it uses.
    pub home: Option<Connection>,
    /// The one that it has left.
    pub left: Option<Connection>,
    asked: VecDeque<Asked>,
    /// The latest state that it was shown.
    seen: Zxid,
    /// The place of its last write that it knows of.
    wrote: Zxid,
    /// Watches that have not fired, each with the place of its registration.
    watches: BTreeMap<Watch, Zxid>,
    /// It has closed its session, or was refused.
    pub over: bool,
}

/// Which connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The one in use.
    Home,
    /// The one that was left.
    Left,
}

/// What happens to a client.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ClientChange {
    /// It is to do this.
    Assign(Deed),
    /// It connects to this server, and leaves a connection behind if it has one.
    Connect(ServerId),
    /// It sends its next request; this is the last write that anybody was told of.
    Send(Zxid),
    /// The server reads the next of its letters.
    Take(Which),
    /// The connection is gone.
    Lose(Which),
    /// It is told something on this connection.
    Hear(ClientId, Said<Event>),
}

/// What a change of a client comes to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Heard {
    /// What the server has read.
    pub letter: Option<Letter>,
    /// What the record has to be asked.
    pub questions: Vec<Question>,
    /// Rules that were put to the test, and situations.
    pub judged: Judged,
}

impl Connection {
    /// Whether the server has something to read.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }
}

impl Client {
    /// A client that has no session, and may number its requests anew on each connection, of servers that may demand an
    /// identity.
    pub fn new(number: u8, restarts: bool, demanded: bool) -> Self {
        Self { number, restarts, demanded, ..Self::default() }
    }

    /// Whose connection this is.
    pub fn number_of(id: ClientId) -> u8 {
        u8::try_from(id.0 / CONNECTIONS_MAX).expect("clients have small numbers")
    }

    /// The connection.
    pub fn connection(&self, which: Which) -> Option<&Connection> {
        match which {
            Which::Home => self.home.as_ref(),
            Which::Left => self.left.as_ref(),
        }
    }

    /// Which of its connections lead to this server.
    pub fn connections_to(&self, server: ServerId) -> impl Iterator<Item = Which> + '_ {
        let to = move |which: &Which| self.connection(*which).is_some_and(|found| found.server == server);
        [Which::Home, Which::Left].into_iter().filter(to)
    }

    /// Whether it would send a request now.
    pub fn may_send(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.open) && self.has_wishes()
    }

    /// Whether its server has read all that it has sent.
    pub fn is_caught_up(&self) -> bool {
        self.home.as_ref().is_some_and(|home| !home.has_unread())
    }

    /// Whether it would come back with another connection.
    pub fn may_connect(&self) -> bool {
        !self.over && self.deed.is_some() && (self.has_wishes() || !self.watches.is_empty())
    }

    /// Whether it would leave its connection for another one.
    pub fn may_move(&self) -> bool {
        let open = self.home.as_ref().is_some_and(|home| home.open);
        open && self.left.is_none()
            && !self.over
            && (self.has_wishes() || !self.asked.is_empty() || !self.watches.is_empty())
    }

    /// Whether it has more to ask, or waits for an answer, or has left something unread behind.
    pub fn is_busy(&self) -> bool {
        let left = self.left.as_ref().is_some_and(Connection::has_unread);
        self.has_wishes() || !self.asked.is_empty() || left
    }

    /// Whether it has asked something on its connection, if only to be let in, and has no answer.
    pub fn waits(&self) -> bool {
        self.home.as_ref().is_some_and(|home| !home.open || !self.asked.is_empty())
    }

    fn has_wishes(&self) -> bool {
        self.wishes() > 0
    }

    /// How many requests it has yet to send.
    pub fn wishes(&self) -> usize {
        let all = self.deed.filter(|_| !self.over).map_or(0, |deed| deed.requests(self.number).len());
        all.saturating_sub(self.sent)
    }

    /// Whether a close of it is unread behind a write without an answer.
    pub fn closes_behind_a_write(&self) -> bool {
        let whats: Vec<_> = self.asked.iter().map(|asked| &asked.what).collect();
        whats.contains(&&What::Close) && whats.iter().any(|what| matches!(what, What::Write(_)))
    }

    /// Whether a sync waits for its answer ahead of this request on its connection.
    pub fn waits_ahead_of(&self, xid: i32) -> bool {
        self.asked.iter().take_while(|asked| asked.xid != xid).any(|asked| asked.what == What::Sync)
    }

    /// What happens to it.
    ///
    /// # Errors
    /// The rule that what it is told breaks.
    pub fn change(&mut self, change: &ClientChange) -> Result<Heard, Broken> {
        let mut heard = Heard::default();
        match change {
            ClientChange::Assign(deed) => self.deed = Some(*deed),
            ClientChange::Connect(server) => self.connect(*server),
            ClientChange::Send(known) => self.send(*known),
            ClientChange::Take(which) => {
                heard.letter =
                    self.connection_mut(*which).as_mut().and_then(|found| found.unread.pop_front());
            }
            ClientChange::Lose(which) => self.lose(*which),
            ClientChange::Hear(id, said) => self.hear(*id, said, &mut heard)?,
        }
        Ok(heard)
    }

    fn connection_mut(&mut self, which: Which) -> &mut Option<Connection> {
        match which {
            Which::Home => &mut self.home,
            Which::Left => &mut self.left,
        }
    }

    fn connect(&mut self, server: ServerId) {
        if self.home.is_some() {
            self.left = self.home.take();
            self.give_up();
        }
        if self.restarts {
            self.numbered = self.sent;
        }
        self.connections += 1;
        assert!(u64::from(self.connections) < CONNECTIONS_MAX, "connections are bounded");
        let id = ClientId(u64::from(self.number) * CONNECTIONS_MAX + u64::from(self.connections));
        let letter = Letter::Connect { session: self.session, password: self.password, seen: self.seen };
        let unread = VecDeque::from([letter]);
        let unproved = self.demanded;
        self.home = Some(Connection { id, server, open: false, unproved, resuming: false, unread });
    }

    /// What it asks next.
    fn wish(&self) -> Option<ClientRequest<Tree>> {
        self.deed?.requests(self.number).into_iter().nth(self.sent)
    }

    /// Whether that is a sync.
    pub fn is_about_to_sync(&self) -> bool {
        matches!(self.wish(), Some(ClientRequest::Sync(_)))
    }

    fn send(&mut self, known: Zxid) {
        let request = self.wish().expect("it has wishes");
        self.sent += 1;
        let xid = i32::try_from(self.sent - self.numbered).expect("scripts are short");
        self.ask(xid, request, known);
    }

    fn ask(&mut self, xid: i32, request: ClientRequest<Tree>, known: Zxid) {
        let what = match &request {
            ClientRequest::Write(write) => What::Write(write.clone()),
            ClientRequest::Read(Read::SetWatches { .. }) => What::Watches,
            ClientRequest::Read(read) => What::Read(read.clone()),
            ClientRequest::Sync(_) => What::Sync,
            ClientRequest::Close => What::Close,
            ClientRequest::Exchange { .. } => What::Proof,
            ClientRequest::Ping | ClientRequest::Authenticate(_) | ClientRequest::Refused { .. } => {
                unreachable!("no script asks that")
            }
        };
        let home = self.home.as_mut().expect("it has a connection");
        home.unproved &= what != What::Proof;
        self.asked.push_back(Asked { xid, what, unproved: home.unproved, known });
        home.unread.push_back(Letter::Request(xid, request));
    }

    fn lose(&mut self, which: Which) {
        *self.connection_mut(which) = None;
        if which == Which::Home {
            self.give_up();
        }
    }

    /// It waits no more for what it has asked on its connection.
    fn give_up(&mut self) {
        for asked in std::mem::take(&mut self.asked) {
            if matches!(asked.what, What::Write(_) | What::Close) {
                self.remember(asked.xid, None);
            }
        }
    }

    fn remember(&mut self, xid: i32, acknowledged: Option<Zxid>) {
        if self.restarts {
            self.earlier.push(Attempt { session: self.session, xid, acknowledged });
        }
    }

    fn hear(&mut self, id: ClientId, said: &Said<Event>, heard: &mut Heard) -> Result<(), Broken> {
        let is = |found: &Option<Connection>| found.as_ref().is_some_and(|found| found.id == id);
        if is(&self.left) {
            // Nobody reads there any more.
            if matches!(said, Said::Closed | Said::Refused) {
                self.left = None;
            }
            return Ok(());
        }
        if !is(&self.home) {
            return Ok(());
        }
        match said {
            Said::Accepted { session, password, read_only: _ } => {
                self.hear_accepted(*session, *password, heard)
            }
            Said::Refused => {
                heard.questions.push(Question::Refused { session: self.session });
                heard.judged.met("refused");
                self.over = true;
                self.lose(Which::Home);
                Ok(())
            }
            Said::Closed => {
                self.lose(Which::Home);
                Ok(())
            }
            Said::Event { zxid, event } => self.hear_event(*zxid, event, heard),
            Said::Reply { xid, zxid, answer } => self.hear_reply(*xid, *zxid, answer, heard),
        }
    }

    fn hear_accepted(
        &mut self,
        session: SessionId,
        password: [u8; 16],
        heard: &mut Heard,
    ) -> Result<(), Broken> {
        if self.session == SessionId(0) {
            (self.session, self.password) = (session, password);
        } else if (self.session, self.password) != (session, password) {
            return Err(broken("C-4", format!("client {} is given session {session:?}", self.number)));
        } else {
            heard.judged.met("moved");
        }
        let relative = self.seen;
        let path =
            |watch: Watch| self.watches.contains_key(&watch).then(|| NODE.into()).into_iter().collect();
        let (data, child) = (path(Watch::Data), path(Watch::Children));
        let resuming = !self.watches.is_empty();
        let home = self.home.as_mut().expect("it has a connection");
        (home.open, home.resuming) = (true, resuming);
        if resuming {
            let watches = Read::SetWatches {
                relative,
                data,
                exist: Vec::new(),
                child,
                persistent: Vec::new(),
                recursive: Vec::new(),
            };
            self.ask(WATCHES_XID, ClientRequest::Read(watches), Zxid::ZERO);
        }
        Ok(())
    }

    /// Whatever names a place shows the state there: it is committed, no older than what was seen, and no watch that
    /// has not fired has missed something.
    fn show(&mut self, zxid: Zxid, through: Zxid, heard: &mut Heard) -> Result<(), Broken> {
        let verdict = session_sees_forward(&[self.seen, zxid]);
        holds("S-7", verdict, &mut heard.judged, || {
            format!("client {} is shown {zxid} behind {}", self.number, self.seen)
        })?;
        self.seen = self.seen.max(zxid);
        heard.questions.push(Question::Shown { zxid });
        for (watch, since) in &self.watches {
            heard.questions.push(Question::Missed { watch: *watch, since: *since, shown: through });
        }
        Ok(())
    }

    fn hear_event(&mut self, zxid: Zxid, event: &Event, heard: &mut Heard) -> Result<(), Broken> {
        let watch = match event.kind {
            EventKind::NodeDataChanged => Watch::Data,
            EventKind::NodeChildrenChanged => Watch::Children,
            EventKind::NodeCreated | EventKind::NodeDeleted => {
                return Err(broken("S-10", format!("client {} is told of {event:?}", self.number)));
            }
        };
        let Some(since) = self.watches.remove(&watch) else {
            let why = format!("client {} has left no watch for {event:?}", self.number);
            return Err(broken("S-10", why));
        };
        let late = self.home.as_ref().is_some_and(|home| home.resuming);
        heard.judged.met(if late { "event-after-return" } else { "event" });
        heard.questions.push(Question::Fired { watch, since, event: zxid, late });
        // The other watch may fire for the same transaction, next.
        let through = if late { self.seen } else { before(zxid) };
        self.show(zxid, through, heard)
    }

    fn hear_reply(&mut self, xid: i32, zxid: Zxid, answer: &str, heard: &mut Heard) -> Result<(), Broken> {
        let Some(asked) = self.asked.pop_front().filter(|asked| asked.xid == xid) else {
            return Err(broken(
                "C-8",
                format!("client {} is given an answer to {xid} out of turn", self.number),
            ));
        };
        self.show(zxid, zxid, heard)?;
        let refused = answer == format!("{:?}", ErrorCode::SessionClosedRequireAuth);
        if self.demanded {
            let verdict = only_who_proved_may_ask(!asked.unproved, refused);
            holds("C-17", verdict, &mut heard.judged, || {
                format!("client {} is told {answer} of {:?}", self.number, asked.what)
            })?;
        }
        if refused {
            heard.judged.met("unproved-refused");
            return Ok(());
        }
        match asked.what {
            What::Proof => {
                let verdict = Verdict::of(true, || answer == format!("{:?}", Some(TOKEN)));
                holds("C-18", verdict, &mut heard.judged, || format!("a proof is answered by {answer}"))?;
            }
            What::Write(write) => {
                self.ask_record(xid, zxid, asked.known, Some(write), answer, heard);
                self.wrote = self.wrote.max(zxid);
            }
            What::Close => {
                self.ask_record(xid, zxid, asked.known, None, answer, heard);
                self.over = true;
            }
            What::Read(read) => {
                if let Read::GetData { watch: true, .. } = &read {
                    self.watches.insert(Watch::Data, zxid);
                } else if let Read::GetChildren { watch: true, .. } = &read {
                    self.watches.insert(Watch::Children, zxid);
                }
                let (own, told) = (self.wrote, answer.to_owned());
                heard.questions.push(Question::Read { read, zxid, own, told });
            }
            What::Sync => {
                let verdict = sync_shows_acknowledged(Some(asked.known), &[zxid]);
                let known = asked.known;
                holds("S-14", verdict, &mut heard.judged, || {
                    format!("client {} syncs to {zxid}, and {known} was known before", self.number)
                })?;
            }
            What::Watches => {
                if let Some(home) = &mut self.home {
                    home.resuming = false;
                }
            }
        }
        Ok(())
    }
}

impl Client {
    /// A write, or a close, was answered.
    fn ask_record(
        &mut self,
        xid: i32,
        zxid: Zxid,
        known: Zxid,
        write: Option<Write>,
        answer: &str,
        heard: &mut Heard,
    ) {
        let earlier = self.earlier.iter().filter(|attempt| attempt.xid == xid).copied().collect();
        let (session, answer) = (self.session, answer.to_owned());
        heard.questions.push(Question::Write { session, xid, zxid, earlier, known, write, answer });
        self.remember(xid, Some(zxid));
    }
}

/// As it is printed.
impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// The place before this one, in its epoch.
fn before(zxid: Zxid) -> Zxid {
    Zxid::new(zxid.epoch(), zxid.counter().saturating_sub(1))
}
