//! The tasks of clients: accepting connections, and taking requests off them.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use protocol::peer::{ClientRequest, Input};
use spec::{ClientId, ErrorCode, SessionId};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::{TcpListener, TcpStream},
    task::{spawn_local, yield_now},
};
use tracing::{debug, warn};
use tree::{Identity, Text, Tree, auth::sought};
use wire::{
    Decoder,
    client::{ConnectRequest, RequestHeader, decode_request, decode_token, opcode},
    record,
};

use crate::{
    Config,
    audit::Who,
    client::{Most, Phase, Reading, Unanswered},
    core::{Clock, Core, Shared, Shell},
    excerpt::excerpt,
    namespaces::Nodes,
    net,
    secure::Door,
    stream::{Reader, Stream, Writer},
    throttle::TOO_LARGE,
    words,
};

/// Bytes that one turn takes from one connection at most.
const READ_BYTES: usize = 64 << 10;
/// How long one connection's requests are stepped before others have their turn.
const SHARE: Duration = Duration::from_millis(20);
/// How many of them pass before it is looked how long that has taken.
const STEPS_BETWEEN_LOOKS: u32 = 16;
/// The longest first frame of a connection, before anything is known of the client.
const FIRST_BYTES_MAX: usize = 64 << 10;
/// How long a connection that is to be closed may take for what it has not been sent.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// How long sent bytes may go unacknowledged by a client whose session may not be silent for longer.
pub(crate) const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Why a connection ends that goes on and on about who it is.
const TOO_MANY_PROOFS: wire::Error = wire::Error::Invalid {
    what: "a connection offers more than 1000 credentials, or 256 KiB of them; it is to prove what it needs",
};

/// Where every connection's bytes are read to: nothing of them is kept there beyond the turn.
type Scratch = Rc<RefCell<Vec<u8>>>;

