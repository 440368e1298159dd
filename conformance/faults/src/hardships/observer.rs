//! An observer beside three voters: it serves and forwards, it may go at any time, and it keeps nobody in office.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Figures,
    place::{Place, await_true, join, make, ms, told, zxid},
};
use crate::{
    client::{self, Kind, Op},
    conductor::Trial,
    ensemble::{Ensemble, Role},
    session::SERVING_PATIENCE,
};

const OBSERVER: usize = 4;

/// How long an ensemble without a quorum is watched.
const WATCHED: Duration = Duration::from_secs(3);

pub(super) fn observer(place: &Place) -> Result<Figures> {
    let ensemble = place.observed(3, 1)?;
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    let outcome = observe(&mut trial);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome
}

fn observe(trial: &mut Trial) -> Result<Figures> {
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    says_what_it_is(&trial.ensemble, leader)?;
    reads_and_forwards(&trial.ensemble, leader)?;
    trial.run();
    trial.await_writes(500, SERVING_PATIENCE)?;

    // Killed under load: the voters do not notice, and it catches up.
    trial.ensemble.kill(OBSERVER)?;
    let looked = looks(&trial.ensemble)?;
    trial.await_writes(500, SERVING_PATIENCE)?;
    let (back, behind) = catches_up(trial, leader)?;
    ensure!(looks(&trial.ensemble)? == looked, "a voter looked for a leader when the observer was killed");

    // Without it and without one voter, two of three decide.
    let followers: Vec<usize> = (1..OBSERVER).filter(|id| *id != leader).collect();
    trial.ensemble.kill(OBSERVER)?;
    trial.ensemble.kill(followers[0])?;
    trial.await_writes(500, SERVING_PATIENCE)?;
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let first = trial.judge()?;
    same_end(&trial.ensemble)?;

    // With two of three voters dead nobody serves, though the observer lives.
    trial.run();
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let left = without_quorum(trial, leader)?;
    trial.ensemble.start_all()?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(500, SERVING_PATIENCE)?;

    // The leader goes, and the observer finds its successor.
    trial.ensemble.kill(leader)?;
    let observes = || Ok(trial.ensemble.role(OBSERVER) == Some(Role::Observer));
    let killed = Instant::now();
    await_true("the observer leaves the dead leader", SERVING_PATIENCE, || observes().map(|still| !still))?;
    await_true("the observer finds the next leader", SERVING_PATIENCE, observes)?;
    let found = killed.elapsed();
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(200, SERVING_PATIENCE)?;
    let second = trial.judge()?;
    same_end(&trial.ensemble)?;
    Ok(vec![
        ("writes acknowledged", first.writes + second.writes, ""),
        ("transactions that it lacked when it came back", behind, ""),
        ("from its start until it showed them", ms(back), "ms"),
        ("from the death of the second voter until nobody served", ms(left), "ms"),
        ("from the death of a leader until it observed the next", ms(found), "ms"),
    ])
}

/// What four-letter words say of it, and of those who vote.
fn says_what_it_is(ensemble: &Ensemble, leader: usize) -> Result<()> {
    let addresses = ensemble.addresses();
    ensure!(ensemble.role(OBSERVER) == Some(Role::Observer), "server {OBSERVER} does not observe");
    let words = client::four_letters(addresses[OBSERVER - 1], "mntr", Duration::from_secs(5))?;
    for line in ["zk_server_state\tobserver", "zk_peer_state\tobserving - broadcast"] {
        ensure!(words.lines().any(|found| found == line), "{line:?} is missing: {words}");
    }
    for (of, key, expected) in [
        (OBSERVER, "zk_quorum_size", 3),
        (OBSERVER, "zk_observer_master_id", u64::try_from(leader)?),
        (leader, "zk_quorum_size", 3),
        (leader, "zk_learners", 3),
        (leader, "zk_synced_followers", 2),
        (leader, "zk_synced_observers", 1),
    ] {
        let found = told(addresses[of - 1], key)?;
        ensure!(found == expected, "server {of} tells {key} {found}; {expected} was due");
    }
    Ok(())
}

