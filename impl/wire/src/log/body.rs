//! The body of a log's entry: a header, the transaction, and perhaps the digest of the tree behind it.

use spec::{SessionId, Zxid};
use tree::{CreateKind, CreateTxn, Txn, TxnBody, TxnDigest};

use crate::{Buffer, Decoder, Error, Sink, client::opcode, data};

/// The length of a digest in bytes.
const DIGEST_BYTES: usize = 12;
/// What stands for the parent's count of creations where a log does not tell it.
const PARENT_CVERSION_UNKNOWN: i32 = -1;

/// Appends the body of an entry.
pub fn put_body(zxid: Zxid, txn: &Txn, out: &mut impl Buffer) {
    out.put_long(txn.session.0);
    out.put_int(txn.cxid);
    out.put_unsigned(zxid.0);
    out.put_long(txn.time);
    out.put_int(operation(&txn.body));
    put_txn(&txn.body, out);
    if let Some(digest) = txn.digest {
        out.put_int(digest.version);
        out.put_long(digest.tree);
    }
}

/// Reads the body of an entry.
///
/// # Errors
/// What is wrong with it.
pub fn decode_body(input: &mut Decoder<'_>) -> Result<(Zxid, Txn), Error> {
    let session = SessionId(input.long()?);
    let cxid = input.int()?;
    let zxid = Zxid(input.unsigned()?);
    let time = input.long()?;
    let operation = input.int()?;
    let body = match operation {
        opcode::CLOSE_SESSION => close_session(input),
        opcode::MULTI => multi(input)?,
        other => single(other, input)?,
    };
    let digest = if input.rest().len() >= DIGEST_BYTES {
        Some(TxnDigest { version: input.int()?, tree: input.long()? })
    } else {
        None
    };
    input.finish("transaction")?;
    Ok((zxid, Txn { session, cxid, time, body, digest }))
}

/// The number of a transaction's operation.
fn operation(body: &TxnBody) -> i32 {
    match body {
        TxnBody::Create(create) => match create.kind {
            CreateKind::Create { .. } => opcode::CREATE,
            CreateKind::Create2 { .. } => opcode::CREATE2,
            CreateKind::Container => opcode::CREATE_CONTAINER,
            CreateKind::Ttl { .. } => opcode::CREATE_TTL,
        },
        TxnBody::Delete { sweep: false, .. } => opcode::DELETE,
        TxnBody::Delete { sweep: true, .. } => opcode::DELETE_CONTAINER,
        TxnBody::SetData { reconfig: false, .. } => opcode::SET_DATA,
        TxnBody::SetData { reconfig: true, .. } => opcode::RECONFIG,
        TxnBody::SetAcl { .. } => opcode::SET_ACL,
        TxnBody::Check { .. } => opcode::CHECK,
        TxnBody::Multi(_) => opcode::MULTI,
        TxnBody::CreateSession { .. } => opcode::CREATE_SESSION,
        TxnBody::CloseSession { .. } => opcode::CLOSE_SESSION,
        TxnBody::Error { .. } => opcode::ERROR,
    }
}

fn put_txn(body: &TxnBody, out: &mut impl Buffer) {
    match body {
        TxnBody::Create(create) => put_create(create, out),
        TxnBody::Delete { path, sweep: _ } => out.put_bytes(path.as_bytes()),
        TxnBody::SetData { path, data, version, reconfig: _ } => {
            out.put_bytes(path.as_bytes());
            out.put_optional(data.as_deref());
            out.put_int(*version);
        }
        TxnBody::SetAcl { path, acl, version } => {
            out.put_bytes(path.as_bytes());
            data::put_acl(acl, out);
            out.put_int(*version);
        }
        TxnBody::Check { path, version } => {
            out.put_bytes(path.as_bytes());
            out.put_int(*version);
        }
        TxnBody::Multi(parts) => {
            out.put_count(parts.len());
            for part in parts {
                out.put_int(operation(part));
                out.put_sized(|out| put_txn(part, out));
            }
        }
        TxnBody::CreateSession { timeout_ms } => out.put_int(*timeout_ms),
        TxnBody::CloseSession { ephemerals: Some(paths) } => data::put_paths(paths, out),
        TxnBody::CloseSession { ephemerals: None } => {}
        TxnBody::Error { code } => out.put_int(*code),
    }
}

