//! multi and multiRead: a list of operations, each behind a header; one more header says that the list is over.

use spec::ErrorCode;
use tree::{Answer, Outcome, Read, Text, Write};

use super::{
    opcode, read,
    reply::{Response, put_outcome, put_read},
    write,
};
use crate::{Decoder, Error, Sink, data};

/// What stands in front of each part.
struct Header {
    operation: i32,
    done: bool,
    error: i32,
}

impl Header {
    /// Behind the last part.
    const END: Self = Self { operation: -1, done: true, error: -1 };

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Error> {
        Ok(Self { operation: input.int()?, done: input.bool()?, error: input.int()? })
    }

    fn put(&self, out: &mut impl Sink) {
        out.put_int(self.operation);
        out.put_bool(self.done);
        out.put_int(self.error);
    }
}

/// Reads the parts of a multi. As in ZooKeeper, setACL and a multi are no parts.
///
/// # Errors
/// What is wrong with it.
pub fn decode(input: &mut Decoder<'_>) -> Result<Vec<Write>, Error> {
    let mut parts = Vec::new();
    loop {
        let header = Header::decode(input)?;
        match header.operation {
            _ if header.done => return Ok(parts),
            part if write::is_part(part) => parts.push(write::decode_single(part, input)?),
            found => return Err(Error::Unknown { what: "part of a multi", found: i64::from(found) }),
        }
    }
}

/// Appends the parts of a multi.
pub fn put(parts: &[Write], out: &mut impl Sink) {
    for part in parts {
        Header { operation: write::operation(part), done: false, error: -1 }.put(out);
        write::put(part, out);
    }
    Header::END.put(out);
}

/// Reads the parts of a multiRead: getData and getChildren, without a watch whatever they say.
///
/// # Errors
/// [`Error::Unknown`] for any other part; otherwise what is wrong with it.
pub fn decode_reads(input: &mut Decoder<'_>) -> Result<Vec<Read>, Error> {
    let mut parts = Vec::new();
    loop {
        let header = Header::decode(input)?;
        if header.done {
            return Ok(parts);
        }
        let make: fn(Text) -> Read = match header.operation {
            opcode::GET_DATA => |path| Read::GetData { path, watch: false },
            opcode::GET_CHILDREN => |path| Read::GetChildren { path, watch: false },
            found => return Err(Error::Unknown { what: "part of a multiRead", found: i64::from(found) }),
        };
        parts.push(make(input.text("path")?));
        let _watch = input.bool()?;
    }
}

/// Appends the parts of a multiRead.
pub fn put_reads(parts: &[Read], out: &mut impl Sink) {
    for part in parts {
        Header { operation: read::operation(part), done: false, error: -1 }.put(out);
        read::put(part, out);
    }
    Header::END.put(out);
}

/// Appends the answers to a multiRead.
pub fn put_answers(answers: &[Result<Answer<'_>, ErrorCode>], out: &mut impl Sink) {
    for answer in answers {
        match answer {
            Ok(answer) => {
                let operation = if matches!(answer, Answer::Children(_)) {
                    opcode::GET_CHILDREN
                } else {
                    opcode::GET_DATA
                };
                Header { operation, done: false, error: 0 }.put(out);
                put_read(answer, out);
            }
            Err(code) => put_error(code.number(), out),
        }
    }
    Header::END.put(out);
}

/// Reads the answers to a multiRead.
///
/// # Errors
/// What is wrong with them.
pub fn decode_answers(input: &mut Decoder<'_>) -> Result<Vec<Result<Response, i32>>, Error> {
    let mut answers = Vec::new();
    loop {
        let header = Header::decode(input)?;
        answers.push(match header.operation {
            _ if header.done => return Ok(answers),
            opcode::GET_DATA => Ok(Response::Data(input.bytes()?, data::stat(input)?)),
            opcode::GET_CHILDREN => Ok(Response::Children(data::paths(input)?)),
            opcode::ERROR => Err(input.int()?),
            found => return Err(Error::Unknown { what: "answer to a multiRead", found: i64::from(found) }),
        });
    }
}

fn put_error(code: i32, out: &mut impl Sink) {
    Header { operation: opcode::ERROR, done: false, error: code }.put(out);
    out.put_int(code);
}

/// Appends the results of a multi.
pub fn put_outcomes(outcomes: &[Outcome], out: &mut impl Sink) {
    for outcome in outcomes {
        let operation = match outcome {
            Outcome::Create { .. } => opcode::CREATE,
            Outcome::Create2 { .. } => opcode::CREATE2,
            Outcome::Delete => opcode::DELETE,
            Outcome::SetData(_) => opcode::SET_DATA,
            Outcome::SetAcl(_) => opcode::SET_ACL,
            Outcome::Check => opcode::CHECK,
            // None of these is ever part of a multi.
            Outcome::Multi(_) | Outcome::CreateSession { .. } | Outcome::CloseSession => continue,
            Outcome::Error { code } => {
                put_error(*code, out);
                continue;
            }
        };
        Header { operation, done: false, error: 0 }.put(out);
        put_outcome(outcome, out);
    }
    Header::END.put(out);
}

/// Reads the results of a multi.
///
/// # Errors
/// What is wrong with them.
pub fn decode_outcomes(input: &mut Decoder<'_>) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = Vec::new();
    loop {
        let header = Header::decode(input)?;
        outcomes.push(match header.operation {
            _ if header.done => return Ok(outcomes),
            opcode::CREATE => Outcome::Create { path: input.text("path")? },
            opcode::CREATE2 => Outcome::Create2 { path: input.text("path")?, stat: data::stat(input)? },
            opcode::DELETE => Outcome::Delete,
            opcode::SET_DATA => Outcome::SetData(data::stat(input)?),
            opcode::SET_ACL => Outcome::SetAcl(data::stat(input)?),
            opcode::CHECK => Outcome::Check,
            opcode::ERROR => Outcome::Error { code: input.int()? },
            found => return Err(Error::Unknown { what: "result of a multi", found: i64::from(found) }),
        });
    }
}
