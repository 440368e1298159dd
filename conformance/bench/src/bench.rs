//! Rows run on two ensembles by turns.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    connection, costs,
    ensemble::{self, Ensemble},
    fan_out, figures,
    figures::Figures,
    gap,
    load::{self, Load, Measured},
    prepare,
    rows::{Job, Row},
    sessions, usage,
    workload::{Kind, TOP},
};

/// How runs are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a run of a load is counted.
    pub window: Duration,
    /// How often each side is measured.
    pub rounds: usize,
    /// How many nodes the large tree has.
    pub nodes: u32,
    /// How many threads the generator has.
    pub threads: usize,
    /// How often the leader is taken away in a run.
    pub faults: usize,
}

/// How often a JVM runs a row before it is measured.
const JAVA_WARM_ROUNDS: usize = 3;
/// How often a row is tried under a tracer.
const TRACED_MAX: usize = 3;
/// What is not counted at the beginning of a run.
const WARM: Duration = Duration::from_millis(500);
/// How many nodes go with one session while the load runs.
const EPHEMERALS: u32 = 50_000;
/// How often resident memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One side: its servers, and what was seen of them.
#[derive(Debug)]
pub struct Side {
    /// Who they are.
    pub name: String,
    ensemble: Ensemble,
    java: bool,
    /// How often the large tree's servers have been measured after their fill.
    filled: Option<f64>,
}

/// What a row came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which row.
    pub row: Row,
    /// The medians of each side, in the order of the sides.
    pub sides: Vec<Figures>,
}

impl Side {
    /// Starts its servers below `dir`, and makes the nodes that rows need.
    ///
    /// # Errors
    /// If they do not serve.
    pub fn start(name: &str, kind: ensemble::Kind, dir: &Path) -> Result<Self> {
        let java = matches!(kind, ensemble::Kind::Java { .. });
        let ensemble = Ensemble::start(kind, dir).with_context(|| format!("{name} does not start"))?;
        prepare::small(&ensemble.addresses()?)?;
        Ok(Self { name: name.to_owned(), ensemble, java, filled: None })
    }

    /// Its servers.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// Makes the large tree.
    ///
    /// # Errors
    /// If an answer is wrong.
    pub fn fill(&mut self, nodes: u32) -> Result<()> {
        let started = Instant::now();
        prepare::fill(&self.ensemble.addresses()?, nodes)?;
        self.filled = Some(self.resident()? / f64::from(nodes));
        eprintln!("{}: {nodes} nodes made in {:.1} s", self.name, started.elapsed().as_secs_f64());
        Ok(())
    }

    /// The resident memory of its largest server, in bytes.
    fn resident(&self) -> Result<f64> {
        let all = usage::resident(&self.ensemble.pids())?;
        Ok(float(all.into_iter().max().unwrap_or(0)))
    }

    fn run(&mut self, row: &Row, options: &Options) -> Result<Figures> {
        match row.job {
            Job::Load { kind, connections, outstanding } => {
                self.load(&load_of(kind, connections, outstanding, options))
            }
            Job::Sessions { together } => {
                let pids = self.ensemble.pids();
                let before = usage::cpu(&pids)?;
                let seen = sessions::run(&self.ensemble.addresses()?, together, options.window)?;
                self.figures(&seen, usage::cpu(&pids)?.saturating_sub(before))
            }
            Job::FanOut => {
                let mut ms: Vec<f64> =
                    fan_out::run(&self.ensemble.addresses()?)?.into_iter().map(millis).collect();
                let worst = ms.iter().copied().fold(0.0, f64::max);
                Ok(Figures::from([(figures::MS, figures::median(&mut ms)), (figures::WORST, worst)]))
            }
            Job::Memory => self.memory(options),
            Job::Kill => self.gaps(gap::Fault::Kill, options.faults),
            Job::Hang => self.gaps(gap::Fault::Hang, 1),
            Job::Restart => self.restart(options.nodes),
            Job::Stall => self.stall(options),
        }
    }

