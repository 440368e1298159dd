//! Faults against running ensembles.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use faults::{
    ensemble::{Ensemble, Servers},
    hardships, kills,
    migration::{self, Maker},
    power_cuts, scripts, strace,
};
use serde_json::Value;

#[derive(Parser)]
#[command(about = "Kills, power cuts and stock clients, against a running ensemble", version)]
struct Arguments {
    #[command(subcommand)]
    command: What,
    /// Where the servers keep their data and output; else a fresh folder that goes when all is well.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Where to write the outcome as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Our server's binary; else `zabkeeper` beside this.
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Kill the leader, and all servers, under continuous writes.
    Kills {
        /// Whose servers.
        #[arg(long, value_enum, default_value_t = Against::Zabkeeper)]
        against: Against,
        /// How often to kill the leader.
        #[arg(long, default_value_t = 20)]
        leader: usize,
        /// How often to kill all servers.
        #[arg(long, default_value_t = 10)]
        all: usize,
        /// How many clients write.
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// How many requests each client keeps under way.
        #[arg(long, default_value_t = 4)]
        window: usize,
    },
    /// Kill nobody: ask the leader to end under continuous writes, and judge all that is committed of each session.
    Orderly {
        /// How many clients write.
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// How many requests each client keeps under way.
        #[arg(long, default_value_t = 4)]
        window: usize,
    },
    /// Cut the power of one, two and all servers under continuous writes.
    PowerCuts {
        /// How many cuts.
        #[arg(long, default_value_t = 100)]
        cuts: usize,
        /// What the dice start from; else another number each time.
        #[arg(long)]
        seed: Option<u64>,
        /// How many clients write.
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// How many requests each client keeps under way.
        #[arg(long, default_value_t = 16)]
        window: usize,
        /// The least acknowledged writes a second.
        #[arg(long, default_value_t = 1_000)]
        rate_min: u64,
        /// A test of the test: syncs do nothing, and this passes only if a loss is seen.
        #[arg(long)]
        no_sync: bool,
    },
    /// Trace the system calls of servers: nothing may be said before it is on disk.
    Strace {
        /// A test of the test: servers do not sync, and this passes only if that is seen.
        #[arg(long)]
        no_sync: bool,
    },
    /// Move an ensemble of Apache ZooKeeper in place to Zabkeeper and back, server by server: one, two, and all three.
    #[command(after_help = "Examples:\n  \
        faults migration\n  \
        faults migration --apache '3.9.5=/opt/apache-zookeeper-3.9.5/lib/*' --rounds 2\n  \
        faults migration --harms")]
    Migration {
        /// What to move from and back to: VERSION=CLASSPATH, as `java -cp` takes it.
        #[arg(long, default_value = DEBIAN_MAKER)]
        apache: String,
        /// How often to go each way; in every second round whoever leads is moved first.
        #[arg(long, default_value_t = 1)]
        rounds: usize,
        /// A test of the test: harm is done to ensembles of ours, and this passes only if each is seen.
        #[arg(long)]
        harms: bool,
    },
    /// Stopped servers, clients that do not read or mean harm, full disks and pipes, wrong names and clocks, noise: each a
    /// case with its figures.
    Hardships {
        /// Which cases; all if none is named.
        cases: Vec<String>,
        /// Name the cases, and run none.
        #[arg(long)]
        list: bool,
    },
    /// One server of the power cuts: `cut` on standard input cuts its power.
    #[command(hide = true)]
    CutServer {
        /// What the dice start from.
        #[arg(long)]
        seed: u64,
        /// Its configuration.
        config: PathBuf,
    },
    /// Run a stock client's script against three servers.
    Clients {
        /// Whose servers.
        #[arg(long, value_enum, default_value_t = Against::Zabkeeper)]
        against: Against,
        /// How long the script may take, in seconds.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// The script and its arguments; the connect string is put behind them.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        script: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Against {
    /// Ours.
    Zabkeeper,
    /// Apache ZooKeeper from Debian's package.
    Java,
}

impl Against {
    fn servers(self, ours: &Path) -> Servers {
        match self {
            Self::Zabkeeper => zabkeeper(ours, Vec::new(), String::new()),
            Self::Java => Servers::Java { classpath: DEBIAN.to_owned() },
        }
    }
}

fn zabkeeper(binary: &Path, wrapper: Vec<String>, config: String) -> Servers {
    Servers::Zabkeeper { binary: binary.to_path_buf(), wrapper, config }
}

/// Apache ZooKeeper from Debian's package.
const DEBIAN: &str = "/usr/share/java/zookeeper.jar";

/// The same, with its version.
const DEBIAN_MAKER: &str = "3.8.0=/usr/share/java/zookeeper.jar";

/// Our server, as it stands beside this binary.
fn sibling() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().context("this binary is in no folder")?.join("zabkeeper"))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let What::CutServer { seed, config } = &arguments.command {
        return Ok(ExitCode::from(power_cuts::serve(config, *seed)?));
    }
    let (dir, keep) = match &arguments.dir {
        Some(dir) => (dir.clone(), true),
        None => (std::env::temp_dir().join(format!("zabkeeper-faults-{}", std::process::id())), false),
    };
    fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let binary = arguments.binary.map_or_else(sibling, Ok)?;
    let outcome = run(arguments.command, &binary, &dir)
        .with_context(|| format!("data and output: {}", dir.display()))?;
    if let Some(path) = arguments.json {
        fs::write(&path, serde_json::to_string_pretty(&outcome)?)?;
    }
    if !keep {
        fs::remove_dir_all(&dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run(what: What, binary: &Path, dir: &Path) -> Result<Value> {
    match what {
        What::Kills { against, leader, all, clients, window } => {
            let ensemble = Ensemble::new(against.servers(binary), 3, dir)?;
            kills::run(ensemble, kills::Plan { leader, all, clients, window })
        }
        What::Orderly { clients, window } => {
            let ensemble = Ensemble::new(Against::Zabkeeper.servers(binary), 3, dir)?;
            kills::orderly(ensemble, clients, window)
        }
        What::PowerCuts { cuts, seed, clients, window, rate_min, no_sync } => {
            let kind = Servers::Cuttable { command: vec!["cut-server".to_owned()] };
            let seed = seed.unwrap_or_else(fresh_seed);
            let plan = power_cuts::Plan { cuts, seed, clients, window, rate_min };
            if no_sync {
                let ensembles =
                    (1..=10).map(|n| Ensemble::new(kind.clone(), 3, &dir.join(format!("attempt{n}"))));
                power_cuts::run_lying(ensembles, plan)
            } else {
                power_cuts::run(Ensemble::new(kind, 3, dir)?, plan)
            }
        }
        What::Migration { harms: true, .. } => {
            let ours = Maker { name: "Zabkeeper".to_owned(), servers: Against::Zabkeeper.servers(binary) };
            let ensemble =
                |number| Ensemble::new(ours.servers.clone(), 3, &dir.join(format!("harm{number}")));
            migration::run_harms(ensemble, &ours)
        }
        What::Migration { apache, rounds, .. } => {
            let (version, classpath) = apache.split_once('=').context("--apache takes VERSION=CLASSPATH")?;
            let name = format!("Apache ZooKeeper {version}");
            let apache = Maker { name, servers: Servers::Java { classpath: classpath.to_owned() } };
            let ours = Maker { name: "Zabkeeper".to_owned(), servers: Against::Zabkeeper.servers(binary) };
            migration::run(Ensemble::new(apache.servers.clone(), 3, dir)?, [apache, ours], rounds)
        }
        What::Hardships { list: true, .. } => Ok(hardships::list()),
        What::Hardships { cases, .. } => hardships::run(binary, dir, &cases),
        What::Strace { no_sync } => {
            // Small log files: a trace holds every byte written, zeros too.
            let config = format!("preAllocSize=64\nforceSync={}\n", if no_sync { "no" } else { "yes" });
            strace::run(Ensemble::new(zabkeeper(binary, strace::wrapper(), config), 3, dir)?, no_sync)
        }
        What::CutServer { .. } => unreachable!("it is served before there is a folder"),
        What::Clients { against, seconds, script } => {
            let ensemble = Ensemble::new(against.servers(binary), 3, dir)?;
            scripts::run(ensemble, &script, Duration::from_secs(seconds))?;
            Ok(Value::Null)
        }
    }
}

/// Another number each time.
fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
}
