//! Clients' connections as bytes.

use std::collections::VecDeque;

use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, ClientRequest, Effects, Input, Packet},
};
use simulator::{Letter, Subject};
use spec::{ClientId, Epoch, ErrorCode, ServerId, SessionId, Zxid};
use tree::{Event, EventKind, Outcome, Tree, Txn};
use wire::{
    Decoder,
    client::{
        ConnectRequest, ConnectResponse, Reply, Response, decode_request, opcode, put_event, put_reply,
        put_request, read, request,
    },
    record,
};
use world::{Onlooker, Replica, Said};

use crate::links::told;

/// The longest frame that is taken, in bytes.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Takes down, in bytes, what a step tells clients.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) words: VecDeque<Vec<u8>>,
}

impl Told {
    fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        put(&mut out);
        self.words.push_back(out);
    }
}

impl Onlooker<Subject> for Told {
    fn told(&mut self, _: &Input<Subject>) {}
}

impl Effects<Subject> for Told {
    fn accept_client(
        &mut self,
        _: ClientId,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        read_only: bool,
    ) {
        let read_only = Some(read_only);
        let (password, protocol_version) = (*password, 0);
        self.put(|out| {
            ConnectResponse { protocol_version, timeout_ms, session, password, read_only }.encode(out);
        });
    }

    fn refuse_client(&mut self, _: ClientId) {
        self.put(|out| ConnectResponse::refusal(Some(false)).encode(out));
    }

    fn reply(&mut self, _: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, Subject>) {
        self.put(|out| put_reply(xid, zxid, &answer, out));
    }

    fn notify_client(&mut self, _: ClientId, zxid: Zxid, event: &Event) {
        self.put(|out| put_event(zxid, event, out));
    }

    // The end of a connection has no bytes, and the rest is no client's business.
    fn close_client(&mut self, _: ClientId) {}
    fn send(&mut self, _: ServerId, _: &Packet<Subject>) {}
    fn send_message(&mut self, _: ServerId, _: &Message<Txn>) {}
    fn stream_snapshot(&mut self, _: ServerId, _: Zxid, _: &mut Subject) {}
    fn stream_log(&mut self, _: ServerId, _: Zxid, _: Zxid) {}
    fn connect(&mut self, _: ServerId) {}
    fn disconnect(&mut self, _: ServerId) {}
    fn refuse(&mut self, _: ServerId) {}
    fn append(&mut self, _: Ticket, _: Zxid, _: &Txn) {}
    fn truncate(&mut self, _: Ticket, _: Zxid) {}
    fn sync_log(&mut self, _: Ticket) {}
    fn save_accepted(&mut self, _: Ticket, _: Epoch) {}
    fn save_current(&mut self, _: Ticket, _: Epoch) {}
    fn save_snapshot(&mut self, _: Ticket, _: Zxid, _: &mut Subject) {}
    fn locate(&mut self, _: Ticket, _: Zxid) {}
    fn reload(&mut self) {}
    fn notify_server(&mut self, _: ServerId, _: &Notification) {}
    fn set_timer(&mut self, _: Timer) {}
    fn cancel_timer(&mut self, _: Timer) {}
    fn role(&mut self, _: Option<Role>, _: Epoch, _: bool) {}
    fn note(&mut self, _: Note) {}
    fn exit(&mut self, _: Exit) {}
}

/// One end of a client's connection.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) bytes: Vec<u8>,
    greeted: bool,
    /// Of a client: the numbers and operations of what it has asked.
    asked: VecDeque<(i32, i32)>,
}

impl End {
    /// A client says this: the bytes of it.
    pub(crate) fn ask(&mut self, letter: Letter) -> Vec<u8> {
        let mut out = Vec::new();
        match letter {
            Letter::Connect { session, password, seen, timeout_ms, read_only } => {
                let (protocol_version, last_seen, read_only) = (0, seen, Some(read_only));
                ConnectRequest { protocol_version, last_seen, timeout_ms, session, password, read_only }
                    .encode(&mut out);
            }
            Letter::Request(xid, request) => {
                let operation = request::operation(&request).expect("clients ask for what is offered");
                self.asked.push_back((xid, operation));
                put_request(xid, &request, &mut out).expect("clients ask for what is offered");
            }
        }
        out
    }

    /// The payload of the next frame, if all of it has come, and whether it is the first.
    fn frame(&mut self) -> Result<Option<(bool, Vec<u8>)>, String> {
        let Some(payload) = record::frame(&self.bytes, FRAME_BYTES_MAX).map_err(told)? else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.bytes.drain(..payload.len() + 4);
        Ok(Some((!std::mem::replace(&mut self.greeted, true), payload)))
    }

