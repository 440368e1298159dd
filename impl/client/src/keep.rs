//! The thread that keeps the session: it connects, reads, pings, and goes on at another server.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use protocol::peer::ClientRequest;
use spec::Zxid;
use tree::{Text, Tree};
use wire::{
    Decoder,
    client::{ConnectRequest, ConnectResponse, Reply, opcode, put_request},
    record::{STREAM_FIELD_BYTES_MAX, frame},
};

use crate::{
    Failure,
    patience::{self, Patience, is_a_pause},
    proof::{Unproved, prove},
    scout,
    shared::{AUTH_FAILED, Inner, Pending, Shared},
    state::{Connection, EventType, Notice},
    stream::Stream,
    watches::Kind,
};

/// The pause behind a round in which no server would have us; it grows up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The least time that one server is given to answer.
const ANSWER_MIN: Duration = Duration::from_millis(500);
/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// The numbers of what has no answer.
const OK: i32 = 0;
const NO_NODE: i32 = -101;
const SESSION_EXPIRED: i32 = -112;

/// Why a server was not the one.
enum Refusal {
    /// Nobody listens there.
    Nobody(String),
    /// Somebody does, and does not serve.
    NotServed(String),
    /// The session is over, for every server.
    Expired,
    /// Its user is not proved.
    Unproved(String),
}

