//! The budgets: named tables of rows, each a model at its bounds, with what its search should meet.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    election, peer,
    session::{self, DEEDS, Deed},
    voters,
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
    /// The `session` model.
    Session(session::Bounds),
    /// The `peer` model.
    Peer(peer::Bounds),
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
    /// For every change: some minutes.
    Quick,
    /// For a change of the protocol: about an hour on two processors, in 12 GB.
    Standard,
    /// As far as memory reaches.
    Deep,
    /// Where mutants are looked for; never exhausted.
    Mutants,
}

impl Setup {
    /// The model's name.
    pub fn model(&self) -> &'static str {
        match self {
            Self::Zab(_) => "zab",
            Self::Election(_) => "election",
            Self::Session(_) => "session",
            Self::Peer(_) => "peer",
        }
    }

    /// The bounds in words: a claim of exhaustion is one only beside them.
    pub fn bounds(&self) -> String {
        match self {
            Self::Zab(bounds) => bounds.to_string(),
            Self::Session(bounds) => bounds.to_string(),
            Self::Peer(bounds) => bounds.to_string(),
            Self::Election(config) => {
                let election::Config { votes, rounds, relooks, crashes, breaks, epochs, observers, groups } =
                    config;
                let votes: Vec<_> = votes.iter().map(|(epoch, last)| format!("{epoch}/{last}")).collect();
                format!(
                    "votes {}{}; {rounds} rounds, {relooks} re-looks, {crashes} crashes, {breaks} breaks, {epochs} epochs",
                    votes.join(" "),
                    voters::text(*observers, groups)
                )
            }
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
            Self::Standard => standard(),
            Self::Deep => deep(),
            Self::Mutants => mutants(),
        }
    }
}