fn put_create(create: &CreateTxn, out: &mut impl Sink) {
    out.put_bytes(create.path.as_bytes());
    out.put_optional(create.data.as_deref());
    data::put_acl(&create.acl, out);
    if let CreateKind::Create { ephemeral } | CreateKind::Create2 { ephemeral } = create.kind {
        out.put_bool(ephemeral);
    }
    out.put_int(create.parent_cversion);
    if let CreateKind::Ttl { ttl_ms } = create.kind {
        out.put_long(ttl_ms);
    }
}

/// Anything that may be part of a multi, and the opening of a session.
fn single(operation: i32, input: &mut Decoder<'_>) -> Result<TxnBody, Error> {
    Ok(match operation {
        opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
            TxnBody::Create(create(operation, input)?)
        }
        opcode::DELETE | opcode::DELETE_CONTAINER => {
            TxnBody::Delete { path: input.text("path")?, sweep: operation == opcode::DELETE_CONTAINER }
        }
        opcode::SET_DATA | opcode::RECONFIG => TxnBody::SetData {
            path: input.text("path")?,
            data: input.bytes()?,
            version: input.int()?,
            reconfig: operation == opcode::RECONFIG,
        },
        opcode::SET_ACL => {
            TxnBody::SetAcl { path: input.text("path")?, acl: data::acl(input)?, version: input.int()? }
        }
        opcode::CHECK => TxnBody::Check { path: input.text("path")?, version: input.int()? },
        opcode::CREATE_SESSION => TxnBody::CreateSession { timeout_ms: input.int()? },
        opcode::ERROR => TxnBody::Error { code: input.int()? },
        found => return Err(Error::Unknown { what: "transaction type", found: i64::from(found) }),
    })
}

fn create(operation: i32, input: &mut Decoder<'_>) -> Result<CreateTxn, Error> {
    let (path, data, acl) = (input.text("path")?, input.bytes()?, data::acl(input)?);
    let ephemeral = match operation {
        opcode::CREATE | opcode::CREATE2 => input.bool()?,
        _ => false,
    };
    // Logs before 3.4 end here.
    let parent_cversion = if input.is_empty() && operation == opcode::CREATE {
        PARENT_CVERSION_UNKNOWN
    } else {
        input.int()?
    };
    let kind = match operation {
        opcode::CREATE_CONTAINER => CreateKind::Container,
        opcode::CREATE_TTL => CreateKind::Ttl { ttl_ms: input.long()? },
        opcode::CREATE2 => CreateKind::Create2 { ephemeral },
        _ => CreateKind::Create { ephemeral },
    };
    Ok(CreateTxn { kind, path, data, acl, parent_cversion })
}

/// A multi's parts are behind their lengths; none is a multi, or opens or closes a session.
///
/// In a failed multi the parts before the one that failed are errors with code 0. Apache ZooKeeper logs them as what
/// they would have done, and turns them into errors as it applies them, but leaves their bytes. A leader that sends
/// such a transaction later calls a part an error that still has the bytes of a creation, say.
fn multi(input: &mut Decoder<'_>) -> Result<TxnBody, Error> {
    let parts = input.vector(|input| {
        let operation = input.int()?;
        let part = input.buffer()?.ok_or(Error::Null { what: "part of a multi" })?;
        if operation == opcode::CREATE_SESSION {
            return Err(Error::Unknown { what: "part of a multi", found: i64::from(operation) });
        }
        if operation == opcode::ERROR && part.len() != 4 {
            return Ok(TxnBody::Error { code: 0 });
        }
        let mut part = input.inside(part);
        let body = single(operation, &mut part)?;
        part.finish("part of a multi")?;
        Ok(body)
    })?;
    parts.map(TxnBody::Multi).ok_or(Error::Null { what: "multi" })
}

/// Logs before 3.6 say nothing of the ephemerals, and neither does a server that is told to write such logs, which
/// may still put a digest behind.
fn close_session(input: &mut Decoder<'_>) -> TxnBody {
    let mut ahead = input.clone();
    if let Ok(ephemerals) = data::paths(&mut ahead)
        && matches!(ahead.rest().len(), 0 | DIGEST_BYTES)
    {
        *input = ahead;
        return TxnBody::CloseSession { ephemerals: Some(ephemerals) };
    }
    TxnBody::CloseSession { ephemerals: None }
}
