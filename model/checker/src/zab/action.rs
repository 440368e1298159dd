//! What each part offers.

use protocol::Role;
use spec::ServerId;
pub use world::Step as Action;
use world::{Link, Server, Side};

use super::{Tier, Zab};

impl Zab {
    pub(super) fn server_offers(&self, server: &Server, out: &mut Vec<Action>) {
        let id = server.id;
        if server.is_looking() {
            match self.bounds.tier {
                Tier::Fine => {
                    out.extend(self.leaders().map(|leader| self.decision(id, leader)));
                }
                Tier::Coarse => self.coarse_offers(id, out),
            }
        }
        out.extend(server.timers().map(|timer| Action::Timeout { server: id, timer }));
        if matches!(server.zab().role(), Some((Role::Leading, _))) && server.zab().is_serving() {
            out.push(Action::Propose { server: id });
        }
        out.extend(
            server.disk().may_finish().into_iter().map(|ticket| Action::Finish { server: id, ticket }),
        );
        let images = server.disk().crash_images(self.bounds.torn);
        out.extend(images.into_iter().map(|keep| Action::Crash { server: id, keep }));
    }

    /// The servers that may lead.
    pub(super) fn leaders(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.iter().copied().filter(|id| self.settings.quorum.may_lead(*id))
    }

    /// To wait for a dial to get through is as good as to look for a leader: the server says and stores nothing
    /// meanwhile. So unless dials are turned away, it may as well decide when its dial gets through.
    fn decision(&self, server: ServerId, leader: ServerId) -> Action {
        if server == leader || self.bounds.refusals || self.bounds.waiting {
            Action::Decide { server, leader }
        } else {
            Action::Reach { learner: server, leader }
        }
    }

    pub(super) fn link_offers(&self, slot: usize, link: &Link, out: &mut Vec<Action>) {
        let (learner, leader) = self.ends(slot);
        let (learner, leader) = (self.servers[learner], self.servers[leader]);
        if link.is_dialling() {
            out.push(Action::Connect { learner, leader });
        }
        for at in [Side::Learner, Side::Leader] {
            if link.next(at).is_some() {
                out.push(Action::Read { learner, leader, at });
            }
            if link.is_cut(at) {
                out.push(Action::Notice { learner, leader, at });
            }
        }
        if link.is_joined() {
            out.push(Action::Break { learner, leader });
        }
    }
}