fn zab(name: &'static str, bounds: Bounds, expects: &'static [&'static str]) -> Row {
    Row { name, setup: Setup::Zab(bounds), expects, traps: false }
}

fn whole_peers(name: &'static str, bounds: peer::Bounds, expects: &'static [&'static str]) -> Row {
    Row { name, setup: Setup::Peer(bounds), expects, traps: false }
}

/// Two whole peers whose disks take their time.
fn pair() -> peer::Bounds {
    peer::Bounds { servers: 2, eager: false, connections: 2, writes: 2, ..peer::Bounds::default() }
}

/// Two whole peers, each of which may find itself without the other, and a client that then reads from it.
fn read_only() -> peer::Bounds {
    peer::Bounds {
        servers: 2,
        looks: 4,
        timeouts: 1,
        connections: 3,
        writes: 2,
        retreats: 1,
        reads: 1,
        ..peer::Bounds::default()
    }
}

/// The first of two servers decides alone, also when the other has logged something, as a leader, that the first never
/// had. That is shown to a client that only reads, and cut.
fn cut_behind_a_read() -> peer::Bounds {
    peer::Bounds { groups: vec![vec![2, 1]], timeouts: 0, crashes: 1, writes: 0, ..read_only() }
}

/// What clients meet at a server that finds no leader.
const SEEN_READ_ONLY: &[&str] = &[
    "read-only-opened",
    "read-only-ended",
    "write-declined",
    "session-turned-away",
    "session-moved",
    "session-refused",
    "shown-uncommitted",
    "acknowledged",
    "R-2",
    "S-7",
    "C-19",
    "S-17",
];

/// Three servers, two rounds.
fn election(name: &'static str, votes: [(u32, u32); 3], relooks: u8, crashes: u8, epochs: u8) -> Row {
    let config = election::Config {
        votes: votes.to_vec(),
        rounds: 2,
        relooks,
        crashes,
        breaks: 0,
        epochs,
        observers: 0,
        groups: Vec::new(),
    };
    // Nobody can hear of an epoch that is not established.
    let known = election::PLAIN - usize::from(epochs == 0);
    Row { name, setup: Setup::Election(config), expects: &election::WITNESSES[..known], traps: true }
}

/// Two voters and an observer, which has the most and may crash.
fn election_observed(name: &'static str, votes: [(u32, u32); 3], crashes: u8) -> Row {
    with_voters(election(name, votes, 1, crashes, 1), 1, Vec::new(), &["observer-joins", "observer-told"])
}

/// Three voters of these weights.
fn election_weighed(name: &'static str, votes: [(u32, u32); 3], groups: Vec<Vec<u32>>) -> Row {
    with_voters(election(name, votes, 1, 0, 1), 0, groups, &["weight-decides"])
}

/// A leader's log is searched for ends of learners' logs that are others by the time that they are found.
fn slow_searches() -> Row {
    let bounds =
        Bounds { tier: Tier::Coarse, timeouts: 0, elections: 1, txns: 3, breaks: 3, ..Bounds::default() };
    let bounds = Bounds { window: 0, slow_searches: true, ..bounds };
    zab("slow-searches", bounds, &["diff-from-log", "search-overtaken"])
}

/// The same with other voters.
fn with_voters(row: Row, observers: u8, groups: Vec<Vec<u32>>, expects: &'static [&'static str]) -> Row {
    match row.setup {
        Setup::Election(config) => {
            let config = election::Config { observers, groups, ..config };
            Row { setup: Setup::Election(config), expects, ..row }
        }
        Setup::Zab(_) | Setup::Session(_) | Setup::Peer(_) => row,
    }
}

/// The same with so many voters and one observer.
fn observed(bounds: Bounds, voters: u8) -> Bounds {
    Bounds { servers: voters + 1, observers: 1, ..bounds }
}

/// What an observer meets.
const OBSERVING: &[&str] = &[
    "diff",
    "joined-behind",
    "observer-informed",
    "inform-while-joining",
    "ObserverNeverLeads",
    "ObserverLogsCommitted",
];

fn session(name: &'static str, [moves, ticks, changes]: [u8; 3], expects: &'static [&'static str]) -> Row {
    let bounds = session::Bounds { moves, ticks, changes, ..session::Bounds::default() };
    Row { name, setup: Setup::Session(bounds), expects, traps: true }
}

/// What servers meet that join an ensemble in the midst of faults.
const SEEN_JOINING: &[&str] =
    &["diff", "trunc", "ackepoch-again", "commit-while-joining", "joined-behind", "two-live-leaders"];

fn quick() -> Vec<Row> {
    [of_orders(), of_sessions(), of_whole_peers(), without_a_leader(), of_other_voters()].concat()
}

/// Part of quick: elections and broadcast.
fn of_orders() -> Vec<Row> {
    let fine = Bounds::default();
    let coarse = Bounds { tier: Tier::Coarse, ..Bounds::default() };
    let calm = Bounds { timeouts: 0, ..coarse.clone() };
    vec![
        // Everything at once; elections follow from the faults.
        zab(
            "coarse-eager",
            Bounds { elections: 3, txns: 2, crashes: 1, breaks: 1, ..coarse.clone() },
            SEEN_JOINING,
        ),
        zab("fine-async", Bounds { eager: false, crashes: 1, ..fine.clone() }, SEEN_JOINING),
        zab("fine-eager", Bounds { crashes: 1, breaks: 1, ..fine.clone() }, SEEN_JOINING),
        traps(zab("coarse-traps", Bounds { elections: 3, ..coarse.clone() }, &[])),
        // Only the ids differ; then each level of the order says something else.
        election("equal-votes", [(1, 1), (1, 1), (1, 1)], 1, 0, 1),
        election("mixed-votes", [(2, 5), (1, 5), (1, 6)], 1, 0, 1),
        // A window of one transaction: learners come from the log on disk.
        zab(
            "log-sync",
            Bounds { window: 1, txns: 3, breaks: 1, ..calm.clone() },
            &["diff-from-log", "step-down-for-new-link"],
        ),
        slow_searches(),
        // No window and no log: learners take the whole state.
        zab(
            "snap-only",
            Bounds { window: 0, log_sync: false, txns: 2, breaks: 1, crashes: 1, ..calm.clone() },
            &["snap"],
        ),
        // An epoch of one transaction.
        zab(
            "overflow",
            Bounds { counter_max: 1, txns: 2, elections: 3, ..calm.clone() },
            &["overflow-step-down"],
        ),
        // Two transactions in one batch, of which a crash keeps any.
        zab(
            "torn",
            Bounds { eager: false, txns: 2, crashes: 2, ..calm },
            &[
                "torn-tail-kept-in-part",
                "crash-image-recovered",
                "joiner-with-outstanding",
                "foreign-suffix-removed",
            ],
        ),
        // Dials to servers that do not lead are let through and turned away.
        zab("refusals", Bounds { refusals: true, ..fine }, SEEN_JOINING),
    ]
}

/// Part of quick: sessions.
fn of_sessions() -> Vec<Row> {
    vec![
        // One fault of each kind, with every script.
        session("moves", [1, 0, 0], SEEN_MOVING),
        session("expiry", [0, 1, 0], SEEN_EXPIRING),
        session("leaders", [0, 0, 1], SEEN_LEADING),
        of_scripts(session("order", [1, 0, 0], &["late-write-refused", "S-5"]), &[Deed::SetTwice], 100),
        succeeding(session("succession", [0, 0, 1], SEEN_SUCCEEDING)),
        of_scripts(session("held", [0, 0, 1], SEEN_HOLDING), &[Deed::SyncSet], 100),
        observing(session("observed", [1, 0, 0], SEEN_MOVING)),
        observing(session("observed-expiry", [0, 1, 0], SEEN_EXPIRING)),
        of_first(observing(session("observed-leaders", [0, 0, 1], SEEN_LEADING)), &[Deed::Set]),
        restarting(session("restarts", [2, 0, 0], SEEN_RESTARTING)),
        observing(restarting(session("restarts-observed", [2, 0, 0], SEEN_RESTARTING))),
        without_extensions(session("plain", [1, 0, 0], SEEN_WITHOUT_EXTENSIONS)),
        observing(without_extensions(session("plain-observed", [1, 0, 0], SEEN_WITHOUT_EXTENSIONS))),
        demanding(session("demanded", [1, 0, 0], SEEN_DEMANDING)),
        sweeping("sweeps", [0, 0, 1], 1, SEEN_SWEEPING),
        sweeping("sweeps-again", [0, 0, 0], 2, SEEN_SWEEPING),
        // Who joins again is sent the whole state.
        of_scripts(
            session("snapshots", [0, 0, 1], &["leader-changed", "S-4"]),
            &[Deed::Create, Deed::Set],
            0,
        ),
    ]
}

/// Part of quick: nothing replaced, whole servers elect a leader, and two of them do all that they are for.
fn of_whole_peers() -> Vec<Row> {
    vec![
        whole_peers(
            "cold-election",
            peer::Bounds { connections: 0, writes: 0, ..peer::Bounds::default() },
            &["elected", "established", "given-up-in-vain", "second-election", "R-6", "F-1", "F-3", "F-4"],
        ),
        whole_peers(
            "pair",
            peer::Bounds { looks: 4, crashes: 1, ..pair() },
            &[
                "torn-tail-kept-in-part",
                "crash-image-recovered",
                "second-reign",
                "session-opened",
                "session-moved",
                "acknowledged",
                "acknowledged-at-a-follower",
                "acknowledged-before-a-reign",
                "R-2",
                "R-3",
                "S-5",
                "S-7",
                "S-8",
                "S-13",
            ],
        ),
        whole_peers(
            "pair-expiry",
            peer::Bounds { eager: true, looks: 2, ticks: 4, writes: 1, ..pair() },
            &["expired", "session-refused"],
        ),
    ]
}

/// Part of quick: clients that only read, at a server that finds no leader.
fn without_a_leader() -> Vec<Row> {
    vec![
        whole_peers("read-only", read_only(), SEEN_READ_ONLY),
        whole_peers(
            "read-only-cut",
            cut_behind_a_read(),
            &["let-in-behind-a-cut", "trunc", "S-7", "C-19", "S-17"],
        ),
    ]
}

/// Part of quick: with observers, and with voters that do not weigh the same.
fn of_other_voters() -> Vec<Row> {
    let fine = Bounds::default();
    let coarse = Bounds { tier: Tier::Coarse, ..Bounds::default() };
    vec![
        // Two voters and an observer; then three, where a leader is deposed while the observer learns from it.
        zab(
            "observer-eager",
            Bounds { txns: 2, crashes: 1, breaks: 1, ..observed(fine.clone(), 2) },
            OBSERVING,
        ),
        zab(
            "observer-async",
            Bounds { eager: false, crashes: 1, breaks: 1, ..observed(fine.clone(), 2) },
            OBSERVING,
        ),
        zab(
            "observer-of-three",
            Bounds { crashes: 1, timeouts: 1, ..observed(coarse.clone(), 3) },
            &["observer-informed", "two-live-leaders", "ObserverNeverLeads", "ObserverLogsCommitted"],
        ),
        zab(
            "observer-snap",
            Bounds {
                window: 0,
                log_sync: false,
                txns: 2,
                breaks: 1,
                crashes: 1,
                timeouts: 0,
                ..observed(coarse.clone(), 2)
            },
            &["snap", "observer-informed"],
        ),
        election_observed("observer", [(1, 1), (1, 1), (2, 9)], 1),
        // One voter that decides alone; then two groups, which must agree.
        zab("weights", Bounds { crashes: 1, groups: vec![vec![3, 1, 1]], ..fine }, &["trunc"]),
        zab(
            "groups",
            Bounds { elections: 3, crashes: 1, groups: vec![vec![2, 1], vec![1]], ..coarse },
            &["trunc"],
        ),
        // The one with the most may not lead, and another one outweighs half of the voters.
        election_weighed("weights", [(1, 5), (1, 5), (1, 6)], vec![vec![2, 1, 0]]),
    ]
}
/// What a cold start meets, up to a write that its client was told of.
const COLD: &[&str] = &[
    "diff",
    "joiner-with-outstanding",
    "elected",
    "established",
    "given-up-in-vain",
    "second-election",
    "session-opened",
    "acknowledged",
    "acknowledged-at-a-follower",
    "R-2",
    "R-3",
    "R-6",
    "S-7",
    "S-8",
    "S-13",
    "F-1",
    "F-3",
    "F-4",
];

/// The same with so many PINGs.
fn with_pings(mut row: Row, pings: u8) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        bounds.pings = pings;
    }
    row
}

