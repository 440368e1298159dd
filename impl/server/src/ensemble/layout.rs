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
const ADMIN_PORT: u16 = 8080;

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
    /// Where its admin server listens; none in a folder of before there was one.
    pub admin_port: Option<u16>,
    /// Whether it has no vote.
    pub observer: bool,
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

    fn ports(&self) -> impl Iterator<Item = u16> {
        [self.client_port, self.quorum_port, self.election_port].into_iter().chain(self.admin_port)
    }
}

/// How many servers were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// How many vote; those of the folder, or 3, if not given.
    pub voters: Option<u8>,
    /// How many observe; those of the folder, or none, if not given.
    pub observers: Option<u8>,
}

impl Size {
    /// How many voters and observers there will be, beside what is found.
    fn among(self, found: &[Member], dir: &Path) -> anyhow::Result<(u8, u8)> {
        if self.voters == Some(0) {
            bail!("an ensemble has at least one server that votes");
        }
        if found.is_empty() {
            return Ok((self.voters.unwrap_or(3), self.observers.unwrap_or(0)));
        }
        let observing = found.iter().filter(|member| member.observer).count();
        let there = [found.len() - observing, observing];
        let asked = [self.voters, self.observers].map(|count| count.map(usize::from));
        if asked.iter().zip(there).any(|(asked, there)| asked.is_some_and(|asked| asked != there)) {
            let [voters, observers] = there;
            let beside = if observers == 0 { String::new() } else { format!(" and {observers} observers") };
            bail!(
                "{} holds the data of {voters} servers{beside}; a different number needs a folder of its own (--dir)",
                dir.display()
            );
        }
        let few = |count: usize| u8::try_from(count).context("too many servers");
        Ok((few(there[0])?, few(there[1])?))
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
        size: Size,
        base_port: Option<u16>,
        is_free: impl Fn(u16) -> bool,
    ) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
        let found = found(&dir)?;
        let (voters, observers) = size.among(&found, &dir)?;
        let count = voters
            .checked_add(observers)
            .with_context(|| format!("{voters} servers and {observers} observers are more than 255"))?;
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
                admin_port: Some(next(ADMIN_PORT + step)?),
                observer: number > voters,
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
             tickTime=2000\ninitLimit=10\nsyncLimit=5\nstandaloneEnabled=false\n4lw.commands.whitelist=*\n",
            member.id, member.client_port
        );
        match member.admin_port {
            Some(port) => {
                let _ = writeln!(text, "admin.serverAddress=127.0.0.1\nadmin.serverPort={port}");
            }
            None => text.push_str("admin.enableServer=false\n"),
        }
        for other in &self.members {
            let role = if other.observer { ":observer" } else { "" };
            let (id, quorum, election) = (other.id, other.quorum_port, other.election_port);
            let _ = writeln!(text, "server.{id}=127.0.0.1:{quorum}:{election}{role}");
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
        let Some(client_port) = config.client_port else {
            bail!("{} has no clientPort", path.display());
        };
        members.push(Member {
            id: config.me,
            dir: server_dir,
            client_port,
            quorum_port: address.quorum_port,
            election_port: address.election_port,
            admin_port: config.admin.as_ref().map(|admin| admin.port),
            observer: address.observer,
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
    use super::{Layout, Size};

    fn size(voters: impl Into<Option<u8>>) -> Size {
        Size { voters: voters.into(), observers: None }
    }

    #[test]
    fn the_next_free_ports_are_taken_and_found_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let layout = Layout::plan(dir.path(), Size::default(), None, |port| port != 2182).expect("a layout");
        assert_eq!(layout.connect_string(), "127.0.0.1:2181,127.0.0.1:2183,127.0.0.1:2184");
        layout.write().expect("written");
        let again = Layout::plan(dir.path(), Size::default(), None, |_| true).expect("a layout");
        assert_eq!(again.members, layout.members, "the same ports, though 2182 is free now");
        assert!(again.unchanged);
    }

    #[test]
    fn a_port_that_is_taken_since_moves_the_ensemble() {
        let dir = tempfile::tempdir().expect("a folder");
        Layout::plan(dir.path(), size(1), Some(4000), |_| true).expect("a layout").write().expect("written");
        let moved = Layout::plan(dir.path(), size(1), None, |port| port != 3888).expect("a layout");
        assert_eq!(moved.members[0].election_port, 3889);
        moved.write().expect("written");
        let found = Layout::plan(dir.path(), Size::default(), None, |_| true).expect("a layout");
        assert_eq!(found.members, moved.members);
    }

    #[test]
    fn data_of_another_number_of_servers_is_not_touched() {
        let dir = tempfile::tempdir().expect("a folder");
        Layout::plan(dir.path(), size(3), None, |_| true).expect("a layout").write().expect("written");
        let error = Layout::plan(dir.path(), size(5), None, |_| true).expect_err("refused");
        assert!(error.to_string().contains("the data of 3 servers"), "{error}");
        assert_eq!(
            Layout::plan(dir.path(), Size::default(), None, |_| true).expect("a layout").members.len(),
            3
        );
    }

    #[test]
    fn one_server_is_an_ensemble_of_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let layout = Layout::plan(dir.path(), size(1), None, |_| true).expect("a layout");
        layout.write().expect("written");
        let config = crate::Config::load(&layout.members[0].config()).expect("valid");
        assert_eq!(config.servers.len(), 1);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn observers_come_behind_the_voters_and_are_found_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let two = Size { voters: Some(3), observers: Some(2) };
        let layout = Layout::plan(dir.path(), two, None, |_| true).expect("a layout");
        layout.write().expect("written");
        for (member, observer) in layout.members.iter().zip([false, false, false, true, true]) {
            let config = crate::Config::load(&member.config()).expect("valid");
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            assert_eq!(config.servers[&member.id].observer, observer, "server {}", member.id);
        }
        for again in [Size::default(), size(3), two] {
            let found = Layout::plan(dir.path(), again, None, |_| true).expect("a layout");
            assert_eq!((found.members, found.unchanged), (layout.members.clone(), true));
        }
        for other in [size(5), Size { voters: None, observers: Some(0) }] {
            let error = Layout::plan(dir.path(), other, None, |_| true).expect_err("refused").to_string();
            assert!(error.contains("the data of 3 servers and 2 observers"), "{error}");
        }
        let moved = Layout::plan(dir.path(), Size::default(), None, |port| port != 2181).expect("a layout");
        assert_eq!(moved.members.iter().filter(|member| member.observer).count(), 2);
    }

    #[test]
    fn an_ensemble_has_voters_and_an_end() {
        let dir = tempfile::tempdir().expect("a folder");
        for (voters, observers, why) in
            [(0, 1, "at least one server that votes"), (200, 100, "more than 255")]
        {
            let size = Size { voters: Some(voters), observers: Some(observers) };
            let error = Layout::plan(dir.path(), size, None, |_| true).expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
