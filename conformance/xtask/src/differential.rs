//! `cargo xtask differential`: random scripts for Apache ZooKeeper and for ours, and what both say to them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    built, flawed, install,
    run::{self, Call},
};

/// How long a comparison may take.
const PATIENCE: Duration = Duration::from_hours(4);

/// Flaws of the tree, a line or a few each, which a comparison must see. Their patches stand in `conformance/differential/mutants`.
const MUTANTS: &[&str] = &[
    "delete-leaves-pzxid",
    "list-set-without-admin",
    "no-watch-on-nothing",
    "quota-of-the-farthest",
    "recursive-sees-children-only",
    "sequence-from-one",
    "super-is-nobody",
];

/// Which Apache ZooKeeper is asked too.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside {
    /// The newest one, which ours does the same as.
    Newest,
    /// Debian's, which is older: what it does otherwise is known.
    Older,
}

/// Compares with these arguments; true if both say the same. With `--mutants`, whether each flaw is seen; with `--older`,
/// Debian's Apache ZooKeeper is asked.
pub(crate) fn by_hand(arguments: &[String]) -> Result<bool> {
    if arguments == ["--mutants"] {
        return mutants();
    }
    let (older, arguments): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--older");
    let beside = if older.is_empty() { Beside::Newest } else { Beside::Older };
    run::build_server()?;
    script(&built::server()?, beside)?.args(arguments).within(PATIENCE).verdict()
}

/// Compares so many scripts of so many requests, alone and with three servers; what was compared, in a line.
pub(crate) fn part(beside: Beside, seeds: u32, steps: u32) -> Result<String> {
    let json = run::release()?.join("same-script.json");
    let (seeds, steps) = (seeds.to_string(), steps.to_string());
    script(&built::server()?, beside)?
        .args(["--seeds", &seeds, "--steps", &steps, "--json"])
        .args([&json])
        .within(PATIENCE)
        .call()?;
    let told: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    Ok(format!(
        "{} requests in {seeds} scripts, alone and with three servers, to Apache ZooKeeper {} and ours; {} answers and \
         events, no difference",
        told["steps"],
        told["apache"].as_str().unwrap_or_default(),
        told["compared"]
    ))
}

/// Whether each flawed server is seen to say something else within ten scripts.
fn mutants() -> Result<bool> {
    let scratch = run::release()?.with_file_name("differential-mutants");
    let mut all = true;
    for id in MUTANTS {
        let binary = flawed::server(&format!("conformance/differential/mutants/{id}.patch"), &scratch)?;
        let same = script(&binary, Beside::Newest)?
            .args(["--servers", "1", "--seeds", "10"])
            .within(PATIENCE)
            .verdict()?;
        println!("{id}: {}", if same { "NOT SEEN" } else { "seen" });
        all &= !same;
    }
    Ok(all)
}

fn script(server: &str, beside: Beside) -> Result<Call> {
    let script = run::root()?.join("conformance/differential/same_script.py");
    let script = script.to_str().context("the project's folder has no plain name")?;
    let [older, newest] = install::apaches()?;
    let apache = match beside {
        Beside::Newest => newest,
        Beside::Older => older,
    };
    Ok(Call::new("python3", &[script, "--apache", &apache, "--binary", server]))
}
