//! The other ends of a server's connections: its clients, its learners or its leader, and the other voters.
//!
//! They do nothing by themselves. What a server sends is taken off its sockets whenever they are looked at, decoded,
//! and kept by connection until it is compared.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use protocol::{Notification, peer::ClientRequest};
use socket2::{Domain, SockRef, Socket, Type};
use spec::{ClientId, ServerId, Zxid};
use storage::snapshot::{put_head, put_node};
use tree::{Progress, Tree, TreeBuilder, Walk};
use wire::{
    Decoder,
    client::{ConnectRequest, ConnectResponse, Reply, Response, put_request},
    complete,
    notification::{Hello, Notice, frame},
    peer::{QuorumPacket, Received, Sender, decode, measure, put_packet, put_snap},
    record,
    snapshot::{self, Piece, put_end, put_signature},
};

use crate::expected::{Frame, Told, operation_of};

/// The longest frame or field that is taken, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// One connection, as seen from here.
#[derive(Debug)]
struct Socketed {
    stream: TcpStream,
    input: Vec<u8>,
    ended: bool,
}

impl Socketed {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), ended: false })
    }

    /// Connects to a server of this machine, which listens.
    fn dial(to: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(to)?)
    }

    /// Leaves nothing behind: the system remembers each of thousands of connections for a minute otherwise, and looks
    /// through those of an address whenever a server binds it.
    fn forget(&self) {
        // One that is remembered costs time, no more.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Takes what has come.
    fn take(&mut self) {
        let mut piece = [0; 2 << 10];
        while !self.ended {
            match self.stream.read(&mut piece) {
                Ok(0) => self.ended = true,
                Ok(count) => self.input.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
    }

    /// What is said here is short, and fits into what a socket holds.
    fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).context("a connection does not take what is said to the server")
    }
}

/// One link, as seen from here.
#[derive(Debug)]
struct LinkEnd {
    socket: Socketed,
    frames: Vec<Frame>,
}

/// A client's connection.
#[derive(Debug)]
struct ClientEnd {
    socket: Socketed,
    told: Vec<Told>,
    greeted: bool,
    /// The answers among them: xid, zxid, error and body, which is read when it is known how.
    bodies: Vec<(i32, Zxid, i32, Vec<u8>)>,
}

/// A voter.
#[derive(Debug)]
struct VoterEnd {
    listener: TcpListener,
    /// Connections that have not said who they are.
    strangers: Vec<Socketed>,
    socket: Option<Socketed>,
    votes: Vec<Notification>,
}

/// Everything around one server.
#[derive(Debug)]
pub struct Ends {
    me: ServerId,
    voters: BTreeMap<ServerId, VoterEnd>,
    links: BTreeMap<ServerId, LinkEnd>,
    /// Links whose learners have dialled anew, which have not ended: the server says nothing there any more.
    former: Vec<(ServerId, LinkEnd)>,
    /// Who listens for a dial of the server.
    doors: BTreeMap<ServerId, TcpListener>,
    clients: BTreeMap<ClientId, ClientEnd>,
}

