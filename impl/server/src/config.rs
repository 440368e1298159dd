//! `zoo.cfg`: what a server is told before it starts.
//!
//! The syntax and the keys are ZooKeeper's. Everything that is wrong is reported at once, each problem at its line;
//! a key that means nothing here is a warning, for a mistyped one would else be a silent default.

mod address;
mod auth;
mod files;
mod flags;
mod keys;
mod ports;
mod problem;
mod reader;
mod throttles;
mod tls;
mod voters;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::Quorum;
use spec::ServerId;
use tree::{Digest, Settings, Text};

pub use self::tls::Tls;
use crate::{net::ANYWHERE, sasl::Sasl};
pub use address::ServerAddress;
pub(crate) use address::{join, with_ports};
pub use files::Files;
pub use flags::Flags;
pub(crate) use problem::masked;
pub use problem::{ConfigError, Problem};
use problem::{File, Sources};
use reader::Reader;
pub use reader::Taken;
pub(crate) use throttles::MILLION;
pub use throttles::{Stale, Throttles, Tokens};

/// The greatest id of a server where nodes may have a time to live: the next one, in the high byte of an owner, marks
/// these.
const ID_MAX_WITH_TTL: u64 = 254;
/// What a text may begin with, and is no part of it.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The configuration of one server. Times are in milliseconds, sizes in bytes, unless a name says otherwise.
#[derive(Clone, Debug)]
pub struct Config {
    /// Snapshots, epoch files, `myid`.
    pub data_dir: PathBuf,
    /// Transaction logs.
    pub data_log_dir: PathBuf,
    /// The unit of the limits below.
    pub tick_ms: u32,
    /// Ticks to connect to a leader and be brought up to date.
    pub init_limit: u32,
    /// Ticks of silence, or of lag, after which a link between servers is given up.
    pub sync_limit: u32,
    /// Where clients connect; none where they only come inside TLS.
    pub client_port: Option<u16>,
    /// The one address that clients connect to; every one if `None`.
    pub client_address: Option<String>,
    /// Connections that may wait to be accepted.
    pub client_backlog: u32,
    /// Connections of one address; 0 is no limit.
    pub max_client_cnxns: u32,
    /// Connections in all; 0 is no limit.
    pub max_cnxns: u32,
    /// The least session timeout that is granted.
    pub session_timeout_min_ms: i32,
    /// The greatest session timeout that is granted.
    pub session_timeout_max_ms: i32,
    /// This server: its `myid`, or 1 when it is alone.
    pub me: ServerId,
    /// The ensemble; empty if this server is alone.
    pub servers: BTreeMap<ServerId, ServerAddress>,
    /// Which of them decide; this server itself if it is alone.
    pub quorum: Quorum,
    /// Groups and weights as servers tell each other of them, a line each; empty where a majority counts.
    pub group_lines: String,
    /// Whether ports between servers listen on every address, and not only on the one of the server list.
    pub quorum_listen_on_all_ips: bool,
    /// How long a dial between servers may take.
    pub connect_timeout_ms: u32,
    /// Snapshots that a purge keeps.
    pub purge_retain: usize,
    /// Hours between purges; 0 is never.
    pub purge_interval_hours: u32,
    /// Transactions after which a snapshot is due, at most; at least half as many.
    pub snap_count: u32,
    /// Bytes of log after which a snapshot is due, at most; at least half as many.
    pub snap_size_bytes: u64,
    /// The size of a new log segment.
    pub preallocate_bytes: u64,
    /// Applied transactions kept in memory for learners.
    pub commit_log_count: usize,
    /// What is made of the data folder.
    pub files: Files,
    /// Whether the log is synced to the disk before it is acknowledged.
    pub force_sync: bool,
    /// A sync of the log that takes longer is worth a warning.
    pub slow_sync_ms: u32,
    /// Requests that may be under way, over all clients of this server: its share of what the ensemble may have.
    pub outstanding_max: usize,
    /// What holds clients and learners back.
    pub throttles: Throttles,
    /// The first and the longest wait of an election that nobody answers.
    pub resend_ms: (u32, u32),
    /// The longest frame that a client may send.
    pub frame_bytes_max: usize,
    /// What requests come to while this server leads.
    pub settings: Settings,
    /// What speaks TLS, and how.
    pub tls: Tls,
    /// How clients may authenticate with SASL.
    pub sasl: Sasl,
    /// How often a leader looks for containers and nodes whose time is over.
    pub sweep_interval_ms: u32,
    /// How many of them it deletes in a minute at most.
    pub sweeps_per_minute: u32,
    /// Whether a server that finds no leader serves clients that only read (`readonlymode.enabled`).
    pub read_only: bool,
    /// The folder of the flight recorder's ring; none if nothing is recorded.
    pub recorder_dir: Option<PathBuf>,
    /// The size of that ring.
    pub recorder_bytes: u64,
    /// The log that tells who changes what; none if it is turned off.
    pub audit: Option<Audit>,
    /// The four-letter words that are answered.
    pub words: Words,
    /// Where the admin server listens; none if it is turned off.
    pub admin: Option<Admin>,
    /// Where metrics are offered for themselves: address (every one if `None`) and port.
    pub metrics: Option<(Option<String>, u16)>,
    /// The file as it was read.
    pub text: Arc<String>,
    /// Every key that is carried out and has a value, given or by default, and where that comes from.
    pub effective: BTreeMap<String, Taken>,
    /// What the file said that is worth a word in the log.
    pub warnings: Vec<Problem>,
}

