//! The command that plays the simulator's seeds as bytes and files.

use std::{path::PathBuf, process::ExitCode};

use checker::{
    simulate::{Place, Simulate},
    simulation::replay,
};
use clap::{Parser, Subcommand};
use simulation::{Encoded, Honest, Lying, mutants};

/// Plays whole ensembles through faults and back: every message as bytes, every disk as files.
#[derive(Debug, Parser)]
#[command(
    name = "simulation",
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 every rule holds and every ensemble heals; 1 a rule is broken, or a mutant survives; \
    2 usage; 3 cut by --minutes; 4 a named situation was not met by 2,000 seeds or more.\n\n\
    Examples:\n  cargo xtask simulate --seeds 100\n  cargo xtask simulate --seed 7 --seeds 1 --servers 5+2\n  \
    cargo xtask simulate --seeds 3000 --record\n  cargo xtask simulate replay target/zabcheck/simulation-7.jsonl\n  \
    cargo xtask simulate mutants"
)]
struct Arguments {
    #[command(flatten)]
    simulate: Simulate,
    /// Disks that say that they have synced, and have not: some rule has to break.
    #[arg(long)]
    lying_disks: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a saved run again, step by step, and tells it.
    Replay {
        /// The file.
        file: PathBuf,
    },
    /// Builds codec and storage with one known flaw each, and expects every one of them to be caught.
    Mutants {
        /// Only these.
        ids: Vec<String>,
        /// One JSON object a mutant on standard output.
        #[arg(long)]
        json: bool,
    },
}

const PLACE: Place = Place {
    command: "cargo xtask simulate",
    replay: "cargo xtask simulate replay",
    title: "What the simulator has played as bytes and files",
    recorder: "cargo xtask simulate --record",
    results: "conformance/simulation/results.md",
    sources: &["spec", "model", "impl", "conformance/simulation"],
};

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    match arguments.command {
        Some(Command::Replay { file }) => {
            print!("{}", replay::<Encoded<Honest>>(&file)?);
            Ok(0)
        }
        Some(Command::Mutants { ids, json }) => Ok(u8::from(!mutants::run(&ids, json)?)),
        None if arguments.lying_disks => arguments.simulate.run::<Encoded<Lying>>(&PLACE),
        None => arguments.simulate.run::<Encoded<Honest>>(&PLACE),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("simulation: {error:#}");
            ExitCode::from(2)
        }
    }
}
