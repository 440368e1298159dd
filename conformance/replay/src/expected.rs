//! What the model's actor asks for in a step, in order: what the server is to do.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Effects, Input, Packet},
};
use server::stand::Report;
use spec::{ClientId, Epoch, ErrorCode, ServerId, SessionId, Zxid};
use tree::{Event, Outcome, Text, Tree, Txn};
use wire::client::{Response, opcode};
use world::{Onlooker, Replica};

/// What travels on a link.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A packet.
    Packet(Packet<Tree>),
    /// A whole state.
    Snapshot {
        /// The last transaction in it.
        last: Zxid,
        /// It.
        state: Box<Tree>,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The answer to its handshake; of a refusal, zeros.
    Session {
        /// The session.
        session: SessionId,
        /// Its timeout in milliseconds.
        timeout_ms: i32,
        /// Its password.
        password: [u8; 16],
        /// Whether it only reads.
        read_only: bool,
    },
    /// The answer to a request.
    Reply {
        /// The client's number of it.
        xid: i32,
        /// How far the state is that it shows.
        zxid: Zxid,
        /// The number of the error; 0 for none.
        error: i32,
        /// What follows. Names are in order.
        body: Response,
    },
    /// A watch has fired.
    Event {
        /// The transaction.
        zxid: Zxid,
        /// The number of its kind.
        kind: i32,
        /// The node.
        path: Text,
    },
}

/// A file that an operation on disk has to have synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Covers {
    /// A batch of the log, which is written and synced.
    Batch,
    /// The log as it stands: there may be nothing to sync.
    Log,
    /// The epoch promised.
    Accepted,
    /// The epoch joined.
    Current,
    /// A state received whole, and the log that goes on behind it.
    Snapshot,
    /// Nothing: it reads.
    Nothing,
}

/// What the server does between two inputs of its peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// What the disk reports first; none if something else happens.
    pub report: Option<Report>,
    /// On each link, in order.
    pub frames: BTreeMap<ServerId, Vec<Frame>>,
    /// Links that are dialled.
    pub dials: Vec<ServerId>,
    /// Links that are closed, or turned away.
    pub closes: Vec<ServerId>,
    /// For each server, all of its election messages in order.
    pub votes: BTreeMap<ServerId, Vec<Notification>>,
    /// For each connection, in order.
    pub told: BTreeMap<ClientId, Vec<Told>>,
    /// Connections that are closed.
    pub hung_up: Vec<ClientId>,
    /// Timers, in order: set or cancelled.
    pub timers: Vec<(Timer, bool)>,
    /// The part that the server plays from here on: without a role, one that serves does so to those that only read.
    pub part: Option<(Option<Role>, Epoch, bool)>,
    /// What is asked of the disk.
    pub asked: Vec<(Report, Covers)>,
}

/// Takes down what a model's actor asks for.
#[derive(Debug, Default)]
pub struct Recorder {
    /// What happens between the inputs, of which the first is what the step is about.
    pub segments: Vec<Segment>,
    /// Whether the server has no leader and serves clients that only read, which a refusal says too.
    read_only: bool,
}

impl Recorder {
    /// For a start: nobody tells the peer anything before its first words.
    pub fn of_a_start() -> Self {
        Self { segments: vec![Segment::default()], read_only: false }
    }

    /// For a step of a server that only serves reads, or does not.
    pub fn of_a_step(read_only: bool) -> Self {
        Self { segments: Vec::new(), read_only }
    }

    fn last(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("the peer is told something, or starts")
    }

    fn frame(&mut self, to: ServerId, frame: Frame) {
        self.last().frames.entry(to).or_default().push(frame);
    }

    fn tell(&mut self, client: ClientId, told: Told) {
        self.last().told.entry(client).or_default().push(told);
    }

    fn ask(&mut self, report: Report, covers: Covers) {
        self.last().asked.push((report, covers));
    }
}