/// The admin server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// The one address that it listens on; every one if `None`.
    pub address: Option<String>,
    /// Its port; 0 for any that is free.
    pub port: u16,
    /// The path below which its commands stand.
    pub commands: String,
    /// How long a connection may take for a request and its answer.
    pub idle_max_ms: u32,
    /// Whether the whole state is given to those who may see all of it.
    pub snapshots: bool,
    /// How long it takes until it is given again.
    pub snapshots_every_ms: u32,
    /// Whether connections of clients are dropped for those who ask for that.
    pub sheds: bool,
}

/// The audit log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audit {
    /// The file that it goes to; among all other lines if none is given.
    pub file: Option<PathBuf>,
}

/// The four-letter words that a server answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Words {
    /// All of them.
    All,
    /// These.
    Only(Vec<String>),
}

impl Words {
    /// Whether this one is answered.
    pub fn allow(&self, word: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(words) => words.iter().any(|allowed| allowed == word),
        }
    }
}

impl Config {
    /// Reads a configuration file, and `myid` beside the data it names.
    ///
    /// # Errors
    /// If the file cannot be read, or what it says cannot be done.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &Flags::default())
    }

    /// The same with flags beside the file.
    ///
    /// # Errors
    /// If the file cannot be read, or what it says cannot be done.
    pub fn load_with(path: &Path, flags: &Flags) -> Result<Self, ConfigError> {
        Self::load_reading(path, flags, |path| fs::read_to_string(path))
    }

    /// The same, where `read` reads all files but this one.
    pub(crate) fn load_reading(
        path: &Path,
        flags: &Flags,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let bytes =
            fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        // What is no UTF-8 is Latin-1, as Java reads all of it.
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect());
        Self::parse_with(&path.display().to_string(), text, flags, read)
    }

    /// Reads a configuration from its text; `read` reads the `myid` file, and relative folders are relative to the
    /// working directory, as they are for ZooKeeper.
    ///
    /// # Errors
    /// If what it says cannot be done.
    pub fn parse(
        name: &str,
        text: String,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        Self::parse_with(name, text, &Flags::default(), read)
    }

    /// The same with flags beside the text.
    ///
    /// # Errors
    /// If what they say cannot be done.
    pub fn parse_with(
        name: &str,
        text: String,
        flags: &Flags,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        // Editors of Windows begin a file with it, and the first key would have it in its name.
        let text = Arc::new(text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text));
        let kinds: Vec<_> = flags.kinds().collect();
        let flags = flags.texts().zip(&kinds).map(|((name, text), kind)| {
            let secrets: Vec<_> = problem::secret_values(&flags::set(text, *kind)).collect();
            File::new(name.to_owned(), Arc::new(text.to_owned()), &secrets)
        });
        let file = File::of_properties(name.to_owned(), Arc::clone(&text));
        let sources = std::iter::once(file).chain(flags).collect();
        let mut reader = Reader::new(Sources::new(sources), &kinds);
        let config = Self::from_reader(&mut reader, read);
        if let Some(config) = &config {
            ports::check(&mut reader, config);
        }
        match config {
            Some(mut config) if reader.errors.is_empty() => {
                (config.warnings, config.effective, config.text) = (reader.warnings, reader.taken, text);
                Ok(config)
            }
            _ => {
                reader.errors.sort_by_key(Problem::line);
                let Reader { errors: problems, warnings, .. } = reader;
                Err(ConfigError::Invalid { name: name.to_owned(), problems, warnings })
            }
        }
    }

    /// Whether this server is alone: nothing listens for others.
    pub fn standalone(&self) -> bool {
        self.servers.is_empty()
    }

    /// The ensemble as servers tell each other of it: a line for each server, group and weight, then the version. Empty
    /// for one that is alone.
    pub fn ensemble_text(&self) -> String {
        let mut text = String::new();
        if self.standalone() {
            return text;
        }
        for (id, server) in &self.servers {
            let host =
                if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.clone() };
            let (quorum, election) = (server.quorum_port, server.election_port);
            let role = if server.observer { "observer" } else { "participant" };
            let _ = write!(text, "server.{id}={host}:{quorum}:{election}:{role}");
            if let Some((host, port)) = &server.client {
                let host = host.as_deref().unwrap_or(ANYWHERE);
                let _ = write!(text, ";{}", join(host, *port));
            }
            text.push('\n');
        }
        text.push_str(&self.group_lines);
        text.push_str("version=0");
        text
    }

    fn from_reader(reader: &mut Reader, read: impl Fn(&Path) -> io::Result<String>) -> Option<Self> {
        let read = &read;
        let data_dir = files::data_dir(reader);
        let tick_ms: u32 = reader.number("tickTime", 3000, 1, 60_000);
        let (servers, lone) = servers(reader);
        let me = data_dir.as_deref().and_then(|dir| my_id(reader, &servers, dir, read));
        let own = me.and_then(|me| servers.get(&me));
        let lone =
            lone.as_ref().filter(|(id, _)| data_dir.as_deref().is_some_and(|dir| is_named(*id, dir, read)));
        let outstanding_max = outstanding(reader, &servers, own);
        let client_port = client_port(reader, own.or(lone.map(|(_, address)| address)));
        let (init_limit, sync_limit) = limits(reader, !servers.is_empty());
        let (session_timeout_min_ms, session_timeout_max_ms) = session_timeouts(reader, tick_ms);
        reader.unsupported_choice("electionAlg", &["3"], "3 is the only election algorithm there is");
        voters::check_peer_type(reader, me.and_then(|me| servers.get(&me)));
        let voters = me.and_then(|me| voters::read(reader, &servers, me));
        if !reader.flag("syncEnabled", true) {
            reader
                .warn_at("syncEnabled", "an observer writes its log and snapshots here, whatever this says");
        }
        let mut settings = settings(reader, me?);
        let (client_address, client_port) = client_port?;
        let tls = tls::read(reader, servers.is_empty());
        settings.x509 = tls.clients.is_some() || auth::names_x509(reader);
        let sasl = auth::read(reader, &mut settings, read);
        let config = Self {
            data_log_dir: files::log_dir(reader, data_dir.as_deref())?,
            recorder_dir: recorder_dir(reader, data_dir.as_deref()),
            recorder_bytes: reader.number("zabkeeper.recorderBytes", 64 << 20, 1 << 20, 1 << 40),
            data_dir: data_dir?,
            tick_ms,
            init_limit,
            sync_limit,
            client_address,
            client_port,
            client_backlog: backlog(reader),
            max_client_cnxns: u32::try_from(reader.number("maxClientCnxns", 60, -1, i64::from(u32::MAX)))
                .unwrap_or(0),
            max_cnxns: reader.at_least_none("maxCnxns", u32::MAX),
            session_timeout_min_ms,
            session_timeout_max_ms,
            me: me?,
            servers,
            group_lines: voters.as_ref()?.lines.clone(),
            quorum: voters?.quorum,
            quorum_listen_on_all_ips: reader.flag("quorumListenOnAllIPs", false),
            connect_timeout_ms: reader.number("cnxTimeout", 5000, 1, 600_000),
            purge_retain: retain(reader),
            purge_interval_hours: reader.at_least_none("autopurge.purgeInterval", 24 * 365),
            snap_count: reader.number("snapCount", 100_000, 2, u32::MAX),
            snap_size_bytes: snap_size(reader),
            preallocate_bytes: segment(reader),
            commit_log_count: reader.number("commitLogCount", 500, 1, 10_000_000),
            files: Files::read(reader),
            force_sync: reader.unless_no("forceSync"),
            slow_sync_ms: reader.number("fsync.warningthresholdms", 1000, 0, u32::MAX),
            outstanding_max,
            throttles: Throttles::read(reader, tick_ms.saturating_mul(init_limit)),
            resend_ms: resend(reader),
            frame_bytes_max: frame(reader),
            settings,
            tls,
            sasl,
            sweep_interval_ms: reader.number("znode.container.checkIntervalMs", 60_000, 1, u32::MAX),
            sweeps_per_minute: reader.number("znode.container.maxPerMinute", 10_000, 1, u32::MAX),
            read_only: reader.flag(READ_ONLY, false),
            audit: audit(reader),
            words: words(reader),
            admin: admin(reader),
            metrics: metrics(reader),
            text: Arc::default(),
            effective: BTreeMap::new(),
            warnings: Vec::new(),
        };
        if !config.force_sync {
            reader.warn_at("forceSync", "forceSync is off: a power cut may lose acknowledged writes");
        }
        Some(config)
    }
}

