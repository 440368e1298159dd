//! `zabkeeper`: the commands.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
};

use clap::{Parser, Subcommand};
use server::{
    Config, ExitCode,
    config::{self, Flags},
    ensemble, logging,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A coordination service that speaks ZooKeeper's protocols and keeps its files.
#[derive(Debug, Parser)]
#[command(name = "zabkeeper", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The greatest client port of a first server: 254 others may follow.
const BASE_PORT_MAX: i64 = 65_535 - 254;

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one server in the foreground, as a zoo.cfg says.
    #[command(after_help = "Examples:\n  \
        zabkeeper serve /etc/zookeeper/conf/zoo.cfg\n  \
        RUST_LOG=debug zabkeeper serve zoo.cfg\n\n\
        The smallest zoo.cfg:\n  \
        dataDir=/var/lib/zookeeper\n  \
        clientPort=2181\n\n\
        Properties of ZooKeeper's may stand in the file, in JVMFLAGS and SERVER_JVMFLAGS, and here:\n  \
        zabkeeper serve -Dzookeeper.snapCount=10000 zoo.cfg\n\n\
        A server that is alone needs no file:\n  \
        zabkeeper serve 2181 /var/lib/zookeeper\n  \
        zabkeeper serve 2181 /var/lib/zookeeper 2000 60   # with tickTime, maxClientCnxns\n\n\
        SIGTERM and Ctrl-C stop it; a leader closes its links first, so that the others elect at once.")]
    Serve {
        #[command(flatten)]
        properties: Properties,
        /// The configuration, in ZooKeeper's syntax with ZooKeeper's keys; or the client port, the folder for data, and
        /// if wanted tickTime and maxClientCnxns.
        #[arg(required = true, num_args = 1..=4)]
        config: Vec<PathBuf>,
        /// Stop when standard input ends: for a parent process whose servers must not outlive it.
        #[arg(long, hide = true)]
        while_stdin_is_open: bool,
    },
    /// Looks at a zoo.cfg; starts nothing.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Runs a whole ensemble on this machine, for trying things out.
    #[command(after_help = "Examples:\n  \
        zabkeeper ensemble\n  \
        zabkeeper ensemble --servers 5 --dir ./five --base-port 12181\n  \
        zabkeeper ensemble --observers 2 --dir ./observed\n\n\
        Prints the connect string and each server's role. A server that dies is not restarted; Ctrl-C stops all.\n\
        The same folder brings the same data back. Of a zoo.cfg that is there only ports are changed, and only those\n\
        that are taken; a server whose folder is gone is made again while most of the others have theirs.")]
    Ensemble {
        /// How many servers vote; by default those whose data is in the folder, else 3.
        #[arg(long)]
        servers: Option<u8>,
        /// How many observers there are beside them: servers that follow and serve, and have no vote. By default those
        /// whose data is in the folder, else none.
        #[arg(long)]
        observers: Option<u8>,
        /// The folder for data, configurations and logs.
        #[arg(long, default_value = "./zabkeeper-data")]
        dir: PathBuf,
        /// The client port of the first server; the next ones follow. By default those of the last time, else 2181. A
        /// port that is taken, whatever for, is passed over.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=BASE_PORT_MAX))]
        base_port: Option<u16>,
    },
    /// Asks a server: ls, get, set, create, watch and all other commands of zkCli.sh.
    #[command(override_help = cli::HELP, disable_help_flag = true)]
    Cli {
        /// Options, and a command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Says what a zoo.cfg means here, key by key where that is not what ZooKeeper does.
    #[command(after_help = "Examples:\n  \
        zabkeeper config check /etc/zookeeper/conf/zoo.cfg\n\n\
        Ends with 0 if `serve` would take the file, with 2 if it would not, and with 1 if the audit log's file cannot\n\
        be written to. Ports, and what stands in the data folders but `myid`, are looked at by `serve` alone, so a\n\
        server may run meanwhile.")]
    Check {
        #[command(flatten)]
        properties: Properties,
        /// The configuration, in ZooKeeper's syntax with ZooKeeper's keys.
        config: PathBuf,
    },
    /// Prints every key that is given with its value, and where that comes from, a tab in between.
    #[command(after_help = "Examples:\n  \
        zabkeeper config show /etc/zookeeper/conf/zoo.cfg\n  \
        zabkeeper config show zoo.cfg --effective | grep -v default$\n\n\
        The place is a line of the file, the variable or the command line whose flag it is, or `default`.")]
    Show {
        #[command(flatten)]
        properties: Properties,
        /// The configuration, in ZooKeeper's syntax with ZooKeeper's keys.
        config: PathBuf,
        /// Also what is not given, with its default.
        #[arg(long)]
        effective: bool,
    },
}

/// What is set beside the file.
#[derive(Debug, clap::Args)]
struct Properties {
    /// Sets a property of ZooKeeper's, as for Java. What stands in the file counts more, but for names that
    /// ZooKeeper does not read there, such as jute.maxbuffer.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    properties: Vec<String>,
}

impl Properties {
    /// Reads a configuration with what is set here and in the environment; says what is wrong with it.
    fn load(&self, path: &Path) -> Option<Config> {
        Self::told(Config::load_with(path, &self.flags()))
    }

    /// The same of a server that is alone: the values of these keys, as far as they are given.
    ///
    /// Source: ZooKeeper `ServerConfig.parse`.
    fn load_alone(&self, values: &[PathBuf]) -> Option<Config> {
        let keys = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
        let line = |(key, value): (&str, &PathBuf)| {
            // Whoever writes a folder on a command line means it from where that is written.
            let absolute = std::path::absolute(value).ok().filter(|_| key == "dataDir");
            let value = absolute.as_ref().unwrap_or(value);
            format!("{key}={}\n", properties::escaped(&value.display().to_string()))
        };
        let mut text: String = keys.into_iter().zip(values).map(line).collect();
        if values.len() < keys.len() {
            text.push_str("maxClientCnxns=0\n");
        }
        Self::told(Config::parse_with("arguments", text, &self.flags(), |path| fs::read_to_string(path)))
    }

    fn flags(&self) -> Flags {
        Flags::of_environment().and(&self.properties)
    }

    fn told(config: Result<Config, config::ConfigError>) -> Option<Config> {
        match config {
            Ok(config) => Some(config),
            Err(error) => {
                for warning in error.warnings() {
                    eprintln!("{}", told(warning));
                }
                eprintln!("{:?}", miette::Report::new(error));
                None
            }
        }
    }
}

/// A warning, with the line that it is about.
fn told(warning: &config::Problem) -> String {
    let excerpt = warning.excerpt().map_or_else(String::new, |excerpt| format!("\n{excerpt}"));
    format!("warning: {}{excerpt}", warning.summary())
}

fn main() {
    let code = match Arguments::parse().command {
        Command::Serve { properties, config, while_stdin_is_open } => {
            serve(&properties, &config, while_stdin_is_open)
        }
        Command::Config(ConfigCommand::Check { properties, config }) => check(&properties, &config),
        Command::Config(ConfigCommand::Show { properties, config, effective }) => {
            show(&properties, &config, effective)
        }
        Command::Ensemble { servers, observers, dir, base_port } => {
            let size = ensemble::Size { voters: servers, observers };
            run_ensemble(&ensemble::Options { size, dir, base_port })
        }
        // It has exit codes of its own.
        Command::Cli { arguments } => process::exit(i32::from(cli::run(&arguments))),
    };
    process::exit(i32::from(code as u8));
}

fn serve(properties: &Properties, given: &[PathBuf], while_stdin_is_open: bool) -> ExitCode {
    let config = match given {
        [path] => properties.load(path),
        values => properties.load_alone(values),
    };
    let Some(config) = config else { return ExitCode::Invocation };
    let log = match logging::init_with(config.audit.as_ref().and_then(|audit| audit.file.as_deref())) {
        Ok(log) => log,
        Err(error) => {
            let audited = config.audit.and_then(|audit| audit.file);
            let place = audited
                .map_or_else(String::new, |file| format!("; zabkeeper.auditFile is {}", file.display()));
            eprintln!("cannot log: {error}{place}");
            return ExitCode::Unexpected;
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{}", warning.summary());
    }
    raise_file_limit();
    let disk = storage::RealDisk::new(config.force_sync);
    tracing::info!(
        sid = %config.me,
        port = config.client_port,
        secure_port = config.tls.port.as_ref().map(|(_, port)| *port),
        servers = config.servers.len().max(1),
        data = %config.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "starting"
    );
    let stop = stop_signal(while_stdin_is_open);
    let audited = config.audit.is_some();
    let code = match server::run(config, disk, Some(log.log.clone()), stop) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            if audited {
                server::audit::started(false);
            }
            error.exit_code()
        }
    };
    tracing::info!(code = code as u8, "stopped");
    log.flush();
    code
}