/// Takes connections of clients. A file descriptor is kept in reserve, so that there is one to say no with when all
/// are used up.
pub(crate) async fn accept(core: Shared, listener: TcpListener, config: Rc<Config>, door: Door) {
    let mut spare = std::fs::File::open("/dev/null").ok();
    let scratch = Rc::new(RefCell::new(vec![0; READ_BYTES]));
    if let Err(error) = net::set_options(&listener, SILENCE_MAX) {
        warn!(%error, "clients that vanish are not noticed by their silence: the options of sockets cannot be set");
    }
    loop {
        match listener.accept().await {
            Ok((stream, _)) if net::is_crowded(&stream, net::FILES_BESIDE_CLIENTS) => {
                core.borrow_mut().shell.out_of_files();
            }
            Ok((stream, address)) => match &door {
                Door::Plain => admit(&core, Stream::Plain(stream), address, &config, &scratch),
                Door::Secure(_) | Door::Either(_) => {
                    knock(&core, stream, address, &config, &scratch, &door);
                }
            },
            Err(error) if net::is_out_of_files(&error) => {
                drop(spare.take());
                if let Ok(Ok((refused, _))) =
                    tokio::time::timeout(Duration::from_millis(1), listener.accept()).await
                {
                    drop(refused);
                }
                spare = std::fs::File::open("/dev/null").ok();
                core.borrow_mut().shell.out_of_files();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

fn most(config: &Config) -> Most {
    Most { per_address: config.max_client_cnxns, in_all: config.max_cnxns }
}

/// Has somebody shake hands who has connected, and then admits the connection.
fn knock(
    core: &Shared,
    tcp: TcpStream,
    address: SocketAddr,
    config: &Rc<Config>,
    scratch: &Scratch,
    door: &Door,
) {
    let Some((place, gone)) = core.borrow_mut().shell.clients.knocks(address, most(config)) else {
        let shell = &mut core.borrow_mut().shell;
        shell.stats.connections_refused += 1;
        return shell.turned_away(address, "too many are there");
    };
    if let Some(gone) = gone {
        let shell = &mut core.borrow_mut().shell;
        shell.stats.handshakes_exceeded += 1;
        shell.turned_away(gone, "too many shake hands, and it has taken long");
    }
    let knocking = Rc::clone(core);
    let (core, config) = (Rc::clone(core), Rc::clone(config));
    let (scratch, door) = (Rc::clone(scratch), door.clone());
    let handshake = spawn_local(async move {
        // It has no session either while it shakes hands.
        let most = Duration::from_millis(config.throttles.sessionless_max_ms.into());
        let opened = tokio::time::timeout(most, door.open(tcp)).await;
        core.borrow_mut().shell.clients.knocked(place);
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return core.borrow_mut().shell.no_handshake(address, &error.to_string()),
            Err(_) => {
                return core.borrow_mut().shell.no_handshake(address, "no hands were shaken in time");
            }
        };
        let shown = stream.certificate();
        if door.refuses(shown.as_ref(), net::plain_ip(address), std::iter::empty()) {
            let why =
                "its certificate is not for its address; ssl.clientHostnameVerification=false lets it pass";
            return core.borrow_mut().shell.no_handshake(address, why);
        }
        admit(&core, stream, address, &config, &scratch);
    });
    knocking.borrow_mut().shell.clients.knocking.hold(place, handshake.abort_handle());
}

/// As whom a certificate proves its owner.
///
/// Source: ZooKeeper `X509AuthenticationProvider`.
fn certified(stream: &Stream, config: &Config) -> Vec<Identity> {
    let Some(subject) = stream.certificate().and_then(|shown| tls::subject(&shown)) else {
        return Vec::new();
    };
    let is_super = config.tls.superuser.as_ref() == Some(&subject);
    let identity = |scheme, id| Identity { scheme: Text::from_static(scheme), id };
    let mut identities = vec![identity("x509", Text::from(subject))];
    if is_super {
        identities.push(identity("super", Text::default()));
    }
    identities
}

fn admit(core: &Shared, stream: Stream, address: SocketAddr, config: &Config, scratch: &Scratch) {
    let certified = certified(&stream, config);
    let (reader, writer) = stream.into_split();
    let mut guard = core.borrow_mut();
    let clock = guard.shell.clock_now();
    let is_plain = matches!(writer, Writer::Plain(_));
    let admitted = guard.shell.clients.admit(address, writer, certified, most(config), clock);
    let Some(id) = admitted else {
        guard.shell.stats.connections_refused += 1;
        return debug!(%address, "a connection was refused: there are too many of its address, or in all");
    };
    // Where clients cannot come inside TLS there is nothing to count, and nobody to warn.
    if is_plain && config.tls.clients.is_some() {
        guard.shell.stats.came_plain(net::plain_ip(address));
    }
    let task = spawn_local(read(Rc::clone(core), id, reader, Rc::clone(scratch)));
    guard.shell.clients.reads_with(id, task.abort_handle());
}

/// Reads from a connection until it ends, and steps what it asks.
async fn read(core: Shared, id: ClientId, mut reader: Reader, scratch: Scratch) {
    loop {
        let reading = core.borrow_mut().reading(id);
        match reading {
            Reading::On if core.borrow_mut().client_rest(id) => {
                yield_now().await;
                continue;
            }
            Reading::On => {}
            Reading::Wait(resume) => {
                resume.notified().await;
                continue;
            }
            Reading::Over => return,
        }
        let count = poll_fn(|context| {
            let mut scratch = scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut reader).poll_read(context, &mut buffer) {
                std::task::Poll::Pending => std::task::Poll::Pending,
                std::task::Poll::Ready(Err(error)) => std::task::Poll::Ready(Err(error)),
                std::task::Poll::Ready(Ok(())) => {
                    let filled = buffer.filled();
                    core.borrow_mut().client_bytes(id, filled);
                    std::task::Poll::Ready(Ok(filled.len()))
                }
            }
        })
        .await;
        match count {
            Ok(READ_BYTES) => yield_now().await,
            Ok(1..) => {}
            Ok(0) => return core.borrow_mut().client_gone(id, None),
            Err(error) => return core.borrow_mut().client_gone(id, Some(error)),
        }
    }
}

/// What a frame calls for.
enum Frame {
    /// It was stepped.
    Taken,
    /// It was stepped, and that may have taken long: others go first now.
    Long,
    /// The connection is to be closed.
    Wrong(wire::Error),
}

/// Whether a request leaves nothing behind, not even a watch.
fn only_asks(request: &ClientRequest<Tree>) -> bool {
    match request {
        ClientRequest::Ping => true,
        ClientRequest::Read(read) => read.only_asks(),
        ClientRequest::Authenticate(_)
        | ClientRequest::Write(_)
        | ClientRequest::Sync(_)
        | ClientRequest::Close
        | ClientRequest::Exchange { .. }
        | ClientRequest::Refused { .. } => false,
    }
}

impl Shell {
    /// Somebody did not get as far as being a client.
    fn no_handshake(&mut self, address: SocketAddr, why: &str) {
        self.stats.handshakes_failed += 1;
        self.stats.handshakes_failed_lately += 1;
        self.turned_away(address, why);
    }

    /// Somebody is not let in who came to shake hands.
    fn turned_away(&mut self, address: SocketAddr, why: &str) {
        let why = &*excerpt(why);
        debug!(%address, why, "no hands were shaken with a client");
        if let Some(failed) = self.seldom.handshakes.count(Instant::now()) {
            warn!(failed, %address, why, "no hands were shaken with clients: they are not let in");
        }
    }

    /// What the peer is to make of what a client says in SASL.
    fn authenticate(&mut self, id: ClientId, token: &[u8]) -> ClientRequest<Tree> {
        let Some(client) = self.clients.get(id) else {
            return ClientRequest::Ping;
        };
        let (request, reason) = self.config.sasl.step(&mut client.exchange, token);
        if let Some(reason) = reason {
            let reason = &*excerpt(&reason);
            debug!(reason, "a client failed to authenticate with SASL");
            if let Some(failed) = self.seldom.identities.count(Instant::now()) {
                warn!(failed, reason, "clients failed to authenticate with SASL");
            }
        }
        request
    }
}

impl Core {
    /// Steps what was left of an earlier read when the connection was paused. Whether there was anything.
    fn client_rest(&mut self, id: ClientId) -> bool {
        let stalled = self.shell.clients.get(id).is_some_and(|client| std::mem::take(&mut client.stalled));
        if stalled && !self.drops_stale(id) {
            self.client_bytes(id, &[]);
        }
        stalled
    }

    /// Bytes have come on a connection: steps every whole frame in them, and keeps the rest.
    fn client_bytes(&mut self, id: ClientId, bytes: &[u8]) {
        let clock = self.shell.touch();
        self.shell.stats.bytes_received += u64::try_from(bytes.len()).unwrap_or(0);
        let Some(client) = self.shell.clients.get(id) else {
            return;
        };
        client.came = clock.now;
        if client.partial.is_empty() {
            let taken = self.frames(id, bytes, clock);
            if let Some(client) = self.shell.clients.get(id) {
                client.partial.extend_from_slice(&bytes[taken..]);
            }
        } else {
            let mut partial = std::mem::take(&mut client.partial);
            partial.extend_from_slice(bytes);
            let taken = self.frames(id, &partial, clock);
            if let Some(client) = self.shell.clients.get(id) {
                // A long frame comes in many pieces; it is moved only once it is whole, and its room given back.
                client.partial = if taken == 0 { partial } else { BytesMut::from(&partial[taken..]) };
            }
        }
    }

    /// Steps whole frames; returns how many bytes they took.
    fn frames(&mut self, id: ClientId, bytes: &[u8], clock: Clock) -> usize {
        let max = self.shell.config.frame_bytes_max;
        let (mut taken, mut steps) = (0, 0_u32);
        loop {
            let rest = &bytes[taken..];
            let too_many = self.shell.too_many_requests(&self.peer);
            let too_much = self.shell.too_much_written();
            let too_large = self.shell.is_too_large(rest);
            let Some(client) = self.shell.clients.get(id) else {
                return bytes.len();
            };
            match client.phase {
                Phase::Closing(_) => return bytes.len(),
                Phase::Fresh(_) => {
                    match words::length(rest, &self.shell.config.words).map(|length| rest.get(..length)) {
                        Some(Some(word)) => {
                            self.say_word(id, word);
                            return bytes.len();
                        }
                        Some(None) => return taken,
                        None => {}
                    }
                }
                Phase::Open => {}
            }
            if client.waits(too_many, too_much) {
                client.stalled = true;
                return taken;
            }
            let fresh = client.phase != Phase::Open;
            let max = if fresh { max.min(FIRST_BYTES_MAX) } else { max };
            let payload = match record::frame(rest, max) {
                Ok(_) if too_large && !fresh => {
                    self.shell.stats.throttled.large += 1;
                    self.client_wrong(id, &TOO_LARGE);
                    return bytes.len();
                }
                Ok(None) => {
                    client.goes_on();
                    return taken;
                }
                Ok(Some(payload)) => payload,
                Err(error) => {
                    self.client_wrong(id, &error);
                    return bytes.len();
                }
            };
            let holds_much = too_much && !fresh && self.holds_much(id, payload.len());
            if holds_much || (!fresh && self.holds(id, clock.now)) {
                return taken;
            }
            taken += 4 + payload.len();
            let outcome = if fresh {
                self.connect_frame(id, payload, clock)
            } else {
                self.request_frame(id, payload, clock)
            };
            steps += 1;
            match outcome {
                Frame::Taken if !steps.is_multiple_of(STEPS_BETWEEN_LOOKS) || clock.now.elapsed() < SHARE => {
                }
                Frame::Taken | Frame::Long => {
                    if let Some(client) = self.shell.clients.get(id) {
                        client.stalled = true;
                    }
                    return taken;
                }
                Frame::Wrong(error) => {
                    self.client_wrong(id, &error);
                    return bytes.len();
                }
            }
        }
    }

    fn say_word(&mut self, id: ClientId, word: &[u8]) {
        if let Some(client) = self.shell.clients.get(id) {
            client.said_word = true;
        }
        let answer = self.word(word);
        if let Some(out) = self.shell.clients.buffer(id) {
            out.extend_from_slice(answer.as_bytes());
        }
        self.shell.clients.close(id);
    }

    fn connect_frame(&mut self, id: ClientId, payload: &[u8], clock: Clock) -> Frame {
        let request = match ConnectRequest::decode(payload, self.shell.config.frame_bytes_max) {
            Ok(request) => request,
            Err(error) => return Frame::Wrong(error),
        };
        if !self.shell.admits(request.session, clock.now) {
            self.shell.drop_client(id);
            return Frame::Taken;
        }
        let Some(client) = self.shell.clients.get(id) else {
            return Frame::Taken;
        };
        client.phase = Phase::Open;
        client.read_only = request.read_only;
        client.asked(Unanswered {
            came: clock.now,
            reads: false,
            counts: request.session == SessionId(0),
            nodes: Nodes::None,
            operation: opcode::CREATE_SESSION,
            xid: 0,
            large: 0,
            writes: 0,
            audited: None,
        });
        let mut identities = vec![Identity::ip(&net::java_ip(client.address.ip()))];
        identities.extend(client.certified.iter().cloned());
        if self.shell.config.audit.is_some() {
            client.who = Some(Box::new(Who::new(client.address.ip(), &identities)));
        }
        self.shell.stats.packets_received += 1;
        self.shell.stats.connection_requests += 1;
        self.step(Input::ClientConnect {
            client: id,
            identities,
            session: request.session,
            password: request.password,
            timeout_ms: request.timeout_ms,
            last_seen: request.last_seen,
            read_only: request.read_only.unwrap_or(false),
            time: clock.wall,
        });
        Frame::Taken
    }

    fn request_frame(&mut self, id: ClientId, payload: &[u8], clock: Clock) -> Frame {
        let mut input = Decoder::new(payload, self.shell.config.frame_bytes_max);
        let mut ahead = Decoder::new(payload, self.shell.config.frame_bytes_max);
        let decoded = match RequestHeader::decode(&mut ahead) {
            Ok(header) if header.operation == opcode::SASL => {
                decode_token(&mut ahead).map(|token| (header, self.shell.authenticate(id, token)))
            }
            _ => decode_request::<Tree>(&mut input),
        };
        let (header, request) = match decoded {
            Ok((header, request)) if self.shell.config.throttles.requests_max > 0 => {
                (header, self.shell.waited(id, request, clock.now))
            }
            Ok(request) => request,
            Err(error) => return Frame::Wrong(error),
        };
        // Text that is no UTF-8 grows threefold, and a leader breaks a link on which too much comes at once.
        let too_large = matches!(&request, ClientRequest::Write(write) if write.is_too_large());
        let refused = ClientRequest::Refused { code: ErrorCode::BadArguments, close: false };
        let request = if too_large { refused } else { request };
        if let ClientRequest::Authenticate(credential) = &request
            && let Some(client) = self.shell.clients.get(id)
            && !client.proofs.admit(credential)
        {
            return Frame::Wrong(TOO_MANY_PROOFS);
        }
        let large = self.shell.large_bytes(payload.len());
        let writes = self.shell.writes_bytes(id, &request, payload.len());
        let generation = self.shell.recorder.as_ref().map_or(0, |recorder| recorder.generation());
        let mut heard = false;
        if let Some(client) = self.shell.clients.get(id) {
            let settings = &self.shell.config.settings;
            if let ClientRequest::Authenticate(credential) = &request
                && credential.scheme == "ensemble"
                && let Some(sought) = sought(settings, &credential.bytes)
            {
                self.shell.stats.sought(sought);
            }
            heard = client.is_heard(generation);
            let audited = client.who.as_mut().and_then(|who| who.hears(settings, &request, header.operation));
            client.asked(Unanswered {
                came: clock.now,
                reads: matches!(request, ClientRequest::Read(_)),
                counts: !matches!(header.operation, opcode::AUTH | opcode::SASL),
                nodes: Nodes::of(&request, settings.enforce_quota),
                operation: header.operation,
                xid: header.xid,
                large,
                writes,
                audited,
            });
        }
        self.shell.stats.packets_received += 1;
        let changes_nothing = heard && only_asks(&request);
        let takes_long = matches!(&request, ClientRequest::Read(read) if read.takes_long());
        let input = Input::ClientRequest { client: id, xid: header.xid, request, time: clock.wall };
        if changes_nothing {
            self.step_unrecorded(input);
        } else {
            self.step(input);
        }
        self.shell.bound_unsent(id);
        if takes_long { Frame::Long } else { Frame::Taken }
    }

    fn client_wrong(&mut self, id: ClientId, error: &wire::Error) {
        if let Some(client) = self.shell.clients.get(id) {
            debug!(address = %client.address, %error, "a connection is closed: what came is wrong");
            if let Some(closed) = self.shell.seldom.clients.count(Instant::now()) {
                let address = client.address;
                warn!(closed, %address, %error, "connections of clients were closed: what came is wrong");
            }
        }
        self.shell.drop_client(id);
        self.settle();
    }

    fn client_gone(&mut self, id: ClientId, error: Option<io::Error>) {
        if let Some(client) = self.shell.clients.get(id) {
            self.shell.stats.connections_dropped += 1;
            if let Some(error) = error {
                debug!(address = %client.address, %error, "a connection broke");
            }
        }
        self.shell.drop_client(id);
        self.settle();
    }

    /// Drops connections whose session is over, or goes on elsewhere: as ZooKeeper does, when they were silent for its
    /// timeout, rounded up.
    pub(crate) fn drop_left(&mut self) {
        let more = Duration::from_millis(u64::from(self.shell.config.throttles.sessionless_max_ms));
        for id in self.shell.clients.left(Instant::now(), more) {
            self.shell.drop_client(id);
        }
        self.settle();
    }

    /// Drops connections that have said nothing for too long, and those that are over and do not take what is unsent.
    pub(crate) fn drop_silent(&mut self) {
        let now = Instant::now();
        let max = Duration::from_millis(u64::from(self.shell.config.throttles.sessionless_max_ms));
        for id in self.shell.clients.silent(now, max) {
            self.shell.stats.sessionless_expired += 1;
            self.shell.drop_client(id);
        }
        for id in self.shell.clients.lingering(now, CLOSING_MAX) {
            self.shell.drop_client(id);
        }
        self.settle();
    }
}