/// How many requests may be under way at this server. Voters share the limit.
///
/// Source: ZooKeeper `FollowerZooKeeperServer`, `LeaderZooKeeperServer`.
fn outstanding(
    reader: &mut Reader,
    servers: &BTreeMap<ServerId, ServerAddress>,
    own: Option<&ServerAddress>,
) -> usize {
    let limit: u32 = reader.number("globalOutstandingLimit", 1000, 1, u32::MAX);
    let voters = servers.values().filter(|server| !server.observer).count();
    let shares = if voters > 2 && own.is_some_and(|own| !own.observer) { voters - 1 } else { 1 };
    usize::try_from(limit).unwrap_or(usize::MAX) / shares
}

/// The server list, without anybody when this server is to be alone; then the one that was listed, if any, beside it.
fn servers(reader: &mut Reader) -> (BTreeMap<ServerId, ServerAddress>, Option<(ServerId, ServerAddress)>) {
    let mut servers = BTreeMap::new();
    for entry in reader.family("server.") {
        let id = entry.key["server.".len()..].parse::<u64>().ok().filter(|id| *id <= 255);
        let Some(id) = id else {
            reader.error(entry.key_span, "a server's number is 0 to 255, as in server.1");
            continue;
        };
        match ServerAddress::parse(&entry.value) {
            Ok(address) => {
                servers.insert(ServerId(id), address);
            }
            Err(message) => reader.error(entry.value_span, message),
        }
    }
    let standalone = reader.flag("standaloneEnabled", true);
    voters::check_roles(reader, &servers, standalone);
    if servers.len() == 1 && standalone {
        reader.warn_at(
            "server.",
            "one server alone is a standalone server; standaloneEnabled=false makes an ensemble of it",
        );
        let lone = servers.pop_first();
        return (servers, lone);
    }
    (servers, None)
}

