//! Faults, as they come to pass and end, and the end of them all.

use world::{Fault, HostEvent, Keep, LinkChange, Side};

use crate::{
    chance::{Chance, Stream},
    client::Client,
    form::Form,
    node::{RATE, Stop},
    plan::Trouble,
    run::{Run, other_side},
    time::{Due, Time, ms},
};

/// How long an ensemble of which everything is repaired may take until all is well, in simulated milliseconds.
const HEALING_MS: u64 = 60_000;
/// How often it is looked whether all is well, in milliseconds.
const LOOK_MS: u64 = 100;

/// The slot of a server with this number.
fn slot(server: u8) -> usize {
    usize::from(server) - 1
}

impl<F: Form> Run<'_, F> {
    /// A fault of the plan comes to pass.
    pub(crate) fn on_fault(&mut self, place: usize) -> Result<(), Fault> {
        let plan = self.plan;
        let trouble = &plan.faults[place].what;
        if self.healed.is_some() {
            return Ok(());
        }
        self.tell(|| format!("{trouble:?}"));
        self.coverage.fault(trouble);
        match *trouble {
            Trouble::Crash { server, ms: down, keep, silent } => {
                self.crash(slot(server), ms(down), keep, silent)?;
            }
            Trouble::CrashAll { ms: down, keep } => {
                for server in 0..self.nodes.len() {
                    self.crash(
                        server,
                        ms(down),
                        keep.rotate_left(u32::try_from(server * 7).unwrap_or(0)),
                        false,
                    )?;
                }
                self.coverage.met("all-down");
            }
            Trouble::Pause { server, ms: still } => {
                if self.nodes[slot(server)].stop.is_none() {
                    self.stop(slot(server), Stop::Still, ms(still));
                }
            }
            Trouble::Break { one, other } => self.break_links(slot(one), slot(other)),
            Trouble::Deaf { from, to, ms: long } => {
                self.network.block(slot(from), slot(to));
                self.agenda.after(ms(long), Due::FaultEnds { place });
            }
            Trouble::Partition { side, ms: long } => {
                for (from, to) in self.across(side) {
                    self.network.block(from, to);
                }
                self.agenda.after(ms(long), Due::FaultEnds { place });
            }
            Trouble::Delay { one, other, extra_ms, ms: long } => {
                self.network.delay(slot(one), slot(other), ms(extra_ms));
                self.network.delay(slot(other), slot(one), ms(extra_ms));
                self.agenda.after(ms(long), Due::FaultEnds { place });
            }
            Trouble::SlowDisk { server, times, ms: long } => {
                self.nodes[slot(server)].disk_times = times;
                self.agenda.after(ms(long), Due::FaultEnds { place });
            }
            Trouble::ClockJump { server, by_ms } => self.nodes[slot(server)].jumped_ms += by_ms,
            Trouble::Drift { server, rate, ms: long } => {
                self.nodes[slot(server)].rate = rate;
                self.agenda.after(ms(long), Due::FaultEnds { place });
            }
        }
        Ok(())
    }

    /// A fault that lasts is over.
    pub(crate) fn end_fault(&mut self, place: usize) {
        let plan = self.plan;
        let trouble = &plan.faults[place].what;
        if self.healed.is_some() {
            return;
        }
        self.tell(|| format!("the end of {trouble:?}"));
        let opened = match *trouble {
            Trouble::Deaf { from, to, .. } => self.network.unblock(slot(from), slot(to)),
            Trouble::Partition { side, .. } => {
                let paths = self.across(side);
                paths.into_iter().flat_map(|(from, to)| self.network.unblock(from, to)).collect()
            }
            Trouble::Delay { one, other, .. } => {
                self.network.delay(slot(one), slot(other), 0);
                self.network.delay(slot(other), slot(one), 0);
                Vec::new()
            }
            Trouble::SlowDisk { server, .. } => {
                self.nodes[slot(server)].disk_times = 1;
                Vec::new()
            }
            Trouble::Drift { server, .. } => {
                self.nodes[slot(server)].rate = RATE;
                Vec::new()
            }
            Trouble::Crash { .. }
            | Trouble::CrashAll { .. }
            | Trouble::Pause { .. }
            | Trouble::Break { .. }
            | Trouble::ClockJump { .. } => Vec::new(),
        };
        self.go_on(opened);
    }

    fn go_on(&mut self, waiting: Vec<Due>) {
        for due in waiting {
            self.agenda.after(0, due);
        }
    }

    /// The paths between these servers and the others.
    fn across(&self, side: u8) -> Vec<(usize, usize)> {
        let is_in = |server: usize| side >> server & 1 == 1;
        let servers = 0..self.nodes.len();
        let pairs = servers.clone().flat_map(|from| servers.clone().map(move |to| (from, to)));
        pairs.filter(|(from, to)| is_in(*from) != is_in(*to)).collect()
    }

    fn stop(&mut self, server: usize, how: Stop, long: Time) {
        let node = &mut self.nodes[server];
        node.stop = Some(how);
        node.stops += 1;
        let number = node.stops;
        self.agenda.after(long, Due::Resume { server, number });
    }

    /// A process ends, and what its disk had not synced is kept or lost; the next one begins when it resumes.
    fn crash(&mut self, server: usize, down: Time, keep: u64, silent: bool) -> Result<(), Fault> {
        if self.is_down(server) {
            return Ok(());
        }
        // Without a word the others notice when they hear of the next process, unless a timer fires before.
        let unnoticed = if silent { down } else { 0 };
        for other in (0..self.nodes.len()).filter(|other| *other != server) {
            while let Some((place, side)) =
                self.network.places.open_end(server, other, |place| self.network.link(place))
            {
                self.network.line_mut(place).link.change(&LinkChange::Close(side));
                let at = other_side(side);
                if self.network.link(place).is_cut(at) {
                    let wait = unnoticed + self.network.latency(server, other);
                    let number = self.network.line(place).number;
                    self.agenda.after(wait, Due::Notice { place, at, number });
                }
            }
            let wait = unnoticed + self.network.latency(server, other);
            self.agenda.after(wait, Due::MeshLost { server: other, peer: server });
            let voice = self.network.voice(server, other);
            (voice.newest, voice.unsent) = (None, false);
        }
        self.cut_clients(server);
        self.nodes[server].forget();
        self.stop(server, Stop::Down, down);
        // What had waited for the process meets nobody now.
        let waiting = std::mem::take(&mut self.nodes[server].waiting);
        let own = |due: &Due| matches!(due, Due::Timer { .. } | Due::Disk { .. });
        self.go_on(waiting.into_iter().filter(|due| !own(due)).collect());
        self.step(server, HostEvent::Crash(kept(keep)))
    }

    /// A server goes on, or starts again.
    pub(crate) fn resume(&mut self, server: usize, number: u64) {
        let node = &mut self.nodes[server];
        if node.stops != number {
            return;
        }
        let Some(stop) = node.stop.take() else { return };
        let waiting = std::mem::take(&mut node.waiting);
        self.tell(|| format!("server {} goes on", server + 1));
        self.go_on(waiting);
        if stop == Stop::Down {
            // The election mesh connects anew, and the newest word is said again.
            for other in (0..self.nodes.len()).filter(|other| *other != server) {
                self.say_again(other, server);
            }
        }
    }

    fn say_again(&mut self, from: usize, to: usize) {
        self.network.voice(from, to).unsent = true;
        self.speak(from, to);
    }

    fn break_links(&mut self, one: usize, other: usize) {
        for (learner, leader) in [(one, other), (other, one)] {
            let place = self.network.places.link(learner, leader);
            if self.network.link(place).is_joined() {
                self.network.line_mut(place).link.change(&LinkChange::Break);
                self.will_notice(place, Side::Learner);
                self.will_notice(place, Side::Leader);
            }
            let wait = self.network.latency(learner, leader);
            self.agenda.after(wait, Due::MeshLost { server: leader, peer: learner });
            self.say_again(learner, leader);
        }
    }

    /// Everything is repaired, and clients only keep their sessions. A probe is sent to each server.
    pub(crate) fn heal(&mut self) {
        self.healed = Some(self.agenda.now);
        self.tell(|| "everything is repaired".to_owned());
        let opened = self.network.repair();
        self.go_on(opened);
        for server in 0..self.nodes.len() {
            (self.nodes[server].disk_times, self.nodes[server].rate) = (1, RATE);
            let number = self.nodes[server].stops;
            self.resume(server, number);
        }
        for client in &mut self.clients {
            client.wishes.clear();
            client.quiet_until = 0;
        }
        for server in 0..self.nodes.len() {
            let client = self.clients.len();
            self.clients.push(Client::probe(server));
            self.chances.push(Chance::new(self.plan.seed, Stream::Client(client)));
            self.agenda.after(0, Due::Wake { client });
        }
        self.agenda.after(ms(LOOK_MS), Due::Look);
    }

    /// Whether all is well: every server serves, a write was acknowledged at each, and their states are the same.
    pub(crate) fn look(&mut self) -> Result<(), Fault> {
        let Some(healed) = self.healed else { return Ok(()) };
        let passed = (self.agenda.now - healed) / 1_000;
        match self.trouble_left() {
            None => {
                self.is_well = true;
                self.coverage.healing_ms = passed;
                self.coverage.tested("heals");
                Ok(())
            }
            Some(left) if passed > HEALING_MS => {
                let why = format!("{HEALING_MS} ms behind the end of all faults, {left}");
                Err(Fault { rule: "heals".to_owned(), why })
            }
            Some(_) => {
                self.agenda.after(ms(LOOK_MS), Due::Look);
                Ok(())
            }
        }
    }

    fn trouble_left(&self) -> Option<String> {
        let idle = self.nodes.iter().find(|node| !node.host.peer().is_serving());
        if let Some(node) = idle {
            return Some(format!("server {} does not serve: it {}", node.host.id(), node.host));
        }
        let silent = self.clients.iter().find(|client| client.probes.is_some() && !client.probed);
        if let Some(server) = silent.and_then(|client| client.probes) {
            return Some(format!("no write was acknowledged at server {}", server + 1));
        }
        let [first, others @ ..] = self.nodes.as_slice() else { return None };
        let other = others.iter().find(|other| other.host.state() != first.host.state())?;
        let states = [first, other].map(|node| format!("server {} {}", node.host.id(), node.host));
        Some(format!("states differ: {}", states.join(", ")))
    }
}

/// What a crash leaves of what was not synced: nothing, all, a part of it from the beginning on, or any.
fn kept(choice: u64) -> Keep {
    let some = choice >> 16;
    let log = match choice & 3 {
        0 => 0,
        1 => u64::MAX,
        2 => (1 << (some % 12)) - 1,
        _ => some,
    };
    let few = |bits: u64| u8::try_from(bits & 3).expect("two bits");
    Keep { log, accepted: few(choice >> 2), current: few(choice >> 4), snapshot: choice >> 6 & 1 == 1 }
}
