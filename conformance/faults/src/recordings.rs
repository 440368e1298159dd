//! What the servers of a trial have recorded, told again and judged.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::{conductor::Trial, ensemble::Ensemble, session::SERVING_PATIENCE};

/// What every run of an ensemble under writes, with a server that goes and comes back, puts to the test. A judge that
/// passes over one of these has lost sight of the run.
const MUST_HOLD: [&str; 21] = [
    "CommittedLogMonotonicity",
    "DeliveredIsCommitted",
    "I-1",
    "I-10",
    "I-2",
    "I-5",
    "I-6",
    "I-9",
    "J-1",
    "J-3",
    "LeaderLogCompleteness",
    "PrefixConsistency",
    "R-1-order",
    "R-2",
    "R-3",
    "R-4",
    "R-7",
    "R-7-serving",
    "R-8",
    "S-13",
    "S-19",
];

/// From where a server is lost sight of, rules about what is committed are put to nothing more. As a rule that is nowhere
/// in a run. A gap in a recording, which a machine under load may leave, is allowed in the last third: a run that was
/// seen no further than that has judged little of what it is for.
const UNSEEN_PART: usize = 3;

/// Ends the servers of a trial, and judges their recordings. Null of other makers' servers, which have none.
///
/// # Errors
/// A rule is broken, one of those that any trial tests was not, or much of the run could not be judged.
pub fn conclude(trial: Trial) -> Result<Value> {
    let Trial { workers, mut ensemble, .. } = trial;
    drop(workers);
    judge(&mut ensemble)
}

/// Tells the last words of the servers of a trial that has failed, and ends them by asking: what they have recorded is
/// then whole, for whoever judges it later.
pub fn give_up(trial: &mut Trial) {
    eprintln!("{}", trial.ensemble.last_words());
    for id in trial.ensemble.ids() {
        if let Err(error) = trial.ensemble.terminate(id, SERVING_PATIENCE) {
            eprintln!("its recording may lack its end: {error}");
        }
    }
}

fn judge(ensemble: &mut Ensemble) -> Result<Value> {
    for id in ensemble.ids() {
        ensemble.terminate(id, SERVING_PATIENCE)?;
    }
    if !ensemble.records() {
        return Ok(Value::Null);
    }
    let dirs: Vec<_> = ensemble.ids().into_iter().map(|id| ensemble.dir(id).join("data")).collect();
    let without: Vec<_> = dirs.iter().filter(|dir| !dir.join("recorder").is_dir()).collect();
    ensure!(without.is_empty(), "servers have recorded nothing: {without:?}");
    let report = judge::judge(&dirs, None)?;
    println!("recordings: {}", report.summary());
    if !report.is_clean() {
        bail!("the recordings break a rule:\n{report}");
    }
    let silent: Vec<_> = MUST_HOLD.iter().filter(|rule| !report.tested.contains_key(*rule)).collect();
    ensure!(silent.is_empty(), "the recordings put these rules to no test: {silent:?}\n{report}");
    let (unseen, committed) = (report.committed_unseen, report.committed);
    ensure!(
        unseen * UNSEEN_PART <= committed,
        "{unseen} of {committed} transactions were committed out of sight:\n{report}"
    );
    let (lost, starts) = (report.not_judged.len(), usize::try_from(report.starts)?);
    ensure!(lost * 10 <= starts, "{lost} stretches of {starts} starts could not be judged:\n{report}");
    Ok(report.json())
}
