//! `zabcheck`: searches the models of the protocol, and tells what it found.
//!
//! Exit codes: 0 every row exhausted, rules held, witnesses reached; 1 a rule broken or an outcome not allowed; 2 usage;
//! 3 cut by a limit; 4 a witness missing or a count changed.

mod caught;
mod check;
mod compare;
mod mutants;
mod play;
mod walk;

use std::{path::PathBuf, process::ExitCode};

use checker::simulate::{Place, Simulate};
use clap::{Parser, Subcommand};
use simulator::Plain;

// A quarter of what walks take is memory for small parts of states.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Searches the models of the protocol.
#[derive(Debug, Parser)]
#[command(name = "zabcheck", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Searches every row of a budget.
    #[command(
        after_help = "Exit codes: 0 every row is exhausted, rules hold, witnesses are met; 1 a rule is broken, or an outcome \
    not allowed; 2 usage; 3 cut by a limit; 4 a witness is missing or a count has changed.\n\n\
    Examples:\n  zabcheck check --joins\n  zabcheck check zab --budget standard --memory 8000\n  \
    zabcheck check zab/fine-async --set txns=2 --seconds 60\n  zabcheck check watch-sync watch-multi --budget deep"
    )]
    Check(check::Check),
    /// Searches every row of a budget and records its counts in the source.
    Bless(check::Check),
    /// Executes a saved counterexample again, and tells it.
    #[command(
        after_help = "Example:\n  zabcheck replay target/zabcheck/zab-fine-async.jsonl --as-script > lost.txt"
    )]
    Replay {
        /// The file.
        file: PathBuf,
        /// Writes it as a scenario script instead; of the zab model only.
        #[arg(long)]
        as_script: bool,
    },
    /// Plays a scenario script over the actors, and tells what happens.
    #[command(after_help = "Example:\n  zabcheck play model/world/tests/scripts/first-write.txt")]
    Play(play::Play),
    /// Walks through a model at random, with all faults, and judges every state on the way.
    Walk(walk::Walk),
    /// Builds the actors with one known flaw each, and expects every one of them to be caught.
    #[command(after_help = "Examples:\n  zabcheck mutants 2099 4643\n  zabcheck mutants --record")]
    Mutants(mutants::Mutants),
    /// Plays whole ensembles through faults and back, a plan of chance for each seed.
    #[command(
        after_help = "Exit codes: 0 every rule holds and every ensemble heals; 1 a rule is broken; 2 usage; \
    3 cut by --minutes; 4 a rule was not put to the test by 100 seeds or more, or a named situation \
    not met by 2,000.\n\n\
    Examples:\n  zabcheck simulate --seeds 200\n  zabcheck simulate --seed 7 --seeds 1 --servers 5+2\n  \
    zabcheck simulate --seeds 10000 --minutes 60 --record"
    )]
    Simulate(Simulate),
    /// Serves stateright's explorer of one row on 127.0.0.1:3000, or on another port.
    #[command(
        after_help = "Examples:\n  zabcheck explore cold-election\n  zabcheck explore zab/weights --port 3001"
    )]
    #[cfg(feature = "stateright")]
    Explore(check::Explore),
}

/// The simulator as the models have it.
const SIMULATOR: Place = Place {
    command: "zabcheck simulate",
    replay: "zabcheck replay",
    title: "What the simulator has played",
    recorder: "cargo zabcheck simulate --record",
    results: "model/simulator/results.md",
    sources: &["spec", "model"],
};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check(check) => check.run(false),
        Command::Bless(check) => check.run(true),
        Command::Replay { file, as_script } => {
            let tell = if as_script { checker::trace::as_script } else { checker::trace::replay };
            tell(&file).map(|text| {
                print!("{text}");
                0
            })
        }
        Command::Play(play) => play.run(),
        Command::Walk(walk) => walk.run(),
        Command::Mutants(mutants) => mutants.run(),
        Command::Simulate(simulate) => simulate.run::<Plain>(&SIMULATOR),
        #[cfg(feature = "stateright")]
        Command::Explore(explore) => explore.run(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("zabcheck: {error:#}");
            ExitCode::from(2)
        }
    }
}
