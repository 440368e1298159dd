//! The bodies of writes: the same from a client, inside a multi, and inside a learner's request to its leader.

use tree::{CreateRequest, Write};

use super::{multi, opcode};
use crate::{Decoder, Error, Sink, data};

/// Whether an operation changes the tree and is offered.
pub fn is_write(operation: i32) -> bool {
    is_part(operation) && operation != opcode::CHECK || matches!(operation, opcode::SET_ACL | opcode::MULTI)
}

/// Whether an operation has a place in a multi.
pub(super) fn is_part(operation: i32) -> bool {
    matches!(
        operation,
        opcode::CREATE
            | opcode::CREATE2
            | opcode::CREATE_CONTAINER
            | opcode::CREATE_TTL
            | opcode::DELETE
            | opcode::SET_DATA
            | opcode::CHECK
    )
}

/// The number of a write's operation.
pub fn operation(write: &Write) -> i32 {
    match write {
        Write::Create { request, .. } => match request {
            CreateRequest::Create => opcode::CREATE,
            CreateRequest::Create2 => opcode::CREATE2,
            CreateRequest::Container => opcode::CREATE_CONTAINER,
            CreateRequest::Ttl { .. } => opcode::CREATE_TTL,
        },
        Write::Delete { .. } => opcode::DELETE,
        Write::SetData { .. } => opcode::SET_DATA,
        Write::SetAcl { .. } => opcode::SET_ACL,
        Write::Check { .. } => opcode::CHECK,
        Write::Multi(_) => opcode::MULTI,
        Write::Sweep { .. } => opcode::DELETE_CONTAINER,
    }
}

/// Reads the body of a write.
///
/// # Errors
/// [`Error::Unknown`] for an operation that is no write; otherwise what is wrong with the body.
pub fn decode(operation: i32, input: &mut Decoder<'_>) -> Result<Write, Error> {
    match operation {
        opcode::MULTI => Ok(Write::Multi(multi::decode(input)?)),
        opcode::CHECK => {
            Err(Error::Unknown { what: "write outside of a multi", found: i64::from(operation) })
        }
        other => decode_single(other, input),
    }
}

/// Reads the body of anything but a multi.
pub(super) fn decode_single(operation: i32, input: &mut Decoder<'_>) -> Result<Write, Error> {
    Ok(match operation {
        opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => Write::Create {
            path: input.text("path")?,
            data: input.bytes()?,
            acl: data::acl(input)?,
            flags: input.int()?,
            request: match operation {
                opcode::CREATE => CreateRequest::Create,
                opcode::CREATE2 => CreateRequest::Create2,
                opcode::CREATE_CONTAINER => CreateRequest::Container,
                _ => CreateRequest::Ttl { ttl_ms: input.long()? },
            },
        },
        opcode::DELETE => Write::Delete { path: input.text("path")?, version: input.int()? },
        opcode::SET_DATA => {
            Write::SetData { path: input.text("path")?, data: input.bytes()?, version: input.int()? }
        }
        opcode::SET_ACL => {
            Write::SetAcl { path: input.text("path")?, acl: data::acl(input)?, version: input.int()? }
        }
        opcode::CHECK => Write::Check { path: input.text("path")?, version: input.int()? },
        other => return Err(Error::Unknown { what: "write", found: i64::from(other) }),
    })
}

/// Appends the body of a write.
pub fn put(write: &Write, out: &mut impl Sink) {
    match write {
        Write::Create { path, data, acl, flags, request } => {
            out.put_bytes(path.as_bytes());
            out.put_optional(data.as_deref());
            data::put_acl(acl, out);
            out.put_int(*flags);
            if let CreateRequest::Ttl { ttl_ms } = request {
                out.put_long(*ttl_ms);
            }
        }
        Write::Delete { path, version } | Write::Check { path, version } => {
            out.put_bytes(path.as_bytes());
            out.put_int(*version);
        }
        Write::SetData { path, data, version } => {
            out.put_bytes(path.as_bytes());
            out.put_optional(data.as_deref());
            out.put_int(*version);
        }
        Write::SetAcl { path, acl, version } => {
            out.put_bytes(path.as_bytes());
            data::put_acl(acl, out);
            out.put_int(*version);
        }
        Write::Multi(parts) => multi::put(parts, out),
        // As a buffer, like a string.
        Write::Sweep { path } => out.put_bytes(path.as_bytes()),
    }
}
