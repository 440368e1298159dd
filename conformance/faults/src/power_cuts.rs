//! Power cuts: servers over disks that hold what is not synced in memory, and lose a part of it.
//!
//! Killing a process keeps the page cache and proves nothing about syncs. Here each server is this binary again, with
//! the server's library over [`storage::disk::Cuttable`]; a line on its standard input cuts its power, dice choose
//! what of the unsynced arrives on disk, and the process aborts.

use std::{
    io::{self, BufRead},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use server::Config;
use storage::{
    RealDisk,
    disk::{Cuttable, Dice},
};

use crate::{conductor::Trial, ensemble::Ensemble, ledger::Broken, recordings, session::SERVING_PATIENCE};

/// How long a process may take from the cut to its end.
const CUT_PATIENCE: Duration = Duration::from_mins(1);

/// How many rounds may be repeated because a client was without contact for too long.
const REPEATS_MAX: usize = 3;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many cuts.
    pub cuts: usize,
    /// What the dice start from.
    pub seed: u64,
    /// How many clients write.
    pub clients: usize,
    /// How many requests each keeps under way.
    pub window: usize,
    /// Less acknowledged writes a second than this are no load, and fail.
    pub rate_min: u64,
}

/// Serves with a disk whose power can be cut; returns the exit code. Lines on standard input: `lie` lets every sync
/// from then on do nothing, `cut` cuts the power and ends the process.
///
/// # Errors
/// If the server cannot start.
pub fn serve(config: &Path, seed: u64) -> Result<u8> {
    let log = server::logging::init()?;
    let config = Config::load(config)?;
    // The layer is what is durable; the file system below need not be, for the machine goes on.
    let disk = Cuttable::new(RealDisk::new(false));
    let power = disk.clone();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match line.trim() {
                "lie" => power.lie(true),
                "cut" => {
                    if let Err(error) = power.cut(&mut Dice::new(seed)) {
                        eprintln!("the cut failed: {error}");
                    }
                    break;
                }
                unknown => eprintln!("{unknown:?} is no command"),
            }
        }
        // Standard input that ends without a word is a harness that is gone.
        std::process::abort();
    });
    Ok(server::run(config, disk, Some(log), std::future::pending())? as u8)
}

/// Carries out the plan, prints a line a round, and returns the whole as JSON.
///
/// # Errors
/// Says what was broken, with the last words of each server.
pub fn run(ensemble: Ensemble, plan: Plan) -> Result<Value> {
    let mut trial = Trial::begin(ensemble, plan.clients, plan.window)?;
    let outcome = rounds(&mut trial, plan);
    if outcome.is_err() {
        recordings::give_up(&mut trial);
    }
    let mut outcome = outcome?;
    outcome["recordings"] = recordings::conclude(trial)?;
    Ok(outcome)
}

/// A test of the test: all servers lose their power while their syncs do nothing. Something acknowledged is lost, and
/// must be seen to be.
///
/// A server may also find its log damaged and refuse to start. That is well, but shows nothing of the judge; another
/// ensemble of `ensembles` is tried then.
///
/// # Errors
/// If in no ensemble a loss is seen.
pub fn run_lying(ensembles: impl Iterator<Item = Result<Ensemble>>, plan: Plan) -> Result<Value> {
    let mut tried = 0;
    for ensemble in ensembles {
        tried += 1;
        let mut trial = Trial::begin(ensemble?, plan.clients, plan.window)?;
        match lie_and_cut(&mut trial) {
            Ok(()) => println!("attempt {tried}: no loss is seen"),
            Err(error) => match error.downcast::<Broken>() {
                Ok(broken) => {
                    println!("attempt {tried}: as it must be, with syncs that do nothing: {broken}");
                    return Ok(json!({"seen": broken.to_string(), "attempts": tried}));
                }
                Err(error) => println!("attempt {tried}: {error:#}"),
            },
        }
    }
    bail!("syncs do nothing, and in {tried} attempts no loss is seen: the judge is blind")
}

