//! Which servers, ports and folders an ensemble on one machine has.
//!
//! What a first start chose stands in the `zoo.cfg` of each server, and a later start finds it there. Each port stays
//! what it was while it is free; of a configuration that is there nothing but ports is written anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use spec::ServerId;

use super::found::{self, Found};

const CLIENT_PORT: u16 = 2181;
const QUORUM_PORT: u16 = 2888;
const ELECTION_PORT: u16 = 3888;
pub(super) const ADMIN_PORT: u16 = 8080;

/// One server of the ensemble.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its number.
    pub id: ServerId,
    /// Its folder.
    pub dir: PathBuf,
    /// The folder of its state, and of `myid`.
    pub data: PathBuf,
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

    fn port(&mut self, what: Use) -> Option<&mut u16> {
        match what {
            Use::Client => Some(&mut self.client_port),
            Use::Quorum => Some(&mut self.quorum_port),
            Use::Election => Some(&mut self.election_port),
            Use::Admin => self.admin_port.as_mut(),
        }
    }
}

/// What a server has a port for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Use {
    Client,
    Quorum,
    Election,
    Admin,
}

impl Use {
    const ALL: [Self; 4] = [Self::Client, Self::Quorum, Self::Election, Self::Admin];

    /// Says that this port of a server is another one now.
    fn moved(self, id: ServerId, from: u16, to: u16) -> String {
        let now = match self {
            Self::Client => format!("clients of server {id} connect to {to} now"),
            Self::Quorum => format!("the others follow server {id} on {to} now"),
            Self::Election => format!("server {id} takes votes on {to} now"),
            Self::Admin => format!("server {id}'s admin server is on {to} now"),
        };
        format!("port {from} is taken: {now}")
    }
}

/// The ports that are given away.
struct Ports<F> {
    given: BTreeSet<u16>,
    is_free: F,
}

impl<F: Fn(u16) -> bool> Ports<F> {
    /// Whether this port can be had; nobody else gets it then.
    fn take(&mut self, port: u16) -> bool {
        // Any port that is free, and another one each time.
        port == 0 || (self.is_free)(port) && self.given.insert(port)
    }

    /// The next port that can be had.
    fn next(&mut self, from: u16) -> anyhow::Result<u16> {
        let port = (from..=u16::MAX).find(|port| self.take(*port));
        port.with_context(|| format!("no port is free from {from} up; --base-port begins elsewhere"))
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
    /// What is not as it was the last time, a line each.
    pub changes: Vec<String>,
    /// The servers that have lost their state, with what is missing. They may start when the others have a leader: a
    /// quorum with them could be one of servers that do not know the last writes.
    pub lost: BTreeMap<ServerId, PathBuf>,
}

impl Layout {
    /// Decides on servers and ports: those of the folder if it has any, but for ports that are taken, in whose place
    /// the next free ones come.
    ///
    /// # Errors
    /// If the folder cannot be read, holds another number of servers than was asked for, most of the servers that vote
    /// have lost their state, or ports have run out.
    pub fn plan(
        dir: &Path,
        size: Size,
        base_port: Option<u16>,
        is_free: impl Fn(u16) -> bool,
    ) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
        let found = Found::look(&dir)?;
        let (voters, observers) = size.among(&found.members, &dir)?;
        let count = voters
            .checked_add(observers)
            .with_context(|| format!("{voters} servers and {observers} observers are more than 255"))?;
        let ports = Ports { given: BTreeSet::new(), is_free };
        if let Some(first) = found.members.first() {
            let base_port = base_port.filter(|base| first.client_port != *base);
            return Self::again(dir, found, base_port, ports);
        }
        Self::first(dir, voters, count, base_port, ports)
    }