/// The same with other scripts, and a leader that keeps so many transactions.
fn of_scripts(mut row: Row, deeds: &[Deed], window: usize) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        let (first, second) = (deeds.to_vec(), deeds.to_vec());
        *bounds = session::Bounds { first, second, window, ..bounds.clone() };
    }
    row
}

/// The same with fewer scripts.
fn of_first(mut row: Row, deeds: &[Deed]) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        bounds.first = deeds.to_vec();
    }
    row
}

/// The same with one script.
fn of_pair(mut row: Row, first: Deed, second: Deed) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        (bounds.first, bounds.second) = (vec![first], vec![second]);
    }
    row
}

/// One client at an observer.
fn observing(mut row: Row) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        bounds.observed = true;
    }
    row
}

/// What clients meet of whom an identity is demanded.
const SEEN_DEMANDING: &[&str] = &["unproved-refused", "moved", "C-17", "C-18"];

/// Clients that prove who they are, and one that does not, where that is demanded.
fn demanding(mut row: Row) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        let (first, second) = (vec![Deed::Prove], vec![Deed::Prove, Deed::Set, Deed::Close, Deed::Sync]);
        *bounds = session::Bounds { first, second, ..bounds.clone() };
    }
    row
}

/// What is met there.
const SEEN_WITHOUT_EXTENSIONS: &[&str] = &["write-behind-a-sync", "S-14", "S-16"];

