//! The counts of a run, as a table and as a page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    history::{History, What},
    judge::Verdict,
    nemesis::Nemesis,
    workload::Workload,
};

/// What one workload came to under one nemesis.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Row {
    /// Requests.
    pub operations: u64,
    /// Those of unknown outcome.
    pub unknown: u64,
    /// Events.
    pub events: u64,
    /// Connections that broke.
    pub broken_connections: u64,
    /// Sessions that expired.
    pub expired: u64,
}

/// The counts of a run.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Table {
    /// How long it took.
    pub seconds: u64,
    /// By workload and nemesis.
    pub rows: BTreeMap<String, BTreeMap<String, Row>>,
    /// Rounds and faults of each nemesis.
    pub faults: BTreeMap<String, (u64, u64)>,
    /// How often each rule was held against something.
    pub checks: BTreeMap<String, u64>,
    /// What is no promise of the servers that were judged.
    pub told: BTreeMap<String, u64>,
    /// How many promises were broken.
    pub broken: u64,
}

impl Table {
    /// Enters a round.
    pub fn add(&mut self, nemesis: Nemesis, history: &History, faults: &[String], verdict: &Verdict) {
        let nemesis = nemesis.name().to_owned();
        for entry in &history.entries {
            let workload = entry.client.split('-').next().unwrap_or_default().to_owned();
            let row = self.rows.entry(workload).or_default().entry(nemesis.clone()).or_default();
            match &entry.what {
                What::Op(op) => {
                    row.operations += 1;
                    row.unknown += u64::from(op.reply.is_none());
                }
                What::Event { .. } => row.events += 1,
                What::Broken => row.broken_connections += 1,
                What::Expired => row.expired += 1,
                What::Connected { .. } | What::Stays(_) | What::Lost(_) | What::Wrong(_) => {}
            }
        }
        let told = self.faults.entry(nemesis).or_default();
        told.0 += 1;
        told.1 += u64::try_from(faults.len()).unwrap_or(u64::MAX);
        for (rule, count) in &verdict.checks {
            *self.checks.entry((*rule).to_owned()).or_default() += count;
        }
        for (what, count) in &verdict.told {
            *self.told.entry((*what).to_owned()).or_default() += count;
        }
        self.broken += u64::try_from(verdict.broken.len()).unwrap_or(u64::MAX);
    }

    /// All requests.
    pub fn operations(&self) -> u64 {
        self.rows.values().flat_map(BTreeMap::values).map(|row| row.operations).sum()
    }

    /// All checks.
    pub fn all_checks(&self) -> u64 {
        self.checks.values().sum()
    }

    fn rows(&self) -> impl Iterator<Item = [String; 7]> {
        let order = |workload: &str| Workload::ALL.iter().position(|known| known.name() == workload);
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .flat_map(|(workload, nemeses)| {
                nemeses.iter().map(move |(nemesis, row)| (workload, nemesis, row))
            })
            .collect();
        rows.sort_by_key(|(workload, nemesis, _)| {
            let place = Nemesis::ALL.iter().position(|known| known.name() == *nemesis);
            (order(workload).unwrap_or(usize::MAX), (*workload).clone(), place)
        });
        rows.into_iter().map(|(workload, nemesis, row)| {
            [
                workload.clone(),
                nemesis.clone(),
                row.operations.to_string(),
                row.unknown.to_string(),
                row.events.to_string(),
                row.broken_connections.to_string(),
                row.expired.to_string(),
            ]
        })
    }

    /// For a person at a terminal.
    pub fn text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
        table.set_header(COLUMNS);
        for row in self.rows() {
            table.add_row(row);
        }
        let mut lines = vec![table.to_string(), "faults:".to_owned()];
        lines.extend(
            self.faults
                .iter()
                .map(|(nemesis, (rounds, faults))| format!("  {nemesis:<10} {faults:>6} in {rounds} rounds")),
        );
        lines.push("checks:".to_owned());
        lines.extend(self.checks.iter().map(|(rule, count)| format!("  {rule:<40} {count:>10}")));
        lines.extend(self.told.iter().map(|(what, count)| format!("told, and no promise: {what}: {count}")));
        lines.join("\n")
    }

    /// Adds the counts of another run.
    pub fn join(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.broken += other.broken;
        for (workload, nemeses) in &other.rows {
            for (nemesis, row) in nemeses {
                let sum = self.rows.entry(workload.clone()).or_default().entry(nemesis.clone()).or_default();
                sum.operations += row.operations;
                sum.unknown += row.unknown;
                sum.events += row.events;
                sum.broken_connections += row.broken_connections;
                sum.expired += row.expired;
            }
        }
        for (nemesis, (rounds, faults)) in &other.faults {
            let sum = self.faults.entry(nemesis.clone()).or_default();
            *sum = (sum.0 + rounds, sum.1 + faults);
        }
        let counts = [(&mut self.checks, &other.checks), (&mut self.told, &other.told)];
        for (sums, counts) in counts {
            for (what, count) in counts {
                *sums.entry(what.clone()).or_default() += count;
            }
        }
    }

    /// As a section of the page of results, without its heading.
    pub fn section(&self) -> String {
        let mut lines = Vec::new();
        lines.extend([String::new(), format!("| {} |", COLUMNS.join(" | "))]);
        lines.push("|---|---|--:|--:|--:|--:|--:|".to_owned());
        lines.extend(self.rows().map(|row| format!("| {} |", row.join(" | "))));
        lines.extend([String::new(), "| nemesis | rounds | faults |".to_owned(), "|---|--:|--:|".to_owned()]);
        lines.extend(
            self.faults
                .iter()
                .map(|(nemesis, (rounds, faults))| format!("| {nemesis} | {rounds} | {faults} |")),
        );
        lines.extend([String::new(), "| promise | checks |".to_owned(), "|---|--:|".to_owned()]);
        lines.extend(self.checks.iter().map(|(rule, count)| format!("| {rule} | {count} |")));
        for (what, count) in &self.told {
            lines.extend([String::new(), format!("Told, and no promise of these servers: {what}: {count}.")]);
        }
        lines.join("\n") + "\n"
    }
}

const COLUMNS: [&str; 7] =
    ["clients", "nemesis", "operations", "unknown", "events", "broken connections", "expired sessions"];
