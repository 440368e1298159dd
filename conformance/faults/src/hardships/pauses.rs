//! Servers of an ensemble that are stopped for a while (SIGSTOP), and go on as if nothing had been.

use std::{
    io::{self, ErrorKind, Read as _},
    net::{Shutdown, SocketAddr},
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};

use super::{
    Figures,
    place::{self, Memory, Place, await_true, join, make, ms, told, zxid},
    probe::{Flood, flooded},
};
use crate::{
    client::{Client, ConnectError, Kind, Op},
    conductor::Trial,
    ensemble::{Ensemble, Role},
    session::{SERVING_PATIENCE, SESSION_TIMEOUT_MS},
};

/// How long the follower is stopped at least, and by when its queue must be full.
const STOPPED: Duration = Duration::from_secs(10);
const DROPPED_WITHIN: Duration = Duration::from_mins(1);
/// The size of a set of the flood, and how many are under way.
const SET_BYTES: usize = 64 << 10;
const SETS_UNDER_WAY: usize = 32;
/// How much of the leader's memory a follower that does not read may cost, in KiB: the queue that drops it at 64 MiB,
/// three times, for it is copied into twice its room when it grows, and 32 MiB for what is under way.
const GROWTH_MAX_KIB: u64 = (3 * 64 + 32) << 10;

/// How often a client hangs up behind a write, how large that is, and how long it tries to have it taken.
const HANG_UPS: i32 = 40;
const WRITE_BYTES: usize = 900_000;
const TAKEN_WITHIN: Duration = Duration::from_millis(200);
/// How many of those are to be under way: 8 MiB of them, and what comes in between.
const UNDER_WAY: RangeInclusive<u64> = 9..=16;
/// What they may cost the leader, in KiB: each is in a batch for the disk and in the queues of two followers.
const UNDER_WAY_MAX_KIB: u64 = 96 << 10;

/// Shows the last words of the servers where a trial fails.
fn with_words<T>(trial: &mut Trial, run: impl FnOnce(&mut Trial) -> Result<T>) -> Result<T> {
    let outcome = run(trial);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome
}

pub(super) fn follower(place: &Place) -> Result<Figures> {
    // Silence is not what drops it here: the queue must.
    let ensemble = place.ensemble(3, "syncLimit=200\n", &[])?;
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    with_words(&mut trial, stop_follower)
}

fn stop_follower(trial: &mut Trial) -> Result<Figures> {
    trial.run();
    trial.await_writes(200, SERVING_PATIENCE)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let addresses = trial.ensemble.addresses();
    let follower = leader % 3 + 1;
    let flood = Flood::start(addresses[leader - 1], "/flood", SET_BYTES, SETS_UNDER_WAY)?;
    // The committed window is full behind this, and the memory what it is.
    let warm = || Ok(flood.acked() > 1_000);
    await_true("a thousand large sets", SERVING_PATIENCE, warm)?;
    let memory = Memory::watch(&trial.ensemble, leader)?;
    let (before_kib, before) = (memory.now()?, flood.acked());
    trial.ensemble.signal(follower, "STOP")?;
    let stopped = Instant::now();
    let dropped = |ensemble: &Ensemble| {
        ensemble.output(leader).map(|text| text.contains("a link broke, or did not take what was sent"))
    };
    let drop_time =
        await_true("the leader drops the stopped follower", DROPPED_WITHIN, || dropped(&trial.ensemble));
    thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
    let flooded_mib = ((flood.acked() - before) * u64::try_from(SET_BYTES)?) >> 20;
    let growth = memory.peak()?.saturating_sub(before_kib);
    let behind = zxid(addresses[leader - 1])?;
    trial.ensemble.signal(follower, "CONT")?;
    ensure!(growth <= GROWTH_MAX_KIB, "the leader grew by {growth} KiB; {GROWTH_MAX_KIB} are allowed");
    let drop_time = drop_time?;
    let caught_up = || Ok(zxid(addresses[follower - 1]).is_ok_and(|zxid| zxid >= behind));
    let back = await_true("the follower has what was written without it", SERVING_PATIENCE, caught_up)?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let last = flood.end()?;
    ensure!(trial.ensemble.role(leader) == Some(Role::Leader), "the leader changed");
    let round = trial.judge()?;
    ensure!(round.inconclusive == 0, "{} sessions died", round.inconclusive);
    for address in &addresses {
        let found = flooded(*address, "/flood")?;
        ensure!(found == last, "{address} shows set {found} of the flood; {last} was acknowledged");
    }
    Ok(vec![
        ("flooded while it was stopped", flooded_mib, "MiB"),
        ("until the leader dropped it", ms(drop_time), "ms"),
        ("memory of the leader before", before_kib, "KiB"),
        ("more at most while it was stopped", growth, "KiB"),
        ("from SIGCONT until it showed all that was written meanwhile", ms(back), "ms"),
        ("writes acknowledged to others", round.writes, ""),
        ("longest gap between them", round.gap.div_ceil(1000), "ms"),
    ])
}

