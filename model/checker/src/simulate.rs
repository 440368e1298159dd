//! The command that plays seeds of the simulator, in whatever form.

use std::{
    fmt::Write as _,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use simulator::{Coverage, Form, Plan, Size};

use crate::{
    engine::Broken,
    figures::grouped,
    page::Page,
    simulation::{SHRINKING_MAX, run, save, smallest, told},
};

/// So many seeds together should meet every named situation.
const ALL_MET_SEEDS: u64 = 2_000;

/// So many seeds together should put every rule to the test, in whatever form: each that is played for every change.
const ALL_TESTED_SEEDS: u64 = 100;

/// Where a form of the simulator has its home.
#[derive(Debug)]
pub struct Place {
    /// The command that plays it.
    pub command: &'static str,
    /// The command that plays a saved run again.
    pub replay: &'static str,
    /// The title of the page that records it.
    pub title: &'static str,
    /// The command that writes that page.
    pub recorder: &'static str,
    /// That page.
    pub results: &'static str,
    /// The folders that it depends on.
    pub sources: &'static [&'static str],
}

/// Which seeds to play.
#[derive(Debug, clap::Args)]
pub struct Simulate {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds; without, as many as --minutes allow, or 200.
    #[arg(long)]
    seeds: Option<u64>,
    /// Ends behind so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// The ensemble: 3 or 5 servers, or 5+2, two of which observe; without, each seed chooses.
    #[arg(long)]
    servers: Option<Size>,
    /// How many seeds are played at once; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// One JSON object on standard output, instead of tables.
    #[arg(long)]
    json: bool,
    /// Writes what was met to the page that keeps it.
    #[arg(long)]
    record: bool,
}

/// What came of it. Written as JSON.
#[derive(Debug, Default, Serialize)]
struct Summary {
    first_seed: u64,
    seeds: u64,
    seconds: u64,
    /// Whether the time was up first.
    cut: bool,
    /// The seed that breaks a rule.
    failed: Option<u64>,
    broken: Option<String>,
    why: Option<String>,
    /// Where the failure was saved.
    trace: Option<String>,
    met: Coverage,
    missing: Vec<&'static str>,
    /// The rules among those.
    #[serde(skip)]
    untested: Vec<&'static str>,
}

impl Summary {
    fn code(&self) -> u8 {
        if self.broken.is_some() {
            1
        } else if self.cut {
            3
        } else if (!self.missing.is_empty() && self.seeds >= ALL_MET_SEEDS)
            || (!self.untested.is_empty() && self.seeds >= ALL_TESTED_SEEDS)
        {
            4
        } else {
            0
        }
    }
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    cut: AtomicBool,
    met: Mutex<(u64, Coverage)>,
    failure: Mutex<Option<(Plan, Broken)>>,
}

impl Simulate {
    /// Plays them in a form, and returns the exit code.
    ///
    /// # Errors
    /// Usage, or a file cannot be written.
    pub fn run<F: Form>(&self, place: &Place) -> anyhow::Result<u8> {
        ensure!(self.seeds != Some(0), "--seeds is 1 at least");
        let started = Instant::now();
        let page = self.record.then(|| Page::open(place.results, place.sources)).transpose()?;
        let count = self.seeds.unwrap_or(if self.minutes.is_some() { u64::MAX - self.seed } else { 200 });
        let shared = Shared {
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            met: Mutex::new((0, Coverage::default())),
            failure: Mutex::new(None),
        };
        self.play::<F>(&shared, count, started);
        let (seeds, met) = shared.met.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut summary = Summary {
            first_seed: self.seed,
            seeds,
            cut: shared.cut.into_inner() && self.seeds.is_some(),
            missing: met.missing(self.servers),
            untested: met.untested(self.servers),
            met,
            ..Summary::default()
        };
        let failure = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((plan, broken)) = failure {
            self.tell_failure::<F>(place, &plan, &broken, &mut summary)?;
        }
        summary.seconds = started.elapsed().as_secs();
        if self.json {
            println!("{}", serde_json::to_string(&summary)?);
        } else {
            print!("{}", tables(&summary));
        }
        if summary.code() == 4 {
            eprintln!("not met by {} seeds: {}", summary.seeds, summary.missing.join(", "));
        }
        if let Some(page) = page {
            page.write(&text_of(&page, place, &summary))?;
        }
        Ok(summary.code())
    }

