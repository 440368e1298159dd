//! PKCS#12, as keytool and OpenSSL make it.
//!
//! Source: RFC 7292. Of the many things such a file may hold, keys and certificates are read; all that is encrypted is
//! encrypted by the store's one password.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{
    StoreError,
    der::{Der, OCTET_STRING, OID, SEQUENCE, SET, place},
    pbe::{self, Limits},
    store::{Key, Store},
};

/// 1.2.840.113549.1.7: behind it a number for each kind of content.
const CONTENT: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
const PLAIN: u8 = 1;
const ENCRYPTED: u8 = 6;
/// 1.2.840.113549.1.12.10.1: behind it a number for each kind of bag.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const KEY_BAG: u8 = 1;
const SHROUDED_KEY_BAG: u8 = 2;
const CERTIFICATE_BAG: u8 = 3;
/// Which bags belong together.
const LOCAL_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
/// Java's mark of a certificate that is trusted, and not one of a key's chain.
const TRUSTED: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
/// How deep contents may stand in contents.
const DEPTH_MAX: u32 = 2;

const WHAT: &str = "a PKCS#12 store";

/// Whether this begins as such a store does: a sequence, in which the number 3 stands first.
pub(crate) fn is_pkcs12(bytes: &[u8]) -> bool {
    Der::new(bytes, WHAT).enter(SEQUENCE).is_ok_and(|mut inside| inside.number() == Ok(3))
}

#[derive(Debug, Default)]
struct Found {
    /// Keys, each with the mark of what belongs to it.
    keys: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    certificates: Vec<Certified>,
}

#[derive(Debug)]
struct Certified {
    certificate: CertificateDer<'static>,
    local_key: Option<Vec<u8>>,
    trusted: bool,
}

pub(crate) fn read(bytes: &[u8], password: &str, limits: Limits) -> Result<Store, StoreError> {
    let mut outer = Der::new(bytes, WHAT).enter(SEQUENCE)?;
    outer.number()?;
    let (kind, content) = content(&mut outer)?;
    if kind != PLAIN {
        return Err(StoreError::Unsupported {
            what: "a PKCS#12 store that is signed, or of another kind,".to_owned(),
            advice: "`openssl pkcs12 -export` makes one that is",
        });
    }
    let content = octets(content)?;
    if !outer.is_empty() {
        authenticate(&mut outer, content, password, limits)?;
    }
    let mut found = Found::default();
    let mut safes = Der::new(content, WHAT).enter(SEQUENCE)?;
    while !safes.is_empty() {
        let (kind, mut inside) = self::content(&mut safes)?;
        match kind {
            PLAIN => bags(octets(inside)?, password, limits, 0, &mut found)?,
            ENCRYPTED => {
                let mut encrypted = inside.enter(SEQUENCE)?;
                encrypted.number()?;
                let mut encrypted = encrypted.enter(SEQUENCE)?;
                encrypted.expect(OID)?;
                let (scheme, parameters) = encrypted.algorithm()?;
                let hidden = encrypted.expect(0x80)?;
                let opened = pbe::open(scheme, parameters, hidden, password, limits)?;
                bags(&opened, password, limits, 0, &mut found)?;
            }
            // Encrypted for somebody, not by a password.
            _ => {}
        }
    }
    Ok(sort(found))
}

/// The next content: of which kind, and what stands in it.
fn content<'a>(input: &mut Der<'a>) -> Result<(u8, Der<'a>), StoreError> {
    let mut inside = input.enter(SEQUENCE)?;
    let Some([kind]) = inside.expect(OID)?.strip_prefix(CONTENT) else { return inside.malformed() };
    Ok((*kind, inside.enter(place(0))?))
}

fn octets(mut inside: Der<'_>) -> Result<&[u8], StoreError> {
    inside.expect(OCTET_STRING)
}

