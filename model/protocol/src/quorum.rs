//! Does this set of servers decide?
//!
//! Voters stand in groups and have weights. A set decides if it has more than half of the weight in more than half of
//! the groups; a group without any weight is none. Without groups all voters stand in one and weigh the same, and that
//! is the plain majority. An observer is a server that is no voter: nothing here ever counts it.
//!
//! Source: ZooKeeper `QuorumMaj`, `QuorumHierarchical`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Serialize};
use spec::ServerId;

/// The voting servers of an ensemble, and which sets of them decide.
///
/// Two deciding sets always share a server that has weight: they share a group, and in it each has more than half of
/// the weight. Every argument of the protocol rests on that.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Quorum {
    voters: BTreeMap<ServerId, Voter>,
    /// The weight of each group; none is 0.
    groups: Vec<u64>,
}

/// A server with a vote.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Voter {
    /// The place of its group; of no meaning without weight.
    group: usize,
    weight: u32,
}

/// Why groups make no quorum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// The server is in two groups, or twice in one.
    Twice(ServerId),
    /// No server has any weight, so that nothing would ever be decided.
    Weightless,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(server) => write!(f, "server {server} is in two groups"),
            Self::Weightless => f.write_str("no server has a weight above 0, so that none could ever lead"),
        }
    }
}

