//! Where a server on the stand lives: its folder, and addresses of this machine that nobody else uses.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use server::Config;
use spec::ServerId;
use storage::{RealDisk, Store};
use tempfile::TempDir;
use tree::Tree;

const CLIENT_PORT: u16 = 2181;
const QUORUM_PORT: u16 = 2888;
const ELECTION_PORT: u16 = 3888;

/// A place for one server after the other.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    net: [u8; 3],
}

impl Place {
    /// The place of this worker, in a folder below `parent`.
    ///
    /// # Errors
    /// If no folder can be made there.
    pub fn new(parent: &Path, worker: u8) -> io::Result<Self> {
        // All of 127/8 is this machine, and runs side by side are to stay apart.
        let process = std::process::id().to_be_bytes();
        let net = [127, process[3].max(1), process[2].wrapping_mul(16).wrapping_add(worker)];
        Ok(Self { folder: tempfile::Builder::new().prefix("replay-").tempdir_in(parent)?, net })
    }

    fn address(&self, server: ServerId, port: u16) -> SocketAddr {
        let [a, b, c] = self.net;
        SocketAddr::from(([a, b, c, u8::try_from(server.0).unwrap_or(u8::MAX)], port))
    }

    /// Where clients of a server connect.
    pub fn for_clients(&self, server: ServerId) -> SocketAddr {
        self.address(server, CLIENT_PORT)
    }

    /// Where learners of a server connect.
    pub fn for_learners(&self, server: ServerId) -> SocketAddr {
        self.address(server, QUORUM_PORT)
    }

    /// Where voters connect.
    pub fn for_voters(&self, server: ServerId) -> SocketAddr {
        self.address(server, ELECTION_PORT)
    }

    /// The configuration of a server that keeps so many transactions in memory.
    ///
    /// # Errors
    /// If it is none.
    pub fn config(&self, me: ServerId, servers: &[ServerId], window: usize) -> anyhow::Result<Config> {
        use std::fmt::Write;
        let mut text = format!(
            "dataDir={}\ntickTime=2000\ninitLimit=10\nsyncLimit=5\nclientPort={CLIENT_PORT}\n\
             clientPortAddress={}\nmaxClientCnxns=0\npreAllocSize=64\nsnapCount=1000000000\n",
            self.data().display(),
            self.for_clients(me).ip(),
        );
        for id in servers {
            let ip = self.for_clients(*id).ip();
            writeln!(text, "server.{id}={ip}:{QUORUM_PORT}:{ELECTION_PORT}")?;
        }
        let mut config = Config::parse("zoo.cfg", text, |_| Ok(me.to_string()))?;
        config.commit_log_count = window;
        Ok(config)
    }

    /// The server's folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Makes an empty folder for a server, which starts with this state.
    ///
    /// # Errors
    /// As the system says.
    pub fn furnish(&self, state: &Tree) -> anyhow::Result<()> {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let label = format!("snapshot.{:x}", spec::Machine::last_processed(state).0);
        let template = self.folder.path().join("template");
        let snapshot = template.join("version-2").join(&label);
        if !snapshot.exists() {
            let store = Store::open(RealDisk::default(), storage::Config::new(template))
                .context("the first folder")?;
            store.snapshots().save(&mut state.clone())?;
        }
        fs::create_dir_all(data.join("version-2"))?;
        fs::copy(snapshot, data.join("version-2").join(label))?;
        Ok(())
    }
}
