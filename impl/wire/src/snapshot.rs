//! Snapshots: the state as a stream of sessions, access control lists and nodes.
//!
//! The same stream is the body of a snapshot file and what follows a SNAP packet. In a file a header stands before
//! it, and behind it sealed sections: a seal is the Adler-32 of all bytes before it and the string `/`. On the wire a
//! signature follows instead.
//!
//! Both directions work piece by piece, so that nobody has to hold a whole snapshot: the `put_` functions append one
//! piece to any sink, and a [`Reader`] takes pieces from whatever bytes have come so far.

use bytes::Bytes;
use simd_adler32::Adler32;
use spec::{SessionId, Zxid};
use tree::{Acl, StatPersisted, Text};

use crate::{Decoder, Error, Sink, complete, data, log::constant};

/// `ZKSN`.
const MAGIC: i32 = 0x5A4B_534E;
/// The version of the format.
const VERSION: i32 = 2;
/// Of the database; always this.
const DB_ID: i64 = -1;
/// Stands where a node's path would: no node has this path, for the root's is empty.
const END: &[u8] = b"/";
/// What ends a SNAP stream.
const SIGNATURE: &[u8] = b"BenWasHere";
/// The length of a seal in bytes.
const SEAL_BYTES: usize = 13;
/// The version of the digest's formula from which its value is a number; before, it was text.
const DIGEST_VERSION: i32 = 2;

/// Appends the header of a snapshot file.
pub fn put_file_header(out: &mut impl Sink) {
    out.put_int(MAGIC);
    out.put_int(VERSION);
    out.put_long(DB_ID);
}

/// Reads the header of a snapshot file.
///
/// # Errors
/// [`Error::Short`], or [`Error::Constant`] for a file that is no snapshot of this version.
pub fn file_header(input: &mut Decoder<'_>) -> Result<(), Error> {
    constant("the magic of a snapshot", input.int()?, MAGIC)?;
    constant("the version of a snapshot", input.int()?, VERSION)?;
    input.long()?;
    Ok(())
}

/// Appends how many sessions follow, or how many access control lists.
pub fn put_count(count: usize, out: &mut impl Sink) {
    out.put_count(count);
}

/// Appends a session.
pub fn put_session(session: SessionId, timeout_ms: i32, out: &mut impl Sink) {
    out.put_long(session.0);
    out.put_int(timeout_ms);
}

/// Appends an access control list under the number that nodes refer to it by.
pub fn put_acl(key: i64, acl: &[Acl], out: &mut impl Sink) {
    out.put_long(key);
    data::put_acl(acl, out);
}

/// Appends a node, whose parent has gone before it. The root's path is empty; `acl` −1 is the open list.
pub fn put_node(path: &[u8], data: Option<&[u8]>, acl: i64, stat: &StatPersisted, out: &mut impl Sink) {
    out.put_bytes(path);
    out.put_optional(data);
    out.put_long(acl);
    data::put_stat_persisted(stat, out);
}

/// Appends the end of the nodes.
pub fn put_end(out: &mut impl Sink) {
    out.put_bytes(END);
}

/// Appends the end of a SNAP stream.
pub fn put_signature(out: &mut impl Sink) {
    out.put_bytes(SIGNATURE);
}

/// One piece of a snapshot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// A session.
    Session {
        /// Its id.
        session: SessionId,
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
    /// An access control list.
    Acl {
        /// What nodes refer to it by.
        key: i64,
        /// The list.
        acl: Vec<Acl>,
    },
    /// A node. Its parent has gone before it.
    Node {
        /// Its path; the root's is empty.
        path: Text,
        /// Its data; null and empty differ.
        data: Option<Bytes>,
        /// The number of its list; −1 is the open one.
        acl: i64,
        /// What is recorded of it.
        stat: StatPersisted,
    },
    /// There are no more nodes.
    End,
}

/// Takes a snapshot's body apart as its bytes arrive.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    SessionCount,
    Sessions(i32),
    AclCount,
    Acls(i32),
    Nodes,
    Ended,
}

impl Reader {
    /// At the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece, taken off the front of `input`; `None` if it is not whole there, and then nothing that the
    /// reader has not remembered is taken: come again with what is left of `input` and more.
    ///
    /// # Errors
    /// What is wrong with the snapshot; and [`Error::Invalid`] behind [`Piece::End`].
    pub fn next(&mut self, input: &mut Decoder<'_>) -> Result<Option<Piece>, Error> {
        loop {
            let mut ahead = input.clone();
            let Some((piece, stage)) = complete(self.stage.read(&mut ahead))? else { return Ok(None) };
            *input = ahead;
            self.stage = stage;
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }
}

impl Stage {
    /// The piece that stands here, if this stage yields one, and the stage behind it.
    fn read(self, input: &mut Decoder<'_>) -> Result<(Option<Piece>, Self), Error> {
        Ok(match self {
            Self::SessionCount => (None, Self::Sessions(input.int()?)),
            Self::Sessions(..=0) => (None, Self::AclCount),
            Self::Sessions(left) => {
                let piece = Piece::Session { session: SessionId(input.long()?), timeout_ms: input.int()? };
                (Some(piece), Self::Sessions(left - 1))
            }
            Self::AclCount => (None, Self::Acls(input.int()?)),
            Self::Acls(..=0) => (None, Self::Nodes),
            Self::Acls(left) => {
                (Some(Piece::Acl { key: input.long()?, acl: data::acl(input)? }), Self::Acls(left - 1))
            }
            Self::Nodes => {
                let path = input.text("path")?;
                if path.as_bytes() == END {
                    (Some(Piece::End), Self::Ended)
                } else {
                    let (data, acl) = (input.bytes()?, input.long()?);
                    let stat = data::stat_persisted(input)?;
                    (Some(Piece::Node { path, data, acl, stat }), self)
                }
            }
            Self::Ended => return Err(Error::Invalid { what: "a snapshot was read beyond its end" }),
        })
    }
}

/// Reads the end of a SNAP stream.
///
/// # Errors
/// [`Error::Short`], or [`Error::Invalid`] if something else stands there.
pub fn signature(input: &mut Decoder<'_>) -> Result<(), Error> {
    if input.required("signature")? == SIGNATURE {
        Ok(())
    } else {
        Err(Error::Invalid { what: "a SNAP stream does not end with its signature" })
    }
}

/// The running checksum of a snapshot file: feed it every byte of the file in order, the seals included.
#[derive(Clone, Default)]
pub struct Checksum(Adler32);

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:#010x})", self.0.finish())
    }
}

