//! What comes on links: matched with what was sent, or taken on the word of a server whose recording has lost its end.

use protocol::{
    Message,
    peer::{Input, Packet},
};
use recording::Brief;
use spec::{Entry, Machine, ServerId, Zxid};
use tree::{Txn, TxnBody};

use crate::{
    network::{Got, Match, Sent, tell_got, tell_sent},
    replica::{Replica, entry, through},
    run::Run,
    server::{Server, may_have_led_unseen},
};

impl Run {
    /// Something came on a link.
    pub(super) fn received(&mut self, at: usize, from: ServerId, got: Got, time: i64) {
        if self.servers[at].replica.is_none() {
            return;
        }
        let me = self.servers[at].id;
        let link = self.servers[at].links.get(&from).copied();
        let matched = link.map_or(Match::Nothing, |link| self.network.receive(link, me, &got));
        let sent = match matched {
            Match::Fits(sent) => {
                self.report.tested("J-3");
                Some(sent)
            }
            Match::Differs(next) => {
                let why = format!(
                    "{} comes from server {from}, and {} is next on the link",
                    tell_got(&got),
                    tell_sent(&next)
                );
                self.breach(at, "J-3", why);
                None
            }
            Match::Nothing => {
                self.unmatched(at, from, link, &got);
                None
            }
        };
        self.take(at, from, got, sent, time);
    }

    /// Something came that nobody is known to have sent: a breach, unless the sender's recording has lost its end.
    fn unmatched(&mut self, at: usize, from: ServerId, link: Option<usize>, got: &Got) {
        let known = link.is_some_and(|link| {
            self.network.link(link).whole && !self.network.is_early(link, self.servers[at].id)
        });
        let goes_on = self.goes_on(from);
        let torn = self.server(from).is_none_or(|sender| {
            let life = link.and_then(|link| self.lives.get(&(link, from)));
            match life {
                Some(life) if *life == sender.life => sender.lost || (!goes_on && !sender.ended),
                Some(life) => sender.torn.contains(life),
                None => true,
            }
        });
        if known && !torn {
            self.breach(
                at,
                "J-3",
                format!("{} comes from server {from}, which has not sent it", tell_got(got)),
            );
            return;
        }
        self.report.believed += 1;
        self.believe(at, from, got);
    }

    /// What a server said whose recording has lost its end is taken on its word.
    fn believe(&mut self, at: usize, from: ServerId, got: &Got) {
        let Some(receiver) = &self.servers[at].replica else { return };
        let (mut history, mut informed) = (receiver.disk.logged.clone(), None);
        let message = match got {
            Got::Brief(Brief::Commit(zxid)) | Got::Packet(Packet::Zab(Message::Commit { zxid })) => {
                Some(*zxid)
            }
            Got::Brief(Brief::Inform(zxid)) => {
                informed = self.pool.get(zxid).map(|txn| entry(*zxid, txn));
                Some(*zxid)
            }
            Got::Packet(Packet::Zab(Message::Inform { zxid, txn })) => {
                informed = Some(entry(*zxid, txn));
                Some(*zxid)
            }
            Got::Packet(Packet::Zab(Message::UpToDate)) => None,
            _ => return,
        };
        if let Some(zxid) = message {
            let serves = receiver.peer.zab().is_serving();
            let lacks = |history: &[Entry]| history.last().is_none_or(|last| last.zxid < zxid);
            let informed = informed.filter(|_| lacks(&history));
            history.extend(informed.filter(|_| serves));
            // While it is brought up to date, an observer has not logged all that comes before.
            let next = informed.filter(|_| !serves);
            let decided = self.decides(receiver, from);
            let promised = (!decided || lacks(&history)).then_some((from, zxid));
            if decided && !next.is_some_and(|next| self.order.commit_next(next)) {
                self.order.commit(from, through(&history, zxid), &mut self.report);
            }
            self.servers[at].promised = promised;
        } else if let Some((_, epoch)) = receiver.peer.zab().role() {
            let held = through(&history, receiver.tree.last_processed());
            let initial = through(held, Zxid::new(epoch, 0));
            let may_be_lost = |epoch| may_have_led_unseen(&self.servers, epoch);
            self.order.believe_reigns(initial, may_be_lost, &mut self.report);
            self.order.establish_unseen(epoch, from, initial, &mut self.report);
            self.order.commit(from, held, &mut self.report);
        }
    }