/// The second client, which syncs twice, at a server without extensions, to which the first one moves.
fn without_extensions(mut row: Row) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        let (first, second) = (vec![Deed::Set, Deed::Close], vec![Deed::SyncTwice]);
        *bounds = session::Bounds { first, second, dialect: session::Dialect::Apache, ..bounds.clone() };
    }
    row
}

/// What leaders meet that delete containers in which clients create nodes.
const SEEN_SWEEPING: &[&str] = &["swept", "sweep-came-late", "S-15"];

/// Two containers to delete, so many looks for them, and clients that create nodes there.
fn sweeping(name: &'static str, bounds: [u8; 3], sweeps: u8, expects: &'static [&'static str]) -> Row {
    let mut row = of_scripts(session(name, bounds, expects), &[Deed::Shelter], 100);
    if let Setup::Session(bounds) = &mut row.setup {
        bounds.sweeps = sweeps;
    }
    row
}

/// Clients that number their requests anew on each connection, as kazoo does: one writes twice, and what it was told of
/// shows when the other one has written between.
fn restarting(mut row: Row) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        *bounds = session::Bounds {
            first: vec![Deed::SetTwice],
            second: vec![Deed::Set],
            restarts: true,
            ..bounds.clone()
        };
    }
    row
}

/// What they meet.
const SEEN_RESTARTING: &[&str] = &["answer-of-another-connection", "late-write-refused", "S-11"];

