//! What a judgement comes to.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};
use spec::{ServerId, Verdict};

/// So many breaches are told; the others are counted.
const TOLD_MAX: usize = 20;

/// A rule that the recordings break.
#[derive(Clone, Debug)]
pub struct Breach {
    /// Its id, of `spec` or of `spec/recordings.md`.
    pub rule: &'static str,
    /// The server at which it shows.
    pub server: ServerId,
    /// When, in microseconds since 1970; 0 if that means nothing.
    pub at_us: u64,
    /// What was found.
    pub why: String,
}

/// The whole judgement.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The first breaches.
    pub breaches: Vec<Breach>,
    /// How many there are in all.
    pub breaches_count: usize,
    /// How often each rule was put to the test and held.
    pub tested: BTreeMap<&'static str, u64>,
    /// Rules that could not be put to the test somewhere, since something that they need is missing.
    pub untested: BTreeMap<&'static str, u64>,
    /// Stretches that could not be told again, and why.
    pub not_judged: Vec<String>,
    /// Packets taken on the word of a server whose recording has lost its end.
    pub believed: u64,
    /// Starts of servers.
    pub starts: u64,
    /// Inputs told again.
    pub inputs: u64,
    /// Moments at which every rule was put to all servers.
    pub moments: u64,
    /// Transactions committed.
    pub committed: usize,
    /// How many of them since a server was lost sight of: rules about what is committed are put to none of those.
    pub committed_unseen: usize,
    /// Writes of sessions of which all that was committed was compared, not only what was acknowledged on each connection.
    pub writes_of_sessions: usize,
    /// Epochs established.
    pub reigns: u64,
    /// Bytes of recordings.
    pub bytes: usize,
    last: BTreeMap<ServerId, String>,
}

impl Report {
    pub(crate) fn breach(&mut self, rule: &'static str, server: ServerId, at_us: u64, why: String) {
        self.breaches_count += 1;
        if self.breaches.len() < TOLD_MAX {
            self.breaches.push(Breach { rule, server, at_us, why });
        }
    }

    pub(crate) fn verdict(
        &mut self,
        rule: &'static str,
        verdict: Verdict,
        server: ServerId,
        at_us: u64,
        why: impl FnOnce() -> String,
    ) {
        match verdict {
            Verdict::Silent => {}
            Verdict::Holds => self.tested(rule),
            Verdict::Broken => self.breach(rule, server, at_us, why()),
        }
    }

    pub(crate) fn tested(&mut self, rule: &'static str) {
        *self.tested.entry(rule).or_default() += 1;
    }

    pub(crate) fn untested(&mut self, rule: &'static str) {
        *self.untested.entry(rule).or_default() += 1;
    }

    pub(crate) fn not_judged(&mut self, what: String) {
        self.not_judged.push(what);
    }

    pub(crate) fn was_told(&mut self, server: ServerId, input: &str) {
        let last = self.last.entry(server).or_default();
        last.clear();
        last.push_str(input);
    }

    pub(crate) fn last_input(&self, server: ServerId) -> String {
        self.last.get(&server).cloned().unwrap_or_else(|| "nothing".to_owned())
    }

    /// Whether nothing is broken, and something was judged.
    pub fn is_clean(&self) -> bool {
        self.breaches_count == 0 && self.inputs > 0
    }

    /// In a line.
    pub fn summary(&self) -> String {
        format!(
            "{} starts, {} inputs told again, {} transactions committed in {} epochs, {} of them out of sight; \
             {} rules held at {} moments; {} breaches; {} stretches not judged, {} packets believed",
            self.starts,
            self.inputs,
            self.committed,
            self.reigns,
            self.committed_unseen,
            self.tested.len(),
            self.moments,
            self.breaches_count,
            self.not_judged.len(),
            self.believed
        )
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "breaches": self.breaches_count,
            "first": self.breaches.iter().map(|breach| json!({
                "rule": breach.rule, "server": breach.server.0, "at_us": breach.at_us, "why": breach.why,
            })).collect::<Vec<_>>(),
            "rules": self.tested,
            "rules_not_judged": self.untested,
            "not_judged": self.not_judged,
            "believed": self.believed,
            "starts": self.starts,
            "inputs": self.inputs,
            "moments": self.moments,
            "committed": self.committed,
            "committed_unseen": self.committed_unseen,
            "writes_of_sessions": self.writes_of_sessions,
            "epochs": self.reigns,
            "bytes": self.bytes,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, times) in &self.tested {
            writeln!(f, "{rule:<30} held {times} times")?;
        }
        for (rule, times) in &self.untested {
            writeln!(f, "{rule:<30} NOT JUDGED {times} times")?;
        }
        for what in &self.not_judged {
            writeln!(f, "not judged: {what}")?;
        }
        for Breach { rule, server, at_us, why } in &self.breaches {
            writeln!(f, "BROKEN {rule}, server {server}, at {at_us}: {why}")?;
        }
        if self.breaches_count > self.breaches.len() {
            writeln!(f, "and {} more", self.breaches_count - self.breaches.len())?;
        }
        write!(f, "{}", self.summary())
    }
}
