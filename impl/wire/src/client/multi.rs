//! multi: a list of operations, each behind a header; one more header says that the list is over.

use tree::{Outcome, Write};

use super::{opcode, write};
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
/// [`Error::NotSupported`] if it has a container or a time to live in it; otherwise what is wrong with it.
pub fn decode(input: &mut Decoder<'_>) -> Result<Vec<Write>, Error> {
    let mut parts = Vec::new();
    loop {
        let header = Header::decode(input)?;
        match header.operation {
            _ if header.done => return Ok(parts),
            opcode::CREATE_CONTAINER => return Err(Error::NotSupported { what: "createContainer" }),
            opcode::CREATE_TTL => return Err(Error::NotSupported { what: "createTTL" }),
            opcode::CREATE | opcode::CREATE2 | opcode::DELETE | opcode::SET_DATA | opcode::CHECK => {
                parts.push(write::decode_single(header.operation, input)?);
            }
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
                Header { operation: opcode::ERROR, done: false, error: *code }.put(out);
                out.put_int(*code);
                continue;
            }
        };
        Header { operation, done: false, error: 0 }.put(out);
        super::reply::put_outcome(outcome, out);
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
