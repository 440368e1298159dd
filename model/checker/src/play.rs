//! Plays scenario scripts.

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use world::script::{End, Judge, play};

/// Which script to play, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Play {
    /// The script.
    file: PathBuf,
    /// Judges histories only, and who serves: steps that fail by themselves, or cannot happen, are left out.
    #[arg(long)]
    histories_only: bool,
    /// One JSON object on standard output, instead of the transcript.
    #[arg(long)]
    json: bool,
}

/// What came of a script. Written as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Played {
    /// How many steps were taken.
    pub(crate) steps: usize,
    /// The rule that is broken.
    pub(crate) broken: Option<String>,
    /// The line that did not come about.
    pub(crate) unmet: Option<String>,
}

impl Play {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let name = self.file.display();
        let text = fs::read_to_string(&self.file).with_context(|| format!("reading {name}"))?;
        let judge = if self.histories_only { Judge::Histories } else { Judge::All };
        let told = play(&text, judge).with_context(|| format!("reading {name}"))?;
        let (broken, unmet) = match told.end {
            End::Whole => (None, None),
            End::Broken(fault) => (Some(fault.rule), None),
            End::Unmet(line) => (None, Some(line)),
        };
        let code = u8::from(broken.is_some() || unmet.is_some());
        if self.json {
            println!("{}", serde_json::to_string(&Played { steps: told.steps, broken, unmet })?);
        } else {
            print!("{}", told.transcript);
        }
        Ok(code)
    }
}
