//! An ensemble moves in place from one maker's servers to the other's and back: the same data folders, the same
//! zoo.cfg, one server at a time, while clients write, watch, hold ephemeral nodes and keep their sessions.
//!
//! Each round goes a part of the way and back: one server of three, two, all. What a move is allowed to cost is a gap
//! between two acknowledged writes. Behind each move everybody rests, every watch must have fired once for each change,
//! every session must live with its ephemeral, and every server must show the same nodes, to the last field of their
//! Stats: those that acknowledged writes have made, and no other.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::{
    client::{Acl, Client, Kind, Op, four_letters},
    conductor::{Round, Trial},
    content::{self, Claim},
    ensemble::{Ensemble, Servers},
    ledger::Broken,
    museum,
    session::{SERVING_PATIENCE, SESSION_TIMEOUT_MS, connect, create},
    watching::{self, Flaw, Spot, Watching, Way},
};

/// How many clients write, and how many requests each keeps under way.
const WRITERS: usize = 8;
const WINDOW: usize = 4;
/// How many watch; each second one is ended in the end, so an even number.
const WATCHERS: usize = 8;
/// How many spots of each way they watch.
const SPOTS: [(Way, usize); 4] = [(Way::Data, 4), (Way::Exists, 3), (Way::Children, 3), (Way::Quiet, 2)];
/// How many writes must come through in each part of a move: before, while the server is down, and behind it.
const WRITES_EACH: u64 = 500;
/// How long a server stays down at least.
const DOWN: Duration = Duration::from_millis(700);

/// How Apache ZooKeeper's learners tell that they fell over ZOOKEEPER-4394, and come again.
const STUMBLE: &str = "Cannot read field \"hdr\" because \"pif\" is null";

/// Servers of one maker.
#[derive(Clone, Debug)]
pub struct Maker {
    /// As it is told.
    pub name: String,
    /// How they are run.
    pub servers: Servers,
}

/// In what order servers are moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    /// The leader last: one election for all.
    LeaderLast,
    /// Whoever leads is next: an election each.
    LeaderFirst,
}

/// What a line tells of a move: acknowledged writes and the longest time between two of them; how often a session went on
/// at another server; how many watches fired, and how many of those for changes while their client was away.
const HEAD: &str =
    " move  server  was       becomes                     writes  gap ms   moved   fired  on return";

struct Migration {
    /// The clients that watch; dropped first, so that they end before their servers.
    watching: Watching,
    trial: Trial,
    /// What nobody may touch.
    museum: BTreeMap<String, Claim>,
    /// Of which maker each server is, by its place in `makers`.
    made_by: Vec<usize>,
    /// What each server has said of states that differ from what transactions tell, when all served again.
    mismatches: Vec<String>,
    makers: [Maker; 2],
    /// As they were when the clients of this move were at their places.
    seen: Totals,
    nodes: usize,
}

/// What the clients have counted so far.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    session_moves: u64,
    fired: u64,
    fired_on_return: u64,
}

/// One move, and what it was like.
struct Move {
    id: usize,
    led: bool,
    to: usize,
    round: Round,
    counted: Totals,
}

/// Moves an ensemble of the first maker's to the second's and back, `rounds` times as far as one server, two, and all.
///
/// # Errors
/// Says what was broken, with the last words of each server.
pub fn run(ensemble: Ensemble, makers: [Maker; 2], rounds: usize) -> Result<Value> {
    let began = Instant::now();
    let mut migration = Migration::begin(ensemble, makers, None)?;
    let outcome = migration.rounds(rounds);
    if outcome.is_err() {
        eprintln!("{}", migration.trial.ensemble.last_words());
    }
    let moves = outcome?;
    migration.tell(&moves, began.elapsed())
}

