//! How long nobody's writes are acknowledged when the leader goes.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::{
    connection::{self, Connection},
    ensemble::{Ensemble, SERVERS},
    frame,
    value::value,
    workload::own,
};

/// How the leader goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Killed (SIGKILL).
    Kill,
    /// Stopped (SIGSTOP): it is silent, and its sockets stay.
    Hang,
}

/// How long all is well before.
const BEFORE: Duration = Duration::from_millis(700);
/// How long writes must have come again.
const BEHIND: Duration = Duration::from_millis(1500);
/// How long they may take to come again.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a new session may take; a server that hangs answers nothing.
const SESSION_MAX: Duration = Duration::from_millis(500);
/// Between two attempts to find a server.
const BACK_OFF: Duration = Duration::from_millis(1);

/// Takes the leader away while three clients write, gives it back, and returns the longest gap.
///
/// # Errors
/// If writes do not come again.
pub fn run(ensemble: &mut Ensemble, fault: Fault) -> Result<Duration> {
    let leader = ensemble.leader()?;
    let addresses: Vec<SocketAddr> = (0..SERVERS).map(|id| ensemble.address(id)).collect();
    let acknowledged = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        for me in 0..SERVERS {
            let (addresses, acknowledged, stop) = (&addresses, &acknowledged, &stop);
            scope.spawn(move || write(addresses, me, acknowledged, stop));
        }
        let outcome = take_away(ensemble, leader, fault, &acknowledged);
        stop.store(true, Ordering::Relaxed);
        if fault == Fault::Hang {
            // Also lets a client go that waits for its answer.
            ensemble.signal(leader, Signal::CONT)?;
        }
        outcome
    })?;
    if fault == Fault::Kill {
        ensemble.restart(leader)?;
    }
    ensemble.await_serving()?;
    Ok(outcome)
}

fn take_away(
    ensemble: &mut Ensemble,
    leader: usize,
    fault: Fault,
    acknowledged: &Mutex<Vec<Instant>>,
) -> Result<Duration> {
    let seen = || acknowledged.lock().map(|times| times.clone()).unwrap_or_default();
    thread::sleep(BEFORE);
    let at = Instant::now();
    match fault {
        Fault::Kill => ensemble.kill(leader)?,
        Fault::Hang => ensemble.signal(leader, Signal::STOP)?,
    }
    loop {
        thread::sleep(Duration::from_millis(50));
        let times = seen();
        // The last write may be acknowledged just behind the fault: those before the gap are not those behind it.
        let gap = longest_gap(&times, at).context("nothing was acknowledged before")?;
        let now = Instant::now();
        let last = times.iter().max().copied().unwrap_or(at);
        let silent = now.saturating_duration_since(last);
        if now > at + BEHIND && silent < BEHIND / 3 && gap < now - at {
            return Ok(gap);
        }
        ensure!(now < at + PATIENCE, "nothing is acknowledged {PATIENCE:?} after the leader went");
    }
}

/// The longest time between two acknowledgements, of which the later lies behind `at`.
fn longest_gap(times: &[Instant], at: Instant) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let behind = times.windows(2).filter(|pair| pair[1] > at);
    behind.map(|pair| pair[1] - pair[0]).max().or_else(|| times.last().map(Instant::elapsed))
}

fn write(addresses: &[SocketAddr], me: usize, acknowledged: &Mutex<Vec<Instant>>, stop: &AtomicBool) {
    let mut number = me;
    let path = own(u32::try_from(me).unwrap_or(0));
    while !stop.load(Ordering::Relaxed) {
        // A failure is what is measured: the next server is asked.
        if session(addresses[number % SERVERS], &path, acknowledged, stop).is_err() {
            thread::sleep(BACK_OFF);
        }
        number += 1;
    }
}

fn session(
    address: SocketAddr,
    path: &str,
    acknowledged: &Mutex<Vec<Instant>>,
    stop: &AtomicBool,
) -> Result<()> {
    let mut connection = Connection::new(connection::dial(address, 0)?);
    frame::connect(&mut connection.out);
    connection.send()?;
    connection.patience = SESSION_MAX;
    connection::granted(&connection.next_blocking()?)?;
    connection.patience = PATIENCE;
    let mut xid: i32 = 0;
    while !stop.load(Ordering::Relaxed) {
        xid += 1;
        let set_value = value(path.as_bytes(), xid.unsigned_abs());
        connection.call(xid, |out| frame::set(out, xid, path.as_bytes(), &set_value))?;
        if let Ok(mut times) = acknowledged.lock() {
            times.push(Instant::now());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::longest_gap;

    #[test]
    fn only_gaps_behind_the_fault_count() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let times = [ms(0), ms(500), ms(510), ms(600), ms(620)];
        assert_eq!(longest_gap(&times, ms(505)), Some(Duration::from_millis(90)));
        assert_eq!(longest_gap(&times, ms(550)), Some(Duration::from_millis(90)));
        assert_eq!(longest_gap(&times, ms(605)), Some(Duration::from_millis(20)));
        assert_eq!(longest_gap(&[], start), None);
    }
}
