//! One script, two servers: what Apache ZooKeeper made of each recorded request, and what our tree makes of it.
//!
//! The recorded log says which transaction each write became, and when; the recorded frames say what each client was
//! told. Our tree prepares the same writes at the same moments and answers the same reads.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::LazyLock,
};

use anyhow::{Context, Result, bail, ensure};
use differential::{
    ClientConnection, ClientRecording, FileRecording, Frame, Side, V3_8, V3_9, golden, in_order, unhex,
};
use protocol::peer::{Answer, ClientRequest};
use spec::{
    ClientId, ErrorCode, Machine, SessionId, Zxid,
    machine::{self, Author, Unproved},
};
use tree::{
    Event, Identity, Outcome, Outstanding, Read, Settings, Tree, TreeBuilder, Txn, TxnBody, Watches, Write,
};
use wire::{
    Decoder,
    client::{
        ConnectRequest, ConnectResponse, Reply, RequestHeader, decode_request, opcode, put_event, put_reply,
    },
    log::{self, Entry},
    record,
    snapshot::{self, Piece, Reader},
};

/// Every transaction of the recorded log, in order.
fn logged(version: &str) -> Result<VecDeque<(Zxid, Txn)>> {
    let mut entries = VecDeque::new();
    for file in golden::<FileRecording>(version, "log")?.files {
        let bytes = unhex(&file.hex)?;
        let mut rest = &bytes[log::FILE_HEADER_BYTES..];
        while !rest.is_empty() {
            let Entry::Body(body) = log::entry(rest)? else { break };
            entries.push_back(log::decode_body(&mut Decoder::stream(body))?);
            rest = &rest[body.len() + log::ENTRY_OVERHEAD_BYTES..];
        }
    }
    Ok(entries)
}

/// The tree in a recorded snapshot file, and how its name labels it.
fn snapshot_file(version: &str, at: usize) -> Result<Tree> {
    let file = golden::<FileRecording>(version, "snapshot")?.files.swap_remove(at);
    let label = file.file.strip_prefix("snapshot.").context("another name")?;
    let label = Zxid(u64::from_str_radix(label, 16)?);
    let bytes = unhex(&file.hex)?;
    let mut input = Decoder::stream(&bytes);
    snapshot::file_header(&mut input)?;
    let mut builder = TreeBuilder::new();
    let mut reader = Reader::new();
    loop {
        match reader.next(&mut input)?.context("it ends early")? {
            Piece::Session { session, timeout_ms } => builder.session(session, timeout_ms),
            Piece::Acl { key, acl } => builder.acl(key, &acl),
            Piece::Node { path, data, acl, stat } => {
                builder.node(path.as_str(), data.as_deref(), acl, stat)?;
            }
            Piece::End => return Ok(builder.finish(label)?),
        }
    }
}

#[test]
fn a_log_leads_to_the_same_tree() -> Result<()> {
    replay(V3_9)?;
    replay(V3_8)
}

fn replay(version: &str) -> Result<()> {
    let mut tree = snapshot_file(version, 0)?;
    let mut digests = 0;
    for (zxid, txn) in logged(version)? {
        tree.apply(zxid, &txn, &mut Watches::default(), &mut |_, _| {});
        if let Some(digest) = txn.digest {
            ensure!(tree.digest() == digest.tree, "another tree behind {zxid}: {txn:?}");
            digests += 1;
        }
    }
    ensure!(digests > 20, "only {digests} digests were compared");
    ensure!(tree == snapshot_file(version, 1)?, "another tree than in the snapshot");
    Ok(())
}

/// Those of the recorded one.
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings { ttl_nodes: true, ..Settings::default() });

/// A server of ours in the place of the recorded one.
struct Twin<'a> {
    tree: Tree,
    watches: Watches,
    log: VecDeque<(Zxid, Txn)>,
    connections: Vec<Connection<'a>>,
    compared: BTreeMap<i32, usize>,
}

/// A client's connection to it.
struct Connection<'a> {
    session: SessionId,
    identities: Vec<Identity>,
    /// What the recorded server still has to say.
    said: VecDeque<&'a Frame>,
}

impl<'a> Connection<'a> {
    fn new(recorded: &'a ClientConnection) -> Self {
        Self {
            session: SessionId(0),
            identities: vec![Identity::ip("127.0.0.1")],
            said: recorded.frames.iter().filter(|frame| frame.from == Side::Server).collect(),
        }
    }
}

