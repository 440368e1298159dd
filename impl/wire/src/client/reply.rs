//! Replies and notifications: a header of xid, zxid and error, and a body only if there is no error.

use bytes::Bytes;
use protocol::peer::Answer;
use spec::{ErrorCode, Machine, Zxid};
use tree::{Acl, Event, Identity, Outcome, Stat, Text};

use super::{multi, opcode};
use crate::{Buffer, Decoder, Error, Sink, data};

/// The state in every notification that a server sends: the session is connected.
const SYNC_CONNECTED: i32 = 3;

/// What a list of names or paths takes at most, in bytes. Who asks for more is refused (W-19). What else is read is bounded
/// by the request that has written it, and a multiRead by what it may gather.
const LIST_BYTES_MAX: usize = 256 << 20;

/// Appends the answer to a request as a frame.
pub fn put_reply<'a, M>(xid: i32, zxid: Zxid, answer: &Answer<'a, M>, out: &mut impl Buffer)
where
    M: Machine<Outcome = Outcome, Answer<'a> = tree::Answer<'a>> + 'a,
{
    out.put_sized(|out| match answer {
        Answer::Error(code) => put_header(xid, zxid, code.number(), out),
        Answer::Outcome(Outcome::Error { code }) => put_header(xid, zxid, *code, out),
        Answer::Empty => put_header(xid, zxid, 0, out),
        Answer::Outcome(outcome) => {
            put_header(xid, zxid, 0, out);
            put_outcome(outcome, out);
        }
        Answer::Read(answer) => put_answer(xid, zxid, answer, LIST_BYTES_MAX, out),
        Answer::Sync(path) => {
            put_header(xid, zxid, 0, out);
            out.put_bytes(path);
        }
        Answer::Exchange(token) => {
            put_header(xid, zxid, 0, out);
            match token {
                Some(token) => out.put_bytes(token),
                None => out.put_int(-1),
            }
        }
    });
}

/// Appends header and body of a read's answer; a list that takes more than `most` bytes is refused instead.
fn put_answer(xid: i32, zxid: Zxid, answer: &tree::Answer<'_>, most: usize, out: &mut impl Buffer) {
    let start = out.length();
    put_header(xid, zxid, 0, out);
    let most = match answer {
        tree::Answer::Children(_) | tree::Answer::Children2 { .. } | tree::Answer::Ephemerals(_) => most,
        tree::Answer::Data { .. }
        | tree::Answer::Exists(_)
        | tree::Answer::Acl { .. }
        | tree::Answer::AllChildrenNumber(_)
        | tree::Answer::Identities(_)
        | tree::Answer::Multi(_)
        | tree::Answer::WatchAdded
        | tree::Answer::Done => usize::MAX,
    };
    let mut within = Within { out, left: Some(most) };
    put_read(answer, &mut within);
    if within.left.is_none() {
        out.rewind(start);
        put_header(xid, zxid, ErrorCode::MarshallingError.number(), out);
    }
}

/// Takes so many bytes, and forgets what is behind them.
struct Within<'a, B> {
    out: &'a mut B,
    /// `None` once something did not fit.
    left: Option<usize>,
}

impl<B: Buffer> Sink for Within<'_, B> {
    fn put(&mut self, bytes: &[u8]) {
        self.left = self.left.and_then(|left| left.checked_sub(bytes.len()));
        if self.left.is_some() {
            self.out.put(bytes);
        }
    }
}

/// Appends a fired watch as a frame.
pub fn put_event(zxid: Zxid, event: &Event, out: &mut impl Buffer) {
    out.put_sized(|out| {
        put_header(opcode::XID_NOTIFICATION, zxid, 0, out);
        out.put_int(event.kind.number());
        out.put_int(SYNC_CONNECTED);
        out.put_bytes(event.path.as_bytes());
    });
}

fn put_header(xid: i32, zxid: Zxid, error: i32, out: &mut impl Sink) {
    out.put_int(xid);
    out.put_unsigned(zxid.0);
    out.put_int(error);
}

/// Appends the body of a write's answer, alone or in a multi; an error has none.
pub(super) fn put_outcome(outcome: &Outcome, out: &mut impl Sink) {
    match outcome {
        Outcome::Create { path } => out.put_bytes(path.as_bytes()),
        Outcome::Create2 { path, stat } => {
            out.put_bytes(path.as_bytes());
            data::put_stat(stat, out);
        }
        Outcome::SetData(stat) | Outcome::SetAcl(stat) => data::put_stat(stat, out),
        Outcome::Multi(outcomes) => multi::put_outcomes(outcomes, out),
        Outcome::Delete
        | Outcome::Check
        | Outcome::CreateSession { .. }
        | Outcome::CloseSession
        | Outcome::Error { .. } => {}
    }
}

