//! Shows from outside that nothing is said before it is on disk: the real binary under `strace`, its writes, syncs and
//! sends in one order of time.
//!
//! - ACK, ACKEPOCH and a vote for itself: the transaction is durable on that server;
//! - LEADERINFO and ACKEPOCH: the promised epoch is; ACK of NEWLEADER: the joined epoch is;
//! - COMMIT and every reply to a client: the transaction is durable on two of three servers.
//!
//! The times are those at which the tracers saw a call begin and end. A sync's end that leads to a send is seen before
//! the send begins, on whichever server, so what is in order is never found out of order; what is out of order by less
//! than a sync takes may be missed in one run, and is not in the next.

mod claims;
mod durable;
mod trace;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use claims::{Claim, Ports, Said, Speech, opens_epoch};
use durable::Disk;
use serde_json::{Value, json};

use crate::{conductor::Trial, ensemble::Ensemble, session::SERVING_PATIENCE};

/// Traced calls that could say or keep anything.
const CALLS: &str =
    "trace=openat,write,pwrite64,writev,pwritev,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2";

/// What stands before the server on its command line.
///
/// The tracer is the server's grandchild (`-D`), so that a kill hits the server, and `trace-N` is that of start `N`.
pub fn wrapper() -> Vec<String> {
    let words = ["strace", "-D", "-f", "-yy", "-xx", "-s", "16777216", "--absolute-timestamps=unix,ns"];
    let rest = ["--syscall-times=ns", "-o", "trace-{start}", "-e", CALLS];
    words.iter().chain(&rest).map(ToString::to_string).collect()
}

/// How long tracers may take to write what they saw.
const TRACE_PATIENCE: Duration = Duration::from_mins(1);

/// How often each server is started.
const STARTS_MAX: usize = 8;

/// Writes, kills and starts servers under their tracers, and judges every claim. With `blind`, servers do not sync
/// (`forceSync=no`), and claims ahead of their syncs must be found.
///
/// # Errors
/// Names claims that were ahead of their syncs; with `blind`, if there are none.
pub fn run(ensemble: Ensemble, blind: bool) -> Result<Value> {
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    let outcome = exercise(&mut trial);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome?;
    for id in trial.ensemble.ids() {
        trial.ensemble.terminate(id, SERVING_PATIENCE)?;
    }
    let verdict = judge(&trial.ensemble)?;
    println!("{} claims, {} of them ahead of their syncs", verdict.claims, verdict.ahead.len());
    for line in verdict.ahead.iter().take(10) {
        println!("  {line}");
    }
    for (by, count) in &verdict.kinds {
        println!("{by:>16}: {count}");
    }
    if blind {
        ensure!(!verdict.ahead.is_empty(), "servers that do not sync pass: the judge is blind");
    } else {
        ensure!(verdict.ahead.is_empty(), "{} claims were ahead of their syncs", verdict.ahead.len());
        for needed in ["ACK", "ACKEPOCH", "ACK of NEWLEADER", "LEADERINFO", "COMMIT", "reply", "vote"] {
            ensure!(verdict.kinds.iter().any(|(by, _)| *by == needed), "no {needed} was seen");
        }
    }
    Ok(json!({
        "claims": verdict.claims,
        "ahead": verdict.ahead.len(),
        "kinds": verdict.kinds.iter().map(|(by, count)| ((*by).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
    }))
}

/// Writes through a kill of the leader and one of all servers, so that epochs are promised and joined and logs
/// recovered.
fn exercise(trial: &mut Trial) -> Result<()> {
    trial.run();
    trial.await_writes(200, SERVING_PATIENCE)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.ensemble.kill(leader)?;
    trial.await_writes(100, SERVING_PATIENCE)?;
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(100, SERVING_PATIENCE)?;
    for id in trial.ensemble.ids() {
        trial.ensemble.kill(id)?;
    }
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.await_writes(100, SERVING_PATIENCE)?;
    trial.judge()?;
    Ok(())
}

struct Verdict {
    claims: usize,
    ahead: Vec<String>,
    kinds: Vec<(&'static str, usize)>,
}

fn judge(ensemble: &Ensemble) -> Result<Verdict> {
    let ports = Ports {
        client: ensemble.addresses().iter().map(std::net::SocketAddr::port).collect(),
        quorum: ensemble.quorum_ports().collect(),
        election: ensemble.election_ports().collect(),
    };
    let mut servers = Vec::new();
    for id in ensemble.ids() {
        servers.push(follow(ensemble, id)?);
    }
    let announced = servers.iter().flat_map(|(_, speech)| speech.announced(&ports)).collect();
    let disks: Vec<&Disk> = servers.iter().map(|(disk, _)| disk).collect();
    let mut verdict = Verdict { claims: 0, ahead: Vec::new(), kinds: Vec::new() };
    for (index, (disk, speech)) in servers.iter().enumerate() {
        let claims = speech.claims(i64::try_from(index + 1)?, &ports, &announced);
        for said in &claims {
            verdict.claims += 1;
            match verdict.kinds.iter_mut().find(|(by, _)| *by == said.by) {
                Some((_, count)) => *count += 1,
                None => verdict.kinds.push((said.by, 1)),
            }
            if let Some(why) = ahead(said, disk, &disks) {
                verdict.ahead.push(format!(
                    "server {}: {} {:x?} at {}: {why}",
                    index + 1,
                    said.by,
                    said.claim,
                    said.at
                ));
            }
        }
    }
    ensure!(verdict.claims > 0, "nothing was traced");
    Ok(verdict)
}

/// Why a claim was ahead of its sync, if it was.
fn ahead(said: &Said, disk: &Disk, disks: &[&Disk]) -> Option<String> {
    let since = |time: Option<u64>| match time {
        Some(time) if time <= said.at => None,
        Some(time) => Some(format!("durable {} ns later", time - said.at)),
        None => Some("never durable".to_owned()),
    };
    match said.claim {
        Claim::Logged(zxid) | Claim::Decided(zxid) if opens_epoch(zxid) => None,
        Claim::Logged(zxid) => since(disk.txn(zxid)),
        Claim::Promised(epoch) => since(disk.accepted(epoch)),
        Claim::Joined(epoch) => since(disk.current(epoch)),
        Claim::Decided(zxid) => {
            let mut times: Vec<u64> = disks.iter().filter_map(|disk| disk.txn(zxid)).collect();
            times.sort_unstable();
            since(times.get(disks.len() / 2).copied())
        }
    }
}

/// Everything that one server did, over all its starts.
fn follow(ensemble: &Ensemble, id: usize) -> Result<(Disk, Speech)> {
    let (mut disk, mut speech) = (Disk::default(), Speech::default());
    let mut traces = 0;
    for start in 1..=STARTS_MAX {
        let path = ensemble.dir(id).join(format!("trace-{start}"));
        if !path.exists() {
            break;
        }
        let deadline = Instant::now() + TRACE_PATIENCE;
        let text = loop {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            if trace::is_whole(&text) {
                break text;
            }
            ensure!(Instant::now() < deadline, "{} does not come to its end", path.display());
            thread::sleep(Duration::from_millis(100));
        };
        let mut calls = trace::parse(&text);
        for call in &calls {
            disk.follow(call);
        }
        calls.sort_by_key(|call| call.begin);
        for call in &calls {
            speech.follow(call);
        }
        traces += 1;
    }
    ensure!(traces > 0, "server {id} was not traced");
    println!("server {id}: {traces} traces, {} transactions durable", disk.txn_count());
    Ok((disk, speech))
}
