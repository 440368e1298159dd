//! Bytes on their way out of one connection.

use std::io;

use bytes::{Buf, BytesMut};
use rustix::net::{self, SendFlags};
use tokio::{io::Interest, net::TcpStream};

use crate::stream::Writer;

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    /// Everything is on its way.
    All,
    /// The socket takes no more now.
    Blocked,
    /// The connection is gone.
    Gone,
}

/// How much room a buffer keeps, in bytes, for what goes to a client. There may be many of those.
pub(crate) const KEPT_OF_CLIENT: usize = 64 << 10;
/// The same for what goes to a server.
pub(crate) const KEPT_OF_LINK: usize = 1 << 20;

/// Sends what stands in the buffer, as far as the socket takes it. A buffer that has grown above `kept` is given back.
pub(crate) fn send(writer: &Writer, buffer: &mut BytesMut, kept: usize) -> Sent {
    match writer {
        Writer::Plain(writer) => send_by(buffer, kept, |bytes| writer.try_write(bytes)),
        Writer::Secure(secure) => given_back(secure.send(buffer, false), buffer, kept),
    }
}

/// The same of the last that a connection sends, which is to be closed behind it: the end goes out with the bytes.
pub(crate) fn send_last(writer: &Writer, buffer: &mut BytesMut) -> Sent {
    let stream: &TcpStream = match writer {
        Writer::Plain(writer) => writer.as_ref(),
        Writer::Secure(secure) => return given_back(secure.send(buffer, true), buffer, KEPT_OF_CLIENT),
    };
    let more = SendFlags::MORE | SendFlags::NOSIGNAL;
    send_by(buffer, KEPT_OF_CLIENT, |bytes| {
        stream.try_io(Interest::WRITABLE, || net::send(stream, bytes, more).map_err(io::Error::from))
    })
}

fn send_by(buffer: &mut BytesMut, kept: usize, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Sent {
    let mut sent = 0;
    while sent < buffer.len() {
        match write(&buffer[sent..]) {
            Ok(0) => return Sent::Gone,
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                buffer.advance(sent);
                return Sent::Blocked;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Sent::Gone,
        }
    }
    given_back(Sent::All, buffer, kept)
}

/// Empties the buffer if all is sent.
fn given_back(sent: Sent, buffer: &mut BytesMut, kept: usize) -> Sent {
    if sent == Sent::All {
        if buffer.capacity() > kept {
            *buffer = BytesMut::new();
        } else {
            buffer.clear();
        }
    }
    sent
}