impl Checksum {
    /// Of no byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        u64::from(self.0.finish())
    }

    /// Appends a section and the seal behind it, and goes on with both.
    fn put_sealed(&mut self, section: &[u8], out: &mut impl Sink) {
        self.update(section);
        out.put(section);
        let mut seal = Vec::with_capacity(SEAL_BYTES);
        seal.put_unsigned(self.value());
        seal.put_bytes(END);
        self.update(&seal);
        out.put(&seal);
    }

    /// Reads a section of a whole file and the seal behind it, and goes on with both.
    fn sealed<'a, T>(
        &mut self,
        input: &mut Decoder<'a>,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = input.rest();
        let section = read(input)?;
        self.update(&before[..before.len() - input.rest().len()]);
        let (computed, seal) = (self.value(), input.rest());
        let found = input.unsigned()?;
        if found != computed {
            return Err(Error::Checksum { found, computed });
        }
        if input.required("seal")? != END {
            return Err(Error::Invalid { what: "a seal does not end with a slash" });
        }
        self.update(&seal[..SEAL_BYTES]);
        Ok(section)
    }
}

/// What stands in a snapshot file behind the state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trailer {
    /// The digest of the state at some zxid; files before 3.6 have none.
    pub digest: Option<SnapshotDigest>,
    /// The last transaction in the state when its writing ended; files before 3.9 do not tell.
    pub last_processed: Option<Zxid>,
}

/// The digest in a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotDigest {
    /// Behind which transaction; 0 if there is no digest in spite of its place.
    pub zxid: Zxid,
    /// The formula; 2 is ZooKeeper's current one.
    pub version: i32,
    /// The value.
    pub tree: i64,
}

impl Trailer {
    /// The greatest length of a trailer in bytes: callers may wait for the file's end and need not hold more.
    pub const BYTES_MAX: usize = 256;

    /// Appends it; `checksum` is that of everything before it.
    ///
    /// Readers find the sections by their order, so that without a digest the place of one is filled, if another
    /// section follows.
    pub fn encode(&self, mut checksum: Checksum, out: &mut impl Sink) {
        checksum.put_sealed(&[], out);
        let placeholder = SnapshotDigest { zxid: Zxid::ZERO, version: DIGEST_VERSION, tree: 0 };
        if let Some(digest) = self.digest.or(self.last_processed.map(|_| placeholder)) {
            let mut section = Vec::new();
            section.put_unsigned(digest.zxid.0);
            section.put_int(digest.version);
            section.put_long(digest.tree);
            checksum.put_sealed(&section, out);
        }
        if let Some(last) = self.last_processed {
            checksum.put_sealed(&last.0.to_be_bytes(), out);
        }
    }

    /// Reads it from the rest of a file; `checksum` is that of everything before it.
    ///
    /// # Errors
    /// What is wrong with it, [`Error::Checksum`] above all.
    pub fn decode(mut checksum: Checksum, rest: &[u8]) -> Result<Self, Error> {
        let mut input = Decoder::new(rest, Self::BYTES_MAX);
        let mut trailer = Self::default();
        checksum.sealed(&mut input, |_| Ok(()))?;
        // A server that was told to write no digests leaves their section out.
        if input.rest().len() > 8 + SEAL_BYTES {
            trailer.digest = Some(checksum.sealed(&mut input, digest)?);
        }
        if !input.is_empty() {
            trailer.last_processed = Some(Zxid(checksum.sealed(&mut input, Decoder::unsigned)?));
        }
        input.finish("snapshot")?;
        Ok(trailer)
    }
}

fn digest(input: &mut Decoder<'_>) -> Result<SnapshotDigest, Error> {
    let (zxid, version) = (Zxid(input.unsigned()?), input.int()?);
    let tree = if version < DIGEST_VERSION {
        let text = input.string()?.unwrap_or(b"0");
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| i64::from_str_radix(text, 16).ok())
            .ok_or(Error::Invalid { what: "the digest of a snapshot is no number" })?
    } else {
        input.long()?
    };
    Ok(SnapshotDigest { zxid, version, tree })
}