/// What clients meet that move.
const SEEN_MOVING: &[&str] = &[
    "moved",
    "late-write-refused",
    "behind-turned-away",
    "close-with-open-create",
    "event",
    "event-after-return",
    "multi-done",
    "multi-failed",
    "S-1",
    "S-2",
    "S-4",
    "S-5",
    "S-7",
    "S-8",
    "S-9",
    "S-10",
    "S-11",
    "S-12",
    "S-13",
    "S-14",
    "S-19",
    "C-4",
    "C-15",
    "R-7",
];

/// A client that creates what another one gives up with its session.
fn succeeding(mut row: Row) -> Row {
    if let Setup::Session(bounds) = &mut row.setup {
        let (first, second) = (vec![Deed::Close], vec![Deed::Succeed]);
        *bounds = session::Bounds { first, second, ..bounds.clone() };
    }
    row
}

/// What clients meet whose writes wait behind their syncs.
const SEEN_HOLDING: &[&str] = &["held-behind-a-sync", "leader-changed", "S-9", "S-11", "S-14"];

/// What a client meets that takes what another one gives up.
const SEEN_SUCCEEDING: &[&str] = &["write-behind-an-open-close", "leader-changed", "S-2", "S-18", "S-19"];

/// What clients meet whose sessions expire.
const SEEN_EXPIRING: &[&str] = &["refused", "expired", "expired-with-ephemeral", "S-2", "S-3", "S-4", "C-4"];

/// What clients meet when leaders change.
const SEEN_LEADING: &[&str] = &[
    "leader-changed",
    "two-leaders",
    "sync-at-a-deposed-leader",
    "open-write-survives",
    "open-write-vanishes",
    "event-after-return",
    "S-8",
    "S-9",
    "S-11",
    "S-14",
];

/// What clients meet where two of these come together: all that they meet in each.
const SEEN_MOVING_AND_LEADING: &[&str] =
    &both::<{ SEEN_MOVING.len() + SEEN_LEADING.len() }>(SEEN_MOVING, SEEN_LEADING);
const SEEN_MOVING_AND_EXPIRING: &[&str] =
    &both::<{ SEEN_MOVING.len() + SEEN_EXPIRING.len() }>(SEEN_MOVING, SEEN_EXPIRING);
const SEEN_EXPIRING_AND_LEADING: &[&str] =
    &both::<{ SEEN_EXPIRING.len() + SEEN_LEADING.len() }>(SEEN_EXPIRING, SEEN_LEADING);