#[test]
fn requests_become_the_same_transactions_and_replies() -> Result<()> {
    let recording = golden::<ClientRecording>(V3_9, "client")?;
    let mut twin = Twin {
        tree: snapshot_file(V3_9, 0)?,
        watches: Watches::default(),
        log: logged(V3_9)?,
        connections: recording.connections.iter().map(Connection::new).collect(),
        compared: BTreeMap::new(),
    };
    let mut asked = BTreeMap::new();
    for (at, recorded) in recording.connections.iter().enumerate() {
        for frame in &recorded.frames {
            if let Some(number) = frame.number {
                asked.insert(number, (at, frame));
            }
        }
    }
    for (at, frame) in asked.into_values() {
        let payload = &unhex(&frame.hex)?[4..];
        let step =
            if frame.what == "ConnectRequest" { twin.connect(at, payload) } else { twin.ask(at, payload) };
        step.with_context(|| format!("{}: {}", recording.connections[at].name, frame.what))?;
    }
    for (connection, recorded) in twin.connections.iter().zip(&recording.connections) {
        ensure!(connection.said.is_empty(), "{}: more was said", recorded.name);
    }
    ensure!(twin.log.len() == 2, "left are one more session and its node: {:?}", twin.log);
    ensure!(twin.compared.values().sum::<usize>() > 300, "{:?}", twin.compared);
    for operation in
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 17, 18, 22, 100, 101, 103, 104, 105, 106, 107, -11]
    {
        ensure!(twin.compared.contains_key(&operation), "operation {operation} was not compared");
    }
    Ok(())
}

