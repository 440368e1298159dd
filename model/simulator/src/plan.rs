//! What a seed does, as data: the ensemble, the faults and the clients' requests, each at its time.
//!
//! Swarm testing: a seed draws which kinds of faults and requests there are at all, and how often. Runs that have
//! everything in them are all alike, and a fault that is rare beside all others is met often where it is alone.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::chance::{Chance, Stream};

/// How many servers there are. They are called 1, 2, …, those that vote first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// How many vote.
    pub voters: u8,
    /// How many only observe.
    pub observers: u8,
}

impl Size {
    /// Three voters.
    pub const THREE: Self = Self { voters: 3, observers: 0 };
    /// Five voters.
    pub const FIVE: Self = Self { voters: 5, observers: 0 };
    /// Five voters and two observers.
    pub const FIVE_AND_TWO: Self = Self { voters: 5, observers: 2 };
    /// Those that seeds choose from.
    pub const ALL: [Self; 3] = [Self::THREE, Self::FIVE, Self::FIVE_AND_TWO];

    /// How many servers that makes.
    pub fn servers(self) -> u8 {
        self.voters + self.observers
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.observers {
            0 => write!(f, "{}", self.voters),
            observers => write!(f, "{}+{observers}", self.voters),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(|size| size.to_string()).join(", ");
        let found = Self::ALL.into_iter().find(|size| size.to_string() == text);
        found.ok_or_else(|| format!("an ensemble is one of {}", known()))
    }
}

/// A plan: with the commit, all that a run depends on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where the streams of chance start.
    pub seed: u64,
    /// How many servers there are.
    pub size: Size,
    /// How many clients there are.
    pub clients: u8,
    /// How many of them, the first, go without writing where there is no leader.
    #[serde(default)]
    pub readers: u8,
    /// How the servers are set up.
    pub tuning: Tuning,
    /// When the faults end, in milliseconds.
    pub heal_ms: u64,
    /// What goes wrong, in the order of time.
    pub faults: Vec<Fault>,
    /// What clients do, in the order of time.
    pub deeds: Vec<Deed>,
}

/// How the servers are set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// How many transactions are kept in memory for learners.
    pub window: usize,
    /// Whether learners behind the window may be served from the log on disk.
    pub log_sync: bool,
    /// The last counter of an epoch.
    pub counter_max: u32,
    /// The longest that a packet usually takes between servers, in microseconds.
    pub latency_us: u64,
    /// The longest that a disk operation usually takes, in microseconds.
    pub disk_us: u64,
    /// The timeout that clients ask for, in milliseconds.
    pub session_ms: u32,
    /// Whether servers that find no leader serve clients that only read.
    #[serde(default)]
    pub read_only: bool,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: Trouble,
}