    /// What a server reads next.
    pub(crate) fn next_letter(&mut self) -> Result<Option<Letter>, String> {
        let Some((first, payload)) = self.frame()? else { return Ok(None) };
        if first {
            let request = ConnectRequest::decode(&payload, FRAME_BYTES_MAX).map_err(told)?;
            let ConnectRequest { session, password, last_seen: seen, timeout_ms, read_only, .. } = request;
            let read_only = read_only == Some(true);
            return Ok(Some(Letter::Connect { session, password, seen, timeout_ms, read_only }));
        }
        let mut decoder = Decoder::new(&payload, FRAME_BYTES_MAX);
        let (header, request) = decode_request::<Subject>(&mut decoder).map_err(told)?;
        match request {
            ClientRequest::Refused { code, .. } => {
                Err(format!("request {header:?} of a client is refused as {code:?}"))
            }
            ClientRequest::Read(_)
            | ClientRequest::Write(_)
            | ClientRequest::Sync(_)
            | ClientRequest::Ping
            | ClientRequest::Close
            | ClientRequest::Exchange { .. }
            | ClientRequest::Authenticate(_) => Ok(Some(Letter::Request(header.xid, request))),
        }
    }

    /// What a client reads next.
    pub(crate) fn next_said(&mut self) -> Result<Option<Said<Event>>, String> {
        let Some((first, payload)) = self.frame()? else { return Ok(None) };
        if first {
            let ConnectResponse { timeout_ms, session, password, read_only, .. } =
                ConnectResponse::decode(&payload).map_err(told)?;
            return Ok(Some(match timeout_ms {
                0 => Said::Refused,
                _ => Said::Accepted { session, password, read_only: read_only == Some(true) },
            }));
        }
        let reply = Reply::decode(Decoder::new(&payload, FRAME_BYTES_MAX)).map_err(told)?;
        if let Some((kind, path)) = reply.event().map_err(told)? {
            let kind = event_kind(kind)?;
            return Ok(Some(Said::Event { zxid: reply.zxid, event: Event { kind, path } }));
        }
        let (xid, operation) = self.asked.pop_front().ok_or("a client that has asked nothing is answered")?;
        if xid != reply.xid {
            return Err(format!("request {xid} is answered as {}", reply.xid));
        }
        let answer = answer(operation, &reply)?;
        Ok(Some(Said::Reply { xid, zxid: reply.zxid, answer }))
    }
}

fn event_kind(number: i32) -> Result<EventKind, String> {
    let kinds = [
        EventKind::NodeCreated,
        EventKind::NodeDeleted,
        EventKind::NodeDataChanged,
        EventKind::NodeChildrenChanged,
    ];
    let found = kinds.into_iter().find(|kind| kind.number() == number);
    found.ok_or_else(|| format!("there is no event {number}"))
}

/// An answer as the world tells it.
fn answer(operation: i32, reply: &Reply<'_>) -> Result<String, String> {
    if reply.error != 0 {
        let code = ErrorCode::from_number(reply.error);
        return code
            .map(|code| format!("{code:?}"))
            .ok_or_else(|| format!("there is no error {}", reply.error));
    }
    let outcome = |outcome: Outcome| format!("{outcome:?}");
    Ok(match reply.response(operation).map_err(told)? {
        Response::Path(path) if operation == opcode::SYNC => path.as_str().to_owned(),
        Response::Path(path) => outcome(Outcome::Create { path }),
        Response::PathStat(path, stat) => outcome(Outcome::Create2 { path, stat }),
        Response::Stat(stat) if operation == opcode::EXISTS => Tree::tell(&tree::Answer::Exists(stat)),
        Response::Stat(stat) if operation == opcode::SET_ACL => outcome(Outcome::SetAcl(stat)),
        Response::Stat(stat) => outcome(Outcome::SetData(stat)),
        Response::Data(data, stat) => Tree::tell(&tree::Answer::Data { data: data.as_deref(), stat }),
        Response::Children(names) => in_order(&names),
        Response::Children2(names, stat) => format!("{} {stat:?}", in_order(&names)),
        Response::Acl(acl, stat) => Tree::tell(&tree::Answer::Acl { acl: acl.into(), stat }),
        Response::Multi(outcomes) => outcome(Outcome::Multi(outcomes)),
        Response::Empty if operation == opcode::DELETE => outcome(Outcome::Delete),
        Response::Paths(paths) => Tree::tell(&tree::Answer::Ephemerals(paths)),
        Response::Number(_) if operation == opcode::ADD_WATCH => Tree::tell(&tree::Answer::WatchAdded),
        Response::Number(number) => Tree::tell(&tree::Answer::AllChildrenNumber(number)),
        Response::Identities(identities) => Tree::tell(&tree::Answer::Identities(identities)),
        Response::MultiRead(_) => return Err("the simulator's clients send no multiRead".to_owned()),
        Response::Empty if read::is_read(operation) => Tree::tell(&tree::Answer::Done),
        Response::Empty => String::new(),
    })
}

/// Names have no order of their own.
fn in_order(names: &[tree::Text]) -> String {
    let mut names: Vec<_> = names.iter().map(tree::Text::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}
