//! The local graph: every distinct step of one server that exhausted searches have taken.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    hash::Hash,
    ops::Range,
    sync::Arc,
};

use anyhow::{Context, anyhow, ensure};
use checker::{
    election::Election,
    engine::{
        Model,
        search::{End, Limits, Options, Search},
    },
    peer::{self, Peer, Subject},
    rows::{Row, Setup},
    session::{self, Session},
    zab::Zab,
};
use protocol::{
    Message,
    peer::{ClientRequest, Input, Packet},
};
use spec::ServerId;
use tree::{Identity, Settings, Tree, Txn};
use world::{Fault, Host, HostEvent, Left, NetChange, Pace, Replica, Wire};
use xxhash_rust::xxh3::Xxh3;

use crate::{elections, oracles};

/// Why no walk takes a step between a learner's link and its first packet.
pub const LATE: &str = "the shell tells of a learner's link with its first packet, not before";

/// Why no walk takes a step of an exchange of SASL, nor what only such a step leads to.
pub const EXCHANGED: &str = "a server makes that of an exchange of SASL, which is not played";

/// What tells servers apart: a hash of everything about one, wide enough that none of millions share it.
pub type Print = u128;

/// The print of a server.
pub fn print<M: Replica>(host: &Host<M>) -> Print {
    print_of(host)
}

/// A server as it starts for the first time, over what is on its disk.
#[derive(Clone, Debug)]
pub struct Root {
    /// How many servers its ensemble has, with those that observe: they count up from 1.
    pub servers: usize,
    /// What shapes its actor.
    pub config: protocol::peer::Config<Settings>,
    /// How long its disk takes.
    pub pace: Pace,
    /// What is on its disk.
    pub left: Left<Txn, Arc<Tree>>,
}

impl Root {
    /// That of a server, one of so many, which has started over nothing but this state.
    fn of(host: &Host<Tree>, servers: usize) -> anyhow::Result<Self> {
        let (recovered, state) = host.recovered().map_err(broken)?;
        let left = Left {
            snapshot: Some((recovered.last, Arc::new(state))),
            log: Vec::new(),
            accepted: recovered.accepted,
            current: recovered.current,
        };
        Ok(Self { servers, config: host.config().clone(), pace: host.pace(), left })
    }

    /// The server.
    ///
    /// # Errors
    /// If its start breaks a rule.
    pub fn boot(&self) -> anyhow::Result<Host<Tree>> {
        Host::over(self.config.clone(), self.pace, &self.left, None).map_err(broken)
    }
}

/// The steps of one search.
#[derive(Debug)]
pub struct Steps {
    /// Its model.
    pub model: &'static str,
    /// Its row.
    pub row: &'static str,
    /// What of the graph it has brought.
    pub edges: Range<usize>,
    /// For each step of the model, if its servers are no whole peers: what the step comes to for one.
    pub parts: Option<Vec<elections::Part>>,
}

/// A step.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// The server before, by number.
    pub from: u32,
    /// Behind.
    pub to: u32,
    /// What happens to it, by number.
    pub event: u32,
    /// The learner whose link is up and taken, but has said nothing. The shell tells of it with its first packet.
    pub silent: Option<ServerId>,
}

/// All steps.
#[derive(Debug, Default)]
pub struct Graph {
    numbers: HashMap<Print, u32>,
    prints: Vec<Print>,
    events: Vec<HostEvent<Tree>>,
    event_numbers: HashMap<HostEvent<Tree>, u32>,
    /// The steps.
    pub edges: Vec<Edge>,
    known: HashMap<(u32, u32), u32>,
    /// Servers as they start for the first time.
    pub roots: Vec<(u32, Root)>,
    /// The searches that the steps are from.
    pub searches: Vec<Steps>,
}

impl Graph {
    /// Adds the steps of a row, and tells how many there are as it goes.
    ///
    /// # Errors
    /// If a search breaks a rule or is cut: its steps are not all there are.
    pub fn add_row(&mut self, row: &Row, tell: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
        let (before, mut parts) = (self.edges.len(), None);
        tell(before);
        match &row.setup {
            Setup::Session(bounds) => {
                for script in bounds.scripts() {
                    self.add(&Session::new(script)).context(row.name)?;
                    tell(self.edges.len());
                }
            }
            Setup::Peer(bounds) => self.add_peers(&Peer::new(bounds.clone())).context(row.name)?,
            Setup::Election(config) => {
                let model = Election::new(config.clone());
                parts = Some(elections::add(self, &model).context(row.name)?);
            }
            Setup::Zab(bounds) => {
                let model = Zab::new(bounds.clone());
                parts = Some(oracles::add(self, &model).context(row.name)?);
            }
        }
        let edges = before..self.edges.len();
        self.searches.push(Steps { model: row.setup.model(), row: row.name, edges, parts });
        Ok(())
    }