/// The error and the body that an answer comes to on the wire.
fn body(answer: &Answer<'_, Tree>) -> (i32, Response) {
    let body = match answer {
        Answer::Error(code) => return (code.number(), Response::Empty),
        Answer::Outcome(Outcome::Error { code }) => return (*code, Response::Empty),
        // No model has a mechanism of several steps.
        Answer::Empty | Answer::Exchange(_) => Response::Empty,
        Answer::Sync(path) => Response::Path(Text::from(String::from_utf8_lossy(path).into_owned())),
        Answer::Outcome(outcome) => match outcome {
            Outcome::Create { path } => Response::Path(path.clone()),
            Outcome::Create2 { path, stat } => Response::PathStat(path.clone(), *stat),
            Outcome::SetData(stat) | Outcome::SetAcl(stat) => Response::Stat(*stat),
            Outcome::Multi(outcomes) => Response::Multi(outcomes.clone()),
            Outcome::Delete
            | Outcome::Check
            | Outcome::CreateSession { .. }
            | Outcome::CloseSession
            | Outcome::Error { .. } => Response::Empty,
        },
        Answer::Read(answer) => body_of_read(answer),
    };
    (0, body)
}

fn body_of_read(answer: &tree::Answer<'_>) -> Response {
    match answer {
        tree::Answer::Data { data, stat } => Response::Data(data.map(Bytes::copy_from_slice), *stat),
        tree::Answer::Exists(stat) => Response::Stat(*stat),
        tree::Answer::Children(names) => Response::Children(in_order(names.clone())),
        tree::Answer::Children2 { names, stat } => Response::Children2(in_order(names.clone()), *stat),
        tree::Answer::Acl { acl, stat } => Response::Acl(acl.to_vec(), *stat),
        tree::Answer::Ephemerals(paths) => Response::Paths(paths.clone()),
        tree::Answer::AllChildrenNumber(number) => Response::Number(*number),
        tree::Answer::Identities(identities) => Response::Identities(identities.clone()),
        tree::Answer::Multi(answers) => {
            let part =
                |part: &Result<_, ErrorCode>| part.as_ref().map(body_of_read).map_err(|code| code.number());
            Response::MultiRead(answers.iter().map(part).collect())
        }
        tree::Answer::WatchAdded => Response::Number(0),
        tree::Answer::Done => Response::Empty,
    }
}

/// Names have no order of their own.
fn in_order(names: tree::Children<'_>) -> Vec<Text> {
    let mut names: Vec<_> =
        names.map(|name| Text::from(String::from_utf8_lossy(name).into_owned())).collect();
    names.sort_unstable();
    names
}

/// An operation whose answers have a body like this one.
pub fn operation_of(body: &Response) -> i32 {
    match body {
        Response::Path(_) => opcode::CREATE,
        Response::PathStat(..) => opcode::CREATE2,
        Response::Stat(_) => opcode::EXISTS,
        Response::Data(..) => opcode::GET_DATA,
        Response::Children(_) => opcode::GET_CHILDREN,
        Response::Children2(..) => opcode::GET_CHILDREN2,
        Response::Acl(..) => opcode::GET_ACL,
        Response::Multi(_) => opcode::MULTI,
        Response::Paths(_) => opcode::GET_EPHEMERALS,
        Response::Number(_) => opcode::GET_ALL_CHILDREN_NUMBER,
        Response::Identities(_) => opcode::WHO_AM_I,
        Response::MultiRead(_) => opcode::MULTI_READ,
        Response::Empty => opcode::PING,
    }
}

impl Onlooker<Tree> for Recorder {
    fn told(&mut self, input: &Input<Tree>) {
        let report = match input {
            Input::Done(ticket) => Some(Report::Done(*ticket)),
            Input::Located { ticket, .. } => Some(Report::Located(*ticket)),
            Input::Reloaded(_) => Some(Report::Reloaded),
            Input::Connected(_)
            | Input::Accepted(_)
            | Input::Disconnected(_)
            | Input::Packet { .. }
            | Input::Snapshot { .. }
            | Input::Notification { .. }
            | Input::ElectionLinkDown(_)
            | Input::Timer { .. }
            | Input::ClientConnect { .. }
            | Input::ClientRequest { .. }
            | Input::ClientClosed(_) => None,
        };
        self.segments.push(Segment { report, ..Segment::default() });
    }
}

