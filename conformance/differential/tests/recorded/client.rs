//! The client port of Apache ZooKeeper, decoded and encoded again.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::{Context, Result, bail, ensure};
use differential::{ClientConnection, ClientRecording, Side, V3_9, golden, in_order, unhex};
use protocol::peer::{Answer, ClientRequest};
use spec::{ClientId, ErrorCode, Machine, SessionId, Zxid, machine::Reader};
use tree::{Event, EventKind, Outcome, Read, Settings, StatPersisted, Text, Tree, TreeBuilder, Watches};
use wire::{
    Decoder,
    client::{
        ConnectRequest, ConnectResponse, Reply, Response, decode_request, opcode, put_event, put_reply,
        put_request, request,
    },
};

const LIMIT: usize = wire::record::CLIENT_FRAME_BYTES_MAX;

#[test]
fn every_frame_is_encoded_to_the_same_bytes() -> Result<()> {
    let recording = golden::<ClientRecording>(V3_9, "client")?;
    let mut seen = BTreeMap::new();
    for connection in &recording.connections {
        check(connection, &mut seen).with_context(|| connection.name.clone())?;
    }
    let expected =
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 17, 18, 22, 100, 101, 103, 104, 105, 106, 107, -11];
    for operation in expected.into_iter().chain([opcode::XID_NOTIFICATION]) {
        ensure!(
            seen.contains_key(&operation),
            "no answer to operation {operation} in the recording: {seen:?}"
        );
    }
    Ok(())
}

fn check(connection: &ClientConnection, seen: &mut BTreeMap<i32, usize>) -> Result<()> {
    let mut asked = BTreeMap::new();
    for (at, frame) in connection.frames.iter().enumerate() {
        let bytes = unhex(&frame.hex)?;
        let payload = wire::record::frame(&bytes, LIMIT)?.context("half a frame")?;
        let again = match (at, frame.from) {
            (0, _) => Some(encoded(&ConnectRequest::decode(payload, LIMIT)?, ConnectRequest::encode)),
            (1, _) => Some(encoded(&ConnectResponse::decode(payload)?, ConnectResponse::encode)),
            (_, Side::Client) => asks(&frame.what, payload, &mut asked)?,
            (_, Side::Server) => {
                let is_last = at + 1 == connection.frames.len();
                answers(payload, &asked, is_last, seen).with_context(|| frame.what.clone())?
            }
        };
        if let Some(again) = again {
            ensure!(again == bytes, "{}: {bytes:x?} became {again:x?}", frame.what);
        }
    }
    Ok(())
}

