//! An ensemble of which one server stays, over its sockets: clients that only read are served by it, until there is a
//! leader again.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};

use crate::ensemble::{PATIENCE, Server, ensemble};
use protocol::peer::ClientRequest;
use spec::{ErrorCode, SessionId, Zxid};
use tree::{Acl, CreateRequest, Read, Text, Tree, Write};
use wire::{
    Decoder,
    client::{ConnectRequest, ConnectResponse, Reply, put_request},
};

type Ask = ClientRequest<Tree>;

/// What a client offers.
#[derive(Clone, Copy)]
struct Offer {
    session: (SessionId, [u8; 16]),
    last_seen: Zxid,
    read_only: Option<bool>,
}

const NEW: Offer = Offer { session: (SessionId(0), [0; 16]), last_seen: Zxid::ZERO, read_only: Some(false) };
const READER: Offer = Offer { read_only: Some(true), ..NEW };

struct Client {
    stream: TcpStream,
    xid: i32,
    said: ConnectResponse,
}

impl Client {
    /// None if the server hangs up instead of answering.
    fn connect(server: &Server, offer: Offer) -> Option<Self> {
        let mut stream = TcpStream::connect(server.client).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let Offer { session: (session, password), last_seen, read_only } = offer;
        let request = ConnectRequest {
            protocol_version: 0,
            last_seen,
            timeout_ms: 10_000,
            session,
            password,
            read_only,
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        stream.write_all(&bytes).expect("it reads");
        let said = ConnectResponse::decode(&frame(&mut stream)?).expect("an answer to a handshake");
        Some(Self { stream, xid: 0, said })
    }

    fn session(&self) -> (SessionId, [u8; 16]) {
        (self.said.session, self.said.password)
    }

    /// The error and the zxid that a request is answered with.
    fn call(&mut self, request: &Ask) -> (i32, Zxid) {
        self.xid += 1;
        let mut bytes = Vec::new();
        put_request::<Tree>(self.xid, request, &mut bytes).expect("a request");
        self.stream.write_all(&bytes).expect("it reads");
        let payload = frame(&mut self.stream).expect("an answer");
        let reply = Reply::decode(Decoder::new(&payload, 1 << 20)).expect("a reply");
        assert_eq!(reply.xid, self.xid);
        (reply.error, reply.zxid)
    }
}

/// The next frame; none if the connection ends.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            return None;
        }
        Err(error) => panic!("neither an answer nor an end: {error}"),
    }
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("short")];
    stream.read_exact(&mut payload).expect("a whole frame");
    Some(payload)
}

fn create(path: &str) -> Ask {
    let (path, acl) = (Text::from(path), vec![Acl::world(31)]);
    let request = CreateRequest::Create;
    ClientRequest::Write(Write::Create { path, data: None, acl, flags: 0, request })
}

fn read(path: &str) -> Ask {
    ClientRequest::Read(Read::GetData { path: Text::from(path), watch: true })
}

const NOT_READ_ONLY: i32 = ErrorCode::NotReadOnly as i32;

