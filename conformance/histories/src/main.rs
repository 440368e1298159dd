//! `histories`: runs clients under a nemesis, and judges what they saw.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use faults::ensemble::Servers;
use histories::{
    history::History,
    judge,
    mutants::{self, MUTANTS},
    nemesis::Nemesis,
    network,
    record::{Record, Run},
    report::Table,
    run::{self, Plan},
    workload::Workload,
};

/// The exit code of a run that could not be made here.
const SKIPPED: u8 = 3;

#[derive(Parser)]
#[command(
    about = "Concurrent clients under a nemesis on three servers, and the judges of what they saw",
    version,
    after_help = "Examples:\n  \
        cargo xtask histories                                   a minute of everything\n  \
        cargo xtask histories --seconds 600 --seed 7            longer, with the choices of seed 7\n  \
        cargo xtask histories --nemesis pause,one-way --workload register\n  \
        cargo xtask histories --judge failure/history.jsonl     a kept history again\n  \
        cargo xtask histories --against java --seconds 180      Apache ZooKeeper under the same judges\n  \
        cargo xtask histories --mutants                         flawed servers, each of which must be caught\n\n\
        Exit codes: 0 all holds, 1 a promise is broken, 2 usage or failure, 3 skipped: no network namespaces here"
)]
struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the choices start from; else another number each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Faults, by turns; all, if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    nemesis: Vec<Nemesis>,
    /// Clients, all at once; all kinds, if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Whose servers.
    #[arg(long, value_enum, default_value_t = Against::Zabkeeper)]
    against: Against,
    /// The server to run; else the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Judge this history, and run nothing.
    #[arg(long, value_name = "FILE")]
    judge: Option<PathBuf>,
    /// Build servers with a flaw, these or all, and see that each is caught.
    #[arg(long, value_name = "FLAW", num_args = 0.., value_delimiter = ',')]
    mutants: Option<Vec<String>>,
    /// Where the servers keep their data and output; else a fresh folder, which goes when all is well.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Enter the run in this page, and in the JSON beside it.
    #[arg(long, value_name = "PAGE")]
    record: Option<PathBuf>,
    /// Enter the runs of these pages, recorded elsewhere, in the page of `--record`, and run nothing.
    #[arg(long, value_name = "PAGE", requires = "record")]
    take_in: Vec<PathBuf>,
    /// For the record: what was built.
    #[arg(long, default_value = "unknown", hide = true)]
    commit: String,
    /// For the record: where this is.
    #[arg(long, default_value = "unknown", hide = true)]
    machine: String,
    /// Where to write the counts as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Against {
    /// Ours.
    Zabkeeper,
    /// Apache ZooKeeper, from Debian's package.
    Java,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8> {
    if let Some(file) = &arguments.judge {
        return judge_again(file);
    }
    if let (Some(page), [_, ..]) = (&arguments.record, arguments.take_in.as_slice()) {
        for other in &arguments.take_in {
            let count = Record::new(page).take_in(other)?;
            println!("{count} runs of {}", other.display());
        }
        return Ok(0);
    }
    if let Some(reason) = network::refused() {
        println!("skipped: {reason}");
        return Ok(SKIPPED);
    }
    if let Some(status) = network::within()? {
        return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2));
    }
    match &arguments.mutants {
        Some(ids) => catch(arguments, ids),
        None => once(arguments),
    }
}

fn judge_again(file: &Path) -> Result<u8> {
    let history = History::load(file)?;
    let verdict = judge::judge(&history);
    run::tell(&verdict);
    for (rule, count) in &verdict.checks {
        println!("{rule:<40} {count:>10} checks");
    }
    println!("{} entries, {} broken", history.entries.len(), verdict.broken.len());
    Ok(u8::from(!verdict.broken.is_empty()))
}

fn or_all<T: Clone>(some: &[T], all: &[T]) -> Vec<T> {
    if some.is_empty() { all.to_vec() } else { some.to_vec() }
}

fn zabkeeper(binary: PathBuf) -> Servers {
    Servers::Zabkeeper { binary, wrapper: Vec::new(), config: String::new() }
}