impl Twin<'_> {
    fn connect(&mut self, at: usize, payload: &[u8]) -> Result<()> {
        let request = ConnectRequest::decode(payload, record::CLIENT_FRAME_BYTES_MAX)?;
        let said = ConnectResponse::decode(&self.next_said(at)?[4..])?;
        let expected = if request.session == SessionId(0) {
            let (zxid, txn) = self.log.pop_front().context("the log ends")?;
            let author = Author { session: txn.session, xid: txn.cxid, identities: &[], time: txn.time };
            let mut outstanding = Outstanding::default();
            let ours = self.tree.prepare_create_session(&mut outstanding, author, zxid, request.timeout_ms);
            ensure!(ours.body == txn.body && same_digest(&ours, &txn), "{ours:?} is not {txn:?}");
            self.apply(zxid, &ours)?;
            self.connections[at].session = txn.session;
            Some((txn.session, request.timeout_ms))
        } else {
            let right = request.password == protocol::session::password(request.session);
            // An older connection of the session is dropped, and its watches with it.
            for (older, connection) in self.connections.iter().enumerate() {
                if connection.session == request.session {
                    Tree::forget_client(&mut self.watches, client(older));
                }
            }
            self.connections[at].session = request.session;
            self.tree
                .session_timeout(request.session)
                .filter(|_| right)
                .map(|timeout| (request.session, timeout))
        };
        let expected = match expected {
            Some((session, timeout_ms)) => ConnectResponse {
                protocol_version: 0,
                timeout_ms,
                session,
                password: protocol::session::password(session),
                read_only: request.read_only.map(|_| false),
            },
            None => ConnectResponse::refusal(request.read_only.map(|_| false)),
        };
        ensure!(said == expected, "{said:?}, not {expected:?}");
        Ok(())
    }

    fn ask(&mut self, at: usize, payload: &[u8]) -> Result<()> {
        let mut input = Decoder::new(payload, record::CLIENT_FRAME_BYTES_MAX);
        let (header, request) = decode_request::<Tree>(&mut input)?;
        match &request {
            ClientRequest::Write(write) => self.write(at, header, write),
            ClientRequest::Close => self.close(at, header),
            ClientRequest::Read(read) => self.read(at, header, read),
            ClientRequest::Authenticate(credential) => {
                let identities = &self.connections[at].identities;
                let answer = match Tree::authenticate(&SETTINGS, identities, credential) {
                    Ok(identities) => {
                        self.connections[at].identities.extend(identities);
                        Answer::Empty
                    }
                    Err(Unproved::Failed | Unproved::Elsewhere) => Answer::Error(ErrorCode::AuthFailed),
                };
                Tree::identify(&SETTINGS, &mut self.watches, client(at), &self.connections[at].identities);
                // Apache answers with zxid 0.
                self.says(at, header, Zxid::ZERO, &answer)
            }
            ClientRequest::Ping => self.says(at, header, self.tree.last_processed(), &Answer::Empty),
            ClientRequest::Sync(path) => {
                self.says(at, header, self.tree.last_processed(), &Answer::Sync(path))
            }
            ClientRequest::Exchange { .. } => bail!("a request of SASL was recorded"),
            ClientRequest::Refused { code, .. } => self.refuse(at, header, *code),
        }
    }

    fn read(&mut self, at: usize, header: RequestHeader, read: &Read) -> Result<()> {
        let mut events = Vec::new();
        let mut note = |_, event: &Event| events.push(event.clone());
        let Connection { session, identities, .. } = &self.connections[at];
        let reader =
            machine::Reader { client: client(at), session: *session, identities, settings: &*SETTINGS };
        let answer = self.tree.read(read, reader, &mut self.watches, &mut note);
        let mut out = Vec::new();
        let answer = answer.map_or_else(Answer::Error, Answer::Read);
        put_reply::<Tree>(header.xid, self.tree.last_processed(), &answer, &mut out);
        // Events that are due at once carry no zxid.
        for event in &events {
            self.hears(at, Zxid(u64::MAX), event)?;
        }
        self.says_bytes(at, header, &out)
    }

    fn close(&mut self, at: usize, header: RequestHeader) -> Result<()> {
        let session = self.connections[at].session;
        let (zxid, txn) = self.next_logged(session, header.xid).context("not logged")?;
        let author = Author { session, xid: header.xid, identities: &[], time: txn.time };
        let ours = self.tree.prepare_close_session(&mut Outstanding::default(), author, zxid);
        ensure!(sorted(&ours.body) == sorted(&txn.body), "{ours:?} is not {txn:?}");
        ensure!(same_digest(&ours, &txn), "{ours:?} has another digest than {txn:?}");
        // Apache deletes in the order of a hash set, which shows in the order of events.
        self.apply(zxid, &txn)?;
        self.says(at, header, zxid, &Answer::Empty)?;
        Tree::forget_client(&mut self.watches, client(at));
        Ok(())
    }

    /// Applies a transaction; everybody hears of it who has a watch.
    fn apply(&mut self, zxid: Zxid, txn: &Txn) -> Result<Outcome> {
        let mut events = Vec::new();
        let mut note = |client, event: &Event| events.push((client, event.clone()));
        let outcome = self.tree.apply(zxid, txn, &mut self.watches, &mut note);
        for (ClientId(at), event) in events {
            self.hears(usize::try_from(at)?, zxid, &event)?;
        }
        Ok(outcome)
    }

    fn write(&mut self, at: usize, header: RequestHeader, write: &Write) -> Result<()> {
        let session = self.connections[at].session;
        let (zxid, txn) = self.next_logged(session, header.xid).context("not logged")?;
        let identities = &self.connections[at].identities;
        let author = Author { session, xid: header.xid, identities, time: txn.time };
        let ours = self.tree.prepare(&SETTINGS, &mut Outstanding::default(), author, zxid, write);
        ensure!(settled(&ours.body) == settled(&txn.body), "{ours:?} is not {txn:?}");
        ensure!(same_digest(&ours, &txn), "{ours:?} has another digest than {txn:?}");
        let outcome = self.apply(zxid, &ours)?;
        self.says(at, header, zxid, &Answer::Outcome(&outcome))
    }

    /// A request that we refuse unread: Apache may have refused it later, or done it.
    fn refuse(&mut self, at: usize, header: RequestHeader, code: ErrorCode) -> Result<()> {
        if let Some((zxid, txn)) = self.next_logged(self.connections[at].session, header.xid) {
            self.apply(zxid, &txn)?;
        }
        let bytes = self.next_said(at)?;
        let reply = Reply::decode(Decoder::stream(&bytes[4..]))?;
        let done = reply.error == 0 && code == ErrorCode::Unimplemented;
        ensure!(done || reply.error == code.number(), "{code:?}, not {}", reply.error);
        // What is unknown is answered with zxid −1.
        let zxid = if done || code != ErrorCode::Unimplemented {
            self.tree.last_processed()
        } else {
            Zxid(u64::MAX)
        };
        ensure!(reply.zxid == zxid, "{:?}, not {zxid:?}", reply.zxid);
        Ok(())
    }

    fn next_logged(&mut self, session: SessionId, xid: i32) -> Option<(Zxid, Txn)> {
        self.log.pop_front_if(|(_, txn)| (txn.session, txn.cxid) == (session, xid))
    }

    fn next_said(&mut self, at: usize) -> Result<Vec<u8>> {
        unhex(&self.connections[at].said.pop_front().context("nothing more was said")?.hex)
    }

    /// The recorded server told this connection of this event.
    fn hears(&mut self, at: usize, zxid: Zxid, event: &Event) -> Result<()> {
        let theirs = self.next_said(at)?;
        let mut ours = Vec::new();
        put_event(zxid, event, &mut ours);
        if ours != theirs {
            bail!("{event:?} is not {:?}", Reply::decode(Decoder::stream(&theirs[4..]))?.event()?);
        }
        Ok(())
    }

    /// The recorded server answered this.
    fn says(
        &mut self,
        at: usize,
        header: RequestHeader,
        zxid: Zxid,
        answer: &Answer<'_, Tree>,
    ) -> Result<()> {
        let mut ours = Vec::new();
        put_reply(header.xid, zxid, answer, &mut ours);
        self.says_bytes(at, header, &ours)
    }

    fn says_bytes(&mut self, at: usize, header: RequestHeader, ours: &[u8]) -> Result<()> {
        *self.compared.entry(header.operation).or_default() += 1;
        let theirs = self.next_said(at)?;
        if ours == theirs {
            return Ok(());
        }
        let [ours, theirs] = [ours, &theirs].map(|bytes| Reply::decode(Decoder::stream(&bytes[4..])));
        let (ours, theirs) = (ours?, theirs?);
        let same_header = (ours.xid, ours.zxid, ours.error) == (theirs.xid, theirs.zxid, theirs.error);
        ensure!(same_header, "{ours:?}, not {theirs:?}");
        let [ours, theirs] = [ours, theirs].map(|reply| reply.response(header.operation).map(in_order));
        let (ours, theirs) = (ours?, theirs?);
        ensure!(ours == theirs, "{ours:?}, not {theirs:?}");
        let is_list = matches!(
            header.operation,
            opcode::GET_CHILDREN
                | opcode::GET_CHILDREN2
                | opcode::GET_EPHEMERALS
                | opcode::WHO_AM_I
                | opcode::MULTI_READ
        );
        ensure!(is_list, "the same, in other bytes: {ours:?}");
        Ok(())
    }
}

