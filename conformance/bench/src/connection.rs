//! Sessions over sockets that do not block.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::frame::{self, Head, Reader};

/// The longest frame that is read, in bytes.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// How much is read at once at first, and how much at most, in bytes. Nine thousand that wait for an event each hold what
/// little one takes, and not a gigabyte together, which would be measured too.
const READ_BYTES: usize = 1 << 10;
const READ_BYTES_MAX: usize = 64 << 10;
/// How long a server may take to answer while nobody waits for anything else.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many sessions are opened together.
const OPEN_TOGETHER: usize = 128;
/// How many addresses of this machine connections come from, so that a storm does not run out of ports.
const SOURCES: usize = 200;

/// One session.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// What is to be sent.
    pub out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    /// How much room there is for a read at least.
    at_once: usize,
    /// What of `input` is read and not yet taken.
    from: usize,
    to: usize,
    /// How long [`Connection::next_blocking`] waits.
    pub patience: Duration,
}

/// Whether everything went out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// Yes.
    All,
    /// The socket takes no more for now.
    Blocked,
}

/// Connects from one of many addresses of this machine.
///
/// # Errors
/// If the server does not take it.
pub fn dial(address: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number % SOURCES)?);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    // Bounds the connect as well, and costs one system call where waiting for it takes six.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&address.into()).with_context(|| format!("cannot connect to {address}"))?;
    Ok(socket.into())
}

/// Opens a session on each of these servers in turn, `count` in all.
///
/// # Errors
/// If one of them is refused.
pub fn open(addresses: &[SocketAddr], count: usize) -> Result<Vec<Connection>> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let first = open.len();
        for number in first..count.min(first + OPEN_TOGETHER) {
            let mut connection = Connection::new(dial(addresses[number % addresses.len()], number)?);
            frame::connect(&mut connection.out);
            connection.send_all()?;
            open.push(connection);
        }
        for connection in &mut open[first..] {
            let reply = connection.next_blocking().context("a session was refused")?;
            granted(&reply)?;
            connection.stream.set_nonblocking(true)?;
        }
    }
    Ok(open)
}

/// Fails unless this reply grants a session.
///
/// # Errors
/// If it does not.
pub fn granted(reply: &[u8]) -> Result<()> {
    let mut read = Reader(reply);
    let _version = read.int()?;
    let (timeout, session) = (read.int()?, read.long()?);
    ensure!(timeout > 0 && session != 0, "no session was granted");
    Ok(())
}

impl Connection {
    /// Over this socket, as it is.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            out: Vec::new(),
            sent: 0,
            input: Vec::new(),
            at_once: READ_BYTES,
            from: 0,
            to: 0,
            patience: PATIENCE,
        }
    }

    /// Goes on over another socket, with nothing sent or read.
    pub fn replace(&mut self, stream: TcpStream) {
        self.stream = stream;
        self.out.clear();
        (self.sent, self.from, self.to) = (0, 0, 0);
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self) -> Result<Sent> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => bail!("the server takes no more"),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(Sent::All)
    }

    fn send_all(&mut self) -> Result<()> {
        ensure!(self.send()? == Sent::All, "the server takes nothing for {PATIENCE:?}");
        Ok(())
    }

    /// Reads once, and returns whether something came.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn receive(&mut self) -> Result<bool> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        if self.input.len() - self.to < self.at_once {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            self.input.resize(self.input.len().max(self.to + 2 * self.at_once), 0);
        }
        match self.stream.read(&mut self.input[self.to..]) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => {
                self.to += count;
                if count >= self.at_once {
                    self.at_once = READ_BYTES_MAX.min(4 * self.at_once);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error).context("the connection broke"),
        }
        Ok(true)
    }

    /// The next whole frame of what was read, if there is one.
    ///
    /// # Errors
    /// If its length is out of range.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>> {
        let waiting = &self.input[self.from..self.to];
        let Some(length) = waiting.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
        if waiting.len() < 4 + length {
            return Ok(None);
        }
        let at = self.from + 4;
        self.from = at + length;
        Ok(Some(&self.input[at..at + length]))
    }

    /// Waits for the next frame, whether or not the socket blocks otherwise.
    ///
    /// # Errors
    /// If none comes.
    pub fn next_blocking(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(frame.to_vec());
            }
            self.stream.set_nonblocking(false)?;
            self.stream.set_read_timeout(Some(self.patience))?;
            ensure!(self.receive()?, "no answer within {:?}", self.patience);
        }
    }

    /// Asks one thing, waits for its answer, and returns it without its head.
    ///
    /// # Errors
    /// If it is not answered, or refused.
    pub fn call(&mut self, xid: i32, ask: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
        let (head, body) = self.call_any(xid, ask)?;
        ensure!(head.error == 0, "a request was answered with error {}", head.error);
        Ok(body)
    }

    /// As [`Connection::call`], and a refusal is an answer.
    ///
    /// # Errors
    /// If it is not answered.
    pub fn call_any(&mut self, xid: i32, ask: impl FnOnce(&mut Vec<u8>)) -> Result<(Head, Vec<u8>)> {
        self.stream.set_nonblocking(false)?;
        ask(&mut self.out);
        self.send_all()?;
        let reply = self.next_blocking()?;
        let (head, body) = frame::head(&reply)?;
        ensure!(head.xid == xid, "request {xid} is answered as {}", head.xid);
        Ok((head, body.to_vec()))
    }
}