    fn load(&self, load: &Load) -> Result<Figures> {
        let pids = self.ensemble.pids();
        let (mut before, mut behind) = (None, None);
        let addresses = self.ensemble.addresses()?;
        let seen = load::run(
            load,
            &addresses,
            || before = usage::cpu(&pids).ok(),
            || behind = usage::cpu(&pids).ok(),
        )?;
        let cpu = behind.context("a server is gone")?.saturating_sub(before.context("a server is gone")?);
        self.figures(&seen, cpu)
    }

    fn figures(&self, seen: &Measured, cpu: Duration) -> Result<Figures> {
        ensure!(seen.operations > 0, "nothing was answered");
        let operations = float(seen.operations);
        let us = |nanos: u64| float(nanos) / 1e3;
        Ok(Figures::from([
            (figures::RATE, operations / seen.window.as_secs_f64()),
            (figures::P50, us(seen.latency.value_at_quantile(0.5))),
            (figures::P99, us(seen.latency.value_at_quantile(0.99))),
            (figures::P999, us(seen.latency.value_at_quantile(0.999))),
            (figures::MAX, us(seen.latency.max())),
            (figures::ERRORS, float(seen.errors)),
            (figures::CPU, cpu.as_secs_f64() * 1e6 / operations),
            (figures::RESIDENT, self.resident()? / 1e6),
        ]))
    }

    fn memory(&self, options: &Options) -> Result<Figures> {
        let done = AtomicBool::new(false);
        let load = |kind| Load {
            kind,
            connections: 64,
            outstanding: 16,
            threads: options.threads,
            warm: Duration::ZERO,
            window: options.window,
        };
        let peak = thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut peak: f64 = 0.0;
                while !done.load(Ordering::Relaxed) {
                    peak = self.resident().map_or(peak, |now| peak.max(now));
                    thread::sleep(LOOK_EVERY);
                }
                peak
            });
            let outcome = self.load(&load(Kind::Get)).and_then(|_| self.load(&load(Kind::Set)));
            done.store(true, Ordering::Relaxed);
            outcome.map(|_| looking.join().unwrap_or_default())
        })?;
        Ok(Figures::from([(figures::RESIDENT, peak / 1e6)]))
    }

    fn gaps(&mut self, fault: gap::Fault, times: usize) -> Result<Figures> {
        let mut ms = Vec::new();
        for _ in 0..times {
            ms.push(millis(gap::run(&mut self.ensemble, fault)?));
        }
        let worst = ms.iter().copied().fold(0.0, f64::max);
        Ok(Figures::from([(figures::MS, figures::median(&mut ms)), (figures::WORST, worst)]))
    }

    fn restart(&mut self, nodes: u32) -> Result<Figures> {
        self.ensemble.stop_all()?;
        let took = self.ensemble.start_all()?;
        let mut seen = Figures::from([
            (figures::MS, millis(took)),
            (figures::BYTES, self.resident()? / f64::from(nodes)),
        ]);
        seen.extend(self.filled.map(|bytes| (figures::BYTES_FILLED, bytes)));
        Ok(seen)
    }

    fn stall(&mut self, options: &Options) -> Result<Figures> {
        let addresses = self.ensemble.addresses()?;
        // The first of the followers loses its data under way, and nobody talks to it.
        let victim = (0..ensemble::SERVERS)
            .find(|id| self.ensemble.address(*id) == addresses[0])
            .context("no follower")?;
        let mut owner = connection::open(&addresses[1..], 1)?.remove(0);
        let passing: Vec<String> =
            (0..EPHEMERALS).map(|number| format!("{TOP}/passing/e{number:06}")).collect();
        prepare::nodes(&mut owner, &passing, true)?;
        let load = Load {
            kind: Kind::Set,
            connections: 64,
            outstanding: 16,
            threads: options.threads,
            warm: WARM,
            window: options.window.max(Duration::from_secs(20)),
        };
        let mut events = Ok(());
        let ensemble = &mut self.ensemble;
        let seen =
            load::run(&load, &addresses[1..], || events = disturb(ensemble, &mut owner, victim), || {})?;
        events?;
        self.figures(&seen, Duration::ZERO).map(|mut seen| {
            seen.remove(figures::CPU);
            seen
        })
    }
}

