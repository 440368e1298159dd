//! What an operator sets about TLS.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, crypto::ring, version};

use crate::{Error, Store};

/// Bytes that a store may have: those of all authorities that systems come with are less than one million.
const BYTES_MAX: u64 = 16 << 20;

/// Text that is not to be printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a store is, and what opens it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreFile {
    /// The file.
    pub path: PathBuf,
    /// Its password; empty if there is none.
    pub password: Secret,
    /// A file with the password, which counts more.
    pub password_path: Option<PathBuf>,
}

impl StoreFile {
    /// Reads it.
    ///
    /// # Errors
    /// If a file cannot be read, or is no store.
    pub fn read(&self) -> Result<Store, Error> {
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| Error::File { path, source }
        };
        let password = match &self.password_path {
            None => self.password.0.clone(),
            Some(path) => {
                let text = String::from_utf8(read(path).map_err(failed(path))?)
                    .map_err(|error| failed(path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }
        };
        let bytes = read(&self.path).map_err(failed(&self.path))?;
        Store::read(&bytes, &password).map_err(|source| Error::Store { path: self.path.clone(), source })
    }

    /// The files that it is made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.path).chain(&self.password_path)
    }
}

/// Reads a file, which is one and not endless.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::metadata(path)?;
    if !file.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if file.len() > BYTES_MAX {
        return Err(io::Error::other(format!("it has {} bytes, and may have {BYTES_MAX}", file.len())));
    }
    fs::read(path)
}

/// What a server asks of those who connect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    /// No certificate.
    None,
    /// A certificate, or none.
    Want,
    /// A certificate.
    #[default]
    Need,
}

impl ClientAuth {
    /// The one of this name; as in Java, case does not count.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "none" => Some(Self::None),
            "want" => Some(Self::Want),
            "need" => Some(Self::Need),
            _ => None,
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl Protocol {
    /// The one of this name, as Java knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "TLSv1.2" => Some(Self::Tls12),
            "TLSv1.3" => Some(Self::Tls13),
            _ => None,
        }
    }

    pub(crate) fn version(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &version::TLS12,
            Self::Tls13 => &version::TLS13,
        }
    }
}

/// How connections are to be made, and with whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Who this is.
    pub key_store: Option<StoreFile>,
    /// Whom to trust.
    pub trust_store: Option<StoreFile>,
    /// What is asked of those who connect.
    pub client_auth: ClientAuth,
    /// The versions that will do.
    pub protocols: Vec<Protocol>,
    /// The cipher suites that will do, best first, by Java's names; all if `None`.
    pub suites: Option<Vec<String>>,
    /// Whether the certificate of a server that is dialled has to be for the name by which it is dialled.
    pub verifies_servers: bool,
    /// Whether the certificate of one who connects has to be for where it connects from.
    pub verifies_clients: bool,
    /// How long somebody who connects may take to begin, in milliseconds.
    pub detection_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key_store: None,
            trust_store: None,
            client_auth: ClientAuth::Need,
            protocols: vec![Protocol::Tls13],
            suites: None,
            verifies_servers: true,
            verifies_clients: false,
            detection_ms: 5000,
        }
    }
}

/// The cipher suites that there are, by Java's names.
pub fn suite_names() -> Vec<String> {
    ring::ALL_CIPHER_SUITES.iter().map(|suite| name(suite.suite())).collect()
}

/// The suite of this name.
pub(crate) fn suite(wanted: &str) -> Option<SupportedCipherSuite> {
    ring::ALL_CIPHER_SUITES.iter().find(|suite| name(suite.suite()) == wanted).copied()
}

/// As Java writes it: without the version that the library puts in front.
fn name(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or_default();
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_javas_names() {
        let names = suite_names();
        for known in [
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        ] {
            assert!(names.iter().any(|name| name == known) && suite(known).is_some(), "{known}: {names:?}");
        }
        assert!(suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA").is_none());
    }

    #[test]
    fn passwords_are_not_printed() {
        let file = StoreFile { path: "x".into(), password: Secret("geheim".into()), password_path: None };
        assert!(!format!("{file:?}").contains("geheim"));
    }
}
