//! The budgets: named tables of rows, each a model at its bounds, with what its search should meet.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    election,
    zab::{Bounds, Tier},
};

/// A model at its bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setup {
    /// The `zab` model.
    Zab(Bounds),
    /// The `election` model.
    Election(election::Config),
}

/// One search.
#[derive(Clone, Debug)]
pub struct Row {
    /// Unique among all rows of its model.
    pub name: &'static str,
    /// What is searched.
    pub setup: Setup,
    /// The witnesses that this row must reach.
    pub expects: &'static [&'static str],
    /// Whether the exhausted graph is also searched for traps.
    pub traps: bool,
}

/// A named table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Budget {
    /// For every change: a minute.
    Quick,
    /// For a change of the protocol: as far as memory reaches in some minutes.
    Standard,
    /// As far as memory reaches.
    Deep,
    /// Where mutants are looked for.
    Mutants,
}

impl Setup {
    /// The model's name.
    pub fn model(&self) -> &'static str {
        match self {
            Self::Zab(_) => "zab",
            Self::Election(_) => "election",
        }
    }

    /// The setup with some of its bounds changed, as `key=value`.
    ///
    /// # Errors
    /// An unknown key, or a value that does not fit.
    pub fn with(&self, changes: &[String]) -> anyhow::Result<Self> {
        let mut text = serde_json::to_value(self)?;
        let bounds = text.as_object_mut().and_then(|setup| setup.values_mut().next());
        let bounds = bounds.and_then(Value::as_object_mut).context("bounds are a table")?;
        for change in changes {
            let (key, value) =
                change.split_once('=').with_context(|| format!("{change} is not key=value"))?;
            if !bounds.contains_key(key) {
                let known: Vec<_> = bounds.keys().map(String::as_str).collect();
                bail!("{key} is no bound of the {} model: {}", self.model(), known.join(", "));
            }
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            bounds.insert(key.to_owned(), value);
        }
        serde_json::from_value(text).context("a value does not fit its key")
    }
}

impl Budget {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Deep => "deep",
            Self::Mutants => "mutants",
        }
    }

    /// The rows, the longest searches first.
    pub fn rows(self) -> Vec<Row> {
        match self {
            Self::Quick => quick(),
            Self::Standard => Vec::new(),
            Self::Deep => Vec::new(),
            Self::Mutants => mutants(),
        }
    }
}

fn zab(name: &'static str, bounds: Bounds, expects: &'static [&'static str]) -> Row {
    Row { name, setup: Setup::Zab(bounds), expects, traps: false }
}

fn election(name: &'static str, votes: [(u32, u32); 3], expects: &'static [&'static str]) -> Row {
    let votes = votes.to_vec();
    let config = election::Config { votes, rounds: 2, relooks: 1, crashes: 0, breaks: 0, epochs: 1 };
    Row { name, setup: Setup::Election(config), expects, traps: true }
}

fn quick() -> Vec<Row> {
    let fine = Bounds::default();
    let coarse = Bounds { tier: Tier::Coarse, ..Bounds::default() };
    vec![
        zab("fine-eager", Bounds { crashes: 1, breaks: 1, ..fine.clone() }, &["diff"]),
        zab(
            "coarse-eager",
            Bounds { elections: 3, txns: 2, crashes: 1, breaks: 1, ..coarse.clone() },
            &["diff", "trunc"],
        ),
        zab("fine-async", Bounds { eager: false, crashes: 1, ..fine.clone() }, &["crash-image-recovered"]),
        // Only the ids differ; then each level of the order says something else.
        election("equal-votes", [(1, 1), (1, 1), (1, 1)], &election::WITNESSES),
        election("mixed-votes", [(2, 5), (1, 5), (1, 6)], &election::WITNESSES),
    ]
}

/// Wide bounds: a flaw is found long before they are exhausted.
fn mutants() -> Vec<Row> {
    let wide = Bounds { elections: 3, txns: 2, crashes: 2, breaks: 2, ..Bounds::default() };
    let coarse = Bounds { tier: Tier::Coarse, ..wide.clone() };
    vec![
        zab("fine-eager", wide.clone(), &[]),
        zab("fine-async", Bounds { eager: false, ..wide }, &[]),
        zab("coarse-eager", coarse.clone(), &[]),
        zab("coarse-async", Bounds { eager: false, ..coarse }, &[]),
        election("equal-votes", [(1, 1), (1, 1), (1, 1)], &[]),
        election("mixed-votes", [(2, 5), (1, 5), (1, 6)], &[]),
    ]
}
