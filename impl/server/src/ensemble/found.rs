//! What the folder of an ensemble holds of an earlier start: servers with their configurations, and what of them is
//! lost.
//!
//! The list of servers in the first configuration says who there should be. A server without its state can be made
//! again, empty, as long as most of those that vote have theirs: a quorum of these holds whatever was acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use spec::ServerId;

use super::layout::Member;
use crate::{
    Config,
    config::{BYTE_ORDER_MARK, Flags, ServerAddress, with_ports},
};

/// What an earlier start has left.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The servers that the list has, in the order of their numbers.
    pub(super) members: Vec<Member>,
    /// Those that have no configuration: their ports of clients and of the admin server are guessed.
    pub(super) without_config: BTreeSet<ServerId>,
    /// Those that have lost their state, with what is missing.
    pub(super) lost: BTreeMap<ServerId, PathBuf>,
    /// What has to be told.
    pub(super) told: Vec<String>,
}

impl Found {
    /// Looks into the folder.
    ///
    /// # Errors
    /// If a configuration cannot be used, or most of those that vote have lost their state.
    pub(super) fn look(dir: &Path) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let mut listed: BTreeMap<ServerId, ServerAddress> = BTreeMap::new();
        for number in 1..=u8::MAX {
            let server_dir = dir.join(format!("server-{number}"));
            let path = server_dir.join("zoo.cfg");
            if !path.exists() {
                continue;
            }
            let config = load(&path, number)?;
            found.add(member(&config, server_dir, &path)?)?;
            if listed.is_empty() {
                listed = config.servers;
            }
        }
        let Some(first) = found.members.first().cloned() else { return Ok(found) };
        for (id, address) in listed {
            if !found.members.iter().any(|member| member.id == id) {
                found.add_listed(id, &address, &first, dir);
            }
        }
        found.members.sort_by_key(|member| member.id);
        found.judge(dir)?;
        Ok(found)
    }

    fn add(&mut self, member: Member) -> anyhow::Result<()> {
        if let Some(other) = self.members.iter().find(|other| other.id == member.id) {
            let (one, other) = (member.dir.display(), other.dir.display());
            bail!("{other} and {one} both say that they are server {}", member.id);
        }
        let has_state = member.data.join("version-2").exists();
        let my_id = member.data.join("myid");
        let moved = member.dir.join("data");
        if !member.data.exists() && moved.exists() {
            bail!(
                "{}: dataDir is {}, which is not there, and {} is; if the folder was moved, let dataDir say where it \
                 is now, in the zoo.cfg of each server",
                member.config().display(),
                member.data.display(),
                moved.display()
            );
        }
        if !my_id.exists() && has_state {
            self.told.push(format!("{} was missing; it is written again", my_id.display()));
        } else if !member.data.exists() {
            self.lost.insert(member.id, member.data.clone());
        } else if !my_id.exists() {
            self.lost.insert(member.id, my_id);
        }
        self.members.push(member);
        Ok(())
    }

    /// A server that the list has, and that has no configuration.
    fn add_listed(&mut self, id: ServerId, address: &ServerAddress, first: &Member, dir: &Path) {
        let server_dir = dir.join(format!("server-{id}"));
        let beside = |port: u16| u16::try_from(u64::from(port) + id.0 - first.id.0.min(id.0)).unwrap_or(port);
        let client = address.client.as_ref().map(|(_, port)| *port);
        let member = Member {
            id,
            data: server_dir.join("data"),
            client_port: client.unwrap_or_else(|| beside(first.client_port)),
            quorum_port: address.quorum_port,
            election_port: address.election_port,
            admin_port: first.admin_port.map(beside),
            observer: address.observer,
            dir: server_dir,
        };
        self.without_config.insert(id);
        if member.data.join("version-2").exists() {
            self.told.push(format!("{} was missing; it is made again", member.config().display()));
        } else {
            let missing = if member.dir.exists() { member.data.clone() } else { member.dir.clone() };
            self.lost.insert(id, missing);
        }
        self.members.push(member);
    }

    /// Refuses to begin anew where those that vote and have their state are no majority: a quorum of such an ensemble
    /// need not know what was written. Says who is made again.
    fn judge(&mut self, dir: &Path) -> anyhow::Result<()> {
        let voters: Vec<_> = self.members.iter().filter(|member| !member.observer).collect();
        let lost = voters.iter().filter(|member| self.lost.contains_key(&member.id)).count();
        if voters.len() - lost <= voters.len() / 2 && lost > 0 {
            let missing: Vec<_> = self.lost.values().map(|path| path.display().to_string()).collect();
            bail!(
                "{lost} of {} servers that vote have lost their state, and the others are no majority: with empty servers \
                 among them they could go on without what was written.\n  missing: {}\n  Put that back; or move {} \
                 aside, to begin with an ensemble that is empty.",
                voters.len(),
                missing.join("\n           "),
                dir.display()
            );
        }
        for (id, path) in &self.lost {
            let name = path.strip_prefix(dir).unwrap_or(path).display();
            self.told.push(format!(
                "{name} was missing; it is made again, empty, and server {id} takes its state from the others"
            ));
        }
        Ok(())
    }
}

