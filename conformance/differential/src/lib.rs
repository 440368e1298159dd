//! What Apache ZooKeeper says, byte for byte: recordings of its ports and files, made by `record.py`, and the means to
//! read them.
//!
//! Our codec has to decode every recorded byte, and to encode it again to the same bytes.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use wire::client::reply::Response;

/// Connections to a client port.
#[derive(Debug, Deserialize)]
pub struct ClientRecording {
    /// Each connection.
    pub connections: Vec<ClientConnection>,
}

/// One connection to a client port.
#[derive(Debug, Deserialize)]
pub struct ClientConnection {
    /// What it is about.
    pub name: String,
    /// Its frames, in the order in which they were sent and received.
    pub frames: Vec<Frame>,
}

/// A frame on a client's connection.
#[derive(Debug, Deserialize)]
pub struct Frame {
    /// Who sent it.
    pub from: Side,
    /// Of a client's frame: its place among the frames that all clients have sent.
    pub number: Option<u32>,
    /// What it is about; a reply has the words of its request.
    pub what: String,
    /// The frame with its length.
    pub hex: String,
}

/// A side of a client's connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// Connections between servers.
#[derive(Debug, Deserialize)]
pub struct StreamRecording {
    /// Each connection.
    pub connections: Vec<Stream>,
}

/// One connection between servers: all that each side has sent.
#[derive(Debug, Deserialize)]
pub struct Stream {
    /// What it is about.
    pub name: String,
    /// Of the side that dialled.
    pub dialler: String,
    /// Of the side that was dialled.
    pub listener: String,
}

/// Files of a data directory.
#[derive(Debug, Deserialize)]
pub struct FileRecording {
    /// Each file.
    pub files: Vec<RecordedFile>,
}

/// A file of a data directory.
#[derive(Debug, Deserialize)]
pub struct RecordedFile {
    /// Its name.
    pub file: String,
    /// Its content.
    pub hex: String,
}

/// A version that everything was recorded of.
pub const V3_9: &str = "3.9.5";

/// A version that the ports between servers and the files were recorded of.
pub const V3_8: &str = "3.8.0";

/// Reads `golden/VERSION/NAME.json`.
///
/// # Errors
/// If it is missing, or not such a recording.
pub fn golden<T: DeserializeOwned>(version: &str, name: &str) -> Result<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(version);
    let path = folder.join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// The bytes that hexadecimal digits stand for.
///
/// # Errors
/// If they are none.
pub fn unhex(hex: &str) -> Result<Vec<u8>> {
    ensure!(hex.len().is_multiple_of(2) && hex.is_ascii(), "half a byte, or no hexadecimal digits");
    (0..hex.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?)).collect()
}

/// Children, ephemerals and identities have no order of their own.
#[must_use]
pub fn in_order(mut response: Response) -> Response {
    if let Response::Children(names) | Response::Children2(names, _) | Response::Paths(names) = &mut response
    {
        names.sort();
    } else if let Response::Identities(identities) = &mut response {
        identities.sort();
    } else if let Response::MultiRead(parts) = &mut response {
        for part in parts {
            *part = std::mem::replace(part, Err(0)).map(in_order);
        }
    }
    response
}
