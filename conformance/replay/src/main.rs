//! Walks of the models, walked again by the server that ships.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use checker::rows::{Budget, Row};
use clap::{Parser, Subcommand};
use replay::{
    drive,
    graph::Graph,
    mutants,
    place::Place,
    record::{RowTold, Section, Told, share},
    walks::Walk,
    whole::{Whole, progress},
};

/// Runs walks through the local graph of one server of a model against a production server.
///
/// A server's step in a model depends only on the server and on what happens to it. Every distinct step that the
/// exhausted searches of a budget have taken is brought about at a real server, and what it does is compared.
#[derive(Debug, Parser)]
#[command(
    name = "replay",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  replay                          every step of the quick budget
  replay --record                 the same, each row written to conformance/replay/results.md when it is done
  replay --rows moves --walks 200 some walks of one row
  replay --budget standard        the standard budget; for hours
  replay --rows moves --walk 17   one walk, step by step
  replay mutants sync-dropped     whether a shell with this flaw is caught

Ends with 0 if the server does what the model says and the coverage is reached, with 1 if not."
)]
struct Arguments {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// Whose rows.
    #[arg(long, value_enum, default_value = "quick")]
    budget: Budget,
    /// Only these rows: `moves`, or `session/moves` where several models have one of that name.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// At most so many walks, taken evenly from all.
    #[arg(long)]
    walks: Option<usize>,
    /// Only this walk, and tell of each step.
    #[arg(long, conflicts_with = "walks")]
    walk: Option<usize>,
    /// The share of the steps that must be covered, in thousandths; without a number of walks. What is not reached is
    /// listed by reason, and less than this is a replay that has lost its way.
    #[arg(long, default_value_t = 990)]
    coverage_min: u64,
    /// How many servers run side by side.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=15))]
    workers: u8,
    /// Where the servers have their folders; in memory if there is such a place, for a sync is then soon done.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Write what came of it to `conformance/replay/results.md`, row by row; rows that are not run stay as they are.
    #[arg(long, conflicts_with_all = ["walks", "walk"])]
    record: bool,
}

#[derive(Debug, Subcommand)]
enum Instead {
    /// Builds shells with one known flaw each, and replays walks that must show it.
    Mutants {
        /// Only these.
        ids: Vec<String>,
        /// One JSON object a mutant, instead of text.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(Instead::Mutants { ids, json }) = &arguments.instead {
        return mutants::run(ids, *json);
    }
    let section = arguments.record.then(|| Section::begin(arguments.budget)).transpose()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
    });
    let rows = wanted_rows(arguments)?;
    let (mut whole, mut planned, mut among) = (Whole::new(arguments.budget), 0, Vec::new());
    for row in &rows {
        whole.search(row)?;
        let plan: Vec<_> = (planned..).zip(whole.plan()).collect();
        planned += plan.len();
        match (arguments.walk, arguments.walks) {
            (None, None) => {
                whole.run(plan, arguments.workers, &folder)?;
                if let Some(section) = &section {
                    section.write(&whole.told())?;
                }
                if whole.has_enough() {
                    break;
                }
            }
            (None, Some(_)) => among.extend(plan),
            (Some(wanted), _) => {
                if let Some((_, walk)) = plan.iter().find(|(number, _)| *number == wanted) {
                    return show(&whole.graph, walk, &folder);
                }
            }
        }
    }
    ensure!(arguments.walk.is_none(), "there are {planned} walks");
    if let Some(wanted) = arguments.walks {
        let every = planned.div_ceil(wanted.max(1)).max(1);
        whole.run(among.into_iter().step_by(every).collect(), arguments.workers, &folder)?;
    }
    let told = whole.told();
    if arguments.json {
        println!("{}", serde_json::to_string(&told)?);
    } else {
        print(&told);
    }
    let needed = arguments.coverage_min * u64::try_from(told.steps)?;
    let covered = 1000 * u64::try_from(told.covered)?;
    Ok(told.differences.is_empty() && (arguments.walks.is_some() || covered >= needed))
}

/// A row by its name, or by its model's and its own.
fn wanted_rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = arguments.budget.rows();
    let is =
        |row: &Row, name: &str| name == row.name || name == format!("{}/{}", row.setup.model(), row.name);
    for name in &arguments.rows {
        ensure!(rows.iter().any(|row| is(row, name)), "there is no row {name} in this budget");
    }
    rows.retain(|row| arguments.rows.is_empty() || arguments.rows.iter().any(|name| is(row, name)));
    Ok(rows)
}

fn show(graph: &Graph, walk: &Walk, folder: &Path) -> Result<bool> {
    for (at, edge) in walk.steps.iter().enumerate() {
        println!("{:>4} {}", at + 1, drive::brief(graph.event(&graph.edges[*edge as usize])));
    }
    match drive::run(graph, walk, &Place::new(folder, 0)?) {
        Ok(outcomes) => println!("{} steps, all the same", outcomes.len()),
        Err((step, why)) => {
            println!("step {step}: {why:#}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn print(told: &Told) {
    if std::io::stderr().is_terminal() {
        progress("");
    }
    for RowTold { model, row, steps, covered, .. } in &told.rows {
        println!("{model} {row}: {covered} of {steps} distinct steps ({})", share(*covered, *steps));
    }
    println!(
        "{} distinct steps of {} servers; {} of {} walks, {} steps taken",
        told.steps, told.servers, told.walked, told.walks, told.taken
    );
    println!("covered: {} ({})", told.covered, share(told.covered, told.steps));
    for (why, steps) in &told.unreached {
        println!("not reached: {steps}: {why}");
    }
    println!(
        "differences: {}; {} s, of which searches and plans {} s",
        told.differences.len(),
        told.seconds,
        told.search_seconds
    );
}
