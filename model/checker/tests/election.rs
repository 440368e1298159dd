//! The election model at bounds that take a moment.

use checker::{
    election::{Config, Election},
    engine::{
        Model,
        graph::traps,
        plain::Plain,
        search::{End, Options, Outcome, Search},
    },
};

fn config(votes: &[(u32, u32)]) -> Config {
    Config { votes: votes.to_vec(), rounds: 2, relooks: 1, crashes: 0, breaks: 0, epochs: 1 }
}

fn transcript(model: &Election, path: &[checker::election::Action]) -> String {
    let mut state = Plain::initial(model);
    let mut text = String::new();
    for action in path {
        text += &format!("{}\n", model.describe(action));
        for line in state.step_narrated(model, action) {
            text += &format!("    {line}\n");
        }
    }
    text
}

fn exhaust(config: Config) -> Outcome<checker::election::Action> {
    let model = Election::new(config);
    let mut search = Search::new(&model, Options::default());
    let outcome = search.run(&mut |_| {});
    if let Some(found) = &outcome.counterexample {
        panic!("{}: {}\n{}", found.broken.rule, found.broken.why, transcript(&model, &found.path));
    }
    let found = traps(&mut search);
    eprintln!("{:?} {:?} traps {}", outcome.progress, outcome.tables, found.traps);
    eprintln!("{:?}", outcome.witnesses);
    if let Some(first) = &found.first {
        panic!("a trap\n{}", transcript(&model, &first.path));
    }
    outcome
}

#[test]
fn three_equal_servers() {
    let outcome = exhaust(config(&[(1, 1), (1, 1), (1, 1)]));
    assert_eq!(outcome.end, End::Exhausted);
}
