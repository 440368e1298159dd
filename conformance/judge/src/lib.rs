//! The judge of recordings: takes what every server of a run has recorded, tells it to the same actors again, and puts
//! the rules of `spec` to what comes of it.
//!
//! Four rules are about recordings themselves (`spec/recordings.md`): J-1, the actor asks for the same again; J-2, the
//! state is the same again; J-3, a link delivers what was sent, in order, each once; J-4, no actor fails. The others
//! are the rules that models are checked by, over one history that is merged of all recordings.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of records, inputs and effects each place takes up a few, and the others are nothing to it"
)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

mod clients;
mod expiry;
mod hollow;
mod load;
mod network;
mod ordered;
mod replica;
mod report;
mod rules;
mod run;
mod server;
mod sink;
mod trace;
mod window;

pub use report::{Breach, Report};
pub use trace::Stretch;

/// Judges every recording at or below these folders. `trace` names a file to write and the stretch to write there.
///
/// # Errors
/// There is no recording, two are of the same server, or a file cannot be read or written.
pub fn judge(dirs: &[PathBuf], trace: Option<(&Path, Stretch)>) -> Result<Report> {
    let found = load::find(dirs)?;
    let mut sources = Vec::new();
    let mut empty = Vec::new();
    for dir in &found {
        match load::Source::open(dir)? {
            Some(source) => sources.push(source),
            None => empty.push(dir.display().to_string()),
        }
    }
    ensure!(!sources.is_empty(), "there is no recording at or below {dirs:?}: is the recorder off?");
    sources.sort_by_key(|source| source.id);
    for pair in sources.windows(2) {
        ensure!(
            pair[0].id != pair[1].id,
            "{} and {} are both of server {}: name the folders of one run",
            pair[0].dir.display(),
            pair[1].dir.display(),
            pair[0].id
        );
    }
    let trace = match trace {
        None => None,
        Some((path, stretch)) => {
            let servers: Vec<u64> = sources.iter().map(|source| source.id.0).collect();
            Some(
                trace::Trace::begin(path, stretch, &servers)
                    .with_context(|| format!("writing {}", path.display()))?,
            )
        }
    };
    let hook = std::panic::take_hook();
    // An actor that fails is a breach, and is told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = run::Run::new(sources, trace).judge();
    std::panic::set_hook(hook);
    for dir in empty {
        report.not_judged.push(format!("{dir}: nothing of it reads from a start or checkpoint on"));
    }
    Ok(report)
}
