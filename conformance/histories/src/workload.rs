//! What clients do: one kind of thing each, slowly enough to leave a small machine its breath.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::ValueEnum;

use crate::{
    client::{Logged, NO_NODE},
    history::{Answer, Reply, Request, What},
};

/// A kind of client.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub enum Workload {
    /// Registers that are read, set, and set if their version is still the one that was read.
    Register,
    /// A folder in which numbered nodes come and go.
    List,
    /// One ephemeral node that whoever makes it holds: released, closed with its session, or left behind with it.
    Lock,
    /// Numbered nodes that some make and others take, the oldest first.
    Queue,
    /// Watches on everything that two others change.
    Watch,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Register, Self::List, Self::Lock, Self::Queue, Self::Watch];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::List => "list",
            Self::Lock => "lock",
            Self::Queue => "queue",
            Self::Watch => "watch",
        }
    }

    /// How many clients it takes.
    pub fn clients(self) -> usize {
        match self {
            Self::Register => 8,
            Self::Lock | Self::Watch => 3,
            Self::List | Self::Queue => 2,
        }
    }

    /// The registers below a folder, which are there from the start.
    pub fn registers(self, home: &str) -> Vec<String> {
        match self {
            Self::Register => vec![format!("{home}/register/0"), format!("{home}/register/1")],
            Self::Watch => vec![format!("{home}/watch/register")],
            Self::List | Self::Lock | Self::Queue => Vec::new(),
        }
    }

    /// The folders whose names come and go, which are there from the start.
    pub fn folders(self, home: &str) -> Vec<String> {
        match self {
            Self::Register => Vec::new(),
            Self::List | Self::Lock | Self::Queue => vec![format!("{home}/{}", self.name())],
            Self::Watch => vec![format!("{home}/watch/names"), format!("{home}/watch/flag")],
        }
    }
}

/// Does what a client of this workload does until it is told to stop; then the session is closed.
pub fn run(workload: Workload, number: usize, home: &str, client: &mut Logged<'_>, stop: &AtomicBool) {
    let mut worker = Worker {
        home,
        name: format!("{}-{number}", workload.name()),
        client,
        written: 0,
        versions: vec![-1; 2],
        held: Vec::new(),
    };
    while !stop.load(Ordering::Relaxed) {
        // Some do not think.
        if worker.client.dice().percent(70) {
            let think = worker.client.dice().between(5, 60);
            worker.client.idle(Duration::from_millis(think));
        }
        if !worker.client.connect() {
            continue;
        }
        match workload {
            Workload::Register if number > 2 => worker.dream(),
            Workload::Register => worker.register(),
            Workload::List => worker.list("list"),
            Workload::Lock => worker.lock(),
            Workload::Queue if number == 0 => worker.produce(),
            Workload::Queue => worker.take(),
            Workload::Watch if number == 0 => worker.change(),
            Workload::Watch => worker.watch(),
        }
        // Moves to another server, with everything that goes with it.
        if worker.client.dice().percent(1) {
            worker.client.hang_up();
        }
    }
    if worker.client.connect() {
        worker.client.close();
    }
}

struct Worker<'a, 'l> {
    home: &'a str,
    /// No two of a round have the same.
    name: String,
    client: &'a mut Logged<'l>,
    /// How many values it wrote.
    written: u64,
    /// The versions of the registers, as far as it knows.
    versions: Vec<i32>,
    /// The nodes that it made in a list, as far as it knows.
    held: Vec<String>,
}