/// Whether `myid` names this server. One that is alone needs no such file; its line in the list counts if there is one.
fn is_named(id: ServerId, data_dir: &Path, read: impl Fn(&Path) -> io::Result<String>) -> bool {
    read(&data_dir.join("myid")).is_ok_and(|text| number_in(&text).1 == Some(id))
}

/// The line of `myid` that counts, and the server that it names.
fn number_in(text: &str) -> (&str, Option<ServerId>) {
    let line = text.trim_start_matches(BYTE_ORDER_MARK).lines().next().unwrap_or_default().trim();
    (line, line.parse().ok().map(ServerId))
}

fn my_id(
    reader: &mut Reader,
    servers: &BTreeMap<ServerId, ServerAddress>,
    data_dir: &Path,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Option<ServerId> {
    if servers.is_empty() {
        return Some(ServerId(1));
    }
    let path = data_dir.join("myid");
    let span = reader.span("dataDir");
    let listed = || servers.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) => {
            let help = format!("write this server's number, one of {}, into it", listed());
            reader.error_with_help(span, format!("cannot read {}: {error}", path.display()), help);
            return None;
        }
    };
    let (line, number) = number_in(&text);
    match number {
        Some(id) if servers.contains_key(&id) => Some(id),
        Some(id) => {
            let help = format!("the server list has {}", listed());
            reader.error_with_help(
                span,
                format!("{} says {id}, and there is no server.{id}", path.display()),
                help,
            );
            None
        }
        None => {
            let help = format!("it has the number of this server alone; the server list has {}", listed());
            let message = format!("{} holds {line:?}, which is no number", path.display());
            reader.error_with_help(span, message, help);
            None
        }
    }
}

