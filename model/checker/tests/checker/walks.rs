//! Long walks of chance through the models, far beyond the budgets that can be searched: every state is judged.
//!
//! A walk prefers what makes progress, so that it meets established epochs, and strews faults between. A failure names
//! its seed, and prints what happened.

use std::fmt::Write;

use checker::{
    election::{self, Election},
    engine::{
        Broken, Model,
        plain::Plain,
        walk::{Chance, Walks},
    },
    peer::{self, Peer},
    walks::{Plan, kinds, walk},
    zab::{Action, Bounds, Zab},
};
use world::Step;

struct Walk<'m, M: Model> {
    model: &'m M,
    state: Plain<M>,
    path: Vec<M::Action>,
    witnesses: u64,
}

impl<'m, M: Model> Walk<'m, M> {
    fn new(model: &'m M) -> Self {
        Self { model, state: Plain::initial(model), path: Vec::new(), witnesses: 0 }
    }

    fn step(&mut self, action: M::Action, seed: u64) {
        self.state.step(self.model, &action);
        self.path.push(action);
        let verdict = self.state.judge(self.model);
        self.witnesses |= verdict.witnesses | self.state.witnesses;
        if let Some(Broken { rule, why }) = verdict.broken {
            panic!("seed {seed} breaks {rule}: {why}\n{}", self.transcript());
        }
    }

    fn transcript(&self) -> String {
        let mut state = Plain::initial(self.model);
        let mut text = String::new();
        for action in &self.path {
            writeln!(text, "{}", self.model.describe(action)).expect("strings take all");
            for line in state.step_narrated(self.model, action) {
                writeln!(text, "    {line}").expect("strings take all");
            }
        }
        text
    }
}