/// A write through it, read from the leader; a write through the leader, read from it behind a sync; an ephemeral node
/// of a session at it.
fn reads_and_forwards(ensemble: &Ensemble, leader: usize) -> Result<()> {
    let addresses = ensemble.addresses();
    let (mut here, mut there) = (join(addresses[OBSERVER - 1])?, join(addresses[leader - 1])?);
    let reads = |client: &mut client::Client, path: &str| -> Result<Vec<u8>> {
        ensure!(client.call(&Op::Sync("/".to_owned()))?.code == 0, "sync fails");
        Ok(client.call(&Op::GetData(path.to_owned()))?.data()?.0)
    };
    make(&mut here, "/by-the-observer", b"1".to_vec(), Kind::Persistent)?;
    make(&mut here, "/goes-with-it", b"2".to_vec(), Kind::Ephemeral)?;
    ensure!(reads(&mut there, "/by-the-observer")? == b"1", "the leader shows something else");
    make(&mut there, "/by-the-leader", b"3".to_vec(), Kind::Persistent)?;
    ensure!(reads(&mut here, "/by-the-leader")? == b"3", "the observer shows something else");
    ensure!(here.call(&Op::Close)?.code == 0, "a session at the observer cannot be closed");
    let gone = there.call(&Op::GetData("/goes-with-it".to_owned()))?;
    ensure!(gone.code == -101, "an ephemeral node outlives its session at the observer");
    Ok(())
}

/// Starts it: how long until it shows what there was then, and how much that was.
fn catches_up(trial: &mut Trial, leader: usize) -> Result<(Duration, u64)> {
    let addresses = trial.ensemble.addresses();
    let goal = zxid(addresses[leader - 1])?;
    trial.ensemble.start(OBSERVER)?;
    let mut first = None;
    let took = await_true("the observer has what was written without it", SERVING_PATIENCE, || {
        let shown = zxid(addresses[OBSERVER - 1]).ok();
        first = first.or(shown);
        Ok(shown.is_some_and(|shown| shown >= goal))
    })?;
    let output = trial.ensemble.output(OBSERVER)?;
    let last = output.rsplit_once("the data is loaded").context("it does not say what it has loaded")?;
    let loaded = last.1.split("zxid=").nth(1).and_then(|text| text.split_whitespace().next());
    let (_, loaded) = loaded.and_then(|text| text.split_once(':')).context("it has loaded no transaction")?;
    let behind = (goal & 0xffff_ffff).saturating_sub(loaded.parse().unwrap_or(0));
    Ok((took, behind))
}

/// Kills all voters but one that leads or would: how long until nobody serves, and nothing is acknowledged from then on.
fn without_quorum(trial: &mut Trial, leader: usize) -> Result<Duration> {
    for id in (1..OBSERVER).filter(|id| *id != leader) {
        trial.ensemble.kill(id)?;
    }
    let ensemble = &trial.ensemble;
    let silent = await_true("leader and observer serve no longer", SERVING_PATIENCE, || {
        Ok(ensemble.role(leader).is_none() && ensemble.role(OBSERVER).is_none())
    })?;
    // What was acknowledged before may still be on its way.
    thread::sleep(Duration::from_millis(200));
    let acked = trial.shared.acked();
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        for id in [leader, OBSERVER] {
            ensure!(
                trial.ensemble.role(id).is_none(),
                "server {id} serves beside an observer, without a quorum"
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    ensure!(trial.shared.acked() == acked, "writes were acknowledged without a quorum");
    trial.ensemble.check_alive()?;
    Ok(silent)
}

/// How often each voter that runs has looked for a leader.
fn looks(ensemble: &Ensemble) -> Result<Vec<u64>> {
    let voters = ensemble.addresses().into_iter().take(OBSERVER - 1);
    voters.map(|address| told(address, "zk_looking_count")).collect()
}

/// Every server comes to show the same last transaction.
fn same_end(ensemble: &Ensemble) -> Result<()> {
    let addresses = ensemble.addresses();
    await_true("one end of all logs", Duration::from_secs(10), || {
        let ends: Vec<_> = addresses.iter().map(|address| zxid(*address)).collect::<Result<_>>()?;
        Ok(ends.iter().all(|end| *end == ends[0]))
    })
    .map(drop)
}
