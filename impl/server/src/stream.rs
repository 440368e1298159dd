//! Two kinds of connection: plain ones, and those inside TLS.
//!
//! A plain one is the socket's two halves, with nothing in between. Inside TLS both halves share the state of the
//! library, which is borrowed for a moment, and never across an await.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tls::rustls::{Connection, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::out::{self, Sent};

/// Bytes that one read takes off the socket of a connection inside TLS.
const READ_BYTES: usize = 64 << 10;

/// Bytes that a long answer has taken in one go, however fast its socket is, before others have their turn.
const AT_ONCE_MAX: usize = 1 << 20;

thread_local! {
    /// Where they are read to: nothing of them is kept there.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A connection that is up.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// Inside TLS.
    Secure(Rc<Secure>),
}

/// Where it is read from.
#[derive(Debug)]
pub(crate) enum Reader {
    /// Without TLS.
    Plain(OwnedReadHalf),
    /// Inside TLS.
    Secure(Rc<Secure>),
}

/// Where it is written to.
#[derive(Debug)]
pub(crate) enum Writer {
    /// Without TLS.
    Plain(OwnedWriteHalf),
    /// Inside TLS.
    Secure(Rc<Secure>),
}

impl Stream {
    pub(crate) fn into_split(self) -> (Reader, Writer) {
        match self {
            Self::Plain(tcp) => {
                let (reader, writer) = tcp.into_split();
                (Reader::Plain(reader), Writer::Plain(writer))
            }
            Self::Secure(secure) => (Reader::Secure(Rc::clone(&secure)), Writer::Secure(secure)),
        }
    }

    /// The certificate that the other end has shown, if it has.
    pub(crate) fn certificate(&self) -> Option<CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(secure) => {
                let state = secure.state.borrow();
                Some(state.connection.peer_certificates()?.first()?.clone().into_owned())
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Secure(secure) => secure.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Secure(secure) => secure.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, parts),
            Self::Secure(secure) => {
                let first = parts.iter().find(|part| !part.is_empty());
                secure.poll_write(context, first.map_or(&[][..], |part| &part[..]))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Secure(secure) => secure.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Secure(secure) => secure.poll_shutdown(context),
        }
    }
}

impl Writer {
    /// The socket.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(writer) => writer.as_ref(),
            Self::Secure(secure) => &secure.tcp,
        }
    }

    /// Waits until the socket takes more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Sends all of it, and waits until the socket has taken it.
    pub(crate) async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = BytesMut::from(bytes);
        loop {
            match out::send(self, &mut buffer, out::KEPT_OF_CLIENT) {
                Sent::All => return Ok(()),
                Sent::Blocked => self.writable().await?,
                Sent::Gone => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(reader) => Pin::new(reader).poll_read(context, buffer),
            Self::Secure(secure) => secure.poll_read(context, buffer),
        }
    }
}

/// A connection inside TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    tcp: TcpStream,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// What was read off the socket, and not taken by the library.
    ahead: BytesMut,
    /// Whether the other end has hung up.
    ended: bool,
    /// Bytes that were taken since others had their turn.
    at_once: usize,
}

impl Secure {
    /// A connection over which hands are shaken; `ahead` was read behind that.
    pub(crate) fn new(tcp: TcpStream, connection: Connection, ahead: BytesMut) -> Self {
        Self { tcp, state: RefCell::new(State { connection, ahead, ended: false, at_once: 0 }) }
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        let empty = buffer.filled().len();
        loop {
            let ended = state.take(buffer)?;
            if buffer.filled().len() > empty || buffer.remaining() == 0 || ended || state.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.tcp.poll_read_ready(context))?;
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let count = self.tcp.try_read(scratch)?;
                state.ahead.extend_from_slice(&scratch[..count]);
                Ok::<_, io::Error>(count)
            });
            match read {
                Ok(0) => state.ended = true,
                Ok(_) => {
                    let taken = state.take(buffer);
                    // Answers of the library's own, and the reason of a failure.
                    let _ = state.flush(&self.tcp);
                    if !taken? && buffer.filled().len() == empty {
                        // What says nothing costs something too: others go first.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Takes some of the bytes, once everything before them is on the socket.
    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context))?;
        let state = &mut *self.state.borrow_mut();
        if state.at_once > AT_ONCE_MAX {
            state.at_once = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = state.connection.writer().write(bytes)?;
        state.at_once += count;
        // What does not fit goes with the next bytes, or with the flush behind the last.
        let _ = state.flush(&self.tcp);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            match state.flush(&self.tcp) {
                Sent::All => return Poll::Ready(Ok(())),
                Sent::Blocked => ready!(self.tcp.poll_write_ready(context))?,
                Sent::Gone => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }

    /// Says the end, and closes this half of the connection.
    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().connection.send_close_notify();
        ready!(self.poll_flush(context))?;
        Poll::Ready(SockRef::from(&self.tcp).shutdown(Shutdown::Write))
    }

    /// Sends what stands in the buffer, as far as the socket takes it; behind the `last` the end is said.
    pub(crate) fn send(&self, buffer: &mut BytesMut, last: bool) -> Sent {
        let state = &mut *self.state.borrow_mut();
        loop {
            match state.flush(&self.tcp) {
                Sent::All => {}
                sent @ (Sent::Blocked | Sent::Gone) => return sent,
            }
            if buffer.is_empty() {
                break;
            }
            match state.connection.writer().write(buffer) {
                Ok(0) | Err(_) => return Sent::Gone,
                Ok(count) => buffer.advance(count),
            }
        }
        if last {
            state.connection.send_close_notify();
            // Who does not take it will see the end of the connection.
            let _ = state.flush(&self.tcp);
        }
        Sent::All
    }
}

impl State {
    /// Takes what is there in clear, and then what is read ahead, as far as there is room. Whether the other end has
    /// said that it ends.
    fn take(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        loop {
            while buffer.remaining() > 0 {
                match self.connection.reader().read(buffer.initialize_unfilled()) {
                    Ok(0) => return Ok(true),
                    Ok(count) => buffer.advance(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            if self.ahead.is_empty() || buffer.remaining() == 0 {
                return Ok(false);
            }
            feed(&mut self.connection, &mut self.ahead)?;
        }
    }

    fn flush(&mut self, tcp: &TcpStream) -> Sent {
        flush(&mut self.connection, tcp)
    }
}

/// Has the library take some of what was read.
pub(crate) fn feed(connection: &mut Connection, ahead: &mut BytesMut) -> io::Result<()> {
    let mut rest = &ahead[..];
    connection.read_tls(&mut rest)?;
    let taken = ahead.len() - rest.len();
    if taken == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more came than a record of TLS may have"));
    }
    ahead.advance(taken);
    match connection.process_new_packets() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, tls::tell(&error))),
    }
}

/// Sends what the library has for the other end.
pub(crate) fn flush(connection: &mut Connection, tcp: &TcpStream) -> Sent {
    while connection.wants_write() {
        match connection.write_tls(&mut Socket(tcp)) {
            Ok(0) => return Sent::Gone,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Sent::Gone,
        }
    }
    Sent::All
}

/// A socket as the library writes to it: it takes what it can now.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
