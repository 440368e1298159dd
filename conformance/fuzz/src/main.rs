//! Fuzzing by hand and in the gate.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use fuzz::{
    TARGETS,
    run::{self, Plan},
    targets, worker,
};
use serde_json::Value;

#[derive(Parser)]
#[command(about = "Bytes that nobody meant, for everything that reads bytes", version)]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Run targets, one behind the other; ends with 1 if one of them does not stand what it is given.
    Run {
        /// Which; all if none is named.
        #[arg(long)]
        target: Vec<String>,
        /// How long each, in seconds.
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// What chance begins with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where findings are kept.
        #[arg(long)]
        dir: PathBuf,
        /// The program that is guided by coverage.
        #[arg(long)]
        guided: Option<PathBuf>,
        /// Where to write the outcome as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Give a target the content of a file.
    Replay {
        /// Which.
        #[arg(long)]
        target: String,
        /// The file.
        file: PathBuf,
    },
    /// Name the targets.
    List,
    /// One target in this process.
    #[command(hide = true)]
    Work {
        /// Which.
        #[arg(long)]
        target: String,
        /// What chance begins with.
        #[arg(long)]
        seed: u64,
        /// How long.
        #[arg(long)]
        millis: u64,
        /// The file for the input.
        #[arg(long)]
        state: PathBuf,
    },
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        What::List => {
            for target in TARGETS {
                println!("{:<10} {}", target.name, target.what);
            }
        }
        What::Replay { target, file } => {
            let target = targets::find(&target)?;
            let input = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            worker::bound_memory()?;
            (target.run)(&input);
            println!("{} takes these {} bytes", target.name, input.len());
        }
        What::Work { target, seed, millis, state } => {
            let time = Duration::from_millis(millis);
            println!("{}", worker::work(targets::find(&target)?, seed, time, &state)?);
        }
        What::Run { target, seconds, seed, dir, guided, json } => {
            let plan = Plan { seed, time: Duration::from_secs_f64(seconds), dir, guided };
            return all(&target, &plan, json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn all(names: &[String], plan: &Plan, json: Option<PathBuf>) -> Result<ExitCode> {
    let chosen: Vec<_> = if names.is_empty() {
        TARGETS.iter().collect()
    } else {
        names.iter().map(|name| targets::find(name)).collect::<Result<_>>()?
    };
    let mut rows = Vec::new();
    for target in chosen {
        let row = run::run(target, plan)?;
        if row["finding"].is_null() {
            println!(
                "{:<10} {:>10} inputs  {:>4} s  {:>7} KiB at most",
                target.name, row["inputs"], row["seconds"], row["peak_kib"]
            );
        }
        rows.push(row);
    }
    let stood = rows.iter().all(|row| row["finding"].is_null());
    if let Some(path) = json {
        fs::write(&path, serde_json::to_string_pretty(&Value::from(rows))?)?;
    }
    Ok(if stood { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