    /// A learner that is not up to date keeps what it is told to commit, and may log it later: only when its leader
    /// serves is it known what was meant, and that it was decided.
    pub(super) fn keep_promise(&mut self, at: usize) {
        let Server { promised, replica, .. } = &self.servers[at];
        let (Some((leader, zxid)), Some(replica)) = (promised, replica) else { return };
        if !self.decides(replica, *leader) {
            return;
        }
        let logged = &replica.disk.logged;
        self.order.commit(*leader, through(logged, *zxid), &mut self.report);
        if logged.last().is_some_and(|last| last.zxid >= *zxid) {
            self.servers[at].promised = None;
        }
    }

    /// Whether what a leader tells a learner is committed is decided. A leader that is not established yet tells a follower
    /// to commit all of its own history, for which it has no quorum before it says that the follower is up to date; an
    /// observer hears of nothing earlier than that (rules Z-6, Z-7 and Z-20).
    fn decides(&self, learner: &Replica, leader: ServerId) -> bool {
        let zab = learner.peer.zab();
        let reigns = zab.role().is_some_and(|(_, epoch)| self.order.reigns(leader, epoch));
        reigns || zab.is_observer() || zab.is_serving()
    }

    /// Tells a server what has come.
    fn take(&mut self, at: usize, from: ServerId, got: Got, sent: Option<Sent>, time: i64) {
        let zab = |message| Input::Packet { from, packet: Packet::Zab(message), time };
        let input = match got {
            Got::Packet(packet) => Input::Packet { from, packet, time },
            Got::Brief(Brief::Commit(zxid)) => zab(Message::Commit { zxid }),
            Got::Brief(Brief::Ack(zxid)) => zab(Message::Ack { zxid }),
            Got::Brief(Brief::Proposal(zxid)) => {
                let Some(txn) = self.named(at, zxid, sent) else { return };
                zab(Message::Proposal { zxid, txn })
            }
            Got::Brief(Brief::Inform(zxid)) => {
                let Some(txn) = self.named(at, zxid, sent) else { return };
                zab(Message::Inform { zxid, txn })
            }
            Got::Snapshot(zxid) => {
                let (history, guessed) = match sent {
                    Some(Sent::Snapshot { history, guessed, last: _ }) => (history, guessed),
                    _ => (through(&self.order.committed, zxid).to_vec(), true),
                };
                if history.last().is_none_or(|last| last.zxid != zxid) && zxid > self.order.base() {
                    return self
                        .lose(at, format!("nobody knows the history of the state at {zxid} that it got"));
                }
                let Some(replica) = &mut self.servers[at].replica else { return };
                replica.received = (history, guessed);
                Input::Snapshot { from, zxid }
            }
        };
        self.input(at, input);
    }

    /// The transaction that a server is told of by its place only: as it was sent, or as a log has it.
    fn named(&mut self, at: usize, zxid: Zxid, sent: Option<Sent>) -> Option<Txn> {
        let txn = match sent {
            Some(Sent::Packet(Packet::Zab(Message::Proposal { txn, .. } | Message::Inform { txn, .. }))) => {
                Some(txn)
            }
            _ => self.pool.get(&zxid).cloned(),
        };
        if txn.is_none() {
            // Whoever is told of it next knows no more: what stands for it is no content of its own.
            self.hollow.insert(zxid);
        }
        let replica = self.servers[at].replica.as_mut()?;
        replica.tainted |= txn.is_none();
        replica.guessed |= txn.is_none() || self.hollow.contains(&zxid);
        Some(txn.unwrap_or_else(placeholder))
    }
}

/// Stands for a transaction of which only the place is known.
fn placeholder() -> Txn {
    let body = TxnBody::Error { code: 0 };
    Txn { session: spec::SessionId(0), cxid: 0, time: 0, body, digest: None }
}
