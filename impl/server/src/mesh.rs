//! The election mesh: one connection for each pair of servers, dialled by the one with the larger id.
//!
//! A server with the smaller id that has something to say dials too, says who it is, and is called back. For each
//! server only the newest message counts: it replaces one that has not left, and it is sent again when a connection
//! is new. A connection that is refused or breaks is told to the peer, which need not wait for that server's vote.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use protocol::{Notification, peer::Input};
use spec::ServerId;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{AbortHandle, spawn_local},
};
use tracing::{debug, warn};
use wire::{
    Decoder, complete,
    notification::{Hello, Notice, frame},
};

use crate::{
    Config,
    core::{Core, Shared},
    link::{self, Port, refuse_stranger, silence_max},
    net::{self, Backoff},
    secure::Door,
    stream::{Reader, Writer},
};

/// A dial of the other end may have left so long before the connection with it was made.
const CROSSING_MAX: Duration = Duration::from_millis(500);

/// What this server has for another one.
#[derive(Debug, Default)]
struct Slot {
    /// The newest message, as it goes out.
    newest: Vec<u8>,
    unsent: bool,
    /// Whether it was said that this server cannot be reached, since it last could.
    told: bool,
    connection: Option<Connection>,
    dialing: bool,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    since: Instant,
    wake: Rc<Notify>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// This server's part of the mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    slots: BTreeMap<ServerId, Slot>,
    last_number: u64,
    config_text: String,
}

impl Mesh {
    pub(crate) fn new(config: &Config) -> Self {
        Self { slots: BTreeMap::new(), last_number: 0, config_text: config.ensemble_text() }
    }

    /// Has a message sent, now or when the server can be reached.
    pub(crate) fn post(
        &mut self,
        to: ServerId,
        notification: &Notification,
        config: &Rc<Config>,
        me: &Weak<RefCell<Core>>,
    ) {
        debug!(peer = %to, ?notification, "voting");
        let slot = self.slots.entry(to).or_default();
        slot.newest.clear();
        Notice::new(notification, self.config_text.as_bytes()).encode(&mut slot.newest);
        slot.unsent = true;
        match &slot.connection {
            Some(connection) => connection.wake.notify_one(),
            None => self.dial(to, config, me),
        }
    }

    fn dial(&mut self, to: ServerId, config: &Rc<Config>, me: &Weak<RefCell<Core>>) {
        let slot = self.slots.entry(to).or_default();
        if !slot.dialing {
            slot.dialing = true;
            spawn_local(dial(me.clone(), Rc::clone(config), to));
        }
    }

    /// Closes every connection: this server stops.
    pub(crate) fn close_all(&mut self) {
        self.slots.clear();
    }

    fn take_unsent(&mut self, to: ServerId) -> Option<Vec<u8>> {
        let slot = self.slots.get_mut(&to).filter(|slot| slot.unsent)?;
        slot.unsent = false;
        Some(slot.newest.clone())
    }
}

impl Core {
    /// A connection of the mesh is up, instead of an older one with the same server.
    fn mesh_connected(&mut self, with: ServerId, ends: (Reader, Writer)) {
        debug!(peer = %with, "an election connection is up");
        let mesh = &mut self.shell.mesh;
        mesh.last_number += 1;
        let number = mesh.last_number;
        let slot = mesh.slots.entry(with).or_default();
        slot.unsent = !slot.newest.is_empty();
        slot.told = false;
        let wake = Rc::new(Notify::new());
        wake.notify_one();
        let (reader, writer) = ends;
        let me = &self.shell.me;
        let tasks = vec![
            spawn_local(write(me.clone(), writer, Rc::clone(&wake), with, number)).abort_handle(),
            spawn_local(read(me.clone(), reader, with, number)).abort_handle(),
        ];
        slot.connection = Some(Connection { number, since: Instant::now(), wake, tasks });
    }

    fn mesh_lost(&mut self, with: ServerId, number: u64) {
        let Some(slot) = self.shell.mesh.slots.get_mut(&with) else {
            return;
        };
        if slot.connection.as_ref().is_some_and(|connection| connection.number == number) {
            slot.connection = None;
            debug!(peer = %with, "an election connection broke");
            self.step(Input::ElectionLinkDown(with));
        }
    }