fn load_of(kind: Kind, connections: usize, outstanding: usize, options: &Options) -> Load {
    Load { kind, connections, outstanding, threads: options.threads, warm: WARM, window: options.window }
}

/// Adds to the rows that are loads what an operation costs beside time, on sides that are up: system calls of each, and
/// allocations of ours, by a build whose allocator counts.
///
/// # Errors
/// If an answer is wrong, or one of the counters fails.
pub fn add_costs(
    outcomes: &mut [Outcome],
    sides: &mut [Side],
    counting: &Path,
    dir: &Path,
    options: &Options,
) -> Result<()> {
    let mut loads = Vec::new();
    let mut of = Vec::new();
    for (place, outcome) in outcomes.iter().enumerate() {
        if let Job::Load { kind, connections, outstanding } = outcome.row.job {
            loads.push(load_of(kind, connections, outstanding, options));
            of.push(place);
        }
    }
    for (load, place) in loads.iter().zip(&of) {
        let outcome = &mut outcomes[*place];
        for (side, figures) in sides.iter_mut().zip(&mut outcome.sides) {
            let calls = calls_of(side, load, dir)
                .with_context(|| format!("the system calls of {} on {}", outcome.row.name, side.name))?;
            figures.extend(costs::figures(Some(calls), None));
        }
    }
    let allocations = costs::allocations(counting, &loads, dir).context("allocations")?;
    for (count, place) in allocations.into_iter().zip(of) {
        if let Some(ours) = outcomes[place].sides.last_mut() {
            ours.extend(costs::figures(None, Some(count)));
        }
    }
    Ok(())
}

/// The system calls of an operation. A tracer can make servers slow enough to lose their leader for a moment.
fn calls_of(side: &mut Side, load: &Load, dir: &Path) -> Result<f64> {
    let mut attempt = 1;
    loop {
        side.ensemble.await_serving()?;
        match costs::calls(&side.ensemble, load, dir) {
            Err(error) if attempt < TRACED_MAX => eprintln!("{error:#}; once more"),
            calls => return calls,
        }
        attempt += 1;
    }
}

/// What happens while the load runs: ephemerals go, and a follower that has lost its data comes back.
fn disturb(ensemble: &mut Ensemble, owner: &mut connection::Connection, victim: usize) -> Result<()> {
    thread::sleep(Duration::from_secs(2));
    owner.call(1, |out| crate::frame::close(out, 1))?;
    thread::sleep(Duration::from_secs(2));
    ensemble.kill(victim)?;
    ensemble.wipe(victim)?;
    ensemble.restart(victim)?;
    ensemble.await_serving()
}

/// Runs a row on every side by turns, and returns the medians.
///
/// # Errors
/// If an answer is wrong, or a server fails.
pub fn measure(row: &Row, sides: &mut [Side], options: &Options) -> Result<Outcome> {
    let context = |side: &Side| format!("{} on {}", row.name, side.name);
    for side in &mut *sides {
        let warm = match row.job {
            Job::Load { .. } | Job::Sessions { .. } if side.java => JAVA_WARM_ROUNDS,
            Job::Load { .. } | Job::Sessions { .. } => 1,
            Job::FanOut | Job::Memory | Job::Kill | Job::Hang | Job::Restart | Job::Stall => 0,
        };
        for _ in 0..warm {
            let told = context(side);
            side.run(row, options).context(told)?;
        }
    }
    let mut runs = vec![Vec::new(); sides.len()];
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        // Whoever is measured first finds another machine: each is, by turns.
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let told = context(&sides[place]);
            // What the other side has left to be written would slow this one's syncs.
            rustix::fs::sync();
            runs[place].push(sides[place].run(row, options).context(told)?);
        }
    }
    Ok(Outcome { row: *row, sides: runs.iter().map(|runs| figures::medians(runs)).collect() })
}

#[expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
fn float(count: u64) -> f64 {
    count as f64
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