impl Migration {
    fn begin(mut ensemble: Ensemble, makers: [Maker; 2], flaw: Option<Flaw>) -> Result<Self> {
        ensemble.start_all()?;
        ensemble.await_serving(SERVING_PATIENCE)?;
        let addresses = ensemble.addresses();
        let mut client = connect(addresses[0], SESSION_TIMEOUT_MS)?;
        museum::build(&mut client)?;
        let spots = lay_out(&mut client)?;
        client.call(&Op::Close)?;
        let made_by = vec![0; addresses.len()];
        let trial = Trial::begin(ensemble, WRITERS, WINDOW)?;
        let museum = museum::claims(&content::read(addresses[0], museum::SECRET)?);
        let watching = Watching::start(&addresses, spots, WATCHERS, flaw);
        watching.await_watches()?;
        let mismatches = all_mismatches(&addresses)?;
        let (seen, nodes) = (Totals::default(), 0);
        Ok(Self { watching, trial, museum, made_by, mismatches, makers, seen, nodes })
    }

    fn rounds(&mut self, rounds: usize) -> Result<Vec<Move>> {
        println!("{HEAD}");
        let mut moves = Vec::new();
        for round in 0..rounds {
            let order = if round % 2 == 0 { Order::LeaderLast } else { Order::LeaderFirst };
            for count in 1..=self.made_by.len() {
                for (way, to) in [("there", 1), ("back", 0)] {
                    for step in 1..=count {
                        let done = self
                            .move_next(to, order)
                            .with_context(|| format!("{way}, {step} of {count} servers, {order:?}"))?;
                        self.print(moves.len() + 1, &done);
                        moves.push(done);
                    }
                }
            }
        }
        self.finish()?;
        Ok(moves)
    }

    fn print(&self, number: usize, Move { id, led, to, round, counted }: &Move) {
        println!(
            "{number:>5}  {id:>6}  {:<8}  {:<24}  {:>8}  {:>6}  {:>6}  {:>6}  {:>9}",
            if *led { "leader" } else { "follower" },
            self.makers[*to].name,
            round.writes,
            round.gap.div_ceil(1000),
            counted.session_moves,
            counted.fired,
            counted.fired_on_return
        );
    }

    fn move_next(&mut self, to: usize, order: Order) -> Result<Move> {
        let leader = self.trial.ensemble.await_serving(SERVING_PATIENCE)?;
        let ids = self.trial.ensemble.ids();
        let mut left = ids.into_iter().filter(|id| self.made_by[id - 1] != to);
        let wanted = |id: &usize| (*id == leader) == (order == Order::LeaderFirst);
        let id =
            left.clone().find(wanted).or_else(|| left.next()).context("every server is there already")?;
        let round = self.move_one(id, to, |_| Ok(()))?;
        let (now, before) = (self.totals(), self.seen);
        let counted = Totals {
            session_moves: now.session_moves - before.session_moves,
            fired: now.fired - before.fired,
            fired_on_return: now.fired_on_return - before.fired_on_return,
        };
        Ok(Move { id, led: id == leader, to, round, counted })
    }

    /// Moves a server under load, does `harm` behind it, and judges.
    fn move_one(&mut self, id: usize, to: usize, harm: impl Fn(&Self) -> Result<()>) -> Result<Round> {
        self.trial.shared.go_home();
        self.trial.run();
        self.watching.run()?;
        self.seen = self.totals();
        self.trial.bury_two()?;
        self.trial.await_writes(WRITES_EACH, SERVING_PATIENCE)?;
        self.trial.ensemble.terminate(id, SERVING_PATIENCE)?;
        let down = Instant::now();
        self.trial.ensemble.become_one_of(id, &self.makers[to].servers);
        self.made_by[id - 1] = to;
        self.trial.await_writes(WRITES_EACH, SERVING_PATIENCE)?;
        std::thread::sleep(DOWN.saturating_sub(down.elapsed()));
        self.trial.ensemble.start(id)?;
        self.trial.ensemble.await_serving(SERVING_PATIENCE)?;
        // Apache's servers count those of fuzzy snapshots too, as long as they are brought up to date.
        self.mismatches = all_mismatches(&self.trial.ensemble.addresses())?;
        self.trial.await_writes(WRITES_EACH, SERVING_PATIENCE)?;
        harm(self)?;
        self.watching.rest()?;
        let round = self.trial.judge()?;
        ensure!(
            round.inconclusive == 0,
            Broken(format!(
                "{} sessions that lived are lost; this machine may be too busy",
                round.inconclusive
            ))
        );
        self.judge_content()?;
        Ok(round)
    }