/// Listens where a connection of the last server may not be forgotten yet.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn accepted(listener: &TcpListener) -> io::Result<Option<Socketed>> {
    match listener.accept() {
        Ok((stream, _)) => Socketed::new(stream).map(Some),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Ends {
    /// The voters beside this server listen; nothing is connected.
    ///
    /// # Errors
    /// If an address is taken.
    pub fn new(
        me: ServerId,
        voters: impl IntoIterator<Item = (ServerId, SocketAddr)>,
    ) -> anyhow::Result<Self> {
        let mut ends = Self {
            me,
            voters: BTreeMap::new(),
            links: BTreeMap::new(),
            former: Vec::new(),
            doors: BTreeMap::new(),
            clients: BTreeMap::new(),
        };
        for (id, address) in voters {
            let listener = listen(address).with_context(|| format!("listening on {address}"))?;
            let voter = VoterEnd { listener, strangers: Vec::new(), socket: None, votes: Vec::new() };
            ends.voters.insert(id, voter);
        }
        Ok(ends)
    }

    /// Every other voter that has no connection makes itself known to the server, which listens here. Smaller ids are called back.
    ///
    /// # Errors
    /// If it does not.
    pub fn introduce_voters(&mut self, server: SocketAddr) -> anyhow::Result<()> {
        for (id, voter) in &mut self.voters {
            if voter.socket.is_some() {
                continue;
            }
            let mut socket = Socketed::dial(server).context("dialling the election port")?;
            let mut hello = Vec::new();
            Hello { sid: *id, addresses: vec![voter.listener.local_addr()?.to_string()] }.encode(&mut hello);
            socket.say(&hello)?;
            if *id > self.me {
                voter.socket = Some(socket);
            } else {
                // It hangs up and calls back.
                voter.strangers.push(socket);
            }
        }
        Ok(())
    }

    /// Whether every voter has its connection.
    pub fn are_voters_up(&self) -> bool {
        self.voters.values().all(|voter| voter.socket.is_some())
    }

    /// The election connection with this voter is gone.
    pub fn break_voter(&mut self, id: ServerId) {
        if let Some(voter) = self.voters.get_mut(&id) {
            voter.socket = None;
        }
    }

    /// Takes what the server has sent, on every connection.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub fn take(&mut self) -> anyhow::Result<()> {
        for (id, voter) in &mut self.voters {
            voter.take(*id, self.me).with_context(|| format!("on the election connection of {id}"))?;
        }
        for (id, link) in &mut self.links {
            link.take().with_context(|| format!("on the link with {id}"))?;
        }
        for (id, link) in &mut self.former {
            link.take().with_context(|| format!("on the former link with {id}"))?;
            let frames = &link.frames;
            ensure!(frames.is_empty(), "on the former link with {id} the server goes on: {frames:?}");
        }
        self.former.retain(|(_, link)| !link.socket.ended);
        let mut waiting = BTreeMap::new();
        for (id, door) in std::mem::take(&mut self.doors) {
            match accepted(&door)? {
                Some(socket) => {
                    self.links.insert(id, LinkEnd { socket, frames: Vec::new() });
                }
                None => {
                    waiting.insert(id, door);
                }
            }
        }
        self.doors = waiting;
        for (id, client) in &mut self.clients {
            client.take().with_context(|| format!("on connection {} of a client", id.0))?;
        }
        Ok(())
    }

    /// This server takes a dial from now on, once.
    ///
    /// # Errors
    /// If its address is taken.
    pub fn open_door(&mut self, id: ServerId, address: SocketAddr) -> anyhow::Result<()> {
        let door = listen(address).with_context(|| format!("listening on {address}"))?;
        self.doors.insert(id, door);
        Ok(())
    }

    /// Whether there is a link with this server, as far as it has not ended.
    pub fn has_link(&self, id: ServerId) -> bool {
        self.links.get(&id).is_some_and(|link| !link.socket.ended)
    }

    /// A learner dials the server, which listens here. It says nothing yet. A link that it has stays as it is.
    ///
    /// # Errors
    /// If it is refused.
    pub fn dial_link(&mut self, id: ServerId, server: SocketAddr) -> anyhow::Result<()> {
        let socket = Socketed::dial(server).context("dialling the quorum port")?;
        let before = self.links.insert(id, LinkEnd { socket, frames: Vec::new() });
        self.former.extend(before.map(|link| (id, link)));
        Ok(())
    }

    /// The other end of a link says something.
    ///
    /// # Errors
    /// If it cannot.
    pub fn say_on_link(&mut self, id: ServerId, frame: &Frame) -> anyhow::Result<()> {
        let mut out = Vec::new();
        match frame {
            Frame::Packet(packet) => {
                put_packet(packet, Sender { sid: id, config: &[], config_version: 0 }, &mut out);
            }
            Frame::Snapshot { last, state } => put_state(*last, state, &mut out),
        }
        let link = self.links.get_mut(&id).with_context(|| format!("there is no link with {id}"))?;
        link.socket.say(&out)
    }

    /// The other end of a link is gone. Whether there was one.
    pub fn break_link(&mut self, id: ServerId) -> bool {
        self.links.remove(&id).is_some()
    }

    /// A voter says something.
    ///
    /// # Errors
    /// If it cannot.
    pub fn vote(&mut self, from: ServerId, notification: &Notification) -> anyhow::Result<()> {
        let mut out = Vec::new();
        Notice::new(notification, b"").encode(&mut out);
        let voter = self.voters.get_mut(&from).with_context(|| format!("{from} is no voter"))?;
        voter.socket.as_mut().context("an election connection is down")?.say(&out)
    }

    /// A client connects to the server, which listens here, and says this.
    ///
    /// # Errors
    /// If it is refused.
    pub fn connect_client(
        &mut self,
        id: ClientId,
        server: SocketAddr,
        request: &ConnectRequest,
    ) -> anyhow::Result<()> {
        let mut socket = Socketed::dial(server).context("dialling the client port")?;
        let mut out = Vec::new();
        request.encode(&mut out);
        socket.say(&out)?;
        let client = ClientEnd { socket, told: Vec::new(), greeted: false, bodies: Vec::new() };
        self.clients.insert(id, client);
        Ok(())
    }

    /// Whether this connection is open, as far as is known here.
    pub fn has_client(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| !client.socket.ended)
    }

    /// A client asks.
    ///
    /// # Errors
    /// If it cannot.
    pub fn ask(&mut self, id: ClientId, xid: i32, request: &ClientRequest<Tree>) -> anyhow::Result<()> {
        let mut out = Vec::new();
        put_request(xid, request, &mut out)?;
        let client = self.clients.get_mut(&id).context("there is no such connection")?;
        client.socket.say(&out)
    }

    /// A client hangs up.
    pub fn hang_up(&mut self, id: ClientId) {
        self.clients.remove(&id);
    }

    /// What has come on each link and was not fetched, without what is empty.
    pub fn fetch_frames(&mut self) -> BTreeMap<ServerId, Vec<Frame>> {
        let take = |(id, link): (&ServerId, &mut LinkEnd)| (*id, std::mem::take(&mut link.frames));
        self.links.iter_mut().map(take).filter(|(_, frames)| !frames.is_empty()).collect()
    }

    /// What has come from the server's election and was not fetched, by receiver.
    pub fn fetch_votes(&mut self) -> BTreeMap<ServerId, Vec<Notification>> {
        let take = |(id, voter): (&ServerId, &mut VoterEnd)| (*id, std::mem::take(&mut voter.votes));
        self.voters.iter_mut().map(take).filter(|(_, votes)| !votes.is_empty()).collect()
    }

    /// What clients were told and was not fetched. `expected` says how to read the bodies of answers.
    ///
    /// # Errors
    /// If an answer cannot be read that way.
    pub fn fetch_told(
        &mut self,
        expected: &BTreeMap<ClientId, Vec<Told>>,
    ) -> anyhow::Result<BTreeMap<ClientId, Vec<Told>>> {
        let mut all = BTreeMap::new();
        for (id, client) in &mut self.clients {
            let mut told = std::mem::take(&mut client.told);
            let mut bodies = std::mem::take(&mut client.bodies).into_iter();
            let wanted = expected.get(id).map_or(&[][..], Vec::as_slice);
            for (place, one) in told.iter_mut().enumerate() {
                if matches!(one, Told::Reply { .. }) {
                    let (xid, zxid, error, bytes) = bodies.next().context("a reply has its body")?;
                    let operation = match wanted.get(place) {
                        Some(Told::Reply { body, .. }) => operation_of(body),
                        Some(Told::Session { .. } | Told::Event { .. }) | None => 0,
                    };
                    *one = Told::Reply { xid, zxid, error, body: read_body(&bytes, operation)? };
                }
            }
            if !told.is_empty() {
                all.insert(*id, told);
            }
        }
        Ok(all)
    }

    /// How much has come and was not fetched: on links, from elections, for clients.
    pub fn counts(&self) -> Counts {
        Counts {
            frames: self.links.iter().map(|(id, link)| (*id, link.frames.len())).collect(),
            votes: self.voters.iter().filter_map(|(id, v)| Some((*id, *v.votes.last()?))).collect(),
            told: self.clients.iter().map(|(id, client)| (*id, client.told.len())).collect(),
        }
    }

    /// Whether the server has ended the link with this server, or there is none.
    pub fn is_link_over(&self, id: ServerId) -> bool {
        !self.has_link(id)
    }

    /// Forgets links and connections that the server has ended and that were expected to end.
    pub fn forget(&mut self, links: &[ServerId], clients: &[ClientId]) {
        for id in links {
            self.links.remove(id).iter().for_each(|link| link.socket.forget());
        }
        for id in clients {
            self.clients.remove(id).iter().for_each(|client| client.socket.forget());
        }
    }

    /// Links and connections that have ended.
    pub fn ended(&self) -> (Vec<ServerId>, Vec<ClientId>) {
        let links = self.links.iter().filter(|(_, link)| link.socket.ended).map(|(id, _)| *id);
        let clients = self.clients.iter().filter(|(_, one)| one.socket.ended).map(|(id, _)| *id);
        (links.collect(), clients.collect())
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let links = self.links.values().chain(self.former.iter().map(|(_, link)| link));
        let strangers = self.voters.values().flat_map(|voter| voter.strangers.iter().chain(&voter.socket));
        let clients = self.clients.values().map(|client| &client.socket);
        links.map(|link| &link.socket).chain(strangers).chain(clients).for_each(Socketed::forget);
    }
}

