//! Random walks through the `peer` model, with all of its faults: which walks there are, and what they prefer.
//!
//! Walks go in rounds, so that which of them are taken follows from the seed and the steps asked for, and from
//! nothing else.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
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
/// The parts that tables may hold, for each kind of servers and each thread.
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
    let (mut walks, mut steps, mut met) = (0, 0, 0);
    let mut found = None;
    while steps < plan.steps && found.is_none() {
        let until = walks + (plan.steps - steps).div_ceil(plan.length).min(ROUND);
        let round = walk_round(&models, plan, walks..until, tell);
        walks = until;
        steps += round.steps;
        met |= round.met;
        found = round.broken;
    }
    let found = found.map(|(walk, path)| {
        let kind = kind_of(walk, models.len());
        let path = Walks::new(&models[kind], usize::MAX).shorten(path);
        Found { walk, bounds: models[kind].bounds().clone(), path }
    });
    let names = models[0].names();
    let is_met = |name: &&&'static str| {
        names.iter().position(|known| known == *name).is_some_and(|bit| met >> bit & 1 == 1)
    };
    let witnesses = names.iter().filter(is_met).copied().collect();
    let due = |name: &&&'static str| !is_met(name) && !NEVER.contains(*name);
    let missing = names.iter().filter(due).copied().collect();
    Walked { walks, steps, witnesses, missing, found }
}

fn kind_of(walk: u64, kinds: usize) -> usize {
    usize::try_from(walk % kinds as u64).expect("there are few kinds")
}

/// What came of some walks.
#[derive(Default)]
struct Round {
    steps: u64,
    met: u64,
    /// The first that breaks a rule.
    broken: Option<(u64, Counterexample<Action>)>,
}

fn walk_round(models: &[Peer], plan: Plan, walks: Range<u64>, tell: &(dyn Fn(u64) + Sync)) -> Round {
    let next = AtomicU64::new(walks.start);
    let round = Mutex::new(Round::default());
    let work = || {
        let mut walkers: Vec<_> = models.iter().map(|model| Walks::new(model, PARTS_MAX)).collect();
        let mut broken = None;
        while broken.is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= walks.end {
                break;
            }
            let walker = &mut walkers[kind_of(number, models.len())];
            let before = walker.steps;
            let mut chance = Chance::new(plan.seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(number));
            let mood = Mood::of(&mut chance);
            let result = walker.walk(&mut chance, plan.length, |action| mood.weight(action));
            broken = result.err().map(|path| (number, path));
            tell(walker.steps - before);
        }
        let mut round = round.lock().unwrap_or_else(PoisonError::into_inner);
        for walker in &walkers {
            round.steps += walker.steps;
            round.met |= walker.witnesses;
        }
        let both = round.broken.take().into_iter().chain(broken);
        round.broken = both.min_by_key(|(number, _)| *number);
    };
    thread::scope(|scope| {
        for _ in 0..plan.jobs {
            scope.spawn(work);
        }
    });
    round.into_inner().unwrap_or_else(PoisonError::into_inner)
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
            Action::Join { .. } | Action::Ask => self.client,
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
