//! The client: one session, one connection at a time, one request at a time.
//!
//! What it sends is read by its server at once. What it sends later does as well as what is read later.

use protocol::peer::{ClientRequest, Input};
use spec::{ClientId, ServerId, SessionId, Zxid, session::session_sees_forward};
use tree::{Acl, CreateRequest, Event, Read, Text, Tree, Write};
use world::{Recorded, Said};

use crate::engine::Broken;

/// The state that servers replicate: the real tree, with its history.
pub type Subject = Recorded<Tree>;

/// The client.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, serde::Serialize)]
pub struct Client {
    /// How many connections it has made.
    pub connections: u8,
    /// The connection that it has.
    pub home: Option<Home>,
    /// Its session, and the password of it.
    session: Option<(SessionId, [u8; 16])>,
    /// Whether that is known to one server alone, which had no leader.
    local: bool,
    /// How many writes it has asked for.
    pub writes: u8,
    /// How many reads it has asked for.
    pub reads: u8,
    /// The latest state that it was shown.
    seen: Zxid,
    /// The places of its writes that were acknowledged.
    pub acknowledged: Vec<Zxid>,
}

/// A connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize)]
pub struct Home {
    /// Which.
    pub id: ClientId,
    /// To which server.
    pub server: ServerId,
    /// Whether its session is granted.
    pub open: bool,
    /// The request without an answer.
    pub asked: Option<i32>,
    /// Whether the client goes without writing, if need be.
    pub reads_only: bool,
    /// Whether its server has said that it must.
    pub read_only: bool,
}

/// What happens to the client.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ClientChange {
    /// It connects to this server, and goes without writing, if need be, if this is true.
    Join(ServerId, bool),
    /// It asks for its next write.
    Ask,
    /// It asks for a read.
    Look,
    /// Its connection is gone.
    Lose,
    /// It is told something on this connection.
    Hear(ClientId, Said<Event>),
}

/// What it comes to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "what was met, each by itself")]
pub struct Heard {
    /// What the server reads.
    pub letter: Option<Input<Subject>>,
    /// It was shown the state at this place.
    pub shown: Option<Zxid>,
    /// This write of this session is acknowledged as done at this place.
    pub done: Option<(SessionId, i32, Zxid)>,
    /// It has gone on with a session on another connection.
    pub moved: bool,
    /// Its session was not to be had.
    pub refused: bool,
    /// That was one of the ensemble's.
    pub refused_living: bool,
    /// It was shown the state at this place by a server that had no leader.
    pub shown_logged: Option<Zxid>,
    /// It got a session, of that server alone if this is true.
    pub opened: Option<bool>,
    /// As one that goes without writing, it got a session of the ensemble, or was refused that of a server without a
    /// leader: it is let in, with this for the last that it has seen.
    pub let_in: Option<Zxid>,
    /// A write of it was turned away for want of a leader.
    pub declined: bool,
    /// It was hung up on with a session of that server alone.
    pub ended: bool,
    /// It was hung up on by a server that it had offered a session of the ensemble to.
    pub turned_away: bool,
}

impl Client {
    /// All that a reader is told of it, in some lines.
    pub fn sketch(&self) -> Vec<String> {
        let home = self.home.map_or_else(
            || "not connected".to_owned(),
            |home| {
                let Home { id, server, open, asked, reads_only, read_only } = home;
                let open = if open { "" } else { ", not let in" };
                let asked = asked.map_or_else(String::new, |xid| format!(", waits for the answer to {xid}"));
                let only = match (reads_only, read_only) {
                    (_, true) => ", which only reads",
                    (true, false) => ", and would go without writing",
                    (false, false) => "",
                };
                format!("connected to server {server} by connection {}{open}{asked}{only}", id.0)
            },
        );
        let mut lines = vec![home];
        if let Some((session, _)) = self.session {
            let local = if self.local { ", known to one server alone" } else { "" };
            let acknowledged: Vec<_> = self.acknowledged.iter().map(ToString::to_string).collect();
            lines.push(format!("session {session}{local}; has seen {}", self.seen));
            lines.push(format!("asked for {} writes, done are [{}]", self.writes, acknowledged.join(", ")));
        }
        lines
    }

