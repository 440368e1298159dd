//! The command that walks.

use std::{num::NonZero, path::Path, thread, time::Instant};

use anyhow::ensure;
use checker::{
    peer::Peer,
    rows::{Row, Setup},
    trace,
    walks::{Found, Plan, Walked, walk},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How far to walk through which model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    zabcheck walk peer                              a million steps from seed 1\n  \
    zabcheck walk peer --seed 7 --steps 100000000   a hundred million, told on a progress bar\n\n\
Exit codes: 0 every rule held, 1 a rule is broken and the walk is saved, 2 usage.")]
pub(crate) struct Walk {
    /// The model.
    #[arg(value_enum)]
    model: Model,
    /// Which walks: the same seed takes the same ones.
    #[arg(long, default_value = "1")]
    seed: u64,
    /// How many steps in all.
    #[arg(long, default_value = "1000000")]
    steps: u64,
    /// How many steps a walk has.
    #[arg(long, default_value = "1000")]
    length: u64,
    /// How many walks at once; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// One JSON object on standard output, instead of text.
    #[arg(long)]
    json: bool,
}

/// The models that walks are taken through by this command.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Model {
    /// Whole servers.
    Peer,
}

/// What came of it. Written as JSON.
#[derive(Debug, Serialize)]
struct Report {
    model: &'static str,
    seed: u64,
    walks: u64,
    steps: u64,
    seconds: f64,
    witnesses: Vec<&'static str>,
    missing: Vec<&'static str>,
    broken: Option<String>,
    trace: Option<String>,
}

impl Walk {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let Model::Peer = self.model;
        ensure!(self.length > 0, "--length is {}, and a walk has at least one step", self.length);
        let started = Instant::now();
        let bar = ProgressBar::new(self.steps);
        let style =
            ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} steps, {per_sec}, {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        let plan = Plan { seed: self.seed, steps: self.steps, length: self.length, jobs };
        let Walked { walks, steps, witnesses, missing, found } = walk(plan, &|steps| bar.inc(steps));
        bar.finish_and_clear();
        let trace = found.as_ref().map(|found| self.save(found)).transpose()?;
        let report = Report {
            model: "peer",
            seed: self.seed,
            walks,
            steps,
            seconds: started.elapsed().as_secs_f64(),
            witnesses,
            missing,
            broken: found.as_ref().map(|found| found.path.broken.rule.clone()),
            trace,
        };
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            tell(&report, found.as_ref());
        }
        Ok(u8::from(report.broken.is_some()))
    }

    fn save(&self, found: &Found) -> anyhow::Result<String> {
        let name = format!("peer-walk-{}-{}.jsonl", self.seed, found.walk);
        let path = Path::new("target/zabcheck").join(name);
        let setup = Setup::Peer(found.bounds.clone());
        let row = Row { name: "walk", setup, expects: &[], traps: false };
        trace::save(&path, &Peer::new(found.bounds.clone()), "walk", &row, &found.path)?;
        Ok(path.display().to_string())
    }
}

fn tell(report: &Report, found: Option<&Found>) {
    let Report { seed, walks, steps, seconds, .. } = report;
    if let Some(found) = found {
        println!("{}", trace::tell(&Peer::new(found.bounds.clone()), &found.path));
        println!("walk {} from seed {seed}, with {}", found.walk, found.bounds);
    }
    println!("peer: seed {seed}, {walks} walks, {steps} steps in {seconds:.1} s");
    match (&report.broken, &report.trace) {
        (Some(rule), Some(path)) => {
            println!("{rule} is broken; saved, to be told again by: zabcheck replay {path}");
        }
        _ => println!("every rule held after every step; {} witnesses met", report.witnesses.len()),
    }
    if !report.missing.is_empty() {
        println!("not met: {}", report.missing.join(", "));
    }
}
