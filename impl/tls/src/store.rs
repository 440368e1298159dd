//! A store: a key with its certificates, and certificates that are trusted.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{StoreError, certificate::Certificate, jks, pbe::Limits, pem, pkcs12};

/// Rounds of a hash that a store may ask for, as in Java.
pub const ITERATIONS_MAX: u32 = 5_000_000;
/// Certificates that one server shows at most.
const CHAIN_MAX: usize = 16;

/// What a file holds.
#[derive(Debug)]
pub struct Store {
    pub(crate) key: Option<Key>,
    /// Those that may vouch for others, and for themselves.
    pub(crate) trusted: Vec<CertificateDer<'static>>,
}

/// A private key, and the certificates that go with it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

impl Store {
    /// Reads a store of any kind, which is recognised by what is in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8], password: &str) -> Result<Self, StoreError> {
        Self::read_within(bytes, password, ITERATIONS_MAX)
    }

    /// The same, for no more work than so many rounds of a hash for each key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_within(bytes: &[u8], password: &str, iterations_max: u32) -> Result<Self, StoreError> {
        let limits = Limits { iterations_max };
        if bytes.starts_with(&jks::MAGIC) {
            jks::read(bytes, password, limits)
        } else if bytes.starts_with(&jks::MAGIC_OF_JCEKS) {
            Err(converted("a JCEKS store"))
        } else if pkcs12::is_pkcs12(bytes) {
            pkcs12::read(bytes, password, limits)
        } else if pem::is_pem(bytes) {
            pem::read(bytes, password, limits)
        } else if bytes.first() == Some(&0x30) {
            Err(converted("a store that is no PKCS#12, such as one of BCFKS,"))
        } else {
            Err(StoreError::Unsupported {
                what: "this file".to_owned(),
                advice: "a store is PEM, PKCS#12 or JKS",
            })
        }
    }

    /// Whether there is a private key in it.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// How many certificates it trusts.
    pub fn trusted(&self) -> usize {
        self.trusted.len()
    }
}

fn converted(what: &str) -> StoreError {
    StoreError::Unsupported {
        what: what.to_owned(),
        advice: "`keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12` converts it",
    }
}

/// The chain of a key, its own certificate first and each one behind the one that it has signed; what belongs to none
/// is left out. `is_own` tells which certificate is the key's.
pub(crate) fn ordered(
    certificates: &[CertificateDer<'static>],
    is_own: impl Fn(&CertificateDer<'static>) -> bool,
) -> Option<Vec<CertificateDer<'static>>> {
    let own = certificates.iter().find(|one| is_own(one))?;
    let mut chain = vec![own.clone()];
    while let Some(last) = chain.last()
        && chain.len() < CHAIN_MAX
    {
        let Ok(last) = Certificate::read(last) else { break };
        if last.issuer == last.subject {
            break;
        }
        let signs = |one: &&CertificateDer<'static>| {
            Certificate::read(one).is_ok_and(|one| one.subject == last.issuer)
        };
        let next = certificates.iter().find(|one| signs(one) && !chain.contains(one)).cloned();
        let Some(next) = next else { break };
        chain.push(next);
    }
    Some(chain)
}
