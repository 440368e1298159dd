//! What an operator may set about what requests come to.

use serde::{Deserialize, Serialize};

use crate::Owner;

/// What requests come to at a leader with these settings.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Settings {
    /// Whether nodes with a time to live may be created (`extendedTypesEnabled`).
    pub ttl_nodes: bool,
    /// How long a container may stay that never had a child, in milliseconds (`znode.container.maxNeverUsedIntervalMs`);
    /// 0 for as long as it likes.
    pub container_unused_max_ms: i64,
}

impl Settings {
    /// Whether the time of a node without children is over (rule T-21).
    ///
    /// Source: ZooKeeper `ContainerManager.getCandidates`.
    pub(crate) fn is_over(&self, owner: Owner, creations: i32, mtime: i64, now: i64) -> bool {
        let idle_ms = now.saturating_sub(mtime);
        match owner {
            Owner::Container => {
                creations > 0 || self.container_unused_max_ms != 0 && idle_ms > self.container_unused_max_ms
            }
            Owner::Ttl(ttl_ms) => ttl_ms != 0 && idle_ms > ttl_ms,
            Owner::None | Owner::Session(_) => false,
        }
    }
}
