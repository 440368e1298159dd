//! What clients saw, in the order in which they saw it: the evidence that is judged, and that is kept of a failure.
//!
//! One process runs all clients, so that the times of a history are of one clock that never goes back.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use faults::client::{Stat, Watches};
use serde::{Deserialize, Serialize};

/// What a saved history says of itself first.
pub const FORMAT: &str = "zabkeeper-history-1";

/// The first line of a saved history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// What the dice of the run started from.
    pub seed: u64,
    /// The fault that the servers suffered.
    pub nemesis: String,
    /// Whose servers, and so what may be asked of them.
    pub strict: bool,
}

/// What a client asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Makes a node that stays.
    Create {
        /// Where.
        path: String,
        /// What it holds: no two writes write the same.
        value: String,
    },
    /// Makes a node that stays, with a number behind its name.
    Append {
        /// The beginning of its path.
        path: String,
        /// What it holds.
        value: String,
    },
    /// Makes a node that goes with the session.
    Lock {
        /// Where.
        path: String,
        /// What it holds.
        value: String,
    },
    /// Replaces what a node holds.
    Set {
        /// Where.
        path: String,
        /// With what.
        value: String,
        /// What its version must be, unless it may be any.
        version: Option<i32>,
    },
    /// Removes a node.
    Delete {
        /// Where.
        path: String,
    },
    /// Reads a node.
    Get {
        /// Where.
        path: String,
        /// Whether to be told of its next change.
        watch: bool,
    },
    /// Asks whether a node is there, and to be told of its next change.
    Exists {
        /// Where.
        path: String,
    },
    /// Lists the names below a node.
    List {
        /// Where.
        path: String,
        /// Whether to be told of their next change.
        watch: bool,
    },
    /// Brings the server up to date.
    Sync,
    /// Leaves the watches of the connection before.
    SetWatches {
        /// The last transaction that the client had seen.
        relative: i64,
        /// Nodes that were there.
        data: Vec<String>,
        /// Nodes that were not.
        exist: Vec<String>,
        /// Folders.
        child: Vec<String>,
    },
    /// Ends the session.
    Close,
}

/// The part of a Stat that is judged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// The transaction that made the node.
    pub czxid: i64,
    /// The one that changed its data last.
    pub mzxid: i64,
    /// The one that changed the names below it last.
    pub pzxid: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often names below it came or went.
    pub cversion: i32,
    /// The session that it goes with, or 0.
    pub owner: i64,
}

impl From<Stat> for Seen {
    fn from(stat: Stat) -> Self {
        let Stat { czxid, mzxid, pzxid, version, cversion, owner, .. } = stat;
        Self { czxid, mzxid, pzxid, version, cversion, owner }
    }
}

/// What stood in a reply.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing, or an error.
    #[default]
    Empty,
    /// The path of the node that was made.
    Path(String),
    /// The Stat alone.
    Stat(Seen),
    /// A node.
    Data {
        /// What it holds.
        value: String,
        /// Its Stat.
        stat: Seen,
    },
    /// The names below a node.
    Names {
        /// They.
        names: Vec<String>,
        /// The Stat of the node.
        stat: Seen,
    },
}

/// A reply as it came.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reply {
    /// When it came, in microseconds since the run began.
    pub at: u64,
    /// The last transaction of the state that it shows; for a write its own.
    pub zxid: i64,
    /// 0, or an error code of the protocol.
    pub code: i32,
    /// What it says.
    pub answer: Answer,
}

/// A request and what came of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Op {
    /// When it was sent, in microseconds since the run began.
    pub sent: u64,
    /// What it asks.
    pub request: Request,
    /// What was answered; nothing if the connection broke before: then it may have been carried out or not.
    pub reply: Option<Reply>,
}

/// What a client saw next.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A connection stands.
    Connected {
        /// The server's number.
        server: usize,
        /// The session's timeout, in milliseconds.
        timeout_ms: i32,
    },
    /// A request has come to its end.
    Op(Op),
    /// An event came.
    Event {
        /// Its transaction, or -1 where servers do not tell.
        zxid: i64,
        /// What it is, as its number in the protocol.
        kind: i32,
        /// Where.
        path: String,
    },
    /// The connection is gone.
    Broken,
    /// The session is over, says a server.
    Expired,
    /// A node of a session that must be over does not go, though all has been well for long.
    Stays(String),
    /// A register or folder that was there from the start is not there, though all has been well for long.
    Lost(String),
    /// Something came that is against the protocol whatever else was seen.
    Wrong(String),
}

