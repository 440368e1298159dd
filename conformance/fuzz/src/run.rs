//! Runs targets, each in a process that may die of what it is given.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{Target, mutate::BYTES_MAX, worker};

/// How long a target may take for one input; generous, for a busy machine.
const INPUT_MAX: Duration = Duration::from_secs(10);
/// Names the target to the guided engine.
pub const TARGET_VARIABLE: &str = "ZABKEEPER_FUZZ_TARGET";

/// How to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What chance begins with.
    pub seed: u64,
    /// How long for each target.
    pub time: Duration,
    /// Where findings are kept, and what the guided engine has found worth keeping.
    pub dir: PathBuf,
    /// The program that is guided by coverage; else changes are by chance alone.
    pub guided: Option<PathBuf>,
}

/// An input that a target did not stand.
#[derive(Clone, Debug)]
struct Finding {
    /// What became of it.
    what: String,
    /// The last lines of the process.
    words: String,
    input: Vec<u8>,
}

/// Runs a target; what it came to, with the file of its finding if there is one.
///
/// # Errors
/// If it cannot be run.
pub fn run(target: &Target, plan: &Plan) -> Result<Value> {
    fs::create_dir_all(&plan.dir).with_context(|| format!("cannot make {}", plan.dir.display()))?;
    let began = Instant::now();
    let outcome = match &plan.guided {
        Some(program) => guided(target, plan, program)?,
        None => by_chance(target, plan)?,
    };
    let mut told = match outcome {
        Ok(told) => told,
        Err(finding) => {
            let name = format!("{}-{:08x}", target.name, crc32fast::hash(&finding.input));
            let file = plan.dir.join(name);
            fs::write(&file, &finding.input).with_context(|| format!("cannot write {}", file.display()))?;
            println!("{}: {}, on {} bytes", target.name, finding.what, finding.input.len());
            println!("{}", finding.words.trim_end());
            println!("again: cargo xtask fuzz --target {} --replay {}", target.name, file.display());
            json!({"finding": finding.what, "file": file})
        }
    };
    told["target"] = json!(target.name);
    told["seconds"] = json!(began.elapsed().as_secs());
    Ok(told)
}

type Outcome = Result<Value, Finding>;

/// Ends its process on every way out.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn by_chance(target: &Target, plan: &Plan) -> Result<Outcome> {
    let state = plan.dir.join(format!("input-{}-{}", target.name, std::process::id()));
    let outcome = watch(target, plan, &state);
    // Without an input there is none.
    let _ = fs::remove_file(&state);
    outcome
}

fn watch(target: &Target, plan: &Plan, state: &Path) -> Result<Outcome> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["work", "--target", target.name, "--seed", &plan.seed.to_string()]);
    command.args(["--millis", &plan.time.as_millis().to_string(), "--state"]).arg(state);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut worker = Worker(child);
    let words = read_all(worker.0.stderr.take().context("no standard error")?);
    let told = read_all(worker.0.stdout.take().context("no standard output")?);
    let (mut count, mut since) = (0, Instant::now());
    let ended = loop {
        if let Some(status) = worker.0.try_wait()? {
            break Some(status);
        }
        let now = worker::count(state);
        if now != count {
            (count, since) = (now, Instant::now());
        }
        if since.elapsed() > INPUT_MAX {
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    drop(worker);
    let (told, words) = (joined(told)?, joined(words)?);
    match ended {
        Some(status) if status.success() => Ok(Ok(serde_json::from_str(&told)?)),
        ended => {
            let input = worker::last_input(state).map(|(_, input)| input);
            let input = input.with_context(|| format!("{} did not begin: {words}", target.name))?;
            let what = ended.map_or_else(|| format!("no end within {INPUT_MAX:?}"), said);
            Ok(Err(Finding { what, words, input }))
        }
    }
}

fn said(status: ExitStatus) -> String {
    match status.code() {
        Some(101) => "a panic".to_owned(),
        _ => format!("an end by {status}"),
    }
}

type Reader = thread::JoinHandle<std::io::Result<Vec<u8>>>;

fn read_all(mut from: impl Read + Send + 'static) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map(|_| bytes)
    })
}

fn joined(reader: Reader) -> Result<String> {
    let bytes = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// libFuzzer, from the same seeds and from what it kept before.
fn guided(target: &Target, plan: &Plan, program: &Path) -> Result<Outcome> {
    let corpus = plan.dir.join("corpus").join(target.name);
    fs::create_dir_all(&corpus)?;
    for seed in (target.seeds)()? {
        fs::write(corpus.join(format!("seed-{:08x}", crc32fast::hash(&seed))), seed)?;
    }
    let artifact = plan.dir.join(format!("last-{}", target.name));
    if artifact.exists() {
        fs::remove_file(&artifact)?;
    }
    let seed = u32::try_from(plan.seed % u64::from(u32::MAX))?.max(1);
    let mut command = Command::new(program);
    command.env(TARGET_VARIABLE, target.name);
    command.arg(format!("-max_total_time={}", plan.time.as_secs().max(1)));
    command.arg(format!("-timeout={}", INPUT_MAX.as_secs()));
    command.arg(format!("-rss_limit_mb={}", worker::MEMORY_MAX >> 20));
    command.arg(format!("-max_len={BYTES_MAX}"));
    command.arg(format!("-seed={seed}"));
    command.arg(format!("-exact_artifact_path={}", artifact.display()));
    command.args(["-print_final_stats=1", "-verbosity=1"]).arg(&corpus);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut worker = Worker(child.with_context(|| format!("cannot run {}", program.display()))?);
    let words = read_all(worker.0.stderr.take().context("no standard error")?);
    let deadline = Instant::now() + plan.time * 2 + Duration::from_mins(2);
    let status = loop {
        if let Some(status) = worker.0.try_wait()? {
            break status;
        }
        ensure!(Instant::now() < deadline, "libFuzzer does not end");
        thread::sleep(Duration::from_millis(50));
    };
    drop(worker);
    let words = joined(words)?;
    if status.success() {
        let stat = |name: &str| {
            let value = words.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            value.and_then(|value| value.parse::<u64>().ok()).with_context(|| format!("no {name} is told"))
        };
        let covered = words.lines().rev().find_map(|line| line.split_once(" cov: "));
        let covered = covered.and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
        return Ok(Ok(json!({
            "inputs": stat("stat::number_of_executed_units:")?,
            "peak_kib": stat("stat::peak_rss_mb:")? << 10,
            "edges": covered,
        })));
    }
    let Ok(input) = fs::read(&artifact) else {
        bail!("libFuzzer ended with {status} and left no input: {words}");
    };
    fs::remove_file(&artifact)?;
    let told: Vec<_> = words.lines().filter(|line| !line.starts_with('#')).take(40).collect();
    Ok(Err(Finding { what: format!("an end by {status}"), words: told.join("\n"), input }))
}
