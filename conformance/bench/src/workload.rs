//! What one connection asks, and what it makes of the answers.

use anyhow::{Context, Result, bail, ensure};

use crate::{
    frame::{self, Reader, STAT_BYTES, Stat},
    value::{VALUE_BYTES, number, value},
};

/// How many nodes are read from.
pub const KEYS: u32 = 1000;
/// How many names are listed at once.
pub const NAMES: u32 = 1000;
/// How many sets a multi holds.
pub const PARTS: u32 = 10;
/// How many nodes lie below one parent of the million.
pub const FILL_PER_PARENT: u32 = 1000;

/// The folder of everything.
pub const TOP: &str = "/bench";

/// A kind of load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Reads of nodes in no order.
    Get,
    /// Sets of the connection's own node.
    Set,
    /// Nine reads, one set, of nodes in no order.
    Mixed,
    /// A node is made, then removed.
    CreateDelete,
    /// Ten sets at once.
    Multi,
    /// A sync and a read behind it, counted as one.
    SyncGet,
    /// A thousand names are listed.
    Children,
    /// A part of a million nodes is made.
    Fill {
        /// How many connections share the work.
        clients: u32,
        /// How many nodes there shall be.
        nodes: u32,
    },
}

/// What was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// The value of a key, whatever its number.
    Get(u32),
    /// The value of the connection's own node, which it knows.
    GetOwn(u32),
    /// This number, into a key or into the connection's own node, which then has this version.
    Set {
        /// Which version it has then, if only this connection sets it.
        version: Option<i32>,
    },
    /// A node.
    Create(u32),
    /// It again.
    Delete,
    /// Ten sets.
    Multi(i32),
    /// A sync, which counts only together with what follows.
    Sync,
    /// The names of the wide node.
    Children,
}

/// One connection's side of a load.
#[derive(Debug)]
pub struct Client {
    kind: Kind,
    me: u32,
    /// Which run it is: what an earlier one has left behind is in nobody's way.
    run: u32,
    /// What was asked so far.
    asked: u32,
    /// The version of the nodes that only this connection sets, before its first set.
    base: i32,
    chance: u64,
    own: Vec<u8>,
    /// The nodes that it sets at once.
    parts: Vec<Vec<u8>>,
    /// The path of what is asked next.
    path: Vec<u8>,
}

/// The path of a key.
pub fn key(number: u32) -> String {
    format!("{TOP}/keys/{number:04}")
}

/// The path of a connection's own node.
pub fn own(client: u32) -> String {
    format!("{TOP}/own/{client:05}")
}

/// The path of one of the nodes that a connection sets at once.
pub fn part(client: u32, part: u32) -> String {
    format!("{TOP}/parts/{client:05}-{part}")
}

/// The node with many children.
pub fn wide() -> String {
    format!("{TOP}/wide")
}

/// The name of one of its children.
pub fn name(number: u32) -> String {
    format!("n{number:06}")
}

/// The parent of one of the million.
pub fn fill_parent(number: u32) -> String {
    format!("{TOP}/fill/{:04}", number / FILL_PER_PARENT)
}