    fn judge_content(&mut self) -> Result<()> {
        let claims = self.claims()?;
        let mut first = None;
        let mut told = None;
        for (index, address) in self.trial.ensemble.addresses().into_iter().enumerate() {
            let content = content::read(address, museum::SECRET)?;
            let number = index + 1;
            content::hold(&content, &claims)
                .with_context(|| format!("on server {number}"))
                .map_err(|error| Broken::new(&error))?;
            let first = first.get_or_insert_with(|| content.clone());
            content::compare(first, &content)
                .with_context(|| format!("servers 1 and {number} differ"))
                .map_err(|error| Broken::new(&error))?;
            let (before, now) = (&self.mismatches[index], mismatches(address)?);
            ensure!(
                *before == now && (self.made_by[index] == 0 || now.ends_with("\t0")),
                Broken(format!("server {number} says {now:?}, and {before:?} before it had served"))
            );
            let sizes = sizes(address)?;
            let told = told.get_or_insert_with(|| sizes.clone());
            ensure!(
                *told == sizes,
                Broken(format!("server 1 counts {told:?}, and server {number} {sizes:?}"))
            );
        }
        self.nodes = claims.len();
        Ok(())
    }

    /// All that must stand, while everybody rests.
    fn claims(&self) -> Result<BTreeMap<String, Claim>> {
        let mut claims = self.museum.clone();
        claims.extend(self.trial.claims()?);
        for folder in [watching::FOLDER, watching::LIVING] {
            claims.insert(folder.to_owned(), Claim::holds("0"));
        }
        for (spot, (changes, zxid)) in self.watching.board.spots.iter().zip(self.watching.changes()) {
            claims.extend(spot.claims(changes, Some(zxid).filter(|zxid| *zxid > 0)));
        }
        for seen in self.watching.board.state().watchers.iter().filter(|seen| !seen.ended) {
            let owner = seen.session.as_ref().context("a watcher has a session")?.id;
            let czxid = Some(seen.ephemeral.context("a watcher has an ephemeral node")?);
            let claim = Claim { owner, czxid, mzxid: czxid, version: Some(0), ..Claim::holds("") };
            claims.insert(watching::ephemeral(owner), claim);
        }
        Ok(claims)
    }

    /// In the end the watches that nothing has touched must fire, and ephemerals of closed sessions must go.
    fn finish(&mut self) -> Result<()> {
        self.watching.change_quiet()?;
        self.watching.end_half()?;
        self.judge_content()
    }

    fn totals(&self) -> Totals {
        let state = self.watching.board.state();
        let watchers = state.watchers.iter();
        let session_moves = watchers.clone().map(|seen| seen.moves).sum::<u64>()
            + state.changer_moves
            + self.trial.session_moves();
        Totals {
            session_moves,
            fired: watchers.clone().map(|seen| seen.fired).sum(),
            fired_on_return: watchers.map(|seen| seen.fired_on_return).sum(),
        }
    }

