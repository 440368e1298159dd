//! Bytes on their way out of one connection.

use std::io;

use bytes::{Buf, BytesMut};
use rustix::net::{self, SendFlags};
use tokio::{
    io::Interest,
    net::{TcpStream, tcp::OwnedWriteHalf},
};

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
pub(crate) fn send(writer: &OwnedWriteHalf, buffer: &mut BytesMut) -> Sent {
    send_by(buffer, |bytes| writer.try_write(bytes))
}

/// The same of the last that a connection sends, which is to be closed behind it: the end goes out with the bytes.
pub(crate) fn send_last(writer: &OwnedWriteHalf, buffer: &mut BytesMut) -> Sent {
    let stream: &TcpStream = writer.as_ref();
    let more = SendFlags::MORE | SendFlags::NOSIGNAL;
    send_by(buffer, |bytes| {
        stream.try_io(Interest::WRITABLE, || net::send(stream, bytes, more).map_err(io::Error::from))
    })
}

fn send_by(buffer: &mut BytesMut, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Sent {
    const KEPT: usize = 64 << 10;
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
    if buffer.capacity() > KEPT {
        *buffer = BytesMut::new();
    } else {
        buffer.clear();
    }
    Sent::All
}