pub(super) fn leader(place: &Place) -> Result<Figures> {
    // Four seconds of silence.
    let ensemble = place.ensemble(3, "syncLimit=8\n", &[])?;
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    with_words(&mut trial, stop_leader)
}

fn stop_leader(trial: &mut Trial) -> Result<Figures> {
    trial.run();
    trial.await_writes(200, SERVING_PATIENCE)?;
    let old = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let address = trial.ensemble.addresses()[old - 1];
    let mut client = join(address)?;
    make(&mut client, "/of-the-old-leader", b"0".to_vec(), Kind::Persistent)?;
    let old_epoch = zxid(address)? >> 32;
    trial.ensemble.signal(old, "STOP")?;
    let stopped = Instant::now();
    // It waits in the old leader's buffer, and must not be decided by it.
    let set = Op::SetData { path: "/of-the-old-leader".to_owned(), data: b"1".to_vec() };
    let xid = client.send(&set)?;
    let others: Vec<usize> = trial.ensemble.ids().into_iter().filter(|id| *id != old).collect();
    let leads = |ensemble: &Ensemble| others.iter().any(|id| ensemble.role(*id) == Some(Role::Leader));
    await_true("another leader", SERVING_PATIENCE, || Ok(leads(&trial.ensemble)))?;
    let elected = stopped.elapsed();
    trial.await_writes(500, SERVING_PATIENCE)?;
    trial.ensemble.signal(old, "CONT")?;
    let resumed = Instant::now();
    let (mut claimed, mut back) = (Duration::ZERO, None);
    while resumed.elapsed() < Duration::from_secs(3) {
        match trial.ensemble.role(old) {
            Some(Role::Leader) => claimed = resumed.elapsed(),
            Some(Role::Follower) => back = back.or(Some(resumed.elapsed())),
            Some(Role::Observer) | None => {}
        }
        thread::sleep(Duration::from_millis(5));
    }
    let back = back.context("the old leader does not follow within 3 s")?;
    ensure!(claimed < Duration::from_secs(1), "the old leader says for {claimed:?} that it leads");
    judge_answer(&mut client, xid, old_epoch)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    ensure!(leader != old, "the old leader leads again");
    trial.await_writes(200, SERVING_PATIENCE)?;
    let round = trial.judge()?;
    ensure!(round.inconclusive == 0, "{} sessions died", round.inconclusive);
    same_everywhere(&trial.ensemble.addresses())?;
    Ok(vec![
        ("until another one led (4 s of silence among them)", ms(elected), "ms"),
        ("longest gap between writes", round.gap.div_ceil(1000), "ms"),
        ("the old leader said it led, after SIGCONT", ms(claimed), "ms"),
        ("from SIGCONT until it followed", ms(back), "ms"),
        ("writes", round.writes, ""),
    ])
}

/// What became of a write that a leader found in its buffers when it led no more: never a transaction of its epoch.
fn judge_answer(client: &mut Client, xid: i32, old_epoch: u64) -> Result<()> {
    client.stream().set_read_timeout(Some(Duration::from_secs(10)))?;
    let reply = match client.receive() {
        Ok(reply) => reply,
        // A broken connection is what is to be expected; silence is not.
        Err(error) => {
            return if hangs_up(&error) { Ok(()) } else { Err(error.context("what the old leader answers")) };
        }
    };
    ensure!(reply.xid == xid, "reply to request {} where {xid} was due", reply.xid);
    let epoch = reply.zxid.cast_unsigned() >> 32;
    ensure!(
        reply.code != 0 || epoch > old_epoch,
        "the old leader decided 0x{:x} in its epoch, behind its back",
        reply.zxid
    );
    Ok(())
}

/// Whether a connection is over: neither silence nor an answer that makes no sense.
fn hangs_up(error: &Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
        )
    })
}

