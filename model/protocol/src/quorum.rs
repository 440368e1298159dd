//! Does this set of servers decide?

use alloc::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use spec::ServerId;

/// The voting servers of an ensemble, of which any majority decides.
///
/// Two deciding sets always share a server; every argument of the protocol rests on that.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Quorum {
    voters: BTreeSet<ServerId>,
}

impl Quorum {
    /// The majorities of these voters.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> Self {
        Self { voters: voters.into_iter().collect() }
    }

    /// The voting servers, in the order of ids.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.iter().copied()
    }

    /// Whether the server has a vote. Only voters lead (rule E-5).
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains(&server)
    }

    /// Whether these servers decide: more than half of the voters are among them.
    pub fn decides<'a>(&self, servers: impl IntoIterator<Item = &'a ServerId>) -> bool {
        let present: BTreeSet<_> = servers.into_iter().collect();
        self.decides_where(|voter| present.contains(&voter))
    }

    /// Whether the servers that this holds for decide.
    pub fn decides_where(&self, member: impl Fn(ServerId) -> bool) -> bool {
        self.voters().filter(|voter| member(*voter)).count() * 2 > self.voters.len()
    }
}