fn lie_and_cut(trial: &mut Trial) -> Result<()> {
    trial.run();
    trial.await_writes(300, SERVING_PATIENCE)?;
    let all = trial.ensemble.ids();
    trial.ensemble.command(&all, "lie")?;
    trial.await_writes(2_000, SERVING_PATIENCE)?;
    trial.ensemble.command(&all, "cut")?;
    trial.ensemble.await_ends(&all, CUT_PATIENCE)?;
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    // A client may see the loss already at its next acknowledgement.
    trial.await_writes(300, SERVING_PATIENCE)?;
    trial.judge().map(|_| ())
}

/// What was counted over the rounds.
#[derive(Default)]
struct Totals {
    cuts: [usize; 3],
    writes: u64,
    busy: Duration,
    busy_writes: u64,
    repeated: usize,
}

fn rounds(trial: &mut Trial, plan: Plan) -> Result<Value> {
    let mut dice = Dice::new(plan.seed);
    let mut totals = Totals::default();
    println!("seed {}", plan.seed);
    println!("{:>5}  {:>12}  {:>10}  {:>8}", "cuts", "of servers", "gap ms", "writes");
    while totals.cuts.iter().sum::<usize>() < plan.cuts {
        let named = cut_round(trial, &mut dice, &mut totals)?;
        let round = trial.judge()?;
        totals.writes += round.writes;
        let cuts: usize = totals.cuts.iter().sum();
        println!("{cuts:>5}  {named:>12}  {:>10}  {:>8}", round.gap.div_ceil(1000), round.writes);
        if round.inconclusive > 0 {
            totals.repeated += 1;
            println!("{cuts:>5}  inconclusive: {} sessions died of silence; again", round.inconclusive);
            ensure!(totals.repeated <= REPEATS_MAX, "more than {REPEATS_MAX} rounds were inconclusive");
            let last = named.split(',').count();
            totals.cuts[last - 1] -= 1;
        }
    }
    let rate = totals.busy_writes * 1000 / u64::try_from(totals.busy.as_millis())?.max(1);
    let [one, two, all] = totals.cuts;
    println!(
        "{one} cuts of one server, {two} of two, {all} of all, under {rate} acknowledged writes a second; nothing of \
         {} acknowledged writes was lost",
        totals.writes
    );
    ensure!(rate >= plan.rate_min, "{rate} acknowledged writes a second, {} are wanted", plan.rate_min);
    Ok(json!({
        "seed": plan.seed,
        "cuts_of_one": one,
        "cuts_of_two": two,
        "cuts_of_all": all,
        "writes": totals.writes,
        "writes_per_second": rate,
        "repeated": totals.repeated,
    }))
}

/// Cuts the power of one, two or all servers in the midst of writes, perhaps once more while they start, and has
/// everything serve again. Returns who was cut last.
fn cut_round(trial: &mut Trial, dice: &mut Dice, totals: &mut Totals) -> Result<String> {
    let (begun, acked) = (Instant::now(), trial.shared.acked());
    trial.run();
    trial.bury_two()?;
    trial.await_writes(300, SERVING_PATIENCE)?;
    pause(dice, 300);
    totals.busy += begun.elapsed();
    totals.busy_writes += trial.shared.acked() - acked;
    let mut victims = choose(dice, trial.ensemble.ids());
    loop {
        trial.ensemble.command(&victims, "cut")?;
        trial.ensemble.await_ends(&victims, CUT_PATIENCE)?;
        totals.cuts[victims.len() - 1] += 1;
        if victims.len() == 1 && dice.throw(2) == 0 {
            // The others must go on without it.
            trial.await_writes(100, SERVING_PATIENCE)?;
        }
        pause(dice, 100);
        trial.ensemble.start_all()?;
        if dice.throw(4) > 0 {
            break;
        }
        // Recovery must withstand a cut too. A process that has not opened its disk yet has nothing to lose.
        pause(dice, 60);
        victims = choose(dice, victims);
    }
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(300, SERVING_PATIENCE)?;
    Ok(victims.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// Between one and all of these, each number as likely.
fn choose(dice: &mut Dice, mut ids: Vec<usize>) -> Vec<usize> {
    let count = 1 + dice.throw(ids.len());
    while ids.len() > count {
        ids.remove(dice.throw(ids.len()));
    }
    ids
}

fn pause(dice: &mut Dice, most_ms: usize) {
    thread::sleep(Duration::from_millis(u64::try_from(dice.throw(most_ms)).unwrap_or(0)));
}