    /// What happens to it.
    ///
    /// # Errors
    /// The rule that what it is told breaks.
    pub fn change(&mut self, change: &ClientChange) -> Result<Heard, Broken> {
        let mut heard = Heard::default();
        match change {
            ClientChange::Join(server, reads_only) => heard.letter = Some(self.join(*server, *reads_only)),
            ClientChange::Ask => heard.letter = Some(self.ask()),
            ClientChange::Look => heard.letter = Some(self.look()),
            ClientChange::Lose => self.home = None,
            ClientChange::Hear(id, said) => {
                if self.home.is_some_and(|home| home.id == *id) {
                    self.hear(said, &mut heard)?;
                }
            }
        }
        Ok(heard)
    }

    fn join(&mut self, server: ServerId, reads_only: bool) -> Input<Subject> {
        self.connections += 1;
        let id = ClientId(self.connections.into());
        self.home = Some(Home { id, server, open: false, asked: None, reads_only, read_only: false });
        let (session, password) = self.session.unwrap_or_default();
        Input::ClientConnect {
            client: id,
            identities: Vec::new(),
            session,
            password,
            timeout_ms: i32::MAX,
            last_seen: self.seen,
            read_only: reads_only,
            time: 0,
        }
    }

    fn ask(&mut self) -> Input<Subject> {
        self.writes += 1;
        let home = self.home.as_mut().expect("it has a connection");
        let xid = i32::from(self.writes);
        home.asked = Some(xid);
        let write = Write::Create {
            path: Text::from(format!("/{xid}").as_str()),
            data: None,
            acl: vec![Acl::world(31)],
            flags: 0,
            request: CreateRequest::Create,
        };
        Input::ClientRequest { client: home.id, xid, request: ClientRequest::Write(write), time: 0 }
    }

    /// Reads have numbers below 0.
    fn look(&mut self) -> Input<Subject> {
        self.reads += 1;
        let home = self.home.as_mut().expect("it has a connection");
        let xid = -i32::from(self.reads);
        home.asked = Some(xid);
        let read = Read::GetChildren { path: Text::from("/"), watch: false };
        Input::ClientRequest { client: home.id, xid, request: ClientRequest::Read(read), time: 0 }
    }

    fn hear(&mut self, said: &Said<Event>, heard: &mut Heard) -> Result<(), Broken> {
        let home = self.home.as_mut().expect("it has the connection");
        match said {
            Said::Accepted { session, password, read_only } => {
                heard.moved = self.session == Some((*session, *password));
                let stays = !heard.moved || self.local == *read_only;
                if *read_only && !home.reads_only || !stays {
                    return Err(Broken::new("C-19", format!("{home:?} is told {said:?}")));
                }
                heard.opened = Some(*read_only);
                heard.let_in = (home.reads_only && !*read_only).then_some(self.seen);
                (home.open, home.read_only) = (true, *read_only);
                (self.session, self.local) = (Some((*session, *password)), *read_only);
            }
            Said::Refused => {
                heard.refused = self.session.take().is_some();
                heard.refused_living = heard.refused && !self.local;
                heard.let_in = (home.reads_only && self.local).then_some(self.seen);
                self.local = false;
                self.home = None;
            }
            Said::Closed => {
                heard.ended = home.read_only;
                heard.turned_away = !home.open && home.reads_only && self.session.is_some() && !self.local;
                self.home = None;
            }
            Said::Reply { xid, zxid, answer } => {
                if home.asked.take() != Some(*xid) {
                    return Err(Broken::new("C-8", format!("request {xid} is answered, and was not asked")));
                }
                let shown = [self.seen, *zxid];
                if session_sees_forward(&shown) == spec::rule::Verdict::Broken {
                    return Err(Broken::new("S-7", format!("a session is shown {shown:?}")));
                }
                self.seen = *zxid;
                heard.declined = answer == "NotReadOnly";
                if heard.declined != (home.read_only && *xid > 0) {
                    return Err(Broken::new("C-19", format!("request {xid} of {home:?} is told {answer}")));
                }
                if home.read_only {
                    heard.shown_logged = Some(*zxid);
                    return Ok(());
                }
                heard.shown = Some(*zxid);
                if answer.starts_with("Create") {
                    let (session, _) = self.session.expect("it has a session");
                    heard.done = Some((session, *xid, *zxid));
                    self.acknowledged.push(*zxid);
                }
            }
            Said::Event { .. } => return Err(Broken::new("S-10", "an event without a watch")),
        }
        Ok(())
    }
}
