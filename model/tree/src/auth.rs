//! Authentication and permission: schemes, lists, and what they allow (rules T-10 to T-12).

use alloc::{borrow::Cow, collections::BTreeSet, format, string::String, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha1::{Digest as _, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use spec::{ErrorCode, machine::Unproved};

use crate::{
    Digest, Settings, Text,
    acl::{Acl, Credential, Identity},
    names,
};

/// What `auth` may come to in the lists of one request, in bytes, as they are written: a client proves as many identities
/// as it likes, and each entry stands for all of them.
pub(crate) const EXPANDED_BYTES_MAX: usize = 900_000;
/// How many entries a list may have that a client gives, `auth` spelled out: it is gone through whenever its node is read,
/// and for everybody who watches it.
const ENTRIES_MAX: usize = 4096;
/// How many comparisons lists may cost one request, as [`cost`] counts them: it holds up all others meanwhile, and a few
/// bytes are enough to name a node with a long list once more.
pub(crate) const JUDGED_MAX: usize = 1 << 22;

/// The identities that a credential proves, beside those that its connection has: of its address, and of the owner of
/// its certificate, who say so again by schemes `ip` and `x509`, and prove no more by that. Scheme `ensemble` proves
/// nothing, and names the ensemble that the client looks for.
///
/// Source: ZooKeeper `IPAuthenticationProvider`, `X509AuthenticationProvider`, `EnsembleAuthenticationProvider`.
///
/// # Errors
/// [`Unproved`]: it is wrong, or for another ensemble, or of a scheme that is not offered.
pub fn authenticate(
    settings: &Settings,
    identities: &[Identity],
    credential: &Credential,
) -> Result<Vec<Identity>, Unproved> {
    match credential.scheme.as_str() {
        "digest" => prove_digest(settings, credential),
        "ip" => Ok(Vec::new()),
        "x509" if identities.iter().any(|identity| identity.scheme == "x509") => Ok(Vec::new()),
        "ensemble" => match sought(settings, &credential.bytes) {
            None => Err(Unproved::Failed),
            Some(Sought::Any | Sought::This) => Ok(Vec::new()),
            Some(Sought::Other) => Err(Unproved::Elsewhere),
        },
        _ => Err(Unproved::Failed),
    }
}

/// Which ensemble a client looks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sought {
    /// It names none, or this server has no name.
    Any,
    /// One of this server's names.
    This,
    /// Another one.
    Other,
}

/// Which ensemble a credential of scheme `ensemble` is for; `None` where that scheme is not offered.
pub fn sought(settings: &Settings, name: &[u8]) -> Option<Sought> {
    let names = settings.ensembles.as_ref()?;
    Some(if name.is_empty() || names.is_empty() {
        Sought::Any
    } else if names.iter().any(|own| own.as_bytes() == name) {
        Sought::This
    } else {
        Sought::Other
    })
}

/// The user's name and the hash of name and password. Nothing is looked up; what the identity is good for is for access
/// control lists to say, but for the one that an operator has named, whose owner may do everything.
///
/// Source: ZooKeeper `DigestAuthenticationProvider`.
fn prove_digest(settings: &Settings, credential: &Credential) -> Result<Vec<Identity>, Unproved> {
    let pair = String::from_utf8_lossy(&credential.bytes);
    let id = if credential.sealed && settings.digest != Digest::Off {
        Some(pair.into_owned())
    } else {
        digest_id(settings.digest, &pair)
    };
    let id = id.ok_or(Unproved::Failed)?;
    let is_super = settings.super_digest.as_ref().is_some_and(|digest| *digest == *id.as_str());
    let id = Identity { scheme: Text::from_static("digest"), id: Text::from(id) };
    Ok(if is_super { vec![superuser(), id] } else { vec![id] })
}

/// What a recording keeps of a credential: it proves the same, and holds no password.
pub fn sealed(settings: &Settings, credential: &Credential) -> Credential {
    let bytes = match credential.scheme.as_str() {
        "digest" if !credential.sealed => {
            let pair = String::from_utf8_lossy(&credential.bytes);
            digest_id(settings.digest, &pair).unwrap_or_default().into()
        }
        // The name of an ensemble is no secret.
        "digest" | "ensemble" => credential.bytes.clone(),
        // Nothing depends on what others say.
        _ => Bytes::new(),
    };
    Credential { scheme: credential.scheme.clone(), bytes, sealed: true }
}

/// Who may do everything.
fn superuser() -> Identity {
    Identity { scheme: Text::from_static("super"), id: Text::default() }
}

/// Whether a connection with these identities may ask for anything.
///
/// Source: ZooKeeper `AuthenticationHelper`.
///
/// # Errors
/// [`ErrorCode::SessionClosedRequireAuth`] if an identity is demanded that it does not have.
pub fn admit(settings: &Settings, identities: &[Identity]) -> Result<(), ErrorCode> {
    let has = |scheme: &Text| identities.iter().any(|identity| identity.scheme == *scheme);
    if settings.demanded.is_empty() || settings.demanded.iter().any(has) {
        Ok(())
    } else {
        Err(ErrorCode::SessionClosedRequireAuth)
    }
}

/// `user:base64(hash("user:password"))`, if there is such a scheme.
pub fn digest_id(digest: Digest, pair: &str) -> Option<String> {
    let hash = match digest {
        Digest::Sha1 => STANDARD.encode(Sha1::digest(pair.as_bytes())),
        Digest::Sha224 => STANDARD.encode(Sha224::digest(pair.as_bytes())),
        Digest::Sha256 => STANDARD.encode(Sha256::digest(pair.as_bytes())),
        Digest::Sha384 => STANDARD.encode(Sha384::digest(pair.as_bytes())),
        Digest::Sha512 => STANDARD.encode(Sha512::digest(pair.as_bytes())),
        Digest::Sha512Short => STANDARD.encode(Sha512_224::digest(pair.as_bytes())),
        Digest::Sha512Half => STANDARD.encode(Sha512_256::digest(pair.as_bytes())),
        Digest::Off => return None,
    };
    let user = pair.split(':').next().unwrap_or_default();
    Some(format!("{user}:{hash}"))
}

/// As whom a connection watches: where lists do not count, as one who sees everything.
pub(crate) fn watching<'a>(settings: &Settings, identities: &'a [Identity]) -> Cow<'a, [Identity]> {
    if settings.skip_acl { Cow::Owned(vec![superuser()]) } else { Cow::Borrowed(identities) }
}

