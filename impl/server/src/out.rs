//! Bytes on their way out of one connection.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;

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
    const KEPT: usize = 64 << 10;
    while !buffer.is_empty() {
        match writer.try_write(buffer) {
            Ok(0) => return Sent::Gone,
            Ok(count) => buffer.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
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