fn same_everywhere(addresses: &[SocketAddr]) -> Result<()> {
    let mut first = None;
    for address in addresses {
        let mut client = join(*address)?;
        client.call(&Op::Sync("/".to_owned()))?;
        let found = client.call(&Op::GetData("/of-the-old-leader".to_owned()))?.data()?.0;
        let same = first.get_or_insert_with(|| found.clone());
        ensure!(*same == found, "servers differ in what a write to the old leader became");
    }
    first.context("no server was asked").map(|_| ())
}

pub(super) fn hang_ups(place: &Place) -> Result<Figures> {
    // Twenty seconds of silence.
    let mut ensemble = place.ensemble(3, "syncLimit=40\n", &[])?;
    ensemble.start_all()?;
    place::with_words(&mut ensemble, hang_up_behind_writes)
}

fn hang_up_behind_writes(ensemble: &mut Ensemble) -> Result<Figures> {
    let leader = ensemble.await_serving(SERVING_PATIENCE)?;
    let address = ensemble.addresses()[leader - 1];
    let mut client = join(address)?;
    make(&mut client, "/written", Vec::new(), Kind::Persistent)?;
    let mut other = join(address)?;
    let proof =
        Op::Authenticate { scheme: "digest".to_owned(), secret: format!("other:{}", "x".repeat(100)) };
    ensure!(other.call(&proof)?.code == 0, "somebody else cannot prove who it is");
    let followers: Vec<usize> = ensemble.ids().into_iter().filter(|id| *id != leader).collect();
    let memory = Memory::watch(ensemble, leader)?;
    let before_kib = memory.now()?;
    for follower in &followers {
        ensemble.signal(*follower, "STOP")?;
    }
    let stopped = Instant::now();
    let taken = (1..=HANG_UPS).filter(|number| hang_up(address, &client, *number * 2)).count();
    let under_way = told(address, "zk_outstanding_requests");
    other.stream().set_read_timeout(Some(Duration::from_secs(2)))?;
    let lives = other.call(&Op::Ping);
    let (took, growth) = (stopped.elapsed(), memory.peak()?.saturating_sub(before_kib));
    for follower in &followers {
        ensemble.signal(*follower, "CONT")?;
    }
    let under_way = under_way?;
    ensure!(lives.is_ok_and(|reply| reply.code == 0), "somebody else's sign of life is not answered");
    ensure!(
        took < Duration::from_secs(18),
        "it took {took:?}, and the followers are silent for 20 s at most"
    );
    ensure!(UNDER_WAY.contains(&under_way), "{under_way} writes are under way");
    ensure!(growth < UNDER_WAY_MAX_KIB, "clients that hang up cost the leader {growth} KiB");
    let over = || Ok(told(address, "zk_outstanding_requests")? == 0);
    let over = await_true("what was under way is over", SERVING_PATIENCE, over)?;
    ensure!(ensemble.role(leader) == Some(Role::Leader), "the leader changed");
    let stat = join(address)?.call(&Op::GetData("/written".to_owned()))?.data()?.1;
    ensure!(
        u64::try_from(stat.version)? >= under_way,
        "{} of {under_way} writes were carried out",
        stat.version
    );
    Ok(vec![
        ("writes that were taken", u64::try_from(taken)?, ""),
        ("writes under way behind them", under_way, ""),
        ("memory more at most", growth, "KiB"),
        ("from SIGCONT until they were over", ms(over), "ms"),
    ])
}

/// Goes on with a session over a connection of its own, writes, and hangs up. Whether the server has taken that: the next
/// connection of the session ends this one, whatever is unread of it.
fn hang_up(to: SocketAddr, client: &Client, number: i32) -> bool {
    let connected: Result<Client, ConnectError> =
        Client::connect(to, Some(client.session()), SESSION_TIMEOUT_MS, 0, TAKEN_WITHIN);
    let Ok(mut connected) = connected else { return false };
    connected.number_from(number);
    let set = Op::SetData { path: "/written".to_owned(), data: vec![7; WRITE_BYTES] };
    if connected.send(&set).is_err() || connected.stream().shutdown(Shutdown::Write).is_err() {
        return false;
    }
    matches!(connected.stream().read(&mut [0]), Ok(0))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn silence_is_no_broken_connection() {
        let met = |kind: ErrorKind| Error::new(io::Error::from(kind)).context("a reply");
        assert!(hangs_up(&met(ErrorKind::UnexpectedEof)) && hangs_up(&met(ErrorKind::ConnectionReset)));
        assert!(!hangs_up(&met(ErrorKind::WouldBlock)) && !hangs_up(&met(ErrorKind::TimedOut)));
        assert!(!hangs_up(&anyhow!("a frame of negative length")));
    }
}
