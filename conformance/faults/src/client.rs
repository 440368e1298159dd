//! A ZooKeeper client as small as can be: one blocking socket, replies in order, no thread of its own, and nothing
//! done behind the caller's back. Whoever judges what was acknowledged must see every acknowledgement himself.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::jute::{Decoder, Encoder};

/// The longest reply frame that is read, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// All that anyone may be allowed.
pub const PERM_ALL: i32 = 31;

/// One entry of an access control list.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Acl {
    /// What is allowed, as bits.
    pub perms: i32,
    /// How the identity is proved.
    pub scheme: String,
    /// To whom.
    pub id: String,
}

impl Acl {
    /// Allows this to everyone.
    pub fn anyone(perms: i32) -> Self {
        Self { perms, scheme: "world".to_owned(), id: "anyone".to_owned() }
    }
}

/// The watches of a session that comes back, by kind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Watches {
    /// The last transaction that the client has seen.
    pub seen: i64,
    /// Nodes whose data is watched.
    pub data: Vec<String>,
    /// Nodes that did not stand, and are waited for.
    pub exists: Vec<String>,
    /// Nodes whose list of children is watched.
    pub children: Vec<String>,
}

/// What a watch says when it fires.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// What happened: 1 made, 2 removed, 3 data set, 4 children changed.
    pub kind: i32,
    /// Where.
    pub path: String,
}

/// A session as the server granted it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: i64,
    /// What proves it.
    pub password: Vec<u8>,
    /// The timeout that was negotiated, in milliseconds.
    pub timeout_ms: i32,
}

/// What kind of node a create makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Stays.
    Persistent,
    /// Goes with its session.
    Ephemeral,
    /// Stays, and gets a number behind its name.
    Sequential,
}

/// A request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// Makes a node.
    Create {
        /// Where.
        path: String,
        /// What it holds.
        data: Vec<u8>,
        /// How it lives.
        kind: Kind,
    },
    /// Removes a node, whatever its version.
    Delete(String),
    /// Replaces what a node holds, whatever its version.
    SetData {
        /// Where.
        path: String,
        /// With what.
        data: Vec<u8>,
    },
    /// Reads a node.
    GetData(String),
    /// Reads a node, and asks to be told of its next change.
    WatchData(String),
    /// Asks to be told when a node is made, changed or removed, whether it stands or not.
    WatchExists(String),
    /// Lists the names below a node.
    GetChildren(String),
    /// Lists the names below a node with its Stat.
    ListChildren(String),
    /// The same, and asks to be told of the list's next change.
    WatchChildren(String),
    /// Brings the watches of a session to the server that it has come to.
    SetWatches(Watches),
    /// Reads a node's access control list.
    GetAcl(String),
    /// Replaces a node's access control list, whatever its version.
    SetAcl {
        /// Where.
        path: String,
        /// With what.
        acl: Vec<Acl>,
    },
    /// Proves an identity.
    Authenticate {
        /// How.
        scheme: String,
        /// With what.
        secret: String,
    },
    /// Brings this server up to date.
    Sync(String),
    /// Keeps the session alive.
    Ping,
    /// Ends the session.
    Close,
}

impl Op {
    fn encode(&self, xid: i32) -> Vec<u8> {
        let head = |code| Encoder::new().int(xid).int(code);
        match self {
            Self::Create { path, data, kind } => {
                let flags = match kind {
                    Kind::Persistent => 0,
                    Kind::Ephemeral => 1,
                    Kind::Sequential => 2,
                };
                let body = head(1).bytes(path.as_bytes()).bytes(data);
                write_acl(body, &[Acl::anyone(PERM_ALL)]).int(flags)
            }
            Self::Delete(path) => head(2).bytes(path.as_bytes()).int(-1),
            Self::SetData { path, data } => head(5).bytes(path.as_bytes()).bytes(data).int(-1),
            Self::GetData(path) => head(4).bytes(path.as_bytes()).bool(false),
            Self::WatchData(path) => head(4).bytes(path.as_bytes()).bool(true),
            Self::WatchExists(path) => head(3).bytes(path.as_bytes()).bool(true),
            Self::GetChildren(path) => head(8).bytes(path.as_bytes()).bool(false),
            Self::ListChildren(path) => head(12).bytes(path.as_bytes()).bool(false),
            Self::WatchChildren(path) => head(12).bytes(path.as_bytes()).bool(true),
            Self::SetWatches(Watches { seen, data, exists, children }) => {
                [data, exists, children].into_iter().fold(head(101).long(*seen), |body, paths| {
                    let body = body.int(i32::try_from(paths.len()).unwrap_or(i32::MAX));
                    paths.iter().fold(body, |body, path| body.bytes(path.as_bytes()))
                })
            }
            Self::GetAcl(path) => head(6).bytes(path.as_bytes()),
            Self::SetAcl { path, acl } => write_acl(head(7).bytes(path.as_bytes()), acl).int(-1),
            Self::Authenticate { scheme, secret } => {
                head(100).int(0).bytes(scheme.as_bytes()).bytes(secret.as_bytes())
            }
            Self::Sync(path) => head(9).bytes(path.as_bytes()),
            Self::Ping => head(11),
            Self::Close => head(-11),
        }
        .frame()
    }