pub(super) fn put_read(answer: &tree::Answer<'_>, out: &mut impl Sink) {
    match answer {
        tree::Answer::Data { data, stat } => {
            out.put_optional(*data);
            data::put_stat(stat, out);
        }
        tree::Answer::Exists(stat) => data::put_stat(stat, out),
        tree::Answer::Children(names) => put_names(names, out),
        tree::Answer::Children2 { names, stat } => {
            put_names(names, out);
            data::put_stat(stat, out);
        }
        tree::Answer::Acl { acl, stat } => {
            data::put_acl(acl, out);
            data::put_stat(stat, out);
        }
        tree::Answer::Ephemerals(paths) => data::put_paths(paths, out),
        tree::Answer::AllChildrenNumber(number) => out.put_int(*number),
        tree::Answer::Identities(identities) => data::put_identities(identities, out),
        tree::Answer::Multi(answers) => multi::put_answers(answers, out),
        // The number of an error, which is none.
        tree::Answer::WatchAdded => out.put_int(0),
        tree::Answer::Done => {}
    }
}

fn put_names(names: &tree::Children<'_>, out: &mut impl Sink) {
    out.put_count(names.len());
    for name in names.clone() {
        out.put_bytes(name);
    }
}

/// A frame from the server behind the handshake, as a client reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply<'a> {
    /// The number of the request, or one of the numbers with a meaning.
    pub xid: i32,
    /// The last transaction that the server had applied; of a notification, the one that fired it.
    pub zxid: Zxid,
    /// The number of the error; 0 for none.
    pub error: i32,
    /// What follows, to be read as the request's operation says.
    pub body: Decoder<'a>,
}

/// The body of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response {
    /// create, sync: the path.
    Path(Text),
    /// create2: path and Stat.
    PathStat(Text, Stat),
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData.
    Data(Option<Bytes>, Stat),
    /// getChildren.
    Children(Vec<Text>),
    /// getChildren2.
    Children2(Vec<Text>, Stat),
    /// getACL.
    Acl(Vec<Acl>, Stat),
    /// multi.
    Multi(Vec<Outcome>),
    /// getEphemerals.
    Paths(Vec<Text>),
    /// getAllChildrenNumber, addWatch.
    Number(i32),
    /// whoAmI.
    Identities(Vec<Identity>),
    /// multiRead: each part, or the number of its error.
    MultiRead(Vec<Result<Self, i32>>),
    /// Nothing.
    Empty,
}

impl<'a> Reply<'a> {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn decode(mut input: Decoder<'a>) -> Result<Self, Error> {
        Ok(Self { xid: input.int()?, zxid: Zxid(input.unsigned()?), error: input.int()?, body: input })
    }

    /// The error as a code, if there is one that this version knows.
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.error)
    }

    /// The event, if this is a notification: the number of its kind, and its path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn event(&self) -> Result<Option<(i32, Text)>, Error> {
        if self.xid != opcode::XID_NOTIFICATION {
            return Ok(None);
        }
        let mut body = self.body.clone();
        let (kind, _state) = (body.int()?, body.int()?);
        Ok(Some((kind, body.text("path")?)))
    }

    /// Reads the body as that of an answer to this operation; empty for those without one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn response(&self, operation: i32) -> Result<Response, Error> {
        let mut body = self.body.clone();
        let body = &mut body;
        Ok(match operation {
            opcode::CREATE | opcode::SYNC => Response::Path(body.text("path")?),
            opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
                Response::PathStat(body.text("path")?, data::stat(body)?)
            }
            opcode::EXISTS | opcode::SET_DATA | opcode::SET_ACL => Response::Stat(data::stat(body)?),
            opcode::GET_DATA => Response::Data(body.bytes()?, data::stat(body)?),
            opcode::GET_CHILDREN => Response::Children(data::paths(body)?),
            opcode::GET_CHILDREN2 => Response::Children2(data::paths(body)?, data::stat(body)?),
            opcode::GET_ACL => Response::Acl(data::acl(body)?, data::stat(body)?),
            opcode::MULTI => Response::Multi(multi::decode_outcomes(body)?),
            opcode::GET_EPHEMERALS => Response::Paths(data::paths(body)?),
            opcode::GET_ALL_CHILDREN_NUMBER | opcode::ADD_WATCH => Response::Number(body.int()?),
            opcode::WHO_AM_I => Response::Identities(data::identities(body)?.unwrap_or_default()),
            opcode::MULTI_READ => Response::MultiRead(multi::decode_answers(body)?),
            _ => Response::Empty,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_too_long_is_refused_and_nothing_of_it_stays() {
        let answer = tree::Answer::Ephemerals(["/a", "/bc"].map(Text::from).to_vec());
        let body = 4 + 4 + 2 + 4 + 3;
        for (most, whole) in [(body, true), (body - 1, false), (0, false)] {
            let mut out = vec![7];
            put_answer(3, Zxid(5), &answer, most, &mut out);
            let error = if whole { 0 } else { ErrorCode::MarshallingError.number() };
            let mut expected = vec![7];
            put_header(3, Zxid(5), error, &mut expected);
            assert!(out.starts_with(&expected), "{out:?}");
            assert_eq!(out.len(), expected.len() + if whole { body } else { 0 });
        }
        let mut out = Vec::new();
        put_answer(3, Zxid(5), &tree::Answer::AllChildrenNumber(1), 0, &mut out);
        assert_eq!(out.len(), 20, "only lists are bounded");
    }
}
