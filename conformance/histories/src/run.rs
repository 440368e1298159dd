//! A run: rounds of clients under one nemesis each, on servers that go on from round to round, each round judged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use faults::{
    ensemble::{Ensemble, Host, Servers},
    hardships, session,
};

use crate::{
    client::{Log, Logged},
    dice::Dice,
    history::{FORMAT, Header, History, Reply, Request},
    judge::{self, Verdict},
    nemesis::{self, Nemesis, Victims},
    network::Network,
    report::Table,
    workload::{self, Workload},
};

/// How many servers.
const SERVERS: usize = 3;

/// Short ticks: a leader steps down, and a follower leaves it, after a second and a half of silence.
const LIMITS: &str = "tickTime=250\ninitLimit=40\nsyncLimit=6\n";

/// How long one nemesis goes on, at most and at least.
const ROUND: Duration = Duration::from_secs(12);
const ROUND_MIN: Duration = Duration::from_secs(3);

/// What a round takes beside: to begin, to end, to be read back from each server and to be judged.
const BESIDE: Duration = Duration::from_millis(2_800);

/// How long all may take to be read back once all is well.
const QUIET_PATIENCE: Duration = Duration::from_mins(1);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose servers.
    pub servers: Servers,
    /// Whether each reply names the zxid of the very state that it shows, and sync asks a quorum.
    pub strict: bool,
    /// Whether their wall clocks can be set: a JVM does not come up under faketime.
    pub clocks: bool,
    /// For how long.
    pub time: Duration,
    /// What the dice start from.
    pub seed: u64,
    /// By turns.
    pub nemeses: Vec<Nemesis>,
    /// All at once.
    pub workloads: Vec<Workload>,
    /// Where the servers keep what they have.
    pub dir: PathBuf,
}

/// Runs the plan until its time is over or a promise is broken; says so, round by round, and tells the counts so far.
///
/// Returns the counts, and where the failure is kept if there is one.
///
/// # Errors
/// If servers do not serve, or end by themselves.
pub fn run(plan: &Plan, told: &dyn Fn(&Table) -> Result<()>) -> Result<(Table, Option<PathBuf>)> {
    let network = Network::new(SERVERS)?;
    let clock = if plan.clocks { hardships::own_clock()? } else { Vec::new() };
    let with_clock = |host: Host| Host { enter: [host.enter, clock.clone()].concat(), ..host };
    let hosts: Vec<Host> = network.hosts().into_iter().map(with_clock).collect();
    let mut ensemble = Ensemble::on_hosts(plan.servers.clone(), &hosts, &plan.dir, LIMITS)?;
    for id in ensemble.ids() {
        hardships::set_clock(&ensemble, id, 0)?;
    }
    ensemble.start_all()?;
    let outcome = rounds(plan, &mut ensemble, &network, told);
    if outcome.is_err() {
        eprintln!("{}", ensemble.last_words());
    }
    outcome
}

fn rounds(
    plan: &Plan,
    ensemble: &mut Ensemble,
    network: &Network,
    told: &dyn Fn(&Table) -> Result<()>,
) -> Result<(Table, Option<PathBuf>)> {
    let began = Instant::now();
    let mut table = Table::default();
    // Every nemesis has its turn, if there is time for that.
    let turns = u32::try_from(plan.nemeses.len())?.max(1);
    let length = (plan.time / turns).saturating_sub(BESIDE).clamp(ROUND_MIN, ROUND);
    for number in 1.. {
        let left = plan.time.saturating_sub(began.elapsed());
        if number > 1 && left < Duration::from_secs(3) {
            break;
        }
        let nemesis = plan.nemeses[(number - 1) % plan.nemeses.len()];
        let round = Round { plan, number, nemesis, time: length.min(left) };
        let (history, faults) = round.play(ensemble, network)?;
        let verdict = judge::judge(&history);
        table.add(nemesis, &history, &faults, &verdict);
        table.seconds = began.elapsed().as_secs();
        println!("{}", round.line(&history, &faults, &verdict, began.elapsed()));
        told(&table)?;
        if !verdict.broken.is_empty() {
            let kept = keep(plan, ensemble, &history, &faults, &verdict)?;
            return Ok((table, Some(kept)));
        }
    }
    Ok((table, None))
}

struct Round<'a> {
    plan: &'a Plan,
    number: usize,
    nemesis: Nemesis,
    time: Duration,
}

