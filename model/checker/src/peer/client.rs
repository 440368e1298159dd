//! The client: one session, one connection at a time, one request at a time.
//!
//! What it sends is read by its server at once. What it sends later does as well as what is read later.

use protocol::peer::{ClientRequest, Input};
use spec::{ClientId, ServerId, SessionId, Zxid, session::session_sees_forward};
use tree::{Acl, CreateRequest, Event, Text, Tree, Write};
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
    /// How many writes it has asked for.
    pub writes: u8,
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
    /// The write without an answer.
    pub asked: Option<i32>,
}

/// What happens to the client.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ClientChange {
    /// It connects to this server.
    Join(ServerId),
    /// It asks for its next write.
    Ask,
    /// Its connection is gone.
    Lose,
    /// It is told something on this connection.
    Hear(ClientId, Said<Event>),
}

/// What it comes to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
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
}

impl Client {
    /// What happens to it.
    ///
    /// # Errors
    /// The rule that what it is told breaks.
    pub fn change(&mut self, change: &ClientChange) -> Result<Heard, Broken> {
        let mut heard = Heard::default();
        match change {
            ClientChange::Join(server) => heard.letter = Some(self.join(*server)),
            ClientChange::Ask => heard.letter = Some(self.ask()),
            ClientChange::Lose => self.home = None,
            ClientChange::Hear(id, said) => {
                if self.home.is_some_and(|home| home.id == *id) {
                    self.hear(said, &mut heard)?;
                }
            }
        }
        Ok(heard)
    }

    fn join(&mut self, server: ServerId) -> Input<Subject> {
        self.connections += 1;
        let id = ClientId(self.connections.into());
        self.home = Some(Home { id, server, open: false, asked: None });
        let (session, password) = self.session.unwrap_or_default();
        Input::ClientConnect {
            client: id,
            identities: Vec::new(),
            session,
            password,
            timeout_ms: i32::MAX,
            last_seen: self.seen,
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

    fn hear(&mut self, said: &Said<Event>, heard: &mut Heard) -> Result<(), Broken> {
        let home = self.home.as_mut().expect("it has the connection");
        match said {
            Said::Accepted { session, password } => {
                heard.moved = self.session == Some((*session, *password));
                home.open = true;
                self.session = Some((*session, *password));
            }
            Said::Refused => {
                heard.refused = self.session.take().is_some();
                self.home = None;
            }
            Said::Closed => self.home = None,
            Said::Reply { xid, zxid, answer } => {
                if home.asked.take() != Some(*xid) {
                    return Err(Broken::new("C-8", format!("request {xid} is answered, and was not asked")));
                }
                let shown = [self.seen, *zxid];
                if session_sees_forward(&shown) == spec::rule::Verdict::Broken {
                    return Err(Broken::new("S-7", format!("a session is shown {shown:?}")));
                }
                self.seen = *zxid;
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
