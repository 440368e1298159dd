//! The commands that search.

use std::{
    collections::VecDeque,
    io::{self, Write},
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{bail, ensure};
use checker::{
    engine::search::{Limits, Progress},
    figures::grouped,
    joins::{Further, Joins, any_election},
    recorded,
    rows::{Budget, Row, Setup},
    run::{Engine, Mode, Report, run},
};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::compare;

/// What to search, and how.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line")]
pub(crate) struct Check {
    /// Only the rows of these models, `zab`, `election`, `session` or `peer`, and these rows, as `ROW` or `MODEL/ROW`.
    names: Vec<String>,
    /// The table of rows.
    #[arg(long, value_enum, default_value = "quick")]
    budget: Budget,
    /// Changes a bound of every row that is searched, such as `txns=2`; the counts are then not compared.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// Which engine searches.
    #[arg(long, value_enum, default_value = "own")]
    engine: Engine,
    /// One JSON object a row on standard output, instead of a table.
    #[arg(long)]
    json: bool,
    /// How many rows are searched at once; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// Gives a row up behind so many distinct states.
    #[arg(long, value_name = "COUNT")]
    states: Option<usize>,
    /// Gives a row up when its states need so many MiB, or all that are searched at once hold as much; 12288 by
    /// default.
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,
    /// Gives a row up after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Judges histories only: steps that fail by themselves are left out, and rules about steps and messages are off.
    #[arg(long)]
    histories_only: bool,
    /// Also looks for traps: states from which no fault-free run gets anywhere.
    #[arg(long)]
    traps: bool,
    /// Also compares what each model comes to with what the next one takes for granted of it; of whole budgets only.
    #[arg(long)]
    joins: bool,
}

/// Which row to explore.
#[cfg(feature = "stateright")]
#[derive(Debug, clap::Args)]
pub(crate) struct Explore {
    /// The row, or `MODEL/ROW` where two models have one of that name.
    row: String,
    /// The table of rows.
    #[arg(long, value_enum, default_value = "quick")]
    budget: Budget,
    /// Changes a bound, such as `txns=2`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// The port of this machine where the browser finds it.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

impl Check {
    pub(crate) fn run(self, bless: bool) -> anyhow::Result<u8> {
        let mut rows = select(self.budget, &self.names, &self.changes)?;
        for row in &mut rows {
            row.traps |= self.traps;
            match &mut row.setup {
                Setup::Zab(bounds) => bounds.local_rules &= !self.histories_only,
                Setup::Peer(bounds) => bounds.local_rules &= !self.histories_only,
                Setup::Election(_) | Setup::Session(_) => {}
            }
        }
        let untouched =
            self.changes.is_empty() && !self.traps && !self.histories_only && self.engine == Engine::Own;
        ensure!(untouched || !bless, "only the rows as they stand can be blessed");
        ensure!(
            !self.joins || (untouched && self.names.is_empty()),
            "only whole budgets as they stand can be compared: --joins goes without names and changes"
        );
        let further = if self.joins { Further::beside(&rows, &any_election()) } else { Vec::new() };
        let Found { reports, joins, failed } = self.search(further, rows, untouched && !bless);
        if !self.json {
            for transcript in reports.iter().filter_map(|report| report.transcript.as_ref()) {
                println!("{transcript}");
            }
            println!("{}", table(&reports));
            for report in &reports {
                tell_failure(report);
            }
        }
        if bless {
            recorded::bless(&reports)?;
        }
        if self.joins && !self.compare(&reports, &joins, &failed)? {
            return Ok(1);
        }
        // A broken rule weighs most, then a changed count or a witness that is missing; a row may be cut beside it.
        let codes: Vec<_> = reports.iter().map(Report::code).collect();
        Ok([1, 4, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0))
    }

    /// Makes these searches, several at once.
    fn search(&self, further: Vec<Further>, rows: Vec<Row>, compare: bool) -> Found {
        let order: Vec<_> = rows.iter().map(|row| (row.setup.model(), row.name)).collect();
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        // Nothing else is as long as what is searched for the joins alone.
        let further = further.into_iter().map(|further| Task::Further(Box::new(further)));
        let queue = Mutex::new(further.chain(rows.into_iter().map(Task::Row)).collect::<VecDeque<_>>());
        let found = Mutex::new(Found::default());
        let bars = MultiProgress::new();
        let work = || {
            while let Some(task) = { lock(&queue).pop_front() } {
                match task {
                    Task::Further(further) => {
                        let came = with_bar(further.name(), &bars, |tell| further.search(tell));
                        match came {
                            Ok(joins) => lock(&found).joins.take(joins),
                            Err(error) => lock(&found).failed.push(error),
                        }
                    }
                    Task::Row(row) => {
                        let mut joins = self.joins.then(Joins::default);
                        let report = self.search_row(&row, compare, &bars, joins.as_mut());
                        let mut found = lock(&found);
                        found.reports.push(report);
                        found.joins.take(joins.unwrap_or_default());
                    }
                }
            }
        };
        thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found
            .reports
            .sort_by_key(|report| order.iter().position(|(m, n)| *m == report.model && *n == report.row));
        found
    }

    fn search_row(
        &self,
        row: &Row,
        compare: bool,
        bars: &MultiProgress,
        joins: Option<&mut Joins>,
    ) -> Report {
        let mut report = with_bar(&format!("{} {}", row.setup.model(), row.name), bars, |tell| {
            run(self.budget.name(), row, self.mode(), tell, joins)
        });
        if compare {
            recorded::compare(&mut report);
        }
        if self.json {
            print_json(&report);
        }
        report
    }

    /// Compares the models where they join; whether all that is reached is allowed, as far as every search came to its
    /// end: what came of the rows is told by themselves.
    fn compare(&self, reports: &[Report], joins: &Joins, failed: &[anyhow::Error]) -> anyhow::Result<bool> {
        for error in failed {
            eprintln!("zabcheck: {error:#}");
        }
        if !failed.is_empty() || !reports.iter().all(|report| report.exhausted) {
            eprintln!("zabcheck: the models are not compared: not all that they come to is known");
            return Ok(failed.is_empty());
        }
        let joins = joins.compare();
        let mut out = io::stdout().lock();
        for join in &joins {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(join)?)?;
            } else {
                compare::tell(join, &mut out)?;
            }
        }
        Ok(joins.iter().all(|join| join.missing.is_empty()))
    }

    fn mode(&self) -> Mode {
        let default = Limits::default();
        let limits = Limits {
            states: self.states.unwrap_or(default.states),
            bytes: self.memory.map_or(default.bytes, |mib| mib << 20),
            time: self.seconds.map_or(default.time, Duration::from_secs),
        };
        Mode { engine: self.engine, limits, skip_failed_steps: self.histories_only }
    }
}

