//! Ports that two things are to listen on.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use spec::ServerId;

use super::{Config, ServerAddress, reader::Reader};

/// Something of this server that listens.
struct Place {
    /// Its name, in words.
    what: String,
    /// The key that says where.
    key: String,
    /// The address, every one if `None`.
    host: Option<String>,
    port: u16,
}

impl Place {
    /// Its name, with the line that says so.
    fn told(&self, reader: &Reader) -> String {
        let line = reader.place(&self.key).unwrap_or_else(|| "by default".to_owned());
        format!("{} ({line})", self.what)
    }

    /// Whether nothing else can listen while this does. Names that differ may mean one address; that shows when the
    /// server starts.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        let anywhere = |place: &Self| place.host.as_deref().is_none_or(is_anywhere);
        let same = || match (&self.host, &other.host) {
            (Some(one), Some(other)) => is_same(one, other),
            (None, _) | (_, None) => true,
        };
        self.port == other.port && self.port != 0 && (anywhere(self) || anywhere(other) || same())
    }
}

/// Says which ports are given to two.
pub(super) fn check(reader: &mut Reader, config: &Config) {
    check_own(reader, config);
    check_list(reader, &config.servers);
}

/// What this server listens on. It cannot start with two on one port; in an ensemble it can without the admin server.
fn check_own(reader: &mut Reader, config: &Config) {
    let places = own(reader, config);
    for (at, second) in places.iter().enumerate() {
        for first in places[..at].iter().filter(|first| first.is_in_the_way_of(second)) {
            let both = format!("{} and {} are both {}", first.told(reader), second.told(reader), first.port);
            let key = if reader.has(&second.key) { &second.key } else { &first.key };
            if second.key != ADMIN {
                let span = reader.span(key);
                reader.error(span, format!("{both}: nothing can listen on one port twice"));
                continue;
            }
            let help = "admin.serverPort moves the admin server, admin.enableServer=false turns it off";
            if config.standalone() {
                reader.error_with_help(reader.span(key), both, help);
            } else {
                reader.warn_with_help(key, format!("{both}: there will be no admin server"), help);
            }
        }
    }
}

const ADMIN: &str = "admin.serverPort";

/// Everything that this server listens on, in the order in which it does; the admin server comes last.
fn own(reader: &Reader, config: &Config) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |what: &str, key: &str, host: Option<&str>, port: u16| {
        places.push(Place {
            what: what.to_owned(),
            key: key.to_owned(),
            host: host.map(str::to_owned),
            port,
        });
    };
    let line = format!("server.{}", config.me);
    if let Some(port) = config.client_port {
        let key = if reader.has("clientPort") { "clientPort" } else { &line };
        add("clientPort", key, config.client_address.as_deref(), port);
    }
    if let Some((host, port)) = &config.tls.port {
        add("secureClientPort", "secureClientPort", host.as_deref(), *port);
    }
    if let Some(own) = config.servers.get(&config.me) {
        let host = Some(own.host.as_str()).filter(|_| !config.quorum_listen_on_all_ips);
        add(&format!("the quorum port of {line}"), &line, host, own.quorum_port);
        add(&format!("the election port of {line}"), &line, host, own.election_port);
    }
    if let Some((host, port)) = &config.metrics {
        add("metricsProvider.httpPort", "metricsProvider.httpPort", host.as_deref(), *port);
    }
    if let Some(admin) = &config.admin {
        add(ADMIN, ADMIN, admin.address.as_deref(), admin.port);
    }
    places
}

/// Servers of the list that are to listen on one port of one address.
fn check_list(reader: &mut Reader, servers: &BTreeMap<ServerId, ServerAddress>) {
    for (second_id, second) in servers {
        for (first_id, first) in servers.range(..second_id) {
            if !is_same(&first.host, &second.host) {
                continue;
            }
            let others = ports(first);
            let shared: Vec<_> = ports(second).into_iter().filter(|port| others.contains(port)).collect();
            if shared.is_empty() {
                continue;
            }
            let place = |id: &ServerId| {
                let key = format!("server.{id}");
                let line = reader.place(&key).map_or_else(String::new, |line| format!(" ({line})"));
                format!("{key}{line}")
            };
            let addresses: Vec<_> =
                shared.iter().map(|port| super::address::join(&second.host, *port)).collect();
            let message = format!(
                "{} and {} both have {}, where one of them can listen",
                place(first_id),
                place(second_id),
                addresses.join(" and ")
            );
            reader.warn_at(&format!("server.{second_id}"), message);
        }
    }
}