/// The client port: the server list's, or the one of `clientPort`.
fn client_port(reader: &mut Reader, listed: Option<&ServerAddress>) -> Option<(Option<String>, Option<u16>)> {
    let address = reader.host("clientPortAddress");
    let port = reader.optional_number::<u16>("clientPort", 1, u16::MAX);
    if address.is_some() && !reader.has("clientPort") {
        let span = reader.span("clientPortAddress");
        let help = "add a line such as clientPort=2181".to_owned();
        reader.error_with_help(span, "clientPortAddress needs a clientPort", help);
        return None;
    }
    let listed = listed.and_then(|server| server.client.clone());
    match (port, listed) {
        (Some(port), Some((_, listed))) if port != listed => {
            let message = format!("clientPort is {port}, and this server's line in the list says {listed}");
            reader.error(reader.span("clientPort"), message);
            None
        }
        (Some(_), Some((host, _))) if contradict(address.as_deref(), host.as_deref()) => {
            let (address, host) = (address.unwrap_or_default(), host.unwrap_or_else(|| ANYWHERE.to_owned()));
            let message =
                format!("clientPortAddress is {address}, and this server's line in the list says {host}");
            reader.error(reader.span("clientPortAddress"), message);
            None
        }
        (_, Some((host, port))) => Some((host, Some(port))),
        (Some(port), None) => Some((address, Some(port))),
        (None, None) if reader.has("secureClientPort") && !reader.has("clientPort") => Some((None, None)),
        (None, None) => {
            if !reader.has("clientPort") {
                reader.error_with_help(None, "no client port is given", "add a line such as clientPort=2181");
            }
            None
        }
    }
}

/// Whether a `clientPortAddress` cannot be that of the list, as far as that shows without looking a name up. Every
/// address, or none, fits any of the list, which counts then.
///
/// Source: ZooKeeper `QuorumPeerConfig.setupClientPort`.
fn contradict(address: Option<&str>, listed: Option<&str>) -> bool {
    let parsed = |host: &str| host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let Some(address) = address.filter(|address| !parsed(address).is_some_and(|ip| ip.is_unspecified()))
    else {
        return false;
    };
    let listed = listed.unwrap_or(ANYWHERE);
    match (parsed(address), parsed(listed)) {
        (Some(one), Some(other)) => one != other,
        (None, Some(other)) => other.is_unspecified(),
        (Some(_) | None, None) => false,
    }
}

fn limits(reader: &mut Reader, ensemble: bool) -> (u32, u32) {
    let mut limit = |key: &str, default: u32| {
        if ensemble && !reader.has(key) {
            reader.error_with_help(
                None,
                format!("{key} is missing"),
                format!("add a line such as {key}={default}"),
            );
        }
        reader.number(key, default, 1, 1_000_000)
    };
    (limit("initLimit", 10), limit("syncLimit", 5))
}

/// How many bytes are logged between two snapshots at most; all that fits in a number is no limit.
fn snap_size(reader: &mut Reader) -> u64 {
    match u64::try_from(reader.number("snapSizeLimitInKb", 4_194_304_i64, -1, 1 << 40)) {
        Ok(limit) if limit > 0 => limit * 1024,
        _ => u64::MAX,
    }
}

fn session_timeouts(reader: &mut Reader, tick_ms: u32) -> (i32, i32) {
    let mut timeout = |key: &str, ticks: u32| match reader.number::<i32>(key, -1, -1, i32::MAX) {
        given if given >= 0 => given,
        _ => i32::try_from(tick_ms.saturating_mul(ticks)).unwrap_or(i32::MAX),
    };
    let (min, max) = (timeout("minSessionTimeout", 2), timeout("maxSessionTimeout", 20));
    reader.comes_to("minSessionTimeout", min);
    reader.comes_to("maxSessionTimeout", max);
    if min > max {
        let span = reader.span("minSessionTimeout").or(reader.span("maxSessionTimeout"));
        reader.error(span, format!("minSessionTimeout ({min} ms) is above maxSessionTimeout ({max} ms)"));
    }
    (min, max)
}