/// What came of all searches.
#[derive(Debug, Default)]
struct Found {
    /// Of the rows, in their order.
    reports: Vec<Report>,
    /// For the joins.
    joins: Joins,
    /// Why searches for the joins alone did not come to their end.
    failed: Vec<anyhow::Error>,
}

/// A search that is to be made.
#[derive(Debug)]
enum Task {
    Further(Box<Further>),
    Row(Row),
}

/// Shows how far a search is.
fn with_bar<T>(name: &str, bars: &MultiProgress, search: impl FnOnce(&mut dyn FnMut(&Progress)) -> T) -> T {
    let bar = bars.add(ProgressBar::new_spinner());
    let style = ProgressStyle::with_template("{spinner} {prefix:24} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(name.to_owned());
    let mut last = Progress::default();
    let result = search(&mut |progress| {
        if progress.elapsed.saturating_sub(last.elapsed) >= Duration::from_millis(200) {
            bar.set_message(line(progress, &last));
            bar.tick();
            last = *progress;
        }
    });
    bar.finish_and_clear();
    result
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn print_json(report: &Report) {
    let line = serde_json::to_string(report).expect("a report is plain data");
    // Nobody listening is no reason to stop a search.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

fn line(now: &Progress, before: &Progress) -> String {
    let millis = now.elapsed.saturating_sub(before.elapsed).as_millis().max(1);
    // Another search may have begun.
    let new = now.distinct.saturating_sub(before.distinct) as u128;
    format!(
        "{} states, {} a second, depth {}, queue {}, {} MiB",
        grouped(now.distinct as u64),
        grouped(u64::try_from(new * 1000 / millis).unwrap_or(u64::MAX)),
        now.depth,
        grouped(now.queue as u64),
        now.bytes >> 20
    )
}

/// The rows of a budget that go by any of these names, in its order; all if none is named.
fn select(budget: Budget, names: &[String], changes: &[String]) -> anyhow::Result<Vec<Row>> {
    let mut rows = budget.rows();
    if let Some(name) = names.iter().find(|name| !rows.iter().any(|row| goes_by(row, name))) {
        let known: Vec<_> = rows.iter().map(|row| row.name).collect();
        bail!("no model or row of {} is called {name}: {}", budget.name(), known.join(", "));
    }
    rows.retain(|row| names.is_empty() || names.iter().any(|name| goes_by(row, name)));
    for row in &mut rows {
        row.setup = row.setup.with(changes)?;
        if !changes.is_empty() {
            row.expects = &[];
        }
    }
    Ok(rows)
}

fn goes_by(row: &Row, name: &str) -> bool {
    [row.name, row.setup.model(), whole_name(row).as_str()].contains(&name)
}

/// Two models may have a row of the same name.
fn whole_name(row: &Row) -> String {
    format!("{}/{}", row.setup.model(), row.name)
}

fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header([
        "model",
        "row",
        "states",
        "transitions",
        "depth",
        "seconds",
        "B/state",
        "verdict",
        "witnesses",
    ]);
    for report in reports {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(report.model),
            Cell::new(&report.row),
            right(grouped(report.distinct as u64)),
            right(grouped(report.generated)),
            right(report.depth.to_string()),
            right(format!("{:.1}", report.seconds)),
            right(report.bytes_per_state.to_string()),
            Cell::new(verdict(report)),
            right(report.witnesses.len().to_string()),
        ]);
    }
    table
}

