//! Sessions, got with patience: a server may take a moment to serve.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::client::{Client, ConnectError, Kind, Op};

/// How long an ensemble may take to serve; generous, for a busy machine.
pub const SERVING_PATIENCE: Duration = Duration::from_secs(90);

/// How long one reply may take.
const REPLY_PATIENCE: Duration = Duration::from_secs(20);

/// The timeout that workers ask for, in milliseconds.
pub const SESSION_TIMEOUT_MS: i32 = 10_000;

/// Connects with a new session, to a server that may take a moment.
///
/// # Errors
/// If it does not serve in time.
pub fn connect(to: SocketAddr, timeout_ms: i32) -> Result<Client> {
    let deadline = Instant::now() + SERVING_PATIENCE;
    loop {
        match Client::connect(to, None, timeout_ms, 0, REPLY_PATIENCE) {
            Ok(client) => return Ok(client),
            Err(ConnectError::Expired) => bail!("{to} says that the session is dead"),
            Err(ConnectError::Unreachable(error)) => {
                ensure!(Instant::now() < deadline, "{to} does not serve: {error:#}");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Makes a node that holds `0`, and returns the transaction.
///
/// # Errors
/// If it is refused.
pub fn create(client: &mut Client, path: &str, kind: Kind) -> Result<i64> {
    let reply = client.call(&Op::Create { path: path.to_owned(), data: b"0".to_vec(), kind })?;
    ensure!(reply.code == 0, "creating {path} failed with {}", reply.code);
    Ok(reply.zxid)
}