fn encoded<T>(value: &T, encode: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

/// Decodes a request and remembers it; the bytes that encoding it gives, unless it is one to refuse.
fn asks(
    what: &str,
    payload: &[u8],
    asked: &mut BTreeMap<i32, ClientRequest<Tree>>,
) -> Result<Option<Vec<u8>>> {
    let (header, asks) = decode_request::<Tree>(&mut Decoder::new(payload, LIMIT))?;
    let mut out = Vec::new();
    // A null list is an empty one to us, and a null scheme no scheme: both are refused with the same code. A null prefix
    // is an empty one to everybody, and no part of a multiRead leaves a watch.
    let others = ["null list", "list null", "null prefix", "asks for watches"];
    let again = if matches!(asks, ClientRequest::Refused { .. })
        || others.iter().any(|other| what.ends_with(other))
    {
        None
    } else {
        ensure!(request::operation(&asks)? == header.operation);
        put_request(header.xid, &asks, &mut out)?;
        Some(out)
    };
    asked.insert(header.xid, asks);
    Ok(again)
}

fn answers(
    payload: &[u8],
    asked: &BTreeMap<i32, ClientRequest<Tree>>,
    is_last: bool,
    seen: &mut BTreeMap<i32, usize>,
) -> Result<Option<Vec<u8>>> {
    let reply = Reply::decode(Decoder::new(payload, LIMIT))?;
    let mut out = Vec::new();
    if let Some((kind, path)) = reply.event()? {
        *seen.entry(opcode::XID_NOTIFICATION).or_default() += 1;
        let kinds = [
            EventKind::NodeCreated,
            EventKind::NodeDeleted,
            EventKind::NodeDataChanged,
            EventKind::NodeChildrenChanged,
        ];
        let kind = kinds.into_iter().find(|known| known.number() == kind).context("unknown kind of event")?;
        put_event(reply.zxid, &Event { kind, path }, &mut out);
        return Ok(Some(out));
    }
    let request = asked.get(&reply.xid).context("an answer to nothing")?;
    if let ClientRequest::Refused { code, close } = request {
        // What is not offered yet answers as something unknown does, whatever Apache answers.
        ensure!(
            code.number() == reply.error || reply.error == 0 && *code == ErrorCode::Unimplemented,
            "refused with {code:?}, not {}",
            reply.error
        );
        ensure!(*close == is_last || reply.error == 0, "hangs up: {close}");
        return Ok(None);
    }
    let operation = request::operation(request)?;
    *seen.entry(operation).or_default() += 1;
    if reply.error != 0 {
        let code = reply.code().context("unknown code")?;
        put_reply::<Tree>(reply.xid, reply.zxid, &Answer::Error(code), &mut out);
        return Ok(Some(out));
    }
    put_body(operation, &reply, &mut out)
}

/// Encodes the answer that the reply decodes to.
fn put_body(operation: i32, reply: &Reply<'_>, out: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let mut put = |answer: Answer<'_, Tree>| put_reply(reply.xid, reply.zxid, &answer, out);
    match reply.response(operation)? {
        Response::Path(path) if operation == opcode::SYNC => put(Answer::Sync(path.as_bytes())),
        Response::Path(path) => put(Answer::Outcome(&Outcome::Create { path })),
        Response::PathStat(path, stat) => put(Answer::Outcome(&Outcome::Create2 { path, stat })),
        Response::Stat(stat) => match operation {
            opcode::EXISTS => put(Answer::Read(tree::Answer::Exists(stat))),
            opcode::SET_DATA => put(Answer::Outcome(&Outcome::SetData(stat))),
            _ => put(Answer::Outcome(&Outcome::SetAcl(stat))),
        },
        Response::Data(data, stat) => {
            put(Answer::Read(tree::Answer::Data { data: data.as_deref(), stat }));
        }
        Response::Acl(acl, stat) => {
            put(Answer::Read(tree::Answer::Acl { acl: Cow::Borrowed(&acl), stat }));
        }
        Response::Multi(outcomes) => put(Answer::Outcome(&Outcome::Multi(outcomes))),
        Response::Children(names) => {
            let tree = tree_with(&names)?;
            let names = children(&tree)?;
            put(Answer::Read(tree::Answer::Children(names)));
            return same_names(operation, reply, out);
        }
        Response::Children2(names, stat) => {
            let tree = tree_with(&names)?;
            let names = children(&tree)?;
            put(Answer::Read(tree::Answer::Children2 { names, stat }));
            return same_names(operation, reply, out);
        }
        Response::Paths(paths) => put(Answer::Read(tree::Answer::Ephemerals(paths))),
        Response::Number(number) if operation == opcode::ADD_WATCH => {
            ensure!(number == 0, "a watch is not added: {number}");
            put(Answer::Read(tree::Answer::WatchAdded));
        }
        Response::Number(number) => put(Answer::Read(tree::Answer::AllChildrenNumber(number))),
        Response::Identities(identities) => put(Answer::Read(tree::Answer::Identities(identities))),
        Response::MultiRead(parts) => {
            put_parts(reply, &parts, out)?;
            return same_names(operation, reply, out);
        }
        Response::Empty => put(Answer::Empty),
    }
    Ok(Some(std::mem::take(out)))
}

/// Encodes the answers to a multiRead.
fn put_parts(reply: &Reply<'_>, parts: &[Result<Response, i32>], out: &mut Vec<u8>) -> Result<()> {
    let trees = parts.iter().map(|part| match part {
        Ok(Response::Children(names)) => tree_with(names),
        _ => tree_with(&[]),
    });
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let mut answers = Vec::new();
    for (part, tree) in parts.iter().zip(&trees) {
        answers.push(match part {
            Ok(Response::Data(data, stat)) => Ok(tree::Answer::Data { data: data.as_deref(), stat: *stat }),
            Ok(Response::Children(_)) => Ok(tree::Answer::Children(children(tree)?)),
            Ok(other) => bail!("no part of a multiRead: {other:?}"),
            Err(code) => Err(ErrorCode::from_number(*code).context("unknown code")?),
        });
    }
    put_reply::<Tree>(reply.xid, reply.zxid, &Answer::Read(tree::Answer::Multi(answers)), out);
    Ok(())
}

/// Apache lists children in the order of a hash table, and we in that of their names.
fn same_names(operation: i32, reply: &Reply<'_>, out: &[u8]) -> Result<Option<Vec<u8>>> {
    let again = Reply::decode(Decoder::new(&out[4..], LIMIT))?;
    ensure!(in_order(again.response(operation)?) == in_order(reply.response(operation)?));
    let mut rest = again.body;
    let mut theirs = reply.body.clone();
    ensure!(rest.rest().len() == theirs.rest().len() && rest.int()? == theirs.int()?);
    Ok(None)
}

fn tree_with(names: &[Text]) -> Result<Tree> {
    let mut builder = TreeBuilder::new();
    builder.node("", None, -1, StatPersisted::default())?;
    builder.node("/p", None, -1, StatPersisted::default())?;
    for name in names {
        builder.node(&format!("/p/{name}"), None, -1, StatPersisted::default())?;
    }
    Ok(builder.finish(Zxid::ZERO)?)
}

fn children(tree: &Tree) -> Result<tree::Children<'_>> {
    let read = Read::GetChildren { path: Text::from("/p"), watch: false };
    let reader = Reader {
        client: ClientId(0),
        session: SessionId(0),
        identities: &[],
        settings: &Settings::default(),
    };
    match tree.read(&read, reader, &mut Watches::default(), &mut |_, _| {}) {
        Ok(tree::Answer::Children(names)) => Ok(names),
        other => bail!("no children: {other:?}"),
    }
}

#[test]
fn passwords_are_those_of_apache_zookeeper() -> Result<()> {
    let mut sessions = 0;
    for connection in golden::<ClientRecording>(V3_9, "client")?.connections {
        let response = unhex(&connection.frames[1].hex)?;
        let response = ConnectResponse::decode(&response[4..])?;
        if response.session == SessionId(0) {
            let read_only = response.read_only;
            ensure!(response == ConnectResponse::refusal(read_only), "another refusal: {response:?}");
        } else {
            ensure!(response.password == protocol::session::password(response.session));
            sessions += 1;
        }
    }
    ensure!(sessions >= 4);
    Ok(())
}
