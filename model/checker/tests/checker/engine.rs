//! The engine on a model small enough to count by hand: two counters that pass a token through a slot between them.

use checker::engine::{
    Board, Broken, Model, Symmetry, Verdict,
    graph::traps,
    search::{End, Options, Search},
    twin::second_opinion,
};
use serde::{Deserialize, Serialize};

/// Slots 0 and 1 are counters, slot 2 is the place between them.
#[derive(Clone, Debug)]
struct Toy {
    /// A counter that gets here breaks a rule.
    forbidden: u8,
    /// A counter panics when it would get here.
    panics: u8,
    /// Whether the place between can be lost for good.
    lossy: bool,
    symmetric: bool,
}

const QUIET: Toy = Toy { forbidden: 9, panics: 9, lossy: false, symmetric: false };

#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
enum Part {
    Counter(u8),
    Place(Option<u8>),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
enum Action {
    Put(usize),
    Take(usize),
    Lose,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Change {
    Count,
    Fill,
    Clear,
    Lose,
}

impl Model for Toy {
    type Part = Part;
    type Change = Change;
    type Yield = ();
    type Action = Action;
    type View = u8;

    fn initial(&self) -> Vec<Part> {
        vec![Part::Counter(0), Part::Counter(0), Part::Place(None)]
    }

    fn offers(&self, slot: usize, part: &Part, out: &mut Vec<Action>) {
        match part {
            Part::Counter(count) if *count < 3 => out.extend([Action::Put(slot), Action::Take(slot)]),
            Part::Place(Some(0)) if self.lossy => out.push(Action::Lose),
            Part::Counter(_) | Part::Place(_) => {}
        }
    }

    fn enabled<B: Board<Self>>(&self, board: &B, action: &Action) -> bool {
        match action {
            Action::Put(_) => *board.part(2) == Part::Place(None),
            Action::Take(_) => *board.part(2) == Part::Place(Some(0)),
            Action::Lose => true,
        }
    }

    fn next<B: Board<Self>>(&self, board: &mut B, action: &Action) -> Result<(), Broken> {
        match action {
            Action::Put(slot) => {
                board.change(*slot, Change::Count)?;
                board.change(2, Change::Fill)?;
            }
            Action::Take(slot) => {
                board.witness(1);
                board.change(*slot, Change::Count)?;
                board.change(2, Change::Clear)?;
            }
            Action::Lose => {
                board.change(2, Change::Lose)?;
            }
        }
        Ok(())
    }

    fn change(&self, part: &mut Part, change: &Change) -> Result<(), Broken> {
        match (part, change) {
            (Part::Counter(count), Change::Count) => {
                *count += 1;
                assert!(*count != self.panics, "counted to {count}");
            }
            (Part::Place(place), Change::Fill) => *place = Some(0),
            (Part::Place(place), Change::Clear) => *place = None,
            (Part::Place(place), Change::Lose) => *place = Some(1),
            (part, change) => unreachable!("{change:?} of {part:?}"),
        }
        Ok(())
    }

    fn view(&self, _: usize, part: &Part) -> Option<u8> {
        match part {
            Part::Counter(count) => Some(*count),
            Part::Place(_) => None,
        }
    }

    fn judge_part(&self, _: usize, _: &Part) -> Verdict {
        Verdict::default()
    }

    fn judge_pair(&self, _: (usize, usize), (one, other): (&u8, &u8)) -> Verdict {
        let witnesses = u64::from(*one == 3 && *other == 3) << 1;
        let broken = (one + other == self.forbidden).then(|| Broken::new("sum", "the forbidden sum"));
        Verdict { broken, witnesses }
    }

    fn judge_whole(&self, _: &[(usize, &u8)]) -> Verdict {
        Verdict::default()
    }

    fn symmetries(&self) -> Vec<Symmetry> {
        let identity = Symmetry { slots: vec![0, 1, 2], inverse: 0 };
        let swap = Symmetry { slots: vec![1, 0, 2], inverse: 1 };
        if self.symmetric { vec![identity, swap] } else { vec![identity] }
    }

    fn rename_action(&self, symmetry: usize, action: &Action) -> Action {
        match (symmetry, action) {
            (1, Action::Put(slot)) => Action::Put(1 - slot),
            (1, Action::Take(slot)) => Action::Take(1 - slot),
            _ => *action,
        }
    }

    fn witnesses(&self) -> &[&'static str] {
        &["taken", "both full"]
    }