/// Compares the code that the store ends with.
fn authenticate(outer: &mut Der<'_>, text: &[u8], password: &str, limits: Limits) -> Result<(), StoreError> {
    let mut inside = outer.enter(SEQUENCE)?;
    let mut digest = inside.enter(SEQUENCE)?;
    let (algorithm, parameters) = digest.algorithm()?;
    let code = digest.expect(OCTET_STRING)?;
    let is_right = if pbe::is_pbmac1(algorithm) {
        pbe::pbmac1(parameters, text, code, password, limits)?
    } else {
        let hash = pbe::hash(algorithm)?;
        let salt = inside.expect(OCTET_STRING)?;
        let rounds = pbe::mac_rounds(&mut inside, limits)?;
        let is_code_of =
            |password: &[u8]| hash.authenticates(&pbe::mac_key(hash, password, salt, rounds), text, code);
        // Without a password some write two zeros, and some nothing.
        is_code_of(&pbe::bmp(password)) || password.is_empty() && is_code_of(&[])
    };
    if is_right { Ok(()) } else { Err(StoreError::Password) }
}

fn bags(
    bytes: &[u8],
    password: &str,
    limits: Limits,
    depth: u32,
    found: &mut Found,
) -> Result<(), StoreError> {
    /// A bag that holds bags.
    const BAGS: u8 = 6;
    let mut bags = Der::new(bytes, WHAT).enter(SEQUENCE)?;
    while !bags.is_empty() {
        let mut bag = bags.enter(SEQUENCE)?;
        let kind = bag.expect(OID)?;
        let mut value = bag.enter(place(0))?;
        let attributes = attributes(bag)?;
        let Some([kind]) = kind.strip_prefix(BAG) else { continue };
        match *kind {
            KEY_BAG => found.keys.push((value.next()?.whole.to_vec(), attributes.local_key)),
            SHROUDED_KEY_BAG => {
                let key = pbe::open_key(value.next()?.whole, password, limits)?;
                found.keys.push((key, attributes.local_key));
            }
            CERTIFICATE_BAG => {
                let mut inside = value.enter(SEQUENCE)?;
                inside.expect(OID)?;
                let certificate = octets(inside.enter(place(0))?)?;
                found.certificates.push(Certified {
                    certificate: CertificateDer::from(certificate.to_vec()),
                    local_key: attributes.local_key,
                    trusted: attributes.trusted,
                });
            }
            BAGS if depth < DEPTH_MAX => {
                self::bags(value.next()?.whole, password, limits, depth + 1, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct Attributes {
    local_key: Option<Vec<u8>>,
    trusted: bool,
}

fn attributes(mut bag: Der<'_>) -> Result<Attributes, StoreError> {
    let mut attributes = Attributes::default();
    if bag.tag() != Some(SET) {
        return Ok(attributes);
    }
    let mut set = bag.enter(SET)?;
    while !set.is_empty() {
        let mut attribute = set.enter(SEQUENCE)?;
        let name = attribute.expect(OID)?;
        let mut values = attribute.enter(SET)?;
        if name == LOCAL_KEY && !values.is_empty() {
            attributes.local_key = Some(values.expect(OCTET_STRING)?.to_vec());
        }
        attributes.trusted |= name == TRUSTED;
    }
    Ok(attributes)
}

/// The first key with its chain, and what is trusted: the certificates that Java has marked so; and where there is no
/// key that others could be the chain of, all of them.
fn sort(found: Found) -> Store {
    let Found { mut keys, certificates } = found;
    let all = || certificates.iter().map(|one| one.certificate.clone());
    if keys.is_empty() {
        return Store { key: None, trusted: all().collect() };
    }
    let (key, mark) = keys.swap_remove(0);
    // The certificate of the key first, wherever it stands; the others are brought into order behind it later.
    let is_own = |one: &&Certified| mark.is_some() && one.local_key == mark;
    let own = certificates.iter().filter(is_own);
    let others = certificates.iter().filter(|one| !is_own(one) && !one.trusted);
    let chain = own.chain(others).map(|one| one.certificate.clone()).collect();
    let trusted = certificates.iter().filter(|one| one.trusted).map(|one| one.certificate.clone());
    Store { key: Some(Key { key: PrivateKeyDer::Pkcs8(key.into()), chain }), trusted: trusted.collect() }
}
