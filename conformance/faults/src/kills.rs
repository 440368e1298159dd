//! `kill -9` of the leader, and of all servers at once, under continuous writes.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    conductor::{Round, Trial},
    ensemble::Ensemble,
    recordings,
    session::SERVING_PATIENCE,
};

/// How many rounds may be repeated because a client was without contact for too long.
const REPEATS_MAX: usize = 3;

/// How many writes must be compared with all others of their session. Half of the clients begin their numbers anew with
/// each connection: those of which that is not so are compared as a whole.
const COMPARED_MIN: u64 = 300;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often to kill the leader.
    pub leader: usize,
    /// How often to kill all servers.
    pub all: usize,
    /// How many clients write.
    pub clients: usize,
    /// How many requests each keeps under way.
    pub window: usize,
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Leader,
    All,
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

/// Nobody is killed: under the writes of so many clients the leader is asked to end, and comes back. Nothing of the
/// recordings is missing then, so all that is committed of each session is compared, which kills leave open.
///
/// # Errors
/// As [`run`], and if the recordings miss something, or say too little.
pub fn orderly(ensemble: Ensemble, clients: usize, window: usize) -> Result<Value> {
    let mut trial = Trial::begin(ensemble, clients, window)?;
    let outcome = leader_comes_back(&mut trial);
    if outcome.is_err() {
        recordings::give_up(&mut trial);
    }
    let round = outcome?;
    let told = recordings::conclude(trial)?;
    ensure!(told["not_judged"] == json!([]), "not judged: {}", told["not_judged"]);
    let compared = told["writes_of_sessions"].as_u64().unwrap_or_default();
    ensure!(compared >= COMPARED_MIN, "{compared} writes were compared with all of their session");
    Ok(json!({"clients": clients, "window": window, "writes": round.writes, "recordings": told}))
}

fn leader_comes_back(trial: &mut Trial) -> Result<Round> {
    trial.run();
    trial.bury_two()?;
    trial.await_writes(500, SERVING_PATIENCE)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.ensemble.terminate(leader, SERVING_PATIENCE)?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    trial.judge()
}

fn rounds(trial: &mut Trial, plan: Plan) -> Result<Value> {
    let leaders = std::iter::repeat_n(Victim::Leader, plan.leader);
    let victims: Vec<Victim> = leaders.chain(std::iter::repeat_n(Victim::All, plan.all)).collect();
    let mut rows = Vec::new();
    let mut repeats = 0;
    println!("{:>5}  {:>8}  {:>10}  {:>8}", "round", "killed", "gap ms", "writes");
    for (index, victim) in victims.into_iter().enumerate() {
        let number = index + 1;
        loop {
            let (killed, round) = one(trial, victim).with_context(|| format!("round {number}"))?;
            let gap_ms = round.gap.div_ceil(1000);
            println!("{number:>5}  {killed:>8}  {gap_ms:>10}  {:>8}", round.writes);
            if round.inconclusive == 0 {
                rows.push(
                    json!({"round": number, "killed": killed, "gap_ms": gap_ms, "writes": round.writes}),
                );
                break;
            }
            repeats += 1;
            println!("{number:>5}  inconclusive: {} sessions died of silence; again", round.inconclusive);
            ensure!(repeats <= REPEATS_MAX, "{repeats} rounds were inconclusive; {REPEATS_MAX} are allowed");
        }
    }
    let mut gaps: Vec<u64> =
        rows.iter().filter(|row| row["killed"] != "all").filter_map(|row| row["gap_ms"].as_u64()).collect();
    gaps.sort_unstable();
    if let (Some(median), Some(worst)) = (gaps.get(gaps.len() / 2), gaps.last()) {
        println!(
            "leader killed: longest gap between acknowledged writes: median {median} ms, worst {worst} ms"
        );
    }
    println!("{} kills, {repeats} rounds repeated; nothing acknowledged was lost or reordered", rows.len());
    Ok(json!({
        "kills_of_leader": plan.leader,
        "kills_of_all": plan.all,
        "clients": plan.clients,
        "window": plan.window,
        "repeated": repeats,
        "rounds": rows,
    }))
}

fn one(trial: &mut Trial, victim: Victim) -> Result<(String, Round)> {
    trial.run();
    trial.bury_two()?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    thread::sleep(Duration::from_millis(500));
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let (victims, name) = match victim {
        Victim::Leader => (vec![leader], format!("leader {leader}")),
        Victim::All => (trial.ensemble.ids(), "all".to_owned()),
    };
    for id in &victims {
        trial.ensemble.kill(*id)?;
    }
    if victims.len() == 1 {
        // The others must go on without it.
        trial.await_writes(200, SERVING_PATIENCE)?;
    }
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    Ok((name, trial.judge()?))
}