fn plan(arguments: &Arguments) -> Result<(Plan, bool)> {
    let here = std::env::current_exe()?;
    let beside = here.parent().context("this program is in no folder")?.join("zabkeeper");
    let servers = match arguments.against {
        Against::Zabkeeper => zabkeeper(arguments.binary.clone().unwrap_or(beside)),
        Against::Java => Servers::Java { classpath: "/usr/share/java/zookeeper.jar".to_owned() },
    };
    let (dir, keep) = match &arguments.dir {
        Some(dir) => (dir.clone(), true),
        None => (std::env::temp_dir().join(format!("zabkeeper-histories-{}", std::process::id())), false),
    };
    fs::create_dir_all(&dir)?;
    let ours = arguments.against == Against::Zabkeeper;
    ensure!(
        ours || !arguments.nemesis.contains(&Nemesis::Clock),
        "the clocks of Apache ZooKeeper's servers cannot be set: a JVM does not come up under faketime"
    );
    let mut nemeses = or_all(&arguments.nemesis, &Nemesis::ALL);
    nemeses.retain(|nemesis| ours || *nemesis != Nemesis::Clock);
    let plan = Plan {
        servers,
        strict: ours,
        clocks: ours,
        time: Duration::from_secs(arguments.seconds),
        seed: arguments.seed.unwrap_or_else(fresh_seed),
        nemeses,
        workloads: or_all(&arguments.workload, &Workload::ALL),
        dir: dir.canonicalize()?,
    };
    Ok((plan, keep))
}

/// Another number each time.
fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

fn utc() -> Result<String> {
    let date = Command::new("date").args(["-u", "+%F %H:%M UTC"]).output()?;
    Ok(String::from_utf8_lossy(&date.stdout).trim().to_owned())
}

fn once(arguments: &Arguments) -> Result<u8> {
    let (plan, keep) = plan(arguments)?;
    println!("seed {}; data and output: {}", plan.seed, plan.dir.display());
    let began = utc()?;
    let enter = |table: &Table| {
        let Some(page) = &arguments.record else { return Ok(()) };
        let servers = match arguments.against {
            Against::Zabkeeper => "Zabkeeper",
            Against::Java => "Apache ZooKeeper",
        };
        Record::new(page).enter(&Run {
            servers: servers.to_owned(),
            commit: arguments.commit.clone(),
            began: began.clone(),
            machine: arguments.machine.clone(),
            seed: plan.seed,
            table: table.clone(),
        })
    };
    let (table, failure) =
        run::run(&plan, &enter).with_context(|| format!("data and output: {}", plan.dir.display()))?;
    println!("{}", table.text());
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&table)? + "\n")?;
    }
    if failure.is_none() && !keep {
        fs::remove_dir_all(&plan.dir)?;
    }
    Ok(u8::from(failure.is_some()))
}

/// How long a flaw may take to show, at least: the rarest shows once in some minutes. It ends when it has.
const FLAW_PATIENCE: Duration = Duration::from_mins(8);

fn catch(arguments: &Arguments, ids: &[String]) -> Result<u8> {
    for id in ids {
        let known: Vec<_> = MUTANTS.iter().map(|mutant| mutant.id).collect();
        ensure!(known.contains(&id.as_str()), "there is no mutant {id}, but {}", known.join(", "));
    }
    let chosen = |mutant: &&mutants::Mutant| ids.is_empty() || ids.iter().any(|id| id == mutant.id);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let (base, _) = plan(arguments)?;
    println!("seed {}; data and output: {}", base.seed, base.dir.display());
    let mut survivors = Vec::new();
    for mutant in MUTANTS.iter().filter(chosen) {
        println!("{}: {}", mutant.id, mutant.flaw);
        let dir = base.dir.join(mutant.id);
        fs::create_dir_all(&dir)?;
        let plan = Plan {
            servers: zabkeeper(mutants::build(&root, mutant)?),
            nemeses: mutant.nemeses.to_vec(),
            workloads: mutant.workloads.to_vec(),
            dir: dir.clone(),
            time: base.time.max(FLAW_PATIENCE),
            ..base.clone()
        };
        ensure!(plan.strict, "mutants are ours");
        match caught(&plan)? {
            Some(how) => println!("{}: caught: {how}", mutant.id),
            None => survivors.push(mutant.id),
        }
    }
    if survivors.is_empty() {
        println!("{} mutants, each caught", MUTANTS.iter().filter(chosen).count());
        fs::remove_dir_all(&base.dir)?;
    } else {
        println!("not caught: {}", survivors.join(", "));
    }
    Ok(u8::from(!survivors.is_empty()))
}

/// How a flaw is seen: by a promise that is broken, and nothing else.
fn caught(plan: &Plan) -> Result<Option<String>> {
    let (table, kept) = run::run(plan, &|_| Ok(()))?;
    let Some(kept) = kept else { return Ok(None) };
    let broken = fs::read_to_string(kept.with_file_name("broken.txt"))?;
    let first = broken.lines().next().context("a failure without a word")?;
    Ok(Some(format!("after {} s: {first}", table.seconds)))
}
