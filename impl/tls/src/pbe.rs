//! What a password opens: PBES2 and the older schemes of PKCS#12.
//!
//! Sources: RFC 8018 (PBES2, PBKDF2), RFC 7292 appendix B (keys of PKCS#12).

use cbc::cipher::{BlockDecryptMut, KeyInit, KeyIvInit, block_padding::Pkcs7};
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::{
    StoreError,
    der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE, dotted},
};

/// How much work a store may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rounds of a hash, for one key.
    pub(crate) iterations_max: u32,
}

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// 1.2.840.113549.2: behind it a number for each HMAC.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
/// 2.16.840.1.101.3.4.1: behind it a number for each AES.
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
/// 1.2.840.113549.1.12.1: behind it a number for each scheme of PKCS#12.
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];

const ADVICE: &str = "`openssl pkcs8 -topk8 -v2 aes-256-cbc`, or keytool of a newer Java, makes one that is";

/// The hashes that stores name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The bytes of its digest.
    fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The bytes that it takes at once.
    fn block(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// Whether this is the code of a text under a key.
    pub(crate) fn authenticates(self, key: &[u8], text: &[u8], code: &[u8]) -> bool {
        fn check<M: Mac + KeyInit>(key: &[u8], text: &[u8], code: &[u8]) -> bool {
            <M as Mac>::new_from_slice(key).is_ok_and(|mac| mac.chain_update(text).verify_slice(code).is_ok())
        }
        match self {
            Self::Sha1 => check::<Hmac<Sha1>>(key, text, code),
            Self::Sha224 => check::<Hmac<Sha224>>(key, text, code),
            Self::Sha256 => check::<Hmac<Sha256>>(key, text, code),
            Self::Sha384 => check::<Hmac<Sha384>>(key, text, code),
            Self::Sha512 => check::<Hmac<Sha512>>(key, text, code),
        }
    }

    fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32, length: usize) -> Vec<u8> {
        let mut key = vec![0; length];
        // The only error is that of a length which HMAC does not take, and it takes every one.
        let _ = match self {
            Self::Sha1 => pbkdf2::<Hmac<Sha1>>(password, salt, iterations, &mut key),
            Self::Sha224 => pbkdf2::<Hmac<Sha224>>(password, salt, iterations, &mut key),
            Self::Sha256 => pbkdf2::<Hmac<Sha256>>(password, salt, iterations, &mut key),
            Self::Sha384 => pbkdf2::<Hmac<Sha384>>(password, salt, iterations, &mut key),
            Self::Sha512 => pbkdf2::<Hmac<Sha512>>(password, salt, iterations, &mut key),
        };
        key
    }
}

fn unsupported(what: &str, oid: &[u8]) -> StoreError {
    let name = dotted(oid).unwrap_or_else(|| "without a name".to_owned());
    StoreError::Unsupported { what: format!("{what} {name}"), advice: ADVICE }
}

fn iterations(input: &mut Der<'_>, limits: Limits) -> Result<u32, StoreError> {
    let given = input.number()?;
    if given == 0 || given > limits.iterations_max {
        return Err(StoreError::Unsupported {
            what: format!(
                "a key that takes {given} rounds, of which 1 to {} are allowed,",
                limits.iterations_max
            ),
            advice: ADVICE,
        });
    }
    Ok(given)
}

/// Opens an encrypted private key of PKCS#8.
pub(crate) fn open_key(bytes: &[u8], password: &str, limits: Limits) -> Result<Vec<u8>, StoreError> {
    let mut outer = Der::new(bytes, "an encrypted key").enter(SEQUENCE)?;
    let (scheme, parameters) = outer.algorithm()?;
    let hidden = outer.expect(OCTET_STRING)?;
    open(scheme, parameters, hidden, password, limits)
}

