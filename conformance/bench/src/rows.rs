//! What is measured, and what must be reached.

use crate::{
    figures::{BYTES, CPU, MAX, MS, P50, P999, RATE, RESIDENT},
    workload::Kind,
};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures.
    pub what: &'static str,
    /// How.
    pub job: Job,
    /// What must be reached.
    pub bounds: &'static [Bound],
    /// Whether a missed floor fails the bench; else it is only told.
    pub counts: bool,
    /// Whether it needs a million nodes.
    pub big: bool,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Job {
    /// Connections with requests under way.
    Load {
        /// What they ask.
        kind: Kind,
        /// How many connections.
        connections: usize,
        /// How many operations each has under way.
        outstanding: usize,
    },
    /// Sessions opened and closed.
    Sessions {
        /// How many are under way at once.
        together: usize,
    },
    /// One set, thousands of watchers.
    FanOut,
    /// Resident memory under reads and then sets.
    Memory,
    /// The leader killed.
    Kill,
    /// The leader stopped, and not dead.
    Hang,
    /// All servers stopped and started.
    Restart,
    /// Sets while snapshots are written, a learner takes one, and many ephemerals go.
    Stall,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Which figure.
    pub figure: &'static str,
    /// How it is judged.
    pub how: How,
    /// What must be reached.
    pub floor: f64,
    /// What we aim at.
    pub goal: f64,
}

/// How a figure is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// So many times Apache ZooKeeper's.
    TimesMore,
    /// Apache ZooKeeper's so many times.
    TimesLess,
    /// At most so much, whatever Apache ZooKeeper's.
    AtMost,
}

const fn more(figure: &'static str, floor: f64, goal: f64) -> Bound {
    Bound { figure, how: How::TimesMore, floor, goal }
}

const fn less(figure: &'static str, floor: f64, goal: f64) -> Bound {
    Bound { figure, how: How::TimesLess, floor, goal }
}

const fn most(figure: &'static str, floor: f64, goal: f64) -> Bound {
    Bound { figure, how: How::AtMost, floor, goal }
}

const fn load(
    name: &'static str,
    what: &'static str,
    (kind, connections, outstanding): (Kind, usize, usize),
    bounds: &'static [Bound],
) -> Row {
    let job = Job::Load { kind, connections, outstanding };
    Row { name, what, job, bounds, counts: true, big: false }
}

const fn other(
    name: &'static str,
    what: &'static str,
    job: Job,
    bounds: &'static [Bound],
    counts: bool,
    big: bool,
) -> Row {
    Row { name, what, job, bounds, counts, big }
}

const fn sessions(name: &'static str, what: &'static str, together: usize) -> Row {
    const BOUNDS: &[Bound] = &[more(RATE, 3.0, 7.0)];
    other(name, what, Job::Sessions { together }, BOUNDS, false, false)
}

/// Every row. Values are of 100 bytes; "64x16" is 64 connections with 16 operations under way each.
pub const ROWS: &[Row] = &[
    load("get-64x16", "get", (Kind::Get, 64, 16), &[more(RATE, 4.0, 10.0), less(CPU, 5.0, 10.0)]),
    load("get-1x1", "get, one at a time", (Kind::Get, 1, 1), &[less(P50, 4.0, 8.0)]),
    load("set-64x16", "set", (Kind::Set, 64, 16), &[more(RATE, 3.0, 7.0), less(CPU, 4.0, 7.0)]),
    load("set-64x1", "set, one at a time each", (Kind::Set, 64, 1), &[more(RATE, 2.5, 6.0)]),
    load("set-1x1", "set, one at a time", (Kind::Set, 1, 1), &[less(P50, 1.5, 2.3)]),
    load("mixed-64x16", "nine gets, one set", (Kind::Mixed, 64, 16), &[more(RATE, 4.0, 10.0)]),
    load("create-delete-64x16", "create, delete", (Kind::CreateDelete, 64, 16), &[more(RATE, 3.0, 7.0)]),
    load("multi-16x4", "multi of ten sets", (Kind::Multi, 16, 4), &[more(RATE, 3.0, 6.0)]),
    load("sync-get-64x1", "sync and get, counted as one", (Kind::SyncGet, 64, 1), &[more(RATE, 2.0, 4.0)]),
    load("children-16x4", "getChildren of 1,000 names", (Kind::Children, 16, 4), &[more(RATE, 4.0, 10.0)]),
    sessions("sessions", "sessions opened and closed, 64 at once", 64),
    sessions(
        "sessions-256",
        "the same, 256 at once: both with the backlog that they have by themselves",
        256,
    ),
    other(
        "fan-out",
        "set until the last of 9,000 watchers is told",
        Job::FanOut,
        &[less(MS, 2.0, 5.0)],
        false,
        false,
    ),
    other(
        "memory",
        "resident memory under load, small tree",
        Job::Memory,
        &[most(RESIDENT, 40.0, 15.0)],
        true,
        false,
    ),
    other(
        "leader-killed",
        "leader killed: longest gap between acknowledged writes",
        Job::Kill,
        &[most(MS, 200.0, 80.0)],
        true,
        false,
    ),
    other(
        "leader-hung",
        "leader stopped (SIGSTOP): longest gap",
        Job::Hang,
        &[most(MS, 12_000.0, 3000.0)],
        true,
        false,
    ),
    other(
        "cold-start",
        "all servers stopped and started, 1 M znodes, until all serve",
        Job::Restart,
        &[less(MS, 4.0, 12.0), most(BYTES, 330.0, 250.0)],
        true,
        true,
    ),
    other(
        "leader-killed-1m",
        "leader killed with 1 M znodes: longest gap",
        Job::Kill,
        &[most(MS, 300.0, 120.0)],
        true,
        true,
    ),
    other(
        "stall-1m",
        "set 64x16 at 1 M znodes while snapshots are written, a learner takes one, 50,000 ephemerals go",
        Job::Stall,
        &[most(MAX, 100_000.0, 50_000.0), most(P999, 100_000.0, 10_000.0)],
        false,
        true,
    ),
];

/// What ours with its flight recorder must reach beside ours without it, in rows that are loads.
const RECORDED: &[Bound] = &[more(RATE, 0.98, 1.0), less(CPU, 0.98, 1.0)];

impl Row {
    /// As a row that shows what the flight recorder costs; none if it is no load.
    pub fn recorded(self) -> Option<Self> {
        matches!(self.job, Job::Load { .. }).then_some(Self { bounds: RECORDED, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{How, ROWS};

    #[test]
    fn names_are_unique_and_goals_lie_beyond_floors() {
        assert_eq!(ROWS.iter().map(|row| row.name).collect::<BTreeSet<_>>().len(), ROWS.len());
        for bound in ROWS.iter().flat_map(|row| row.bounds) {
            match bound.how {
                How::AtMost => assert!(bound.goal < bound.floor, "{bound:?}"),
                How::TimesMore | How::TimesLess => assert!(bound.goal > bound.floor, "{bound:?}"),
            }
        }
    }
}
