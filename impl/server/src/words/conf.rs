//! `conf`: what this server was told before it started, and how large its folders have grown since.

use std::{fmt::Write, path::Path};

use crate::{Config, core::Core, view::Mode};

impl Core {
    /// The answer to `conf`.
    pub(super) fn configuration(&self) -> String {
        let config = &self.shell.config;
        let (data, log) = data_sizes(config);
        let folder = |dir: &Path| {
            std::path::absolute(dir.join("version-2"))
                .map_or(String::new(), |path| path.display().to_string())
        };
        let mut text = format!(
            "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={data}\ndataLogDir={}\ndataLogSize={log}\n\
             tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
             clientPortListenBacklog={}\nserverId={}\n",
            config.client_port.map_or(-1, i32::from),
            config.tls.port.as_ref().map_or(-1, |(_, port)| i32::from(*port)),
            folder(&config.data_dir),
            folder(&config.data_log_dir),
            config.tick_ms,
            config.max_client_cnxns,
            config.session_timeout_min_ms,
            config.session_timeout_max_ms,
            backlog(config),
            if config.standalone() { 0 } else { config.me.0 },
        );
        if let Some(own) = config.servers.get(&config.me) {
            let _ = write!(
                text,
                "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\n",
                config.init_limit,
                config.sync_limit,
                own.election_port,
                own.quorum_port,
                u8::from(own.observer),
            );
            if self.shell.mode() != Mode::ReadOnly {
                let _ = write!(text, "membership: \n{}", config.ensemble_text());
            }
        }
        text
    }
}

/// Connections that may wait to be accepted, −1 if that is not given.
pub(crate) fn backlog(config: &Config) -> i64 {
    let given = config.effective.get("clientPortListenBacklog");
    given.and_then(|taken| taken.value.parse().ok()).unwrap_or(-1)
}

/// The bytes of the folder with snapshots, and of the one with logs.
pub(crate) fn data_sizes(config: &Config) -> (u64, u64) {
    (folder_bytes(&config.data_dir.join("version-2")), folder_bytes(&config.data_log_dir.join("version-2")))
}

/// The lengths of the files in a folder, which has no others in it.
fn folder_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}
