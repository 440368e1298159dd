//! Stores that are read, and what connections are made from.

use std::{
    collections::BTreeMap, fs, net::IpAddr, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc,
    time::SystemTime,
};

use rustls::{
    CertificateError, ClientConfig, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SigningKey},
};

use crate::{
    Error, Settings, StoreError,
    certificate::{Certificate, public_key},
    key::with_public,
    settings::{ClientAuth, StoreFile, suite},
    store::{Key, ordered},
    verify::{Clients, Servers, Trust, is_for},
};

/// From what connections are made.
#[derive(Clone, Debug)]
pub struct Context {
    /// For those that are taken; none without a key.
    pub server: Option<Arc<ServerConfig>>,
    /// For those that are dialled; none without anybody to trust.
    pub client: Option<Arc<ClientConfig>>,
    /// What is worth a word about the stores.
    pub warnings: Vec<String>,
}

/// How files stood when they were looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fingerprint(BTreeMap<PathBuf, Option<(u64, u64, SystemTime)>>);

impl Fingerprint {
    /// Looks at the files that settings name.
    pub fn take(settings: &Settings) -> Self {
        let stores = [&settings.key_store, &settings.trust_store].into_iter().flatten();
        let look = |path: &PathBuf| {
            let file = fs::metadata(path).ok()?;
            Some((file.len(), file.ino(), file.modified().ok()?))
        };
        Self(stores.flat_map(StoreFile::files).map(|path| (path.clone(), look(path))).collect())
    }
}

impl Context {
    /// Reads the stores.
    ///
    /// # Errors
    /// If one cannot be read, or does not have what it is there for.
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let provider = Arc::new(provider(settings));
        let own = settings.key_store.as_ref().map(|file| own(file, &provider)).transpose()?;
        let trust = match &settings.trust_store {
            None => None,
            Some(file) => Some(trust(file, &provider, &mut warnings)?),
        };
        let server = match &own {
            None => None,
            Some(own) => Some(Arc::new(server(settings, own, trust.as_ref(), &provider)?)),
        };
        let client = match &trust {
            None => None,
            Some(trust) => Some(Arc::new(client(settings, own.as_ref(), trust, &provider)?)),
        };
        Ok(Self { server, client, warnings })
    }
}

fn provider(settings: &Settings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(names) = &settings.suites {
        provider.cipher_suites = names.iter().filter_map(|name| suite(name)).collect();
    }
    provider
}

fn refused(what: impl Into<String>) -> impl FnOnce(rustls::Error) -> Error {
    move |source| Error::Refused { what: what.into(), source }
}

/// The key of a store, with the certificates that go with it in order.
fn own(file: &StoreFile, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let wrong = |source| Error::Store { path: file.path.clone(), source };
    let Some(Key { key, chain }) = file.read()?.key else {
        let advice = "a key store has a private key and its certificates, and is opened by its password";
        return Err(wrong(StoreError::Lacks { what: "there is no private key in it", advice }));
    };
    let what = format!("the private key of {}", file.path.display());
    let key = private(&key, &chain, provider).map_err(refused(what))?;
    let public = key.public_key();
    let is_own = |certificate: &CertificateDer<'static>| match &public {
        // A key that does not tell: the first certificate is its.
        None => true,
        Some(public) => public_key(certificate).is_ok_and(|found| found == public.as_ref()),
    };
    let Some(chain) = ordered(&chain, is_own) else {
        let advice = "a key store has the certificate of its key";
        return Err(wrong(StoreError::Lacks { what: "no certificate in it is for its private key", advice }));
    };
    for certificate in &chain {
        let read = Certificate::read(certificate).map_err(wrong)?;
        if read.is_signed_weakly() && read.issuer != read.subject {
            return Err(wrong(StoreError::Unsupported {
                what: "a certificate that is signed with SHA-1 or MD5".to_owned(),
                advice: "have it signed anew, with SHA-256 or better",
            }));
        }
    }
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Loads a private key, with the public half of a certificate's where it needs one.
fn private(
    key: &PrivateKeyDer<'static>,
    chain: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    let load = |key| provider.key_provider.load_private_key(key);
    let refused = match load(key.clone_key()) {
        Ok(key) => return Ok(key),
        Err(refused) => refused,
    };
    let PrivateKeyDer::Pkcs8(key) = key else { return Err(refused) };
    let publics = chain.iter().filter_map(|certificate| public_key(certificate).ok());
    let mut whole = publics.filter_map(|public| with_public(key.secret_pkcs8_der(), public));
    whole.find_map(|key| load(PrivateKeyDer::Pkcs8(key.into())).ok()).ok_or(refused)
}

