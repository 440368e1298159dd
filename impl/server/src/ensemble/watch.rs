//! Asks a server what it is doing, by its four-letter word `srvr`.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// How long a server on this machine may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// The role that the server at this port plays; `None` while it serves nobody.
pub(super) fn role(host: Ipv4Addr, port: u16) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((host, port)), ANSWER_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    mode(&text).map(str::to_owned)
}

fn mode(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::mode;

    #[test]
    fn the_mode_is_a_line_of_its_own() {
        assert_eq!(mode("Zookeeper version: x\nZxid: 0x0\nMode: leader\nNode count: 5\n"), Some("leader"));
        assert_eq!(mode("This ZooKeeper instance is not currently serving requests\n"), None);
    }
}
