//! What the disk is busy with, by ticket.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};

use crate::Ticket;

/// What a ticket stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Pending {
    /// What recovery read becomes durable.
    Recovered,
    /// A transaction is logged.
    Append(Zxid),
    /// The epoch promised is stored.
    Accepted(Epoch),
    /// The epoch joined is stored.
    Current(Epoch),
    /// The log is cut behind this transaction.
    Truncate(Zxid),
    /// The state that was received is stored under this label.
    Snapshot(Zxid),
    /// The log is searched for the end of this learner's, which was here.
    Locate(ServerId, Zxid),
}

/// The disk operations under way, oldest first. Numbers start at 0 again when there are none, so that a run has no
/// ever-growing counter.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Tickets {
    next: u32,
    pending: VecDeque<(Ticket, Pending)>,
}

impl Tickets {
    pub(super) fn issue(&mut self, pending: Pending) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.wrapping_add(1);
        self.pending.push_back((ticket, pending));
        ticket
    }

    /// Ends an operation. The log's end in order, so that the search is short.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        let place = self.pending.iter().position(|(issued, _)| *issued == ticket)?;
        let (_, pending) = self.pending.remove(place)?;
        if self.pending.is_empty() {
            self.next = 0;
        }
        Some(pending)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The same operations, with servers called by other names.
    pub(super) fn renamed(mut self, name: &impl Fn(ServerId) -> ServerId) -> Self {
        for (_, pending) in &mut self.pending {
            if let Pending::Locate(learner, _) = pending {
                *learner = name(*learner);
            }
        }
        self
    }
}