impl Worker<'_, '_> {
    fn value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}-{}", self.home.trim_start_matches('/'), self.name, self.written)
    }

    fn register(&mut self) {
        let which = usize::from(self.client.dice().percent(50));
        let path = format!("{}/register/{which}", self.home);
        let get = || Request::Get { path: path.clone(), watch: false };
        let version = Some(self.versions[which]).filter(|version| *version >= 0);
        let value = self.value();
        let set = |version| Request::Set { path: path.clone(), value: value.clone(), version };
        let requests = match self.client.dice().between(0, 5) {
            0 => vec![get()],
            1 => vec![set(None)],
            2 => vec![set(version)],
            3 => vec![Request::Sync, get()],
            4 => vec![set(version), get()],
            _ => vec![get(), set(None), get()],
        };
        for reply in self.client.batch(requests).into_iter().flatten() {
            if let Answer::Stat(stat) | Answer::Data { stat, .. } = reply.answer {
                self.versions[which] = stat.version;
            }
        }
    }

    /// Asks rarely, and for the latest: by then the server that it is connected to may have been deposed unawares.
    fn dream(&mut self) {
        let long = self.client.dice().percent(60);
        let time = self.client.dice().between(if long { 1_500 } else { 100 }, 2_800);
        self.client.idle(Duration::from_millis(time));
        let which = self.client.dice().between(0, 1);
        let path = format!("{}/register/{which}", self.home);
        self.client.batch(vec![Request::Sync, Request::Get { path, watch: false }]);
    }

    fn append(&mut self, folder: &str) -> Request {
        Request::Append { path: format!("{}/{folder}/n-", self.home), value: self.value() }
    }

    fn read_list(&mut self, folder: &str, watch: bool) -> Vec<Request> {
        let list = Request::List { path: format!("{}/{folder}", self.home), watch };
        if self.client.dice().percent(50) { vec![Request::Sync, list] } else { vec![list] }
    }

    fn list(&mut self, folder: &str) {
        let many = self.held.len() > 12;
        let requests = match self.client.dice().between(0, 3) {
            0 | 1 if !many => vec![self.append(folder)],
            2 => self.read_list(folder, false),
            _ => {
                let held = self.held.clone();
                let Some(path) = self.client.dice().pick(&held).cloned() else { return };
                self.held.retain(|held| *held != path);
                let get = Request::Get { path: path.clone(), watch: false };
                let mut requests = vec![get.clone(), Request::Delete { path }, get];
                requests.truncate(usize::try_from(self.client.dice().between(1, 3)).unwrap_or(1).max(2));
                requests
            }
        };
        for reply in self.client.batch(requests).into_iter().flatten() {
            if let Answer::Path(path) = reply.answer {
                self.held.push(path);
            }
        }
    }

    fn lock(&mut self) {
        let path = format!("{}/lock/held", self.home);
        let value = self.value();
        let lock = Request::Lock { path: path.clone(), value };
        if self.client.dice().percent(5) {
            // Closed before the server has answered, and perhaps before it has made the node.
            self.client.batch(vec![lock, Request::Close]);
            self.client.forget();
            return;
        }
        let get = Request::Get { path: path.clone(), watch: false };
        let replies = self.client.batch(vec![lock, get]);
        let got = matches!(replies.first(), Some(Some(Reply { code: 0, .. })));
        if !got {
            if self.client.dice().percent(60) {
                self.client.call(Request::Exists { path });
            } else {
                let list = self.read_list("lock", false);
                self.client.batch(list);
            }
            let wait = self.client.dice().between(20, 250);
            self.client.idle(Duration::from_millis(wait));
            return;
        }
        let hold = self.client.dice().between(0, 300);
        self.client.idle(Duration::from_millis(hold));
        match self.client.dice().between(0, 9) {
            // Dead, for all that the servers know, and perhaps still heard of.
            0 => self.client.forget(),
            1..=3 => self.client.close(),
            _ => {
                let get = Request::Get { path: path.clone(), watch: false };
                self.client.batch(vec![get, Request::Delete { path }]);
            }
        }
    }

    fn produce(&mut self) {
        let count = self.client.dice().between(1, 3);
        let requests = (0..count).map(|_| self.append("queue")).collect();
        self.client.batch(requests);
    }

    fn take(&mut self) {
        let list = self.read_list("queue", false);
        let Some(Reply { answer: Answer::Names { mut names, .. }, .. }) =
            self.client.batch(list).pop().flatten()
        else {
            return;
        };
        names.sort();
        for name in names.iter().take(3) {
            let path = format!("{}/queue/{name}", self.home);
            let get = Request::Get { path: path.clone(), watch: false };
            self.client.batch(vec![get, Request::Delete { path }]);
        }
    }

    /// Changes what the others watch.
    fn change(&mut self) {
        match self.client.dice().between(0, 2) {
            0 => {
                let path = format!("{}/watch/register", self.home);
                let value = self.value();
                self.client.call(Request::Set { path, value, version: None });
            }
            1 => self.list("watch/names"),
            _ => {
                let path = format!("{}/watch/flag/up", self.home);
                let value = self.value();
                let create = Request::Create { path: path.clone(), value };
                let made = self.client.call(create).is_some_and(|reply| reply.code == 0);
                if !made || self.client.dice().percent(50) {
                    self.client.call(Request::Delete { path });
                }
            }
        }
    }

    fn watch(&mut self) {
        let register = Request::Get { path: format!("{}/watch/register", self.home), watch: true };
        let mut requests = match self.client.dice().between(0, 4) {
            0 => vec![register],
            // Of its own write, too, it must be told ahead of the reply.
            4 => {
                let path = format!("{}/watch/register", self.home);
                let set = Request::Set { path: path.clone(), value: self.value(), version: None };
                vec![register, set, Request::Get { path, watch: false }]
            }
            1 => self.read_list("watch/names", true),
            2 => vec![Request::Exists { path: format!("{}/watch/flag/up", self.home) }],
            _ => {
                let path = format!("{}/watch/flag/up", self.home);
                vec![Request::Sync, register, Request::Get { path, watch: true }]
            }
        };
        if self.client.dice().percent(30) {
            // Whatever was to be told must have been told by then.
            requests.push(Request::Sync);
        }
        self.client.batch(requests);
        // Connections break under watches, which are to be left again.
        if self.client.dice().percent(5) {
            self.client.hang_up();
        }
        let wait = self.client.dice().between(0, 80);
        self.client.idle(Duration::from_millis(wait));
    }
}

