//! The commands of daily work: `cargo xtask test` is the gate, and the others keep it green.

mod bench;
mod built;
mod differential;
mod flawed;
mod fuzz;
mod gate;
mod histories;
mod install;
mod judge;
mod mutants;
mod parts;
mod report;
mod run;
mod stock;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of daily work on Zabkeeper")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The gate: stops at the first part that fails. Changes no file of the project.
    Test {
        /// Run everything at full length, go on behind failures, and record the outcome with its commit.
        #[arg(long)]
        full: bool,
        /// Run only the parts whose names contain one of these words.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Name the parts, and run none.
        #[arg(long)]
        list: bool,
    },
    /// Mend what tools can mend: format, and clippy's own suggestions.
    Fix,
    /// Check the arrows between crates, what pure crates may know, and the shape of the tree of files.
    Tidy,
    /// Measure ours and Apache ZooKeeper by turns, and hold the ratios against floors: `bench [ROW…]`.
    ///
    /// Ends with 0 if every floor holds, with 1 if not. `--costs` counts system calls and allocations, too; `--record`
    /// does all that and writes conformance/bench/results.md; `--recorder` pairs ours without the flight recorder with ours
    /// with it; `--help` tells of the other options.
    #[command(disable_help_flag = true)]
    Bench {
        /// Rows, and options of the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Concurrent clients under kills, pauses, partitions, slow links and clock jumps: `histories [--seconds S] [--seed N]`.
    ///
    /// Ends with 0 if every promise holds, with 1 if not; then history, logs and data are kept, and `--judge FILE`
    /// judges the history again. `--record` enters the run in conformance/histories/results.md; `--help` tells of the
    /// other options.
    #[command(disable_help_flag = true)]
    Histories {
        /// Options of the histories.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Walk a model's steps with a production server, and compare: `replay [--rows ROW] [--walks N]`, `replay mutants`.
    ///
    /// Prints searches, walks, coverage and time. `--help` tells of the options.
    #[command(disable_help_flag = true)]
    Replay {
        /// Options of the replay.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Play whole ensembles through faults and back, every message as bytes and every disk as files: `simulate [--seeds N]`.
    ///
    /// `simulate mutants` has flaws of codec and storage caught; `--record` writes conformance/simulation/results.md;
    /// `--help` tells of the other options.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Options of the simulation.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Judge what the servers of a run have recorded: `judge DIR…`, where their data or recordings are.
    ///
    /// Ends with 0 if every rule held, with 1 if one is broken. `--mutants` runs servers with known flaws instead, ends with
    /// 0 if each is caught, and writes conformance/judge/mutants.md; `--help` tells of the other options.
    #[command(disable_help_flag = true)]
    Judge {
        /// Folders, and options of the judge.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Send one random script to Apache ZooKeeper and to ours, and compare all that they say: `differential [--seeds N]
    /// [--steps N] [--servers 1,3]`.
    ///
    /// A difference is made shorter and printed, to be run again with `--script FILE`. `--mutants` puts servers with a known
    /// flaw in the place of ours, each of which must be seen; `--older` asks Debian's 3.8 instead of 3.9; `--help` tells of
    /// the other options.
    #[command(disable_help_flag = true)]
    Differential {
        /// Options of the comparison.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Give everything that reads bytes what nobody meant, under libFuzzer: `fuzz [--target NAME] [--seconds S] [--seed N]`.
    ///
    /// Ends with 0 if nothing is found, with 1 if something is; then the input is kept, and the command is told that gives
    /// it to its target again. `--record` enters the run in conformance/fuzz/results.md.
    Fuzz(fuzz::Options),
    /// Accept changed snapshots and state counts, and bring the README's figures up to date.
    Bless {
        /// Whose state counts.
        #[arg(long, default_value = "quick")]
        budget: String,
        /// Only the README, from what is recorded by now.
        #[arg(long)]
        readme: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Folders are named as seen from where the command was given.
fn from_here(here: &std::path::Path, arguments: Vec<String>) -> Vec<String> {
    let named = |word: String| {
        let path = here.join(&word);
        if !word.starts_with('-') && path.exists() { path.to_string_lossy().into_owned() } else { word }
    };
    arguments.into_iter().map(named).collect()
}

fn run(command: Command) -> Result<bool> {
    let here = std::env::current_dir()?;
    std::env::set_current_dir(run::root()?)?;
    match command {
        Command::Test { full, only, list } => {
            let parts = parts::parts(full, !only.is_empty());
            if list {
                for part in &parts {
                    println!("{:<12} {}", part.name, part.what);
                }
                return Ok(true);
            }
            let length = if full { gate::Length::Full } else { gate::Length::Short };
            gate::run(parts, length, &only)
        }
        Command::Fix => {
            run::cargo(&["fmt", "--all"]).call()?;
            run::cargo(&["clippy", "--fix", "--allow-dirty", "--workspace", "--all-targets", "--release"])
                .call()?;
            run::cargo(&["fmt", "--all"]).call()?;
            Ok(true)
        }
        Command::Tidy => {
            let faults = tidy::check()?;
            for fault in &faults {
                eprintln!("{fault}");
            }
            println!("tidy: {} faults", faults.len());
            Ok(faults.is_empty())
        }
        Command::Bench { mut arguments } => {
            let mut take = |flag: &str| {
                let all = arguments.len();
                arguments.retain(|word| word != flag);
                arguments.len() < all
            };
            let (record, costs) = (take("--record"), take("--costs"));
            bench::run(&arguments, record, costs || record)
        }
        Command::Histories { mut arguments } => {
            let all = arguments.len();
            arguments.retain(|word| word != "--record");
            histories::run(&arguments, arguments.len() < all)
        }
        Command::Replay { arguments } => parts::replay(&arguments),
        Command::Simulate { arguments } => parts::simulation(&from_here(&here, arguments)),
        Command::Judge { arguments } => {
            if arguments == ["--mutants"] {
                judge::mutants()
            } else {
                judge::run(&from_here(&here, arguments))
            }
        }
        Command::Differential { arguments } => differential::by_hand(&from_here(&here, arguments)),
        Command::Fuzz(options) => fuzz::by_hand(&options, &here),
        Command::Bless { readme: true, .. } => report::write_readme().map(|()| true),
        Command::Bless { budget, readme: false } => {
            run::cargo(&["test", "--workspace", "--release"]).env("INSTA_UPDATE", "always").call()?;
            let rows = run::cargo(&["zabcheck", "bless", "--budget", &budget, "--json"]).output()?;
            report::record_models(&budget, &format!("--budget {budget}"), &rows)?;
            report::write_readme()?;
            Ok(true)
        }
    }
}