    /// A message has come. Whether its connection still counts.
    fn mesh_heard(&mut self, from: ServerId, number: u64, notification: Notification) -> bool {
        let connection = self.shell.mesh.slots.get(&from).and_then(|slot| slot.connection.as_ref());
        if connection.is_none_or(|current| current.number != number) {
            return false;
        }
        debug!(peer = %from, ?notification, "a vote has come");
        self.step(Input::Notification { from, notification });
        true
    }

    /// A dial is over. Whether to dial again.
    fn mesh_dialled(&mut self, to: ServerId, outcome: std::io::Result<(Reader, Writer)>) -> bool {
        match outcome {
            Ok(ends) => {
                if let Some(slot) = self.shell.mesh.slots.get_mut(&to) {
                    slot.dialing = false;
                }
                // The larger id keeps the connection it has dialled; the smaller one is called back.
                if to < self.shell.config.me {
                    self.mesh_connected(to, ends);
                }
                false
            }
            Err(error) => {
                let slot = self.shell.mesh.slots.get(&to);
                // It may have dialled meanwhile.
                if slot.is_none_or(|slot| slot.connection.is_none()) {
                    self.tell_unreachable(to, &error);
                    self.step(Input::ElectionLinkDown(to));
                }
                self.mesh_dials_on(to)
            }
        }
    }

    /// A server that is not running is no news; one whose name or network is wrong is, once.
    fn tell_unreachable(&mut self, to: ServerId, error: &std::io::Error) {
        let slot = self.shell.mesh.slots.entry(to).or_default();
        if slot.told || error.kind() == std::io::ErrorKind::ConnectionRefused {
            debug!(peer = %to, %error, "cannot reach a server for an election");
        } else {
            slot.told = true;
            warn!(peer = %to, %error, "cannot reach a server for an election; trying on");
        }
    }

    /// Whether it is worth the while to go on dialling this server.
    fn mesh_dials_on(&mut self, to: ServerId) -> bool {
        let serving = self.shell.part.serving;
        let Some(slot) = self.shell.mesh.slots.get_mut(&to) else {
            return false;
        };
        slot.dialing = slot.connection.is_none() && slot.unsent && !serving;
        slot.dialing
    }
}

/// Dials a server until it answers, while there is something to tell it and this server does not serve.
async fn dial(me: Weak<RefCell<Core>>, config: Rc<Config>, to: ServerId) {
    let backoff = Backoff::new(Instant::now());
    loop {
        let outcome = greet(&me, &config, to).await;
        if !me.upgrade().is_some_and(|core| core.borrow_mut().mesh_dialled(to, outcome)) {
            return;
        }
        tokio::time::sleep(backoff.wait(Instant::now())).await;
        // It may have dialled meanwhile.
        if !me.upgrade().is_some_and(|core| core.borrow_mut().mesh_dials_on(to)) {
            return;
        }
    }
}

/// Dials, and says who this is. A server with a larger id hangs up then and calls back.
///
/// One that has just been killed may take the dial, too: its port goes a moment after its connections. Nobody calls
/// back then; the dial is reset.
async fn greet(me: &Weak<RefCell<Core>>, config: &Config, to: ServerId) -> std::io::Result<(Reader, Writer)> {
    let (Some(address), Some(own)) = (config.servers.get(&to), config.servers.get(&config.me)) else {
        return Err(std::io::ErrorKind::NotFound.into());
    };
    let wait_max = Duration::from_millis(u64::from(config.connect_timeout_ms));
    let (mut reader, writer) =
        link::call(me, config, &address.host, address.election_port).await?.into_split();
    let mut hello = Vec::new();
    Hello { sid: config.me, addresses: vec![own.election_address()] }.encode(&mut hello);
    writer.send_all(&hello).await?;
    if to > config.me {
        let hung_up = tokio::time::timeout(wait_max, reader.read_u8()).await;
        if let Ok(Err(error)) = hung_up
            && error.kind() != std::io::ErrorKind::UnexpectedEof
        {
            return Err(error);
        }
    }
    Ok((reader, writer))
}