    fn tell(&mut self, moves: &[Move], took: Duration) -> Result<Value> {
        let totals = self.totals();
        ensure!(
            totals.session_moves > 0 && totals.fired_on_return > 0,
            "no session moved, or no watch fired for a change behind its client's back: nothing was tried"
        );
        let gaps = |led: bool| {
            let mut gaps: Vec<u64> = moves
                .iter()
                .filter(|moved| moved.led == led)
                .map(|moved| moved.round.gap.div_ceil(1000))
                .collect();
            gaps.sort_unstable();
            gaps
        };
        let (of_followers, of_leaders) = (Gaps::of(gaps(false)), Gaps::of(gaps(true)));
        let writes: u64 = moves.iter().map(|moved| moved.round.writes).sum();
        let mut stumbles = 0;
        for id in self.trial.ensemble.ids() {
            stumbles += self.trial.ensemble.output(id)?.matches(STUMBLE).count();
        }
        // One more: the client that changes what is watched.
        let sessions = WRITERS + WATCHERS + 1;
        println!(
            "{} moves under {writes} acknowledged writes in {} s; none of them lost, reordered or doubled",
            moves.len(),
            took.as_secs()
        );
        println!("{sessions} sessions, none lost, went on at another server {} times", totals.session_moves);
        println!(
            "{} ephemeral nodes stood throughout; those of {} ended sessions went with them",
            WRITERS + WATCHERS,
            2 * moves.len() + WATCHERS / 2
        );
        println!(
            "{} watches fired, each once for its change; {} of them for changes while their client was away",
            totals.fired, totals.fired_on_return
        );
        println!(
            "longest gap between acknowledged writes: a follower moved, {of_followers}; the leader, {of_leaders}"
        );
        println!(
            "{} nodes equal on all servers behind each move, and as acknowledged; ZOOKEEPER-4394 met {stumbles} times",
            self.nodes
        );
        Ok(json!({
            "from": self.makers[0].name, "to": self.makers[1].name,
            "moves": moves.len(), "writes": writes, "seconds": took.as_secs(),
            "sessions": sessions, "session_moves": totals.session_moves,
            "ephemerals": WRITERS + WATCHERS, "ephemerals_gone": 2 * moves.len() + WATCHERS / 2,
            "watches_fired": totals.fired, "watches_fired_on_return": totals.fired_on_return,
            "gap_of_followers_ms": of_followers.worst, "gap_of_leaders_ms": of_leaders.worst,
            "nodes": self.nodes, "stumbles": stumbles,
        }))
    }
}

/// The longest gap of each of several moves, in milliseconds.
struct Gaps {
    median: u64,
    worst: u64,
}