/// Opens what is encrypted by this scheme with these parameters.
pub(crate) fn open(
    scheme: &[u8],
    parameters: Der<'_>,
    hidden: &[u8],
    password: &str,
    limits: Limits,
) -> Result<Vec<u8>, StoreError> {
    if scheme == PBES2 {
        return open_pbes2(parameters, hidden, password, limits);
    }
    let Some([number]) = scheme.strip_prefix(PKCS12_PBE) else {
        return Err(unsupported("encryption by", scheme));
    };
    let mut parameters = parameters;
    let mut inside = parameters.enter(SEQUENCE)?;
    let salt = inside.expect(OCTET_STRING)?;
    let rounds = iterations(&mut inside, limits)?;
    let (key_bytes, cipher) = match number {
        3 => (24, Cipher::TripleDes),
        4 => (16, Cipher::TripleDes),
        5 => (16, Cipher::Rc2 { bits: 128 }),
        6 => (5, Cipher::Rc2 { bits: 40 }),
        _ => return Err(unsupported("encryption by", scheme)),
    };
    let password = bmp(password);
    let mut key = derive(Hash::Sha1, Purpose::Key, &password, salt, rounds, key_bytes);
    let iv = derive(Hash::Sha1, Purpose::Iv, &password, salt, rounds, 8);
    if *number == 4 {
        // Of two keys the first one counts twice.
        key.extend_from_within(..8);
    }
    decrypt(cipher, &key, &iv, hidden)
}

fn open_pbes2(
    mut parameters: Der<'_>,
    hidden: &[u8],
    password: &str,
    limits: Limits,
) -> Result<Vec<u8>, StoreError> {
    let mut inside = parameters.enter(SEQUENCE)?;
    let (function, mut derivation) = inside.algorithm()?;
    if function != PBKDF2 {
        return Err(unsupported("a key made by", function));
    }
    let mut derivation = derivation.enter(SEQUENCE)?;
    let salt = derivation.expect(OCTET_STRING)?;
    let rounds = iterations(&mut derivation, limits)?;
    derivation.optional(INTEGER)?;
    let hash = if derivation.is_empty() { Hash::Sha1 } else { hmac(derivation.algorithm()?.0)? };
    let (cipher, mut iv) = inside.algorithm()?;
    let (cipher, key_bytes) = if cipher == DES_EDE3_CBC {
        (Cipher::TripleDes, 24)
    } else {
        match cipher.strip_prefix(AES) {
            Some([2]) => (Cipher::Aes128, 16),
            Some([22]) => (Cipher::Aes192, 24),
            Some([42]) => (Cipher::Aes256, 32),
            _ => return Err(unsupported("encryption by", cipher)),
        }
    };
    let iv = iv.expect(OCTET_STRING)?;
    let key = hash.pbkdf2(password.as_bytes(), salt, rounds, key_bytes);
    decrypt(cipher, &key, iv, hidden)
}

fn hmac(oid: &[u8]) -> Result<Hash, StoreError> {
    Ok(match oid.strip_prefix(HMAC) {
        Some([7]) => Hash::Sha1,
        Some([8]) => Hash::Sha224,
        Some([9]) => Hash::Sha256,
        Some([10]) => Hash::Sha384,
        Some([11]) => Hash::Sha512,
        _ => return Err(unsupported("a key made by", oid)),
    })
}

/// The hash of this name.
pub(crate) fn hash(oid: &[u8]) -> Result<Hash, StoreError> {
    /// 2.16.840.1.101.3.4.2: behind it a number for each SHA-2.
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
    Ok(match oid.strip_prefix(SHA2) {
        Some([1]) => Hash::Sha256,
        Some([2]) => Hash::Sha384,
        Some([3]) => Hash::Sha512,
        Some([4]) => Hash::Sha224,
        _ if oid == SHA1 => Hash::Sha1,
        _ => return Err(unsupported("a digest by", oid)),
    })
}

/// What encrypts, each with blocks chained and the last one padded.
#[derive(Clone, Copy, Debug)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    Rc2 { bits: usize },
}