impl Effects<Tree> for Recorder {
    fn send(&mut self, to: ServerId, packet: &Packet<Tree>) {
        self.frame(to, Frame::Packet(packet.clone()));
    }

    fn send_message(&mut self, to: ServerId, message: &Message<Txn>) {
        self.frame(to, Frame::Packet(Packet::Zab(message.clone())));
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut Tree) {
        self.frame(to, Frame::Snapshot { last, state: Box::new(machine.reloaded()) });
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        unreachable!("({after}, {through}] of the log is shown as the messages that {to} is sent");
    }

    fn connect(&mut self, to: ServerId) {
        self.last().dials.push(to);
    }

    fn disconnect(&mut self, peer: ServerId) {
        // What it has begun to dial in the same step it dials no more.
        self.last().dials.retain(|dialled| *dialled != peer);
        self.last().closes.push(peer);
    }

    fn refuse(&mut self, from: ServerId) {
        self.last().closes.push(from);
    }

    fn append(&mut self, ticket: Ticket, _: Zxid, _: &Txn) {
        self.ask(Report::Done(ticket), Covers::Batch);
    }

    fn truncate(&mut self, ticket: Ticket, _: Zxid) {
        self.ask(Report::Done(ticket), Covers::Log);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.ask(Report::Done(ticket), Covers::Log);
    }

    fn save_accepted(&mut self, ticket: Ticket, _: Epoch) {
        self.ask(Report::Done(ticket), Covers::Accepted);
    }

    fn save_current(&mut self, ticket: Ticket, _: Epoch) {
        self.ask(Report::Done(ticket), Covers::Current);
    }

    fn save_snapshot(&mut self, ticket: Ticket, _: Zxid, _: &mut Tree) {
        self.ask(Report::Done(ticket), Covers::Snapshot);
    }

    fn locate(&mut self, ticket: Ticket, _: Zxid) {
        self.ask(Report::Located(ticket), Covers::Nothing);
    }

    fn reload(&mut self) {
        self.ask(Report::Reloaded, Covers::Nothing);
    }

    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.last().votes.entry(to).or_default().push(*notification);
    }

    fn set_timer(&mut self, timer: Timer) {
        self.last().timers.push((timer, true));
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.last().timers.push((timer, false));
    }

    fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool) {
        self.read_only = role.is_none() && serving;
        self.last().part = Some((role, epoch, serving));
    }

    fn accept_client(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        read_only: bool,
    ) {
        self.tell(client, Told::Session { session, timeout_ms, password: *password, read_only });
    }

    fn refuse_client(&mut self, client: ClientId) {
        let read_only = self.read_only;
        let refusal = Told::Session { session: SessionId(0), timeout_ms: 0, password: [0; 16], read_only };
        self.tell(client, refusal);
        self.last().hung_up.push(client);
    }

    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, Tree>) {
        let (error, body) = body(&answer);
        self.tell(client, Told::Reply { xid, zxid, error, body });
    }

    fn notify_client(&mut self, client: ClientId, zxid: Zxid, event: &Event) {
        let told = Told::Event { zxid, kind: event.kind.number(), path: event.path.clone() };
        self.tell(client, told);
    }

    fn close_client(&mut self, client: ClientId) {
        self.last().hung_up.push(client);
    }

    fn note(&mut self, _: Note) {}

    fn exit(&mut self, why: Exit) {
        unreachable!("no model goes on behind {why:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_in_the_step_that_began_it_is_not_dialled() {
        let (other, third) = (ServerId(2), ServerId(3));
        let mut recorder = Recorder::of_a_start();
        recorder.connect(third);
        recorder.disconnect(third);
        recorder.disconnect(other);
        recorder.connect(other);
        let segment = recorder.segments.pop().expect("the start");
        assert_eq!((segment.dials, segment.closes), (vec![other], vec![third, other]));
    }
}
