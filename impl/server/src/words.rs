//! The four-letter words: what a monitoring script or a client asks before it speaks the protocol.
//!
//! The shapes are Java's, down to missing line ends, for scripts parse them. Only what this server truly knows is
//! answered.

mod conf;
mod listing;

use std::fmt::Write;

use crate::{
    config::Words,
    core::Core,
    metrics,
    view::{ClientView, Mode, View, version},
};
pub(crate) use conf::{backlog, data_sizes};
pub(crate) use listing::{WatchCounts, by_session, operation};

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
/// What asks for a trace mask to be set; eight bytes with the mask follow.
const SET_TRACE_MASK: &[u8; 4] = b"stmk";
/// The bits of Java's trace mask at the start. Nothing is traced by them here: they are kept for who sets them.
pub(crate) const TRACE_MASK: i64 = 306;

/// How long the word is that stands at the front of a connection, with its argument; nothing if none stands there, and
/// the first four bytes are a frame's length. Every word is letters, which as a length would be far above any limit.
/// An argument is waited for where the word is allowed.
pub(crate) fn length(first: &[u8], allowed: &Words) -> Option<usize> {
    let word = first.first_chunk::<4>().filter(|word| word.iter().all(u8::is_ascii_lowercase))?;
    Some(if word == SET_TRACE_MASK && allowed.allow("stmk") { 12 } else { 4 })
}

impl Core {
    /// The whole answer to a word; nothing to what is none.
    pub(crate) fn word(&mut self, word: &[u8]) -> String {
        let (word, argument) = word.split_at(word.len().min(4));
        let word = String::from_utf8_lossy(word);
        let mode = self.shell.mode();
        if !SERVING.contains(&&*word) && !OF_PROCESS.contains(&&*word) {
            return String::new();
        }
        let answer = self.shell.config.words.allow(&word).then(|| match (&*word, mode) {
            ("ruok", _) => Some("imok".to_owned()),
            ("isro", Mode::NotServing) => Some("null".to_owned()),
            ("isro", Mode::ReadOnly) => Some("ro".to_owned()),
            ("isro", _) => Some("rw".to_owned()),
            ("envi", _) => Some(environment_text()),
            ("gtmk", _) => Some(self.shell.trace_mask.to_string()),
            ("stmk", _) => Some(self.set_trace_mask(argument)),
            // Java ends no line here.
            ("hash", Mode::NotServing) => Some(NOT_SERVING.to_owned()),
            (_, Mode::NotServing) => Some(format!("{NOT_SERVING}\n")),
            (word, _) => self.word_of_server(word),
        });
        answer
            .flatten()
            .unwrap_or_else(|| format!("{word} is not executed because it is not in the whitelist.\n"))
    }

    fn set_trace_mask(&mut self, argument: &[u8]) -> String {
        if let Some(mask) = argument.first_chunk() {
            self.shell.trace_mask = i64::from_be_bytes(*mask);
        }
        self.shell.trace_mask.to_string()
    }

    /// The answer to a word of those that only a server answers that serves.
    fn word_of_server(&mut self, word: &str) -> Option<String> {
        Some(match word {
            "srvr" => {
                let view = self.view();
                format!("{}{}", head(&view), server(&view))
            }
            "stat" => stat(&self.view(), &self.shell.clients.views()),
            "mntr" => monitor(&self.whole_view()),
            "conf" => self.configuration(),
            "cons" => listing::connections(&self.shell.clients.views(), self.shell.stats.started),
            "dump" => self.dump(),
            "dirs" => {
                let (data, log) = data_sizes(&self.shell.config);
                format!("datadir_size: {data}\nlogdir_size: {log}\n")
            }
            "wchs" => self.watch_counts().to_string(),
            "wchc" => self.listed_watchers(listing::watches_by_session),
            "wchp" => self.listed_watchers(listing::watches_by_path),
            "hash" => listing::digests(self.tree.digest_log()),
            "crst" => {
                self.shell.clients.reset_traffic();
                "Connection stats reset.\n".to_owned()
            }
            "srst" => {
                self.reset_stats();
                "Server stats reset.\n".to_owned()
            }
            _ => return None,
        })
    }