fn short(path: &mut Vec<u8>, text: &str, mut number: u32) {
    path.clear();
    path.extend_from_slice(text.as_bytes());
    let at = path.len();
    path.resize(at + 4, b'0');
    for digit in path[at..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

impl Client {
    /// The connection of this number.
    pub fn new(kind: Kind, me: u32, run: u32) -> Self {
        let chance = (u64::from(me) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let own = own(me).into_bytes();
        let parts = (0..PARTS).map(|index| part(me, index).into_bytes()).collect();
        Self { kind, me, run, asked: 0, base: 0, chance, own, parts, path: Vec::new() }
    }

    /// The node whose version must be known before the first question.
    pub fn set_alone(&self) -> Option<String> {
        match self.kind {
            Kind::Set => Some(own(self.me)),
            Kind::Multi => Some(part(self.me, 0)),
            Kind::Get
            | Kind::Mixed
            | Kind::CreateDelete
            | Kind::SyncGet
            | Kind::Children
            | Kind::Fill { .. } => None,
        }
    }

    /// Learns what was found there.
    ///
    /// # Errors
    /// If it is not a node's value and Stat.
    pub fn learn(&mut self, body: &[u8]) -> Result<()> {
        let mut read = Reader(body);
        let _value = read.bytes()?;
        self.base = Stat::read(&mut read)?.version;
        Ok(())
    }

    fn roll(&mut self, below: u32) -> u32 {
        // xorshift64: cheap, and the same in every run.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        u32::try_from((self.chance >> 33) % u64::from(below)).unwrap_or(0)
    }

    /// Appends what is asked next, and returns it; nothing, when everything was asked.
    pub fn ask(&mut self, xid: i32, out: &mut Vec<u8>) -> Option<Question> {
        let count = self.asked;
        self.asked += 1;
        let version = self.base + i32::try_from(count + 1).unwrap_or(0);
        Some(match self.kind {
            Kind::Set => {
                frame::set(out, xid, &self.own, &value(&self.own, count + 1));
                Question::Set { version: Some(version) }
            }
            Kind::Mixed => self.mixed(count, xid, out),
            Kind::CreateDelete => self.create_or_delete(count, xid, out),
            Kind::Multi => {
                frame::frame(out, |out| self.multi(xid, count + 1, out));
                Question::Multi(version)
            }
            Kind::SyncGet if count.is_multiple_of(2) => {
                frame::sync(out, xid, &self.own);
                Question::Sync
            }
            Kind::Get | Kind::SyncGet => self.get(xid, out),
            Kind::Children => {
                frame::look(out, xid, frame::GET_CHILDREN, wide().as_bytes(), false);
                Question::Children
            }
            Kind::Fill { clients, nodes } => {
                let number = count * clients + self.me;
                if number >= nodes {
                    return None;
                }
                self.path = format!("{}/{number:07}", fill_parent(number)).into_bytes();
                frame::create(out, xid, &self.path, &value(&self.path, number), false);
                Question::Create(number)
            }
        })
    }

    fn get(&mut self, xid: i32, out: &mut Vec<u8>) -> Question {
        let key = self.roll(KEYS);
        short(&mut self.path, "/bench/keys/", key);
        frame::look(out, xid, frame::GET_DATA, &self.path, false);
        Question::Get(key)
    }

    fn mixed(&mut self, count: u32, xid: i32, out: &mut Vec<u8>) -> Question {
        if self.roll(10) > 0 {
            return self.get(xid, out);
        }
        let key = self.roll(KEYS);
        short(&mut self.path, "/bench/keys/", key);
        frame::set(out, xid, &self.path, &value(&self.path, count));
        Question::Set { version: None }
    }

    fn passing(&self, number: u32) -> String {
        format!("{TOP}/passing/{:04}-{:05}-{number:010}", self.run, self.me)
    }

    fn create_or_delete(&mut self, count: u32, xid: i32, out: &mut Vec<u8>) -> Question {
        let number = count / 2;
        let path = self.passing(number);
        if count.is_multiple_of(2) {
            frame::create(out, xid, path.as_bytes(), &value(path.as_bytes(), number), false);
            return Question::Create(number);
        }
        frame::delete(out, xid, path.as_bytes());
        Question::Delete
    }

    fn multi(&self, xid: i32, count: u32, out: &mut Vec<u8>) {
        frame::int(out, xid);
        frame::int(out, frame::MULTI);
        for path in &self.parts {
            frame::part(out, Some(frame::SET_DATA));
            frame::set_body(out, path, &value(path, count));
        }
        frame::part(out, None);
    }

    /// Appends a look at the connection's own node, if the load has left something there that is known.
    pub fn ask_last(&self, xid: i32, out: &mut Vec<u8>) -> Option<Question> {
        let set_last = self.kind == Kind::Set && self.asked > 0;
        set_last.then(|| {
            frame::look(out, xid, frame::GET_DATA, &self.own, false);
            Question::GetOwn(self.asked)
        })
    }

    /// Fails if this is no answer to what was asked; `closely` looks at every byte.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn judge(&self, question: Question, zxid: i64, body: &[u8], closely: bool) -> Result<()> {
        let judged = match question {
            Question::Get(_) | Question::GetOwn(_) => self.judge_get(question, body, closely),
            Question::Set { version } => judge_set(version, zxid, body, closely),
            Question::Create(number) => self.judge_create(number, body, closely),
            Question::Delete => {
                ensure!(body.is_empty(), "a delete is answered with {} bytes", body.len());
                Ok(())
            }
            Question::Multi(version) => judge_multi(version, zxid, body, closely),
            Question::Sync => Reader(body).bytes().map(drop),
            Question::Children => judge_children(body, closely),
        };
        judged.with_context(|| format!("a wrong answer to {question:?}: {} bytes", body.len()))
    }

    fn judge_get(&self, question: Question, body: &[u8], closely: bool) -> Result<()> {
        let expected = 4 + VALUE_BYTES + STAT_BYTES;
        ensure!(body.len() == expected, "{} bytes instead of a value and a Stat", body.len());
        let found = Reader(body).bytes()?;
        if let Question::GetOwn(set) = question {
            let found = number(&self.own, found)?;
            ensure!(found == set, "{found} is there, {set} was set last");
        } else if let (Question::Get(asked), true) = (question, closely) {
            number(key(asked).as_bytes(), found)?;
        }
        Ok(())
    }

    fn judge_create(&self, number: u32, body: &[u8], closely: bool) -> Result<()> {
        let made = Reader(body).bytes()?;
        if closely {
            let wanted = if matches!(self.kind, Kind::Fill { .. }) {
                format!("{}/{number:07}", fill_parent(number))
            } else {
                self.passing(number)
            };
            ensure!(made == wanted.as_bytes(), "{} instead of {wanted}", made.escape_ascii());
        }
        Ok(())
    }
}

fn judge_stat(version: Option<i32>, zxid: i64, stat: Stat) -> Result<()> {
    ensure!(usize::try_from(stat.data_length) == Ok(VALUE_BYTES), "a length of {}", stat.data_length);
    ensure!(stat.mzxid == zxid, "set at {:x}, answered at {zxid:x}", stat.mzxid);
    match version {
        Some(version) if stat.version != version => {
            bail!("version {} instead of {version}", stat.version)
        }
        _ => Ok(()),
    }
}

fn judge_set(version: Option<i32>, zxid: i64, body: &[u8], closely: bool) -> Result<()> {
    ensure!(body.len() == STAT_BYTES, "{} bytes instead of a Stat", body.len());
    if closely {
        judge_stat(version, zxid, Stat::read(&mut Reader(body))?)?;
    }
    Ok(())
}

fn judge_multi(version: i32, zxid: i64, body: &[u8], closely: bool) -> Result<()> {
    let parts = usize::try_from(PARTS)?;
    let expected = parts * (9 + STAT_BYTES) + 9;
    ensure!(body.len() == expected, "{} bytes instead of {parts} Stats", body.len());
    if closely {
        let mut read = Reader(body);
        for _ in 0..PARTS {
            let (code, _, error) = (read.int()?, read.take(1)?, read.int()?);
            ensure!(code == frame::SET_DATA && error == 0, "a part is {code}, error {error}");
            judge_stat(Some(version), zxid, Stat::read(&mut read)?)?;
        }
    }
    Ok(())
}

fn judge_children(body: &[u8], closely: bool) -> Result<()> {
    let mut read = Reader(body);
    let count = read.int()?;
    ensure!(u32::try_from(count) == Ok(NAMES), "{count} names instead of {NAMES}");
    if closely {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(read.bytes()?);
        }
        read.end()?;
        names.sort_unstable();
        for (number, found) in (0..NAMES).zip(names) {
            ensure!(found == name(number).as_bytes(), "{} is no name", found.escape_ascii());
        }
    }
    Ok(())
}