/// Prints what a configuration comes to, warnings first.
fn check(properties: &Properties, path: &Path) -> ExitCode {
    let Some(config) = properties.load(path) else { return ExitCode::Invocation };
    let mut lines: String = config.warnings.iter().map(|warning| told(warning) + "\n").collect();
    let place = if config.standalone() {
        "a server alone".to_owned()
    } else {
        format!("server {} of {}", config.me, config.servers.len())
    };
    let _ = writeln!(
        lines,
        "{}: {place}, clients on {}, snapshots in {}, log in {}; {} warnings",
        path.display(),
        ports(&config),
        config.data_dir.display(),
        config.data_log_dir.display(),
        config.warnings.len()
    );
    if !say(&lines) {
        return ExitCode::Unexpected;
    }
    match config.audit.and_then(|audit| audit.file).map(|file| (logging::can_append(&file), file)) {
        Some((Err(error), file)) => {
            eprintln!("zabkeeper.auditFile: {} cannot be written to: {error}", file.display());
            ExitCode::Unexpected
        }
        Some((Ok(()), _)) | None => ExitCode::Finished,
    }
}

/// The ports of clients, in words.
fn ports(config: &Config) -> String {
    let secure = config.tls.port.as_ref().map(|(_, port)| format!("port {port} inside TLS"));
    let plain = config.client_port.map(|port| {
        let either = if config.tls.unifies_clients { " plain or inside TLS" } else { "" };
        format!("port {port}{either}")
    });
    plain.into_iter().chain(secure).collect::<Vec<_>>().join(" and ")
}