fn decrypt(cipher: Cipher, key: &[u8], iv: &[u8], hidden: &[u8]) -> Result<Vec<u8>, StoreError> {
    fn with<D: BlockDecryptMut + KeyIvInit>(key: &[u8], iv: &[u8], hidden: &[u8]) -> Option<Vec<u8>> {
        D::new_from_slices(key, iv).ok()?.decrypt_padded_vec_mut::<Pkcs7>(hidden).ok()
    }
    let opened = match cipher {
        Cipher::Aes128 => with::<cbc::Decryptor<aes::Aes128>>(key, iv, hidden),
        Cipher::Aes192 => with::<cbc::Decryptor<aes::Aes192>>(key, iv, hidden),
        Cipher::Aes256 => with::<cbc::Decryptor<aes::Aes256>>(key, iv, hidden),
        Cipher::TripleDes => with::<cbc::Decryptor<des::TdesEde3>>(key, iv, hidden),
        Cipher::Rc2 { bits } => {
            let inner = rc2::Rc2::new_with_eff_key_len(key, bits);
            let iv: Option<[u8; 8]> = iv.try_into().ok();
            iv.and_then(|iv| {
                let decryptor: cbc::Decryptor<rc2::Rc2> =
                    cbc::cipher::InnerIvInit::inner_iv_init(inner, &iv.into());
                decryptor.decrypt_padded_vec_mut::<Pkcs7>(hidden).ok()
            })
        }
    };
    // What a wrong key opens ends in no padding, in all likelihood.
    opened.ok_or(StoreError::Password)
}

/// A password as PKCS#12 hashes it: two bytes for each unit of UTF-16, and two zeros.
pub(crate) fn bmp(password: &str) -> Vec<u8> {
    password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

/// What a key of PKCS#12 is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// A key of PKCS#12.
pub(crate) fn derive(
    hash: Hash,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Vec<u8> {
    let block = hash.block();
    let filled = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().copied().cycle().take(bytes.len().div_ceil(block) * block).collect()
    };
    let head = vec![purpose as u8; block];
    let mut tail = [filled(salt), filled(password)].concat();
    let mut key = Vec::new();
    loop {
        let mut digest = hash.digest(&[&head[..], &tail].concat());
        for _ in 1..rounds {
            digest = hash.digest(&digest);
        }
        key.extend_from_slice(&digest[..hash.bytes()]);
        if key.len() >= length {
            key.truncate(length);
            return key;
        }
        // Each block of the tail counts up by the digest, and by one.
        let step: Vec<u8> = digest.iter().copied().cycle().take(block).collect();
        for part in tail.chunks_mut(block) {
            let mut carry = 1_u16;
            for (byte, add) in part.iter_mut().zip(&step).rev() {
                carry += u16::from(*byte) + u16::from(*add);
                *byte = carry.to_be_bytes()[1];
                carry >>= 8;
            }
        }
    }
}

/// Reads salt and rounds of a code that a store ends with: the code's key has as many bytes as its hash.
pub(crate) fn mac_key(hash: Hash, password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    derive(hash, Purpose::Mac, password, salt, rounds, hash.bytes())
}

/// The rounds of a code, within the limits.
pub(crate) fn mac_rounds(input: &mut Der<'_>, limits: Limits) -> Result<u32, StoreError> {
    if input.is_empty() { Ok(1) } else { iterations(input, limits) }
}

/// Whether this is the name of PBES2's sibling for codes, or of anything else that is no hash.
pub(crate) fn is_pbmac1(oid: &[u8]) -> bool {
    oid == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0e]
}

/// Computes a code of PBMAC1, whose key PBKDF2 makes (RFC 9579). Whether it is the one that is given.
pub(crate) fn pbmac1(
    mut parameters: Der<'_>,
    text: &[u8],
    code: &[u8],
    password: &str,
    limits: Limits,
) -> Result<bool, StoreError> {
    let mut inside = parameters.enter(SEQUENCE)?;
    let (function, mut derivation) = inside.algorithm()?;
    if function != PBKDF2 {
        return Err(unsupported("a key made by", function));
    }
    let mut derivation = derivation.enter(SEQUENCE)?;
    let salt = derivation.expect(OCTET_STRING)?;
    let rounds = iterations(&mut derivation, limits)?;
    let length = usize::try_from(derivation.number()?).unwrap_or(usize::MAX);
    if !(1..=1024).contains(&length) {
        return derivation.malformed();
    }
    let hash = if derivation.is_empty() { Hash::Sha1 } else { hmac(derivation.algorithm()?.0)? };
    let mut code_by = inside.enter(SEQUENCE)?;
    let by = hmac(code_by.expect(OID)?)?;
    let key = hash.pbkdf2(password.as_bytes(), salt, rounds, length);
    Ok(by.authenticates(&key, text, code))
}