    /// Begins the figures anew, by `srst` and `stat_reset`.
    pub(crate) fn reset_stats(&mut self) {
        let for_prometheus = self.shell.config.metrics.is_some();
        self.shell.stats.reset(for_prometheus);
    }
}

/// The words that any process answers.
const OF_PROCESS: [&str; 5] = ["ruok", "isro", "envi", "gtmk", "stmk"];
/// The words of [`Core::word_of_server`].
const SERVING: [&str; 13] =
    ["srvr", "stat", "mntr", "conf", "cons", "dump", "dirs", "wchs", "wchc", "wchp", "hash", "crst", "srst"];

/// A server without a leader says so.
const READS: &str = "READ-ONLY mode; serving only read-only clients\n";

fn server(view: &View<'_>) -> String {
    let stats = view.stats;
    let latency = &stats.latency;
    let mut text = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: 0x{:x}\nMode: {}\nNode count: {}\n",
        latency.min / 1000,
        latency.average(1000),
        latency.max / 1000,
        stats.packets_received,
        stats.packets_sent,
        view.connections,
        view.outstanding,
        view.zxid.0,
        view.mode.name(),
        view.tree.nodes,
    );
    if view.mode == Mode::Leader {
        let [last, min, max] = metrics::sizes(stats.proposal_bytes_last, &stats.proposal_bytes);
        let _ = writeln!(text, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
    text
}

/// What `srvr` and `stat` begin with.
fn head(view: &View<'_>) -> String {
    let reads = if view.mode == Mode::ReadOnly { READS } else { "" };
    format!("Zookeeper version: {}\n{reads}", version())
}

fn stat(view: &View<'_>, clients: &[ClientView]) -> String {
    let mut text = format!("{}Clients:\n", head(view));
    for client in clients {
        let _ = writeln!(text, " {})", listing::connection(client));
    }
    text.push('\n');
    text.push_str(&server(view));
    text
}

/// Java's name of a machine.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        machine => machine,
    }
}

/// The name and the home of a user by its number, of lines as in `/etc/passwd`. Java asks there first, and not the
/// surroundings, which a supervisor may not set.
fn account(users: &str, uid: u32) -> Option<(&str, &str)> {
    users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let &[name, _, number, _, _, home, _] = fields.as_slice() else { return None };
        (number.parse() == Ok(uid)).then_some((name, home))
    })
}

/// What is known of where this server runs, under Java's names.
pub(crate) fn environment() -> Vec<(&'static str, String)> {
    let uname = rustix::system::uname();
    let directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let unknown = || "<NA>".to_owned();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (user, home) = account(&users, rustix::process::getuid().as_raw()).unzip();
    let known = |field: Option<&str>, variable| {
        field.map(str::to_owned).or_else(|| std::env::var(variable).ok()).unwrap_or_else(unknown)
    };
    vec![
        ("zookeeper.version", version()),
        ("host.name", uname.nodename().to_string_lossy().into_owned()),
        ("java.version", unknown()),
        ("java.vendor", unknown()),
        ("java.home", unknown()),
        ("java.class.path", unknown()),
        ("java.library.path", unknown()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", unknown()),
        ("os.name", uname.sysname().to_string_lossy().into_owned()),
        ("os.arch", architecture(&uname.machine().to_string_lossy()).to_owned()),
        ("os.version", uname.release().to_string_lossy().into_owned()),
        ("user.name", known(user, "USER")),
        ("user.home", known(home, "HOME")),
        ("user.dir", directory),
    ]
}

fn environment_text() -> String {
    let mut text = "Environment:\n".to_owned();
    for (key, value) in environment() {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn monitor(view: &View<'_>) -> String {
    let mut text = format!("zk_version\t{}\nzk_server_state\t{}\n", version(), view.mode.name());
    if let Some(state) = view.mode.peer_state() {
        let _ = writeln!(text, "zk_peer_state\t{state}");
    }
    for metric in metrics::plain(view) {
        let _ = writeln!(text, "zk_{}\t{}", metric.full_name(), metric.value);
    }
    for (name, value) in metrics::distributions(view).iter().flat_map(metrics::Distribution::rows) {
        let _ = writeln!(text, "zk_{name}\t{value}");
    }
    for (word, value) in metrics::turns(view) {
        let _ = writeln!(text, "zk_{word}_turn_time_us\t{value}");
    }
    text
}

#[cfg(test)]
mod tests;