#[test]
fn the_server_that_is_left_serves_who_only_reads_until_there_is_a_leader() {
    let more = "readonlymode.enabled=true\nadmin.snapshot.enabled=true\n";
    let mut servers = ensemble(3, 0, more);
    servers.iter_mut().for_each(Server::start);
    for server in &servers {
        server.comes_to("rw");
    }
    let mut writer = Client::connect(&servers[0], NEW).expect("a session");
    assert_eq!(writer.call(&create("/a")).0, 0);
    let (_, last) = writer.call(&read("/a"));
    let early = Client::connect(&servers[0], READER).expect("a session");
    assert_eq!(early.said.read_only, Some(false), "with a leader it is a session like any other");
    drop(early);

    servers[1].stop();
    servers[2].stop();
    servers[0].comes_to("ro");
    assert_eq!(frame(&mut writer.stream), None, "a session of the ensemble is not served any more");
    let alone = &servers[0];
    assert!(alone.word("srvr").contains("Mode: read-only\n"));
    let told = alone.word("mntr");
    for (row, is_told) in [
        ("zk_server_state\tread-only\n", true),
        ("\nzk_znode_count\t6\n", true),
        ("\nzk_uptime\t", true),
        ("\nzk_quorum_size\t", false),
    ] {
        assert_eq!(told.contains(row), is_told, "{row} {told}");
    }
    assert!(alone.http("/commands/is_read_only").contains("\"read_only\": true"));
    assert!(alone.http("/readyz").contains(" 503 "));
    let snapshot = alone.http("/commands/snapshot");
    assert!(snapshot.contains(" 503 ") && snapshot.contains("has no quorum"), "{snapshot}");
    let ensembles = Offer { session: writer.session(), ..READER };
    for (offer, why) in [
        (NEW, "who writes looks for another server"),
        (Offer { read_only: None, ..NEW }, "so does who does not know of this"),
        (ensembles, "its session may live with a leader elsewhere"),
        (Offer { last_seen: Zxid(last.0 + 1_000), ..READER }, "it has seen more than this server has"),
    ] {
        assert!(Client::connect(alone, offer).is_none(), "{why}");
    }
    let mut reader = Client::connect(alone, READER).expect("a session");
    assert_eq!(reader.said.read_only, Some(true));
    let shown = reader.call(&read("/a"));
    assert_eq!(shown.0, 0);
    assert!(shown.1 >= last);
    for request in [create("/b"), ClientRequest::Sync(b"/".to_vec()), create("/a")] {
        assert_eq!(reader.call(&request), (NOT_READ_ONLY, shown.1), "{request:?}");
    }
    let mut other = Client::connect(alone, READER).expect("a session");
    assert_eq!(other.call(&Ask::Close), (0, shown.1), "no place is made up for what is this server's alone");
    assert_eq!(frame(&mut other.stream), None);
    let closed = Offer { session: other.session(), ..READER };
    let refusal = Client::connect(alone, closed).expect("an answer");
    assert_eq!(refusal.said, ConnectResponse::refusal(Some(true)));

    servers[1].start();
    servers[0].comes_to("rw");
    assert_eq!(frame(&mut reader.stream), None, "it has to come back for a session of the ensemble");
    let again = Offer { last_seen: shown.1, ..READER };
    let stale =
        Client::connect(&servers[0], Offer { session: reader.session(), ..again }).expect("an answer");
    assert_eq!(stale.said, ConnectResponse::refusal(Some(false)), "nobody knows that session");
    let mut real = Client::connect(&servers[0], again).expect("a session");
    assert_eq!(real.said.read_only, Some(false));
    let (error, zxid) = real.call(&create("/b"));
    assert!(error == 0 && zxid > shown.1, "{error} {zxid}");
    // The session of before has lived on.
    let mut writer = Client::connect(&servers[0], Offer { read_only: Some(false), ..ensembles }).expect("it");
    assert_eq!(writer.said.session, ensembles.session.0);
    assert_eq!(writer.call(&read("/b")).0, 0);
}

#[test]
fn a_server_without_a_quorum_tells_of_nothing_that_it_would_serve() {
    let mut servers = ensemble(3, 0, "");
    let alone = &mut servers[0];
    alone.start();
    alone.comes_to("null");
    assert_eq!(alone.word("mntr"), "This ZooKeeper instance is not currently serving requests\n");
    assert_eq!(alone.word("hash"), "This ZooKeeper instance is not currently serving requests");
    for name in ["monitor", "mntr"] {
        let answer = alone.http(&format!("/commands/{name}"));
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("not currently serving"), "{answer}");
        assert!(!answer.contains("looking_count"), "{answer}");
    }
    assert!(alone.http("/commands/server_stats").starts_with("HTTP/1.1 200 "));
    let metrics = alone.http("/metrics");
    for (row, is_told) in [
        ("\nlooking_count 1\n", true),
        ("\nelection_time_count 0\n", true),
        ("\nprocess_open_fds ", true),
        ("\nznode_count ", false),
        ("\nuptime ", false),
        ("\nquorum_size ", false),
        ("\nnum_alive_connections ", false),
    ] {
        assert_eq!(metrics.contains(row), is_told, "{row} {metrics}");
    }
}