impl Round<'_> {
    fn home(&self) -> String {
        format!("/h{}", self.number)
    }

    fn dice(&self, apart: u64) -> Dice {
        Dice::new(self.plan.seed, apart + 1_000 * u64::try_from(self.number).unwrap_or(0))
    }

    fn play(&self, ensemble: &mut Ensemble, network: &Network) -> Result<(History, Vec<String>)> {
        ensemble.await_serving(session::SERVING_PATIENCE)?;
        let servers: Vec<_> = ensemble.ids().into_iter().zip(ensemble.addresses()).collect();
        let (log, home, stop) = (Log::new(), self.home(), AtomicBool::new(false));
        self.prepare(&mut Logged::new(&log, "setup", &servers, self.dice(0)))?;
        let faults = thread::scope(|scope| {
            let mut apart = 1;
            for workload in &self.plan.workloads {
                for number in 0..workload.clients() {
                    let name = format!("{}-{number}", workload.name());
                    let mut client = Logged::new(&log, &name, &servers, self.dice(apart));
                    let (home, stop) = (&home, &stop);
                    scope.spawn(move || workload::run(*workload, number, home, &mut client, stop));
                    apart += 1;
                }
            }
            let mut victims = Victims { ensemble, network, clocks: self.plan.clocks, told: Vec::new() };
            let mut dice = self.dice(900);
            let suffered = victims.suffer(self.nemesis, self.time, &mut dice);
            let healed = victims.heal(&mut dice);
            let told = victims.told;
            let serving = suffered
                .and(healed)
                .and_then(|()| ensemble.await_serving(session::SERVING_PATIENCE).map(drop));
            stop.store(true, Ordering::Relaxed);
            serving.map(|()| told)
        })?;
        for server in &servers {
            let name = format!("{}{}", judge::servers::READER, server.0);
            let mut client = Logged::new(&log, &name, &[*server], self.dice(950));
            workload::read_back(&mut client, &home, &self.plan.workloads, QUIET_PATIENCE)
                .with_context(|| format!("on server {}, round {}", server.0, self.number))?;
        }
        let header = Header {
            format: FORMAT.to_owned(),
            seed: self.plan.seed,
            nemesis: self.nemesis.name().to_owned(),
            strict: self.plan.strict,
        };
        Ok((History { header, entries: log.take() }, faults))
    }

    /// Makes what is there from the start.
    fn prepare(&self, client: &mut Logged<'_>) -> Result<()> {
        let home = self.home();
        let mut paths = vec![home.clone()];
        for workload in &self.plan.workloads {
            paths.push(format!("{home}/{}", workload.name()));
            paths.extend(workload.registers(&home));
            paths.extend(workload.folders(&home));
        }
        paths.dedup();
        let deadline = Instant::now() + session::SERVING_PATIENCE;
        for path in paths {
            for attempt in 1.. {
                ensure!(Instant::now() < deadline, "{path} cannot be made");
                // Each attempt writes a value of its own: who wrote what is read is to be known.
                let value = format!("first of {path}, attempt {attempt}");
                let request = Request::Create { value, path: path.clone() };
                let made = |reply: &Reply| matches!(reply.code, 0 | -110);
                if client.connect() && client.call(request).as_ref().is_some_and(made) {
                    break;
                }
            }
        }
        client.close();
        Ok(())
    }

    fn line(&self, history: &History, faults: &[String], verdict: &Verdict, elapsed: Duration) -> String {
        let ops = history.entries.iter().filter(|entry| matches!(entry.what, crate::history::What::Op(_)));
        format!(
            "{:>5} s  round {:>3}  {:<9}  {:>3} faults  {:>6} operations  {:>8} checks  {}",
            elapsed.as_secs(),
            self.number,
            self.nemesis.name(),
            faults.len(),
            ops.count(),
            verdict.checks.values().sum::<u64>(),
            if verdict.broken.is_empty() { "all hold" } else { "BROKEN" }
        )
    }
}

/// Keeps the history, what was done to the servers, and all that they have.
fn keep(
    plan: &Plan,
    ensemble: &mut Ensemble,
    history: &History,
    faults: &[String],
    verdict: &Verdict,
) -> Result<PathBuf> {
    for id in ensemble.ids() {
        ensemble.kill(id)?;
    }
    let folder = plan.dir.join("failure");
    fs::create_dir_all(&folder)?;
    for home in nemesis::folders(ensemble) {
        copy(&home, &folder)?;
    }
    fs::write(folder.join("faults.txt"), faults.join("\n") + "\n")?;
    let broken: Vec<String> =
        verdict.broken.iter().map(|broken| format!("{}: {}", broken.rule, broken.what)).collect();
    fs::write(folder.join("broken.txt"), broken.join("\n") + "\n")?;
    let file = folder.join("history.jsonl");
    history.save(&file)?;
    tell(verdict);
    eprintln!("kept: {} (history, faults, each server's folder)", folder.display());
    eprintln!("judge it again: cargo xtask histories --judge {}", file.display());
    Ok(file)
}

fn copy(from: &Path, into: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(into).status()?;
    if !status.success() {
        bail!("{} cannot be copied into {}", from.display(), into.display());
    }
    Ok(())
}

/// Says what is broken.
pub fn tell(verdict: &Verdict) {
    for broken in verdict.broken.iter().take(10) {
        eprintln!("broken: {}: {}", broken.rule, broken.what);
    }
    if verdict.broken.len() > 10 {
        eprintln!("and {} more", verdict.broken.len() - 10);
    }
}
