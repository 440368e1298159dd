//! The `zab` model at bounds that take a moment: against the second opinion, and as a trace.

use std::fs;

use crate::common::{agree, exhaust};
use checker::{
    engine::{
        Broken,
        plain::Plain,
        search::{Counterexample, End, Limits, Options, Outcome, Search},
    },
    rows::{Row, Setup},
    trace,
    zab::{Action, Bounds, Tier, Zab},
};

fn run(bounds: &Bounds) -> Outcome<Action> {
    exhaust(&Zab::new(bounds.clone()))
}

/// Bounds that differ in all that shapes a model, each small enough for a checker that clones whole states.
fn small() -> Vec<Bounds> {
    let fine = Bounds { elections: 1, symmetric: false, covering: false, ..Bounds::default() };
    let coarse = Bounds { tier: Tier::Coarse, timeouts: 1, ..fine.clone() };
    vec![
        Bounds { crashes: 1, ..fine.clone() },
        Bounds { eager: false, crashes: 1, timeouts: 0, ..fine.clone() },
        Bounds { refusals: true, txns: 0, ..fine },
        Bounds { elections: 2, crashes: 1, timeouts: 0, ..coarse.clone() },
        Bounds { txns: 2, counter_max: 1, breaks: 1, window: 0, ..coarse },
    ]
}

#[test]
fn the_second_opinion_counts_the_same() {
    for bounds in small() {
        agree(Zab::new(bounds));
    }
}

#[test]
fn names_make_no_difference_but_in_number() {
    for bounds in small() {
        let each = run(&bounds);
        let once = run(&Bounds { symmetric: true, ..bounds.clone() });
        assert_eq!(each.witnesses, once.witnesses, "{bounds:?}");
        assert_eq!(each.depth, once.depth, "{bounds:?}");
        // Three servers have six orders; few situations are the same in two of them.
        assert!(once.progress.distinct * 4 < each.progress.distinct, "{bounds:?}");
        assert!(once.progress.distinct * 6 >= each.progress.distinct, "{bounds:?}");
    }
}

#[test]
fn what_is_left_out_for_having_used_more_was_judged() {
    for bounds in small() {
        let all = run(&bounds);
        let less = run(&Bounds { covering: true, ..bounds.clone() });
        assert_eq!(all.witnesses, less.witnesses, "{bounds:?}");
        assert_eq!(all.judged, less.judged, "{bounds:?}");
        assert!(less.progress.distinct < all.progress.distinct, "{bounds:?}");
    }
}

#[test]
fn a_dial_that_waits_leads_nowhere_new() {
    let bounds = Bounds { crashes: 1, ..Bounds::default() };
    let waits = run(&Bounds { waiting: true, ..bounds.clone() });
    let reaches = run(&bounds);
    let met =
        |outcome: &Outcome<Action>| -> Vec<_> { outcome.witnesses.iter().map(Option::is_some).collect() };
    assert_eq!(met(&waits), met(&reaches));
    assert!(reaches.progress.distinct < waits.progress.distinct);
}

#[test]
fn a_limit_is_no_exhaustion() {
    let model = Zab::new(Bounds::default());
    let limits = Limits { states: 10_000, ..Limits::default() };
    let outcome = Search::new(&model, Options { limits, ..Options::default() }).run(&mut |_| {});
    assert_eq!(outcome.end, End::States);
}

/// A run of the model as a trace: ten transitions, always the last one that is possible.
fn saved(name: &str) -> std::path::PathBuf {
    let bounds = Bounds { elections: 24, waiting: true, ..Bounds::default() };
    let model = Zab::new(bounds.clone());
    let mut state = Plain::initial(&model);
    let mut path = Vec::new();
    for _ in 0..10 {
        let action = state.possible(&model).pop().expect("a run goes on");
        state.step(&model, &action);
        path.push(action);
    }
    let found = Counterexample { broken: Broken::new("no-traps", "made for a test"), path };
    let row = Row { name: "test", setup: Setup::Zab(bounds), expects: &[], traps: false };
    let file = std::env::temp_dir().join(format!("zabcheck-{}-{name}.jsonl", std::process::id()));
    trace::save(&file, &model, "test", &row, &found).expect("the folder for temporary files is there");
    file
}

#[test]
fn a_trace_runs_again() {
    let file = saved("again");
    let transcript = trace::replay(&file).expect("the same run");
    assert!(transcript.contains(" 10. "), "{transcript}");
    assert!(transcript.ends_with("no-traps is broken: made for a test\n"), "{transcript}");
    fs::remove_file(file).expect("it was there");
}

#[test]
fn a_trace_that_differs_is_refused_at_the_first_difference() {
    let file = saved("differs");
    let text = fs::read_to_string(&file).expect("it was just written");
    for (from, to, complaint) in [
        ("offering epoch 0", "offering epoch 7", "differs"),
        ("[\"server 3\",\"", "[\"server 3\",\"f", "leaves other parts"),
        ("\"decide\"", "\"decree\"", "does not read"),
        ("zabkeeper-trace-1", "zabkeeper-trace-0", "the format is"),
    ] {
        assert!(text.contains(from), "{from} is in {text}");
        fs::write(&file, text.replacen(from, to, 1)).expect("it can be written");
        let error = format!("{:#}", trace::replay(&file).expect_err("it differs"));
        assert!(error.contains(complaint), "{error}");
    }
    fs::remove_file(file).expect("it was there");
}