impl Quorum {
    /// The majorities of these voters.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> Self {
        let voters: BTreeMap<_, _> =
            voters.into_iter().map(|id| (id, Voter { group: 0, weight: 1 })).collect();
        let groups = if voters.is_empty() { Vec::new() } else { Vec::from([voters.len() as u64]) };
        Self { voters, groups }
    }

    /// The majorities by weight in the majorities of these groups: in each, the servers and their weights.
    ///
    /// # Errors
    /// A server that stands twice, or no weight at all.
    pub fn hierarchical<G>(groups: impl IntoIterator<Item = G>) -> Result<Self, Unfit>
    where
        G: IntoIterator<Item = (ServerId, u32)>,
    {
        let (mut voters, mut weights) = (BTreeMap::new(), Vec::new());
        for group in groups {
            let mut total = 0;
            for (id, weight) in group {
                if voters.insert(id, Voter { group: weights.len(), weight }).is_some() {
                    return Err(Unfit::Twice(id));
                }
                total += u64::from(weight);
            }
            if total > 0 {
                weights.push(total);
            }
        }
        if weights.is_empty() { Err(Unfit::Weightless) } else { Ok(Self { voters, groups: weights }) }
    }

    /// The voting servers, in the order of ids.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.keys().copied()
    }

    /// Whether the server has a vote, be it without weight. One that has none is an observer (rule E-5).
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains_key(&server)
    }

    /// Whether the server may lead: it has a vote, and the vote has weight (rule E-3).
    pub fn may_lead(&self, server: ServerId) -> bool {
        self.voters.get(&server).is_some_and(|voter| voter.weight > 0)
    }

    /// Whether nothing but the name tells these two apart: both are observers, or weigh the same in one group.
    pub fn alike(&self, one: ServerId, other: ServerId) -> bool {
        self.voters.get(&one) == self.voters.get(&other)
    }

    /// Whether these servers decide.
    pub fn decides<'a>(&self, servers: impl IntoIterator<Item = &'a ServerId>) -> bool {
        let present: BTreeSet<_> = servers.into_iter().collect();
        self.decides_where(|voter| present.contains(&voter))
    }

    /// Whether the servers that this holds for decide.
    pub fn decides_where(&self, member: impl Fn(ServerId) -> bool) -> bool {
        let weight_in = |group: usize| {
            let voters = self.voters.iter().filter(|(id, voter)| voter.group == group && member(**id));
            voters.map(|(_, voter)| u64::from(voter.weight)).sum::<u64>()
        };
        let won = self.groups.iter().enumerate().filter(|(group, total)| weight_in(*group) * 2 > **total);
        won.count() * 2 > self.groups.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use spec::ServerId;

    use super::{Quorum, Unfit};

    fn ids(ids: &[u64]) -> Vec<ServerId> {
        ids.iter().copied().map(ServerId).collect()
    }

    /// Groups as lists of server and weight.
    fn quorum(groups: &[&[(u64, u32)]]) -> Result<Quorum, Unfit> {
        Quorum::hierarchical(
            groups.iter().map(|group| group.iter().map(|(id, weight)| (ServerId(*id), *weight))),
        )
    }

    fn decides(quorum: &Quorum, present: &[u64]) -> bool {
        quorum.decides(&ids(present))
    }

    #[test]
    fn without_groups_more_than_half_of_the_voters_decide() {
        let three = Quorum::majority(ids(&[1, 2, 3]));
        assert!(decides(&three, &[1, 3]));
        assert!(!decides(&three, &[2]));
        // Whoever has no vote does not count, however many there are.
        assert!(!decides(&three, &[2, 4, 5, 6]));
        let four = Quorum::majority(ids(&[1, 2, 3, 4]));
        assert!(!decides(&four, &[1, 2]), "half is not more than half");
        assert!(!decides(&Quorum::majority(ids(&[])), &[1]), "nobody decides nothing");
    }

    #[test]
    fn groups_of_equal_weights_need_majorities_of_majorities() -> Result<(), Unfit> {
        let nine =
            quorum(&[&[(1, 1), (2, 1), (3, 1)], &[(4, 1), (5, 1), (6, 1)], &[(7, 1), (8, 1), (9, 1)]])?;
        assert!(decides(&nine, &[1, 2, 4, 5]), "four of nine, but two of three in two of three groups");
        assert!(!decides(&nine, &[1, 2, 3, 4, 7]), "five of nine, but one group only");
        assert!(!decides(&nine, &[1, 2, 3]));
        Ok(())
    }

    #[test]
    fn weight_counts_and_not_heads() -> Result<(), Unfit> {
        let heavy = quorum(&[&[(1, 3), (2, 1), (3, 1)]])?;
        assert!(decides(&heavy, &[1]), "3 of 5");
        assert!(!decides(&heavy, &[2, 3]), "two servers of three, 2 of 5");
        assert!(heavy.may_lead(ServerId(3)));
        Ok(())
    }

    #[test]
    fn without_weight_a_voter_never_counts_and_never_leads() -> Result<(), Unfit> {
        let idle = quorum(&[&[(1, 1), (2, 1), (3, 1), (4, 0)], &[(5, 0), (6, 0)]])?;
        assert!(decides(&idle, &[1, 2]), "the second group is none");
        assert!(!decides(&idle, &[1, 4, 5, 6]));
        assert!(idle.is_voter(ServerId(4)) && !idle.may_lead(ServerId(4)));
        assert_eq!(idle.voters().collect::<Vec<_>>(), ids(&[1, 2, 3, 4, 5, 6]));
        Ok(())
    }

    #[test]
    fn groups_that_make_no_quorum_are_refused() {
        assert_eq!(quorum(&[&[(1, 1), (2, 1)], &[(2, 1)]]), Err(Unfit::Twice(ServerId(2))));
        assert_eq!(quorum(&[&[(1, 0)], &[(2, 0)]]), Err(Unfit::Weightless));
        assert_eq!(quorum(&[]), Err(Unfit::Weightless));
    }

    /// The claim that the protocol rests on, for every pair of sets of six servers under each of these weights.
    #[test]
    fn two_deciding_sets_share_a_server_with_weight() -> Result<(), Unfit> {
        let tables: [&[&[(u64, u32)]]; 5] = [
            &[&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]],
            &[&[(1, 1), (2, 1)], &[(3, 1), (4, 1)], &[(5, 1), (6, 1)]],
            &[&[(1, 3), (2, 1), (3, 1)], &[(4, 0), (5, 2), (6, 1)]],
            &[&[(1, 0), (2, 0)], &[(3, 1)], &[(4, 5), (5, 2), (6, 2)]],
            &[&[(1, u32::MAX), (2, u32::MAX), (3, u32::MAX)], &[(4, 1), (5, 1), (6, 1)]],
        ];
        for table in tables {
            let quorum = quorum(table)?;
            let among = |set: u32, id: ServerId| set & (1 << id.0) != 0;
            let deciding: Vec<u32> =
                (0..1 << 7).filter(|set| quorum.decides_where(|id| among(*set, id))).collect();
            assert!(deciding.contains(&0x7e), "all together decide");
            for one in &deciding {
                for other in &deciding {
                    let shared =
                        (1..=6).map(ServerId).any(|id| among(one & other, id) && quorum.may_lead(id));
                    assert!(shared, "{table:?}: {one:b} and {other:b}");
                }
            }
        }
        Ok(())
    }
}
