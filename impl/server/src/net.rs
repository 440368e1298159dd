//! Sockets: how they listen, how they dial, and their options.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    os::fd::{AsFd, AsRawFd},
    sync::OnceLock,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

/// Every address, as IPv4 writes it.
pub(crate) const ANYWHERE: &str = "0.0.0.0";

/// A port that is taken, and that nobody can connect to yet.
#[derive(Debug)]
pub(crate) struct BoundPort {
    socket: Socket,
    backlog: i32,
}

impl BoundPort {
    /// Takes a port on every address, IPv6 included where there is any, or on one. Every address of IPv4 is every
    /// address, as in Java.
    pub(crate) async fn bind(host: Option<&str>, port: u16, backlog: u32) -> io::Result<Self> {
        let address = match host.filter(|host| *host != ANYWHERE) {
            None => None,
            Some(host) => Some(addresses(host, port).await?[0]),
        };
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let socket = match address {
            Some(address) => bound(address)?,
            None => match bound(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                // A machine without IPv6.
                Err(_) => bound(SocketAddr::from(([0, 0, 0, 0], port)))?,
            },
        };
        Ok(Self { socket, backlog })
    }

    /// Lets connections come.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(self.backlog)?;
        TcpListener::from_std(StdListener::from(self.socket))
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The options of every connection: no delay, and an end that is noticed when the other side is silent or gone. A
/// socket that listens hands them down to those that it accepts, which saves each of them six system calls.
///
/// `silence_max` bounds how long sent bytes may go unacknowledged.
pub(crate) fn set_options(socket: &impl AsFd, silence_max: Duration) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(silence_max))
}

/// Bounds how long sent bytes may go unacknowledged, or find no room at the other end.
pub(crate) fn set_silence_max(socket: &impl AsFd, silence_max: Duration) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(Some(silence_max))
}

/// File descriptors that clients leave: for files of the log, snapshots, and links between servers. Without them a
/// crowd of clients could end the server at its next file.
pub(crate) const FILES_BESIDE_CLIENTS: u64 = 64;
/// File descriptors that those leave who dial a port between servers.
pub(crate) const FILES_BESIDE_LINKS: u64 = 32;

/// Whether a connection takes one of the last file descriptors, so many of which are kept. A new one has the lowest
/// number that is free; so its number tells how many there are at least. The limit is that of the first look: a call to
/// the system for each connection would be a tenth of those that its whole session takes.
pub(crate) fn is_crowded(socket: &impl AsFd, kept: u64) -> bool {
    use rustix::process::{Resource, getrlimit};
    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    let Some(limit) = *LIMIT.get_or_init(|| getrlimit(Resource::Nofile).current) else {
        return false;
    };
    let number = u64::try_from(socket.as_fd().as_raw_fd()).unwrap_or(0);
    number + kept.min(limit / 4) >= limit
}

/// Whether the other end of a connection sends nothing more, whatever of it is still to be read.
pub(crate) fn is_hung_up(socket: &impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) && fds[0].revents().intersects(ends)
}

/// Whether there was no file descriptor for a connection.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    // ENFILE and EMFILE.
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// The addresses of a name, those of IPv4 first: servers of ZooKeeper listen at the first of these, as Java sorts them.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.is_empty() { Err(io::Error::other(format!("{host} has no address"))) } else { Ok(addresses) }
}

