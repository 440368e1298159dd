//! Clients and what lies between them and their servers.

use std::collections::VecDeque;

use protocol::peer::Input;
use spec::{ClientId, SessionId};
use tree::Event;
use world::{Fault, HostEvent, Said};

use crate::{
    client::{Letter, Then},
    form::Form,
    node::server_id,
    plan::Act,
    run::Run,
    time::{Due, Time, ms},
};

/// How long a client waits for its session before it tries another server.
const CONNECT_MS: u64 = 2_000;
/// Requests that a client has under way at most.
const OUTSTANDING_MAX: usize = 6;
/// Deeds that wait for a session at most.
const WISHES_MAX: usize = 30;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection<F: Form> {
    client: usize,
    pub(crate) server: usize,
    /// The session, as far as the server knows it.
    session: SessionId,
    up: VecDeque<F::Up>,
    down: VecDeque<F::Down>,
    client_ear: F::Ear,
    server_ear: F::Ear,
    /// When the last of each arrives.
    last_up: Time,
    last_down: Time,
    /// Whether the client uses it.
    client_open: bool,
    /// Whether the server does.
    pub(crate) server_open: bool,
}

impl<F: Form> Run<'_, F> {
    /// How long something takes between a client and a server.
    pub(crate) fn client_latency(&mut self, client: usize) -> Time {
        let most = self.plan.tuning.latency_us.min(5_000);
        self.chances[client].within(50, most)
    }

    fn session_ms(&self) -> u64 {
        self.plan.tuning.session_ms.into()
    }

    /// A client looks around: it connects, gives up, pings, and does what it is to do.
    pub(crate) fn wake(&mut self, client: usize) {
        let wait = ms(self.session_ms() / 8) + self.chances[client].below(20_000);
        self.agenda.after(wait, Due::Wake { client });
        let now = self.agenda.now;
        let one = &self.clients[client];
        if now < one.quiet_until {
            return;
        }
        let late = one.waits_since().is_some_and(|since| now - since > ms(self.session_ms() * 2 / 3));
        match one.home {
            None => self.connect(client, None),
            Some(home) if !home.open && now - home.since > ms(CONNECT_MS) => self.hang_up(client, false),
            Some(_) if late => {
                self.coverage.met("request-timed-out");
                self.hang_up(client, false);
            }
            Some(home) if home.open => {
                self.act(client);
                if now - self.clients[client].spoke > ms(self.session_ms() / 3)
                    && self.clients[client].is_open()
                    && !self.clients[client].is_closing()
                {
                    let letter = self.clients[client].ping(now);
                    self.send_up(home.connection, letter);
                }
            }
            Some(_) => {}
        }
    }

    /// A client connects to a server, not to the one that it comes from.
    fn connect(&mut self, client: usize, from: Option<usize>) {
        let servers: Vec<_> = (0..self.nodes.len()).filter(|server| Some(*server) != from).collect();
        let server = match self.clients[client].probes {
            Some(server) => server,
            None => self.chances[client].pick(&servers),
        };
        self.connected += 1;
        let number = self.connected;
        let timeout_ms = i32::try_from(self.plan.tuning.session_ms).expect("a short time");
        let letter = self.clients[client].connect(number, server, timeout_ms, self.agenda.now);
        let connection = Connection {
            client,
            server,
            session: self.clients[client].session(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            client_ear: F::Ear::default(),
            server_ear: F::Ear::default(),
            last_up: 0,
            last_down: 0,
            client_open: true,
            server_open: true,
        };
        self.connections.insert(number, connection);
        self.tell(|| format!("client {client} connects to server {} (connection {number})", server + 1));
        self.send_up(number, letter);
    }

    /// A client leaves its connection; its server is told unless it is silent.
    fn hang_up(&mut self, client: usize, silent: bool) {
        let Some(home) = self.clients[client].home else { return };
        self.forget_unanswered(client);
        self.clients[client].lose();
        self.tell(|| format!("client {client} leaves connection {}", home.connection));
        let wait = self.client_latency(client);
        if let Some(connection) = self.connections.get_mut(&home.connection) {
            connection.client_open = false;
            if !silent {
                // What it has sent before is read before, or lost.
                self.agenda.after(wait, Due::Left { connection: home.connection });
            }
        }
    }

    fn forget_unanswered(&mut self, client: usize) {
        let writes = self.clients[client].unanswered_writes();
        self.unanswered.extend(writes);
    }

    /// A client does what it is to do, as far as it can.
    pub(crate) fn act(&mut self, client: usize) {
        let now = self.agenda.now;
        while let Some(home) = self.clients[client].home.filter(|home| home.open) {
            let (known, one) = (self.order.told, &mut self.clients[client]);
            if one.is_closing() || one.outstanding() >= OUTSTANDING_MAX || now < one.quiet_until {
                return;
            }
            if let Some(server) = one.probes {
                if !one.probed && one.outstanding() == 0 {
                    let letter = one.probe_write(server + 1, known, now);
                    self.send_up(home.connection, letter);
                }
                return;
            }
            if one.outstanding() == 0 && !self.order.has_root() && !home.read_only {
                let letter = one.create_root(known, now);
                return self.send_up(home.connection, letter);
            }
            let Some(act) = one.wishes.pop_front() else { return };
            self.do_now(client, act, home);
        }
    }

    fn do_now(&mut self, client: usize, act: Act, home: crate::client::Home) {
        let (known, now) = (self.order.told, self.agenda.now);
        match act {
            Act::Move => {
                self.hang_up(client, false);
                self.connect(client, Some(home.server));
            }
            Act::Die { ms: away, silent } => {
                self.hang_up(client, silent);
                self.clients[client].quiet_until = now + ms(away);
            }
            Act::Idle { ms: away } => self.clients[client].quiet_until = now + ms(away),
            Act::Set { .. }
            | Act::Create { .. }
            | Act::Delete { .. }
            | Act::Lock { .. }
            | Act::Enqueue
            | Act::Multi { .. }
            | Act::Get { .. }
            | Act::Exists { .. }
            | Act::List { .. }
            | Act::Sync
            | Act::Close => {
                let letter = self.clients[client].request(act, client, known, now);
                if let Some(letter) = letter {
                    self.send_up(home.connection, letter);
                }
            }
        }
    }

    /// A deed of the plan is due.
    pub(crate) fn on_deed(&mut self, place: usize) {
        let deed = &self.plan.deeds[place];
        let client = usize::from(deed.client);
        if self.healed.is_some() || self.clients[client].wishes.len() >= WISHES_MAX {
            return;
        }
        self.clients[client].wishes.push_back(deed.what);
        self.act(client);
    }

    /// A client sends.
    fn send_up(&mut self, connection: u64, letter: Letter) {
        let Some(found) = self.connections.get_mut(&connection) else { return };
        let client = found.client;
        for piece in self.form.ask(&mut found.client_ear, letter) {
            let wait = self.client_latency(client);
            if let Some(found) = self.connections.get_mut(&connection) {
                found.up.push_back(piece);
                found.last_up = (self.agenda.now + wait).max(found.last_up + 1);
                self.agenda.at(found.last_up, Due::Letter { connection });
            }
        }
    }

    /// A server sends.
    pub(crate) fn send_down(&mut self, connection: u64, said: Said<Event>) {
        let told = match &said {
            Said::Accepted { session, .. } => Some(*session),
            Said::Refused | Said::Closed | Said::Reply { .. } | Said::Event { .. } => None,
        };
        let ends = matches!(said, Said::Refused | Said::Closed);
        for piece in self.form.tell(said) {
            self.send_piece_down(connection, piece);
        }
        if let Some(found) = self.connections.get_mut(&connection).filter(|found| found.server_open) {
            found.session = told.unwrap_or(found.session);
            found.server_open = !ends;
        }
    }

    fn send_piece_down(&mut self, connection: u64, piece: F::Down) {
        let Some(client) = self.connections.get(&connection).map(|found| found.client) else { return };
        let wait = self.client_latency(client);
        if let Some(found) = self.connections.get_mut(&connection).filter(|found| found.server_open) {
            found.down.push_back(piece);
            found.last_down = (self.agenda.now + wait).max(found.last_down + 1);
            self.agenda.at(found.last_down, Due::Hear { connection });
        }
    }

    /// A server reads what a client has sent.
    pub(crate) fn on_letter(&mut self, connection: u64, due: &Due) -> Result<(), Fault> {
        let Some(found) = self.connections.get(&connection) else { return Ok(()) };
        let (server, client, open) = (found.server, found.client, found.server_open);
        if !open {
            return Ok(());
        }
        if self.is_down(server) {
            let wait = self.client_latency(client);
            self.agenda.after(wait, Due::Lost { connection });
            return Ok(());
        }
        if self.waits(server, due) {
            return Ok(());
        }
        let Some(found) = self.connections.get_mut(&connection) else { return Ok(()) };
        let Some(piece) = found.up.pop_front() else { return Ok(()) };
        for letter in self.form.read(&mut found.server_ear, piece)? {
            self.read_letter(connection, server, letter)?;
        }
        Ok(())
    }

    fn read_letter(&mut self, connection: u64, server: usize, letter: Letter) -> Result<(), Fault> {
        if !self.connections.get(&connection).is_some_and(|found| found.server_open) {
            return Ok(());
        }
        self.tell(|| format!("server {} reads {letter:?} on connection {connection}", server + 1));
        let time = self.nodes[server].wall_clock(self.agenda.now);
        let client = ClientId(connection);
        let input = match letter {
            Letter::Connect { session, password, seen, timeout_ms, read_only } => {
                let (identities, last_seen) = (Vec::new(), seen);
                Input::ClientConnect {
                    client,
                    identities,
                    session,
                    password,
                    timeout_ms,
                    last_seen,
                    read_only,
                    time,
                }
            }
            Letter::Request(xid, request) => Input::ClientRequest { client, xid, request, time },
        };
        self.step(server, HostEvent::Input(input))?;
        // One that was turned away at once was not heard of.
        let stays = self.connections.get(&connection).filter(|found| found.server_open);
        if let Some(session) = stays.map(|found| found.session)
            && self.nodes[server].host.leads()
        {
            self.order.heard_of(server_id(server), session);
        }
        Ok(())
    }

    /// A client reads what a server has told it.
    pub(crate) fn on_hear(&mut self, connection: u64) -> Result<(), Fault> {
        let Some(found) = self.connections.get_mut(&connection) else { return Ok(()) };
        let (client, open) = (found.client, found.client_open);
        let Some(piece) = found.down.pop_front().filter(|_| open) else { return Ok(()) };
        for said in self.form.hear(&mut found.client_ear, piece)? {
            self.hear_said(connection, client, said)?;
        }
        Ok(())
    }

    fn hear_said(&mut self, connection: u64, client: usize, said: Said<Event>) -> Result<(), Fault> {
        if !self.connections.get(&connection).is_some_and(|found| found.client_open) {
            return Ok(());
        }
        self.tell(|| format!("client {client} is told {said:?} on connection {connection}"));
        if matches!(said, Said::Closed) {
            self.forget_unanswered(client);
        }
        let mut says = Vec::new();
        let now = self.agenda.now;
        let one = &mut self.clients[client];
        let then = one.hear(&said, &mut self.order, &mut self.coverage, now, &mut says)?;
        for letter in says {
            self.send_up(connection, letter);
        }
        match then {
            Then::Stay => self.act(client),
            Then::Leave => {
                let wait = self.client_latency(client);
                if let Some(found) = self.connections.get_mut(&connection) {
                    found.client_open = false;
                    if found.server_open {
                        self.agenda.after(wait, Due::Left { connection });
                    }
                }
            }
        }
        Ok(())
    }

    /// A server notices that a client is gone.
    pub(crate) fn on_left(&mut self, connection: u64, due: &Due) -> Result<(), Fault> {
        let Some(found) = self.connections.get(&connection) else { return Ok(()) };
        let (server, open) = (found.server, found.server_open);
        if !open || self.is_down(server) || self.waits(server, due) {
            return Ok(());
        }
        if let Some(found) = self.connections.get_mut(&connection) {
            found.server_open = false;
        }
        self.tell(|| format!("server {} loses connection {connection}", server + 1));
        self.step(server, HostEvent::Input(Input::ClientClosed(ClientId(connection))))
    }

    /// A client notices that its connection is gone.
    pub(crate) fn lose_connection(&mut self, connection: u64) {
        let Some(found) = self.connections.get_mut(&connection) else { return };
        let client = found.client;
        if std::mem::replace(&mut found.client_open, false) {
            self.tell(|| format!("client {client} loses connection {connection}"));
            self.coverage.met("connection-lost");
            self.forget_unanswered(client);
            self.clients[client].lose();
        }
    }

    /// The process of a server is gone, and its connections with it.
    pub(crate) fn cut_clients(&mut self, server: usize) {
        let open = |found: &Connection<F>| found.server == server && found.server_open;
        let cut: Vec<_> = self
            .connections
            .iter_mut()
            .filter(|(_, found)| open(found))
            .map(|(number, found)| {
                found.server_open = false;
                (*number, found.client)
            })
            .collect();
        for (connection, client) in cut {
            let wait = self.client_latency(client);
            self.agenda.after(wait, Due::Lost { connection });
        }
    }
}
