//! Faults against running ensembles.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use faults::{
    ensemble::{Ensemble, Servers},
    kills, scripts,
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
    /// The binary `zabkeeper` beside this one.
    Zabkeeper,
    /// Apache ZooKeeper from Debian's package.
    Java,
}

impl Against {
    fn servers(self) -> Result<Servers> {
        Ok(match self {
            Self::Zabkeeper => Servers::Zabkeeper { binary: sibling("zabkeeper")?, wrapper: Vec::new() },
            Self::Java => Servers::Java { jar: PathBuf::from("/usr/share/java/zookeeper.jar") },
        })
    }
}

/// A binary of this workspace, which stands beside this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().context("this binary is in no folder")?.join(name))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (dir, keep) = match &arguments.dir {
        Some(dir) => (dir.clone(), true),
        None => (std::env::temp_dir().join(format!("zabkeeper-faults-{}", std::process::id())), false),
    };
    fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let outcome =
        run(arguments.command, &dir).with_context(|| format!("data and output: {}", dir.display()))?;
    if let Some(path) = arguments.json {
        fs::write(&path, serde_json::to_string_pretty(&outcome)?)?;
    }
    if !keep {
        fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn run(what: What, dir: &std::path::Path) -> Result<Value> {
    match what {
        What::Kills { against, leader, all, clients, window } => {
            let ensemble = Ensemble::new(against.servers()?, 3, dir)?;
            kills::run(ensemble, kills::Plan { leader, all, clients, window })
        }
        What::Clients { against, seconds, script } => {
            let ensemble = Ensemble::new(against.servers()?, 3, dir)?;
            scripts::run(ensemble, &script, Duration::from_secs(seconds))?;
            Ok(Value::Null)
        }
    }
}
