//! Elections: what must hold of votes and of what is made of them.

use alloc::collections::BTreeSet;

use crate::ServerId;

/// F-1: `greater` is a strict total order on these votes. Of two different ones exactly one is greater, none is
/// greater than itself, and greater than greater is greater.
///
/// Source: ZooKeeper issue 1419, where ties were not guarded and the relation was cyclic.
pub fn is_strict_total_order<V: PartialEq>(votes: &[V], greater: impl Fn(&V, &V) -> bool) -> bool {
    let irreflexive = votes.iter().all(|vote| !greater(vote, vote));
    let one_of_two = |a: &V, b: &V| a == b || greater(a, b) != greater(b, a);
    let total = votes.iter().all(|a| votes.iter().all(|b| one_of_two(a, b)));
    let chained = |a: &V, b: &V| votes.iter().all(|c| !greater(b, c) || greater(a, c));
    let transitive = votes.iter().all(|a| votes.iter().all(|b| !greater(a, b) || chained(a, b)));
    irreflexive && total && transitive
}

/// The last word of a voter that a server has when its election ends, as it relates to the result.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Word {
    /// Whose.
    pub of: ServerId,
    /// The leader that it names.
    pub leader: ServerId,
    /// Whether vote and round are those of the result.
    pub same_vote: bool,
    /// Whether its sender has a leader, and names the result's epoch.
    pub same_reign: bool,
    /// Whether its sender says that it leads.
    pub leads: bool,
}

/// The result of an election, as it relates to the server that comes to it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Elected {
    /// Whose election it was.
    pub me: ServerId,
    /// Who is to lead.
    pub leader: ServerId,
    /// Whether its round is the one that this server was in.
    pub own_round: bool,
    /// Whether it came with the word of a server that has a leader.
    pub joins: bool,
}

/// F-2: the result of an election has a quorum: of servers that shared the vote in the round, or of servers that
/// have this leader, which then says so itself. A server that is told by others that it leads itself believes it
/// only in its own round; and one that joins a leader of another round takes that round over, so what was voted in it
/// elects nobody there.
///
/// Source: ZooKeeper `FastLeaderElection`, `checkLeader`.
pub fn result_is_backed(
    result: &Elected,
    words: &[Word],
    decides: impl Fn(&BTreeSet<ServerId>) -> bool,
) -> bool {
    let Elected { me, leader, own_round, joins } = *result;
    let voted = words.iter().filter(|word| word.same_vote).map(|word| word.of).collect();
    let settled = words.iter().filter(|word| word.same_reign && word.leader == leader);
    let joined = settled.map(|word| word.of).collect();
    let leads =
        if leader == me { own_round } else { words.iter().any(|word| word.of == leader && word.leads) };
    ((own_round || !joins) && decides(&voted)) || (decides(&joined) && leads)
}

/// F-4: what a vote says of the server that it names was on that server's disk when it came to look for a leader:
/// `offered` is all that it ever had so.
pub fn vote_was_offered<V: Ord>(vote: &V, offered: &BTreeSet<V>) -> bool {
    offered.contains(vote)
}

/// F-3: whoever is elected is one of those who may lead: the servers whose vote has weight.
pub fn leader_votes(leader: ServerId, voters: &BTreeSet<ServerId>) -> bool {
    voters.contains(&leader)
}