/// Whether a node with this list lets somebody with these identities do one of `perms`. An empty list is open.
///
/// Source: ZooKeeper `ZooKeeperServer.checkACL`.
pub fn permits(list: &[Acl], perms: i32, identities: &[Identity]) -> bool {
    if list.is_empty() || identities.iter().any(|identity| identity.scheme == "super") {
        return true;
    }
    let mut allowing = list.iter().filter(|entry| entry.perms & perms != 0);
    if is_compared(list, identities) {
        return allowing
            .any(|entry| is_world(entry) || identities.iter().any(|identity| matches(entry, identity)));
    }
    // Both are long, and somebody else's to choose: those that are as they are told are looked up, and there are few
    // others.
    let is_plain = |scheme: &Text| *scheme == "digest" || *scheme == "x509";
    let (plain, others): (Vec<_>, Vec<_>) =
        identities.iter().partition(|identity| is_plain(&identity.scheme));
    let plain: BTreeSet<_> = plain.into_iter().map(|identity| (&identity.scheme, &identity.id)).collect();
    allowing.any(|entry| {
        is_world(entry)
            || if is_plain(&entry.scheme) {
                plain.contains(&(&entry.scheme, &entry.id))
            } else {
                others.iter().any(|identity| matches(entry, identity))
            }
    })
}

/// How many comparisons of texts it takes at most to find that out.
pub(crate) fn cost(list: &[Acl], identities: &[Identity]) -> usize {
    if is_compared(list, identities) {
        list.len() * identities.len().max(1)
    } else {
        // Looked up among the identities, which are put in order for that.
        (list.len() + identities.len()) * LOOKED_UP
    }
}

/// Whether each entry is compared with each identity, and none is looked up.
fn is_compared(list: &[Acl], identities: &[Identity]) -> bool {
    list.len() < LONG || list.len().saturating_mul(identities.len()) < COMPARISONS_MAX
}

/// How many comparisons a look among as many identities as a connection may have comes to.
const LOOKED_UP: usize = 8;
/// How many entries a list has for which it pays to put the identities in order.
const LONG: usize = 32;
/// How many pairs of an entry and an identity are compared one by one.
const COMPARISONS_MAX: usize = 1024;