/// Dials a server by name: its addresses are looked up now, and tried one after the other, each for its part of the time.
pub(crate) async fn dial(host: &str, port: u16, wait_max: Duration) -> io::Result<TcpStream> {
    let attempt = async {
        let addresses = addresses(host, port).await?;
        let each = wait_max / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut last = io::ErrorKind::TimedOut.into();
        for address in addresses {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            match tokio::time::timeout(each, socket.connect(address)).await {
                // A dial to a port of this machine where nobody listens may be answered by itself.
                Ok(Ok(stream)) if stream.local_addr().ok() == stream.peer_addr().ok() => {
                    last = io::ErrorKind::ConnectionRefused.into();
                }
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    };
    match tokio::time::timeout(wait_max, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// An address as a client's identity shows it: IPv4 as such, also when it came through an IPv6 socket.
pub(crate) fn plain_ip(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// An address as Java writes it: of IPv6 every group, none left out.
pub(crate) fn java_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

/// The same with a port.
pub(crate) fn java_address(address: SocketAddr) -> String {
    let ip = java_ip(address.ip());
    let port = address.port();
    if address.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// A number below this one, another each time; 0 if there is none.
pub(crate) fn random_below(max: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(max).checked_rem(max).unwrap_or(0)
}

/// Growing waits between dials: a sixteenth of the time since the first one failed, so that a server that is about to
/// be there is found soon, and one that is gone is not dialled all the time. A follower that ended its election 200 ms
/// before its leader did is let in 12 ms behind it at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(Instant);

impl Backoff {
    const MIN: Duration = Duration::from_millis(5);
    const MAX: Duration = Duration::from_secs(1);

    /// At the first failure.
    pub(crate) fn new(now: Instant) -> Self {
        Self(now)
    }

    /// How long there is nothing but failure.
    pub(crate) fn since(self, now: Instant) -> Duration {
        now.duration_since(self.0)
    }

    /// How long to wait now.
    pub(crate) fn wait(self, now: Instant) -> Duration {
        (now.duration_since(self.0) / 16).clamp(Self::MIN, Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use socket2::SockRef;

    use super::{Backoff, BoundPort, is_hung_up, java_address, java_ip, random_below, set_options};

    #[test]
    fn lots_are_below_their_bound_and_differ() {
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| random_below(300)).collect();
        assert!(drawn.len() > 200 && drawn.iter().all(|lot| *lot < 300), "{drawn:?}");
        assert_eq!((random_below(1), random_below(0)), (0, 0));
    }

    #[tokio::test]
    async fn who_has_hung_up_is_known_before_all_is_read() {
        let port = BoundPort::bind(Some("127.0.0.1"), 0, 8).await.expect("a free port");
        let listener = port.listen().expect("nobody has it");
        let address = listener.local_addr().expect("it is bound");
        let dialled = tokio::net::TcpStream::connect(address);
        let (client, accepted) = tokio::join!(dialled, listener.accept());
        let (client, (stream, _)) = (client.expect("it listens"), accepted.expect("somebody dialled"));
        client.try_write(b"last words").expect("there is room");
        assert!(!is_hung_up(&stream));
        drop(client);
        let started = Instant::now();
        while !is_hung_up(&stream) {
            assert!(started.elapsed() < Duration::from_secs(10), "it is not noticed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn connections_have_the_options_of_the_port_that_they_came_to() {
        let port = BoundPort::bind(Some("127.0.0.1"), 0, 8).await.expect("a free port");
        let listener = port.listen().expect("nobody has it");
        set_options(&listener, Duration::from_secs(7)).expect("sockets have these options");
        let address = listener.local_addr().expect("it is bound");
        let dialled = tokio::net::TcpStream::connect(address);
        let (_client, accepted) = tokio::join!(dialled, listener.accept());
        let (stream, _) = accepted.expect("somebody dialled");
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().expect("it is an option"));
        assert!(socket.keepalive().expect("it is an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("it is an option"), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().expect("it is an option"), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().expect("it is an option"), 3);
        assert_eq!(socket.tcp_user_timeout().expect("it is an option"), Some(Duration::from_secs(7)));
    }

    #[test]
    fn waits_grow_with_the_time_since_the_first_failure() {
        let start = Instant::now();
        let backoff = Backoff::new(start);
        for (since, wait) in [(0, 5), (79, 5), (160, 10), (800, 50), (8000, 500), (60_000, 1000)] {
            let wait = Duration::from_millis(wait);
            assert_eq!(backoff.wait(start + Duration::from_millis(since)), wait, "{since}");
        }
    }

    #[test]
    fn addresses_are_written_as_java_does() {
        let written = |text: &str| java_address(text.parse().expect("an address"));
        assert_eq!(written("10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(written("[::1]:80"), "[0:0:0:0:0:0:0:1]:80");
        assert_eq!(java_ip("2001:db8::a".parse().expect("an address")), "2001:db8:0:0:0:0:0:a");
    }
}