/// What goes wrong. Servers are named by their numbers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// A process ends, and another one starts behind a while.
    Crash {
        /// Which server's.
        server: u8,
        /// How long it is down, in milliseconds.
        ms: u64,
        /// Chooses what the disk keeps of what was not synced.
        keep: u64,
        /// Whether nobody is told: the machine has lost power.
        silent: bool,
    },
    /// All processes end at once.
    CrashAll {
        /// How long they are down, in milliseconds.
        ms: u64,
        /// Chooses what the disks keep of what was not synced.
        keep: u64,
    },
    /// A process stands still.
    Pause {
        /// Which server's.
        server: u8,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The connections between two servers break.
    Break {
        /// One.
        one: u8,
        /// The other.
        other: u8,
    },
    /// Nothing gets from one server to another; the other way is open.
    Deaf {
        /// From here.
        from: u8,
        /// To there.
        to: u8,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// Nothing gets from these servers to the others, or back.
    Partition {
        /// Bit `i`: server `i + 1`.
        side: u8,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// What two servers send each other takes longer.
    Delay {
        /// One.
        one: u8,
        /// The other.
        other: u8,
        /// How much longer, in milliseconds.
        extra_ms: u64,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// A disk takes so many times as long.
    SlowDisk {
        /// Which server's.
        server: u8,
        /// How many times.
        times: u64,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Which server's.
        server: u8,
        /// How far, in milliseconds.
        by_ms: i64,
    },
    /// A server's clocks run fast or slow.
    Drift {
        /// Which server's.
        server: u8,
        /// How many of its milliseconds pass in a second.
        rate: u64,
        /// How long, in milliseconds.
        ms: u64,
    },
}

/// What clients do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// When, in milliseconds, or as soon behind that as the client has its session.
    pub at_ms: u64,
    /// Who.
    pub client: u8,
    /// What.
    pub what: Act,
}

/// What a client does. Nodes are named by numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Sets a node's data.
    Set {
        /// Which node.
        node: u8,
    },
    /// Creates a node.
    Create {
        /// Which node.
        node: u8,
    },
    /// Deletes a node.
    Delete {
        /// Which node.
        node: u8,
    },
    /// Creates an ephemeral that others may want, too.
    Lock {
        /// Which.
        node: u8,
    },
    /// Creates an ephemeral under the next number.
    Enqueue,
    /// Sets a node's data, creates a node under the next number and another node: all of it or nothing.
    Multi {
        /// Which node.
        node: u8,
        /// Which other one.
        other: u8,
    },
    /// Reads a node's data.
    Get {
        /// Which node.
        node: u8,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Asks whether a node is there.
    Exists {
        /// Which node.
        node: u8,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Reads the names of all nodes.
    List {
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Syncs.
    Sync,
    /// Closes its session, and has another one behind it.
    Close,
    /// Leaves its connection for one with another server.
    Move,
    /// Dies, and comes back with its session.
    Die {
        /// Behind this many milliseconds.
        ms: u64,
        /// Whether its server is not told.
        silent: bool,
    },
    /// Says nothing.
    Idle {
        /// For this many milliseconds.
        ms: u64,
    },
}

/// The nodes that clients share.
pub(crate) const NODES: u8 = 5;
/// A tick, in milliseconds.
pub(crate) const TICK_MS: u32 = 1000;

const DEEDS_MAX: usize = 160;

impl Trouble {
    /// The kinds, in the order of [`Trouble::kind`].
    pub const KINDS: [&str; 10] = [
        "crash",
        "crash-all",
        "pause",
        "break",
        "one-way-loss",
        "partition",
        "delay",
        "slow-disk",
        "clock-jump",
        "clock-drift",
    ];

    /// Which kind: a place among [`Trouble::KINDS`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Crash { .. } => 0,
            Self::CrashAll { .. } => 1,
            Self::Pause { .. } => 2,
            Self::Break { .. } => 3,
            Self::Deaf { .. } => 4,
            Self::Partition { .. } => 5,
            Self::Delay { .. } => 6,
            Self::SlowDisk { .. } => 7,
            Self::ClockJump { .. } => 8,
            Self::Drift { .. } => 9,
        }
    }

    fn draw(kind: usize, servers: u8, chance: &mut Chance) -> Self {
        let small = |number: u64| u8::try_from(number).expect("a small number");
        let server = small(chance.within(1, servers.into()));
        let other =
            small((u64::from(server) + chance.below(u64::from(servers) - 1)) % u64::from(servers) + 1);
        // Most are short; some are longer than every timer.
        let most = chance.pick(&[300, 2_000, 2_000, 12_000]);
        let ms = chance.within(20, most);
        match kind {
            0 => Self::Crash { server, ms, keep: chance.number(), silent: chance.once_in(4) },
            1 => Self::CrashAll { ms: ms.min(3_000), keep: chance.number() },
            2 => Self::Pause { server, ms },
            3 => Self::Break { one: server, other },
            4 => Self::Deaf { from: server, to: other, ms },
            5 => Self::Partition { side: small(chance.within(1, (1 << servers) - 2)), ms },
            6 => Self::Delay { one: server, other, extra_ms: chance.within(5, 600), ms },
            7 => Self::SlowDisk { server, times: chance.pick(&[10, 100, 1_000]), ms },
            8 => {
                let far = i64::try_from(chance.within(1, 100_000)).expect("a short time");
                Self::ClockJump { server, by_ms: if chance.once_in(2) { far } else { -far } }
            }
            9 => Self::Drift { server, rate: chance.within(500, 2_000), ms: ms + 3_000 },
            _ => unreachable!("there are so many kinds"),
        }
    }
}

impl Act {
    fn draw(kind: usize, session_ms: u32, chance: &mut Chance) -> Self {
        let mut name = || u8::try_from(chance.below(NODES.into())).expect("few");
        let (node, other) = (name(), name());
        let watch = chance.once_in(2);
        match kind {
            0 => Self::Set { node },
            1 => Self::Create { node },
            2 => Self::Delete { node },
            3 => Self::Lock { node: node % 2 },
            4 => Self::Enqueue,
            5 => Self::Multi { node, other },
            6 => Self::Get { node, watch },
            7 => Self::Exists { node, watch },
            8 => Self::List { watch },
            9 => Self::Sync,
            10 => Self::Close,
            11 => Self::Move,
            12 => Self::Die { ms: chance.within(10, u64::from(session_ms) * 2), silent: chance.once_in(2) },
            13 => Self::Idle { ms: chance.within(u64::from(session_ms), u64::from(session_ms) * 3) },
            _ => unreachable!("there are so many kinds"),
        }
    }
}

/// How often clients do what, in the order of [`Act::draw`].
const WEIGHTS: [u64; 14] = [12, 8, 5, 5, 5, 5, 8, 6, 6, 8, 1, 3, 2, 1];

impl Plan {
    /// The plan of a seed; of an ensemble of this size, or of the one that the seed chooses: every second one is of
    /// three, and the others are of five, one half of them with two observers.
    pub fn draw(seed: u64, size: Option<Size>) -> Self {
        let chance = &mut Chance::new(seed, Stream::Plan);
        let drawn = chance.pick(&[Size::THREE, Size::THREE, Size::FIVE, Size::FIVE_AND_TWO]);
        let size = size.unwrap_or(drawn);
        let clients = u8::try_from(chance.within(2, 5)).expect("few");
        let small = u32::try_from(chance.within(6, 24)).expect("small");
        let apart = &mut Chance::new(seed, Stream::Readers);
        let read_only = apart.once_in(3);
        let readers = if read_only { u8::try_from(apart.within(1, clients.into())).expect("few") } else { 0 };
        let tuning = Tuning {
            window: chance.pick(&[0, 1, 2, 3, 5, 10, 100]),
            log_sync: chance.once_in(2),
            counter_max: if chance.once_in(6) { small } else { u32::MAX - 1 },
            latency_us: chance.pick(&[300, 1_000, 5_000, 30_000]),
            disk_us: chance.pick(&[200, 2_000, 20_000]),
            session_ms: chance.pick(&[2_000, 4_000, 8_000]),
            read_only,
        };
        let heal_ms = chance.within(8_000, 40_000);
        let faults = draw_faults(size.servers(), heal_ms, chance);
        let deeds = draw_deeds(clients, tuning.session_ms, heal_ms, chance);
        Self { seed, size, clients, readers, tuning, heal_ms, faults, deeds }
    }
}

fn draw_faults(servers: u8, heal_ms: u64, chance: &mut Chance) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in 0..Trouble::KINDS.len() {
        let (off, often) = (chance.once_in(2), chance.pick(&[1_500, 4_000, 12_000]));
        let gap = if kind == 1 { often * 4 } else { often };
        let mut at_ms = chance.below(gap * 2);
        while at_ms < heal_ms && !off {
            faults.push(Fault { at_ms, what: Trouble::draw(kind, servers, chance) });
            at_ms += 1 + chance.below(gap * 2);
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn draw_deeds(clients: u8, session_ms: u32, heal_ms: u64, chance: &mut Chance) -> Vec<Deed> {
    let weights: Vec<_> = WEIGHTS.iter().map(|weight| if chance.once_in(5) { 0 } else { *weight }).collect();
    let total: u64 = weights.iter().sum();
    let mut deeds = Vec::new();
    if total == 0 {
        return deeds;
    }
    for client in 0..clients {
        let gap = chance.pick(&[100, 400, 1_500]);
        let mut at_ms = chance.below(1_000);
        while at_ms < heal_ms {
            let mut left = chance.below(total);
            let kind = weights.iter().position(|weight| {
                let here = left < *weight;
                left = left.saturating_sub(*weight);
                here
            });
            let what = Act::draw(kind.expect("they make up the total"), session_ms, chance);
            deeds.push(Deed { at_ms, client, what });
            at_ms += 1 + chance.below(gap * 2);
        }
    }
    deeds.sort_by_key(|deed| deed.at_ms);
    // Spread over the whole time.
    let step = deeds.len().div_ceil(DEEDS_MAX).max(1);
    deeds.into_iter().step_by(step).collect()
}
