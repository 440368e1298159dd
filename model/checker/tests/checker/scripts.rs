//! A trace as a script tells the same run: other code carries it out, over the same servers and links.

use std::fs;

use checker::{
    engine::{Broken, Model as _, plain::Plain, search::Counterexample},
    rows::{Row, Setup},
    trace,
    zab::{Bounds, Part, Tier, Zab},
};
use world::script::{End, Judge, play};

/// Marsaglia's xorshift; the seed must not be 0.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is less than a usize")
    }
}

fn there_and_back(bounds: &Bounds, seed: u64) {
    let model = Zab::new(bounds.clone());
    let mut state = Plain::initial(&model);
    let (mut path, mut chance) = (Vec::new(), Chance(seed));
    let mut story = Vec::new();
    for _ in 0..150 {
        let possible = state.possible(&model);
        if possible.is_empty() {
            break;
        }
        let action = possible[chance.below(possible.len())].clone();
        story.extend(state.step_narrated(&model, &action));
        path.push(action);
    }
    let found = Counterexample { broken: Broken::new("no-traps", "made for a test"), path };
    let row = Row { name: "test", setup: Setup::Zab(bounds.clone()), expects: &[], traps: false };
    let file = std::env::temp_dir().join(format!("zabcheck-script-{}-{seed}.jsonl", std::process::id()));
    trace::save(&file, &model, "test", &row, &found).expect("the folder for temporary files is there");
    let script = trace::as_script(&file).expect("the same run");
    fs::remove_file(file).expect("it was there");

    let told = play(&script, Judge::All).unwrap_or_else(|error| panic!("{error}\n{script}"));
    assert_eq!(told.end, End::Whole, "{script}\n{}", told.transcript);
    let events = told.transcript.lines().filter_map(|line| line.strip_prefix("       "));
    assert!(events.eq(story.iter().map(String::as_str)), "seed {seed}\n{script}\n{}", told.transcript);
    let mut servers = told.ensemble.all().iter();
    for (slot, part) in state.parts.iter().enumerate() {
        let name = model.slot_name(slot);
        match part {
            Part::Server(server) => {
                let played = servers.next().expect("as many servers");
                assert_eq!(trace::digest(played), trace::digest(&**server), "{name}\n{script}");
            }
            Part::Link(link) => {
                let ids: Vec<_> =
                    name.split(' ').filter_map(|word| word.parse().ok()).map(spec::ServerId).collect();
                let played = told.ensemble.link(ids[0], ids[1]).expect("as many links");
                assert_eq!(trace::digest(played), trace::digest(link), "{name}\n{script}");
            }
            Part::Record(record) => {
                let played = spec::history::History::record(&told.ensemble);
                assert_eq!(played.committed(), record.committed());
            }
            Part::Budget(_) => {}
        }
    }
}

#[test]
fn a_trace_and_its_script_are_the_same_run() {
    let fine = Bounds { txns: 4, crashes: 2, breaks: 3, elections: 5, ..Bounds::default() };
    let coarse = Bounds { tier: Tier::Coarse, ..fine.clone() };
    for seed in 1..=40 {
        there_and_back(&Bounds { refusals: true, ..fine.clone() }, seed);
        there_and_back(&Bounds { eager: false, servers: 5, ..fine.clone() }, seed);
        there_and_back(&Bounds { window: 1, counter_max: 2, ..coarse.clone() }, seed);
        there_and_back(&Bounds { eager: false, window: 0, log_sync: false, ..coarse.clone() }, seed);
    }
}