fn verdict(report: &Report) -> String {
    match (&report.broken, report.cut) {
        (Some(rule), _) => format!("{rule} broken"),
        (None, Some(limit)) => format!("cut by {limit}"),
        (None, None) if !report.missing.is_empty() => "exhausted, witness missing".to_owned(),
        (None, None) if report.recorded.is_some() => "exhausted, counts changed".to_owned(),
        (None, None) => "exhausted, rules hold".to_owned(),
    }
}

fn tell_failure(report: &Report) {
    let name = format!("{} {}", report.model, report.row);
    if let Some(path) = &report.trace {
        println!("{name}: saved, to be told again by: zabcheck replay {path}");
    }
    if !report.missing.is_empty() {
        println!("{name}: not reached: {}", report.missing.join(", "));
    }
    if let Some([distinct, generated, depth]) = report.recorded {
        println!("{name}: recorded were {distinct} states, {generated} transitions, depth {depth}");
    }
}

#[cfg(feature = "stateright")]
impl Explore {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        use std::net::{Ipv4Addr, SocketAddr, TcpListener};

        use anyhow::Context;

        let mut rows = select(self.budget, std::slice::from_ref(&self.row), &self.changes)?;
        let names: Vec<_> = rows.iter().map(whole_name).collect();
        ensure!(rows.len() == 1, "{} names {} rows; choose one: {}", self.row, rows.len(), names.join(", "));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // The explorer would panic over a port that it cannot have.
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}; --port names another port"))?;
        drop(listener);
        eprintln!("exploring {} on http://{address}", self.row);
        checker::run::explore(rows.remove(0).setup, address);
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> anyhow::Result<Vec<String>> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(select(Budget::Quick, &names, &[])?.iter().map(whole_name).collect())
    }

    #[test]
    fn rows_are_named_one_by_one_or_by_their_model() -> anyhow::Result<()> {
        let (all, elections) = (selected(&[])?, selected(&["election"])?);
        let (first, last) = (all[0].as_str(), all[all.len() - 1].as_str());
        assert_eq!(selected(&[last, first, first])?, [first, last]);
        assert!(elections.len() < all.len() && elections.iter().all(|name| name.starts_with("election/")));
        assert_eq!(selected(&["election", elections[0].as_str()])?, elections);
        Ok(())
    }

    #[test]
    fn a_name_that_is_none_is_told_though_others_are_some() {
        let error = selected(&["election", "elections"]).expect_err("there is none of that name").to_string();
        assert!(error.starts_with("no model or row of quick is called elections: "), "{error}");
    }
}