/// What the replies to reads of that which is there from the start show.
#[derive(Debug, Default, Eq, PartialEq)]
struct Listed<'a> {
    /// The nodes below folders.
    nodes: Vec<String>,
    /// The registers and folders that are not there: none is ever deleted, so to read again helps nothing.
    lost: Vec<&'a str>,
}

/// Nothing if they must be asked again.
fn listed<'a>(requests: &'a [Request], replies: &[Option<Reply>]) -> Option<Listed<'a>> {
    let mut listed = Listed::default();
    for (request, reply) in requests.iter().zip(replies) {
        let Reply { code, answer, .. } = reply.as_ref()?;
        match (request, answer, *code) {
            (Request::List { path, .. }, Answer::Names { names, .. }, 0) => {
                listed.nodes.extend(names.iter().map(|name| format!("{path}/{name}")));
            }
            (Request::List { path, .. } | Request::Get { path, .. }, _, NO_NODE) => listed.lost.push(path),
            (_, _, 0) => {}
            _ => return None,
        }
    }
    (replies.len() == requests.len()).then_some(listed)
}

/// Everything of a round, read from one server once all is quiet: the folders are listed, each name is read, and locks
/// of the dead are awaited. Returns why it could not be done.
///
/// # Errors
/// If the server does not answer.
pub fn read_back(
    client: &mut Logged<'_>,
    home: &str,
    workloads: &[Workload],
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + patience;
    let gone_by = std::time::Instant::now() + patience / 2;
    'again: loop {
        anyhow::ensure!(
            std::time::Instant::now() < deadline,
            "everything cannot be read within {patience:?}"
        );
        if !client.connect() {
            continue;
        }
        let mut requests = vec![Request::Sync];
        for workload in workloads {
            let registers = workload.registers(home).into_iter();
            requests.extend(registers.map(|path| Request::Get { path, watch: false }));
            let folders = workload.folders(home).into_iter();
            requests.extend(folders.map(|path| Request::List { path, watch: false }));
        }
        let replies = client.batch(requests.clone());
        let Some(Listed { nodes, lost }) = listed(&requests, &replies) else { continue };
        for path in lost {
            client.enter(What::Lost(path.to_owned()));
        }
        if let Some(lock) = nodes.iter().find(|path| path.ends_with("/lock/held")) {
            if std::time::Instant::now() < gone_by {
                client.idle(Duration::from_millis(100));
                continue;
            }
            client.enter(What::Stays(lock.clone()));
        }
        for some in nodes.chunks(16) {
            let gets = some.iter().map(|path| Request::Get { path: path.clone(), watch: false }).collect();
            if client.batch(gets).iter().any(Option::is_none) {
                continue 'again;
            }
        }
        client.close();
        return Ok(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_from_the_start_may_not_be_missing_when_it_is_read_back() {
        let path = || "/h1/list".to_owned();
        let requests = [Request::Sync, Request::List { path: path(), watch: false }];
        let reply = |code, answer| Some(Reply { at: 1, zxid: 1, code, answer });
        let read = |second| listed(&requests, &[reply(0, Answer::Empty), second]);
        let names = Answer::Names { names: vec!["n-0".to_owned()], stat: crate::history::Seen::default() };
        let nodes = vec!["/h1/list/n-0".to_owned()];
        assert_eq!(read(reply(0, names)), Some(Listed { nodes, lost: Vec::new() }));
        assert_eq!(
            read(reply(NO_NODE, Answer::Empty)),
            Some(Listed { nodes: Vec::new(), lost: vec!["/h1/list"] })
        );
        assert_eq!(read(None), None);
        assert_eq!(read(reply(-112, Answer::Empty)), None);
    }
}
