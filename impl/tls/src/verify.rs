//! Whom to trust: as Java decides it, where that is safe.
//!
//! A certificate that stands in the trust store itself is trusted, whatever else it is: signed by itself, or one of an
//! authority's; only its time has to be right. Every other has to be vouched for by one in the trust store. A server
//! that names no hosts in its certificate is known by the certificate's common name, as for Java. Whoever connects is
//! not asked for a name here.

use std::{collections::BTreeSet, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::certificate::{Certificate, common_name};

/// The certificates of a trust store.
#[derive(Debug)]
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    pinned: BTreeSet<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Those that can be used, and how many cannot.
    pub(crate) fn new(
        certificates: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> (Self, usize) {
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(certificates.iter().cloned());
        let pinned = certificates.iter().map(|one| one.to_vec()).collect();
        (Self { roots: Arc::new(roots), pinned, provider }, ignored)
    }

    /// Whether there is nobody to trust.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Whether this certificate stands in the trust store; an error if its time is not now.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.pinned.contains(certificate.as_ref()) {
            return Ok(false);
        }
        let valid = Certificate::read(certificate).map_err(|_| CertificateError::BadEncoding)?.valid;
        if now.as_secs() < valid.0 {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > valid.1 {
            return Err(CertificateError::Expired.into());
        }
        Ok(true)
    }

    fn verify_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate is for this host: by the hosts that it names, or by its common name if it names none.
pub(crate) fn is_for(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Error> {
    let refused = match ParsedCertificate::try_from(certificate) {
        Ok(parsed) => match verify_server_name(&parsed, host) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
        Err(error) => error,
    };
    let ServerName::DnsName(wanted) = host else { return Err(refused) };
    let names_hosts = Certificate::read(certificate).is_ok_and(|read| read.names_hosts);
    match common_name(certificate) {
        Some(name) if !names_hosts && stands_for(&name, wanted.as_ref()) => Ok(()),
        _ => Err(refused),
    }
}

/// Whether a name of a certificate, of which the first part may be a star, stands for a host.
fn stands_for(name: &str, host: &str) -> bool {
    if let Some(parent) = name.strip_prefix("*.") {
        return host.split_once('.').is_some_and(|(first, rest)| {
            !first.is_empty() && parent.contains('.') && rest.eq_ignore_ascii_case(parent)
        });
    }
    name.eq_ignore_ascii_case(host)
}

/// Judges those who connect.
#[derive(Debug)]
pub(crate) struct Clients {
    trust: Arc<Trust>,
    inner: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    pub(crate) fn new(trust: &Arc<Trust>, optional: bool) -> Result<Self, Error> {
        let builder = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&trust.roots),
            Arc::clone(&trust.provider),
        );
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        let inner = builder.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { trust: Arc::clone(trust), inner })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.trust.is_pinned(end_entity, now)? {
            return Ok(ClientCertVerified::assertion());
        }
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.schemes()
    }
}

/// Judges servers that are dialled.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) trust: Arc<Trust>,
    /// Whether their certificates have to be for the name by which they are dialled.
    pub(crate) by_name: bool,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.trust.is_pinned(end_entity, now)? {
            let known = self.trust.provider.signature_verification_algorithms.all;
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let roots = &self.trust.roots;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, known)?;
        }
        if self.by_name {
            is_for(end_entity, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::stands_for;

    #[test]
    fn a_common_name_stands_for_its_host_and_with_a_star_for_those_below() {
        let rows = [
            ("zk1.example.com", "ZK1.example.com", true),
            ("zk1.example.com", "zk2.example.com", false),
            ("*.example.com", "zk1.example.com", true),
            ("*.example.com", "a.zk1.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("*", "example", false),
        ];
        for (name, host, expected) in rows {
            assert_eq!(stands_for(name, host), expected, "{name} for {host}");
        }
    }
}