    fn is_goal(&self, parts: &[&Part]) -> bool {
        *parts[0] == Part::Counter(3) && *parts[1] == Part::Counter(3)
    }

    fn is_demanded(&self, _: &[&Part]) -> bool {
        true
    }

    fn is_fault_free(&self, action: &Action) -> bool {
        *action != Action::Lose
    }

    fn describe(&self, action: &Action) -> String {
        format!("{action:?}")
    }

    fn narrate(&self, slot: usize, change: &Change, (): &(), _: &Part, after: &Part) -> Vec<String> {
        vec![format!("{slot} {change:?} {after:?}")]
    }

    fn is_host(&self, _: usize) -> bool {
        true
    }

    fn carries(&self, _: &Self::Action) -> Option<(usize, usize)> {
        None
    }

    fn slot_name(&self, slot: usize) -> String {
        slot.to_string()
    }

    fn tell(&self, part: &Part) -> Vec<String> {
        vec![format!("{part:?}")]
    }
}

fn run<M: Model>(model: &M) -> (Search<'_, M>, checker::engine::search::Outcome<M::Action>) {
    let mut search = Search::new(model, Options::default());
    let outcome = search.run(&mut |_| {});
    (search, outcome)
}

#[test]
fn counts_depth_and_witnesses_are_exact() {
    let (_, outcome) = run(&QUIET);
    assert_eq!(outcome.end, End::Exhausted);
    // The sum tells whether the place is filled, so a state is a pair of counters from 0 to 3.
    assert_eq!(outcome.progress.distinct, 16);
    // From each pair, each counter below 3 takes one step.
    assert_eq!(outcome.progress.generated, 24);
    assert_eq!(outcome.depth, 6);
    assert_eq!(outcome.witnesses, [Some(1), Some(6)]);
}

#[test]
fn pairs_that_differ_in_names_count_once() {
    let model = Toy { symmetric: true, forbidden: 4, ..QUIET };
    let (_, outcome) = run(&Toy { forbidden: 9, ..model.clone() });
    assert_eq!(outcome.progress.distinct, 10);
    // The path is one of the real system: it can be carried out.
    let found = run(&model).1.counterexample.expect("a sum of 4 is in reach");
    let state = checker::engine::graph::follow(&model, &found.path);
    assert_eq!(state.judge(&model).broken.map(|broken| broken.rule).as_deref(), Some("sum"));
    assert_eq!(found.path.len(), 4);
}

#[test]
fn the_second_opinion_counts_the_same() {
    let (_, outcome) = run(&Toy { lossy: true, ..QUIET });
    let opinion = second_opinion(Toy { lossy: true, ..QUIET });
    assert_eq!(opinion.distinct, outcome.progress.distinct);
    assert_eq!(opinion.generated as u64, outcome.progress.generated);
    assert!(opinion.counterexample.is_none());
    let broken =
        second_opinion(Toy { forbidden: 2, ..QUIET }).counterexample.expect("a sum of 2 is in reach");
    assert_eq!(broken.0.rule, "sum");
}

#[test]
fn a_counterexample_is_as_short_as_any() {
    let found = run(&Toy { forbidden: 5, ..QUIET }).1.counterexample.expect("a sum of 5 is in reach");
    assert_eq!((found.broken.rule.as_str(), found.path.len()), ("sum", 5));
}

#[test]
fn a_panic_is_a_counterexample_with_its_path() {
    let found = run(&Toy { panics: 2, ..QUIET }).1.counterexample.expect("a counter gets to 2");
    assert_eq!((found.broken.rule.as_str(), found.path.len()), ("panic", 2));
    assert!(found.broken.why.starts_with("counted to 2"), "{}", found.broken.why);
}

#[test]
fn steps_that_fail_can_be_left_out() {
    let model = Toy { panics: 2, ..QUIET };
    let mut search = Search::new(&model, Options { skip_failed_steps: true, ..Options::default() });
    let outcome = search.run(&mut |_| {});
    assert_eq!((outcome.end, outcome.progress.distinct), (End::Exhausted, 4));
}

#[test]
fn a_state_without_a_way_out_is_a_trap() {
    let (mut search, _) = run(&QUIET);
    assert_eq!(traps(&mut search).traps, 0);
    let lossy = Toy { lossy: true, ..QUIET };
    let (mut search, _) = run(&lossy);
    let found = traps(&mut search);
    assert_eq!(found.first.expect("a lost token is a trap").path, [Action::Put(0), Action::Lose]);
}
