//! A few seeds of each size, and what they should meet together.

use simulator::{Coverage, Plain, Plan, Size, play};

fn play_seeds(size: Size, seeds: u64) -> Coverage {
    let mut met = Coverage::default();
    for seed in 1..=seeds {
        let plan = Plan::draw(seed, Some(size));
        if let Err(broken) = play::<Plain>(&plan, &mut met, None) {
            panic!("seed {seed} of {size} servers breaks {}: {}", broken.rule, broken.why);
        }
    }
    met
}

#[test]
fn ensembles_of_three_heal() {
    let met = play_seeds(Size::THREE, 40);
    for situation in ["diff", "snap", "trunc", "leader-changed", "expired", "event", "moved"] {
        assert!(met.situations.contains_key(situation), "{situation} was not met");
    }
    assert_eq!(met.faults.len(), simulator::Trouble::KINDS.len(), "{:?}", met.faults);
}

#[test]
fn ensembles_of_five_heal() {
    let met = play_seeds(Size::FIVE, 20);
    assert!(met.rules.get("heals").is_some_and(|seeds| *seeds == 20));
}

#[test]
fn ensembles_with_observers_heal() {
    let met = play_seeds(Size::FIVE_AND_TWO, 20);
    assert!(met.rules.get("heals").is_some_and(|seeds| *seeds == 20));
    for situation in ["answered-by-observer", "informed", "snap-to-observer"] {
        assert!(met.situations.contains_key(situation), "{situation} was not met");
    }
    for rule in ["ObserverNeverLeads", "ObserverLogsCommitted"] {
        assert!(met.rules.contains_key(rule), "{rule} was not put to the test");
    }
}

#[test]
fn a_size_is_named_by_its_voters_and_observers() {
    for size in Size::ALL {
        assert_eq!(size.to_string().parse(), Ok(size));
    }
    assert_eq!("4".parse::<Size>(), Err("an ensemble is one of 3, 5, 5+2".to_owned()));
}

#[test]
fn an_ensemble_that_can_propose_nothing_does_not_heal() {
    // Nothing is wrong with any step; only that it never gets anywhere.
    let mut plan = Plan::draw(1, Some(Size::THREE));
    plan.tuning.counter_max = 0;
    let broken = play::<Plain>(&plan, &mut Coverage::default(), None)
        .expect_err("no epoch has room for a transaction");
    assert_eq!(broken.rule, "heals", "{}", broken.why);
}

#[test]
fn a_plan_is_data() {
    let (one, other) = (Plan::draw(7, None), Plan::draw(7, None));
    assert_eq!(one, other);
    assert_ne!(one, Plan::draw(8, None));
}
