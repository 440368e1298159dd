//! Folders that are in use, and disks that are full.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Figures,
    namespace::Namespace,
    place::{Place, ms},
    probe::{Flood, flooded},
};
use crate::{conductor::Trial, ensemble::Ensemble, session::SERVING_PATIENCE};

/// How long a server that cannot start may take to say so.
const REFUSAL_MAX: Duration = Duration::from_secs(5);

/// How a server ended that was to.
struct Ended {
    code: Option<i32>,
    words: String,
    took: Duration,
}

/// Runs a server that is to end by itself.
fn run_to_end(binary: &Path, home: &Path, config: &str) -> Result<Ended> {
    fs::create_dir_all(home)?;
    let path = home.join("zoo.cfg");
    fs::write(&path, config)?;
    let output = home.join("output");
    let file = fs::File::create(&output)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(binary).arg("serve").arg(&path);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let (mut child, began) = (command.spawn()?, Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            let words = fs::read_to_string(&output)?;
            return Ok(Ended { code: status.code(), words, took: began.elapsed() });
        }
        if began.elapsed() > REFUSAL_MAX {
            child.kill()?;
            child.wait()?;
            bail!("it does not end within {REFUSAL_MAX:?}; it said: {}", fs::read_to_string(&output)?);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn shared_folder(place: &Place) -> Result<Figures> {
    let ensemble = place.ensemble(3, "", &[])?;
    let mut trial = Trial::begin(ensemble, 2, 2)?;
    trial.run();
    let other = place.dir.join("other");
    fs::create_dir_all(other.join("data"))?;
    fs::write(other.join("data/myid"), "1\n")?;
    let seconds = seconds(&trial.ensemble, &other.join("data"))?;
    let (ways, mut longest) = (u64::try_from(seconds.len())?, Duration::ZERO);
    for second in seconds {
        let what = second.what;
        trial.await_writes(20, SERVING_PATIENCE)?;
        let ended = run_to_end(&place.binary, &other, &second.config).context(what)?;
        ensure!(
            ended.code == Some(second.code) && ended.words.contains(second.words),
            "{what}: it ended with {:?} and said {:?}",
            ended.code,
            ended.words
        );
        longest = longest.max(ended.took);
    }
    trial.await_writes(20, SERVING_PATIENCE)?;
    let before = trial.judge()?;
    // What the first has written is whole.
    trial.ensemble.kill(1)?;
    trial.ensemble.start(1)?;
    trial.ensemble.await_serving(SERVING_PATIENCE)?;
    trial.judge()?;
    Ok(vec![
        ("ways to start a second server, each refused", ways, ""),
        ("until it ended, at most", ms(longest), "ms"),
        ("writes of the first meanwhile", before.writes, ""),
    ])
}

/// A second server beside the first of an ensemble, and how it must end: with Java's code.
struct Second {
    what: &'static str,
    config: String,
    code: i32,
    words: &'static str,
}

fn seconds(ensemble: &Ensemble, other_data: &Path) -> Result<Vec<Second>> {
    let config = fs::read_to_string(ensemble.dir(1).join("zoo.cfg"))?;
    let data = ensemble.dir(1).join("data").display().to_string();
    let other_data = other_data.display().to_string();
    let port = ensemble.addresses()[0].port();
    let free = format!(
        "tickTime=500\nadmin.enableServer=false\nclientPortAddress=127.0.0.1\nclientPort={}\n",
        free_port()?
    );
    let others_ports = config
        .replace(&data, &other_data)
        .replace(&format!("clientPort={port}"), &format!("clientPort={}", free_port()?));
    let second = |what, config, code, words| Second { what, config, code, words };
    Ok(vec![
        second("same dataDir", format!("{free}dataDir={data}\n"), 1, "is in use by another server"),
        second(
            "same dataLogDir",
            format!("{free}dataDir={other_data}\ndataLogDir={data}\n"),
            1,
            "is in use by another server",
        ),
        second(
            "same client port",
            format!("tickTime=500\nadmin.enableServer=false\nclientPort={port}\ndataDir={other_data}\n"),
            1,
            "cannot listen on client port",
        ),
        second("same ports between servers", others_ports, 14, "cannot listen on quorum port"),
        second("the whole configuration", config, 1, "cannot listen on client port"),
    ])
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The size of the small disks, and what they become.
const SMALL: &str = "size=24m";
const LARGE: &str = "size=2g";

pub(super) fn full(place: &Place) -> Result<Figures> {
    let namespace = Namespace::new()?;
    let wrapper = namespace.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let ensemble = place.ensemble(3, "preAllocSize=1024\n", &wrapper)?;
    for id in ensemble.ids() {
        small_disk(&namespace, &ensemble.dir(id).join("data"), id, LARGE)?;
    }
    let mut trial = Trial::begin(ensemble, 4, 4)?;
    let outcome = fill_twice(&namespace, &mut trial);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome
}

/// A disk of memory in the place of a data folder.
fn small_disk(namespace: &Namespace, data: &Path, id: usize, size: &str) -> Result<()> {
    let data_name = data.to_str().context("the folder has no plain name")?;
    namespace.run(&["mount", "-t", "tmpfs", "-o", size, "tmpfs", data_name])?;
    let inside = PathBuf::from(format!("{}{data_name}", namespace.root()));
    fs::write(inside.join("myid"), format!("{id}\n")).context("cannot write to the small disk")?;
    Ok(())
}

fn resize(namespace: &Namespace, data: &Path, size: &str) -> Result<()> {
    let data = data.to_str().context("the folder has no plain name")?;
    namespace.run(&["mount", "-o", &format!("remount,{size}"), data])
}

fn fill_twice(namespace: &Namespace, trial: &mut Trial) -> Result<Figures> {
    let (mut figures, mut writes) = (Figures::new(), 0);
    trial.run();
    trial.await_writes(200, SERVING_PATIENCE)?;
    for (who, ended, gone, back) in [
        ("follower", "follower: until it was full and ended", "", "follower: back after"),
        (
            "leader",
            "leader: until it was full and ended",
            "leader: longest gap between writes",
            "leader: back after",
        ),
    ] {
        let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
        let victim = if who == "leader" { leader } else { leader % 3 + 1 };
        let host = trial.ensemble.ids().into_iter().find(|id| *id != victim).context("three servers")?;
        let data = trial.ensemble.dir(victim).join("data");
        let flood_path = format!("/flood-{who}");
        // The others keep their room: only this one is filled.
        resize(namespace, &data, &small_above(namespace, &data)?)?;
        let flood = Flood::start(trial.ensemble.addresses()[host - 1], &flood_path, 16 << 10, 8)?;
        let began = Instant::now();
        let code =
            end_of(&mut trial.ensemble, victim).with_context(|| format!("the disk of the {who} is full"))?;
        let took = began.elapsed();
        let words = trial.ensemble.output(victim)?;
        ensure!(code == 1, "the {who} ended with code {code}, not Java's 1");
        ensure!(words.contains("no space left"), "the {who} does not say that its disk is full");
        trial.await_writes(100, SERVING_PATIENCE)?;
        // Of a leader's clients some were its own: this flood was not.
        let acked = flood.acked();
        let last = flood.end().ok();
        trial.await_writes(100, SERVING_PATIENCE)?;
        resize(namespace, &data, LARGE)?;
        let again = Instant::now();
        trial.ensemble.start(victim)?;
        trial.ensemble.await_serving(SERVING_PATIENCE).context("with space again it does not start")?;
        let served = again.elapsed();
        let round = trial.judge()?;
        writes += round.writes;
        for address in trial.ensemble.addresses() {
            let found = flooded(address, &flood_path)?;
            ensure!(
                found >= last.unwrap_or(acked),
                "{address} shows set {found} of the flood; {acked} were acknowledged"
            );
        }
        figures.push((ended, ms(took), "ms"));
        if !gone.is_empty() {
            figures.push((gone, round.gap.div_ceil(1000), "ms"));
        }
        figures.push((back, ms(served), "ms"));
        trial.run();
    }
    figures.push(("writes acknowledged and found on all", writes, ""));
    Ok(figures)
}

/// A size that is a little more than what is used.
fn small_above(namespace: &Namespace, data: &Path) -> Result<String> {
    let inside = PathBuf::from(format!("{}{}", namespace.root(), data.display()));
    let mut used = 0;
    for entry in walk(&inside)? {
        used += fs::metadata(&entry)?.len();
    }
    let small: u64 = SMALL.trim_matches(|char: char| !char.is_ascii_digit()).parse()?;
    Ok(format!("size={}m", (used >> 20) + small))
}

/// Every file below a folder, three levels deep.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    for _ in 0..3 {
        for folder in std::mem::take(&mut folders) {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() { &mut folders } else { &mut files }.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// The code with which a server ends by itself.
fn end_of(ensemble: &mut Ensemble, id: usize) -> Result<i32> {
    let status = ensemble.await_end(id, Duration::from_mins(1))?;
    status.code().with_context(|| format!("it was killed: {status}"))
}
