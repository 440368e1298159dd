//! Packing a snapshot as it is written, in the ways of Apache ZooKeeper.

use std::{
    io::{self, Write},
    mem,
};

use flate2::{Compression, write::GzEncoder};

use crate::{layout::Packing, unpack::SNAPPY_HEADER};

/// The length of a block of a snappy stream, unpacked: that of Apache ZooKeeper's.
const BLOCK_BYTES: usize = 32 << 10;

/// Packs what is written, piece by piece.
#[derive(Debug)]
pub(crate) enum Packer {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(Box<Snappy>),
}

impl Packer {
    pub(crate) fn new(packing: Packing) -> Self {
        match packing {
            Packing::Plain => Self::Plain,
            // While a snapshot is written, what changes of the state is kept twice: the level that Java has, 6, takes
            // eight times as long for files that are an eighth to a fifth smaller.
            Packing::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Packing::Snappy => Self::Snappy(Box::new(Snappy::new())),
        }
    }

    /// Puts what is to be written in the place of a piece, which may be nothing yet; all of it behind the last piece.
    ///
    /// # Errors
    /// What the library that packs says.
    pub(crate) fn pack(&mut self, piece: &mut Vec<u8>, last: bool) -> io::Result<()> {
        match self {
            Self::Plain => Ok(()),
            Self::Gzip(encoder) => {
                encoder.write_all(piece)?;
                if last {
                    encoder.try_finish()?;
                }
                piece.clear();
                mem::swap(piece, encoder.get_mut());
                Ok(())
            }
            Self::Snappy(snappy) => snappy.pack(piece),
        }
    }
}

/// Packs as snappy-java's `SnappyOutputStream` does.
#[derive(Debug)]
pub(crate) struct Snappy {
    encoder: snap::raw::Encoder,
    begun: bool,
    block: Vec<u8>,
    packed: Vec<u8>,
}

impl Snappy {
    fn new() -> Self {
        let encoder = snap::raw::Encoder::new();
        Self { encoder, begun: false, block: Vec::new(), packed: Vec::new() }
    }

    fn pack(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        if !mem::replace(&mut self.begun, true) {
            self.packed.extend_from_slice(&SNAPPY_HEADER);
        }
        for block in piece.chunks(BLOCK_BYTES) {
            self.block.resize(snap::raw::max_compress_len(block.len()), 0);
            let length = self.encoder.compress(block, &mut self.block).map_err(io::Error::other)?;
            let packed = &self.block[..length];
            self.packed.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            self.packed.extend_from_slice(packed);
        }
        piece.clear();
        mem::swap(piece, &mut self.packed);
        Ok(())
    }
}