    /// The request number, where it is the same for all of a kind.
    fn fixed_xid(&self) -> Option<i32> {
        match self {
            Self::Ping => Some(-2),
            Self::Authenticate { .. } => Some(-4),
            Self::SetWatches(_) => Some(-8),
            Self::Create { .. }
            | Self::Delete(_)
            | Self::SetData { .. }
            | Self::GetData(_)
            | Self::WatchData(_)
            | Self::WatchExists(_)
            | Self::GetChildren(_)
            | Self::ListChildren(_)
            | Self::WatchChildren(_)
            | Self::GetAcl(_)
            | Self::SetAcl { .. }
            | Self::Sync(_)
            | Self::Close => None,
        }
    }
}

/// What stands where a reply has its request's number, if a watch has fired.
const EVENT_XID: i32 = -1;

fn write_acl(body: Encoder, acl: &[Acl]) -> Encoder {
    let body = body.int(i32::try_from(acl.len()).unwrap_or(i32::MAX));
    acl.iter().fold(body, |body, Acl { perms, scheme, id }| {
        body.int(*perms).bytes(scheme.as_bytes()).bytes(id.as_bytes())
    })
}

/// A node's Stat.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stat {
    /// The transaction that made it.
    pub czxid: i64,
    /// The transaction that changed the data last.
    pub mzxid: i64,
    /// When the node was made, in milliseconds since 1970 by the leader's clock.
    pub ctime: i64,
    /// When the data was changed last, likewise.
    pub mtime: i64,
    /// How often the data was set.
    pub version: i32,
    /// How often the list of children changed.
    pub cversion: i32,
    /// How often the access control list was set.
    pub aversion: i32,
    /// The session that it goes with, or 0.
    pub owner: i64,
    /// How long its data is, in bytes.
    pub data_length: i32,
    /// How many children it has.
    pub children: i32,
    /// The transaction that changed the list of children last.
    pub pzxid: i64,
}

impl Stat {
    fn decode(read: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            czxid: read.long()?,
            mzxid: read.long()?,
            ctime: read.long()?,
            mtime: read.long()?,
            version: read.int()?,
            cversion: read.int()?,
            aversion: read.int()?,
            owner: read.long()?,
            data_length: read.int()?,
            children: read.int()?,
            pzxid: read.long()?,
        })
    }
}

/// What the server said to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The request's number.
    pub xid: i32,
    /// The last transaction of the state that the reply shows; for a write its own.
    pub zxid: i64,
    /// 0, or an error code.
    pub code: i32,
    body: Vec<u8>,
}

impl Reply {
    /// A reply with this body.
    pub fn new(xid: i32, zxid: i64, code: i32, body: Vec<u8>) -> Self {
        Self { xid, zxid, code, body }
    }

    /// The path that a create, or a sync, answers with.
    ///
    /// # Errors
    /// If the body is no such answer.
    pub fn path(&self) -> Result<String> {
        Decoder::new(&self.body).string()
    }

    /// The Stat that a set answers with.
    ///
    /// # Errors
    /// If the body is no such answer.
    pub fn stat(&self) -> Result<Stat> {
        Stat::decode(&mut Decoder::new(&self.body))
    }

    /// What a read of data answers with.
    ///
    /// # Errors
    /// If the body is no such answer.
    pub fn data(&self) -> Result<(Vec<u8>, Stat)> {
        let mut read = Decoder::new(&self.body);
        let data = read.bytes()?.to_vec();
        Ok((data, Stat::decode(&mut read)?))
    }

    /// The names that a list answers with.
    ///
    /// # Errors
    /// If the body is no such answer.
    pub fn children(&self) -> Result<Vec<String>> {
        Decoder::new(&self.body).strings()
    }

