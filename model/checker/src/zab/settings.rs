//! The bounds of a search.

use std::fmt;

use serde::{Deserialize, Serialize};
use spec::ServerId;
use world::DiskPace;

use crate::voters;

/// How coarse the steps of an election are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Each server decides on its own, and each packet of discovery is a transition.
    Fine,
    /// Election and discovery are one transition.
    Coarse,
}

/// What shapes the servers, and how much may happen.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "switches that are set one by one on the command line")]
pub struct Bounds {
    /// How many servers there are, observers among them.
    pub servers: u8,
    /// How many of them, the last ones, have no vote.
    #[serde(default)]
    pub observers: u8,
    /// The weights of the voters 1, 2, … by group; empty for a plain majority.
    #[serde(default)]
    pub groups: Vec<Vec<u32>>,
    /// How coarse the steps of an election are.
    pub tier: Tier,
    /// Whether disk operations end at once.
    pub eager: bool,
    /// Whether a search of the log takes its time, even so.
    #[serde(default)]
    pub slow_searches: bool,
    /// How often, over all servers, one may be told to lead. To follow they may be told as often as they like.
    pub elections: u8,
    /// How many transactions are proposed.
    pub txns: u8,
    /// How many crashes happen.
    pub crashes: u8,
    /// How many breaks happen.
    pub breaks: u8,
    /// How many timers fire; 255 for as many as like to.
    pub timeouts: u8,
    /// Whether a crash may keep any subset of the records not synced, not only a prefix.
    pub torn: bool,
    /// Whether dials get through to servers that do not lead, which turn them away; without, such a dial waits. What
    /// such a dial changes is undone when its refusal is noticed.
    pub refusals: bool,
    /// Whether a server may dial a leader that does not lead yet, and wait; without, it decides to follow one when its
    /// dial gets through.
    pub waiting: bool,
    /// How many applied transactions a server keeps in memory.
    pub window: usize,
    /// Whether learners may be served from the log on disk.
    pub log_sync: bool,
    /// The last counter of an epoch.
    pub counter_max: u32,
    /// Whether situations that differ only in the names of servers are searched once.
    pub symmetric: bool,
    /// Whether a situation is left out that was met before with no more used of the bounds.
    pub covering: bool,
    /// Whether to judge steps and messages too, not only histories.
    pub local_rules: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            servers: 3,
            observers: 0,
            groups: Vec::new(),
            tier: Tier::Fine,
            eager: true,
            slow_searches: false,
            elections: 2,
            txns: 1,
            crashes: 0,
            breaks: 0,
            timeouts: u8::MAX,
            torn: true,
            refusals: false,
            waiting: false,
            window: 500,
            log_sync: true,
            counter_max: u32::MAX,
            symmetric: true,
            covering: true,
            local_rules: true,
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, observers, groups, elections, txns, crashes, breaks, .. } = self;
        let tier = if self.tier == Tier::Fine { "fine" } else { "coarse" };
        let disk = match (self.eager, self.slow_searches, self.torn) {
            (true, false, _) => "eager disk",
            (true, true, _) => "eager disk, slow searches",
            (false, _, true) => "async disk, torn tails",
            (false, _, false) => "async disk",
        };
        write!(f, "{tier}, {disk}; {servers} servers{}, ", voters::text(*observers, groups))?;
        write!(f, "{elections} elections, {txns} txns, ")?;
        write!(f, "{crashes} crashes, {breaks} breaks, ")?;
        match self.timeouts {
            u8::MAX => f.write_str("timers free")?,
            timeouts => write!(f, "{timeouts} timeouts")?,
        }
        if self.window < 500 {
            write!(f, ", window {}", self.window)?;
        }
        if !self.log_sync {
            f.write_str(", no DIFF from the log")?;
        }
        if self.counter_max != u32::MAX {
            write!(f, ", counter up to {}", self.counter_max)?;
        }
        f.write_str(match (self.refusals, self.waiting) {
            (true, _) => ", dials refused",
            (false, true) => ", dials wait",
            (false, false) => "",
        })
    }
}

impl Bounds {
    /// The servers 1, 2, …, voters first.
    pub(crate) fn servers(&self) -> Vec<ServerId> {
        (1..=u64::from(self.servers)).map(ServerId).collect()
    }

    pub(crate) fn settings(&self) -> world::Settings {
        let servers = self.servers();
        let (voters, observers) = servers.split_at(servers.len() - usize::from(self.observers));
        world::Settings {
            quorum: voters::quorum(voters, &self.groups),
            observers: observers.to_vec(),
            window: self.window,
            log_sync: self.log_sync,
            counter_max: self.counter_max,
            disk: match (self.eager, self.slow_searches) {
                (true, false) => DiskPace::Eager,
                (true, true) => DiskPace::Searching,
                (false, _) => DiskPace::Lagging,
            },
            local_rules: self.local_rules,
        }
    }
}
