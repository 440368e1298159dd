//! Who a client is, proved by SASL before anything else is said on a connection.

use std::io::{self, Read as _, Write as _};

use sasl::{Answer, User};
use wire::{
    Buffer as _, Decoder, Sink as _,
    client::{Reply, opcode},
    record::CLIENT_FRAME_BYTES_MAX,
};

use crate::stream::Stream;

/// Why a user is not proved.
#[derive(Debug)]
pub(crate) enum Unproved {
    /// The connection does not say.
    Lost(io::Error),
    /// The server does not believe it, or is not to be believed.
    Refused(String),
}

/// Proves to the server who this is, and has it prove that it knows the password too. Requests have these numbers.
pub(crate) fn prove(stream: &mut Stream, user: &User, xids: [i32; 2]) -> Result<(), Unproved> {
    let challenge = exchange(stream, xids[0], b"")?;
    let answer = Answer::to(&challenge, user, &sasl::nonce()).map_err(Unproved::Refused)?;
    let proof = exchange(stream, xids[1], answer.token())?;
    if answer.is_proved_by(&proof) {
        return Ok(());
    }
    Err(Unproved::Refused("the server has not proved that it knows the password".to_owned()))
}

/// A token for a token.
fn exchange(stream: &mut Stream, xid: i32, token: &[u8]) -> Result<Vec<u8>, Unproved> {
    let mut frame = Vec::new();
    frame.put_sized(|out| {
        out.put_int(xid);
        out.put_int(opcode::SASL);
        out.put_optional(Some(token));
    });
    stream.write_all(&frame).map_err(Unproved::Lost)?;
    loop {
        let payload = read_frame(stream).map_err(Unproved::Lost)?;
        let unread = |error: wire::Error| Unproved::Refused(error.to_string());
        let mut reply = Reply::decode(Decoder::stream(&payload)).map_err(unread)?;
        // What was asked on a connection before, or a ping.
        if reply.xid != xid {
            continue;
        }
        if reply.error != 0 {
            return Err(Unproved::Refused(format!("the server refuses it, with code {}", reply.error)));
        }
        let token = reply.body.buffer().map_err(unread)?;
        let token =
            token.ok_or_else(|| Unproved::Refused("the server has no SASL, or refuses it".to_owned()))?;
        return Ok(token.to_vec());
    }
}

fn read_frame(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let found = i32::from_be_bytes(length);
    let length = usize::try_from(found).ok().filter(|length| *length <= CLIENT_FRAME_BYTES_MAX);
    let Some(length) = length else {
        let told = format!("a frame of {found} bytes, where there may be {CLIENT_FRAME_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}