/// Keeps the session until it is over.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut pause = PAUSE.0;
    loop {
        let begun = Instant::now();
        match round(shared) {
            Round::Over => return,
            Round::Lost if begun.elapsed() > PAUSE.1 => pause = PAUSE.0,
            // A server that takes the session and hangs up at once is no better than none.
            Round::Lost | Round::InVain => {
                let inner = shared.lock();
                let waited =
                    shared.changed.wait_timeout_while(inner, pause, |inner| !inner.connection.is_over());
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

enum Round {
    /// There was a connection, and it is lost.
    Lost,
    /// No server would have us.
    InVain,
    /// There will be no other round.
    Over,
}

/// Tries every server once, in a random order, and before them one that is known to write; serves the first that takes
/// the session.
fn round(shared: &Arc<Shared>) -> Round {
    let (mut nobody, mut trouble) = (true, Vec::new());
    let writer = shared.lock().writer.take();
    for (host, port) in writer.into_iter().chain(shared.options.servers.shuffled()) {
        if shared.lock().connection.is_over() {
            return Round::Over;
        }
        shared.lock().dialling = true;
        let attached = attach(shared, &host, port);
        shared.lock().dialling = false;
        match attached {
            Ok(stream) => return serve(shared, stream, &host, port),
            Err(Refusal::Nobody(why)) => trouble.push(format!("{host}:{port}: {why}")),
            Err(Refusal::NotServed(why)) => {
                nobody = false;
                trouble.push(format!("{host}:{port}: {why}"));
            }
            Err(Refusal::Expired) => {
                over(shared, Connection::Expired, &Failure::SessionExpired);
                return Round::Over;
            }
            Err(Refusal::Unproved(why)) => {
                let why = format!("{host}:{port}: {why}");
                shared.lock().unproved = Some(why.clone());
                over(shared, Connection::AuthFailed, &Failure::Unproved(why));
                return Round::Over;
            }
        }
    }
    let mut inner = shared.lock();
    inner.nobody_listens = nobody;
    inner.trouble = trouble.join("; ");
    shared.changed.notify_all();
    Round::InVain
}

/// Connects to one server and shakes hands.
fn attach(shared: &Shared, host: &str, port: u16) -> Result<Stream, Refusal> {
    // Each of them has its turn before the session is over.
    let granted = shared.lock().granted;
    let patience = (granted / shared.options.servers.count()).max(ANSWER_MIN);
    let socket = dial(host, port, patience)?;
    let not_served = |error: std::io::Error| Refusal::NotServed(error.to_string());
    socket.set_nodelay(true).map_err(not_served)?;
    socket.set_read_timeout(Some(patience)).map_err(not_served)?;
    socket.set_write_timeout(Some(patience)).map_err(not_served)?;
    let mut stream = match &shared.options.tls {
        None => Stream::plain(socket),
        Some(config) => Stream::secure(socket, Arc::clone(config), host).map_err(not_served)?,
    };
    let hello = {
        let inner = shared.lock();
        // As Java's client: a session that only read ends with its connection, and nobody has lost anything with it.
        let offered = if inner.local { Default::default() } else { (inner.session, inner.password) };
        ConnectRequest {
            protocol_version: 0,
            last_seen: inner.last_seen,
            timeout_ms: i32::try_from(shared.options.timeout.as_millis()).unwrap_or(i32::MAX),
            session: offered.0,
            password: offered.1,
            read_only: Some(shared.options.read_only),
        }
    };
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    stream.write_all(&bytes).map_err(not_served)?;
    let patience = Patience::of(shared, patience);
    let answer = handshake(&mut stream, &patience)?;
    let Ok(granted @ 1..) = u64::try_from(answer.timeout_ms) else { return Err(Refusal::Expired) };
    let xids = {
        let mut inner = shared.lock();
        // It is this client's from now on, whatever comes of the connection: to be offered again, or closed.
        (inner.session, inner.password) = (answer.session, answer.password);
        inner.local = answer.read_only == Some(true);
        [inner.take_xid(), inner.take_xid()]
    };
    let proved =
        shared.options.user.as_ref().map_or(Ok(()), |user| prove(&mut stream, user, xids, &patience));
    let mut inner = shared.lock();
    if inner.connection.is_over() {
        // It was closed meanwhile: nobody will use this.
        farewell(&mut stream, inner.take_xid());
        return Err(Refusal::NotServed("closed".to_owned()));
    }
    proved.map_err(|unproved| match unproved {
        Unproved::Lost(error) => Refusal::NotServed(patience::told(&error)),
        Unproved::Refused(why) => Refusal::Unproved(why),
    })?;
    let granted = Duration::from_millis(granted);
    stream.set_read_timeout((granted / 6).max(Duration::from_millis(5))).map_err(not_served)?;
    stream.set_write_timeout(granted).map_err(not_served)?;
    let mut writer = stream.try_clone().map_err(not_served)?;
    writer.write_all(&resumption(&inner)).map_err(not_served)?;
    inner.granted = granted;
    inner.stream = Some(writer);
    inner.number += 1;
    inner.connection = if inner.local { Connection::ConnectedReadOnly } else { Connection::Connected };
    let now = inner.connection;
    drop(inner);
    // Told before anybody can act on it, so that it stands before what comes of that.
    shared.tell(Notice::Connection(now));
    shared.changed.notify_all();
    Ok(stream)
}

fn dial(host: &str, port: u16, patience: Duration) -> Result<TcpStream, Refusal> {
    let nobody = |error: std::io::Error| Refusal::Nobody(error.to_string());
    let mut refusal = Refusal::Nobody("the name has no address".to_owned());
    let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(nobody)?.collect();
    let patience = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match TcpStream::connect_timeout(&address, patience.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = nobody(error),
        }
    }
    Err(refusal)
}

/// What a server is told first that knows the session and not its connection: credentials, then watches.
fn resumption(inner: &Inner) -> Vec<u8> {
    let mut out = Vec::new();
    let credentials = inner.credentials.iter().cloned();
    let credentials = credentials.map(|one| (opcode::XID_AUTH, ClientRequest::<Tree>::Authenticate(one)));
    let watches = inner.watches.again(inner.last_seen).into_iter();
    let watches = watches.map(|read| (opcode::XID_SET_WATCHES, ClientRequest::Read(read)));
    for (xid, request) in credentials.chain(watches) {
        put_request(xid, &request, &mut out).expect("these have a place on the wire");
    }
    out
}

/// Closes a session that was just given and that nobody wants any more.
fn farewell(stream: &mut Stream, xid: i32) {
    let mut out = Vec::new();
    put_request(xid, &ClientRequest::<Tree>::Close, &mut out).expect("an end has a place on the wire");
    // Where it does not come through, the session ends with its timeout.
    let _ = stream.write_all(&out);
}

/// Reads the first frame, and nothing behind it.
fn handshake(stream: &mut Stream, patience: &Patience<'_>) -> Result<ConnectResponse, Refusal> {
    let ended = |error: std::io::Error| Refusal::NotServed(patience::told(&error));
    let mut length = [0; 4];
    patience.read(stream, &mut length).map_err(ended)?;
    let stranger = || Refusal::NotServed("what answers there is no ZooKeeper server".to_owned());
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= 1024);
    let mut payload = vec![0; length.ok_or_else(stranger)?];
    patience.read(stream, &mut payload).map_err(ended)?;
    ConnectResponse::decode(&payload).map_err(|_| stranger())
}

/// Reads until the connection ends, or the session.
fn serve(shared: &Arc<Shared>, mut stream: Stream, host: &str, port: u16) -> Round {
    let (granted, local, number) = {
        let inner = shared.lock();
        (inner.granted, inner.local, inner.number)
    };
    if local {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || scout::run(&shared, number));
    }
    let (mut heard, mut pinged) = (Instant::now(), Instant::now());
    let mut buffer = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let why = loop {
        match stream.read(&mut chunk) {
            Ok(0) => break ended(shared),
            Ok(count) => {
                heard = Instant::now();
                buffer.extend_from_slice(&chunk[..count]);
                if let Err(error) = take(shared, &mut buffer) {
                    break format!("the server's bytes cannot be read: {error}");
                }
            }
            Err(error) if is_a_pause(&error) => {}
            Err(error) => break error.to_string(),
        }
        if shared.lock().connection.is_over() {
            return Round::Over;
        }
        if heard.elapsed() * 3 > granted * 2 {
            break format!("nothing was heard for {} ms", heard.elapsed().as_millis());
        }
        if pinged.elapsed() * 3 >= granted {
            pinged = Instant::now();
            let mut ping = Vec::new();
            put_request(opcode::XID_PING, &ClientRequest::<Tree>::Ping, &mut ping)
                .expect("a ping has a place on the wire");
            let mut inner = shared.lock();
            if let Some(Err(error)) = inner.stream.as_mut().map(|stream| stream.write_all(&ping)) {
                break error.to_string();
            }
        }
    };
    lost(shared, &stream, format!("{host}:{port}: {why}"))
}