    /// Adds the steps of one search of the `session` model.
    ///
    /// # Errors
    /// As [`Graph::add_row`].
    pub fn add(&mut self, model: &Session) -> anyhow::Result<()> {
        use session::{Change, Part, Yield};
        let (mut hosts, coming_up) = model.coming_up();
        for host in &hosts {
            self.root(Root::of(host, hosts.len())?, host);
        }
        for (slot, event) in coming_up {
            let before = print(&hosts[*slot]);
            let happened = hosts[*slot].step(event).map_err(broken)?;
            self.step(before, event, print(&hosts[*slot]), &happened.net);
        }
        let search = exhausted(model)?;
        let mut prints = HashMap::new();
        // The tables have no order; walks are to be the same each time.
        let mut steps = Vec::new();
        for step in search.steps() {
            if let (Part::Host(before), Change::Host(event), Part::Host(after), Yield::Host(happened)) =
                (step.before, step.change, step.after, step.yields)
            {
                let mut known = |host: &Host<Tree>| {
                    *prints.entry(std::ptr::from_ref(host)).or_insert_with(|| print(host))
                };
                steps.push((known(before), print_of(event), known(after), event, &happened.net));
            }
        }
        steps.sort_unstable_by_key(|(before, event, after, ..)| (*before, *event, *after));
        for (before, _, after, event, net) in steps {
            self.step(before, event, after, net);
        }
        Ok(())
    }

    /// Adds the steps of one search of the `peer` model. Its servers remember their histories, and the ones that ship do
    /// not: each step is taken again by a server that does not either, from its first start on.
    ///
    /// # Errors
    /// As [`Graph::add_row`].
    pub fn add_peers(&mut self, model: &Peer) -> anyhow::Result<()> {
        use peer::{Change, Part};
        let search = exhausted(model)?;
        let mut prints = HashMap::new();
        let mut known =
            |host: &Host<Subject>| *prints.entry(std::ptr::from_ref(host)).or_insert_with(|| print(host));
        let mut steps: HashMap<Print, Vec<OfSubject<'_>>> = HashMap::new();
        for step in search.steps() {
            if let (Part::Host(before), Change::Host(event), Part::Host(after)) =
                (step.before, step.change, step.after)
            {
                steps.entry(known(before)).or_default().push((print_of(event), event, known(after)));
            }
        }
        let mut queue = VecDeque::new();
        let mut seen = HashSet::new();
        let host = |part| if let Part::Host(first) = part { Some(first) } else { None };
        let firsts: Vec<_> = model.initial().into_iter().filter_map(host).collect();
        for first in &firsts {
            let (host, _) =
                Host::new(first.config().clone(), first.pace(), Tree::default()).map_err(broken)?;
            self.root(Root::of(&host, firsts.len())?, &host);
            seen.insert(print(&**first));
            queue.push_back((print(&**first), host));
        }
        while let Some((before, host)) = queue.pop_front() {
            let mut next = steps.remove(&before).unwrap_or_default();
            next.sort_unstable_by_key(|(event, _, after)| (*event, *after));
            for (_, event, after) in next {
                let (mut changed, event) = (host.clone(), as_told(event.plain()));
                let happened = changed.step(&event).map_err(broken)?;
                self.step(print(&host), &event, print(&changed), &happened.net);
                if seen.insert(after) {
                    queue.push_back((after, changed));
                }
            }
        }
        ensure!(steps.is_empty(), "{} servers of the search were reached by no step", steps.len());
        Ok(())
    }

    /// A server that starts. To its actor an ensemble is the same with observers and without.
    pub(crate) fn root(&mut self, root: Root, host: &Host<Tree>) {
        let number = self.number(print(host));
        match self.roots.iter_mut().find(|(known, _)| *known == number) {
            Some((_, known)) => known.servers = known.servers.max(root.servers),
            None => self.roots.push((number, root)),
        }
    }

    /// A step of a whole peer, by number.
    pub(crate) fn step(
        &mut self,
        before: Print,
        event: &HostEvent<Tree>,
        after: Print,
        net: &[NetChange<Wire<Tree>>],
    ) -> u32 {
        let (from, to, event_number) = (self.number(before), self.number(after), self.event_number(event));
        let new = u32::try_from(self.edges.len()).expect("fewer than 2^32 steps");
        let edge = *self.known.entry((from, event_number)).or_insert(new);
        if edge == new {
            let silent = match event {
                HostEvent::Input(Input::Accepted(learner)) => {
                    // Of one that is not to stay, the packet is not told.
                    let goes = [NetChange::Refuse(*learner), NetChange::Close(*learner)];
                    (!net.iter().any(|change| goes.contains(change))).then_some(*learner)
                }
                HostEvent::Input(_)
                | HostEvent::Read(..)
                | HostEvent::Timer(_)
                | HostEvent::Disk(_)
                | HostEvent::Crash(_) => None,
            };
            self.edges.push(Edge { from, to, event: event_number, silent });
        }
        edge
    }

