//! Where a server on the stand lives: its folder, and addresses of this machine that nobody else uses.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use protocol::Quorum;
use server::Config;
use spec::{Epoch, ServerId, SessionId, Zxid};
use storage::{Batch, Disk, File, RealDisk, Store};
use tempfile::TempDir;
use tree::{Tree, Txn, TxnBody};
use world::Left;

use crate::graph::print_of;

/// The file that says how far the log is known to be synced.
const MARK: &str = "synced.mark";
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

    /// The configuration of a server that keeps so many transactions in memory; servers without a vote observe.
    ///
    /// # Errors
    /// If it is none.
    pub fn config(
        &self,
        me: ServerId,
        servers: &[ServerId],
        quorum: &Quorum,
        window: usize,
    ) -> anyhow::Result<Config> {
        use std::fmt::Write;
        let mut text = format!(
            "dataDir={}\ntickTime=2000\ninitLimit=10\nsyncLimit=5\nclientPort={CLIENT_PORT}\n\
             clientPortAddress={}\nmaxClientCnxns=0\npreAllocSize=64\nsnapCount=1000000000\n\
             admin.enableServer=false\n",
            self.data().display(),
            self.for_clients(me).ip(),
        );
        for id in servers {
            let ip = self.for_clients(*id).ip();
            let part = if quorum.is_voter(*id) { "participant" } else { "observer" };
            writeln!(text, "server.{id}={ip}:{QUORUM_PORT}:{ELECTION_PORT}:{part}")?;
        }
        if !quorum.is_voter(me) {
            text.push_str("peerType=observer\n");
        }
        text.push_str(&groups(quorum)?);
        let mut config = Config::parse("zoo.cfg", text.clone(), |_| Ok(me.to_string()))?;
        ensure!(config.quorum == *quorum, "zoo.cfg has another quorum than the model: {text}");
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
    fn furnish(&self, state: &Tree) -> anyhow::Result<()> {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let label = format!("snapshot.{:x}", spec::Machine::last_processed(state).0);
        // Two states may go up to the same place.
        let template = self.folder.path().join(format!("template-{:x}", print_of(state)));
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

    /// Makes a folder that holds what is on a disk, or what a crash has left of it.
    ///
    /// # Errors
    /// As the system says.
    pub fn restore(&self, left: &Left<Txn, Arc<Tree>>) -> anyhow::Result<()> {
        let (label, state) =
            left.snapshot.as_ref().context("a crash that leaves no state at all is not played")?;
        self.furnish(state)?;
        if left.log.is_empty() && left.accepted.max(left.current) == Epoch(0) {
            return Ok(());
        }
        let store = Store::open(RealDisk::default(), storage::Config::new(self.data()))?;
        if !left.log.is_empty() {
            self.write_log(&store, *label, &left.log)?;
        }
        for (epoch, save) in [
            (left.accepted, Store::save_accepted as fn(&Store<RealDisk>, Epoch) -> _),
            (left.current, Store::save_current),
        ] {
            if epoch > Epoch(0) {
                save(&store, epoch)?;
            }
        }
        match fs::remove_file(self.data().join("version-2").join(MARK)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a log that goes on behind a snapshot, and of which some records are then torn.
    fn write_log(
        &self,
        store: &Store<RealDisk>,
        label: Zxid,
        records: &[Option<(Zxid, Txn)>],
    ) -> anyhow::Result<()> {
        let mut recovery = store.recover()?;
        let mut log = store.log(&mut recovery);
        log.sync_recovered()?;
        let (mut torn, mut end, mut after) = (Vec::new(), 0, label);
        for (at, record) in records.iter().enumerate() {
            let (zxid, txn) = match record {
                Some(record) => record.clone(),
                None => (torn_zxid(after, &records[at..])?, NO_TXN),
            };
            after = zxid;
            let mut batch = Batch::new();
            batch.push(zxid, &txn);
            log.append_batch(&batch)?;
            log.sync()?;
            let begin = std::mem::replace(&mut end, self.end_of_log()?);
            if record.is_none() {
                torn.push(begin..end);
            }
        }
        if !torn.is_empty() {
            let file = RealDisk::default().open_write(&self.log()?)?;
            for range in torn {
                file.write_at(&vec![0; range.len()], u64::try_from(range.start)?)?;
            }
        }
        Ok(())
    }

    /// The one file of a log that was just begun.
    fn log(&self) -> anyhow::Result<PathBuf> {
        for entry in fs::read_dir(self.data().join("version-2"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("log.") {
                return Ok(entry.path());
            }
        }
        bail!("there is no log")
    }

    /// Where its last record ends, in bytes: every record ends with a byte that is not zero, and zeros follow.
    fn end_of_log(&self) -> anyhow::Result<usize> {
        let bytes = fs::read(self.log()?)?;
        Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
    }
}

/// The groups and the weights of voters as zoo.cfg has them; nothing for a plain majority.
fn groups(quorum: &Quorum) -> anyhow::Result<String> {
    use std::fmt::Write;
    /// A voter, as a quorum is written down.
    #[derive(serde::Deserialize)]
    struct Voter {
        group: usize,
        weight: u32,
    }
    let mut text = String::new();
    if *quorum == Quorum::majority(quorum.voters()) {
        return Ok(text);
    }
    let written = serde_json::to_value(quorum)?;
    let voters: BTreeMap<ServerId, Voter> = serde_json::from_value(written["voters"].clone())?;
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (id, Voter { group, weight }) in voters {
        groups.entry(group).or_default().push(id.to_string());
        writeln!(text, "weight.{id}={weight}")?;
    }
    for (number, members) in groups {
        writeln!(text, "group.{}={}", number + 1, members.join(":"))?;
    }
    Ok(text)
}

/// Stands for a transaction whose bytes are lost.
const NO_TXN: Txn =
    Txn { session: SessionId(0), cxid: 0, time: 0, body: TxnBody::Error { code: 0 }, digest: None };

/// The place of the first of these records, which is torn and stands behind this one. It is told by the next one that is
/// not; if that begins an epoch, any earlier place does.
fn torn_zxid(after: Zxid, records: &[Option<(Zxid, Txn)>]) -> anyhow::Result<Zxid> {
    let behind = records.iter().enumerate().find_map(|(at, record)| Some((at, record.as_ref()?.0)));
    let (distance, zxid) = behind.context("a torn record at the end is none")?;
    let distance = u32::try_from(distance)?;
    Ok(match zxid.counter().checked_sub(distance) {
        Some(counter @ 1..) => Zxid::new(zxid.epoch(), counter),
        Some(0) | None if after.epoch().0 + 1 < zxid.epoch().0 => Zxid::new(Epoch(zxid.epoch().0 - 1), 1),
        Some(0) | None => after.next(),
    })
}