/// How much has come.
#[derive(Debug)]
pub struct Counts {
    /// Frames, by link.
    pub frames: BTreeMap<ServerId, usize>,
    /// The newest vote, by receiver.
    pub votes: BTreeMap<ServerId, Notification>,
    /// What clients were told, by connection.
    pub told: BTreeMap<ClientId, usize>,
}

fn read_body(bytes: &[u8], operation: i32) -> anyhow::Result<Response> {
    let reply = Reply { xid: 0, zxid: Zxid::ZERO, error: 0, body: Decoder::new(bytes, BYTES_MAX) };
    if bytes.is_empty() {
        return Ok(Response::Empty);
    }
    let mut response = reply.response(operation).context("an answer cannot be read as such")?;
    if let Response::Children(names) | Response::Children2(names, _) = &mut response {
        names.sort_unstable();
    }
    ensure!(response != Response::Empty, "{} bytes follow where nothing should", bytes.len());
    Ok(response)
}

impl VoterEnd {
    fn take(&mut self, me: ServerId, server: ServerId) -> anyhow::Result<()> {
        if self.socket.is_none() {
            while let Some(socket) = accepted(&self.listener)? {
                self.strangers.push(socket);
            }
        }
        for mut socket in std::mem::take(&mut self.strangers) {
            socket.take();
            let mut decoder = Decoder::stream(&socket.input);
            let hello = complete(Hello::decode(&mut decoder))?;
            let behind = socket.input.len() - decoder.rest().len();
            match hello {
                // The larger id keeps what it has dialled; a smaller one is called back, as happened at the start.
                Some(hello) if server > me => {
                    ensure!(hello.sid == server, "{} says that it is {}", server, hello.sid);
                    // Its newest message may be there already.
                    socket.input.drain(..behind);
                    self.socket = Some(socket);
                }
                Some(_) => {}
                // It hung up, to call back.
                None if socket.ended => socket.forget(),
                None => self.strangers.push(socket),
            }
        }
        let Some(socket) = &mut self.socket else { return Ok(()) };
        socket.take();
        while let Some(payload) = frame(&socket.input)? {
            let taken = payload.len() + 4;
            self.votes.push(Notice::decode(payload)?.notification()?);
            socket.input.drain(..taken);
        }
        ensure!(!socket.ended, "the server has ended it");
        Ok(())
    }
}