    fn number(&mut self, print: Print) -> u32 {
        let next = u32::try_from(self.prints.len()).expect("fewer than 2^32 servers");
        match self.numbers.entry(print) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.prints.push(print);
                *new.insert(next)
            }
        }
    }

    fn event_number(&mut self, event: &HostEvent<Tree>) -> u32 {
        if let Some(known) = self.event_numbers.get(event) {
            return *known;
        }
        let number = u32::try_from(self.events.len()).expect("fewer than 2^32 events");
        self.events.push(event.clone());
        self.event_numbers.insert(event.clone(), number);
        number
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.prints.len()
    }

    /// The print of a server.
    pub fn print(&self, number: u32) -> Print {
        self.prints[number as usize]
    }

    /// What happens at a step.
    pub fn event(&self, edge: &Edge) -> &HostEvent<Tree> {
        &self.events[edge.event as usize]
    }

    /// Whether a server makes this of several words of a client.
    pub fn is_exchanged(&self, edge: &Edge) -> bool {
        let HostEvent::Input(Input::ClientRequest { request, .. }) = self.event(edge) else { return false };
        matches!(request, ClientRequest::Exchange { .. })
    }

    /// Why no walk takes these steps.
    pub fn why_left(&self, steps: &[u32]) -> impl Iterator<Item = &'static str> {
        let mut reached = vec![false; self.servers()];
        let mut queue: Vec<u32> = self.roots.iter().map(|(root, _)| *root).collect();
        let mut next = vec![Vec::new(); self.servers()];
        for edge in self.edges.iter().filter(|edge| !self.is_exchanged(edge)) {
            next[edge.from as usize].push(edge.to);
        }
        while let Some(server) = queue.pop() {
            if !std::mem::replace(&mut reached[server as usize], true) {
                queue.append(&mut next[server as usize]);
            }
        }
        steps.iter().map(move |step| {
            let edge = &self.edges[*step as usize];
            if self.is_exchanged(edge) || !reached[edge.from as usize] { EXCHANGED } else { LATE }
        })
    }

    /// Whether this is the first packet of a learner's link.
    pub fn greets(&self, edge: &Edge, learner: ServerId) -> bool {
        let HostEvent::Read(from, Wire::Packet(Packet::Zab(message))) = self.event(edge) else {
            return false;
        };
        *from == learner && matches!(message, Message::FollowerInfo { .. } | Message::ObserverInfo { .. })
    }
}

/// What happens to a server that remembers: the event, by its print too, and the server behind it.
type OfSubject<'s> = (u128, &'s HostEvent<Subject>, Print);

/// Above the numbers of all writes.
const READS: i32 = 1000;

/// What the shell tells its peer. The client of the `peer` model offers no identity; the shell gives it that of the
/// address that it connects from. And it numbers its reads below 0, where on the wire the events of watches are.
fn as_told(mut event: HostEvent<Tree>) -> HostEvent<Tree> {
    match &mut event {
        HostEvent::Input(Input::ClientConnect { identities, .. }) => {
            *identities = vec![Identity { scheme: "ip".into(), id: "127.0.0.1".into() }];
        }
        HostEvent::Input(Input::ClientRequest { xid, .. }) if *xid < 0 => *xid = READS - *xid,
        HostEvent::Input(_)
        | HostEvent::Read(..)
        | HostEvent::Timer(_)
        | HostEvent::Disk(_)
        | HostEvent::Crash(_) => {}
    }
    event
}

pub(crate) fn print_of(value: &impl Hash) -> u128 {
    let mut hasher = Xxh3::new();
    value.hash(&mut hasher);
    hasher.digest128()
}

pub(crate) fn broken(Fault { rule, why }: Fault) -> anyhow::Error {
    anyhow!("{rule}: {why}")
}

/// Searches until there is nothing new.
pub(crate) fn exhausted<M: Model>(model: &M) -> anyhow::Result<Search<'_, M>> {
    let mut search = Search::new(model, Options { limits: Limits::default(), skip_failed_steps: false });
    let outcome = search.run(&mut |_| {});
    ensure!(outcome.end == End::Exhausted, "a search ended with {:?}", outcome.end);
    Ok(search)
}
