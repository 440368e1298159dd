//! Smaller plans that fail in the same way.
//!
//! Faults and deeds are left out in ever smaller groups (Zeller and Hildebrandt's delta debugging), as long as what is
//! left breaks the same rule.

use crate::plan::Plan;

/// A plan with as little in it as can be found in so many runs. `fails` says whether a plan breaks the rule.
pub fn shrink(plan: &Plan, runs_max: u32, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut left = runs_max;
    let mut smallest = plan.clone();
    let mut try_it = |candidate: &Plan, left: &mut u32| {
        let fits = *left > 0 && fails(candidate);
        *left = left.saturating_sub(1);
        fits
    };
    loop {
        let size = smallest.faults.len() + smallest.deeds.len();
        let faults = |plan: &mut Plan, from: usize, to: usize| drop(plan.faults.drain(from..to));
        smallest = without(smallest, |plan| plan.faults.len(), faults, |plan| try_it(plan, &mut left));
        let deeds = |plan: &mut Plan, from: usize, to: usize| drop(plan.deeds.drain(from..to));
        smallest = without(smallest, |plan| plan.deeds.len(), deeds, |plan| try_it(plan, &mut left));
        smallest = shorter(smallest, |plan| try_it(plan, &mut left));
        if left == 0 || smallest.faults.len() + smallest.deeds.len() == size {
            return smallest;
        }
    }
}

/// Leaves out groups of one list, first halves, in the end single ones.
fn without(
    mut plan: Plan,
    length: impl Fn(&Plan) -> usize,
    remove: impl Fn(&mut Plan, usize, usize),
    mut fails: impl FnMut(&Plan) -> bool,
) -> Plan {
    let mut group = length(&plan).next_power_of_two();
    while group > 0 {
        // From the end: what came last is likely to have come too late.
        let mut to = length(&plan);
        while to > 0 {
            let from = to.saturating_sub(group);
            let mut candidate = plan.clone();
            remove(&mut candidate, from, to);
            if fails(&candidate) {
                plan = candidate;
            }
            to = from;
        }
        group /= 2;
    }
    plan
}

/// Ends the faults earlier, and leaves out clients that do nothing.
fn shorter(mut plan: Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let last_fault = plan.faults.last().map_or(0, |fault| fault.at_ms);
    let last_deed = plan.deeds.last().map_or(0, |deed| deed.at_ms);
    let needed = last_fault.max(last_deed) + 1;
    for heal_ms in [needed, needed + 500, needed + 2_000, needed + 10_000] {
        let candidate = Plan { heal_ms, ..plan.clone() };
        if heal_ms < plan.heal_ms && fails(&candidate) {
            plan = candidate;
            break;
        }
    }
    let busy = plan.deeds.iter().map(|deed| deed.client + 1).max().unwrap_or(1);
    let candidate = Plan { clients: busy, ..plan.clone() };
    if busy < plan.clients && fails(&candidate) { candidate } else { plan }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Size, Trouble};

    #[test]
    fn what_does_not_matter_is_left_out() {
        let plan =
            (1..1000).map(|seed| Plan::draw(seed, Some(Size::THREE))).find(|plan| plan.faults.len() > 20);
        let plan = plan.expect("some plan has many faults");
        let (one, other) = (plan.faults[3].clone(), plan.faults[17].clone());
        let needs_both = |plan: &Plan| {
            plan.faults.contains(&one) && plan.faults.contains(&other) && !plan.deeds.is_empty()
        };
        let small = shrink(&plan, 1_000, needs_both);
        assert_eq!((small.faults, small.deeds.len()), (vec![one.clone(), other.clone()], 1));
    }

    #[test]
    fn it_ends_when_its_runs_are_used_up() {
        let plan = Plan::draw(1, Some(Size::THREE));
        let mut runs = 0;
        let _ = shrink(&plan, 10, |_| {
            runs += 1;
            true
        });
        assert!(runs <= 10, "{runs} runs");
        assert_eq!(Trouble::KINDS.len(), 10);
    }
}
