//! What a server has to endure beside crashes: peers and clients that stop, floods, full disks and pipes, names and
//! clocks that are wrong, noise on every port.
//!
//! Each case says what must hold, and tells figures: how much memory it took, how long others waited. A case that
//! cannot be set up, for want of a tool or of the right to mount, fails; none is passed over.

mod clients;
mod crowd;
mod disk;
mod hostile;
mod machine;
mod many;
mod namespace;
mod noise;
mod observer;
mod pauses;
mod place;
mod probe;

use std::{path::Path, time::Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};

pub use machine::{own_clock, set_clock};
use place::Place;

/// Numbers that a case tells, each with its meaning and unit.
type Figures = Vec<(&'static str, u64, &'static str)>;

/// One hardship.
struct Case {
    name: &'static str,
    what: &'static str,
    run: fn(&Place) -> Result<Figures>,
}

const CASES: &[Case] = &[
    Case {
        name: "stopped-follower",
        what: "a follower is stopped for 10 s under full load: it is dropped, comes back, and has everything",
        run: pauses::follower,
    },
    Case {
        name: "stopped-leader",
        what: "the leader is stopped: the others elect; when it goes on it steps down, and sessions survive",
        run: pauses::leader,
    },
    Case {
        name: "stopped-standalone",
        what: "a server alone is stopped for three session timeouts: pings that wait in its buffers count",
        run: crowd::stopped_standalone,
    },
    Case {
        name: "deaf-reader",
        what: "a client asks for 500 MB and reads nothing: it is not read from, and others do not notice",
        run: clients::deaf_reader,
    },
    Case {
        name: "deaf-crowd",
        what: "24 clients ask in one request for 54 MB each and read nothing: all together cost 1 GiB at most",
        run: clients::deaf_crowd,
    },
    Case {
        name: "deaf-behind-a-write",
        what: "the same, with everything behind a write that is not committed yet",
        run: clients::deaf_behind_a_write,
    },
    Case {
        name: "deaf-watcher",
        what: "a client watches 120 MB worth of events and reads none: it is closed above 64 MiB, not below",
        run: clients::deaf_watcher,
    },
    Case {
        name: "connection-storm",
        what: "more connections than there are file descriptors: the server says no, and goes on",
        run: crowd::storm,
    },
    Case {
        name: "hang-ups",
        what: "a client hangs up behind each of 40 large writes while the followers are stopped: few are under way",
        run: pauses::hang_ups,
    },
    Case {
        name: "shared-folder",
        what: "a second server on the same folders or ports ends at once, and the first does not notice",
        run: disk::shared_folder,
    },
    Case {
        name: "full-pipe",
        what: "nobody reads what the servers log: they serve, elect, and end in order",
        run: machine::full_pipe,
    },
    Case {
        name: "late-names",
        what: "names that cannot be resolved at first: servers start, and meet once they can",
        run: machine::late_names,
    },
    Case {
        name: "full-disk",
        what: "a follower's and then the leader's disk is full: it says so and ends, and comes back with everything",
        run: disk::full,
    },
    Case {
        name: "wall-clock",
        what: "every wall clock jumps by an hour, forth and back: no session expires, no election",
        run: machine::wall_clock,
    },
    Case {
        name: "observer",
        what: "an observer beside three voters: it serves, is killed and catches up, and keeps nobody in office",
        run: observer::observer,
    },
    Case {
        name: "noise",
        what: "random bytes and huge lengths on every port: no panic, no large allocation, a word in the log",
        run: noise::noise,
    },
    Case {
        name: "cut-frames",
        what: "handshakes and requests that end behind any of their bytes: nothing of them is carried out",
        run: hostile::cut,
    },
    Case {
        name: "slow-bytes",
        what: "a byte a second, and halves of frames: connections without a session and dead sessions are closed",
        run: hostile::slow,
    },
    Case {
        name: "wrong-requests",
        what: "requests too early, too large, too deep, null, numbered in no order: each is refused as it should be",
        run: hostile::wrong,
    },
    Case {
        name: "many-identities",
        what: "a client proves one identity after the other: it is closed, and others do not notice",
        run: hostile::identities,
    },
    Case {
        name: "million-watches",
        what: "a client sets a million watches and vanishes: bytes for each are told, and all go",
        run: many::watches,
    },
    Case {
        name: "idle-crowd",
        what: "ten thousand connections have sessions and do nothing: bytes for each are told, and all are kept",
        run: many::idle,
    },
    Case {
        name: "silent-peers",
        what: "hundreds of connections say half a greeting between servers: all are closed, the leader stays",
        run: many::silent_peers,
    },
];

/// Names every case.
pub fn list() -> Value {
    for case in CASES {
        println!("{:<20} {}", case.name, case.what);
    }
    CASES.iter().map(|case| json!({"case": case.name, "what": case.what})).collect()
}

/// Runs these cases, or all; prints a table of figures, and returns them.
///
/// # Errors
/// If a case does not exist, or one fails; those behind it are run anyway.
pub fn run(binary: &Path, dir: &Path, names: &[String]) -> Result<Value> {
    for name in names {
        ensure!(CASES.iter().any(|case| case.name == name), "{name:?} is no case");
    }
    let chosen = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for case in CASES.iter().filter(chosen) {
        println!("{}: {}", case.name, case.what);
        let place = Place::new(binary, dir, case.name)?;
        let began = Instant::now();
        let outcome = (case.run)(&place);
        let seconds = began.elapsed().as_secs();
        match outcome {
            Ok(figures) => {
                for (what, value, unit) in &figures {
                    println!("    {value:>10} {unit:<6} {what}");
                }
                println!("    {seconds:>10} s      passed");
                let figures: Map<String, Value> = figures
                    .into_iter()
                    .map(|(what, value, unit)| (what.to_owned(), json!({"value": value, "unit": unit})))
                    .collect();
                rows.push(json!({"case": case.name, "seconds": seconds, "figures": figures}));
            }
            Err(error) => {
                println!("    {seconds:>10} s      FAILED: {error:#}");
                failures.push(format!("{}: {error:#}", case.name));
            }
        }
    }
    if !failures.is_empty() {
        bail!("{} of {} cases failed:\n{}", failures.len(), rows.len() + failures.len(), failures.join("\n"));
    }
    println!("{} cases passed", rows.len());
    Ok(json!({"cases": rows}))
}
