//! `bench`: pairs Zabkeeper with Apache ZooKeeper. `cargo xtask bench` builds and fetches what it needs, and runs it.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use bench::{
    bench::{Options, Outcome, Side, add_costs, measure},
    ensemble::Kind,
    report,
    rows::{ROWS, Row},
    soak, usage,
};
use clap::Parser;

/// Measures both, by turns, and holds the ratios against floors and goals.
///
/// Ends with 0 if every floor holds, with 1 if one is missed, with 2 if something fails.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Examples:
  cargo xtask bench set-64x16 --rounds 5
  cargo xtask bench --recorder set-64x16 set-64x1 get-64x16 --rounds 9
  cargo xtask bench --soak --seconds 600"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// Rows to run, by their names or parts of them; all by default.
    rows: Vec<String>,
    /// A release build of our server.
    #[arg(long, required_unless_present = "list")]
    binary: Option<PathBuf>,
    /// A build of our server whose allocator counts (CFLAGS=-DMI_STAT=2); with it, allocations and system calls of an
    /// operation are counted behind the rows. Needs strace.
    #[arg(long)]
    counting: Option<PathBuf>,
    /// Apache ZooKeeper, as `java -cp` takes it; without it ours runs alone.
    #[arg(long)]
    classpath: Option<String>,
    /// Which Apache ZooKeeper that is.
    #[arg(long, default_value = "Apache ZooKeeper")]
    apache: String,
    /// What the flight recorder costs: pairs ours without it with ours with it, in rows that are loads. The floor is what
    /// it may cost: 2 %.
    #[arg(long, conflicts_with_all = ["classpath", "counting", "record"])]
    recorder: bool,
    /// Whether the memory of ours stays flat: the mixed load for --seconds twice, in peace, and with every server asked for
    /// its figures every second. Ends with 1 if it grows. Ten minutes are a good time, and write some gigabytes of log.
    #[arg(long, conflicts_with_all = ["classpath", "counting", "record", "recorder"])]
    soak: bool,
    /// How long each run of a load counts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often each side is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many threads the generator has.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How many nodes the large tree has.
    #[arg(long, default_value_t = 1_000_000)]
    nodes: u32,
    /// How often a run kills the leader.
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// One JSON object a row instead of tables.
    #[arg(long)]
    json: bool,
    /// Where the tables are written, behind this heading.
    #[arg(long, requires = "heading")]
    record: Option<PathBuf>,
    /// What stands above the tables that are written.
    #[arg(long)]
    heading: Option<String>,
    /// Where the servers keep their data; by default a folder that is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Name the rows, and run none.
    #[arg(long)]
    list: bool,
}

impl Arguments {
    fn names(&self) -> report::Names {
        if self.recorder { report::RECORDER } else { report::MAKERS }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let mut chosen = chosen(&arguments.rows)?;
    if arguments.recorder {
        chosen = chosen.into_iter().filter_map(Row::recorded).collect();
        ensure!(!chosen.is_empty(), "none of these rows is a load: {}", arguments.rows.join(" "));
    }
    if arguments.list {
        for row in chosen {
            println!("{:<20} {}", row.name, row.what);
        }
        return Ok(true);
    }
    usage::raise_file_limit()?;
    let options = Options {
        window: Duration::from_secs(arguments.seconds),
        rounds: arguments.rounds.max(1),
        nodes: arguments.nodes,
        threads: arguments.threads,
        faults: arguments.kills.max(1),
    };
    if arguments.soak {
        return soaks(arguments, &options);
    }
    let names = arguments.names();
    let mut outcomes = Vec::new();
    for big in [false, true] {
        let rows: Vec<Row> = chosen.iter().filter(|row| row.big == big).copied().collect();
        if !rows.is_empty() {
            outcomes.extend(run_rows(&rows, big, arguments, &options)?);
        }
    }
    if !arguments.json {
        println!("{}", report::tables(&outcomes, names));
    }
    if let (Some(file), Some(heading)) = (&arguments.record, &arguments.heading) {
        fs::write(file, format!("{heading}\n{}", report::tables(&outcomes, names)))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(outcomes.iter().all(report::holds))
}

/// Whether memory stays where it is.
fn soaks(arguments: &Arguments, options: &Options) -> Result<bool> {
    let scratch = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }?;
    let binary = arguments.binary.clone().context("which binary?")?.canonicalize()?;
    let kind = Kind::Zabkeeper { binary, counts: false, config: String::new() };
    let side = Side::start(arguments.names().ours, kind, scratch.path())?;
    let outcomes = soak::run(side.ensemble(), options)?;
    for outcome in &outcomes {
        print!("{}", outcome.lines());
    }
    Ok(outcomes.iter().all(soak::Outcome::holds))
}

fn chosen(words: &[String]) -> Result<Vec<Row>> {
    for word in words {
        ensure!(ROWS.iter().any(|row| row.name.contains(word.as_str())), "no row is named {word}");
    }
    let whole = |word: &str| ROWS.iter().any(|row| row.name == word);
    let means = |row: &Row, word: &str| row.name == word || (!whole(word) && row.name.contains(word));
    let wanted = |row: &&Row| words.is_empty() || words.iter().any(|word| means(row, word));
    Ok(ROWS.iter().filter(wanted).copied().collect())
}

/// Runs rows on servers of their own.
fn run_rows(rows: &[Row], big: bool, arguments: &Arguments, options: &Options) -> Result<Vec<Outcome>> {
    let scratch = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }?;
    let mut sides = Vec::new();
    if let Some(classpath) = &arguments.classpath {
        let kind = Kind::Java { classpath: classpath.clone() };
        sides.push(Side::start(&arguments.apache, kind, &scratch.path().join("apache"))?);
    }
    let binary = arguments.binary.clone().context("which binary?")?.canonicalize()?;
    let ours =
        |config: &str| Kind::Zabkeeper { binary: binary.clone(), counts: false, config: config.to_owned() };
    if arguments.recorder {
        let kind = ours("zabkeeper.recorder=off\n");
        sides.push(Side::start(report::RECORDER.other, kind, &scratch.path().join("off"))?);
    }
    sides.push(Side::start(arguments.names().ours, ours(""), &scratch.path().join("ours"))?);
    if big {
        for side in &mut sides {
            side.fill(options.nodes)?;
        }
    }
    let mut outcomes = Vec::new();
    for row in rows {
        let outcome = measure(row, &mut sides, options)?;
        if !arguments.json {
            eprintln!("{}", report::line(&outcome, arguments.names()));
        }
        outcomes.push(outcome);
    }
    if let (Some(counting), false) = (&arguments.counting, big) {
        eprintln!("counting system calls and allocations");
        add_costs(&mut outcomes, &mut sides, counting, scratch.path(), options)?;
    }
    if arguments.json {
        for outcome in &outcomes {
            println!("{}", report::json(outcome, arguments.names()));
        }
    }
    Ok(outcomes)
}