/// The list to store for the one that a client gave: without repetitions, in its order, with `auth` replaced by the
/// client's authenticated identities.
///
/// Source: ZooKeeper `PrepRequestProcessor.fixupACL`.
///
/// # Errors
/// [`ErrorCode::InvalidAcl`] for an empty list, one of more than 4,096 entries, an unknown scheme, an id that its scheme
/// does not take, `auth` without an authenticated identity, or with identities of more than 900,000 bytes.
pub fn resolve(settings: &Settings, list: &[Acl], identities: &[Identity]) -> Result<Vec<Acl>, ErrorCode> {
    resolve_within(settings, list, identities, &mut EXPANDED_BYTES_MAX.clone())
}

/// The same where `auth` may come to so many bytes, which are fewer then.
pub(crate) fn resolve_within(
    settings: &Settings,
    list: &[Acl],
    identities: &[Identity],
    room: &mut usize,
) -> Result<Vec<Acl>, ErrorCode> {
    if list.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut seen = BTreeSet::new();
    let mut resolved = Vec::with_capacity(list.len());
    for entry in list.iter().filter(|entry| seen.insert(*entry)) {
        if entry.scheme == "auth" {
            let authenticated = identities.iter().filter(|identity| match identity.scheme.as_str() {
                "digest" => true,
                "sasl" => settings.sasl,
                "x509" => settings.x509,
                _ => false,
            });
            let before = resolved.len();
            resolved.extend(authenticated.map(|identity| Acl {
                perms: entry.perms,
                scheme: identity.scheme.clone(),
                id: identity.id.clone(),
            }));
            if resolved.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
            *room = room.checked_sub(list_bytes(&resolved[before..])).ok_or(ErrorCode::InvalidAcl)?;
        } else if is_world(entry) || is_valid(settings, entry) {
            resolved.push(entry.clone());
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    if resolved.len() > ENTRIES_MAX {
        return Err(ErrorCode::InvalidAcl);
    }
    Ok(resolved)
}

/// How many bytes a list has where it is written.
pub(crate) fn list_bytes(list: &[Acl]) -> usize {
    list.iter().map(|entry| 12 + entry.scheme.as_str().len() + entry.id.as_str().len()).sum()
}

/// The list as those see it who may not change it: without hashes of passwords.
///
/// Source: ZooKeeper `FinalRequestProcessor`, getACL.
pub fn mask(list: &[Acl]) -> Cow<'_, [Acl]> {
    if list.iter().all(|entry| entry.scheme != "digest") {
        return Cow::Borrowed(list);
    }
    let masked = list.iter().map(|entry| {
        let mut entry = entry.clone();
        if entry.scheme == "digest"
            && let Some((user, _)) = entry.id.as_str().split_once(':')
        {
            entry.id = Text::from(format!("{user}:x"));
        }
        entry
    });
    Cow::Owned(masked.collect())
}

/// Whom a connection has authenticated as, as it may be told: the name of the user only.
///
/// Source: ZooKeeper `AuthUtil.getClientInfos`, `DigestAuthenticationProvider.getUserName`.
pub fn users(identities: &[Identity]) -> Vec<Identity> {
    let user = |identity: &Identity| match identity.scheme.as_str() {
        "digest" => identity.id.as_str().split(':').next().map(Text::from).unwrap_or_default(),
        _ => identity.id.clone(),
    };
    identities
        .iter()
        .map(|identity| Identity { scheme: identity.scheme.clone(), id: user(identity) })
        .collect()
}

fn is_world(entry: &Acl) -> bool {
    entry.scheme == "world" && entry.id == "anyone"
}

fn is_valid(settings: &Settings, entry: &Acl) -> bool {
    match entry.scheme.as_str() {
        "digest" if settings.digest == Digest::Off => false,
        // Java's split drops empty parts at the end, and exactly two must be left.
        "digest" => entry.id.as_str().trim_end_matches(':').split(':').count() == 2,
        "ip" => Network::parse(entry.id.as_str()).is_some(),
        "sasl" => settings.sasl && is_principal(entry.id.as_str()),
        "x509" => settings.x509 && names::is_name(entry.id.as_str()),
        _ => false,
    }
}

/// Whether this may be a user of scheme `sasl`: a name of Kerberos, `service/host@realm`, or one without a realm.
///
/// Source: ZooKeeper `KerberosName`.
fn is_principal(id: &str) -> bool {
    id.split_once('@')
        .is_none_or(|(name, realm)| name.matches('/').count() <= 1 && !realm.contains(['/', '@']))
}

fn matches(entry: &Acl, identity: &Identity) -> bool {
    if entry.scheme != identity.scheme {
        return false;
    }
    match entry.scheme.as_str() {
        "digest" | "x509" => entry.id == identity.id,
        "ip" => Network::parse(entry.id.as_str())
            .zip(address(identity.id.as_str()))
            .is_some_and(|(network, address)| network.contains(address)),
        "sasl" => identity.id == "super" || entry.id == identity.id,
        _ => false,
    }
}

/// An address and how many of its first bits count.
#[derive(Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (first, bits) = match text.split_once('/') {
            Some((first, bits)) => (first, Some(bits)),
            None => (text, None),
        };
        let address = address(first)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).ok()?;
        (bits <= width).then_some(Self { address, bits })
    }

    /// Whether an address of the same family begins with the same bits.
    fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let differ = mine.to_bits() ^ other.to_bits();
                self.bits == 0 || differ >> (32 - self.bits) == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let differ = mine.to_bits() ^ other.to_bits();
                self.bits == 0 || differ >> (128 - self.bits) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        // One of version 4 has a form of its own, by which its clients are known: this one would match nobody.
        if text.contains('.') {
            return None;
        }
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    // Leading zeros are allowed, unlike in the standard library's parser.
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = parts.next()?.parse().ok()?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::slice;

    use super::*;
    use crate::acl::{ADMIN, ALL, READ, WRITE};

    fn entry(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: Text::from(scheme), id: Text::from(id) }
    }

    fn plain() -> Settings {
        Settings::default()
    }

    fn identity(scheme: &str, id: &str) -> Identity {
        Identity { scheme: Text::from(scheme), id: Text::from(id) }
    }

    #[test]
    fn what_is_recorded_of_a_credential_proves_the_same_and_holds_no_password() {
        let owner = prove_digest(&plain(), &pair("super:secret")).expect("proved").remove(0);
        let named = Settings { super_digest: Some(owner.id.as_str().into()), ..plain() };
        for settings in [&plain(), &named, &Settings { digest: Digest::Sha256, ..plain() }] {
            for text in ["super:secret", "ann:secret", "secret", ""] {
                let recorded = sealed(settings, &pair(text));
                let shown = String::from_utf8_lossy(&recorded.bytes);
                assert!(!shown.split(':').skip(1).any(|told| told.contains("secret")), "{shown}");
                assert_eq!(prove_digest(settings, &recorded), prove_digest(settings, &pair(text)), "{text}");
                assert_eq!(sealed(settings, &recorded), recorded);
            }
        }
        let off = Settings { digest: Digest::Off, ..plain() };
        let recorded = sealed(&off, &pair("ann:secret"));
        assert_eq!((prove_digest(&off, &recorded), recorded.bytes), (Err(Unproved::Failed), Bytes::new()));
        let other = Credential { scheme: Text::from("kerberos"), bytes: "secret".into(), sealed: false };
        assert_eq!(sealed(&plain(), &other).bytes, Bytes::new());
    }

    fn pair(text: &str) -> Credential {
        Credential {
            scheme: Text::from("digest"),
            bytes: Bytes::copy_from_slice(text.as_bytes()),
            sealed: false,
        }
    }

    #[test]
    fn owners_of_certificates_are_named_as_java_names_them() {
        let offered = Settings { x509: true, ..plain() };
        let one = "CN=one,O=Zabkeeper";
        let owner = [identity("ip", "127.0.0.1"), identity("x509", one), identity("super", one)];
        for (settings, id, good) in [(&offered, one, true), (&offered, "one", false), (&plain(), one, false)]
        {
            assert_eq!(resolve(settings, &[entry(ALL, "x509", id)], &[]).is_ok(), good, "{id}");
        }
        // A super user's own name does not stand in a list.
        let stands = [entry(READ, "auth", "")];
        assert_eq!(resolve(&offered, &stands, &owner), Ok(vec![entry(READ, "x509", one)]));
        assert!(resolve(&plain(), &stands, &owner).is_err());
        let list = [entry(READ, "x509", one)];
        assert!(permits(&list, READ, &owner[..2]) && !permits(&list, WRITE, &owner[..2]));
        assert!(permits(&list, WRITE, &owner), "a super user's");
        assert!(!permits(&list, READ, &[identity("x509", "CN=two")]));
    }

    #[test]
    fn what_a_connection_has_it_may_say_again() {
        let proof =
            |scheme: &str| Credential { scheme: Text::from(scheme), bytes: Bytes::new(), sealed: false };
        let owner = [identity("ip", "::1"), identity("x509", "CN=one")];
        assert_eq!(authenticate(&plain(), &owner[..1], &proof("ip")), Ok(Vec::new()));
        assert_eq!(authenticate(&plain(), &owner, &proof("x509")), Ok(Vec::new()));
        assert_eq!(authenticate(&plain(), &owner[..1], &proof("x509")), Err(Unproved::Failed));
    }

    #[test]
    fn who_looks_for_another_ensemble_is_told_nothing() {
        let say = |ensembles: Option<&[&str]>, name: &'static str| {
            let names = |names: &[&str]| names.iter().map(|name| Text::from(*name)).collect();
            let settings = Settings { ensembles: ensembles.map(names), ..plain() };
            let credential = Credential { scheme: Text::from("ensemble"), bytes: name.into(), sealed: false };
            authenticate(&settings, &[], &credential)
        };
        assert_eq!(say(None, "a"), Err(Unproved::Failed), "there is no such provider");
        assert_eq!(say(Some(&[]), "a"), Ok(Vec::new()), "it has no name");
        assert_eq!(say(Some(&["a", "b"]), "b"), Ok(Vec::new()));
        assert_eq!(say(Some(&["a", "b"]), ""), Ok(Vec::new()));
        assert_eq!(say(Some(&["a", "b"]), "c"), Err(Unproved::Elsewhere));
    }

    #[test]
    fn a_digest_is_what_zookeeper_makes_of_it() {
        // The value is in ZooKeeper's own documentation of superDigest.
        let id = "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=";
        assert_eq!(digest_id(Digest::Sha1, "super:superpw").as_deref(), Some(id));
        let proof = Credential {
            scheme: Text::from("digest"),
            bytes: Bytes::from_static(b"super:superpw"),
            sealed: false,
        };
        assert_eq!(authenticate(&plain(), &[], &proof), Ok(vec![identity("digest", id)]));
        let other = Credential { scheme: Text::from("sasl"), bytes: Bytes::new(), sealed: false };
        assert_eq!(authenticate(&plain(), &[], &other), Err(Unproved::Failed));
        let named = Settings { super_digest: Some(Text::from(id)), ..plain() };
        let both = vec![identity("super", ""), identity("digest", id)];
        assert_eq!(authenticate(&named, &[], &proof), Ok(both));
        let off = Settings { digest: Digest::Off, ..named };
        assert_eq!(authenticate(&off, &[], &proof), Err(Unproved::Failed));
        assert_eq!(resolve(&off, &[entry(ALL, "digest", id)], &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn passwords_are_hashed_as_the_operator_says() {
        let rows = [
            ("SHA1", "ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM="),
            ("sha-256", "ann:gW+b8HZum3TwTstGfpl32bPArFr4tjcyRtV13gDSyK0="),
            (
                "SHA-512",
                "ann:lVMYHROV+NGkSUWy/Es9qho4J4cgm1epH8EgdfP8F7i0eLt92R/Aea8IKNSohiaNjifc0cxJFw64HTSR91JmxQ==",
            ),
        ];
        for (name, id) in rows {
            let digest = Digest::from_name(name).expect(name);
            assert_eq!(digest_id(digest, "ann:secret").as_deref(), Some(id), "{name}");
        }
        assert_eq!(Digest::from_name("MD5"), None);
    }

    #[test]
    fn lists_are_judged_entry_by_entry() {
        let rows: &[(&str, &str, bool, &str)] = &[
            ("world", "anyone", true, "everybody"),
            ("world", "someone", false, "world has one id"),
            ("digest", "a:b", true, "user and hash"),
            ("digest", ":b", true, "an empty user is one"),
            ("digest", "a:b:", true, "what is empty at the end does not count"),
            ("digest", "a:", false, "no hash"),
            ("digest", "a", false, "no colon"),
            ("digest", "a:b:c", false, "too many parts"),
            ("ip", "127.0.0.1", true, "an address"),
            ("ip", "010.0.0.1", true, "with leading zeros"),
            ("ip", "10.0.0.0/8", true, "a network"),
            ("ip", "10.0.0.0/33", false, "too many bits"),
            ("ip", "10.0.0.0/-1", false, "too few"),
            ("ip", "10.0.0", false, "too few parts"),
            ("ip", "::ffff:10.0.0.1", false, "a form of another kind of address, which no client has"),
            ("ip", "10.0.0.256", false, "too large a part"),
            ("ip", "fe80::/10", true, "the other family"),
            ("ip", "fe80:::1", false, "malformed"),
            ("ip", "localhost", false, "a name"),
            ("sasl", "a", false, "a scheme that is not offered"),
            ("", "", false, "null in the request"),
        ];
        for (scheme, id, good, why) in rows {
            assert_eq!(
                resolve(&plain(), &[entry(ALL, scheme, id)], &[]).is_ok(),
                *good,
                "{scheme}:{id}: {why}"
            );
        }
        assert_eq!(resolve(&plain(), &[], &[]), Err(ErrorCode::InvalidAcl), "an empty list");
    }

    #[test]
    fn users_of_sasl_are_known_where_it_is_offered() {
        let offered = Settings { sasl: true, ..plain() };
        for (id, good) in
            [("bob", true), ("zk/host@REALM", true), ("a/b", true), ("a/b/c@R", false), ("a@b@c", false)]
        {
            assert_eq!(resolve(&offered, &[entry(ALL, "sasl", id)], &[]).is_ok(), good, "{id}");
        }
        let list = [entry(READ, "sasl", "bob")];
        let may = |id: &str| permits(&list, READ, &[identity("sasl", id)]);
        assert!(may("bob") && may("super") && !may("eve"));
        assert!(!permits(&list, READ, &[identity("digest", "bob")]), "another scheme");
        let stands = [entry(ALL, "auth", "")];
        let bob = [identity("ip", "127.0.0.1"), identity("sasl", "bob")];
        assert_eq!(resolve(&offered, &stands, &bob), Ok(vec![entry(ALL, "sasl", "bob")]));
        assert_eq!(resolve(&plain(), &stands, &bob), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn who_has_not_proved_what_is_demanded_may_not_ask() {
        let demands = Settings { demanded: vec![Text::from("sasl"), Text::from("digest")], ..plain() };
        let (address, digest) = (identity("ip", "127.0.0.1"), identity("digest", "a:b"));
        assert_eq!(admit(&plain(), slice::from_ref(&address)), Ok(()));
        assert_eq!(admit(&demands, slice::from_ref(&address)), Err(ErrorCode::SessionClosedRequireAuth));
        assert_eq!(admit(&demands, &[address, digest]), Ok(()));
    }

    #[test]
    fn auth_stands_for_every_authenticated_identity() {
        let auth = entry(READ, "auth", "ignored");
        let ip = identity("ip", "127.0.0.1");
        assert_eq!(
            resolve(&plain(), slice::from_ref(&auth), slice::from_ref(&ip)),
            Err(ErrorCode::InvalidAcl),
            "an address is not enough"
        );
        let known = [ip, identity("digest", "a:1"), identity("super", ""), identity("digest", "b:2")];
        let expected = vec![entry(READ, "digest", "a:1"), entry(READ, "digest", "b:2")];
        assert_eq!(
            resolve(&plain(), &[auth.clone(), auth], &known),
            Ok(expected),
            "repetitions are dropped before"
        );
    }

    #[test]
    fn auth_stands_for_so_much_and_no_more() {
        let known: Vec<_> = (0..1000).map(|user| identity("digest", &format!("user{user}:hash"))).collect();
        let auth = |perms| entry(perms, "auth", "");
        let taken = resolve(&plain(), &[1, 2, 3, 4].map(auth), &known).expect("no more than 4,096 entries");
        assert_eq!(taken.len(), 4000);
        assert_eq!(resolve(&plain(), &[1, 2, 3, 4, 5].map(auth), &known), Err(ErrorCode::InvalidAcl));
        let mut room = EXPANDED_BYTES_MAX;
        let list = [1, 2, 3, 4].map(auth);
        let taken =
            (0..1000).take_while(|_| resolve_within(&plain(), &list, &known, &mut room).is_ok()).count();
        assert_eq!(taken, EXPANDED_BYTES_MAX / list_bytes(&taken_once(&list, &known)));
    }

    fn taken_once(list: &[Acl], known: &[Identity]) -> Vec<Acl> {
        resolve(&plain(), list, known).expect("taken")
    }

    #[test]
    fn lists_have_so_many_entries_and_no_more() {
        let list = |count: usize| -> Vec<_> {
            (0..count).map(|at| entry(ALL, "ip", &format!("10.1.{}.{}", at / 256, at % 256))).collect()
        };
        assert!(resolve(&plain(), &list(ENTRIES_MAX), &[]).is_ok());
        assert_eq!(resolve(&plain(), &list(ENTRIES_MAX + 1), &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn long_lists_allow_what_short_ones_do() {
        let some = |count: usize| (0..count).map(|user| identity("digest", &format!("u{user}:h")));
        let address = identity("ip", "10.1.2.3");
        let padding = (0..COMPARISONS_MAX).map(|at| entry(ALL, "digest", &format!("nobody{at}:h")));
        let long: Vec<_> = some(50).chain([address.clone(), identity("sasl", "bob")]).collect();
        let rows = [
            (entry(READ, "digest", "u49:h"), true),
            (entry(READ, "digest", "u50:h"), false),
            (entry(WRITE, "digest", "u49:h"), false),
            (entry(READ, "ip", "10.1.0.0/16"), true),
            (entry(READ, "ip", "10.2.0.0/16"), false),
            (entry(READ, "sasl", "bob"), true),
            (entry(READ, "sasl", "u1:h"), false),
            (entry(READ, "world", "anyone"), true),
        ];
        for (last, may) in rows {
            assert_eq!(permits(slice::from_ref(&last), READ, &long), may, "{last:?} alone");
            let list: Vec<_> = padding.clone().chain([last.clone()]).collect();
            assert_eq!(permits(&list, READ, &long), may, "{last:?} behind others");
        }
    }

    #[test]
    fn order_is_kept_and_repetitions_go() {
        let list =
            [entry(READ, "world", "anyone"), entry(ALL, "digest", "a:b"), entry(READ, "world", "anyone")];
        assert_eq!(resolve(&plain(), &list, &[]), Ok(list[..2].to_vec()));
    }

    #[test]
    fn permission_is_a_matter_of_bits_and_identity() {
        let me = [identity("ip", "10.1.2.3"), identity("digest", "a:1")];
        let rows: &[(&[Acl], i32, bool, &str)] = &[
            (&[], ALL, true, "an empty list is open"),
            (&[entry(READ, "world", "anyone")], READ, true, "everybody may"),
            (&[entry(READ, "world", "anyone")], WRITE, false, "but only this"),
            (&[entry(ADMIN, "world", "anyone")], READ | ADMIN, true, "one of several is enough"),
            (&[entry(ALL, "digest", "a:1")], WRITE, true, "my identity"),
            (&[entry(ALL, "digest", "a:2")], WRITE, false, "another password"),
            (&[entry(ALL, "ip", "10.1.0.0/16")], WRITE, true, "my network"),
            (&[entry(ALL, "ip", "10.1.2.3")], WRITE, true, "my address"),
            (&[entry(ALL, "ip", "10.2.0.0/16")], WRITE, false, "another network"),
            (&[entry(ALL, "ip", "0.0.0.0/0")], WRITE, true, "every network"),
            (&[entry(ALL, "ip", "::/0")], WRITE, false, "of my family"),
            (&[entry(0, "world", "anyone")], READ, false, "nobody may do anything"),
        ];
        for (list, perms, allowed, why) in rows {
            assert_eq!(permits(list, *perms, &me), *allowed, "{list:?} {perms}: {why}");
        }
        assert!(
            permits(&[entry(0, "world", "anyone")], ALL, &[identity("super", "")]),
            "super may everything"
        );
    }

    #[test]
    fn hashes_are_masked() {
        let list = [entry(ALL, "digest", "a:secret"), entry(READ, "world", "anyone")];
        assert_eq!(mask(&list).as_ref(), [entry(ALL, "digest", "a:x"), entry(READ, "world", "anyone")]);
        assert!(matches!(mask(&list[1..]), Cow::Borrowed(_)), "nothing to mask, nothing to copy");
    }
}
