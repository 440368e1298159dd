//! Requests: a header of xid and operation, and the operation's body.

use protocol::peer::ClientRequest;
use spec::{ErrorCode, Machine};
use tree::{Credential, Read, Text, Write};

use super::{opcode, read, write};
use crate::{Buffer, Decoder, Error};

/// What stands in front of each request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestHeader {
    /// The client's number of the request, echoed in the reply.
    pub xid: i32,
    /// What is asked; see [`opcode`].
    pub operation: i32,
}

impl RequestHeader {
    /// Reads it from the front of a frame.
    ///
    /// # Errors
    /// [`Error::Short`]; the connection is to be closed.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, Error> {
        Ok(Self { xid: input.int()?, operation: input.int()? })
    }
}

/// Reads the payload of a frame behind the handshake. Bytes behind the request are ignored.
///
/// Every operation has its answer: one that is unknown, not offered, or only for servers among themselves, and a
/// body that does not decode, become [`ClientRequest::Refused`].
///
/// # Errors
/// A payload without a whole header, which has no answer: the connection is to be closed.
pub fn decode_request<M>(input: &mut Decoder<'_>) -> Result<(RequestHeader, ClientRequest<M>), Error>
where
    M: Machine<Read = Read, Write = Write, Credential = Credential>,
{
    let mut header = RequestHeader::decode(input)?;
    if header.operation == opcode::PING {
        // Whatever number a ping has, its answer has this one.
        header.xid = opcode::XID_PING;
    }
    // As in ZooKeeper, nothing is said of an authentication that cannot even be read.
    let request = body(header.operation, input).unwrap_or_else(|_| ClientRequest::Refused {
        code: ErrorCode::MarshallingError,
        close: header.operation == opcode::AUTH,
    });
    Ok((header, request))
}

/// Reads what a client says in a mechanism of SASL: the body of [`opcode::SASL`]. A null token is an empty one.
///
/// # Errors
/// A body that does not decode.
pub fn decode_token<'a>(input: &mut Decoder<'a>) -> Result<&'a [u8], Error> {
    Ok(input.buffer()?.unwrap_or_default())
}

fn body<M>(operation: i32, input: &mut Decoder<'_>) -> Result<ClientRequest<M>, Error>
where
    M: Machine<Read = Read, Write = Write, Credential = Credential>,
{
    Ok(match operation {
        opcode::PING => ClientRequest::Ping,
        opcode::CLOSE_SESSION => ClientRequest::Close,
        opcode::SYNC => ClientRequest::Sync(input.text("path")?.as_bytes().to_vec()),
        opcode::AUTH => ClientRequest::Authenticate(credential(input)?),
        _ if read::is_read(operation) => ClientRequest::Read(read::decode(operation, input)?),
        _ if write::is_write(operation) => ClientRequest::Write(write::decode(operation, input)?),
        // As by ZooKeeper where `reconfigEnabled` is not set.
        opcode::RECONFIG => ClientRequest::Refused { code: ErrorCode::ReconfigDisabled, close: false },
        _ => ClientRequest::Refused { code: ErrorCode::Unimplemented, close: true },
    })
}

/// A null scheme is one that nobody knows, a null proof an empty one.
fn credential(input: &mut Decoder<'_>) -> Result<Credential, Error> {
    let _type = input.int()?;
    let scheme = match input.text("scheme") {
        Err(Error::Null { .. }) => Text::default(),
        scheme => scheme?,
    };
    Ok(Credential { scheme, bytes: input.bytes()?.unwrap_or_default(), sealed: false })
}

/// Appends a client's request as a frame.
///
/// # Errors
/// [`Error::Invalid`] for [`ClientRequest::Refused`] and [`ClientRequest::Exchange`], which nobody sends; nothing is appended.
pub fn put_request<M>(xid: i32, request: &ClientRequest<M>, out: &mut impl Buffer) -> Result<(), Error>
where
    M: Machine<Read = Read, Write = Write, Credential = Credential>,
{
    let operation = operation(request)?;
    out.put_sized(|out| {
        out.put_int(xid);
        out.put_int(operation);
        match request {
            ClientRequest::Ping
            | ClientRequest::Close
            | ClientRequest::Refused { .. }
            | ClientRequest::Exchange { .. } => {}
            ClientRequest::Authenticate(credential) => {
                out.put_int(0);
                out.put_bytes(credential.scheme.as_bytes());
                out.put_bytes(&credential.bytes);
            }
            ClientRequest::Read(read) => read::put(read, out),
            ClientRequest::Write(write) => write::put(write, out),
            ClientRequest::Sync(path) => out.put_bytes(path),
        }
    });
    Ok(())
}

/// The number of a request's operation.
///
/// # Errors
/// [`Error::Invalid`] for [`ClientRequest::Refused`] and [`ClientRequest::Exchange`].
pub fn operation<M>(request: &ClientRequest<M>) -> Result<i32, Error>
where
    M: Machine<Read = Read, Write = Write, Credential = Credential>,
{
    Ok(match request {
        ClientRequest::Ping => opcode::PING,
        ClientRequest::Close => opcode::CLOSE_SESSION,
        ClientRequest::Authenticate(_) => opcode::AUTH,
        ClientRequest::Sync(_) => opcode::SYNC,
        ClientRequest::Read(read) => read::operation(read),
        ClientRequest::Write(write) => write::operation(write),
        ClientRequest::Refused { .. } | ClientRequest::Exchange { .. } => {
            return Err(Error::Invalid { what: "what a server makes of a request is not sent" });
        }
    })
}

#[cfg(test)]
mod tests {
    use tree::Tree;

    use super::*;

    #[test]
    fn a_ping_has_one_number() {
        let bytes = [7_i32.to_be_bytes(), opcode::PING.to_be_bytes()].concat();
        let (header, _) = decode_request::<Tree>(&mut Decoder::new(&bytes, 64)).expect("a header");
        assert_eq!(header.xid, opcode::XID_PING);
    }

    #[test]
    fn the_path_of_a_sync_is_text() {
        let numbers = [7, opcode::SYNC, 3].map(i32::to_be_bytes).concat();
        let bytes = [&numbers[..], b"/\xe2\x82"].concat();
        let (_, request) = decode_request::<Tree>(&mut Decoder::new(&bytes, 64)).expect("a header");
        assert_eq!(request, ClientRequest::Sync("/\u{fffd}".as_bytes().to_vec()));
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        let table = [
            (opcode::RECONFIG, ErrorCode::ReconfigDisabled, false),
            (opcode::CHECK, ErrorCode::Unimplemented, true),
            (99, ErrorCode::Unimplemented, true),
        ];
        for (operation, code, close) in table {
            let bytes = [7_i32.to_be_bytes(), operation.to_be_bytes()].concat();
            let (header, request) = decode_request::<Tree>(&mut Decoder::new(&bytes, 64)).expect("a header");
            assert_eq!(header, RequestHeader { xid: 7, operation });
            assert_eq!(request, ClientRequest::Refused { code, close }, "operation {operation}");
        }
    }
}
