//! What bounds a search.

use std::fmt;

use protocol::{Quorum, peer, zab};
use serde::{Deserialize, Serialize};
use spec::{ServerId, SessionId};
use tree::Settings;
use world::Pace;

use crate::voters;

/// A tick in milliseconds.
const TICK_MS: u32 = 1000;
/// A session's timeout, whatever is asked for.
const TIMEOUT_MS: i32 = 2000;

/// What shapes the servers, and how much may happen.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "switches that are set one by one on the command line")]
pub struct Bounds {
    /// How many servers there are.
    pub servers: u8,
    /// Their weights by group, in the order of their ids; empty for a plain majority.
    #[serde(default)]
    pub groups: Vec<Vec<u32>>,
    /// Whether disk operations end at once.
    pub eager: bool,
    /// How often, over all servers, one may come to look for a leader, the starts included. A run ends where one more
    /// does.
    pub looks: u8,
    /// How often servers may tell their votes again.
    pub resends: u8,
    /// How often timers may end a role, or a link: Establish, Handshake and Silence.
    pub timeouts: u8,
    /// How often a leader may PING its learners.
    pub pings: u8,
    /// How many ticks of leaders' clocks may pass; three expire a session.
    pub ticks: u8,
    /// How many crashes happen.
    pub crashes: u8,
    /// How many links break, those of the election mesh included.
    pub breaks: u8,
    /// How many connections the client makes.
    pub connections: u8,
    /// How many writes the client asks for.
    pub writes: u8,
    /// How often servers that find no leader come to serve clients that only read; with 0 they are not to.
    #[serde(default)]
    pub retreats: u8,
    /// How many reads the client asks for, as one that goes without writing.
    #[serde(default)]
    pub reads: u8,
    /// Whether a crash may keep any subset of the records not synced, not only a prefix.
    pub torn: bool,
    /// Whether dials get through to servers that do not lead, which turn them away; without, such a dial waits.
    pub refusals: bool,
    /// How many applied transactions a server keeps in memory.
    pub window: usize,
    /// Whether learners may be served from the log on disk.
    pub log_sync: bool,
    /// The last counter of an epoch.
    pub counter_max: u32,
    /// Whether a situation is left out that was met before with no more used of the bounds.
    pub covering: bool,
    /// Whether to judge steps and messages too, not only histories.
    pub local_rules: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            servers: 3,
            groups: Vec::new(),
            eager: true,
            looks: 3,
            resends: 0,
            timeouts: 0,
            pings: 0,
            ticks: 0,
            crashes: 0,
            breaks: 0,
            connections: 1,
            writes: 1,
            retreats: 0,
            reads: 0,
            torn: true,
            refusals: false,
            window: 500,
            log_sync: true,
            counter_max: u32::MAX,
            covering: true,
            local_rules: true,
        }
    }
}

impl Bounds {
    pub(super) fn quorum(&self) -> Quorum {
        let voters: Vec<_> = (1..=u64::from(self.servers)).map(ServerId).collect();
        voters::quorum(&voters, &self.groups)
    }

    pub(super) fn pace(&self) -> Pace {
        if self.eager { Pace::Eager } else { Pace::Async }
    }

    pub(super) fn config(&self, me: ServerId) -> peer::Config<Settings> {
        let id = i64::try_from(me.0).expect("servers have small numbers");
        peer::Config {
            zab: zab::Config {
                me,
                quorum: self.quorum(),
                window: self.window,
                log_sync: self.log_sync,
                counter_max: self.counter_max,
            },
            tick_ms: TICK_MS,
            session_timeout_min_ms: TIMEOUT_MS,
            session_timeout_max_ms: TIMEOUT_MS,
            first_session: SessionId(id << 56),
            settings: Settings::default(),
            sweep_max: 0,
            read_only: self.retreats > 0,
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = match (self.eager, self.torn) {
            (true, _) => "eager disk",
            (false, true) => "async disk, torn tails",
            (false, false) => "async disk",
        };
        let Self { servers, groups, looks, resends, timeouts, pings, ticks, crashes, breaks, .. } = self;
        let Self { connections, writes, .. } = self;
        write!(f, "{servers} servers{}, {disk}; ", voters::text(0, groups))?;
        write!(f, "{looks} looks, {resends} resends, {timeouts} timeouts, ")?;
        write!(f, "{pings} PINGs, {ticks} ticks, {crashes} crashes, {breaks} breaks; ")?;
        write!(f, "{connections} connections, {writes} writes")?;
        if self.retreats > 0 {
            write!(f, ", {} retreats to reads, {} reads", self.retreats, self.reads)?;
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
        f.write_str(if self.refusals { ", dials refused" } else { "" })
    }
}
