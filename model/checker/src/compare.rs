//! The command that compares the models where they join.

use std::{
    io::{self, Write},
    num::NonZero,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use checker::{
    engine::search::Progress,
    figures::grouped,
    joins::{Join, Joins},
    rows::Budget,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::check::line;

/// How far to search.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 every outcome is allowed, 1 one is not.\n\n\
    Example: zabcheck joins --budget quick --list")]
pub(crate) struct Compare {
    /// The table of rows whose outcomes are compared.
    #[arg(long, value_enum, default_value = "quick")]
    budget: Budget,
    /// Also tells every outcome that is reached.
    #[arg(long)]
    list: bool,
    /// One JSON object a join on standard output, instead of text.
    #[arg(long)]
    json: bool,
    /// How many searches at once; as many as there are processors by default.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
}

impl Compare {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let started = Instant::now();
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {prefix:24} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        let last = Mutex::new((String::new(), Progress::default()));
        let joins = Joins::search(self.budget, jobs, &|row, progress| {
            // Of several searches at once, whoever comes by shows itself.
            let Ok(mut last) = last.try_lock() else { return };
            if last.0 != row || progress.elapsed < last.1.elapsed {
                bar.set_prefix(row.to_owned());
                *last = (row.to_owned(), Progress::default());
            }
            if progress.elapsed.saturating_sub(last.1.elapsed) >= Duration::from_millis(200) {
                bar.set_message(line(progress, &last.1));
                bar.tick();
                last.1 = *progress;
            }
        })?;
        bar.finish_and_clear();
        let joins = joins.compare();
        let mut out = io::stdout().lock();
        for join in &joins {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(join)?)?;
            } else {
                tell(join, self.list, &mut out)?;
            }
        }
        if !self.json {
            writeln!(out, "{:.0} seconds", started.elapsed().as_secs_f64())?;
        }
        Ok(u8::from(joins.iter().any(|join| !join.missing.is_empty())))
    }
}

fn tell(join: &Join, list: bool, out: &mut impl Write) -> io::Result<()> {
    let searches = |searches: &[(String, usize)]| {
        let texts = searches.iter().map(|(name, states)| format!("{name} ({})", grouped(*states as u64)));
        texts.collect::<Vec<_>>().join(", ")
    };
    writeln!(out, "{}: {}", join.name, join.claim)?;
    writeln!(
        out,
        "  reached: {} outcomes in the states of {}",
        join.reached.len(),
        searches(&join.reaching)
    )?;
    if list {
        join.reached.iter().try_for_each(|outcome| writeln!(out, "    {outcome}"))?;
    }
    writeln!(out, "  allowed: {} outcomes in the states of {}", join.allowed, searches(&join.allowing))?;
    if join.aside > 0 {
        writeln!(
            out,
            "  not compared: {} outcomes of histories that those states do not come to",
            join.aside
        )?;
    }
    match join.missing.len() {
        0 => writeln!(out, "  every outcome that is reached is allowed")?,
        count => writeln!(out, "  NOT ALLOWED, {count}:")?,
    }
    join.missing.iter().try_for_each(|outcome| writeln!(out, "    {outcome}"))
}