/// The ports of a server's own address.
fn ports(server: &ServerAddress) -> Vec<u16> {
    let client = server.client.as_ref().filter(|(host, _)| {
        host.as_deref().is_none_or(|host| is_anywhere(host) || is_same(host, &server.host))
    });
    [server.quorum_port, server.election_port].into_iter().chain(client.map(|(_, port)| *port)).collect()
}

fn is_same(one: &str, other: &str) -> bool {
    let parsed = |host: &str| host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    match (parsed(one), parsed(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.eq_ignore_ascii_case(other),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_anywhere(host: &str) -> bool {
    let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    host.parse::<IpAddr>().is_ok_and(|ip| everywhere.contains(&ip))
}

#[cfg(test)]
mod tests {
    use crate::{
        Config,
        config::{ConfigError, Problem},
    };

    /// What is said of these lines: errors, and warnings.
    fn told(lines: &str) -> (Vec<String>, Vec<String>) {
        let text = format!("dataDir=/d\ninitLimit=5\nsyncLimit=2\n{lines}");
        let summaries = |problems: &[Problem]| problems.iter().map(Problem::summary).collect();
        match Config::parse("zoo.cfg", text, |_| Ok("1".to_owned())) {
            Ok(config) => (Vec::new(), summaries(&config.warnings)),
            Err(ConfigError::Invalid { problems, warnings, .. }) => {
                (summaries(&problems), summaries(&warnings))
            }
            Err(error @ ConfigError::Unreadable { .. }) => panic!("{error}"),
        }
    }

    const LIST: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";

    #[test]
    fn no_port_is_given_to_two() {
        let rows = [
            (
                format!("clientPort=3888\n{LIST}"),
                "zoo.cfg:5: clientPort (zoo.cfg:4) and the election port of server.1 (zoo.cfg:5) are both 3888",
            ),
            (
                format!("{LIST}clientPort=2888\nclientPortAddress=A"),
                "clientPort (zoo.cfg:7) and the quorum port of server.1 (zoo.cfg:4) are both 2888",
            ),
            (
                "clientPort=7000\nmetricsProvider.className=PrometheusMetricsProvider".to_owned(),
                "clientPort (zoo.cfg:4) and metricsProvider.httpPort (by default) are both 7000",
            ),
            (
                "clientPort=8080".to_owned(),
                "zoo.cfg:4: clientPort (zoo.cfg:4) and admin.serverPort (by default) are both 8080 (admin.serverPort",
            ),
        ];
        for (lines, expected) in rows {
            let (errors, _) = told(&lines);
            assert!(errors.len() == 1 && errors[0].contains(expected), "{lines}: {errors:?}");
        }
        let (errors, warnings) = told(&format!("clientPort=2181\nadmin.serverPort=2888\n{LIST}"));
        assert_eq!(errors, Vec::<String>::new());
        let expected = "zoo.cfg:5: the quorum port of server.1 (zoo.cfg:6) and admin.serverPort (zoo.cfg:5) are both \
                        2888: there will be no admin server";
        assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{warnings:?}");
    }

    #[test]
    fn one_port_of_two_addresses_is_fine() {
        for lines in [
            "clientPort=8080\nclientPortAddress=10.0.0.1\nadmin.serverAddress=127.0.0.1".to_owned(),
            "clientPort=8080\nadmin.enableServer=false".to_owned(),
            "clientPort=2181\nadmin.serverPort=0".to_owned(),
            format!("clientPort=3888\nclientPortAddress=10.0.0.1\n{LIST}"),
            "clientPort=2181\nserver.1=a:1:2\nserver.2=a:3:4\nserver.3=a:5:6\n".to_owned(),
        ] {
            assert_eq!(told(&lines), (Vec::new(), Vec::new()), "{lines}");
        }
    }

    #[test]
    fn no_two_servers_have_one_address() {
        let rows = [
            (
                "server.2=a:2888:3888",
                "zoo.cfg:6: server.1 (zoo.cfg:5) and server.2 (zoo.cfg:6) both have a:2888 and a:3888",
            ),
            ("server.2=A:3888:3889", "server.1 (zoo.cfg:5) and server.2 (zoo.cfg:6) both have A:3888, where"),
            ("server.2=a:1:2;2888", "both have a:2888, where one of them can listen"),
        ];
        for (line, expected) in rows {
            let (errors, warnings) = told(&format!("clientPort=2181\nserver.1=a:2888:3888\n{line}"));
            assert_eq!(errors, Vec::<String>::new());
            assert!(warnings.len() == 1 && warnings[0].contains(expected), "{line}: {warnings:?}");
        }
    }
}