/// Prints this. Whoever reads may have had enough, which is no failure.
fn say(lines: &str) -> bool {
    match io::stdout().write_all(lines.as_bytes()) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::BrokenPipe,
    }
}

/// Prints every key that has a value.
fn show(properties: &Properties, path: &Path, effective: bool) -> ExitCode {
    let Some(config) = properties.load(path) else { return ExitCode::Invocation };
    let told = config.effective.iter().filter(|(_, taken)| effective || taken.place != "default");
    let lines: String = told.map(|(key, taken)| config::shown(key, taken)).collect();
    if say(&lines) { ExitCode::Finished } else { ExitCode::Unexpected }
}

/// Ready when the process is told to stop: by SIGTERM, Ctrl-C, or the end of standard input if that counts.
async fn stop_signal(while_stdin_is_open: bool) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        tracing::warn!("signals cannot be taken; they end the server at once");
        return std::future::pending().await;
    };
    let (closed, stdin_closed) = oneshot::channel::<()>();
    if while_stdin_is_open {
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
            drop(closed);
        });
    } else {
        // Never closed: standard input does not count.
        std::mem::forget(closed);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
        _ = stdin_closed => {}
    }
}

/// Raises the limit of open files to what is allowed.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

fn run_ensemble(options: &ensemble::Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(ensemble::run(options)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::Finished,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::Unexpected
        }
    }
}
