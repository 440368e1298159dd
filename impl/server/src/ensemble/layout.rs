//! Which servers, ports and folders an ensemble on one machine has.
//!
//! What a first start chose stands in the `zoo.cfg` of each server, and a later start finds it there. A configuration
//! is written anew only if it has to change: when one of its ports is taken, or other ports are asked for.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use spec::ServerId;

use crate::Config;

const CLIENT_PORT: u16 = 2181;
const QUORUM_PORT: u16 = 2888;
const ELECTION_PORT: u16 = 3888;

/// One server of the ensemble.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its number.
    pub id: ServerId,
    /// Its folder.
    pub dir: PathBuf,
    /// Where clients connect.
    pub client_port: u16,
    /// Where learners dial.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

impl Member {
    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("zoo.cfg")
    }

    /// What it has to say.
    pub fn log(&self) -> PathBuf {
        self.dir.join("zabkeeper.log")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn ports(&self) -> [u16; 3] {
        [self.client_port, self.quorum_port, self.election_port]
    }
}

/// The whole ensemble.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder for everything.
    pub dir: PathBuf,
    /// The servers in the order of their numbers.
    pub members: Vec<Member>,
    /// Whether the configurations on disk say this already.
    unchanged: bool,
}

impl Layout {
    /// Decides on servers and ports: those of the folder if it has any and they can be had, else the next free ones.
    ///
    /// # Errors
    /// If the folder cannot be read, holds another number of servers than was asked for, or ports have run out.
    pub fn plan(
        dir: &Path,
        servers: Option<u8>,
        base_port: Option<u16>,
        is_free: impl Fn(u16) -> bool,
    ) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
        let found = found(&dir)?;
        let count = match (servers, found.len()) {
            (Some(0), _) => bail!("an ensemble has at least one server"),
            (Some(count), 0) => count,
            (None, 0) => 3,
            (Some(count), there) if usize::from(count) != there => bail!(
                "{} holds the data of {there} servers; a different number needs a folder of its own (--dir)",
                dir.display()
            ),
            (_, there) => u8::try_from(there).context("too many servers")?,
        };
        let same_base =
            base_port.is_none_or(|base| found.first().is_some_and(|first| first.client_port == base));
        let all_free = found.iter().flat_map(Member::ports).all(&is_free);
        if !found.is_empty() && same_base && all_free {
            return Ok(Self { dir, members: found, unchanged: true });
        }
        let mut taken = BTreeSet::new();
        let mut next = |from: u16| {
            let port = (from..=u16::MAX).find(|port| !taken.contains(port) && is_free(*port));
            taken.extend(port);
            port.context("no port is free")
        };
        let mut members = Vec::new();
        for number in 1..=count {
            let step = u16::from(number - 1);
            members.push(Member {
                id: ServerId(u64::from(number)),
                dir: dir.join(format!("server-{number}")),
                client_port: next(base_port.unwrap_or(CLIENT_PORT).saturating_add(step))?,
                quorum_port: next(QUORUM_PORT + step)?,
                election_port: next(ELECTION_PORT + step)?,
            });
        }
        Ok(Self { dir, members, unchanged: false })
    }

    /// What clients connect to.
    pub fn connect_string(&self) -> String {
        let each = self.members.iter().map(|member| format!("127.0.0.1:{}", member.client_port));
        each.collect::<Vec<_>>().join(",")
    }

    /// Makes the folders, and writes the configurations unless they stand there already.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn write(&self) -> anyhow::Result<()> {
        if self.unchanged {
            return Ok(());
        }
        for member in &self.members {
            let data = member.data();
            fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
            fs::write(data.join("myid"), format!("{}\n", member.id))?;
            fs::write(member.config(), self.config_text(member))?;
        }
        Ok(())
    }

    fn config_text(&self, member: &Member) -> String {
        let data = member.data().display().to_string().replace('\\', "\\\\");
        let mut text = format!(
            "# Server {} of an ensemble on this machine.\n\
             dataDir={data}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             tickTime=2000\ninitLimit=10\nsyncLimit=5\nstandaloneEnabled=false\nadmin.enableServer=false\n\
             4lw.commands.whitelist=ruok,srvr,stat,envi,isro,mntr\n",
            member.id, member.client_port
        );
        for other in &self.members {
            let _ =
                writeln!(text, "server.{}=127.0.0.1:{}:{}", other.id, other.quorum_port, other.election_port);
        }
        text
    }
}

/// The servers whose configurations stand in the folder.
fn found(dir: &Path) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    for number in 1..=u8::MAX {
        let server_dir = dir.join(format!("server-{number}"));
        let path = server_dir.join("zoo.cfg");
        if !path.exists() {
            break;
        }
        let config = Config::load(&path).map_err(|error| anyhow::anyhow!(miette::Report::new(error)))?;
        let Some(address) = config.servers.get(&config.me) else {
            bail!("{} has no line for its own server", path.display());
        };
        members.push(Member {
            id: config.me,
            dir: server_dir,
            client_port: config.client_port,
            quorum_port: address.quorum_port,
            election_port: address.election_port,
        });
    }
    Ok(members)
}

/// Whether nobody listens on this port of the loopback address.
pub(super) fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn the_next_free_ports_are_taken_and_found_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let layout = Layout::plan(dir.path(), None, None, |port| port != 2182).expect("a layout");
        assert_eq!(layout.connect_string(), "127.0.0.1:2181,127.0.0.1:2183,127.0.0.1:2184");
        layout.write().expect("written");
        let again = Layout::plan(dir.path(), None, None, |_| true).expect("a layout");
        assert_eq!(again.members, layout.members, "the same ports, though 2182 is free now");
        assert!(again.unchanged);
    }

    #[test]
    fn a_port_that_is_taken_since_moves_the_ensemble() {
        let dir = tempfile::tempdir().expect("a folder");
        Layout::plan(dir.path(), Some(1), Some(4000), |_| true).expect("a layout").write().expect("written");
        let moved = Layout::plan(dir.path(), Some(1), None, |port| port != 3888).expect("a layout");
        assert_eq!(moved.members[0].election_port, 3889);
        moved.write().expect("written");
        let found = Layout::plan(dir.path(), None, None, |_| true).expect("a layout");
        assert_eq!(found.members, moved.members);
    }

    #[test]
    fn data_of_another_number_of_servers_is_not_touched() {
        let dir = tempfile::tempdir().expect("a folder");
        Layout::plan(dir.path(), Some(3), None, |_| true).expect("a layout").write().expect("written");
        let error = Layout::plan(dir.path(), Some(5), None, |_| true).expect_err("refused");
        assert!(error.to_string().contains("the data of 3 servers"), "{error}");
        assert_eq!(Layout::plan(dir.path(), None, None, |_| true).expect("a layout").members.len(), 3);
    }

    #[test]
    fn one_server_is_an_ensemble_of_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let layout = Layout::plan(dir.path(), Some(1), None, |_| true).expect("a layout");
        layout.write().expect("written");
        let config = crate::Config::load(&layout.members[0].config()).expect("valid");
        assert_eq!(config.servers.len(), 1);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}