/// Takes the dials of other servers.
pub(crate) async fn accept(core: Shared, listener: TcpListener, config: Rc<Config>) {
    let door = core.borrow().shell.tls.servers.clone();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if net::is_crowded(&stream, net::FILES_BESIDE_LINKS) => {
                core.borrow_mut().shell.out_of_files();
            }
            Ok((stream, _)) => {
                spawn_local(answer(Rc::downgrade(&core), stream, Rc::clone(&config), door.clone()));
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection for elections");
                if net::is_out_of_files(&error) {
                    core.borrow_mut().shell.out_of_files();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn answer(me: Weak<RefCell<Core>>, stream: TcpStream, config: Rc<Config>, door: Door) {
    let wait_max = Duration::from_millis(u64::from(config.connect_timeout_ms));
    if net::set_options(&stream, silence_max(&config)).is_err() {
        return;
    }
    let (mut reader, writer) = match link::answer(&door, stream, &config).await {
        Ok(stream) => stream.into_split(),
        Err(why) => return refuse_stranger(&me, Port::Election, &why),
    };
    let from = match tokio::time::timeout(wait_max, hello(&mut reader)).await {
        Ok(Ok(Some(from))) => from,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return refuse_stranger(&me, Port::Election, &error.to_string()),
        Err(_) => return refuse_stranger(&me, Port::Election, "it did not say who it is"),
    };
    if !config.servers.contains_key(&from) || from == config.me {
        return refuse_stranger(&me, Port::Election, &format!("server {from} is none of the ensemble"));
    }
    let Some(core) = me.upgrade() else { return };
    let mut core = core.borrow_mut();
    if from > config.me {
        core.mesh_connected(from, (reader, writer));
    } else {
        drop((reader, writer));
        let slot = core.shell.mesh.slots.entry(from).or_default();
        // Two that start at once dial each other. To drop the connection that answers this dial already would look
        // like a broken one.
        if slot.connection.as_ref().is_some_and(|connection| connection.since.elapsed() < CROSSING_MAX) {
            return;
        }
        // It does not know of a connection any more, if there is one.
        slot.connection = None;
        core.shell.mesh.dial(from, &config, &me);
    }
}

/// Reads who dials; nobody, if it hangs up before. Bytes behind it are left to the connection, and there are none
/// before an answer.
async fn hello(reader: &mut Reader) -> Result<Option<ServerId>, wire::Error> {
    let mut bytes = Vec::new();
    while let Ok(byte) = reader.read_u8().await {
        bytes.push(byte);
        if let Some(hello) = complete(Hello::decode(&mut Decoder::stream(&bytes)))? {
            return Ok(Some(hello.sid));
        }
    }
    Ok(None)
}

async fn write(me: Weak<RefCell<Core>>, writer: Writer, wake: Rc<Notify>, to: ServerId, number: u64) {
    loop {
        wake.notified().await;
        let Some(core) = me.upgrade() else { return };
        let message = core.borrow_mut().shell.mesh.take_unsent(to);
        drop(core);
        if let Some(message) = message
            && writer.send_all(&message).await.is_err()
        {
            break;
        }
    }
    if let Some(core) = me.upgrade() {
        core.borrow_mut().mesh_lost(to, number);
    }
}

async fn read(me: Weak<RefCell<Core>>, mut reader: Reader, from: ServerId, number: u64) {
    let mut input = BytesMut::new();
    while let Ok(1..) = reader.read_buf(&mut input).await {
        loop {
            let (notice, taken) = match frame(&input) {
                Ok(None) => break,
                Ok(Some(payload)) => (Notice::decode(payload), payload.len() + 4),
                Err(error) => (Err(error), 0),
            };
            let notification = match notice.and_then(|notice| notice.notification()) {
                Ok(notification) => notification,
                Err(error) => {
                    refuse_stranger(
                        &me,
                        Port::Election,
                        &format!("what server {from} sends is wrong: {error}"),
                    );
                    return lost(&me, from, number);
                }
            };
            input.advance(taken);
            let Some(core) = me.upgrade() else { return };
            let mut core = core.borrow_mut();
            if !core.mesh_heard(from, number, notification) {
                return;
            }
        }
    }
    lost(&me, from, number);
}

fn lost(me: &Weak<RefCell<Core>>, with: ServerId, number: u64) {
    if let Some(core) = me.upgrade() {
        core.borrow_mut().mesh_lost(with, number);
    }
}
