//! What every case needs: a folder, servers in it, their memory, and what they say of themselves.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    client::{self, Client, Kind, Op},
    ensemble::{Ensemble, Servers},
    session,
};

/// The timeout of sessions that are to last, in milliseconds.
pub(super) const SESSION_MS: i32 = 10_000;

/// How long a server may take to answer a four-letter word.
const WORD_PATIENCE: Duration = Duration::from_secs(20);

/// The folder of one case, and the server that is tried in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) binary: PathBuf,
    pub(super) dir: PathBuf,
}

impl Place {
    pub(super) fn new(binary: &Path, dir: &Path, case: &str) -> Result<Self> {
        let dir = dir.join(case);
        ensure!(!dir.exists(), "{} is there already: a case begins with an empty folder", dir.display());
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { binary: binary.to_owned(), dir })
    }

    /// Servers of this case, none of which runs yet. `config` is more lines of configuration, each with its end, and
    /// `wrapper` stands before the server's command line.
    pub(super) fn ensemble(&self, count: usize, config: &str, wrapper: &[&str]) -> Result<Ensemble> {
        Ensemble::new(self.servers(config, wrapper), count, &self.dir)
    }

    /// So many voters and observers, none of which runs yet.
    pub(super) fn observed(&self, voters: usize, observers: usize) -> Result<Ensemble> {
        Ensemble::with_observers(self.servers("", &[]), voters, observers, &self.dir)
    }

    fn servers(&self, config: &str, wrapper: &[&str]) -> Servers {
        Servers::Zabkeeper {
            binary: self.binary.clone(),
            wrapper: wrapper.iter().map(|&word| word.to_owned()).collect(),
            config: config.to_owned(),
        }
    }

    /// One server alone, which serves.
    pub(super) fn alone(&self, config: &str, wrapper: &[&str]) -> Result<(Ensemble, SocketAddr)> {
        let mut ensemble = self.ensemble(1, config, wrapper)?;
        ensemble.start_all()?;
        ensemble.await_serving(session::SERVING_PATIENCE)?;
        let address = ensemble.addresses()[0];
        Ok((ensemble, address))
    }
}

/// Runs a case on an ensemble, and shows the last words of its servers if it fails.
pub(super) fn with_words<T>(
    ensemble: &mut Ensemble,
    run: impl FnOnce(&mut Ensemble) -> Result<T>,
) -> Result<T> {
    let outcome = run(ensemble);
    if outcome.is_err() {
        eprintln!("{}", ensemble.last_words());
    }
    outcome
}

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory(u32);

impl Memory {
    /// Of a server, whose greatest use is counted from now on.
    pub(super) fn watch(ensemble: &Ensemble, id: usize) -> Result<Self> {
        let this = Self(ensemble.pid(id)?);
        let reset = format!("/proc/{}/clear_refs", this.0);
        fs::write(&reset, "5").with_context(|| format!("cannot write {reset}"))?;
        Ok(this)
    }

    /// Now.
    pub(super) fn now(self) -> Result<u64> {
        self.read("VmRSS:")
    }

    /// At most, since it is watched.
    pub(super) fn peak(self) -> Result<u64> {
        self.read("VmHWM:")
    }

    fn read(self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// A number that a server tells by `mntr`.
pub(super) fn told(address: SocketAddr, key: &str) -> Result<u64> {
    let text = client::four_letters(address, "mntr", WORD_PATIENCE)?;
    let row = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
    let value = row.with_context(|| format!("{address} does not tell {key}: {text}"))?;
    value.parse().with_context(|| format!("{key} is {value:?}"))
}

/// The last transaction that a server shows.
pub(super) fn zxid(address: SocketAddr) -> Result<u64> {
    let text = client::four_letters(address, "srvr", WORD_PATIENCE)?;
    let word = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).context("no zxid is told")?;
    Ok(u64::from_str_radix(word, 16)?)
}

/// A client with a session that lasts.
pub(super) fn join(to: SocketAddr) -> Result<Client> {
    session::connect(to, SESSION_MS)
}

/// Makes a node.
pub(super) fn make(client: &mut Client, path: &str, data: Vec<u8>, kind: Kind) -> Result<()> {
    let reply = client.call(&Op::Create { path: path.to_owned(), data, kind })?;
    ensure!(reply.code == 0, "creating {} failed with {}", short(path), reply.code);
    Ok(())
}

/// The beginning of a text that may be very long.
pub(super) fn short(text: &str) -> &str {
    text.get(..40).unwrap_or(text)
}

/// Waits until something is true.
pub(super) fn await_true(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let began = Instant::now();
    while !holds()? {
        ensure!(began.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(began.elapsed())
}

/// A time in whole milliseconds.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
