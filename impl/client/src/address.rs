//! Connect strings: `host:port,host:port/chroot`.

use std::hash::{BuildHasher, Hasher, RandomState};

use thiserror::Error;

/// The port of a host that names none.
const PORT: u16 = 2181;

/// Where the servers are, and below which node the client sees the tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Servers {
    /// Hosts and ports, as they were given.
    hosts: Vec<(String, u16)>,
    /// Empty, or a path without a slash at its end.
    chroot: String,
}

/// What is wrong with a connect string.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AddressError {
    /// It names nobody.
    #[error("no server in {found:?}; wanted is host:port, or more of them behind commas")]
    Empty {
        /// What was given.
        found: String,
    },
    /// What stands behind a colon is no port.
    #[error("{found:?} is no port, in {host:?}; wanted is a number from 1 to 65535")]
    Port {
        /// What was given.
        found: String,
        /// Where it stands.
        host: String,
    },
    /// Servers stand behind the chroot.
    #[error(
        "{found:?} has a server behind a chroot; the chroot stands once, behind the last server: a:1,b:2/app"
    )]
    Behind {
        /// What was given.
        found: String,
    },
    /// What stands behind the hosts is no path.
    #[error("{found:?} can be no chroot; wanted is a path such as /app, without a slash at its end")]
    Chroot {
        /// What was given.
        found: String,
    },
}

impl Servers {
    /// Reads a connect string. An address of IPv6 stands in brackets; a host without a port has 2181.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (hosts, chroot) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() && tree::path::validate(chroot).is_err() {
            return Err(AddressError::Chroot { found: chroot.to_owned() });
        }
        if chroot.split(',').skip(1).any(names_a_port) {
            return Err(AddressError::Behind { found: text.to_owned() });
        }
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let hosts: Vec<_> = hosts.map(host_and_port).collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(AddressError::Empty { found: text.to_owned() });
        }
        Ok(Self { hosts, chroot: chroot.to_owned() })
    }

    /// The node below which the client sees the tree; empty for the root.
    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    /// How many servers there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// The servers in a random order, so that the clients of an ensemble spread over it.
    pub(crate) fn shuffled(&self) -> Vec<(String, u16)> {
        let mut rest = self.hosts.clone();
        let mut order = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            order.push(rest.swap_remove(chance(rest.len())));
        }
        order
    }

    /// A path of the client's, as the server has it.
    pub(crate) fn outward(&self, path: &str) -> String {
        match (self.chroot.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    /// Whether a path of the server's is the chroot or stands below it.
    pub(crate) fn is_below(&self, path: &str) -> bool {
        path.strip_prefix(&self.chroot).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A path of the server's, as the client has it. One that is not below the chroot stays as it is.
    pub(crate) fn inward(&self, path: &str) -> String {
        match path.strip_prefix(&self.chroot) {
            Some("") => "/".to_owned(),
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            Some(_) | None => path.to_owned(),
        }
    }
}

impl std::fmt::Display for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        f.write_str(&self.chroot)
    }
}

/// A number below `bound`, from the chance that the standard library keys its hashers with.
fn chance(bound: usize) -> usize {
    let drawn = RandomState::new().build_hasher().finish();
    usize::try_from(drawn % u64::try_from(bound).unwrap_or(1)).unwrap_or_default()
}

/// Whether this can only be meant for a server, though a node may be called so.
fn names_a_port(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.is_some() && host_and_port(host.trim()).is_ok()
}

fn host_and_port(text: &str) -> Result<(String, u16), AddressError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(AddressError::Empty { found: text.to_owned() });
    }
    let wrong = |found: &str| AddressError::Port { found: found.to_owned(), host: text.to_owned() };
    let port = match port {
        // A colon at the end names no port either.
        None | Some("") => PORT,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong(port))?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_the_chroot_need_not_stand_below_it() {
        let servers = Servers::parse("a:1/app").expect("valid");
        assert!(servers.is_below("/app") && servers.is_below("/app/x") && !servers.is_below("/apple"));
        assert!(Servers::parse("a:1").expect("valid").is_below("/x"), "without a chroot everything is");
    }

    #[test]
    fn connect_strings_are_read_as_zookeeper_does() {
        let rows = [
            ("localhost", "localhost:2181"),
            ("a:1,b:2", "a:1,b:2"),
            ("a:1, b", "a:1,b:2181"),
            ("a:,b:2", "a:2181,b:2"),
            ("a:1/app", "a:1/app"),
            ("a:1,b:2/", "a:1,b:2"),
            ("[::1]:2182,[::2]", "[::1]:2182,[::2]:2181"),
            ("::1", "[::1]:2181"),
        ];
        for (text, shown) in rows {
            assert_eq!(Servers::parse(text).expect(text).to_string(), shown, "{text}");
        }
        for text in ["", ",", "/app", ":2181", "a:b", "a:0", "a:65536", "a/app/", "a//b", "a/.."] {
            assert!(Servers::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_behind_a_chroot_is_no_part_of_it() {
        for text in ["a:1/app,b:2", "a:1/app,b:2/app", "a/app, [::1]:2", "a/x/y,b,c:3"] {
            let told = Servers::parse(text).expect_err(text).to_string();
            assert!(told.contains("behind the last server"), "{told}");
        }
        for text in ["a:1/app,b", "a:1/x,y:z"] {
            assert_eq!(Servers::parse(text).expect(text).count(), 1, "{text}: a node may be called so");
        }
    }

    #[test]
    fn a_chroot_goes_before_paths_and_off_them_again() {
        let servers = Servers::parse("a/app").expect("valid");
        for (inside, outside) in [("/", "/app"), ("/x", "/app/x"), ("/x/y", "/app/x/y")] {
            assert_eq!(servers.outward(inside), outside);
            assert_eq!(servers.inward(outside), inside);
        }
        assert_eq!(servers.inward("/apple"), "/apple", "below no chroot");
        let plain = Servers::parse("a").expect("valid");
        assert_eq!(
            (plain.outward("/x"), plain.inward("/x"), plain.inward("/")),
            ("/x".into(), "/x".into(), "/".into())
        );
    }

    #[test]
    fn every_server_comes_first_at_times() {
        let servers = Servers::parse("a,b,c").expect("valid");
        let firsts: std::collections::BTreeSet<_> =
            (0..200).map(|_| servers.shuffled().remove(0).0).collect();
        assert_eq!(firsts.len(), 3, "two hundred draws of three miss none but with a chance of 1 in 10^34");
    }
}