fn trust(
    file: &StoreFile,
    provider: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<Arc<Trust>, Error> {
    let certificates = file.read()?.trusted;
    let count = certificates.len();
    let (trust, ignored) = Trust::new(&certificates, Arc::clone(provider));
    if trust.is_empty() {
        let what = if count == 0 {
            "there is no certificate in it that is trusted"
        } else {
            "no certificate in it can be used"
        };
        let advice = "a trust store has certificates of authorities, or of those who connect";
        let source = StoreError::Lacks { what, advice };
        return Err(Error::Store { path: file.path.clone(), source });
    }
    if ignored > 0 {
        warnings.push(format!(
            "{}: {ignored} of {count} certificates cannot be used, and vouch for nobody",
            file.path.display()
        ));
    }
    Ok(Arc::new(trust))
}

/// Shows the one certificate that there is, to everybody.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for Shown {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        // Also to servers that do not say that they know its authority: they may know itself.
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn server(
    settings: &Settings,
    own: &Arc<CertifiedKey>,
    trust: Option<&Arc<Trust>>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, Error> {
    let versions: Vec<_> = settings.protocols.iter().map(|protocol| protocol.version()).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)
        .map_err(refused("the versions of TLS and the cipher suites"))?;
    let builder = match (settings.client_auth, trust) {
        (ClientAuth::None, _) => builder.with_no_client_auth(),
        (ClientAuth::Want | ClientAuth::Need, None) => {
            return Err(Error::Missing(
                "whoever connects is to show a certificate, and no trust store is named",
            ));
        }
        (auth @ (ClientAuth::Want | ClientAuth::Need), Some(trust)) => {
            let clients = Clients::new(trust, auth == ClientAuth::Want);
            builder.with_client_cert_verifier(Arc::new(clients.map_err(refused("the trust store"))?))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Shown(Arc::clone(own))));
    // Each connection is judged anew, and strangers leave nothing behind.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    settings: &Settings,
    own: Option<&Arc<CertifiedKey>>,
    trust: &Arc<Trust>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, Error> {
    let versions: Vec<_> = settings.protocols.iter().map(|protocol| protocol.version()).collect();
    let servers = Servers { trust: Arc::clone(trust), by_name: settings.verifies_servers };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)
        .map_err(refused("the versions of TLS and the cipher suites"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(servers));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(Arc::new(Shown(Arc::clone(own)))),
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// A host as it is looked for in certificates.
pub fn name_of(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// Whether a certificate is for one of these hosts, or for this address.
pub fn is_for_any<'a>(
    certificate: &CertificateDer<'_>,
    address: IpAddr,
    mut hosts: impl Iterator<Item = &'a str>,
) -> bool {
    is_for(certificate, &ServerName::from(address)).is_ok()
        || hosts.any(|host| name_of(host).is_some_and(|host| is_for(certificate, &host).is_ok()))
}

/// What became of a handshake, with what to do where that is known.
pub fn tell(error: &rustls::Error) -> String {
    let is = |certificate: CertificateError| *error == rustls::Error::InvalidCertificate(certificate);
    let text = error.to_string();
    let advice = if text.contains("CaUsedAsEndEntity") {
        "it shows the certificate of an authority, or one signed by itself, which the trust store does not have"
    } else if is(CertificateError::UnknownIssuer) {
        "the trust store has neither its certificate nor one that vouches for it"
    } else if text.contains("not valid for name") {
        "its certificate is for another host; hostnameVerification=false lets it pass"
    } else if is(CertificateError::InvalidPurpose) {
        "its key usage says that its key is not for signing (digitalSignature)"
    } else if text.contains("expired") {
        "its certificate has to be made anew"
    } else if *error == rustls::Error::NoCertificatesPresented {
        "it shows no certificate; clientAuth=want lets it pass"
    } else if matches!(error, rustls::Error::InvalidMessage(_)) {
        "it does not speak TLS"
    } else {
        return text;
    };
    format!("{text}: {advice}")
}
