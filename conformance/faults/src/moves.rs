//! Moves an ensemble in place from one maker's servers to the other's and back, one server at a time, under continuous
//! writes: the same data folders, the same zoo.cfg.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    conductor::{SERVING_PATIENCE, Trial},
    ensemble::{Ensemble, Servers},
};

/// Moves every server to the second kind, and back to the first. The ensemble is of the first.
///
/// # Errors
/// Says what was broken, with the last words of each server.
pub fn run(ensemble: Ensemble, first: &Servers, second: &Servers) -> Result<Value> {
    let mut trial = Trial::begin(ensemble, 8, 4)?;
    let outcome = there_and_back(&mut trial, first, second);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome
}

fn there_and_back(trial: &mut Trial, first: &Servers, second: &Servers) -> Result<Value> {
    let mut moved = 0;
    let mut writes = 0;
    for (direction, kind) in [("there", second), ("back", first)] {
        for id in trial.ensemble.ids() {
            let round = move_one(trial, id, kind).with_context(|| format!("{direction}, server {id}"))?;
            println!(
                "{direction}: server {id} moved, {} writes, longest gap {} ms",
                round.writes,
                round.gap.div_ceil(1000)
            );
            moved += 1;
            writes += round.writes;
        }
    }
    println!("{moved} moves; nothing acknowledged was lost or reordered");
    Ok(json!({"moves": moved, "writes": writes}))
}

fn move_one(trial: &mut Trial, id: usize, kind: &Servers) -> Result<crate::conductor::Round> {
    trial.run();
    trial.bury_two()?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    trial.ensemble.terminate(id, SERVING_PATIENCE)?;
    trial.ensemble.become_one_of(id, kind);
    trial.await_writes(200, SERVING_PATIENCE)?;
    trial.ensemble.start(id)?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    trial.judge()
}
