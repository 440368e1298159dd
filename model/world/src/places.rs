//! Where servers and the connections between them stand among the slots of a state: the servers first, then the
//! connections in the order of learner, then leader.

use crate::{Link, LinkChange, NetChange, Side};
use spec::ServerId;

/// The slots of some servers, which are called 1, 2, …
#[derive(Clone, Copy, Debug)]
pub struct Places {
    servers: usize,
}

impl Places {
    /// The slots of this many servers.
    pub fn of(servers: usize) -> Self {
        Self { servers }
    }

    /// The slot behind the last connection.
    pub fn end(self) -> usize {
        self.servers * self.servers
    }

    /// The slot of a server.
    pub fn server(self, id: ServerId) -> usize {
        let slot = usize::try_from(id.0).unwrap_or_default().wrapping_sub(1);
        assert!(slot < self.servers, "an action names servers of the ensemble, not {id}");
        slot
    }

    /// The slot of the connection from a learner to a leader, both by slot.
    pub fn link(self, learner: usize, leader: usize) -> usize {
        let column = if leader < learner { leader } else { leader - 1 };
        self.servers + learner * (self.servers - 1) + column
    }

    /// The two servers of a connection's slot: learner and leader.
    pub fn ends(self, slot: usize) -> (usize, usize) {
        let place = slot - self.servers;
        let (learner, column) = (place / (self.servers - 1), place % (self.servers - 1));
        (learner, if column < learner { column } else { column + 1 })
    }

    /// The end that a server has of a connection with this peer, both by slot. It is a learner of a peer, or its
    /// leader, not both.
    pub fn open_end<'a, F: Clone + std::fmt::Debug + PartialEq + 'a>(
        self,
        slot: usize,
        peer: usize,
        link: impl Fn(usize) -> &'a Link<F>,
    ) -> Option<(usize, Side)> {
        let (up, down) = (self.link(slot, peer), self.link(peer, slot));
        let dialled = link(up);
        if dialled.is_open(Side::Learner) || dialled.is_dialling() {
            Some((up, Side::Learner))
        } else {
            link(down).is_open(Side::Leader).then_some((down, Side::Leader))
        }
    }

    /// What a server's wish comes to: a change of the connection in this slot, or nothing.
    ///
    /// # Errors
    /// It sends where it has no connection.
    pub fn route<'a, F: Clone + std::fmt::Debug + PartialEq + 'a>(
        self,
        slot: usize,
        wish: &NetChange<F>,
        link: impl Fn(usize) -> &'a Link<F>,
    ) -> Result<Option<(usize, LinkChange<F>)>, String> {
        Ok(match wish {
            NetChange::Send(to, frame) => {
                let end = self.open_end(slot, self.server(*to), link);
                let (place, side) =
                    end.ok_or_else(|| format!("server {} sends to {to} without a link", slot + 1))?;
                Some((place, LinkChange::Send(side, frame.clone())))
            }
            NetChange::Dial(to) => Some((self.link(slot, self.server(*to)), LinkChange::Dial)),
            NetChange::Close(peer) => {
                let end = self.open_end(slot, self.server(*peer), link);
                end.map(|(place, side)| (place, LinkChange::Close(side)))
            }
            NetChange::Refuse(from) => {
                Some((self.link(self.server(*from), slot), LinkChange::Close(Side::Leader)))
            }
        })
    }
}
