//! Carries out what an actor asks for: on its own disk, state and timers at once, on links as data for the model.

use std::collections::BTreeSet;

use protocol::{Exit, Message, Note, Role, Ticket, Timer, Vote, zab::Effects};
use spec::{Epoch, ServerId, Zxid};

use crate::{Disk, Frame, NetChange, Sight, State, Txn, text, watch::Watcher};

/// One step's effects.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    pub(crate) disk: &'a mut Disk,
    pub(crate) state: &'a mut State,
    pub(crate) timers: &'a mut BTreeSet<Timer>,
    pub(crate) net: &'a mut Vec<NetChange>,
    pub(crate) watch: Watcher<'a>,
    /// What is wrong with the step itself.
    pub(crate) fault: Option<(&'static str, String)>,
    pub(crate) delivered: bool,
    pub(crate) appended: bool,
    pub(crate) reload: bool,
    /// The story of the step, if somebody wants to hear it.
    pub(crate) story: Option<&'a mut Vec<String>>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(
        disk: &'a mut Disk,
        state: &'a mut State,
        timers: &'a mut BTreeSet<Timer>,
        net: &'a mut Vec<NetChange>,
        sights: &'a mut BTreeSet<Sight>,
        story: Option<&'a mut Vec<String>>,
    ) -> Self {
        Self {
            disk,
            state,
            timers,
            net,
            watch: Watcher::new(sights),
            fault: None,
            delivered: false,
            appended: false,
            reload: false,
            story,
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    fn send_frame(&mut self, to: ServerId, frame: Frame) {
        self.tell(|| format!("sends to {to}: {frame}"));
        self.net.push(NetChange::Send(to, frame));
    }

    fn apply(&mut self, zxid: Zxid, txn: Txn) {
        if self.state.last().is_some_and(|(last, _)| *last >= zxid) {
            self.fault = Some(("R-7", format!("{zxid} is applied to a state that holds {:?}", self.state)));
        }
        self.state.push((zxid, txn));
    }
}

impl Effects<Txn> for Sink<'_> {
    fn send(&mut self, to: ServerId, message: &Message<Txn>) {
        self.watch.message(message);
        self.send_frame(to, Frame::Packet(message.clone()));
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid) {
        let held = self.state.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        if held != last {
            self.fault = Some(("R-7", format!("a snapshot labelled {last} is sent of a state up to {held}")));
        }
        self.watch.snapshot();
        let state = self.state.clone();
        self.send_frame(to, Frame::Snapshot { last, state });
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        let Some(slice) = self.disk.slice(after, through) else {
            self.fault = Some(("R-4", format!("the log does not hold all of ({after}, {through}]")));
            return;
        };
        for (zxid, txn) in slice {
            self.send_frame(to, Frame::Packet(Message::Proposal { zxid, txn }));
            self.send_frame(to, Frame::Packet(Message::Commit { zxid }));
        }
    }

    fn connect(&mut self, to: ServerId) {
        self.tell(|| format!("dials {to}"));
        self.net.push(NetChange::Dial(to));
    }

    fn disconnect(&mut self, peer: ServerId) {
        self.tell(|| format!("closes the link with {peer}"));
        self.net.push(NetChange::Close(peer));
    }

    fn refuse(&mut self, from: ServerId) {
        self.tell(|| format!("turns {from} away"));
        self.net.push(NetChange::Refuse(from));
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &Txn) {
        self.tell(|| format!("logs {zxid} = {txn} (ticket {})", ticket.0));
        self.appended = true;
        self.disk.append(ticket, (zxid, *txn));
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.tell(|| format!("cuts its log behind {last} (ticket {})", ticket.0));
        if self.disk.logged().last().is_some_and(|(held, _)| *held > last) {
            self.watch.sights.insert(Sight::ForeignSuffixRemoved);
        }
        self.disk.truncate(ticket, last);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.tell(|| format!("syncs what it has read (ticket {})", ticket.0));
        self.disk.sync(ticket);
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.tell(|| format!("saves accepted epoch {epoch} (ticket {})", ticket.0));
        self.disk.save_accepted(ticket, epoch);
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.tell(|| format!("saves current epoch {epoch} (ticket {})", ticket.0));
        self.disk.save_current(ticket, epoch);
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid) {
        self.tell(|| format!("saves a snapshot labelled {label} (ticket {})", ticket.0));
        self.disk.save_snapshot(ticket, label, self.state.clone());
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.tell(|| format!("searches its log for {zxid} (ticket {})", ticket.0));
        self.disk.locate(ticket, zxid);
    }

    fn reload(&mut self) {
        self.tell(|| "loads its state anew from disk".to_owned());
        self.reload = true;
    }

    fn deliver(&mut self, zxid: Zxid, txn: &Txn) {
        self.tell(|| format!("applies {zxid} = {txn}, committed"));
        self.delivered = true;
        self.apply(zxid, *txn);
    }

    fn replay(&mut self, zxid: Zxid, txn: &Txn) {
        self.tell(|| format!("applies {zxid} = {txn}, logged"));
        self.apply(zxid, *txn);
    }

    fn set_timer(&mut self, timer: Timer) {
        self.timers.insert(timer);
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    fn look(&mut self, vote: Vote) {
        self.tell(|| format!("looks for a leader, offering {}", text::offer(vote)));
        self.watch.looked = true;
        self.watch.vote(vote.epoch, vote.zxid);
    }

    fn serve(&mut self, role: Role, epoch: Epoch) {
        self.tell(|| match role {
            Role::Leading => format!("serves as leader of epoch {epoch}"),
            Role::Following(leader) => format!("serves as follower of {leader} in epoch {epoch}"),
            Role::Observing(leader) => format!("serves as observer of {leader} in epoch {epoch}"),
        });
    }

    fn retire(&mut self) {
        self.tell(|| "serves no longer".to_owned());
    }

    fn note(&mut self, note: Note) {
        self.tell(|| format!("notes {note:?}"));
        self.watch.note(note);
    }

    fn exit(&mut self, why: Exit) {
        self.fault = Some(("R-5", format!("the server gives up: {why:?}")));
    }
}
