//! What an operator may set about what requests come to.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Owner, Text};

/// What requests come to at a leader with these settings.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own, not one state")]
pub struct Settings {
    /// Whether nodes with a time to live may be created (`extendedTypesEnabled`).
    pub ttl_nodes: bool,
    /// How long a container may stay that never had a child, in milliseconds (`znode.container.maxNeverUsedIntervalMs`);
    /// 0 for as long as it likes.
    pub container_unused_max_ms: i64,
    /// Whether a write that would pass a hard limit of a quota is refused (`enforceQuota`).
    pub enforce_quota: bool,
    /// Whether everybody may do everything (`skipACL`).
    pub skip_acl: bool,
    /// What passwords are hashed with (`DigestAuthenticationProvider.digestAlg`).
    pub digest: Digest,
    /// Who proves this identity of scheme `digest` may do everything (`DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<Text>,
    /// Whether lists may name users of scheme `sasl` (`authProvider.N` with `SASLAuthenticationProvider`).
    pub sasl: bool,
    /// Whether lists may name owners of certificates, in scheme `x509` (a port that speaks TLS, or `authProvider.N` with
    /// `X509AuthenticationProvider`).
    pub x509: bool,
    /// The names of this ensemble (`ensembleAuthName`), where clients may say which one they look for (`authProvider.N`
    /// with `EnsembleAuthenticationProvider`); every name is taken if this is empty.
    pub ensembles: Option<Vec<Text>>,
    /// A connection has to prove an identity of one of these schemes before it may ask for anything
    /// (`enforce.auth.schemes`, `sessionRequireClientSASLAuth`); none are demanded if this is empty.
    pub demanded: Vec<Text>,
}

/// What passwords of scheme `digest` are hashed with.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Digest {
    /// SHA-1.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512, 224 bits of it.
    Sha512Short,
    /// SHA-512, 256 bits of it.
    Sha512Half,
    /// Nothing: the scheme is not offered (`DigestAuthenticationProvider.enabled`).
    Off,
}

impl Digest {
    /// The algorithm of this name, as Java knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SHA" | "SHA1" | "SHA-1" => Some(Self::Sha1),
            "SHA-224" => Some(Self::Sha224),
            "SHA-256" => Some(Self::Sha256),
            "SHA-384" => Some(Self::Sha384),
            "SHA-512" => Some(Self::Sha512),
            "SHA-512/224" => Some(Self::Sha512Short),
            "SHA-512/256" => Some(Self::Sha512Half),
            _ => None,
        }
    }
}

impl Settings {
    /// Whether the time of a node without children is over (rule T-21).
    ///
    /// Source: ZooKeeper `ContainerManager.getCandidates`.
    pub(crate) fn is_over(&self, owner: Owner, creations: i32, mtime: i64, now: i64) -> bool {
        let idle_ms = now.saturating_sub(mtime);
        match owner {
            Owner::Container => {
                creations > 0 || self.container_unused_max_ms != 0 && idle_ms > self.container_unused_max_ms
            }
            Owner::Ttl(ttl_ms) => ttl_ms != 0 && idle_ms > ttl_ms,
            Owner::None | Owner::Session(_) => false,
        }
    }
}
