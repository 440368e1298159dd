//! A connection to a server: plain, or inside TLS. One thread reads, others write.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tls::rustls::{ClientConfig, ClientConnection};

/// Bytes that one read takes off the socket.
const CHUNK_BYTES: usize = 64 << 10;

/// One end of it; clones are the same connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    secure: Option<Arc<Mutex<ClientConnection>>>,
    /// What is read and in clear, and not taken.
    clear: Vec<u8>,
}

impl Stream {
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self { socket, secure: None, clear: Vec::new() }
    }

    /// Shakes hands with a server of this name.
    pub(crate) fn secure(mut socket: TcpStream, config: Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        let name = tls::name_of(host)
            .ok_or_else(|| io::Error::other(format!("{host:?} can stand in no certificate")))?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut socket) {
                return Err(told(error));
            }
        }
        Ok(Self { socket, secure: Some(Arc::new(Mutex::new(connection))), clear: Vec::new() })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, secure: self.secure.clone(), clear: Vec::new() })
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(timeout))
    }

    pub(crate) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(timeout))
    }

    pub(crate) fn shutdown(&self) {
        // An end that is gone already needs no shutdown.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn lock(secure: &Mutex<ClientConnection>) -> MutexGuard<'_, ClientConnection> {
    secure.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong inside TLS, with what to do where that is known.
fn told(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<tls::rustls::Error>());
    match inner {
        Some(inner) => io::Error::new(error.kind(), format!("no TLS: {}", tls::tell(inner))),
        None => error,
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(secure) = &self.secure else { return self.socket.read(buffer) };
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let ended = take(&mut lock(secure), &mut self.clear)?;
            if ended || !self.clear.is_empty() {
                break;
            }
            // Not locked meanwhile: others write.
            let count = self.socket.read(&mut chunk)?;
            if count == 0 {
                return Ok(0);
            }
            let mut rest = &chunk[..count];
            let connection = &mut *lock(secure);
            while !rest.is_empty() {
                if connection.read_tls(&mut rest)? == 0 {
                    // It has said that it ends, and goes on.
                    return Ok(0);
                }
                connection
                    .process_new_packets()
                    .map_err(|error| told(io::Error::new(ErrorKind::InvalidData, error)))?;
                take(connection, &mut self.clear)?;
            }
            while connection.wants_write() {
                connection.write_tls(&mut self.socket)?;
            }
        }
        let count = self.clear.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.clear[..count]);
        self.clear.drain(..count);
        Ok(count)
    }
}

/// Takes what is there in clear. Whether the server has said that it ends.
fn take(connection: &mut ClientConnection, clear: &mut Vec<u8>) -> io::Result<bool> {
    match connection.reader().read_to_end(clear) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(true),
        Err(error) => Err(error),
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(secure) = &self.secure else { return self.socket.write(bytes) };
        let connection = &mut *lock(secure);
        let count = connection.writer().write(bytes)?;
        while connection.wants_write() {
            connection.write_tls(&mut self.socket)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