/// Why a connection has ended in order.
fn ended(shared: &Shared) -> String {
    match &shared.lock().writer {
        None => "the server hung up".to_owned(),
        Some((host, port)) => format!("it only reads, and {host}:{port} writes"),
    }
}

fn lost(shared: &Shared, stream: &Stream, why: String) -> Round {
    stream.shutdown();
    let mut inner = shared.lock();
    inner.stream = None;
    if inner.closing || inner.connection.is_over() {
        inner.fail_all(&Failure::Closed);
        return Round::Over;
    }
    (inner.connection, inner.since) = (Connection::Connecting, Instant::now());
    inner.trouble.clone_from(&why);
    inner.fail_all(&Failure::ConnectionLoss(why));
    drop(inner);
    shared.changed.notify_all();
    shared.tell(Notice::Connection(Connection::Connecting));
    Round::Lost
}

fn over(shared: &Shared, connection: Connection, failure: &Failure) {
    let mut inner = shared.lock();
    if inner.connection.is_over() {
        return;
    }
    inner.end(connection, failure);
    drop(inner);
    shared.changed.notify_all();
    shared.tell(Notice::Connection(connection));
}

/// Takes every whole frame off the buffer.
fn take(shared: &Shared, buffer: &mut Vec<u8>) -> Result<(), wire::Error> {
    let mut used = 0;
    while let Some(payload) = frame(&buffer[used..], STREAM_FIELD_BYTES_MAX)? {
        let reply = Reply::decode(Decoder::stream(payload))?;
        used += 4 + payload.len();
        match reply.xid {
            opcode::XID_NOTIFICATION => notify(shared, &reply)?,
            opcode::XID_PING => {}
            opcode::XID_SET_WATCHES => heard_of(&mut shared.lock(), &reply),
            _ => answer(shared, &reply),
        }
    }
    buffer.drain(..used);
    Ok(())
}

/// An answer shows what its server has applied, unless it names nothing: 0, or −1.
fn heard_of(inner: &mut Inner, reply: &Reply<'_>) {
    inner.last_seen = inner.last_seen.max(named(reply.zxid).unwrap_or_default());
}

/// The transaction that this stands for, if it stands for one.
fn named(zxid: Zxid) -> Option<Zxid> {
    i64::try_from(zxid.0).is_ok().then_some(zxid)
}

fn notify(shared: &Shared, reply: &Reply<'_>) -> Result<(), wire::Error> {
    let Some((number, path)) = reply.event()? else { return Ok(()) };
    let Some(kind) = EventType::from_number(number) else {
        return Err(wire::Error::Unknown { what: "type of an event", found: i64::from(number) });
    };
    // What fired it may have fired others that are still on their way: it is not what this client has seen.
    shared.lock().watches.fired(kind, &path);
    let path = shared.options.servers.inward(path.as_str());
    shared.tell(Notice::Event { kind, path, zxid: named(reply.zxid) });
    Ok(())
}

fn answer(shared: &Shared, reply: &Reply<'_>) {
    let mut inner = shared.lock();
    if reply.xid != opcode::XID_AUTH {
        heard_of(&mut inner, reply);
    }
    if reply.error == AUTH_FAILED && reply.xid == opcode::XID_AUTH {
        drop(inner);
        return over(shared, Connection::AuthFailed, &Failure::Server(AUTH_FAILED));
    }
    let place = inner.pending.iter().position(|pending| pending.xid == reply.xid);
    // Nobody waits for it: whoever asked was interrupted, or it is the answer to a credential shown again.
    let Some(pending) = place.and_then(|place| inner.pending.remove(place)) else { return };
    leave(&mut inner, &pending, reply.error);
    let outcome = match reply.error {
        OK => reply.response(pending.operation).map_err(|error| Failure::malformed(&error)),
        SESSION_EXPIRED => Err(Failure::SessionExpired),
        number => Err(Failure::Server(number)),
    };
    drop(inner);
    // Whoever no longer waits is not told.
    let _ = pending.answer.send(outcome);
}

/// Notes the watch that an answered request has left.
fn leave(inner: &mut Inner, pending: &Pending, error: i32) {
    let Some(leaves) = &pending.leaves else { return };
    let kind: Option<Kind> = match error {
        OK => Some(leaves.found),
        NO_NODE => leaves.missing,
        _ => None,
    };
    if let Some(kind) = kind {
        inner.watches.add(kind, Text::clone(&leaves.path));
    }
}
