//! The handshake that opens a client's connection.

use spec::{SessionId, Zxid};

use crate::{Buffer, Decoder, Error, Sink};

/// The length of a session's password in bytes.
pub const PASSWORD_BYTES: usize = 16;

/// What a client says first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectRequest {
    /// Always 0.
    pub protocol_version: i32,
    /// The last zxid that the client has seen, on any server.
    pub last_seen: Zxid,
    /// The session timeout that it asks for, in milliseconds.
    pub timeout_ms: i32,
    /// The session to go on with; 0 for a new one.
    pub session: SessionId,
    /// The password of that session; one of another length is no password.
    pub password: [u8; PASSWORD_BYTES],
    /// Whether a server without a quorum will do. Clients before 3.4 do not say, and must not be told.
    pub read_only: Option<bool>,
}

/// What the server answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectResponse {
    /// Always 0.
    pub protocol_version: i32,
    /// The session timeout that is granted, in milliseconds; 0 if the session is not to be had.
    pub timeout_ms: i32,
    /// The session; 0 if it is not to be had.
    pub session: SessionId,
    /// Its password; zeros if it is not to be had.
    pub password: [u8; PASSWORD_BYTES],
    /// Whether this server has no quorum; present exactly if the request had the field.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// Reads the payload of the first frame. Bytes behind it are ignored.
    ///
    /// # Errors
    /// What is wrong with it; the connection is closed without an answer.
    pub fn decode(payload: &[u8], field_bytes_max: usize) -> Result<Self, Error> {
        let mut input = Decoder::new(payload, field_bytes_max);
        Ok(Self {
            protocol_version: input.int()?,
            // Some clients keep the −1 that answers have which name no transaction.
            last_seen: Zxid(input.long()?.max(0).cast_unsigned()),
            timeout_ms: input.int()?,
            session: SessionId(input.long()?),
            password: password(&mut input)?,
            read_only: if input.is_empty() { None } else { Some(input.bool()?) },
        })
    }

    /// Appends it as a frame.
    pub fn encode(&self, out: &mut impl Buffer) {
        out.put_sized(|out| {
            out.put_int(self.protocol_version);
            out.put_unsigned(self.last_seen.0);
            out.put_int(self.timeout_ms);
            out.put_long(self.session.0);
            out.put_bytes(&self.password);
            put_read_only(self.read_only, out);
        });
    }
}

impl ConnectResponse {
    /// The answer that a session is not to be had.
    pub fn refusal(read_only: Option<bool>) -> Self {
        Self {
            protocol_version: 0,
            timeout_ms: 0,
            session: SessionId(0),
            password: [0; PASSWORD_BYTES],
            read_only,
        }
    }

    /// Reads the payload of the server's first frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut input = Decoder::new(payload, PASSWORD_BYTES);
        Ok(Self {
            protocol_version: input.int()?,
            timeout_ms: input.int()?,
            session: SessionId(input.long()?),
            password: password(&mut input)?,
            read_only: if input.is_empty() { None } else { Some(input.bool()?) },
        })
    }

    /// Appends it as a frame.
    pub fn encode(&self, out: &mut impl Buffer) {
        out.put_sized(|out| {
            out.put_int(self.protocol_version);
            out.put_int(self.timeout_ms);
            out.put_long(self.session.0);
            out.put_bytes(&self.password);
            put_read_only(self.read_only, out);
        });
    }
}

/// A password of another length, or none, can be no session's: it reads as zeros, which are those of a new session.
fn password(input: &mut Decoder<'_>) -> Result<[u8; PASSWORD_BYTES], Error> {
    Ok(input.buffer()?.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default())
}

fn put_read_only(read_only: Option<bool>, out: &mut impl Sink) {
    if let Some(read_only) = read_only {
        out.put_bool(read_only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_seen_less_than_nothing_has_seen_nothing() {
        let request = ConnectRequest {
            protocol_version: 0,
            last_seen: Zxid(u64::MAX),
            timeout_ms: 5000,
            session: SessionId(0),
            password: [0; PASSWORD_BYTES],
            read_only: None,
        };
        let mut out = Vec::new();
        request.encode(&mut out);
        let decoded = ConnectRequest::decode(&out[4..], 64).expect("whole");
        assert_eq!(decoded, ConnectRequest { last_seen: Zxid::ZERO, ..request });
    }
}
