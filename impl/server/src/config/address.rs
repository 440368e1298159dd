//! The value of a `server.N` line.

/// Where the servers and clients of an ensemble find one of its servers.
///
/// Hosts are kept as they were written and resolved at each dial.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// Where learners dial the leader.
    pub quorum_port: u16,
    /// Where servers exchange votes.
    pub election_port: u16,
    /// Whether it has no vote.
    pub observer: bool,
    /// Where clients connect, if this line says so: address (every one if `None`) and port.
    pub client: Option<(Option<String>, u16)>,
}

impl ServerAddress {
    /// Reads `host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]`.
    ///
    /// # Errors
    /// What is wrong with it, to be shown beside the line.
    pub(crate) fn parse(value: &str) -> Result<Self, String> {
        let (server, client) = match value.split_once(';') {
            // Behind a semicolon nothing is no address, as for ZooKeeper.
            Some((server, client)) => {
                (server.trim(), Some(client.trim()).filter(|client| !client.is_empty()))
            }
            None => (value, None),
        };
        if server.contains('|') {
            return Err("several addresses for one server are not offered yet".to_owned());
        }
        let (host, rest) = host_and_rest(server)?;
        let mut parts = rest.split(':');
        let quorum_port = port(parts.next().unwrap_or_default(), "quorum")?;
        let election_port = match parts.next() {
            Some(text) => port(text, "election")?,
            None => return Err("the election port is missing: host:quorumPort:electionPort".to_owned()),
        };
        if quorum_port == election_port {
            return Err(format!("quorum port and election port are both {quorum_port}; they must differ"));
        }
        let observer = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            None | Some("participant") => false,
            Some("observer") => true,
            Some(other) => {
                return Err(format!("{other:?} is no role; a server is a participant or an observer"));
            }
        };
        if let Some(more) = parts.next() {
            return Err(format!("{more:?} behind the role has no meaning"));
        }
        let client = client.map(client_address).transpose()?;
        Ok(Self { host, quorum_port, election_port, observer, client })
    }

    /// `host:port` of the election port, IPv6 in brackets, as election messages name it.
    pub fn election_address(&self) -> String {
        join(&self.host, self.election_port)
    }
}

/// The same line with other ports; what else it says stays.
pub(crate) fn with_ports(value: &str, quorum: u16, election: u16, client: u16) -> Option<String> {
    let (server, clients) =
        value.split_once(';').map_or((value, None), |(server, clients)| (server, Some(clients)));
    let (_, rest) = host_and_rest(server).ok()?;
    let host = &server[..server.len() - rest.len()];
    // Behind the ports a role may stand.
    let role = rest.splitn(3, ':').nth(2).map_or_else(String::new, |role| format!(":{role}"));
    let clients = match clients {
        None => String::new(),
        Some(nothing) if nothing.trim().is_empty() => format!(";{nothing}"),
        Some(clients) => match clients.rsplit_once(':') {
            Some((host, _)) => format!(";{host}:{client}"),
            None => format!(";{client}"),
        },
    };
    Some(format!("{host}{quorum}:{election}{role}{clients}"))
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn host_and_rest(text: &str) -> Result<(String, &str), String> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let Some((host, rest)) = bracketed.split_once(']') else {
            return Err("the bracket around an IPv6 address is not closed".to_owned());
        };
        let Some(rest) = rest.strip_prefix(':') else {
            return Err("the quorum port is missing: [host]:quorumPort:electionPort".to_owned());
        };
        return Ok((host.to_owned(), rest));
    }
    match text.split_once(':') {
        Some(("", _)) => Err("the host is missing: host:quorumPort:electionPort".to_owned()),
        Some((host, rest)) => Ok((host.trim().to_owned(), rest)),
        None => Err("the ports are missing: host:quorumPort:electionPort".to_owned()),
    }
}

fn client_address(text: &str) -> Result<(Option<String>, u16), String> {
    match text.rsplit_once(':') {
        None => Ok((None, port(text, "client")?)),
        Some((host, number)) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((Some(host.to_owned()), port(number, "client")?))
        }
    }
}

fn port(text: &str, what: &str) -> Result<u16, String> {
    match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{text:?} is no {what} port: 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerAddress, with_ports};

    #[test]
    fn server_lines_are_zookeepers() {
        let address = |host: &str, client: Option<(Option<&str>, u16)>| ServerAddress {
            host: host.to_owned(),
            quorum_port: 2888,
            election_port: 3888,
            observer: false,
            client: client.map(|(host, port)| (host.map(str::to_owned), port)),
        };
        let rows = [
            ("zk1:2888:3888", address("zk1", None)),
            ("zk1:2888:3888:participant", address("zk1", None)),
            ("zk1:2888:3888:PARTICIPANT;2181", address("zk1", Some((None, 2181)))),
            ("zk1:2888:3888;", address("zk1", None)),
            ("zk1:2888:3888;10.0.0.1:2181", address("zk1", Some((Some("10.0.0.1"), 2181)))),
            ("[::1]:2888:3888;[::]:2181", address("::1", Some((Some("::"), 2181)))),
        ];
        for (text, expected) in rows {
            assert_eq!(ServerAddress::parse(text), Ok(expected), "{text}");
        }
        let observer = ServerAddress { observer: true, ..address("zk1", Some((None, 2181))) };
        assert_eq!(ServerAddress::parse("zk1:2888:3888:Observer;2181"), Ok(observer));
    }

    #[test]
    fn ports_are_replaced_and_nothing_else() {
        let rows = [
            ("zk1:1:2", "zk1:7:8"),
            ("zk1:1:2:observer", "zk1:7:8:observer"),
            ("zk1:1:2;3", "zk1:7:8;9"),
            ("[::1]:1:2:participant;[::]:3", "[::1]:7:8:participant;[::]:9"),
            ("zk1:1:2;", "zk1:7:8;"),
        ];
        for (value, expected) in rows {
            assert_eq!(with_ports(value, 7, 8, 9).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(with_ports("zk1", 7, 8, 9), None);
    }

    #[test]
    fn bad_server_lines_say_what_is_wrong() {
        let rows = [
            ("zk1", "the ports are missing"),
            ("zk1:2888", "the election port is missing"),
            (":2888:3888", "the host is missing"),
            ("zk1:2888:2888", "must differ"),
            ("zk1:0:3888", "is no quorum port"),
            ("zk1:2888:70000", "is no election port"),
            ("zk1:2888:3888:king", "is no role"),
            ("zk1:2888:3888:participant:x", "has no meaning"),
            ("[::1:2888:3888", "not closed"),
            ("a:1:2|b:1:2", "several addresses"),
            ("zk1:2888:3888;x", "is no client port"),
        ];
        for (text, expected) in rows {
            let message = ServerAddress::parse(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
