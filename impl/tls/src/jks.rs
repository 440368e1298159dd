//! JKS, the store of old Javas: entries with a digest behind them, keys hidden by a stream of SHA-1.
//!
//! Sources: `OpenJDK`'s `sun.security.provider.JavaKeyStore` and `KeyProtector`, for the facts.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha1::{Digest, Sha1};

use crate::{
    StoreError,
    der::{Der, OCTET_STRING, SEQUENCE},
    pbe::{self, Limits},
    store::{Key, Store},
};

pub(crate) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// Of JCEKS, which hides keys in another way.
pub(crate) const MAGIC_OF_JCEKS: [u8; 4] = [0xce, 0xce, 0xce, 0xce];
/// What the digest begins with, behind the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";
const DIGEST_BYTES: usize = 20;
/// 1.3.6.1.4.1.42.2.17.1.1: how JKS hides a key.
const PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

const KEY: u32 = 1;
const CERTIFICATE: u32 = 2;

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        if count > self.0.len() {
            return Err(StoreError::Malformed { what: "a JKS store" });
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<u32, StoreError> {
        Ok(self.bytes(4)?.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    /// Bytes behind their length.
    fn sized(&mut self) -> Result<&'a [u8], StoreError> {
        let length = self.int()?;
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Text behind its length, which has two bytes.
    fn text(&mut self) -> Result<&'a [u8], StoreError> {
        let length = self.bytes(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.bytes(length)
    }

    fn certificate(&mut self, version: u32) -> Result<CertificateDer<'static>, StoreError> {
        if version == 2 && self.text()? != b"X.509" {
            return Err(StoreError::Malformed { what: "a certificate of a JKS store" });
        }
        Ok(CertificateDer::from(self.sized()?.to_vec()))
    }
}

/// Reads a store. Its digest is compared whatever the password: ZooKeeper asks with an empty one where none is given.
pub(crate) fn read(bytes: &[u8], password: &str, limits: Limits) -> Result<Store, StoreError> {
    let malformed = StoreError::Malformed { what: "a JKS store" };
    let content = bytes.len().checked_sub(DIGEST_BYTES).ok_or(malformed.clone())?;
    let (content, digest) = bytes.split_at(content);
    let computed = Sha1::new().chain_update(wide(password)).chain_update(WHITENER).chain_update(content);
    if computed.finalize().as_slice() != digest {
        return Err(StoreError::Password);
    }
    let mut input = Input(content);
    input.bytes(MAGIC.len())?;
    let version = input.int()?;
    if !(1..=2).contains(&version) {
        return Err(malformed);
    }
    let count = input.int()?;
    let (mut key, mut trusted) = (None, Vec::new());
    for _ in 0..count {
        let kind = input.int()?;
        let _alias = input.text()?;
        let _created = input.bytes(8)?;
        match kind {
            KEY => {
                let hidden = input.sized()?;
                let count = input.int()?;
                let chain = (0..count).map(|_| input.certificate(version)).collect::<Result<Vec<_>, _>>()?;
                if key.is_none() {
                    key = Some((hidden, chain));
                }
            }
            CERTIFICATE => trusted.push(input.certificate(version)?),
            _ => return Err(malformed),
        }
    }
    let key = match key {
        // Nobody needs the key of a store that is opened without a password.
        Some(_) if password.is_empty() => None,
        Some((hidden, chain)) => {
            let key = uncover(hidden, password, limits)?;
            Some(Key { key: PrivateKeyDer::Pkcs8(key.into()), chain })
        }
        None => None,
    };
    Ok(Store { key, trusted })
}

/// A password as this store hashes it: two bytes for each unit of UTF-16.
fn wide(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn uncover(hidden: &[u8], password: &str, limits: Limits) -> Result<Vec<u8>, StoreError> {
    let mut outer = Der::new(hidden, "a key of a JKS store").enter(SEQUENCE)?;
    let (algorithm, _) = outer.algorithm()?;
    if algorithm != PROTECTOR {
        return pbe::open_key(hidden, password, limits);
    }
    let hidden = outer.expect(OCTET_STRING)?;
    let Some(length) = hidden.len().checked_sub(2 * DIGEST_BYTES) else { return outer.malformed() };
    let (salt, rest) = hidden.split_at(DIGEST_BYTES);
    let (covered, digest) = rest.split_at(length);
    let password = wide(password);
    let mut key = Vec::with_capacity(length);
    let mut block = salt.to_vec();
    for part in covered.chunks(DIGEST_BYTES) {
        block = Sha1::new().chain_update(&password).chain_update(&block).finalize().to_vec();
        key.extend(part.iter().zip(&block).map(|(covered, pad)| covered ^ pad));
    }
    if Sha1::new().chain_update(&password).chain_update(&key).finalize().as_slice() != digest {
        return Err(StoreError::Password);
    }
    Ok(key)
}
