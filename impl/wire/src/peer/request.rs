//! What a learner forwards: the data of REQUEST.

use protocol::peer::{Op, Request};
use spec::{ErrorCode, Machine, SessionId};
use tree::{Identity, Write};

use crate::{
    Decoder, Error, Sink,
    client::{opcode, write},
};

/// Appends the data of REQUEST.
pub(super) fn put<M>(request: &Request<M>, out: &mut impl Sink)
where
    M: Machine<Write = Write, Identity = Identity>,
{
    out.put_long(request.session.0);
    out.put_int(request.xid);
    match &request.op {
        Op::Write(write) => {
            out.put_int(write::operation(write));
            write::put(write, out);
        }
        Op::CreateSession { timeout_ms } => {
            out.put_int(opcode::CREATE_SESSION);
            out.put_int(*timeout_ms);
        }
        Op::CloseSession => out.put_int(opcode::CLOSE_SESSION),
        // A leader answers in the order of arrival and asks for no path.
        Op::Sync => {
            out.put_int(opcode::SYNC);
            out.put_bytes(b"");
        }
        // Our learners refuse by themselves; if one forwards a refusal, the leader must refuse as well.
        Op::Refused(_) => out.put_int(opcode::ERROR),
    }
}

/// Reads the data of REQUEST.
///
/// ZooKeeper's learners forward a client's write as it came. One that cannot be read is still a request, of a
/// session that waits for its answer.
///
/// # Errors
/// Data that does not even say who asks.
pub(super) fn decode<M>(input: &mut Decoder<'_>, identities: Vec<Identity>) -> Result<Request<M>, Error>
where
    M: Machine<Write = Write, Identity = Identity>,
{
    let (session, xid, operation) = (SessionId(input.long()?), input.int()?, input.int()?);
    let op = match operation {
        opcode::CREATE_SESSION => Op::CreateSession { timeout_ms: input.int()? },
        opcode::CLOSE_SESSION => Op::CloseSession,
        opcode::SYNC => Op::Sync,
        _ if write::is_write(operation) => match write::decode(operation, input) {
            Ok(write) => Op::Write(write),
            Err(_) => Op::Refused(ErrorCode::MarshallingError),
        },
        opcode::RECONFIG => Op::Refused(ErrorCode::ReconfigDisabled),
        _ => Op::Refused(ErrorCode::Unimplemented),
    };
    Ok(Request { session, xid, identities, op })
}

#[cfg(test)]
mod tests {
    use tree::Tree;

    use super::*;

    #[test]
    fn what_another_makers_learner_forwards_and_we_do_not_offer_is_refused() {
        let table = [
            (opcode::RECONFIG, ErrorCode::ReconfigDisabled),
            (opcode::CHECK_WATCHES, ErrorCode::Unimplemented),
        ];
        for (operation, code) in table {
            let bytes = [&5_i64.to_be_bytes()[..], &7_i32.to_be_bytes(), &operation.to_be_bytes()].concat();
            let request =
                decode::<Tree>(&mut Decoder::new(&bytes, 64), Vec::new()).expect("it says who asks");
            assert_eq!((request.session, request.xid), (SessionId(5), 7));
            assert_eq!(request.op, Op::Refused(code), "operation {operation}");
        }
    }
}
