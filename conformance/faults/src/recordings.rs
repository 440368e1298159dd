//! What the servers of a trial have recorded, told again and judged.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::{conductor::Trial, ensemble::Ensemble, session::SERVING_PATIENCE};

/// Ends the servers of a trial, and judges their recordings. Null if they have none, as those of other makers.
///
/// # Errors
/// A rule is broken, or nothing could be told again.
pub fn conclude(trial: Trial) -> Result<Value> {
    let Trial { workers, mut ensemble, .. } = trial;
    drop(workers);
    judge(&mut ensemble)
}

/// As [`conclude`], of servers without clients.
///
/// # Errors
/// As there.
pub fn judge(ensemble: &mut Ensemble) -> Result<Value> {
    for id in ensemble.ids() {
        ensemble.terminate(id, SERVING_PATIENCE)?;
    }
    let all: Vec<_> = ensemble.ids().into_iter().map(|id| ensemble.dir(id).join("data")).collect();
    let (dirs, without): (Vec<_>, Vec<_>) = all.into_iter().partition(|dir| dir.join("recorder").is_dir());
    if dirs.is_empty() {
        return Ok(Value::Null);
    }
    ensure!(without.is_empty(), "servers of the same trial have recorded nothing: {without:?}");
    let report = judge::judge(&dirs, None)?;
    println!("recordings: {}", report.summary());
    if !report.is_clean() {
        bail!("the recordings break a rule:\n{report}");
    }
    Ok(report.json())
}