fn settings(reader: &mut Reader, me: ServerId) -> Settings {
    let ttl_nodes = reader.flag("extendedTypesEnabled", false);
    if ttl_nodes && me.0 > ID_MAX_WITH_TTL {
        let span = reader.span("extendedTypesEnabled");
        let message =
            format!("server {me} cannot have it: ids are 0 to {ID_MAX_WITH_TTL} with nodes of limited life");
        reader.error(span, message);
    }
    let container_unused_max_ms =
        reader.number("znode.container.maxNeverUsedIntervalMs", 0, i64::MIN, i64::MAX);
    Settings {
        ttl_nodes,
        container_unused_max_ms,
        enforce_quota: reader.flag("enforceQuota", false),
        skip_acl: skip_acl(reader),
        digest: digest(reader),
        super_digest: reader.text("DigestAuthenticationProvider.superDigest").map(Text::from),
        sasl: false,
        x509: false,
        ensembles: None,
        demanded: Vec::new(),
    }
}

fn skip_acl(reader: &mut Reader) -> bool {
    // For ZooKeeper anything but this word leaves lists in force; who writes `true` may not know that.
    reader.unsupported_choice("skipACL", &["yes", "no", "false"], "it is yes or no");
    let skips = reader.text("skipACL").is_some_and(|word| word == "yes");
    if skips {
        reader.warn_at("skipACL", "skipACL is on: everybody may do everything, whatever lists say");
    }
    skips
}

/// What passwords are hashed with.
fn digest(reader: &mut Reader) -> Digest {
    const KEY: &str = "DigestAuthenticationProvider.digestAlg";
    if !reader.flag("DigestAuthenticationProvider.enabled", true) {
        return Digest::Off;
    }
    let name = reader.text_or(KEY, "SHA1");
    Digest::from_name(&name).unwrap_or_else(|| {
        let message = format!("{KEY} is {name:?}, and must be SHA1 or one of SHA-2, such as SHA-256");
        reader.error(reader.span(KEY), message);
        Digest::default()
    })
}

/// How long an election waits for words that do not come: the first time, and at most.
fn resend(reader: &mut Reader) -> (u32, u32) {
    let first = reader.number("fastleader.minNotificationInterval", 200, 1, 600_000);
    let longest = reader.number("fastleader.maxNotificationInterval", 60_000, 1, 600_000);
    if first > longest {
        let message =
            format!("the first wait of an election ({first} ms) is above the longest ({longest} ms)");
        let span = reader
            .span("fastleader.minNotificationInterval")
            .or(reader.span("fastleader.maxNotificationInterval"));
        reader.error(span, message);
    }
    (first, longest)
}

/// The size of a segment of the log: what is laid out at once is filled, unless less is allowed.
fn segment(reader: &mut Reader) -> u64 {
    let laid_out: u64 = reader.number("preAllocSize", 65_536, 4, 1 << 21);
    let most: i64 = reader.number("txnLogSizeLimitInKb", -1, -1, 1 << 31);
    let most = u64::try_from(most).unwrap_or(u64::MAX).max(4);
    laid_out.min(most) * 1024
}

/// The longest request. What servers tell each other and write down of one has 64 MiB at most, and a transaction may be
/// a fifth longer than the request that it comes of.
fn frame(reader: &mut Reader) -> usize {
    const MOST: usize = 48 << 20;
    let given = reader.number("jute.maxbuffer", 0xf_ffff, 1024, (1 << 31) - 1);
    if given > MOST {
        reader.warn_at("jute.maxbuffer", format!("a request has {MOST} bytes at most here"));
    }
    given.min(MOST)
}

fn backlog(reader: &mut Reader) -> u32 {
    u32::try_from(reader.number::<i32>("clientPortListenBacklog", -1, -1, 65_535)).unwrap_or(4096)
}

fn retain(reader: &mut Reader) -> usize {
    let given = reader.number("autopurge.snapRetainCount", 3, 0, usize::MAX);
    if given < 3 {
        reader.warn_at("autopurge.snapRetainCount", "at least 3 snapshots are kept");
        reader.comes_to("autopurge.snapRetainCount", 3);
    }
    given.max(3)
}

/// The folder of the recorder's ring: one beside `version-2`, which ZooKeeper passes over, if no other is given.
fn recorder_dir(reader: &mut Reader, data_dir: Option<&Path>) -> Option<PathBuf> {
    let given = reader.text("zabkeeper.recorderDir").map(PathBuf::from);
    reader
        .switch("zabkeeper.recorder", true)
        .then(|| given.or_else(|| Some(data_dir?.join("recorder"))))
        .flatten()
}

