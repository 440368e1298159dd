//! The bodies of reads, and of what concerns watches.

use spec::Zxid;
use tree::{Read, Text, WatchChoice, WatchMode};

use super::{multi, opcode};
use crate::{Decoder, Error, Sink, data};

/// Whether an operation looks at the tree, or at the watches of its connection.
pub fn is_read(operation: i32) -> bool {
    matches!(
        operation,
        opcode::EXISTS
            | opcode::GET_DATA
            | opcode::GET_ACL
            | opcode::GET_CHILDREN
            | opcode::GET_CHILDREN2
            | opcode::GET_EPHEMERALS
            | opcode::GET_ALL_CHILDREN_NUMBER
            | opcode::WHO_AM_I
            | opcode::MULTI_READ
            | opcode::ADD_WATCH
            | opcode::CHECK_WATCHES
            | opcode::REMOVE_WATCHES
            | opcode::SET_WATCHES
            | opcode::SET_WATCHES2
    )
}

/// The number of a read's operation.
pub fn operation(read: &Read) -> i32 {
    match read {
        Read::Exists { .. } => opcode::EXISTS,
        Read::GetData { .. } => opcode::GET_DATA,
        Read::GetAcl { .. } => opcode::GET_ACL,
        Read::GetChildren { .. } => opcode::GET_CHILDREN,
        Read::GetChildren2 { .. } => opcode::GET_CHILDREN2,
        Read::GetEphemerals { .. } => opcode::GET_EPHEMERALS,
        Read::GetAllChildrenNumber { .. } => opcode::GET_ALL_CHILDREN_NUMBER,
        Read::WhoAmI => opcode::WHO_AM_I,
        Read::Multi(_) => opcode::MULTI_READ,
        Read::AddWatch { .. } => opcode::ADD_WATCH,
        Read::CheckWatches { .. } => opcode::CHECK_WATCHES,
        Read::RemoveWatches { .. } => opcode::REMOVE_WATCHES,
        Read::SetWatches { persistent, recursive, .. } if persistent.is_empty() && recursive.is_empty() => {
            opcode::SET_WATCHES
        }
        Read::SetWatches { .. } => opcode::SET_WATCHES2,
    }
}

/// Reads the body of a read.
///
/// # Errors
/// [`Error::Unknown`] for an operation that is no read, a mode of watches or a choice among them that there is not;
/// otherwise what is wrong with the body.
pub fn decode(operation: i32, input: &mut Decoder<'_>) -> Result<Read, Error> {
    Ok(match operation {
        opcode::EXISTS => Read::Exists { path: input.text("path")?, watch: input.bool()? },
        opcode::GET_DATA => Read::GetData { path: input.text("path")?, watch: input.bool()? },
        opcode::GET_CHILDREN => Read::GetChildren { path: input.text("path")?, watch: input.bool()? },
        opcode::GET_CHILDREN2 => Read::GetChildren2 { path: input.text("path")?, watch: input.bool()? },
        opcode::GET_ACL => Read::GetAcl { path: input.text("path")? },
        opcode::GET_EPHEMERALS => Read::GetEphemerals { prefix: prefix(input)? },
        opcode::GET_ALL_CHILDREN_NUMBER => Read::GetAllChildrenNumber { path: input.text("path")? },
        opcode::WHO_AM_I => Read::WhoAmI,
        opcode::MULTI_READ => Read::Multi(multi::decode_reads(input)?),
        opcode::ADD_WATCH => {
            let (path, mode) = (input.text("path")?, input.int()?);
            Read::AddWatch { path, mode: known("mode of a watch", mode, WatchMode::from_number)? }
        }
        opcode::CHECK_WATCHES => {
            let (path, which) = chosen(input)?;
            Read::CheckWatches { path, which }
        }
        opcode::REMOVE_WATCHES => {
            let (path, which) = chosen(input)?;
            Read::RemoveWatches { path, which }
        }
        opcode::SET_WATCHES | opcode::SET_WATCHES2 => set_watches(operation, input)?,
        other => return Err(Error::Unknown { what: "read", found: i64::from(other) }),
    })
}

fn set_watches(operation: i32, input: &mut Decoder<'_>) -> Result<Read, Error> {
    let relative = Zxid(input.unsigned()?);
    let [data, exist, child] = [data::paths(input)?, data::paths(input)?, data::paths(input)?];
    let [persistent, recursive] = if operation == opcode::SET_WATCHES2 {
        [data::paths(input)?, data::paths(input)?]
    } else {
        [Vec::new(), Vec::new()]
    };
    Ok(Read::SetWatches { relative, data, exist, child, persistent, recursive })
}

/// Null is for all of them, as is the empty one.
fn prefix(input: &mut Decoder<'_>) -> Result<Text, Error> {
    match input.text("prefix") {
        Err(Error::Null { .. }) => Ok(Text::default()),
        prefix => prefix,
    }
}

fn chosen(input: &mut Decoder<'_>) -> Result<(Text, WatchChoice), Error> {
    let (path, which) = (input.text("path")?, input.int()?);
    Ok((path, known("choice of watches", which, WatchChoice::from_number)?))
}

fn known<T>(what: &'static str, number: i32, find: impl FnOnce(i32) -> Option<T>) -> Result<T, Error> {
    find(number).ok_or(Error::Unknown { what, found: i64::from(number) })
}

/// Appends the body of a read.
pub fn put(read: &Read, out: &mut impl Sink) {
    match read {
        Read::Exists { path, watch }
        | Read::GetData { path, watch }
        | Read::GetChildren { path, watch }
        | Read::GetChildren2 { path, watch } => {
            out.put_bytes(path.as_bytes());
            out.put_bool(*watch);
        }
        Read::GetAcl { path }
        | Read::GetAllChildrenNumber { path }
        | Read::GetEphemerals { prefix: path } => {
            out.put_bytes(path.as_bytes());
        }
        Read::WhoAmI => {}
        Read::Multi(parts) => multi::put_reads(parts, out),
        Read::AddWatch { path, mode } => {
            out.put_bytes(path.as_bytes());
            out.put_int(mode.number());
        }
        Read::CheckWatches { path, which } | Read::RemoveWatches { path, which } => {
            out.put_bytes(path.as_bytes());
            out.put_int(which.number());
        }
        Read::SetWatches { relative, data, exist, child, persistent, recursive } => {
            out.put_unsigned(relative.0);
            data::put_paths(data, out);
            data::put_paths(exist, out);
            data::put_paths(child, out);
            if operation(read) == opcode::SET_WATCHES2 {
                data::put_paths(persistent, out);
                data::put_paths(recursive, out);
            }
        }
    }
}