    fn play<F: Form>(&self, shared: &Shared, count: u64, started: Instant) {
        let bar = if self.seeds.is_some() { ProgressBar::new(count) } else { ProgressBar::new_spinner() };
        let style =
            ProgressStyle::with_template("{spinner} {bar:30} {pos} of {len} seeds, {elapsed}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        let limit = self.minutes.map(|minutes| Duration::from_secs(minutes * 60));
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while !shared.stop.load(Ordering::Relaxed) {
                        let place = shared.next.fetch_add(1, Ordering::Relaxed);
                        if place >= count {
                            break;
                        }
                        if limit.is_some_and(|limit| started.elapsed() > limit) {
                            shared.cut.store(true, Ordering::Relaxed);
                            break;
                        }
                        self.play_one::<F>(shared, self.seed + place);
                        bar.inc(1);
                    }
                });
            }
        });
        bar.finish_and_clear();
    }

    fn play_one<F: Form>(&self, shared: &Shared, seed: u64) {
        let plan = Plan::draw(seed, self.servers);
        let mut met = Coverage::default();
        let outcome = run::<F>(&plan, &mut met);
        let mut sum = shared.met.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0 += 1;
        sum.1.add(&met);
        drop(sum);
        if let Err(broken) = outcome {
            shared.stop.store(true, Ordering::Relaxed);
            let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            // Of several that were under way at once the first.
            if failure.as_ref().is_none_or(|(other, _)| plan.seed < other.seed) {
                *failure = Some((plan, broken));
            }
        }
    }

    /// Makes a failure small, saves it, and says how to see it again.
    fn tell_failure<F: Form>(
        &self,
        place: &Place,
        plan: &Plan,
        broken: &Broken,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let servers = self.servers.map_or_else(String::new, |servers| format!(" --servers {servers}"));
        eprintln!(
            "seed {} breaks {}; it is made smaller, in {SHRINKING_MAX} runs at most",
            plan.seed, broken.rule
        );
        let (small, found) = smallest::<F>(plan, broken);
        let path = save::<F>(&small, &found)?;
        if !self.json {
            println!("{}", told(&small));
            println!("{} is broken: {}", found.rule, found.why);
            println!("the whole of it: {} --seed {} --seeds 1{servers}", place.command, plan.seed);
            println!("saved, to be told again by: {} {}", place.replay, path.display());
        }
        summary.failed = Some(plan.seed);
        (summary.broken, summary.why) = (Some(found.rule), Some(found.why));
        summary.trace = Some(path.display().to_string());
        Ok(())
    }
}

fn outcome(summary: &Summary) -> String {
    match (&summary.broken, summary.cut) {
        (Some(rule), _) => format!("seed {} breaks {rule}", summary.failed.unwrap_or_default()),
        (None, true) => "cut by the time; every rule holds, every ensemble heals".to_owned(),
        (None, false) => "every rule holds, every ensemble heals".to_owned(),
    }
}

fn figures(summary: &Summary) -> Vec<(&'static str, String)> {
    let met = &summary.met;
    let last = summary.first_seed + summary.seeds.saturating_sub(1);
    vec![
        ("seeds", format!("{} ({} to {last})", grouped(summary.seeds), summary.first_seed)),
        ("outcome", outcome(summary)),
        ("steps", grouped(met.steps)),
        ("of them steps of servers", grouped(met.server_steps)),
        ("simulated hours", format!("{}.{}", met.simulated_ms / 3_600_000, met.simulated_ms / 360_000 % 10)),
        ("transactions committed", grouped(met.txns)),
        ("writes acknowledged", grouped(met.writes)),
        ("longest healing, simulated ms", grouped(met.healing_ms)),
        ("seconds", grouped(summary.seconds)),
    ]
}

fn tables(summary: &Summary) -> String {
    let mut text = String::new();
    let mut table = |title: &str, rows: &mut dyn Iterator<Item = (String, String)>| {
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY).set_header([title, ""]);
        for (name, value) in rows {
            table.add_row([Cell::new(name), Cell::new(value).set_alignment(CellAlignment::Right)]);
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, "{table}");
    };
    let counts = |(name, count): (&String, &u64)| (name.clone(), grouped(*count));
    table("run", &mut figures(summary).into_iter().map(|(name, value)| (name.to_owned(), value)));
    table("faults", &mut summary.met.faults.iter().map(counts));
    table("situations, in seeds", &mut summary.met.situations.iter().map(counts));
    if !summary.missing.is_empty() {
        let _ = writeln!(text, "not met: {}", summary.missing.join(", "));
    }
    text
}

/// What was met, as it stays.
fn text_of(page: &Page, place: &Place, summary: &Summary) -> String {
    let mut text = format!(
        "# {}\n\nWritten by `{}`, {}. The rules are asked after every step.\n\n| run | |\n|---|--:|\n",
        place.title,
        place.recorder,
        page.origin()
    );
    for (name, value) in figures(summary) {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    let met = &summary.met;
    let tables = [
        ("fault", "how often", &met.faults),
        ("situation", "seeds", &met.situations),
        ("rule put to the test", "seeds", &met.rules),
    ];
    for (title, unit, table) in tables {
        let _ = write!(text, "\n| {title} | {unit} |\n|---|--:|\n");
        for (name, count) in table {
            let _ = writeln!(text, "| {name} | {} |", grouped(*count));
        }
    }
    if !summary.missing.is_empty() {
        let _ = writeln!(text, "\nNot met: {}.", summary.missing.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_not_tested_fails_sooner_than_a_situation_that_is_not_met() {
        let code = |seeds, untested: &[&'static str]| {
            let missing = [&["snap"], untested].concat();
            Summary { seeds, missing, untested: untested.to_vec(), ..Summary::default() }.code()
        };
        assert_eq!([99, 100].map(|seeds| code(seeds, &["R-8"])), [0, 4]);
        assert_eq!([100, 1_999, 2_000].map(|seeds| code(seeds, &[])), [0, 0, 4]);
    }
}