impl Gaps {
    fn of(sorted: Vec<u64>) -> Self {
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self { median: at(sorted.len() / 2), worst: at(sorted.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median {} ms, worst {} ms", self.median, self.worst)
    }
}

/// What an operator compares. Not the size of the data: Apache ZooKeeper's own count of it drifts by some bytes.
const SIZES: [&str; 2] = ["zk_znode_count", "zk_ephemerals_count"];
/// Where a server counts transactions behind which its state is not the one that they tell.
const MISMATCHES: &str = "zk_digest_mismatches_count";

/// What a server counts, by `mntr`.
fn sizes(address: SocketAddr) -> Result<Vec<String>> {
    let told = four_letters(address, "mntr", SERVING_PATIENCE)?;
    SIZES.iter().map(|name| row(&told, name)).collect()
}

/// How many states a server has found that are not what a transaction tells of them.
fn mismatches(address: SocketAddr) -> Result<String> {
    row(&four_letters(address, "mntr", SERVING_PATIENCE)?, MISMATCHES)
}

fn all_mismatches(addresses: &[SocketAddr]) -> Result<Vec<String>> {
    addresses.iter().map(|address| mismatches(*address)).collect()
}

fn row(told: &str, name: &str) -> Result<String> {
    let found = told.lines().find(|line| line.split('\t').next() == Some(name));
    found.map(str::to_owned).with_context(|| format!("mntr does not tell {name}"))
}

/// Makes what is watched, as it is behind no change.
fn lay_out(client: &mut Client) -> Result<Vec<Spot>> {
    create(client, watching::FOLDER, Kind::Persistent)?;
    create(client, watching::LIVING, Kind::Persistent)?;
    let mut spots = Vec::new();
    for (way, count) in SPOTS {
        for number in 0..count {
            let path = format!("{}/{way:?}-{number}", watching::FOLDER).to_lowercase();
            if way != Way::Exists {
                create(client, &path, Kind::Persistent)?;
            }
            spots.push(Spot { path, way });
        }
    }
    Ok(spots)
}

/// One thing that is broken on purpose, and the words by which it is seen.
struct Harm {
    what: &'static str,
    flaw: Option<Flaw>,
    act: fn(&Migration) -> Result<()>,
    /// One of these.
    seen_as: &'static [&'static str],
}

const HARMS: &[Harm] = &[
    Harm {
        what: "a write comes that nobody acknowledged",
        flaw: None,
        act: overwrite,
        seen_as: &["made version"],
    },
    Harm { what: "an acknowledged node goes", flaw: None, act: remove, seen_as: &["are lost"] },
    Harm { what: "an access control list changes", flaw: None, act: open, seen_as: &["/museum/long is "] },
    Harm {
        what: "a living session is closed",
        flaw: None,
        act: end_session,
        seen_as: &["declared dead", "a session that lives"],
    },
    Harm {
        what: "an ephemeral of a living session goes",
        flaw: None,
        act: unmake,
        seen_as: &["a session that lives"],
    },
    Harm {
        what: "watches are not brought along",
        flaw: Some(Flaw::WatchesForgotten),
        act: |_| Ok(()),
        seen_as: &["was not told of change", "before it was told of it"],
    },
    Harm {
        what: "watches fire again on return",
        flaw: Some(Flaw::WatchesFiredAgain),
        act: |_| Ok(()),
        seen_as: &["nothing has changed since"],
    },
];

/// A test of the test: does each harm to an ensemble of its own, one server of which is stopped and started, and passes
/// only if each is seen for what it is.
///
/// # Errors
/// Says which was not seen.
pub fn run_harms(mut ensemble: impl FnMut(usize) -> Result<Ensemble>, maker: &Maker) -> Result<Value> {
    for (number, Harm { what, flaw, act, seen_as }) in HARMS.iter().enumerate() {
        let makers = [maker.clone(), maker.clone()];
        let mut migration = Migration::begin(ensemble(number)?, makers, *flaw)?;
        let Err(error) = migration.move_one(1, 1, act) else { bail!("{what}: it was not seen") };
        let told = format!("{error:#}");
        ensure!(
            error.downcast_ref::<Broken>().is_some() && seen_as.iter().any(|words| told.contains(words)),
            "{what}: it was taken for something else: {told}"
        );
        println!("{what}: seen: {}", told.chars().take(160).collect::<String>());
    }
    println!("{} harms, each seen", HARMS.len());
    Ok(json!({"harms": HARMS.len()}))
}

fn do_it(migration: &Migration, op: &Op) -> Result<()> {
    let mut client = connect(migration.trial.ensemble.addresses()[0], SESSION_TIMEOUT_MS)?;
    let code = client.call(op)?.code;
    ensure!(code == 0, "harm failed with {code}");
    client.call(&Op::Close)?;
    Ok(())
}

fn overwrite(migration: &Migration) -> Result<()> {
    do_it(migration, &Op::SetData { path: "/faults/register-0".to_owned(), data: b"0".to_vec() })
}

fn remove(migration: &Migration) -> Result<()> {
    let mut client = connect(migration.trial.ensemble.addresses()[0], SESSION_TIMEOUT_MS)?;
    let names = client.call(&Op::GetChildren("/faults/nodes-0".to_owned()))?.children()?;
    // The youngest: its client has no mind to remove it soon.
    let name = names.iter().max().context("no node stands yet")?;
    do_it(migration, &Op::Delete(format!("/faults/nodes-0/{name}")))
}

fn open(migration: &Migration) -> Result<()> {
    let acl = vec![Acl::anyone(1)];
    do_it(migration, &Op::SetAcl { path: format!("{}/long", museum::FOLDER), acl })
}

fn end_session(migration: &Migration) -> Result<()> {
    let session = migration.watching.board.state().watchers[0].session.clone().context("no session")?;
    let address = migration.trial.ensemble.addresses()[0];
    let patience = Duration::from_secs(5);
    let client = Client::connect(address, Some(&session), SESSION_TIMEOUT_MS, 0, patience);
    let mut client = client.map_err(|error| anyhow!("{error:?}"))?;
    client.call(&Op::Close)?;
    Ok(())
}

fn unmake(migration: &Migration) -> Result<()> {
    let session = migration.watching.board.state().watchers[1].session.clone().context("no session")?;
    do_it(migration, &Op::Delete(watching::ephemeral(session.id)))
}
