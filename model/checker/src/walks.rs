//! Random walks through the `peer` model, with all of its faults: which walks there are, and what they prefer.
//!
//! Walks go in rounds, so that which of them are taken follows from the seed and the steps asked for, and from
//! nothing else.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use protocol::Timer;
use world::Step;

use crate::{
    engine::{
        search::Counterexample,
        walk::{Chance, Walks},
    },
    peer::{Action, Bounds, Peer},
};

/// The most walks of a round.
const ROUND: u64 = 1024;
/// The parts that the tables of a thread may hold, before they are thrown away. A part takes some 10 kB with all that is
/// remembered of it.
const PARTS_MAX: usize = 12_000;

/// How far to walk.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which walks.
    pub seed: u64,
    /// The steps of all walks; the last round is walked to its end.
    pub steps: u64,
    /// The most steps of one walk.
    pub length: u64,
    /// How many walks are under way at once.
    pub jobs: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Walked {
    /// Walks.
    pub walks: u64,
    /// Steps.
    pub steps: u64,
    /// The steps of the longest walk.
    pub longest: u64,
    /// The steps of each sort.
    pub sorts: BTreeMap<&'static str, u64>,
    /// The witnesses met.
    pub witnesses: Vec<&'static str>,
    /// The witnesses that were not.
    pub missing: Vec<&'static str>,
    /// The first walk, by number, that breaks a rule.
    pub found: Option<Found>,
}

/// A walk that breaks a rule.
#[derive(Debug)]
pub struct Found {
    /// Its number; the seed and this are the walk.
    pub walk: u64,
    /// The bounds of its model.
    pub bounds: Bounds,
    /// The walk, made as short as could be.
    pub path: Counterexample<Action>,
}

/// What no walk can meet: whole peers are not watched so closely while they join.
const NEVER: [&str; 2] = ["commit-while-joining", "joined-behind"];

/// The kinds of servers that walks are taken with, one after the other.
pub fn kinds() -> Vec<Bounds> {
    let all = Bounds {
        eager: false,
        looks: 250,
        resends: 250,
        timeouts: 60,
        pings: 100,
        ticks: 60,
        crashes: 20,
        breaks: 30,
        connections: 60,
        writes: 30,
        refusals: true,
        window: 2,
        ..Bounds::default()
    };
    vec![
        all.clone(),
        Bounds { eager: true, ..all.clone() },
        Bounds { counter_max: 3, window: 500, ..all.clone() },
        Bounds { window: 0, log_sync: false, ..all },
    ]
}

/// Walks; tells how many steps were taken since the last call.
///
/// # Panics
/// If a walk of the plan has no step.
pub fn walk(plan: Plan, tell: &(dyn Fn(u64) + Sync)) -> Walked {
    assert!(plan.length > 0, "a walk has a step");
    let models: Vec<_> = kinds().into_iter().map(Peer::new).collect();
    let mut walks = 0;
    let mut all = Round::default();
    while all.steps < plan.steps && all.broken.is_none() {
        let until = walks + (plan.steps - all.steps).div_ceil(plan.length).min(ROUND);
        all.add(walk_round(&models, plan, walks..until, tell));
        walks = until;
    }
    let Round { steps, longest, sorts, met, broken } = all;
    let found = broken.map(|(walk, path)| {
        let kind = kind_of(walk, models.len());
        let path = Walks::new(&models[kind], PARTS_MAX).shorten(path);
        Found { walk, bounds: models[kind].bounds().clone(), path }
    });
    let names = models[0].names();
    let is_met = |name: &&&'static str| {
        names.iter().position(|known| known == *name).is_some_and(|bit| met >> bit & 1 == 1)
    };
    let witnesses = names.iter().filter(is_met).copied().collect();
    let due = |name: &&&'static str| !is_met(name) && !NEVER.contains(*name);
    let missing = names.iter().filter(due).copied().collect();
    Walked { walks, steps, longest, sorts, witnesses, missing, found }
}

fn kind_of(walk: u64, kinds: usize) -> usize {
    usize::try_from(walk % kinds as u64).expect("there are few kinds")
}

/// What came of some walks.
#[derive(Default)]
struct Round {
    steps: u64,
    longest: u64,
    sorts: BTreeMap<&'static str, u64>,
    met: u64,
    /// The first that breaks a rule.
    broken: Option<(u64, Counterexample<Action>)>,
}

impl Round {
    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.longest = self.longest.max(other.longest);
        for (sort, count) in other.sorts {
            *self.sorts.entry(sort).or_default() += count;
        }
        self.met |= other.met;
        let both = self.broken.take().into_iter().chain(other.broken);
        self.broken = both.min_by_key(|(number, _)| *number);
    }
}

