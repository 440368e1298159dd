//! Looking for a server that writes, while one without a quorum has the session.
//!
//! Source: ZooKeeper `ClientCnxn.SendThread.pingRwServer`.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    shared::{Inner, Shared},
    state::Connection,
    stream::Stream,
};

/// The pause before the first look; each one behind it is twice as long, up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));
/// How long a server may take to be reached, and to say its word.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a server says that writes.
const WRITES: &[u8] = b"rw";

/// Looks for a server that writes for as long as the connection of this number only reads, and ends that one when there
/// is one, which is tried first then.
pub(crate) fn run(shared: &Shared, number: u64) {
    let mut pause = PAUSE.0;
    loop {
        let inner = shared.lock();
        let waited = shared.changed.wait_timeout_while(inner, pause, |inner| inner.only_reads(number));
        if !waited.unwrap_or_else(PoisonError::into_inner).0.only_reads(number) {
            return;
        }
        for (host, port) in shared.options.servers.shuffled() {
            if !writes(shared, &host, port).unwrap_or(false) {
                continue;
            }
            let mut inner = shared.lock();
            if inner.only_reads(number) {
                inner.writer = Some((host, port));
                if let Some(stream) = &inner.stream {
                    stream.shutdown();
                }
            }
            return;
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

impl Inner {
    /// Whether the connection of this number still stands, at a server that only reads.
    fn only_reads(&self, number: u64) -> bool {
        self.number == number && self.connection == Connection::ConnectedReadOnly
    }
}

/// Whether a server says that it writes.
fn writes(shared: &Shared, host: &str, port: u16) -> io::Result<bool> {
    let mut socket = Err(io::ErrorKind::NotFound.into());
    for address in (host, port).to_socket_addrs()? {
        socket = TcpStream::connect_timeout(&address, PATIENCE);
        if socket.is_ok() {
            break;
        }
    }
    let socket = socket?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut stream = match &shared.options.tls {
        None => Stream::plain(socket),
        Some(config) => Stream::secure(socket, Arc::clone(config), host)?,
    };
    stream.write_all(b"isro")?;
    let mut said = [0; WRITES.len()];
    stream.read_exact(&mut said)?;
    Ok(said == WRITES)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        net::{SocketAddr, TcpListener},
        sync::mpsc::channel,
        thread::spawn,
    };

    use spec::SessionId;
    use wire::client::ConnectResponse;

    use crate::{Client, Connection, Notice, Options, Servers};

    use super::*;

    /// A server that greets clients as one that writes or as one that only reads, says so, and hangs up on whoever asks.
    pub(crate) fn server(reads_only: bool, session: i64) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("it listens");
                let mut head = [0; 4];
                if stream.read_exact(&mut head).is_err() {
                    continue;
                }
                if head == *b"isro" {
                    stream.write_all(if reads_only { b"ro" } else { b"rw" }).expect("there is room");
                    continue;
                }
                let mut request = vec![0; u32::from_be_bytes(head) as usize];
                stream.read_exact(&mut request).expect("it follows");
                let answer = ConnectResponse {
                    protocol_version: 0,
                    // No ping is due while the test goes on: it would be taken for a request.
                    timeout_ms: 60_000,
                    session: SessionId(session),
                    password: [0; 16],
                    read_only: Some(reads_only),
                };
                let mut out = Vec::new();
                answer.encode(&mut out);
                stream.write_all(&out).expect("there is room");
                // Until anything is asked.
                spawn(move || stream.read_exact(&mut [0; 8]));
            }
        });
        address
    }

    #[test]
    fn a_client_that_only_reads_goes_to_a_server_that_writes() {
        let reader = server(true, 7);
        let writer = server(false, 8);
        let servers = Servers::parse(&format!("{reader},{writer}")).expect("valid");
        let options = Options {
            servers,
            timeout: Duration::from_mins(1),
            read_only: true,
            tls: None,
            user: None,
            credentials: Vec::new(),
            patient: false,
        };
        for _ in 0..40 {
            let (told, notices) = channel();
            let options = options.clone();
            let client = Client::start(options, move |notice| told.send(notice).expect("it listens"));
            let mut seen = Vec::new();
            while seen.last() != Some(&Connection::Connected) {
                match notices.recv_timeout(Duration::from_secs(10)) {
                    Ok(Notice::Connection(connection)) => seen.push(connection),
                    other => panic!("{other:?} behind {seen:?}"),
                }
            }
            assert_eq!(client.session(), SessionId(8));
            if seen.len() > 1 {
                use Connection::{Connected, ConnectedReadOnly, Connecting};
                assert_eq!(seen, [ConnectedReadOnly, Connecting, Connected], "it moved once");
                return;
            }
        }
        panic!("none of forty clients came to the server that only reads, which has a chance of 1 in 10^12");
    }
}