    /// The names and the Stat that a list which asks for both answers with.
    ///
    /// # Errors
    /// If the body is no such answer.
    pub fn children_with_stat(&self) -> Result<(Vec<String>, Stat)> {
        let mut read = Decoder::new(&self.body);
        Ok((read.strings()?, Stat::decode(&mut read)?))
    }

    /// The access control list that a read of it answers with.
    ///
    /// # Errors
    /// If the body is no such answer.
    pub fn acl(&self) -> Result<Vec<Acl>> {
        let mut read = Decoder::new(&self.body);
        let count = read.int()?;
        let entry = |_| Ok(Acl { perms: read.int()?, scheme: read.string()?, id: read.string()? });
        (0..count).map(entry).collect()
    }

    /// What it says of a watch, if it is no reply but that.
    ///
    /// # Errors
    /// If it says it in no proper way.
    pub fn event(&self) -> Result<Option<Event>> {
        if self.xid != EVENT_XID {
            return Ok(None);
        }
        let mut read = Decoder::new(&self.body);
        let (kind, _state, path) = (read.int()?, read.int()?, read.string()?);
        Ok(Some(Event { kind, path }))
    }
}

/// Why a connection did not come about.
#[derive(Debug)]
pub enum ConnectError {
    /// The server is not there, or hung up: try another.
    Unreachable(anyhow::Error),
    /// The server says that the session is dead.
    Expired,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    session: Session,
    next_xid: i32,
}

impl Client {
    /// Connects, with a new session or an old one.
    ///
    /// `patience` bounds each wait of this connection: to connect, and for each reply.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        to: SocketAddr,
        session: Option<&Session>,
        timeout_ms: i32,
        last_zxid: i64,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        Self::handshake(to, session, timeout_ms, last_zxid, patience)
            .map_err(ConnectError::Unreachable)?
            .ok_or(ConnectError::Expired)
    }

    fn handshake(
        to: SocketAddr,
        session: Option<&Session>,
        timeout_ms: i32,
        last_zxid: i64,
        patience: Duration,
    ) -> Result<Option<Self>> {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let (id, password) = session.map_or((0, vec![0; 16]), |old| (old.id, old.password.clone()));
        let hello =
            Encoder::new().int(0).long(last_zxid).int(timeout_ms).long(id).bytes(&password).bool(false);
        stream.write_all(&hello.frame())?;
        let answer = read_frame(&mut stream)?;
        let mut read = Decoder::new(&answer);
        let _protocol = read.int()?;
        let timeout_ms = read.int()?;
        let id = read.long()?;
        let password = read.bytes()?.to_vec();
        if timeout_ms <= 0 {
            return Ok(None);
        }
        if let Some(old) = session {
            ensure!(old.id == id, "asked for session 0x{:x}, got 0x{id:x}", old.id);
        }
        Ok(Some(Self { stream, session: Session { id, password, timeout_ms }, next_xid: 1 }))
    }

    /// The session of this connection.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The socket: for a client that does with it what none should.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and returns its number; the reply is to be received later.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self, op: &Op) -> io::Result<i32> {
        let xid = op.fixed_xid().unwrap_or(self.next_xid);
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        self.stream.write_all(&op.encode(xid))?;
        Ok(xid)
    }

    /// The next reply, in the order of the requests.
    ///
    /// # Errors
    /// If the connection is gone, or silent for longer than the patience.
    pub fn receive(&mut self) -> Result<Reply> {
        let frame = read_frame(&mut self.stream)?;
        let mut read = Decoder::new(&frame);
        let (xid, zxid, code) = (read.int()?, read.long()?, read.int()?);
        Ok(Reply {
            xid,
            zxid,
            code,
            body: frame.get(16..).context("a reply without a whole header")?.to_vec(),
        })
    }

    /// Sends a request and waits for its reply; nothing else may be outstanding.
    ///
    /// # Errors
    /// As [`Client::receive`], or if the reply is another request's.
    pub fn call(&mut self, op: &Op) -> Result<Reply> {
        let xid = self.send(op)?;
        let reply = self.receive()?;
        ensure!(reply.xid == xid, "reply to request {} where {xid} was due", reply.xid);
        Ok(reply)
    }
}

fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).context("a frame of negative length")?;
    ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// What a server answers to a four-letter word.
///
/// # Errors
/// If it does not answer within `patience`.
pub fn four_letters(to: SocketAddr, word: &str, patience: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    Ok(answer)
}