/// Two lists as one.
const fn both<const N: usize>(one: &[&'static str], other: &[&'static str]) -> [&'static str; N] {
    let mut all = [""; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    all
}

fn traps(row: Row) -> Row {
    Row { traps: true, ..row }
}

fn standard() -> Vec<Row> {
    let fine = Bounds::default();
    let coarse = Bounds { tier: Tier::Coarse, ..Bounds::default() };
    vec![
        whole_peers("cold", peer::Bounds { looks: 4, ..peer::Bounds::default() }, COLD),
        whole_peers("cold-async", peer::Bounds { eager: false, ..peer::Bounds::default() }, COLD),
        // The second election behind a crash, without a client.
        whole_peers(
            "cold-crash",
            peer::Bounds { looks: 4, crashes: 1, connections: 0, writes: 0, ..peer::Bounds::default() },
            &["second-reign", "ackepoch-again", "two-live-leaders"],
        ),
        whole_peers("pair-faults", peer::Bounds { looks: 5, crashes: 1, breaks: 1, ..pair() }, &[]),
        zab("fine-eager", Bounds { elections: 3, txns: 2, crashes: 1, breaks: 1, ..fine.clone() }, &[]),
        // The bounds of Remix's mSpec-1: 2 transactions, 2 crashes, 2 breaks, atomic disk.
        zab("remix", Bounds { elections: 3, txns: 2, crashes: 2, breaks: 2, ..coarse.clone() }, &[]),
        zab("coarse-async", Bounds { eager: false, txns: 2, crashes: 1, breaks: 1, ..coarse }, &[]),
        zab("fine-async", Bounds { eager: false, crashes: 1, breaks: 1, ..fine }, &[]),
        zab(
            "observer-of-three",
            Bounds {
                elections: 3,
                crashes: 1,
                breaks: 1,
                timeouts: 0,
                ..observed(Bounds { tier: Tier::Coarse, ..Bounds::default() }, 3)
            },
            &["observer-informed", "inform-while-joining"],
        ),
        zab(
            "two-observers",
            Bounds {
                servers: 4,
                observers: 2,
                tier: Tier::Coarse,
                crashes: 1,
                breaks: 1,
                timeouts: 1,
                ..Bounds::default()
            },
            &["observer-informed", "inform-while-joining"],
        ),
        election("relooks", [(1, 1), (1, 1), (1, 1)], 3, 0, 1),
        election("crash", [(1, 1), (1, 1), (1, 1)], 3, 1, 0),
        session("moves-leaders", [1, 0, 1], SEEN_MOVING_AND_LEADING),
        session("moves-expiry", [1, 1, 0], SEEN_MOVING_AND_EXPIRING),
        observing(session("observed-leaders", [0, 0, 1], SEEN_LEADING)),
        of_scripts(session("held-moves", [1, 0, 1], SEEN_HOLDING), &[Deed::SyncSet], 100),
        succeeding(session("succession-expiry", [1, 1, 1], SEEN_SUCCEEDING)),
        session("expiry-leaders", [0, 1, 1], SEEN_EXPIRING_AND_LEADING),
        without_extensions(session("plain-leaders", [1, 0, 1], &["leader-changed", "S-16"])),
        // What a leader hears of sessions through its followers.
        with_pings(session("pings", [0, 1, 0], SEEN_EXPIRING), 1),
    ]
}

fn deep() -> Vec<Row> {
    let fine = Bounds::default();
    let coarse = Bounds { tier: Tier::Coarse, ..Bounds::default() };
    let calm = peer::Bounds::default();
    let everything = peer::Bounds {
        eager: false,
        looks: 6,
        resends: 1,
        timeouts: 1,
        pings: 1,
        crashes: 1,
        breaks: 1,
        connections: 2,
        writes: 2,
        ..calm.clone()
    };
    let mut rows = vec![
        zab("coarse-eager", Bounds { elections: 4, txns: 3, crashes: 2, breaks: 2, ..coarse.clone() }, &[]),
        zab(
            "coarse-async",
            Bounds { eager: false, elections: 3, txns: 2, crashes: 2, breaks: 1, ..coarse },
            &[],
        ),
        zab("fine-eager", Bounds { elections: 3, txns: 2, crashes: 2, breaks: 2, ..fine.clone() }, &[]),
        zab("fine-async", Bounds { eager: false, elections: 3, txns: 2, crashes: 1, breaks: 1, ..fine }, &[]),
        election("crash", [(2, 5), (1, 5), (1, 6)], 3, 1, 1),
        whole_peers("crash", peer::Bounds { looks: 6, crashes: 1, connections: 2, writes: 2, ..calm }, &[]),
        whole_peers("everything", everything, &[]),
    ];
    rows.extend(every_script());
    rows
}

/// A move, an expiry and a change of leader together: a row for each deed of the first client, beside which the second
/// does each. Where a client watches or closes, a script is as large as six others are, and has a row of its own.
fn every_script() -> impl Iterator<Item = Row> {
    let first = [
        ("all-create", Deed::Create),
        ("all-set", Deed::Set),
        ("all-multi", Deed::Multi),
        ("all-sync", Deed::Sync),
    ];
    let watching = ["watch-create", "watch-set", "watch-watch", "watch-multi", "watch-sync", "watch-close"]
        .map(|name| (name, Deed::Watch));
    let closing = ["close-create", "close-set", "close-watch", "close-multi", "close-sync", "close-close"]
        .map(|name| (name, Deed::Close));
    let all = |name| session(name, [1, 1, 1], &[]);
    let large = watching.into_iter().zip(DEEDS).chain(closing.into_iter().zip(DEEDS));
    let rows = first.into_iter().map(move |(name, first)| of_first(all(name), &[first]));
    rows.chain(large.map(move |((name, first), second)| of_pair(all(name), first, second)))
}

/// Each set of bounds is as narrow as the flaws allow that are looked for with it, so that they are found in seconds.
fn mutants() -> Vec<Row> {
    let calm = Bounds { tier: Tier::Coarse, timeouts: 0, ..Bounds::default() };
    let slow = Bounds { eager: false, ..calm.clone() };
    vec![
        zab("slow-joining", Bounds { elections: 1, ..slow.clone() }, &["joined-behind"]),
        zab(
            "joining",
            Bounds { elections: 1, ..calm.clone() },
            &["commit-while-joining", "joiner-with-outstanding"],
        ),
        zab(
            "faults",
            Bounds { elections: 3, txns: 2, crashes: 1, breaks: 1, timeouts: 1, ..calm.clone() },
            &[],
        ),
        zab("crashes", Bounds { elections: 3, crashes: 2, ..calm.clone() }, &[]),
        zab("slow-faults", Bounds { elections: 3, crashes: 1, breaks: 1, timeouts: 1, ..slow.clone() }, &[]),
        zab("slow-crashes", Bounds { elections: 3, crashes: 2, ..slow }, &[]),
        zab(
            "observing",
            Bounds { txns: 2, crashes: 1, breaks: 1, ..observed(calm.clone(), 2) },
            &["observer-informed"],
        ),
        zab("weights", Bounds { elections: 3, crashes: 2, groups: vec![vec![3, 1, 1]], ..calm.clone() }, &[]),
        zab(
            "groups",
            Bounds { elections: 3, crashes: 2, groups: vec![vec![2, 1], vec![1]], ..calm.clone() },
            &[],
        ),
        Row { expects: &[], ..election_observed("observer", [(1, 1), (1, 1), (2, 9)], 0) },
        Row { expects: &[], ..election_weighed("weightless", [(1, 5), (1, 5), (1, 6)], vec![vec![2, 1, 0]]) },
        slow_searches(),
        zab("new-link", Bounds { elections: 1, breaks: 1, ..calm }, &["step-down-for-new-link"]),
        zab("fine-faults", Bounds { elections: 3, txns: 2, breaks: 2, crashes: 1, ..Bounds::default() }, &[]),
        Row { expects: &[], ..election("equal-votes", [(1, 1), (1, 1), (1, 1)], 1, 0, 1) },
        Row { expects: &[], ..election("mixed-votes", [(2, 5), (1, 5), (1, 6)], 1, 0, 1) },
        session("moves", [1, 0, 0], &[]),
        session("expiry", [0, 1, 0], &[]),
        restarting(session("restarts", [2, 0, 0], &[])),
        without_extensions(session("plain", [1, 0, 0], &[])),
        demanding(session("demanded", [1, 0, 0], &[])),
        succeeding(session("succession", [0, 0, 0], &[])),
        of_scripts(session("held", [0, 0, 1], &[]), &[Deed::SyncSet], 100),
        observing(restarting(session("restarts-observed", [2, 0, 0], &[]))),
        session("leaders", [0, 0, 1], &[]),
        session("expiry-leaders", [0, 1, 1], &[]),
        sweeping("sweeps", [0, 0, 0], 1, &[]),
        session("moves-leaders", [1, 0, 1], &[]),
        whole_peers("read-only", read_only(), &[]),
        whole_peers("read-only-cut", cut_behind_a_read(), &["let-in-behind-a-cut"]),
        whole_peers(
            "peer-pair",
            peer::Bounds { looks: 4, crashes: 1, connections: 1, writes: 1, ..pair() },
            &[],
        ),
    ]
}