/// A line of a history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// When it was seen, in microseconds since the run began.
    pub at: u64,
    /// The workload and number of the client.
    pub client: String,
    /// The session, or 0 as long as there is none.
    pub session: i64,
    /// What was seen.
    pub what: What,
}

/// The entries of one round, each client's in the order in which it saw them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct History {
    /// How it came about.
    pub header: Header,
    /// What was seen.
    pub entries: Vec<Entry>,
}

impl Request {
    /// Whether it asks for a transaction.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::Append { .. }
                | Self::Lock { .. }
                | Self::Set { .. }
                | Self::Delete { .. }
                | Self::Close
        )
    }

    /// Where a node is made or its data replaced, and what it is to hold.
    pub fn written(&self) -> Option<(&str, &str)> {
        if let Self::Create { path, value }
        | Self::Append { path, value }
        | Self::Lock { path, value }
        | Self::Set { path, value, .. } = self
        {
            Some((path, value))
        } else {
            None
        }
    }

    /// The node that is made or removed.
    pub fn changed(&self) -> Option<&str> {
        if let Self::Create { path, .. }
        | Self::Append { path, .. }
        | Self::Lock { path, .. }
        | Self::Delete { path } = self
        {
            Some(path)
        } else {
            None
        }
    }

    /// The register that is set.
    pub fn set(&self) -> Option<&str> {
        if let Self::Set { path, .. } = self { Some(path) } else { None }
    }

    /// As the client sends it.
    pub fn op(&self) -> faults::client::Op {
        use faults::client::{Kind, Op};
        let create = |path: &String, value: &String, kind| Op::Create {
            path: path.clone(),
            data: value.clone().into_bytes(),
            kind,
        };
        match self {
            Self::Create { path, value } => create(path, value, Kind::Persistent),
            Self::Append { path, value } => create(path, value, Kind::Sequential),
            Self::Lock { path, value } => create(path, value, Kind::Ephemeral),
            Self::Set { path, value, version: None } => {
                Op::SetData { path: path.clone(), data: value.clone().into_bytes() }
            }
            Self::Set { path, value, version: Some(version) } => {
                let data = value.clone().into_bytes();
                Op::CheckAndSet { path: path.clone(), data, version: *version }
            }
            Self::Delete { path } => Op::Delete(path.clone()),
            Self::Get { path, watch: false } => Op::GetData(path.clone()),
            Self::Get { path, watch: true } => Op::WatchData(path.clone()),
            Self::Exists { path } => Op::WatchExists(path.clone()),
            Self::List { path, watch: false } => Op::ListChildren(path.clone()),
            Self::List { path, watch: true } => Op::WatchChildren(path.clone()),
            Self::Sync => Op::Sync("/".to_owned()),
            Self::SetWatches { relative, data, exist, child } => Op::SetWatches(Watches {
                seen: *relative,
                data: data.clone(),
                exists: exist.clone(),
                children: child.clone(),
            }),
            Self::Close => Op::Close,
        }
    }
}

impl History {
    /// Writes it as JSON lines.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut out = BufWriter::new(file);
        writeln!(out, "{}", serde_json::to_string(&self.header)?)?;
        for entry in &self.entries {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        }
        Ok(out.flush()?)
    }

    /// Reads what [`History::save`] wrote.
    ///
    /// # Errors
    /// If it is not that; the line is named.
    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().context("the file is empty; a history begins with its header")??;
        let header: Header = serde_json::from_str(&first).context("line 1 is no header of a history")?;
        ensure!(header.format == FORMAT, "format {:?} where {FORMAT:?} is read", header.format);
        let read = |(number, line): (usize, std::io::Result<String>)| -> Result<Entry> {
            serde_json::from_str(&line?).with_context(|| format!("line {} is no entry", number + 2))
        };
        Ok(Self { header, entries: lines.enumerate().map(read).collect::<Result<_>>()? })
    }
}
