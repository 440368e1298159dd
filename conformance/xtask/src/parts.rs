//! The parts of the gate, in the order in which they are likely to fail, cheapest first.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    built::{binary, judge_server, server},
    differential::{self, Beside},
    fuzz,
    gate::{BUILD, Part},
    histories, install, judge, mutants, report,
    run::{self, Call},
    stock, tidy,
};

/// Files that Debian's packages bring.
const ZOOKEEPER: &[(&str, &str)] =
    &[("default-jre-headless", "/usr/bin/java"), ("zookeeper", "/usr/share/zookeeper/bin/zkCli.sh")];
const FAKETIME: &[(&str, &str)] = &[("faketime", "/usr/bin/faketime")];
const STRACE: &[(&str, &str)] = &[("strace", "/usr/bin/strace")];

fn part(name: &'static str, what: &'static str, run: impl FnMut() -> Result<String> + 'static) -> Part {
    Part { name, what, run: Box::new(run) }
}

/// The same steps, at full length or not; for some of them alone, or behind the tests.
pub(crate) fn parts(full: bool, alone: bool) -> Vec<Part> {
    let mut parts = vec![
        part("format", "every source is formatted", || done(run::cargo(&["fmt", "--all", "--check"]).call())),
        part("tidy", "arrows, pure crates, files", check_tidy),
        part("clippy", "no warning in anything", || {
            let lint =
                ["clippy", "--locked", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"];
            done(run::cargo(&lint).call())
        }),
        part("docs", "every link of the documentation leads somewhere", || {
            let doc =
                ["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--release"];
            done(run::cargo(&doc).env("RUSTDOCFLAGS", "-D warnings").call())
        }),
        part("tests", "unit tests, scenarios, golden bytes", || {
            done(run::cargo(&["test", "--locked", "--workspace", "--release"]).call())
        }),
        part(BUILD, "the binaries that the parts behind run", move || {
            let build = run::cargo(&["build", "--locked", "--workspace", "--bins", "--release"]);
            // What tests use chooses features of what all use. Without them nearly everything would be built again.
            if alone { build } else { build.args(["--tests"]) }.call()?;
            if full {
                return done(run::build_server());
            }
            // All that a build of its own for what is shipped would add here is minutes.
            judge_server(binary("zabkeeper")?);
            Ok(String::new())
        }),
        part("fuzz", "bytes that nobody meant, for everything that reads bytes", fuzz::part),
        part(
            "quick",
            "every model within its quick budget, and what one comes to, the next one allows",
            check_quick,
        ),
        part("simulate", "whole ensembles through faults and back, a few hundred seeds", || simulate(300)),
        part("bytes", "the same with every message as bytes and every disk as files", move || {
            simulate_bytes(if full { 1_000 } else { 100 })
        }),
    ];
    if full {
        parts.extend(full_parts());
    } else {
        parts.extend([
            part("mutants", "one of a touched file, and one in turn", || check_mutants(&mutants::chosen()?)),
            part("power-cuts", "a few cuts of one, two and all servers", || power_cuts(6)),
            part("replay", "some walks of models, walked by a server", || {
                let rows = "order,snapshots,cold-election,pair,pair-expiry,equal-votes";
                replayed(&["--rows", rows, "--walks", "1500"], Duration::from_mins(8))
            }),
            part("kazoo", "a fixed list of cases of a stock client", || kazoo("zabkeeper")),
            part("differential", SAME, || differential::part(Beside::Newest, 2, 500)),
            part("kills", "the leader asked to end, and killed three times", || both_ends(3, 0)),
            part("histories", "clients under each nemesis for some seconds, judged", || {
                histories::part(&["--seconds", "54"])
            }),
            part(
                "migration",
                "Apache ZooKeeper moved in place to Zabkeeper and back, one server, two, three",
                || migration(&install::newest()?, 1),
            ),
        ]);
    }
    parts
}

fn full_parts() -> Vec<Part> {
    let mut parts = vec![
        part("deny", "licences and advisories of what we use", deny),
        part("standard", "every model within its standard budget", || {
            checked("standard", &["--budget", "standard"], &[0])
        }),
        part(
            "deep-sessions",
            "every script of sessions with a move, an expiry and a change of leader together; three hours, 20 GB",
            || {
                // One at a time: that in which both clients close holds nearly as much.
                let all = ["session", "--budget", "deep", "--memory", "20000", "--jobs", "1"];
                checked("deep: session", &all, &[0])
            },
        ),
        part("deep-peers", "whole servers under faults, as far as 16 GB reach", || {
            checked("deep: peer", &["peer", "--budget", "deep", "--memory", "16000", "--jobs", "1"], &[3])
        }),
        part("walks", "ten million steps of whole servers at random, other ones for each commit", walks),
        part("mutants", "the whole catalogue", || check_mutants(&[])),
        part("power-cuts", "a hundred cuts of one, two and all servers", || power_cuts(100)),
        part("no-sync", "power cuts and strace fail when syncs are switched off", no_sync),
        part("recorder", "the judge of recordings sees a flawed actor and a flawed shell", || {
            ensure!(judge::mutants()?, "a flawed server was not caught");
            Ok(String::new())
        }),
        part("strace", "nothing is said before it is on disk", strace),
        part(
            "replay",
            "every distinct step of a server of the models of whole peers, taken by a server",
            || replayed(&[], Duration::from_hours(4)),
        ),
        part("replay-mutants", "shells with a flaw are caught by a replay", || {
            let mutants = Call::new(&binary("replay")?, &["mutants"]).within(Duration::from_hours(2));
            ensure!(mutants.verdict()?, "a shell with a flaw is not caught");
            Ok("every flaw is caught".to_owned())
        }),
        part(
            "bytes-mutants",
            "flaws of codec and storage are caught by the simulation of bytes and files",
            || {
                let mutants = Call::new(&binary("simulation")?, &["mutants"]).within(Duration::from_hours(2));
                ensure!(mutants.verdict()?, "a flaw of codec or storage is not caught");
                Ok("every flaw is caught".to_owned())
            },
        ),
        part("kazoo", "a fixed list of cases of a stock client", || kazoo("zabkeeper")),
        part("kazoo-suite", "kazoo's own tests, against Apache ZooKeeper and against ours", kazoo_suite),
        part("kills", "the leader asked to end, and killed twenty times, all servers ten times", || {
            both_ends(20, 10)
        }),
        part(
            "hardships",
            "stopped servers, deaf and hostile clients, full disks and pipes, wrong names and clocks, noise",
            hardships,
        ),
        part("histories", "clients under each nemesis for ten minutes, judged", || {
            histories::part(&["--seconds", "600"])
        }),
        part("flawed", "the histories of flawed servers are seen to be broken", || {
            histories::part(&["--mutants"])
        }),
    ];
    parts.extend(apache_parts());
    parts.extend(stock::parts());
    parts
}

/// What is done beside Apache ZooKeeper.
fn apache_parts() -> Vec<Part> {
    vec![
        part(
            "migration",
            "two versions of Apache ZooKeeper moved in place to Zabkeeper and back, in any order",
            || {
                let [debians, newest] = install::apaches()?;
                let told = [migration(&newest, 4)?, migration(&debians, 2)?];
                let harms = faults(&["migration", "--harms"], Duration::from_mins(10))?;
                Ok(format!("{}; {}; {} harms seen", told[0], told[1], harms["harms"]))
            },
        ),
        part("differential", SAME, || differential::part(Beside::Newest, 100, 1_000)),
        part("differential-3.8", SAME_OLDER, || differential::part(Beside::Older, 40, 1_000)),
        part("mixed", "ensembles of both, in each mix, with equal trees throughout", || {
            let told = beside_apache("mixed.py", &[], Duration::from_mins(20))?;
            Ok(format!("{} ensembles, {} nodes equal on all", told["ensembles"], told["nodes"]))
        }),
        part("joins", "two of Apache's servers and one of ours: DIFF, TRUNC and SNAP, each forced", || {
            let told = beside_apache("joins.py", &[], Duration::from_mins(20))?;
            Ok(format!(
                "{} leaders killed and brought back, {} writes, all there",
                told["joins"], told["writes"]
            ))
        }),
        part("java-dirs", "data folders of Apache ZooKeeper, killed, opened here, and back", || {
            let told = beside_apache(
                "java_dirs.py",
                &["--fused", &binary("fused-server")?],
                Duration::from_mins(40),
            )?;
            Ok(format!(
                "{} folders there and back twice behind {} kills; ours killed at {} steps of its work on disk; equal each time",
                told["folders"], told["kills"], told["steps"]
            ))
        }),
        part("apache", "Apache ZooKeeper passes the same kills and cases: they ask for nothing more", || {
            install::debian(ZOOKEEPER)?;
            kazoo("java")?;
            histories::part(&["--against", "java", "--seconds", "180"])?;
            kills("java", 5, 2)
        }),
    ]
}

/// What the recordings of a trial came to.
fn recordings(told: &Value) -> String {
    let told = &told["recordings"];
    if told.is_null() {
        return String::new();
    }
    let missing = told["not_judged"].as_array().map_or(0, Vec::len);
    format!(
        "; recordings: {} inputs told again, {} rules held, {missing} stretches not judged, {} of {} transactions out of \
         sight",
        told["inputs"],
        told["rules"].as_object().map_or(0, serde_json::Map::len),
        told["committed_unseen"],
        told["committed"]
    )
}

fn done(outcome: Result<()>) -> Result<String> {
    outcome.map(|()| String::new())
}

fn check_tidy() -> Result<String> {
    let faults = tidy::check()?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    ensure!(faults.is_empty(), "{} faults", faults.len());
    report::check_readme()?;
    Ok(String::new())
}

fn zabcheck(arguments: &[&str]) -> Result<Call> {
    Ok(Call::new(&binary("zabcheck")?, arguments))
}

/// Records what a search comes to, which ends with one of these codes: 3 says that it was cut by a limit. A row is
/// recorded when it ends, so that hours of search do not hang on the last one.
fn checked(section: &str, arguments: &[&str], codes: &[i32]) -> Result<String> {
    let search = zabcheck(&["check", "--json"])?.args(arguments).within(Duration::from_hours(6));
    let mut rows = String::new();
    done(search.lines(codes, |row| {
        rows += row;
        rows.push('\n');
        report::record_models(section, &arguments.join(" "), &rows)
    }))
}

fn check_quick() -> Result<String> {
    done(zabcheck(&["check", "--budget", "quick", "--joins"])?.within(Duration::from_mins(12)).call())
}

/// Walks at random, from a seed that is another one for each commit: what one seed does not meet another one may.
fn walks() -> Result<String> {
    let seed = mutants::turn().to_string();
    let walk = ["walk", "peer", "--steps", "10000000", "--seed", &seed];
    zabcheck(&walk)?.within(Duration::from_mins(40)).call()?;
    Ok(format!("from seed {seed}: every rule holds"))
}

/// Plays seeds of whole ensembles.
fn simulate(seeds: u64) -> Result<String> {
    let count = seeds.to_string();
    let call = zabcheck(&["simulate", "--json", "--seeds", &count])?.within(Duration::from_mins(8));
    let told: Value = serde_json::from_str(&call.output()?)?;
    Ok(format!(
        "{} seeds, {} steps of servers; every ensemble heals",
        told["seeds"], told["met"]["server_steps"]
    ))
}

/// Builds the simulation of bytes and files, and runs it with these arguments of its own. Whether all is well.
pub(crate) fn simulation(arguments: &[String]) -> Result<bool> {
    run::cargo(&["build", "--locked", "--release", "-p", "zabkeeper-simulation"]).call()?;
    Call::new(&binary("simulation")?, &[]).args(arguments).within(Duration::from_hours(12)).verdict()
}

/// Plays seeds of whole ensembles as bytes and files.
fn simulate_bytes(seeds: u64) -> Result<String> {
    let count = seeds.to_string();
    let call =
        Call::new(&binary("simulation")?, &["--json", "--seeds", &count]).within(Duration::from_mins(12));
    let told: Value = serde_json::from_str(&call.output()?)?;
    Ok(format!(
        "{} seeds, {} steps of servers; every ensemble heals",
        told["seeds"], told["met"]["server_steps"]
    ))
}

/// Runs these mutants, or all.
fn check_mutants(ids: &[String]) -> Result<String> {
    let patience = if ids.is_empty() { Duration::from_hours(2) } else { Duration::from_mins(12) };
    zabcheck(&["mutants"])?.args(ids).within(patience).call()?;
    Ok(if ids.is_empty() {
        "the whole catalogue, no survivor".to_owned()
    } else {
        format!("caught: {}", ids.join(", "))
    })
}

/// Builds the replay, and runs it with these arguments of its own. Whether a server does what the model says.
pub(crate) fn replay(arguments: &[String]) -> Result<bool> {
    run::cargo(&["build", "--locked", "--release", "-p", "zabkeeper-replay"]).call()?;
    Call::new(&binary("replay")?, &[]).args(arguments).within(Duration::from_hours(12)).verdict()
}

/// Replays walks, and tells of the coverage.
fn replayed(arguments: &[&str], patience: Duration) -> Result<String> {
    let told = Call::new(&binary("replay")?, &["--json"]).args(arguments).within(patience).output()?;
    let told: Value = serde_json::from_str(&told)?;
    Ok(format!(
        "{} of {} walks, {} of {} distinct steps covered, no difference",
        told["walked"], told["walks"], told["covered"], told["steps"]
    ))
}

/// Runs the faults, and returns what they say.
fn faults(arguments: &[&str], patience: Duration) -> Result<Value> {
    let json = run::release()?.join("faults.json");
    if json.exists() {
        fs::remove_file(&json)?;
    }
    let json_name = json.to_str().context("the target folder has no plain name")?;
    Call::new(&binary("faults")?, &["--json", json_name, "--binary", &server()?])
        .args(arguments)
        .within(patience)
        .call()?;
    Ok(serde_json::from_str(&fs::read_to_string(&json)?)?)
}

/// A leader that ends in order and comes back.
fn orderly() -> Result<String> {
    let told = faults(&["orderly"], Duration::from_mins(4))?;
    let compared = &told["recordings"]["writes_of_sessions"];
    Ok(format!(
        "a leader asked to end: {compared} writes compared with all of their session{}",
        recordings(&told)
    ))
}

/// Servers of ours end in order, and are killed.
fn both_ends(leader: usize, all: usize) -> Result<String> {
    Ok(format!("{}; {}", orderly()?, kills("zabkeeper", leader, all)?))
}

fn kills(against: &str, leader: usize, all: usize) -> Result<String> {
    let (leaders, alls) = (leader.to_string(), all.to_string());
    let patience = Duration::from_mins(4) + Duration::from_mins(1) * u32::try_from(leader + all)?;
    let told = faults(&["kills", "--against", against, "--leader", &leaders, "--all", &alls], patience)?;
    let rounds = told["rounds"].as_array().context("no rounds are told")?;
    let of_leader = rounds.iter().filter(|round| round["killed"] != "all");
    let mut gaps: Vec<u64> = of_leader.filter_map(|round| round["gap_ms"].as_u64()).collect();
    gaps.sort_unstable();
    let (median, worst) = (gaps.get(gaps.len() / 2).copied(), gaps.last().copied());
    Ok(format!(
        "{leader} kills of the leader, {all} of all servers; longest gap between acknowledged writes: median {} ms, \
         worst {} ms; {} rounds repeated{}",
        median.unwrap_or_default(),
        worst.unwrap_or_default(),
        told["repeated"],
        recordings(&told)
    ))
}

/// Moves this Apache ZooKeeper to ours and back; says what it was like.
fn migration(apache: &str, rounds: usize) -> Result<String> {
    let arguments = ["migration", "--apache", apache, "--rounds", &rounds.to_string()];
    let told = faults(&arguments, Duration::from_mins(10) * u32::try_from(rounds)?)?;
    Ok(format!(
        "{}: {} moves under {} writes; {} sessions moved {} times, {} ephemerals, {} watches fired, {} while their \
         clients were away; longest gap {} ms, with the leader {} ms",
        told["from"].as_str().unwrap_or("?"),
        told["moves"],
        told["writes"],
        told["sessions"],
        told["session_moves"],
        told["ephemerals"],
        told["watches_fired"],
        told["watches_fired_on_return"],
        told["gap_of_followers_ms"],
        told["gap_of_leaders_ms"]
    ))
}

/// Under a load that counts, unless only a few are made, perhaps on a machine that is busy.
fn power_cuts(count: usize) -> Result<String> {
    let cuts = count.to_string();
    let rate = if count < 100 { "100" } else { "1000" };
    let patience = Duration::from_mins(3) + Duration::from_secs(30) * u32::try_from(count)?;
    let told = faults(&["power-cuts", "--cuts", &cuts, "--rate-min", rate], patience)?;
    Ok(format!(
        "{} cuts of one server, {} of two, {} of all, at {} acknowledged writes a second; nothing acknowledged lost{}",
        told["cuts_of_one"],
        told["cuts_of_two"],
        told["cuts_of_all"],
        told["writes_per_second"],
        recordings(&told)
    ))
}

/// Tests of the tests: what would catch a server that does not sync does catch it.
fn no_sync() -> Result<String> {
    install::debian(STRACE)?;
    faults(&["power-cuts", "--no-sync"], Duration::from_mins(20))?;
    faults(&["strace", "--no-sync"], Duration::from_mins(10))?;
    Ok("without syncs, power cuts see the loss and strace the claims".to_owned())
}

fn strace() -> Result<String> {
    install::debian(STRACE)?;
    let told = faults(&["strace"], Duration::from_mins(10))?;
    Ok(format!("{} claims, none before its sync", told["claims"]))
}

fn hardships() -> Result<String> {
    install::debian(FAKETIME)?;
    let told = faults(&["hardships"], Duration::from_mins(20))?;
    let cases = told["cases"].as_array().context("no cases are told")?;
    let figure = |case: &str, what: &str| -> Result<String> {
        let row = cases.iter().find(|row| row["case"] == case).with_context(|| format!("no case {case}"))?;
        let told = &row["figures"][what];
        let value = told["value"].as_u64().with_context(|| format!("{case} does not tell {what}"))?;
        Ok(format!("{value} {}", told["unit"].as_str().unwrap_or_default()))
    };
    Ok(format!(
        "{} cases; a follower stopped for 10 s under load costs the leader {}, a client that does not read {}, one \
         that does not read its events {}; noise costs {} at most; a watch {}, an idle connection {}",
        cases.len(),
        figure("stopped-follower", "more at most while it was stopped")?,
        figure("deaf-reader", "memory more at most, read late included")?,
        figure("deaf-watcher", "memory more at most")?,
        figure("noise", "client port: memory more")?,
        figure("million-watches", "bytes a watch, with a path of 18")?,
        figure("idle-crowd", "bytes a connection")?
    ))
}

/// What the part does that compares answers.
const SAME: &str = "random scripts, to which Apache ZooKeeper and ours say the same";
const SAME_OLDER: &str =
    "random scripts, to which Apache ZooKeeper 3.8 says what it is known to, and else the same";

/// Runs a judge of both makers' servers, and returns what it says. `more` are options of its own.
fn beside_apache(script: &str, more: &[&str], patience: Duration) -> Result<Value> {
    let release = run::release()?;
    let json = release.join("differential.json");
    if json.exists() {
        fs::remove_file(&json)?;
    }
    let script = run::root()?.join("conformance/differential").join(script);
    let script = script.to_str().context("the project's folder has no plain name")?;
    let mut call = Call::new("python3", &[script]);
    for apache in install::apaches()? {
        call = call.args(["--apache", &apache]);
    }
    call.args(["--binary", &server()?]).args(more).args(["--json"]).args([&json]).within(patience).call()?;
    Ok(serde_json::from_str(&fs::read_to_string(&json)?)?)
}

fn kazoo(against: &str) -> Result<String> {
    let path = install::kazoo()?;
    let path = path.to_str().context("the cache has no plain name")?;
    done(clients("kazoo_cases.py", against)?.env("PYTHONPATH", path).call())
}

/// kazoo's own tests, of which all that pass on Apache are to pass here, but for those with a reason.
fn kazoo_suite() -> Result<String> {
    let script = run::root()?.join("conformance/clients/kazoo_suite.py");
    let script = script.to_str().context("the project's folder has no plain name")?;
    let [_, newest] = install::apaches()?;
    let (version, classpath) = newest.split_once('=').context("an Apache without a version")?;
    let server = server()?;
    let words = ["--binary", &server, "--version", version, "--classpath", classpath, "--json"];
    let told = Call::new("python3", &[script]).args(words).within(Duration::from_mins(90)).output()?;
    let told: Value = serde_json::from_str(&told)?;
    Ok(format!(
        "{} tests pass on Apache ZooKeeper {version}, {} of them here, {} of the others with a reason",
        told["apache"], told["ours"], told["explained"]
    ))
}

/// A stock client's script, to be run against three servers.
fn clients(script: &str, against: &str) -> Result<Call> {
    let script = run::root()?.join("conformance/clients").join(script);
    let server = server()?;
    let words = ["--binary", &server, "clients", "--against", against, "--seconds", "420", "--", "python3"];
    Ok(Call::new(&binary("faults")?, &words).args([script]).within(Duration::from_mins(10)))
}

fn deny() -> Result<String> {
    if !run::cargo(&["deny", "--version"]).succeeds() {
        run::cargo(&["install", "--quiet", "--locked", "cargo-deny"])
            .within(Duration::from_mins(40))
            .call()?;
    }
    done(run::cargo(&["deny", "--locked", "check"]).call())
}
