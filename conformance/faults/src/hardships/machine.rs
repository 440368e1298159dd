//! What a machine does to its servers: nobody reads the log, names are not known yet, clocks jump.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};

use super::{
    Figures,
    namespace::Namespace,
    place::{Place, await_true, join, make, ms, told, with_words, zxid},
};
use crate::{
    client::{Kind, Op},
    conductor::Trial,
    ensemble::Ensemble,
    session::SERVING_PATIENCE,
};

pub(super) fn full_pipe(place: &Place) -> Result<Figures> {
    let ensemble = place.ensemble(3, "", &["env", "RUST_LOG=debug"])?;
    let mut pipes = Vec::new();
    for id in ensemble.ids() {
        pipes.push(unread_pipe(&ensemble.dir(id).join("output"))?);
    }
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    trial.run();
    let addresses = trial.ensemble.addresses();
    // Each wrong frame is a line, which fills the pipe and the queue behind it.
    let lost =
        || -> Result<u64> { addresses.iter().map(|address| told(*address, "zk_log_lines_dropped")).sum() };
    let mut knocks = 0;
    while lost()? == 0 {
        ensure!(knocks < 100, "the pipes take everything: {knocks} rounds of noise dropped no line");
        knocks += 1;
        for address in &addresses {
            for _ in 0..200 {
                let mut stream = TcpStream::connect_timeout(address, Duration::from_secs(5))?;
                stream.write_all(&[0xff; 8])?;
            }
        }
    }
    trial.await_writes(500, SERVING_PATIENCE)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.ensemble.kill(leader)?;
    trial.await_writes(500, SERVING_PATIENCE)?;
    trial.ensemble.start_all()?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let round = trial.judge()?;
    let dropped = lost()?;
    let follower = leader % 3 + 1;
    let began = std::time::Instant::now();
    trial.ensemble.terminate(follower, Duration::from_secs(5)).context("with a full pipe")?;
    let ended = began.elapsed();
    // Whoever reads at last is told what he has missed.
    let other = follower % 3 + 1;
    let told_of = read_pipe(&mut pipes[other - 1], Duration::from_secs(3));
    ensure!(told_of.contains("log lines were dropped"), "the log does not say that lines are missing");
    Ok(vec![
        ("lines dropped", dropped, ""),
        ("writes acknowledged meanwhile", round.writes, ""),
        ("longest gap between writes, the leader killed", round.gap.div_ceil(1000), "ms"),
        ("from SIGTERM until the end", ms(ended), "ms"),
    ])
}

/// A named pipe that stands open and that nobody reads.
fn unread_pipe(path: &Path) -> Result<File> {
    let made = Command::new("mkfifo").arg(path).status()?;
    ensure!(made.success(), "no pipe can be made at {}", path.display());
    Ok(File::options().read(true).write(true).open(path)?)
}

/// What comes from a pipe in some time.
fn read_pipe(pipe: &mut File, time: Duration) -> String {
    let (sender, pieces) = std::sync::mpsc::channel();
    let Ok(mut pipe) = pipe.try_clone() else { return String::new() };
    // It waits for more until the process ends.
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    thread::sleep(time);
    String::from_utf8_lossy(&pieces.try_iter().flatten().collect::<Vec<u8>>()).into_owned()
}

pub(super) fn late_names(place: &Place) -> Result<Figures> {
    let namespace = Namespace::new()?;
    let hosts = place.dir.join("hosts");
    let switch = place.dir.join("nsswitch.conf");
    fs::write(&hosts, "127.0.0.1 localhost\n")?;
    fs::write(&switch, "hosts: files\n")?;
    for (file, over) in [(&hosts, "/etc/hosts"), (&switch, "/etc/nsswitch.conf")] {
        if !Path::new(over).exists() {
            fs::write(over, "").with_context(|| format!("there is no {over}"))?;
        }
        namespace.run(&["mount", "--bind", file.to_str().context("no plain name")?, over])?;
    }
    let wrapper = namespace.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut ensemble = place.ensemble(3, "", &wrapper)?;
    for id in ensemble.ids() {
        let config = ensemble.dir(id).join("zoo.cfg");
        let mut text = fs::read_to_string(&config)?;
        for other in ensemble.ids() {
            text = text
                .replace(&format!("server.{other}=127.0.0.1:"), &format!("server.{other}=zk-late-{other}:"));
        }
        fs::write(&config, text)?;
    }
    with_words(&mut ensemble, |ensemble| resolve_late(ensemble, &hosts))
}

fn resolve_late(ensemble: &mut Ensemble, hosts: &Path) -> Result<Figures> {
    ensemble.start_all()?;
    thread::sleep(Duration::from_secs(4));
    ensemble.check_alive().context("a server with unknown names does not stay")?;
    for id in ensemble.ids() {
        ensure!(ensemble.role(id).is_none(), "server {id} serves without a quorum");
        let output = ensemble.output(id)?;
        ensure!(output.contains("own name cannot be resolved"), "server {id} says nothing of its own name");
        let lines = output.lines().filter(|line| line.contains("cannot reach")).count();
        ensure!((1..=8).contains(&lines), "server {id} has {lines} lines on names it cannot reach");
    }
    let serves = |ensemble: &Ensemble, id: usize| ensemble.role(id).is_some();
    let name = |ids: &[usize]| -> Result<()> {
        let names: Vec<String> = ids.iter().map(|id| format!("zk-late-{id}")).collect();
        // Written in place: the mount holds on to this very file.
        Ok(fs::write(hosts, format!("127.0.0.1 localhost {}\n", names.join(" ")))?)
    };
    name(&[2, 3])?;
    let patience = Duration::from_secs(30);
    let quorum = await_true("two servers whose names are known", patience, || {
        Ok(serves(ensemble, 2) && serves(ensemble, 3))
    })?;
    ensure!(!serves(ensemble, 1), "server 1 serves though nobody knows its name");
    let mut client = join(ensemble.addresses()[1])?;
    make(&mut client, "/early", b"1".to_vec(), Kind::Persistent)?;
    name(&[1, 2, 3])?;
    let joined = await_true("the third, once its name is known", patience, || Ok(serves(ensemble, 1)))?;
    let mut third = join(ensemble.addresses()[0])?;
    ensure!(third.call(&Op::Sync("/".to_owned()))?.code == 0, "sync fails");
    ensure!(third.call(&Op::GetData("/early".to_owned()))?.code == 0, "the third has not everything");
    ensemble.check_alive()?;
    Ok(vec![
        ("from two names known until both served", ms(quorum), "ms"),
        ("from the third name known until it served", ms(joined), "ms"),
    ])
}

