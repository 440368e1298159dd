//! Reading a snapshot from front to back, through what it is packed in.
//!
//! Apache ZooKeeper writes snapshots plain, as gzip, or in snappy-java's stream format: a header, then blocks, each
//! behind its packed length. What is held at once is bounded, whatever the lengths in the file say.

use std::io::{self, BufReader, ErrorKind, Read};

use flate2::read::GzDecoder;

use crate::{disk::File, layout::Packing};

/// What a snappy stream begins with: the name of the format, its version, and the oldest one that it is compatible
/// with, four bytes each. It comes again where streams were put together.
pub(crate) const SNAPPY_HEADER: [u8; 16] =
    [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// The greatest block of a snappy stream, unpacked, in bytes. Apache ZooKeeper's are 32 KiB.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// The content of a file, unpacked, as a stream.
#[derive(Debug)]
pub(crate) enum Unpacked<F> {
    Plain(Front<F>),
    Gzip(Box<GzDecoder<BufReader<Front<F>>>>),
    Snappy(Box<Snappy<BufReader<Front<F>>>>),
}

/// Why a stream does not go on.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The file cannot be read.
    Disk(io::Error),
    /// What is read of it cannot be unpacked; [`ErrorKind::UnexpectedEof`] if it merely ends early.
    Packing(io::Error),
}

impl<F: File> Unpacked<F> {
    pub(crate) fn new(file: F, packing: Packing) -> Self {
        let front = Front { file, at: 0, failed: None };
        match packing {
            Packing::Plain => Self::Plain(front),
            Packing::Gzip => Self::Gzip(Box::new(GzDecoder::new(BufReader::new(front)))),
            Packing::Snappy => Self::Snappy(Box::new(Snappy::new(BufReader::new(front)))),
        }
    }

    /// Fills `buffer` with what comes next, and returns how many bytes: fewer than asked only at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stopped> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let (read, front) = match self {
                Self::Plain(front) => (front.read(rest), front),
                Self::Gzip(gzip) => (gzip.read(rest), gzip.get_mut().get_mut()),
                Self::Snappy(snappy) => (snappy.read(rest), snappy.below.get_mut()),
            };
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return Err(front.failed.take().map_or(Stopped::Packing(error), Stopped::Disk)),
            }
        }
        Ok(filled)
    }
}

/// A file as it is read from its front.
#[derive(Debug)]
pub(crate) struct Front<F> {
    file: F,
    at: u64,
    /// What the system said, if reading has failed: what unpacks tells it on in its own words.
    failed: Option<io::Error>,
}

impl<F: File> Read for Front<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read_at(buffer, self.at) {
            Ok(count) => {
                self.at += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed = Some(error);
                Err(ErrorKind::Other.into())
            }
        }
    }
}

/// A stream as snappy-java's `SnappyOutputStream` writes it.
#[derive(Debug)]
pub(crate) struct Snappy<R> {
    below: R,
    decoder: snap::raw::Decoder,
    packed: Vec<u8>,
    block: Vec<u8>,
    /// What is read of the block.
    taken: usize,
    /// Whether there was a header.
    begun: bool,
}

impl<R: Read> Snappy<R> {
    fn new(below: R) -> Self {
        let decoder = snap::raw::Decoder::new();
        Self { below, decoder, packed: Vec::new(), block: Vec::new(), taken: 0, begun: false }
    }

    /// Unpacks the next block; whether there was one.
    fn next_block(&mut self) -> io::Result<bool> {
        loop {
            let mut word = [0; 4];
            let Some(length) = self.word(&mut word)? else {
                return if self.begun { Ok(false) } else { Err(ErrorKind::UnexpectedEof.into()) };
            };
            if word == SNAPPY_HEADER[..4] {
                let mut rest = [0; SNAPPY_HEADER.len() - 4];
                self.below.read_exact(&mut rest)?;
                if rest != SNAPPY_HEADER[4..] {
                    return Err(wrong("a snappy stream of another version".to_owned()));
                }
                self.begun = true;
            } else if self.begun {
                self.unpack(length)?;
                return Ok(true);
            } else {
                return Err(wrong("no snappy stream".to_owned()));
            }
        }
    }

    /// The next four bytes and their value; `None` at the end of the stream.
    fn word(&mut self, word: &mut [u8; 4]) -> io::Result<Option<usize>> {
        let mut filled = 0;
        while filled < word.len() {
            match self.below.read(&mut word[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(Some(usize::try_from(u32::from_be_bytes(*word)).unwrap_or(usize::MAX)))
    }

    fn unpack(&mut self, length: usize) -> io::Result<()> {
        if length > snap::raw::max_compress_len(BLOCK_BYTES_MAX) {
            return Err(wrong(format!("a snappy block of {length} bytes")));
        }
        self.packed.resize(length, 0);
        self.below.read_exact(&mut self.packed)?;
        let unpacked = snap::raw::decompress_len(&self.packed).map_err(wrong)?;
        if unpacked > BLOCK_BYTES_MAX {
            return Err(wrong(format!("a snappy block of {unpacked} bytes, unpacked")));
        }
        self.block.resize(unpacked, 0);
        self.decoder.decompress(&self.packed, &mut self.block).map_err(wrong)?;
        self.taken = 0;
        Ok(())
    }
}

impl<R: Read> Read for Snappy<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.block.len() - self.taken);
        buffer[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn wrong(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snappy(blocks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = SNAPPY_HEADER.to_vec();
        for block in blocks {
            let packed = snap::raw::Encoder::new().compress_vec(block).expect("small");
            bytes.extend(u32::try_from(packed.len()).expect("small").to_be_bytes());
            bytes.extend(packed);
        }
        bytes
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Snappy::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn blocks_follow_each_other_and_streams_too() {
        let (one, two) = (snappy(&[b"some", b"", b"thing"]), snappy(&[&[7; 16_000]]));
        assert_eq!(unpack(&one).expect("reads"), b"something");
        let both = [one, two].concat();
        assert_eq!(unpack(&both).expect("reads"), [&b"something"[..], &[7; 16_000]].concat());
    }

    #[test]
    fn an_early_end_is_told_from_damage() {
        let bytes = snappy(&[&[5; 1000], b"the second"]);
        let first = bytes.len() - b"the second".len() - 6;
        for cut in 0..bytes.len() {
            match unpack(&bytes[..cut]) {
                Ok(out) => assert!([SNAPPY_HEADER.len(), first].contains(&cut), "{cut}: {} bytes", out.len()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{cut}: {error}"),
            }
        }
        let mut other = bytes.clone();
        other[11] = 2;
        assert!(unpack(&other).expect_err("a version").to_string().contains("another version"));
        assert!(unpack(&bytes[16..]).expect_err("no header").to_string().contains("no snappy stream"));
    }

    #[test]
    fn no_length_is_believed() {
        for length in [u32::MAX, 1 << 30] {
            let bytes = [&SNAPPY_HEADER[..], &length.to_be_bytes()].concat();
            assert!(unpack(&bytes).expect_err("too long").to_string().contains("a snappy block of"));
        }
        // A small block that says that it unpacks to 4 GiB less one.
        let bytes = [&SNAPPY_HEADER[..], &[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]].concat();
        assert!(unpack(&bytes).expect_err("too long").to_string().contains("unpacked"));
    }
}
