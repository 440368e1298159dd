//! Election and discovery as one transition.
//!
//! The transition decides nothing by itself: it tells the servers of the leader, lets their dials through, and
//! delivers messages and ends disk operations until discovery is over, all of it by the real actors.

use protocol::Message;
use spec::{Epoch, ServerId, Zxid};
use world::{Event, Frame, Side};

use super::{Action, Zab, link, server};
use crate::engine::{Board, Broken};

impl Zab {
    /// Elections that this server could win, with each set of followers that makes a quorum, and leaders to join.
    pub(super) fn coarse_offers(&self, id: ServerId, out: &mut Vec<Action>) {
        let voters = self.settings.quorum.voters();
        let others: Vec<_> =
            voters.filter(|other| *other != id && self.settings.quorum.may_lead(id)).collect();
        // Alone only where that decides.
        let alone = u32::from(!self.settings.quorum.decides(&[id]));
        for chosen in alone..1 << others.len() {
            let chosen_bits = (0..others.len()).filter(|place| chosen >> place & 1 == 1);
            let followers: Vec<_> = chosen_bits.map(|place| others[place]).collect();
            if self.settings.quorum.decides(followers.iter().chain([&id])) {
                out.push(Action::Elect { leader: id, followers });
            }
        }
        let leaders = self.leaders().filter(|leader| *leader != id);
        out.extend(leaders.map(|leader| Action::Join { learner: id, leader }));
    }

    pub(super) fn may_elect<B: Board<Self>>(
        &self,
        board: &B,
        leader: ServerId,
        followers: &[ServerId],
    ) -> bool {
        let rank = self.rank(board, leader);
        let ready = |id: ServerId| server(board.part(self.slot_of(id))).is_looking();
        ready(leader)
            && followers.iter().all(|follower| ready(*follower) && self.rank(board, *follower) <= rank)
    }

    fn rank<B: Board<Self>>(&self, board: &B, id: ServerId) -> (Epoch, Zxid) {
        server(board.part(self.slot_of(id))).zab().rank()
    }

    pub(super) fn may_join<B: Board<Self>>(&self, board: &B, learner: ServerId, leader: ServerId) -> bool {
        let (slot, leader) = (self.slot_of(learner), server(board.part(self.slot_of(leader))));
        let behind = server(board.part(slot)).zab().accepted() <= leader.zab().accepted();
        behind && leader.leads()
    }

    pub(super) fn elect<B: Board<Self>>(
        &self,
        board: &mut B,
        leader: ServerId,
        followers: &[ServerId],
    ) -> Result<(), Broken> {
        let leader = self.slot_of(leader);
        let followers: Vec<_> = followers.iter().map(|id| self.slot_of(*id)).collect();
        self.elected(board, leader, self.servers[leader])?;
        for follower in &followers {
            self.elected(board, *follower, self.servers[leader])?;
        }
        self.discover(board, leader, &followers)
    }

    pub(super) fn join<B: Board<Self>>(
        &self,
        board: &mut B,
        learner: ServerId,
        leader: ServerId,
    ) -> Result<(), Broken> {
        let (slot, leader_slot) = (self.slot_of(learner), self.slot_of(leader));
        self.elected(board, slot, leader)?;
        self.discover(board, leader_slot, &[slot])
    }

    fn discover<B: Board<Self>>(
        &self,
        board: &mut B,
        leader: usize,
        followers: &[usize],
    ) -> Result<(), Broken> {
        for follower in followers {
            let place = self.link(*follower, leader);
            if link(board.part(place)).is_dialling() {
                self.link_up(board, place)?;
            }
        }
        loop {
            let mut moved = !server(board.part(leader)).leads() && self.finish_one(board, leader)?;
            for follower in followers {
                moved |= self.finish_one(board, *follower)?;
                moved |= self.discover_link(board, self.link(*follower, leader))?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn finish_one<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<bool, Broken> {
        match server(board.part(slot)).disk().may_finish().first().copied() {
            Some(ticket) => self.event(board, slot, Event::Disk(ticket)).map(|_| true),
            None => Ok(false),
        }
    }

    /// Delivers a packet of discovery, if that is what is next.
    fn discover_link<B: Board<Self>>(&self, board: &mut B, place: usize) -> Result<bool, Broken> {
        let up = link(board.part(place));
        let at = if up.next(Side::Leader).is_some() {
            Side::Leader
        } else if let Some(Frame::Packet(Message::LeaderInfo { .. })) = up.next(Side::Learner) {
            Side::Learner
        } else {
            return Ok(false);
        };
        self.read(board, place, at)?;
        Ok(true)
    }
}
