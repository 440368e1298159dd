//! The programs of ours that are run.

use std::{path::PathBuf, sync::OnceLock};

use anyhow::{Result, ensure};

use crate::run;

/// A program of ours, built to judge.
pub(crate) fn binary(name: &str) -> Result<String> {
    built(run::release()?.join(name))
}

/// The server that is judged, if it is not the one that is shipped.
static SERVER: OnceLock<String> = OnceLock::new();

/// The server that is judged: as it is shipped, but for the gate, which has it built as the tests are.
pub(crate) fn server() -> Result<String> {
    match SERVER.get() {
        Some(server) => built(server.into()),
        None => built(run::dist()?.join("zabkeeper")),
    }
}

/// From here on this one is judged, and not the one that is shipped.
pub(crate) fn judge_server(server: String) {
    SERVER.get_or_init(|| server);
}

fn built(path: PathBuf) -> Result<String> {
    ensure!(path.exists(), "{} is not built", path.display());
    Ok(path.to_string_lossy().into_owned())
}
