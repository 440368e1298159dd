//! Walks of the models, walked again by the server that ships.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use checker::rows::Budget;
use clap::{Parser, Subcommand};
use replay::{
    drive::{self, Outcome},
    graph::{Graph, NOT_ASKED, Steps},
    mutants,
    place::Place,
    record::{Difference, RowTold, Section, Told, share},
    walks::{self, Walk},
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
  replay --record                 the same, written to conformance/replay/results.md
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
    /// Only these rows.
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
    /// Write what came of it to `conformance/replay/results.md`.
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
    let section = arguments.record.then(Section::begin).transpose()?;
    let started = Instant::now();
    let graph = Graph::of_budget(arguments.budget, &arguments.rows, &mut |row, steps| {
        progress(&format!("searching {row}: {steps} distinct steps of one server"));
    })?;
    let (all, left) = walks::cover(&graph);
    let searched = started.elapsed();
    let folder = arguments.folder.clone().unwrap_or_else(|| {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
    });
    if let Some(number) = arguments.walk {
        return show(
            &graph,
            all.get(number).with_context(|| format!("there are {} walks", all.len()))?,
            &folder,
        );
    }
    let every = arguments.walks.map_or(1, |wanted| all.len().div_ceil(wanted.max(1)).max(1));
    let chosen: Vec<_> = all.iter().enumerate().step_by(every).collect();
    let run = Run::new(&graph, chosen);
    run.all(arguments.workers, &folder)?;
    let told = run.told(arguments.budget, all.len(), &left, [searched, started.elapsed()]);
    if arguments.json {
        println!("{}", serde_json::to_string(&told)?);
    } else {
        print(&told);
    }
    if let Some(section) = section {
        section.write(&told)?;
    }
    let needed = arguments.coverage_min * u64::try_from(told.steps)?;
    let covered = 1000 * u64::try_from(told.covered)?;
    Ok(told.differences.is_empty() && (arguments.walks.is_some() || covered >= needed))
}

/// A line that the next one replaces; where nothing can be replaced, one now and then.
fn progress(line: &str) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    const EVERY: Duration = Duration::from_secs(15);
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        return;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.get_or_insert_with(Instant::now).elapsed() >= EVERY {
        *told = Some(Instant::now());
        eprintln!("{line}");
    }
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

/// Walks under way.
struct Run<'g> {
    graph: &'g Graph,
    chosen: Vec<(usize, &'g Walk)>,
    next: AtomicUsize,
    stop: AtomicBool,
    taken: AtomicUsize,
    found: Mutex<Found>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    covered: Vec<bool>,
    untold: BTreeMap<u32, &'static str>,
    differences: Vec<Difference>,
    walked: usize,
}

/// Behind so many differences there is enough to look at.
const DIFFERENCES_MAX: usize = 10;

impl<'g> Run<'g> {
    fn new(graph: &'g Graph, chosen: Vec<(usize, &'g Walk)>) -> Self {
        let found = Found { covered: vec![false; graph.edges.len()], ..Found::default() };
        Self {
            graph,
            chosen,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            found: Mutex::new(found),
        }
    }

    fn all(&self, workers: u8, folder: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || self.work(worker, folder))).collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a worker has panicked"))??;
            }
            Ok(())
        })
    }

    fn work(&self, worker: u8, folder: &Path) -> Result<()> {
        let place =
            Place::new(folder, worker).with_context(|| format!("a folder in {}", folder.display()))?;
        while !self.stop.load(Ordering::Relaxed) {
            let Some((number, walk)) = self.chosen.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(());
            };
            let outcome = drive::run(self.graph, walk, &place);
            self.note(*number, walk, outcome);
        }
        Ok(())
    }

    fn note(&self, number: usize, walk: &Walk, outcome: Result<Vec<Outcome>, (usize, anyhow::Error)>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(outcomes) => {
                self.taken.fetch_add(outcomes.len(), Ordering::Relaxed);
                for (edge, outcome) in walk.steps.iter().zip(outcomes) {
                    match outcome {
                        Outcome::Same => found.covered[*edge as usize] = true,
                        Outcome::Untold(why) => {
                            found.untold.insert(*edge, why);
                        }
                    }
                }
            }
            Err((step, why)) => {
                let why = format!("{why:#}");
                eprintln!("\nwalk {number}, step {step}: {why}");
                found.differences.push(Difference { walk: number, step, why });
                if found.differences.len() >= DIFFERENCES_MAX {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        found.walked += 1;
        if found.walked.is_multiple_of(50) {
            let taken = self.taken.load(Ordering::Relaxed);
            progress(&format!("walk {} of {}, {taken} steps taken", found.walked, self.chosen.len()));
        }
    }

    fn told(self, budget: Budget, walks: usize, left: &[u32], times: [Duration; 2]) -> Told {
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_covered = |edge: &usize| found.covered[*edge];
        let mut unreached = BTreeMap::new();
        for (edge, why) in &found.untold {
            if !is_covered(&(*edge as usize)) {
                *unreached.entry(*why).or_default() += 1;
            }
        }
        for why in self.graph.why_left(left) {
            *unreached.entry(why).or_default() += 1;
        }
        let mut rows = Vec::new();
        for Steps { model, row, edges, parts } in &self.graph.searches {
            let (steps, covered) = match parts {
                None => (edges.len(), edges.clone().filter(is_covered).count()),
                Some(parts) => {
                    for why in parts.iter().filter_map(|part| part.as_ref().err()) {
                        *unreached.entry(*why).or_default() += 1;
                    }
                    let is_whole = |part: &&Vec<u32>| part.iter().all(|edge| is_covered(&(*edge as usize)));
                    (parts.len(), parts.iter().flatten().filter(is_whole).count())
                }
            };
            rows.push(RowTold { model, row, steps, covered, of_peers: edges.len() });
        }
        Told {
            budget: budget.name(),
            rows,
            left_out: self.graph.left_out.clone(),
            servers: self.graph.servers(),
            steps: self.graph.edges.len(),
            walks,
            walked: found.walked,
            taken: self.taken.into_inner(),
            covered: (0..self.graph.edges.len()).filter(is_covered).count(),
            unreached: unreached.into_iter().collect(),
            differences: found.differences,
            search_seconds: times[0].as_secs(),
            seconds: times[1].as_secs(),
        }
    }
}

fn print(told: &Told) {
    if std::io::stderr().is_terminal() {
        progress("");
    }
    for RowTold { model, row, steps, covered, .. } in &told.rows {
        println!("{model} {row}: {covered} of {steps} distinct steps ({})", share(*covered, *steps));
    }
    for (model, row, why) in told.left_out.iter().filter(|(.., why)| *why != NOT_ASKED) {
        println!("{model} {row}: not replayed: {why}");
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