/// A configuration, also if the server's `myid` is gone.
fn load(path: &Path, number: u8) -> anyhow::Result<Config> {
    let read = |file: &Path| match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.ends_with("myid") => {
            Ok(number.to_string())
        }
        text => text,
    };
    Config::load_reading(path, &Flags::default(), read)
        .map_err(|error| anyhow!("{:?}", miette::Report::new(error)))
}

fn member(config: &Config, dir: PathBuf, path: &Path) -> anyhow::Result<Member> {
    let Some(address) = config.servers.get(&config.me) else {
        bail!("{} has no line for its own server", path.display());
    };
    let Some(client_port) = config.client_port else {
        bail!("{} has no clientPort", path.display());
    };
    Ok(Member {
        id: config.me,
        dir,
        data: config.data_dir.clone(),
        client_port,
        quorum_port: address.quorum_port,
        election_port: address.election_port,
        admin_port: config.admin.as_ref().map(|admin| admin.port),
        observer: address.observer,
    })
}

/// Writes the ports of the members into the configuration of one of them, if it has others. Every other line stays as
/// it is.
pub(super) fn write_ports(own: &Member, members: &[Member]) -> anyhow::Result<()> {
    let path = own.config();
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // What is no UTF-8 is Latin-1, and stays so.
    let (text, is_latin) = match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (error.as_bytes().iter().map(|byte| char::from(*byte)).collect(), true),
    };
    let changed = with_ports_of(&text, own, members);
    if changed == text {
        return Ok(());
    }
    let bytes = if is_latin {
        changed.chars().map(|char| u8::try_from(char).unwrap_or(b'?')).collect()
    } else {
        changed.into_bytes()
    };
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A configuration's text with the ports of these members.
fn with_ports_of(text: &str, own: &Member, members: &[Member]) -> String {
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut out = body.to_owned();
    let entries = properties::parse(body);
    let port_of = |entry: &properties::Entry| match entry.key.as_str() {
        "clientPort" => Some(own.client_port.to_string()),
        "admin.serverPort" => own.admin_port.map(|port| port.to_string()),
        key => {
            let id = key.strip_prefix("server.")?.parse().ok().map(ServerId)?;
            let other = members.iter().find(|member| member.id == id)?;
            with_ports(&entry.value, other.quorum_port, other.election_port, other.client_port)
        }
    };
    // From behind, so that places in front stay what they are.
    for entry in entries.iter().rev() {
        if let Some(value) = port_of(entry).filter(|value| *value != entry.value) {
            out.replace_range(entry.value_span.clone(), &properties::escaped(&value));
        }
    }
    let says_admin = entries.iter().any(|entry| entry.key == "admin.serverPort");
    if let Some(port) = own.admin_port.filter(|port| !says_admin && *port != super::layout::ADMIN_PORT) {
        let line_end = if out.ends_with('\n') { "" } else { "\n" };
        out = format!("{out}{line_end}admin.serverPort={port}\n");
    }
    let mark = &text[..text.len() - body.len()];
    format!("{mark}{out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u16) -> Member {
        Member {
            id: ServerId(u64::from(number)),
            dir: PathBuf::new(),
            data: PathBuf::new(),
            client_port: 2180 + number,
            quorum_port: 2887 + number,
            election_port: 3887 + number,
            admin_port: Some(8079 + number),
            observer: false,
        }
    }

    #[test]
    fn only_ports_that_change_are_written() {
        let text = "\u{feff}clientPort = 9\n# my own note\n  tickTime=500\nadmin.serverPort: 8080\r\n\
            server.1=localhost:1:3888:participant;9\nserver.2 = [::1]:2889:3889\nsnapCount=10";
        let changed = with_ports_of(text, &member(1), &[member(1), member(2)]);
        let expected = "\u{feff}clientPort = 2181\n# my own note\n  tickTime=500\nadmin.serverPort: 8080\r\n\
            server.1=localhost:2888:3888:participant;2181\nserver.2 = [::1]:2889:3889\nsnapCount=10";
        assert_eq!(changed, expected);
        assert_eq!(with_ports_of(expected, &member(1), &[member(1), member(2)]), expected);
    }

    #[test]
    fn a_port_that_no_line_has_gets_one() {
        let changed = with_ports_of("clientPort=2182", &member(2), &[]);
        assert_eq!(changed, "clientPort=2182\nadmin.serverPort=8081\n");
        let off = Member { admin_port: None, ..member(2) };
        assert_eq!(with_ports_of("clientPort=2182", &off, &[]), "clientPort=2182");
    }
}
