//! A few seeds of each size as bytes and files, and what shows that a flaw would.

use simulation::{Encoded, Honest, Lying};
use simulator::{Coverage, Form, Plan, Size, play};
use world::Fault;

fn play_one<F: Form>(seed: u64, size: Size, met: &mut Coverage) -> Result<(), Fault> {
    play::<F>(&Plan::draw(seed, Some(size)), met, None)
}

#[test]
fn ensembles_of_bytes_and_files_heal() {
    let mut met = Coverage::default();
    for (size, seeds) in [(Size::THREE, 25), (Size::FIVE, 8), (Size::FIVE_AND_TWO, 5)] {
        for seed in 1..=seeds {
            if let Err(broken) = play_one::<Encoded<Honest>>(seed, size, &mut met) {
                panic!("seed {seed} of {size} servers breaks {}: {}", broken.rule, broken.why);
            }
        }
    }
    for situation in ["diff", "snap", "trunc", "leader-changed", "expired", "event", "moved", "informed"] {
        assert!(met.situations.contains_key(situation), "{situation} was not met");
    }
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let broken = play_one::<Encoded<Lying>>(1, Size::THREE, &mut Coverage::default());
    let broken = broken.expect_err("what is claimed is not on the disk");
    assert!(broken.rule.starts_with("R-"), "{} is broken: {}", broken.rule, broken.why);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let run = || {
        let mut met = Coverage::default();
        let outcome = play_one::<Encoded<Honest>>(3, Size::FIVE, &mut met);
        (outcome, met)
    };
    assert_eq!(run(), run());
}
