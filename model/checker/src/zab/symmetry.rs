//! Renaming servers. Zab treats them alike, and the oracle that stands for elections may choose any, so a situation
//! and the same under other names can go on in the same ways.

use spec::ServerId;

use super::Zab;
use crate::engine::Symmetry;

/// For each server, by slot, the slot of the one whose name it takes.
pub(super) type Renaming = Vec<usize>;

/// All renamings of so many servers, the identity first, that come of swapping neighbours; `alike` says of a slot
/// whether its server and the next may be taken for each other.
pub(super) fn renamings(servers: usize, alike: impl Fn(usize) -> bool) -> Vec<Renaming> {
    let identity: Renaming = (0..servers).collect();
    let mut found = vec![identity];
    let mut next = 0;
    while next < found.len() {
        for place in (1..servers).filter(|place| alike(place - 1)) {
            let mut swapped = found[next].clone();
            swapped.swap(place - 1, place);
            if !found.contains(&swapped) {
                found.push(swapped);
            }
        }
        next += 1;
    }
    found
}

impl Zab {
    pub(super) fn renamed(&self, renaming: &Renaming, id: ServerId) -> ServerId {
        self.servers[renaming[self.slot_of(id)]]
    }

    pub(super) fn symmetry(&self, renaming: &Renaming) -> Symmetry {
        let count = self.servers.len();
        let mut slots: Vec<_> = (0..=self.budget_slot()).collect();
        for from in 0..count {
            slots[renaming[from]] = from;
            for to in (0..count).filter(|to| *to != from) {
                slots[self.link(renaming[from], renaming[to])] = self.link(from, to);
            }
        }
        let undoes = |other: &Renaming| (0..count).all(|slot| other[renaming[slot]] == slot);
        let inverse = self.renamings.iter().position(undoes);
        Symmetry { slots, inverse: inverse.expect("renamings are a group") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Model as _, zab::Bounds};

    #[test]
    fn observers_and_weights_are_not_taken_for_each_other() {
        let counts = [(3, 1, vec![], 2), (4, 2, vec![], 4), (3, 0, vec![vec![3, 1, 1]], 2)];
        for (servers, observers, groups, renamings) in counts {
            let model = Zab::new(Bounds { servers, observers, groups, ..Bounds::default() });
            assert_eq!(model.symmetries().len(), renamings);
        }
    }

    #[test]
    fn six_renamings_of_three_servers_undo_each_other() {
        let model = Zab::new(Bounds::default());
        let symmetries = model.symmetries();
        assert_eq!(symmetries.len(), 6);
        for symmetry in &symmetries {
            let inverse = &symmetries[symmetry.inverse];
            let there_and_back: Vec<_> = inverse.slots.iter().map(|slot| symmetry.slots[*slot]).collect();
            assert_eq!(there_and_back, symmetries[0].slots);
        }
    }
}
