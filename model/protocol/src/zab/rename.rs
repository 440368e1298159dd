//! The same server under other names, for a checker that takes situations which differ only in the names of servers
//! for one. Zab treats all servers alike; only elections break ties by name.

use alloc::collections::{BTreeMap, BTreeSet};

use spec::ServerId;

use super::{Phase, Zab, core::Core, leader::Leader, ticket::Tickets};

impl<T> Zab<T> {
    /// This server with every server called by another name. The names must be those of the same ensemble.
    #[must_use]
    pub fn renamed(self, name: impl Fn(ServerId) -> ServerId) -> Self {
        let Self { phase, core } = self;
        let phase = match phase {
            Phase::Resting => Phase::Resting,
            Phase::Looking => Phase::Looking,
            Phase::Learning(mut learner) => {
                learner.leader = name(learner.leader);
                Phase::Learning(learner)
            }
            Phase::Leading(leader) => Phase::Leading(leader.renamed(&name)),
        };
        Self { phase, core: core.renamed(&name) }
    }
}

impl<T> Core<T> {
    fn renamed(self, name: &impl Fn(ServerId) -> ServerId) -> Self {
        let mut core = self;
        core.config.me = name(core.config.me);
        core.tickets = Tickets::renamed(core.tickets, name);
        core
    }
}

impl Leader {
    fn renamed(self, name: &impl Fn(ServerId) -> ServerId) -> Self {
        let promises: BTreeSet<_> = self.promises.iter().map(|id| name(*id)).collect();
        let learners: BTreeMap<_, _> =
            self.learners.iter().map(|(id, learner)| (name(*id), *learner)).collect();
        Self { promises, learners, ..self }
    }
}