fn client(at: usize) -> ClientId {
    ClientId(u64::try_from(at).unwrap_or(u64::MAX))
}

/// The digests are those of the tree behind, and errors have none.
fn same_digest(ours: &Txn, theirs: &Txn) -> bool {
    ours.digest == theirs.digest
}

/// A failed multi with all of its parts as errors; Apache logs those before the failed one as they came.
fn settled(body: &TxnBody) -> TxnBody {
    let mut body = body.clone();
    if let TxnBody::Multi(parts) = &mut body
        && parts.iter().any(|part| matches!(part, TxnBody::Error { .. }))
    {
        for part in parts {
            if !matches!(part, TxnBody::Error { .. }) {
                *part = TxnBody::Error { code: 0 };
            }
        }
    }
    body
}

/// A closing with its ephemerals in order.
fn sorted(body: &TxnBody) -> TxnBody {
    let mut body = body.clone();
    if let TxnBody::CloseSession { ephemerals: Some(paths) } = &mut body {
        paths.sort();
    }
    body
}

#[test]
fn a_failed_multi_is_told_apart() {
    let parts = vec![TxnBody::CreateSession { timeout_ms: 1 }, TxnBody::Error { code: -103 }];
    let errors = vec![TxnBody::Error { code: 0 }, TxnBody::Error { code: -103 }];
    assert_eq!(settled(&TxnBody::Multi(parts)), TxnBody::Multi(errors));
    assert!(Tree::refusal(&Outcome::Multi(vec![])).is_none());
}