/// Takes walks of one kind behind those of another, so that a thread has the tables of one kind at a time.
fn walk_round(models: &[Peer], plan: Plan, walks: Range<u64>, tell: &(dyn Fn(u64) + Sync)) -> Round {
    let mut order: Vec<_> = walks.collect();
    order.sort_by_key(|number| kind_of(*number, models.len()));
    let next = AtomicUsize::new(0);
    let round = Mutex::new(Round::default());
    // Walks behind one that breaks a rule need not be taken.
    let first_broken = AtomicU64::new(u64::MAX);
    let work = || {
        let mut mine = Round::default();
        let mut walker: Option<(usize, Walks<'_, Peer>)> = None;
        while let Some(number) = order.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            if number > first_broken.load(Ordering::Relaxed) {
                continue;
            }
            let kind = kind_of(number, models.len());
            if walker.as_ref().is_none_or(|(held, _)| *held != kind) {
                // The tables of the other kind go first.
                drop(walker.take());
            }
            let (_, walker) = walker.get_or_insert_with(|| (kind, Walks::new(&models[kind], PARTS_MAX)));
            let round = walk_one(walker, plan, number);
            if round.broken.is_some() {
                first_broken.fetch_min(number, Ordering::Relaxed);
            }
            tell(round.steps);
            mine.add(round);
        }
        round.lock().unwrap_or_else(PoisonError::into_inner).add(mine);
    };
    thread::scope(|scope| {
        for _ in 0..plan.jobs {
            scope.spawn(work);
        }
    });
    round.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn walk_one(walker: &mut Walks<'_, Peer>, plan: Plan, number: u64) -> Round {
    let mut chance = Chance::new(plan.seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(number));
    let mood = Mood::of(&mut chance);
    let before = walker.steps;
    let mut sorts = BTreeMap::new();
    let count = |action: &Action| *sorts.entry(sort(action)).or_default() += 1;
    let result = walker.walk(&mut chance, plan.length, |action| mood.weight(action), count);
    let steps = walker.steps - before;
    let broken = result.err().map(|path| (number, path));
    Round { steps, longest: steps, sorts, met: walker.witnesses, broken }
}

/// What an action is counted as.
fn sort(action: &Action) -> &'static str {
    match action {
        Action::Deliver { .. } => "an election message arrives",
        Action::Hear { .. } => "a reset of an election link is noticed",
        Action::Reset { .. } => "an election link is reset",
        Action::Join { .. } | Action::Visit { .. } => "the client connects",
        Action::Look => "the client asks for a read",
        Action::Ask => "the client asks for a write",
        Action::Leave => "the client leaves",
        Action::World(step) => match step {
            Step::Connect { .. } => "a dial gets through",
            Step::Read { .. } => "a frame is read",
            Step::Notice { .. } => "a cut connection is noticed",
            Step::Break { .. } => "a connection breaks",
            Step::Crash { .. } => "a server crashes",
            Step::Finish { .. } => "a disk operation ends",
            Step::Timeout { .. } => "a timer fires",
            Step::Decide { .. }
            | Step::Elect { .. }
            | Step::Join { .. }
            | Step::Reach { .. }
            | Step::Propose { .. } => unreachable!("whole servers elect and propose themselves"),
        },
    }
}

/// What a walk prefers: it makes progress, so that it meets established epochs, and strews faults between.
#[derive(Clone, Copy, Debug)]
struct Mood {
    fault: u64,
    disk: u64,
    timeout: u64,
    client: u64,
}

impl Mood {
    fn of(chance: &mut Chance) -> Self {
        Self {
            fault: [0, 1, 4, 15][usize::try_from(chance.below(4)).expect("below 4")],
            disk: 30 + 90 * chance.below(4),
            timeout: chance.below(4),
            client: 20 + 60 * chance.below(3),
        }
    }

    fn weight(self, action: &Action) -> u64 {
        match action {
            Action::World(step) => self.step_weight(step),
            Action::Deliver { .. } => 250,
            Action::Hear { .. } => 100,
            Action::Reset { .. } => self.fault,
            Action::Join { .. } | Action::Visit { .. } | Action::Ask | Action::Look => self.client,
            Action::Leave => 2,
        }
    }

    fn step_weight(self, step: &Step) -> u64 {
        match step {
            Step::Connect { .. } => 200,
            Step::Read { .. } => 300,
            Step::Notice { .. } => 100,
            Step::Break { .. } => self.fault,
            // Whatever way a crash can go, crashes together weigh as much.
            Step::Crash { .. } => self.fault.min(2),
            Step::Finish { .. } => self.disk,
            Step::Timeout { timer, .. } => match timer {
                Timer::Finalize => 40,
                Timer::Resend => 8,
                Timer::Ping => 6,
                Timer::Expiry => 1,
                Timer::ReadOnly => 4,
                Timer::Sweep | Timer::SweepNext => 0,
                Timer::Establish | Timer::Handshake(_) | Timer::Silence(_) => self.timeout,
            },
            Step::Decide { .. }
            | Step::Elect { .. }
            | Step::Join { .. }
            | Step::Reach { .. }
            | Step::Propose { .. } => 0,
        }
    }
}
