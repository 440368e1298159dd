//! Does memory stay where it is? Full load for a long time, once in peace and once with everybody asking for figures.
//!
//! The resident memory of each server is looked at every second. What a server takes in its first quarter, while buffers
//! and the allocator find their size, does not count; from then on the median of the last quarter is to stay near that
//! of the second.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    bench::Options,
    ensemble::{self, Ensemble},
    load::{self, Load},
    usage,
    workload::Kind,
};

/// Between two looks, and between two rounds of questions.
const EVERY: Duration = Duration::from_secs(1);
/// The shortest run that tells anything: each quarter is to hold some looks.
const SECONDS_MIN: u64 = 16;
/// How much more the last quarter may have than the second, in parts of a hundred of that.
const GROWTH_MAX_PERCENT: u64 = 5;
/// How much it may have in any case, for what is not ours to decide: which pages the allocator keeps
/// at the moment of a look. What an operation leaves behind adds up to more in a minute.
const GROWTH_FREE: u64 = 4 << 20;

/// One run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether figures were asked for.
    pub scraped: bool,
    /// Operations in a second.
    pub rate: u64,
    /// For each server, what it had in the second and in the last quarter of the time, in bytes, and at most.
    pub servers: Vec<(u64, u64, u64)>,
    /// How often a server was asked for its figures.
    pub asked: u64,
}

impl Outcome {
    /// Whether memory stayed where it was.
    pub fn holds(&self) -> bool {
        self.servers.iter().all(|(early, late, _)| is_flat(*early, *late))
    }

    /// A line for each server.
    pub fn lines(&self) -> String {
        let how = if self.scraped { format!("scraped {} times", self.asked) } else { "in peace".to_owned() };
        let mut lines = format!("{how}: {} operations in a second\n", self.rate);
        for (id, (early, late, most)) in self.servers.iter().enumerate() {
            let word = if is_flat(*early, *late) { "flat" } else { "GROWS" };
            let row = format!(
                "  server {}: {} KiB in the second quarter, {} in the last, {} at most: {word}\n",
                id + 1,
                early >> 10,
                late >> 10,
                most >> 10
            );
            lines.push_str(&row);
        }
        lines
    }
}

fn is_flat(early: u64, late: u64) -> bool {
    late <= early + (early * GROWTH_MAX_PERCENT / 100).max(GROWTH_FREE)
}

/// Runs the load twice on these servers, without and with questions.
///
/// # Errors
/// If an answer is wrong, or a server is gone.
pub fn run(ensemble: &Ensemble, options: &Options) -> Result<Vec<Outcome>> {
    let seconds = options.window.as_secs();
    ensure!(
        seconds >= SECONDS_MIN,
        "{seconds} s are too short to tell anything: give --seconds {SECONDS_MIN} or more"
    );
    [false, true].into_iter().map(|scraped| once(ensemble, options, scraped)).collect()
}

fn once(ensemble: &Ensemble, options: &Options, scraped: bool) -> Result<Outcome> {
    let load = Load {
        kind: Kind::Mixed,
        connections: 64,
        outstanding: 16,
        threads: options.threads,
        warm: Duration::ZERO,
        window: options.window,
    };
    let (pids, addresses) = (ensemble.pids(), ensemble.addresses()?);
    let over = AtomicBool::new(false);
    let (seen, looks, asked) = thread::scope(|scope| {
        let looking = scope.spawn(|| look(&pids, &over));
        let asking = scope.spawn(|| if scraped { scrape(&addresses, &over) } else { Ok(0) });
        let seen = load::run(&load, &addresses, || {}, || {});
        over.store(true, Ordering::Relaxed);
        let (Ok(looks), Ok(asked)) = (looking.join(), asking.join()) else { bail!("a thread panicked") };
        Ok((seen?, looks?, asked?))
    })?;
    let servers = (0..pids.len()).map(|id| judged(looks.iter().map(|look| look[id]).collect()));
    Ok(Outcome {
        scraped,
        rate: seen.operations / seen.window.as_secs().max(1),
        servers: servers.collect::<Result<_>>()?,
        asked,
    })
}

/// The medians of the second and of the last quarter, and the most.
fn judged(looks: Vec<u64>) -> Result<(u64, u64, u64)> {
    let quarter = looks.len() / 4;
    let median = |from: usize| {
        let mut some = looks.get(from..from + quarter)?.to_vec();
        some.sort_unstable();
        some.get(quarter / 2).copied()
    };
    let pair = median(quarter).zip(median(looks.len() - quarter));
    let (early, late) = pair.context("the load ended before memory could be looked at")?;
    Ok((early, late, looks.into_iter().max().unwrap_or(0)))
}

/// What each process has resident, once a second.
fn look(pids: &[u32], over: &AtomicBool) -> Result<Vec<Vec<u64>>> {
    let mut looks = Vec::new();
    every(over, || {
        looks.push(usage::resident(pids)?);
        Ok(())
    })?;
    Ok(looks)
}

/// Asks every server for its figures, once a second. How often one has answered.
fn scrape(addresses: &[SocketAddr], over: &AtomicBool) -> Result<u64> {
    let mut answers = 0;
    every(over, || {
        for address in addresses {
            for word in ["mntr", "srvr", "cons", "wchs", "dirs"] {
                let answer =
                    ensemble::word(*address, word).with_context(|| format!("{word} of {address}"))?;
                ensure!(!answer.is_empty(), "{address} says nothing to {word}");
                answers += 1;
            }
        }
        Ok(())
    })?;
    Ok(answers)
}

fn every(over: &AtomicBool, mut act: impl FnMut() -> Result<()>) -> Result<()> {
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        if Instant::now() < next {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        act()?;
        next += EVERY;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_the_start_does_not_count_and_growth_does() {
        let mib = |count: u64| count << 20;
        let looks = |last: u64| {
            (0..40).map(move |second| {
                if second < 10 {
                    mib(second)
                } else if second < 30 {
                    mib(20)
                } else {
                    mib(last)
                }
            })
        };
        let flat = |last: u64| judged(looks(last).collect()).map(|(early, late, _)| is_flat(early, late));
        assert!(flat(20).expect("enough") && flat(24).expect("enough"), "some pages");
        assert!(!flat(25).expect("enough"), "a quarter more");
        assert!(judged(vec![1, 2, 3]).is_err(), "too few to tell");
    }
}