impl LinkEnd {
    fn take(&mut self) -> anyhow::Result<()> {
        self.socket.take();
        let input = &mut self.socket.input;
        while let Some(length) = measure(input)? {
            let bytes = Bytes::copy_from_slice(&input[..length]);
            let packet = QuorumPacket::decode(&mut Decoder::shared(&bytes, BYTES_MAX))?;
            let (frame, taken) = match decode::<Tree>(&packet)? {
                Received::Packet(packet) | Received::Introduction { packet, .. } => {
                    (Frame::Packet(packet), length)
                }
                Received::Snap { last } => match state(last, &input[length..])? {
                    Some((state, bytes)) => {
                        (Frame::Snapshot { last, state: Box::new(state) }, length + bytes)
                    }
                    None => return Ok(()),
                },
            };
            self.frames.push(frame);
            input.drain(..taken);
        }
        Ok(())
    }
}

/// The state at the front of a stream, and how many bytes it takes; none while it is not whole.
fn state(last: Zxid, input: &[u8]) -> anyhow::Result<Option<(Tree, usize)>> {
    let (mut pieces, mut builder) = (snapshot::Reader::new(), TreeBuilder::new());
    let mut decoder = Decoder::stream(input);
    loop {
        match pieces.next(&mut decoder)? {
            None => return Ok(None),
            Some(Piece::Session { session, timeout_ms }) => builder.session(session, timeout_ms),
            Some(Piece::Acl { key, acl }) => builder.acl(key, &acl),
            Some(Piece::Node { path, data, acl, stat }) => {
                builder.node(path.as_str(), data.as_deref(), acl, stat)?;
            }
            Some(Piece::End) => break,
        }
    }
    if complete(snapshot::signature(&mut decoder))?.is_none() {
        return Ok(None);
    }
    Ok(Some((builder.finish(last)?, input.len() - decoder.rest().len())))
}

