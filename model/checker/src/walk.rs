//! The command that walks.

use std::{
    collections::BTreeMap, fmt::Write as _, io::IsTerminal as _, num::NonZero, path::Path, sync::Mutex,
    thread, time::Instant,
};

use checker::{
    engine::memory,
    figures::grouped,
    page::Page,
    peer::Peer,
    rows::{Row, Setup},
    trace,
    walks::{Found, Plan, Walked, kinds, walk},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// The most steps of a walk: a walk is kept, to be told if it breaks a rule.
const LENGTH_MAX: u64 = 100_000;

/// How far to walk through which model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    zabcheck walk peer                              a million steps from seed 1\n  \
    zabcheck walk peer --seed 7 --steps 100000000   a hundred million, told on a progress bar\n  \
    zabcheck walk peer --steps 100000000 --record   and written to model/checker/walks.md\n\n\
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
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=LENGTH_MAX))]
    length: u64,
    /// How many walks at once; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// One JSON object on standard output, instead of text.
    #[arg(long)]
    json: bool,
    /// Writes what was walked to model/checker/walks.md.
    #[arg(long)]
    record: bool,
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
    longest: u64,
    sorts: BTreeMap<&'static str, u64>,
    seconds: f64,
    /// The most memory of the process; none where the system does not tell.
    peak_mib: Option<u64>,
    witnesses: Vec<&'static str>,
    missing: Vec<&'static str>,
    broken: Option<String>,
    trace: Option<String>,
}

impl Walk {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let Model::Peer = self.model;
        let started = Instant::now();
        let page =
            self.record.then(|| Page::open("model/checker/walks.md", &["spec", "model"])).transpose()?;
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        let plan = Plan { seed: self.seed, steps: self.steps, length: self.length, jobs };
        let bar = Bar::new(self.steps);
        let walked = walk(plan, &|steps| bar.advance(steps));
        bar.end();
        let Walked { walks, steps, longest, sorts, witnesses, missing, found } = walked;
        let trace = found.as_ref().map(|found| self.save(found)).transpose()?;
        let report = Report {
            model: "peer",
            seed: self.seed,
            walks,
            steps,
            longest,
            sorts,
            seconds: started.elapsed().as_secs_f64(),
            peak_mib: memory::peak().map(|bytes| (bytes >> 20) as u64),
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
        if let Some(page) = page {
            page.write(&text_of(page.origin(), plan, &report))?;
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
    println!("peer: seed {seed}, {} walks, {} steps in {seconds:.1} s", grouped(*walks), grouped(*steps));
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

/// How far the walks are: a bar, or where nobody sees a bar a line a minute.
struct Bar {
    bar: ProgressBar,
    /// When the last line was due; none on a terminal.
    line: Option<Mutex<Instant>>,
}

impl Bar {
    fn new(steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template(
            "{bar:30} {human_pos} of {human_len} steps, {per_sec}, {elapsed}, {eta} left",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let line = (!std::io::stderr().is_terminal()).then(|| Mutex::new(Instant::now()));
        Self { bar, line }
    }

    fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        let Some(mut last) = self.line.as_ref().and_then(|line| line.try_lock().ok()) else { return };
        if last.elapsed().as_secs() >= 60 {
            *last = Instant::now();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let (rate, left) = (self.bar.per_sec(), self.bar.eta().as_secs() / 60);
            eprintln!("{} of {} steps, {rate:.0} a second, {left} min left", grouped(done), grouped(all));
        }
    }

    fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// What was walked, as it stays.
fn text_of(origin: &str, plan: Plan, report: &Report) -> String {
    let verdict = match &report.broken {
        None => "every rule held after every step".to_owned(),
        Some(rule) => format!("{rule} is broken"),
    };
    let figures = [
        ("seed", report.seed.to_string()),
        ("walks", grouped(report.walks)),
        ("steps", grouped(report.steps)),
        ("longest walk, steps", grouped(report.longest)),
        ("most steps of a walk allowed", grouped(plan.length)),
        ("walks at once", plan.jobs.to_string()),
        ("seconds", format!("{:.0}", report.seconds)),
        ("peak memory, MiB", report.peak_mib.map_or_else(|| "unknown".to_owned(), grouped)),
        ("verdict", verdict),
        (
            "witnesses met",
            format!("{} of {}", report.witnesses.len(), report.witnesses.len() + report.missing.len()),
        ),
    ];
    let mut text = format!(
        "# Walks through whole servers\n\nWritten by `cargo zabcheck walk peer --record`, {origin}. Every rule is asked after \
         every step.\n\n| run | |\n|---|--:|\n"
    );
    // Writing to a string does not fail.
    for (name, value) in figures {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text.push_str("\n| step | how often |\n|---|--:|\n");
    for (sort, count) in &report.sorts {
        let _ = writeln!(text, "| {sort} | {} |", grouped(*count));
    }
    text.push_str("\nThe walks took turns with these servers:\n\n");
    for bounds in kinds() {
        let _ = writeln!(text, "- {bounds}");
    }
    let _ = writeln!(text, "\nWitnesses met: {}.", report.witnesses.join(", "));
    if !report.missing.is_empty() {
        let _ = writeln!(text, "\nNot met: {}.", report.missing.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_what_was_walked_and_what_was_not_met() {
        let plan = Plan { seed: 3, steps: 30, length: 30, jobs: 1 };
        let Walked { walks, steps, longest, sorts, witnesses, missing, found } = walk(plan, &|_| {});
        assert!(found.is_none());
        let (count, all) = (witnesses.len(), witnesses.len() + missing.len());
        let mut report = Report {
            model: "peer",
            seed: 3,
            walks,
            steps,
            longest,
            sorts,
            seconds: 1.4,
            peak_mib: Some(1_200),
            witnesses,
            missing,
            broken: None,
            trace: None,
        };
        let text = text_of("at commit abc, on a machine", plan, &report);
        for line in [
            "# Walks through whole servers",
            "| seed | 3 |",
            "| walks | 1 |",
            "| steps | 30 |",
            "| longest walk, steps | 30 |",
            "| peak memory, MiB | 1,200 |",
            "| verdict | every rule held after every step |",
            &format!("| witnesses met | {count} of {all} |"),
        ] {
            assert!(text.lines().any(|held| held == line), "no line {line:?} in\n{text}");
        }
        assert!(text.contains("at commit abc, on a machine."));
        assert!(text.contains("\nNot met: ") && report.missing.contains(&"two-live-leaders"), "{text}");
        assert_eq!(report.sorts.values().sum::<u64>(), 30, "{text}");
        report.broken = Some("I-8".to_owned());
        assert!(text_of("", plan, &report).contains("| verdict | I-8 is broken |"));
    }
}