/// An hour, by which clocks are moved.
const HOUR_S: i64 = 3_600;

pub(super) fn wall_clock(place: &Place) -> Result<Figures> {
    let wrapper = own_clock()?;
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let ensemble = place.ensemble(3, "", &wrapper)?;
    for id in ensemble.ids() {
        set_clock(&ensemble, id, 0)?;
    }
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    let outcome = move_clocks(&mut trial);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome
}

/// What stands before a server's command line, so that [`set_clock`] sets the wall clock that it sees.
///
/// # Errors
/// If faketime is not installed.
pub fn own_clock() -> Result<Vec<String>> {
    let words = [
        "env".to_owned(),
        format!("LD_PRELOAD={}", faketime()?.display()),
        "FAKETIME_TIMESTAMP_FILE={home}/clock".to_owned(),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "FAKETIME_DONT_RESET=1".to_owned(),
    ];
    Ok(words.into())
}

fn faketime() -> Result<PathBuf> {
    for folder in fs::read_dir("/usr/lib")? {
        let path = folder?.path().join("faketime/libfaketimeMT.so.1");
        if path.exists() {
            return Ok(path);
        }
    }
    anyhow::bail!("there is no libfaketimeMT.so.1 below /usr/lib: install Debian's faketime")
}

/// Moves the wall clock of one server so many seconds from the true one.
///
/// # Errors
/// If the server's folder cannot be written.
pub fn set_clock(ensemble: &Ensemble, id: usize, by: i64) -> Result<()> {
    let (fresh, clock) = (ensemble.dir(id).join("clock.new"), ensemble.dir(id).join("clock"));
    fs::write(&fresh, format!("{by:+}\n"))?;
    Ok(fs::rename(fresh, clock)?)
}

fn move_clocks(trial: &mut Trial) -> Result<Figures> {
    trial.run();
    trial.await_writes(200, SERVING_PATIENCE)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let addresses = trial.ensemble.addresses();
    let looks = |ensemble: &Ensemble| -> Result<Vec<u64>> {
        ensemble.addresses().iter().map(|address| told(*address, "zk_looking_count")).collect()
    };
    let (looked, epoch) = (looks(&trial.ensemble)?, zxid(addresses[leader - 1])? >> 32);
    let mut worst = 0;
    let mut number = 0;
    // All forth, all back by two hours, followers apart from the leader, and home.
    let places = [(HOUR_S, HOUR_S), (-HOUR_S, -HOUR_S), (0, HOUR_S), (HOUR_S, -HOUR_S), (0, 0)];
    for (of_leader, of_others) in places {
        for id in trial.ensemble.ids() {
            set_clock(&trial.ensemble, id, if id == leader { of_leader } else { of_others })?;
        }
        // Longer than a session lasts without a sign of life, for every second place.
        thread::sleep(Duration::from_secs(4));
        trial.await_writes(200, SERVING_PATIENCE)?;
        for address in &addresses {
            number += 1;
            let away = clock_of_new_node(*address, &format!("/clock-{number}"), 1_000 * of_leader)?;
            ensure!(away < 1_000, "the ctime of a new node is {away} ms off the leader's wall clock");
            worst = worst.max(away);
        }
        ensure!(looks(&trial.ensemble)? == looked, "a server looked for a leader when clocks moved");
    }
    ensure!(trial.ensemble.await_serving(SERVING_PATIENCE)? == leader, "there is another leader");
    ensure!(zxid(addresses[leader - 1])? >> 32 == epoch, "there is another epoch");
    let mut expired = 0;
    for address in &addresses {
        expired += told(*address, "zk_stale_sessions_expired")?;
    }
    ensure!(expired == 0, "{expired} sessions expired when clocks moved");
    let round = trial.judge()?;
    ensure!(round.inconclusive == 0, "{} sessions died", round.inconclusive);
    Ok(vec![
        ("times the clocks were moved", u64::try_from(places.len())?, ""),
        ("ctime off the leader's wall clock, at most", worst, "ms"),
        ("longest gap between writes", round.gap.div_ceil(1000), "ms"),
        ("sessions expired", expired, ""),
    ])
}

/// How far the ctime of a node made now is from a clock that is so many milliseconds from this process's; nothing if
/// it lies between what that clock shows before and after.
fn clock_of_new_node(address: SocketAddr, path: &str, by: i64) -> Result<u64> {
    let clock = || -> Result<i64> {
        Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())? + by)
    };
    let mut client = join(address)?;
    let before = clock()?;
    make(&mut client, path, Vec::new(), Kind::Ephemeral)?;
    let after = clock()?;
    let (_, stat) = client.call(&Op::GetData(path.to_owned()))?.data()?;
    client.call(&Op::Close)?;
    Ok(stat.ctime.clamp(before, after).abs_diff(stat.ctime))
}