/// A state as a leader sends it.
fn put_state(last: Zxid, state: &Tree, out: &mut Vec<u8>) {
    let mut state = state.clone();
    let mut walk = Walk::start(&mut state);
    put_snap(last, out);
    put_head(&walk, out);
    loop {
        let progress = walk.next(&mut state, BYTES_MAX, &mut |node| put_node(node, out));
        match progress.expect("the walk is this tree's") {
            Progress::More => {}
            Progress::Done => break,
        }
    }
    put_end(out);
    put_signature(out);
}

impl ClientEnd {
    fn take(&mut self) -> anyhow::Result<()> {
        self.socket.take();
        let input = &mut self.socket.input;
        while let Some(payload) = record::frame(input, BYTES_MAX)? {
            let taken = payload.len() + 4;
            if std::mem::replace(&mut self.greeted, true) {
                let reply = Reply::decode(Decoder::new(payload, BYTES_MAX))?;
                if let Some((kind, path)) = reply.event()? {
                    if reply.error != 0 {
                        bail!("an event has error {}", reply.error);
                    }
                    self.told.push(Told::Event { zxid: reply.zxid, kind, path });
                } else {
                    let Reply { xid, zxid, error, body } = reply;
                    self.bodies.push((xid, zxid, error, body.rest().to_vec()));
                    self.told.push(Told::Reply { xid, zxid, error, body: Response::Empty });
                }
            } else {
                let ConnectResponse { timeout_ms, session, password, read_only, .. } =
                    ConnectResponse::decode(payload)?;
                let read_only = read_only == Some(true);
                self.told.push(Told::Session { session, timeout_ms, password, read_only });
            }
            input.drain(..taken);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Message, peer::Packet};

    use super::*;

    #[test]
    fn a_server_that_goes_on_where_it_was_left_is_noticed() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("it is bound");
        let mut ends = Ends::new(ServerId(1), []).expect("nobody else is there");
        ends.dial_link(ServerId(2), address).expect("it listens");
        let (mut former, _) = server.accept().expect("it was dialled");
        ends.dial_link(ServerId(2), address).expect("it listens");
        let (_, _) = server.accept().expect("it was dialled anew");
        ends.take().expect("nothing is said");
        let mut out = Vec::new();
        let packet: Packet<Tree> = Packet::Zab(Message::UpToDate);
        put_packet(&packet, Sender { sid: ServerId(1), config: &[], config_version: 0 }, &mut out);
        former.write_all(&out).expect("there is room");
        let noticed = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            ends.take().err()
        });
        assert!(format!("{noticed:?}").contains("on the former link with 2"), "{noticed:?}");
    }
}
