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

/// Sends what stands in the buffer, as far as the socket takes it. Buffers that have grown large are given back.
pub(crate) fn send(writer: &Writer, buffer: &mut BytesMut) -> Sent {
    match writer {
        Writer::Plain(writer) => send_by(buffer, |bytes| writer.try_write(bytes)),
        Writer::Secure(secure) => given_back(secure.send(buffer, false), buffer),
    }
}

/// The same of the last that a connection sends, which is to be closed behind it: the end goes out with the bytes.
pub(crate) fn send_last(writer: &Writer, buffer: &mut BytesMut) -> Sent {
    let stream: &TcpStream = match writer {
        Writer::Plain(writer) => writer.as_ref(),
        Writer::Secure(secure) => return given_back(secure.send(buffer, true), buffer),
    };
    let more = SendFlags::MORE | SendFlags::NOSIGNAL;
    send_by(buffer, |bytes| {
        stream.try_io(Interest::WRITABLE, || net::send(stream, bytes, more).map_err(io::Error::from))
    })
}

fn send_by(buffer: &mut BytesMut, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Sent {
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
    given_back(Sent::All, buffer)
}

/// Empties the buffer if all is sent.
fn given_back(sent: Sent, buffer: &mut BytesMut) -> Sent {
    const KEPT: usize = 64 << 10;
    if sent == Sent::All {
        if buffer.capacity() > KEPT {
            *buffer = BytesMut::new();
        } else {
            buffer.clear();
        }
    }
    sent
}