    /// An ensemble of which there is nothing yet.
    fn first(
        dir: PathBuf,
        voters: u8,
        count: u8,
        base_port: Option<u16>,
        mut ports: Ports<impl Fn(u16) -> bool>,
    ) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for number in 1..=count {
            let step = u16::from(number - 1);
            let server_dir = dir.join(format!("server-{number}"));
            members.push(Member {
                id: ServerId(u64::from(number)),
                data: server_dir.join("data"),
                dir: server_dir,
                client_port: ports.next(base_port.unwrap_or(CLIENT_PORT).saturating_add(step))?,
                quorum_port: ports.next(QUORUM_PORT + step)?,
                election_port: ports.next(ELECTION_PORT + step)?,
                admin_port: Some(ports.next(ADMIN_PORT + step)?),
                observer: number > voters,
            });
        }
        Ok(Self { dir, members, changes: Vec::new(), lost: BTreeMap::new() })
    }

    /// The ensemble of an earlier start. With a base port, clients come from that port on.
    fn again(
        dir: PathBuf,
        found: Found,
        base_port: Option<u16>,
        mut ports: Ports<impl Fn(u16) -> bool>,
    ) -> anyhow::Result<Self> {
        let Found { mut members, without_config, lost, told: mut changes } = found;
        // What stands in a configuration comes before what is a guess.
        let mut order: Vec<_> = (0..members.len()).collect();
        order.sort_by_key(|at| without_config.contains(&members[*at].id));
        let mut looking = Vec::new();
        for at in order {
            for what in Use::ALL {
                let base = base_port.filter(|_| what == Use::Client);
                let Some(port) = members[at].port(what).copied() else { continue };
                if let Some(base) = base {
                    looking.push((at, what, base.saturating_add(u16::try_from(at)?), false));
                } else if !ports.take(port) {
                    let is_guess =
                        without_config.contains(&members[at].id) && matches!(what, Use::Client | Use::Admin);
                    looking.push((at, what, port, !is_guess));
                }
            }
        }
        for (at, what, from, has_moved) in looking {
            let found = ports.next(from)?;
            let id = members[at].id;
            if let Some(port) = members[at].port(what) {
                *port = found;
            }
            if has_moved {
                changes.push(what.moved(id, from, found));
            }
        }
        Ok(Self { dir, members, changes, lost })
    }

    /// What clients connect to.
    pub fn connect_string(&self) -> String {
        let each = self.members.iter().map(|member| format!("127.0.0.1:{}", member.client_port));
        each.collect::<Vec<_>>().join(",")
    }

    /// Makes the folders and configurations that are missing, and writes ports that have changed into the others.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn write(&self) -> anyhow::Result<()> {
        for member in &self.members {
            let path = member.config();
            fs::create_dir_all(&member.data)
                .with_context(|| format!("cannot make {}", member.data.display()))?;
            fs::create_dir_all(&member.dir)?;
            let my_id = member.data.join("myid");
            if !my_id.exists() {
                fs::write(&my_id, format!("{}\n", member.id))
                    .with_context(|| format!("cannot write {}", my_id.display()))?;
            }
            if path.exists() {
                found::write_ports(member, &self.members)?;
            } else {
                fs::write(&path, self.config_text(member))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn config_text(&self, member: &Member) -> String {
        let data = properties::escaped(&member.data.display().to_string());
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

/// Whether nobody listens on this port of the loopback address.
pub(super) fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use spec::ServerId;

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
        assert!(again.changes.is_empty(), "{:?}", again.changes);
    }

    /// A folder with so many servers, that were started.
    fn started(voters: u8) -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().expect("a folder");
        let layout = Layout::plan(dir.path(), size(voters), None, |_| true).expect("a layout");
        layout.write().expect("written");
        for member in &layout.members {
            fs::create_dir(member.data.join("version-2")).expect("a folder");
        }
        (dir, layout)
    }

    #[test]
    fn a_port_that_is_taken_since_is_moved_alone() {
        let (dir, before) = started(3);
        let path = before.members[0].config();
        let edited = format!("# mine\nsnapCount=7\n{}", fs::read_to_string(&path).expect("a file"));
        fs::write(&path, &edited).expect("a file");
        let taken = [2181, 2889, 3888, 8080];
        let moved =
            Layout::plan(dir.path(), size(None), None, |port| !taken.contains(&port)).expect("a layout");
        assert_eq!(
            moved.changes,
            [
                "port 2181 is taken: clients of server 1 connect to 2184 now",
                "port 3888 is taken: server 1 takes votes on 3891 now",
                "port 8080 is taken: server 1's admin server is on 8083 now",
                "port 2889 is taken: the others follow server 2 on 2891 now",
            ]
        );
        moved.write().expect("written");
        let text = fs::read_to_string(&path).expect("a file");
        let expected = edited
            .replace("clientPort=2181", "clientPort=2184")
            .replace("admin.serverPort=8080", "admin.serverPort=8083")
            .replace(":2888:3888", ":2888:3891")
            .replace(":2889:3889", ":2891:3889");
        assert_eq!(text, expected);
        let found = Layout::plan(dir.path(), Size::default(), None, |_| true).expect("a layout");
        assert_eq!((found.members, found.changes), (moved.members, Vec::new()));
    }

    #[test]
    fn another_base_port_moves_the_ports_of_clients() {
        let (dir, before) = started(2);
        let moved = Layout::plan(dir.path(), size(None), Some(4000), |port| port != 4001).expect("a layout");
        assert_eq!(moved.connect_string(), "127.0.0.1:4000,127.0.0.1:4002");
        assert_eq!(moved.changes, Vec::<String>::new());
        let quorum =
            |layout: &Layout| layout.members.iter().map(|member| member.quorum_port).collect::<Vec<_>>();
        assert_eq!(quorum(&moved), quorum(&before));
        let error = Layout::plan(dir.path(), size(None), Some(65_535), |_| true).expect_err("too high");
        assert!(error.to_string().contains("no port is free from 65535 up"), "{error}");
    }

    #[test]
    fn a_lost_server_is_made_again_with_its_ports() {
        for (what, keeps_folder, keeps_data) in [
            ("server-2 was", false, false),
            ("server-2/data was", true, false),
            ("server-2/data/myid was", true, true),
        ] {
            let (dir, before) = started(3);
            let member = &before.members[1];
            fs::remove_dir_all(if keeps_folder { &member.data } else { &member.dir }).expect("removed");
            if keeps_data {
                fs::create_dir(&member.data).expect("a folder");
            }
            let again = Layout::plan(dir.path(), Size::default(), None, |_| true).expect(what);
            assert_eq!(again.members, before.members);
            assert_eq!(again.lost.keys().copied().collect::<Vec<_>>(), [ServerId(2)]);
            let expected = format!("{what} missing; it is made again, empty, and server 2 takes its state");
            assert!(
                again.changes.len() == 1 && again.changes[0].starts_with(&expected),
                "{:?}",
                again.changes
            );
            again.write().expect("written");
            let whole = Layout::plan(dir.path(), Size::default(), None, |_| true).expect("a layout");
            assert!(whole.changes.is_empty() && whole.lost.is_empty(), "{:?}", whole.changes);
        }
    }

    #[test]
    fn what_says_who_a_server_is_can_be_written_again() {
        let (dir, before) = started(3);
        for lost in [before.members[0].data.join("myid"), before.members[2].config()] {
            fs::remove_file(&lost).expect("removed");
            let again = Layout::plan(dir.path(), Size::default(), None, |_| true).expect("a layout");
            assert!(again.lost.is_empty());
            assert!(
                again.changes[0].starts_with(&format!("{} was missing", lost.display())),
                "{:?}",
                again.changes
            );
            again.write().expect("written");
            assert!(lost.exists());
        }
    }

    #[test]
    fn an_ensemble_that_has_lost_most_of_its_voters_is_not_begun_anew() {
        let (dir, layout) = started(3);
        for member in &layout.members[1..] {
            fs::remove_dir_all(&member.dir).expect("removed");
        }
        let error =
            Layout::plan(dir.path(), Size::default(), None, |_| true).expect_err("refused").to_string();
        assert!(error.starts_with("2 of 3 servers that vote have lost their state"), "{error}");
        for member in &layout.members[1..] {
            assert!(error.contains(&member.dir.display().to_string()), "{error}");
            assert!(!member.dir.exists(), "nothing is made");
        }
        let (dir, layout) = started(1);
        fs::remove_dir_all(&layout.members[0].data).expect("removed");
        assert!(Layout::plan(dir.path(), Size::default(), None, |_| true).is_err());
    }

    #[test]
    fn a_folder_that_was_moved_is_not_taken_for_lost() {
        let (dir, _) = started(3);
        let moved = dir.path().join("moved");
        fs::create_dir(&moved).expect("a folder");
        for number in 1..=3 {
            let name = format!("server-{number}");
            fs::rename(dir.path().join(&name), moved.join(&name)).expect("moved");
        }
        let error = Layout::plan(&moved, Size::default(), None, |_| true).expect_err("refused").to_string();
        assert!(error.contains("if the folder was moved, let dataDir say where it is now"), "{error}");
    }

    #[test]
    fn a_configuration_that_cannot_be_used_says_why() {
        let (dir, layout) = started(3);
        fs::write(layout.members[0].config(), "dataDir=/d\ntickTime=soon\n").expect("a file");
        let error =
            Layout::plan(dir.path(), Size::default(), None, |_| true).expect_err("refused").to_string();
        assert!(error.contains("tickTime is \"soon\"") && error.contains("zoo.cfg:2:"), "{error}");
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
            assert_eq!((found.members, found.changes), (layout.members.clone(), Vec::new()));
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
