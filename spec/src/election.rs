//! Elections: what must hold of votes and of what is made of them.

use crate::ServerId;
use alloc::collections::BTreeSet;

/// F-1: `greater` is a strict total order on these votes: of two different ones exactly one is greater, none is
/// greater than itself, and greater than greater is greater.
///
/// Source: ZooKeeper issue 1419, where ties were not guarded and the relation was cyclic.
pub fn is_strict_total_order<V: PartialEq>(votes: &[V], greater: impl Fn(&V, &V) -> bool) -> bool {
    let irreflexive = votes.iter().all(|vote| !greater(vote, vote));
    let total = votes
        .iter()
        .all(|one| votes.iter().all(|other| one == other || greater(one, other) != greater(other, one)));
    let transitive = votes.iter().all(|a| {
        votes
            .iter()
            .filter(|b| greater(a, b))
            .all(|b| votes.iter().filter(|c| greater(b, c)).all(|c| greater(a, c)))
    });
    irreflexive && total && transitive
}

/// F-3: whoever is elected has a vote.
pub fn leader_votes(leader: ServerId, voters: &BTreeSet<ServerId>) -> bool {
    voters.contains(&leader)
}