/// Every witness was met, and every rule tested, but for those that cannot be, or hardly.
fn assert_met<M: Model>(model: &M, met: u64, left_out: &[&[&str]]) {
    let left_out = left_out.concat();
    let names = model.witnesses().iter().enumerate();
    let missing: Vec<_> =
        names.filter(|(bit, name)| met >> bit & 1 == 0 && !left_out.contains(name)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

/// Walks through `zab`: of the leaders that a server may be told, one is in fashion for a while.
fn walk_zab(bounds: Bounds, walks: u64, left_out: &[&str]) {
    let servers = u64::from(bounds.servers - bounds.observers);
    let observing: &[&str] = if bounds.observers == 0 { &OBSERVING } else { &[] };
    let model = Zab::new(Bounds {
        elections: 24,
        txns: 6,
        crashes: 5,
        breaks: 8,
        timeouts: 6,
        refusals: true,
        window: 2,
        counter_max: 3,
        symmetric: false,
        covering: false,
        ..bounds
    });
    let mut met = 0;
    for seed in 1..=walks {
        let mut chance = Chance::new(seed);
        let (fault, disk) = (1 + chance.below(40), 30 + 90 * chance.below(4));
        let mut fashion = 1 + chance.below(servers);
        let mut walk = Walk::new(&model);
        for _ in 0..600 {
            if chance.below(50) == 0 {
                fashion = 1 + chance.below(servers);
            }
            let weight = |action: &Action| match action {
                Action::Decide { leader, .. } if leader.0 != fashion => 3,
                Action::Timeout { .. } => 2,
                Action::Crash { .. } | Action::Break { .. } => fault,
                Action::Propose { .. } => 60,
                Action::Finish { .. } => disk,
                Action::Notice { .. } => 100,
                Action::Connect { .. } => 200,
                Action::Decide { .. }
                | Action::Reach { .. }
                | Action::Elect { .. }
                | Action::Join { .. }
                | Action::Read { .. } => 300,
            };
            let Some(action) = chance.pick(&walk.state.possible(&model), weight).cloned() else { break };
            walk.step(action, seed);
        }
        met |= walk.witnesses;
    }
    assert_met(&model, met, &[left_out, observing]);
}

/// What needs an observer: in `zab`, then in `election`.
const OBSERVING: [&str; 4] =
    ["observer-informed", "inform-while-joining", "ObserverNeverLeads", "ObserverLogsCommitted"];
const OBSERVED: [&str; 2] = ["observer-joins", "observer-told"];

/// What needs weights.
const LIGHT: &str = "weight-decides";

/// What needs a disk that lags.
const CRASH_IMAGES: [&str; 2] = ["torn-tail-kept-in-part", "crash-image-recovered"];

/// What needs a search that takes its time; where all that a disk does takes time, it is seldom overtaken.
const SEARCH_OVERTAKEN: &str = "search-overtaken";

#[test]
fn three_servers_with_disks_that_end_at_once() {
    let left_out = [&CRASH_IMAGES[..], &[SEARCH_OVERTAKEN]].concat();
    walk_zab(Bounds { eager: true, ..Bounds::default() }, 400, &left_out);
}

#[test]
fn three_servers_whose_searches_alone_take_their_time() {
    walk_zab(Bounds { slow_searches: true, ..Bounds::default() }, 400, &CRASH_IMAGES);
}

#[test]
fn three_servers_with_disks_that_lag() {
    walk_zab(Bounds { eager: false, ..Bounds::default() }, 400, &[SEARCH_OVERTAKEN]);
}

#[test]
fn three_voters_and_an_observer() {
    walk_zab(Bounds { servers: 4, observers: 1, eager: false, ..Bounds::default() }, 400, &[]);
}

#[test]
fn voters_of_different_weight() {
    let groups = vec![vec![2, 1, 0], vec![1], vec![1]];
    walk_zab(Bounds { servers: 5, groups, eager: false, ..Bounds::default() }, 600, &[]);
}

#[test]
fn five_servers() {
    // The whole state is sent to who is behind by more than an epoch, and ends in another: with five, seldom.
    walk_zab(Bounds { servers: 5, eager: false, ..Bounds::default() }, 200, &["snap", SEARCH_OVERTAKEN]);
}

/// Walks through `election`, then heals the world and waits for the leader whom all others follow.
fn walk_elections(servers: usize, observers: u8, walks: u64) {
    let mut met = 0;
    for seed in 1..=walks {
        let mut chance = Chance::new(seed);
        let mut level = || 1 + u32::from(chance.below(2) == 0);
        let votes = (0..servers).map(|_| (level(), level())).collect();
        let model = Election::new(election::Config {
            votes,
            rounds: u64::MAX,
            relooks: u8::MAX,
            crashes: 4,
            breaks: 4,
            epochs: 6,
            observers,
            ..election::Config::default()
        });
        let fault = 1 + chance.below(40);
        let mut walk = Walk::new(&model);
        for place in 0.. {
            let healed = place >= 200;
            let weight = |action: &election::Action| match action {
                election::Action::Lose(_) | election::Action::Crash(_) | election::Action::Break { .. }
                    if healed =>
                {
                    0
                }
                election::Action::Lose(_) | election::Action::Crash(_) | election::Action::Break { .. } => {
                    fault
                }
                election::Action::GiveUp(_) => 4,
                election::Action::Refuse { .. } => 10,
                election::Action::Resend(_) | election::Action::Finalize(_) => 20,
                election::Action::Start(_) | election::Action::Establish(_) | election::Action::Learn(_) => {
                    50
                }
                election::Action::Deliver { .. } => 300,
            };
            if healed && model.goal(&walk.state.parts.iter().collect::<Vec<_>>()) {
                break;
            }
            assert!(place < 3_000, "seed {seed} comes to no leader\n{}", walk.transcript());
            let choices = walk.state.possible(&model);
            let action = chance.pick(&choices, weight).copied().expect("a timer can always fire");
            walk.step(action, seed);
        }
        met |= walk.witnesses;
    }
    let model = Election::new(election::Config {
        votes: vec![(1, 1)],
        rounds: 1,
        relooks: 0,
        crashes: 0,
        breaks: 0,
        epochs: 0,
        ..election::Config::default()
    });
    let observed: &[&str] = if observers == 0 { &OBSERVED } else { &[] };
    assert_met(&model, met, &[&[LIGHT], observed]);
}

#[test]
fn elections_of_three_servers_heal() {
    walk_elections(3, 0, 1_000);
}

#[test]
fn elections_of_five_servers_heal() {
    walk_elections(5, 0, 500);
}

#[test]
fn elections_before_two_observers_heal() {
    walk_elections(5, 2, 500);
}

/// The short form of `zabcheck walk peer`.
#[test]
fn whole_peers() {
    let plan = Plan { seed: 1, steps: 200_000, length: 1_000, jobs: 2 };
    let walked = walk(plan, &|_| {});
    if let Some(found) = walked.found {
        panic!("walk {} with {} breaks {:?}", found.walk, found.bounds, found.path.broken);
    }
    assert!(walked.missing.is_empty(), "never met: {:?}", walked.missing);
    assert!(walked.steps >= plan.steps, "{} steps", walked.steps);
}

/// A seed is a run, however many walk at once.
#[test]
fn a_seed_takes_the_same_walks() {
    let walked = |jobs| {
        let plan = Plan { seed: 5, steps: 20_000, length: 500, jobs };
        let walked = walk(plan, &|_| {});
        (walked.walks, walked.steps, walked.sorts, walked.witnesses)
    };
    assert_eq!(walked(1), walked(2));
}

/// Tables that are thrown away in the middle of a walk change nothing of it.
#[test]
fn a_walk_does_not_depend_on_the_size_of_tables() {
    // Disks are quick, so that crashes have few images to leave.
    let weight = |action: &peer::Action| match action {
        peer::Action::World(Step::Finish { .. }) => 100,
        peer::Action::Hear { .. } | peer::Action::Reset { .. } | peer::Action::Leave => 1,
        peer::Action::World(_)
        | peer::Action::Deliver { .. }
        | peer::Action::Join { .. }
        | peer::Action::Visit { .. }
        | peer::Action::Ask
        | peer::Action::Look => 10,
    };
    for bounds in kinds() {
        let model = Peer::new(bounds);
        let walked = |parts_max| {
            let mut taken = Vec::new();
            let mut walks = Walks::new(&model, parts_max);
            let result = walks.walk(&mut Chance::new(7), 1_000, weight, |action| taken.push(action.clone()));
            assert!(result.is_ok(), "{:?}", result.err());
            (taken, walks.witnesses)
        };
        let whole = walked(usize::MAX);
        assert!(whole.0.len() == 1_000, "{} steps", whole.0.len());
        assert!(whole == walked(100), "walks differ");
    }
}