fn audit(reader: &mut Reader) -> Option<Audit> {
    let file = reader.text("zabkeeper.auditFile").map(PathBuf::from);
    let on = reader.flag("audit.enable", false);
    if file.is_some() && !on {
        reader.warn_at("zabkeeper.auditFile", "nothing goes there: audit.enable is false");
    }
    on.then_some(Audit { file })
}

/// Whether a server that finds no leader serves clients that only read.
const READ_ONLY: &str = "readonlymode.enabled";

fn words(reader: &mut Reader) -> Words {
    let text = reader.text_or("4lw.commands.whitelist", "srvr");
    let mut words: Vec<_> = text.split(',').map(|word| word.trim().to_owned()).collect();
    // As in ZooKeeper, whose script asks for it.
    if !words.iter().any(|word| word == "srvr") {
        words.push("srvr".to_owned());
    }
    // Clients that only read ask it of all servers, to find one that writes.
    if reader.flag(READ_ONLY, false) && !words.iter().any(|word| word == "isro") {
        words.push("isro".to_owned());
    }
    if words.iter().any(|word| word == "*") { Words::All } else { Words::Only(words) }
}

/// A line about a key: what it is, a tab, and where that comes from; behind another tab why it has no effect, if it has
/// none. What gives access is masked.
pub fn shown(key: &str, taken: &Taken) -> String {
    let line = format!("{key}={}", shown_value(key, taken));
    let ignored = taken.ignored.map_or_else(String::new, |reason| format!("\tignored: {reason}"));
    format!("{line}\t{}{ignored}\n", taken.place)
}

/// The value of a key, masked if it gives access.
pub(crate) fn shown_value<'a>(key: &str, taken: &'a Taken) -> &'a str {
    if problem::is_secret(key) { "***" } else { &taken.value }
}

/// Each property that was given, by the name that it has in Java; keys that count only in the file are none.
pub(crate) fn properties_given(
    effective: &BTreeMap<String, Taken>,
) -> impl Iterator<Item = (String, &Taken)> {
    let given = effective.iter().filter(|(key, taken)| taken.place != "default" && !keys::is_of_file(key));
    given.map(|(key, taken)| {
        let bare = flags::is_bare(key);
        (if bare { key.clone() } else { format!("zookeeper.{key}") }, taken)
    })
}

/// An address to listen on, as it is given or by default; none for every address.
fn listening(reader: &mut Reader, key: &str) -> Option<String> {
    if !reader.has(key) {
        reader.text_or(key, ANYWHERE);
    }
    reader.host(key).filter(|host| host != ANYWHERE)
}

fn admin(reader: &mut Reader) -> Option<Admin> {
    let admin = Admin {
        address: listening(reader, "admin.serverAddress"),
        port: reader.number("admin.serverPort", 8080, 0, u16::MAX),
        commands: reader.text_or("admin.commandURL", "/commands"),
        idle_max_ms: reader.number("admin.idleTimeout", 30_000, 1, u32::MAX),
        snapshots: reader.flag("admin.snapshot.enabled", false),
        snapshots_every_ms: reader.number("admin.rateLimiterIntervalInMS", 300_000, 0, u32::MAX),
        sheds: reader.switch("zabkeeper.shedConnections", false),
    };
    if !admin.commands.starts_with('/') || admin.commands.ends_with('/') {
        let message =
            format!("admin.commandURL is {:?}, and must be a path such as /commands", admin.commands);
        reader.error(reader.span("admin.commandURL"), message);
    }
    reader.flag("admin.enableServer", true).then_some(admin)
}

/// Where metrics are offered: ZooKeeper's provider for Prometheus has a port of its own.
fn metrics(reader: &mut Reader) -> Option<(Option<String>, u16)> {
    let host = listening(reader, "metricsProvider.httpHost");
    let port = reader.number("metricsProvider.httpPort", 7000, 0, u16::MAX);
    let class = reader.text("metricsProvider.className")?;
    if class.ends_with("PrometheusMetricsProvider") {
        return Some((host, port));
    }
    if !class.ends_with("DefaultMetricsProvider") && !class.ends_with("NullMetricsProvider") {
        reader.warn_at(
            "metricsProvider.className",
            "metrics come by mntr, by the admin server, and for Prometheus with PrometheusMetricsProvider",
        );
    }
    None
}

#[cfg(test)]
mod tests;
