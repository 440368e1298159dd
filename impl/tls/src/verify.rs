//! Whom to trust: as Java decides it, where that is safe.
//!
//! A certificate that stands in the trust store itself is trusted, whatever else it is: signed by itself, or one of an
//! authority's; only its time has to be right. Every other has to be vouched for by an authority in the trust store; one
//! that does not say that it is an authority vouches for nobody. Certificates of the first version, which say nothing of
//! the kind, are still made a lot for clusters; the library does not read them, so they are verified here. A server
//! that names no hosts in its certificate is known by the certificate's common name, as for Java. Whoever connects is
//! not asked for a name here. What a key is for, which the library does not look at, counts as for Java: an authority
//! between vouches only with a key that may sign certificates, and nobody proves himself with one that may not sign.

use std::{collections::BTreeSet, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, RootCertStore,
    SignatureScheme,
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
    /// Those that may vouch for others.
    authorities: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    /// Every one.
    pinned: BTreeSet<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Those that can be used, and how many cannot.
    pub(crate) fn new(
        certificates: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> (Self, usize) {
        let (mut authorities, mut pinned) = (Vec::new(), BTreeSet::new());
        for certificate in certificates {
            // Who stands for itself alone must not make others as it likes.
            match Certificate::read(certificate) {
                Ok(read) if read.is_authority => authorities.push(certificate.clone()),
                Ok(_) => {}
                Err(_) => continue,
            }
            pinned.insert(certificate.to_vec());
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let ignored = certificates.len().saturating_sub(pinned.len());
        (Self { authorities, roots: Arc::new(roots), pinned, provider }, ignored)
    }

    /// Whether there is nobody to trust.
    pub(crate) fn is_empty(&self) -> bool {
        self.pinned.is_empty()
    }

    /// Whether this certificate stands in the trust store; an error if its time is not now.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        let is_pinned = self.pinned.contains(certificate.as_ref());
        if is_pinned {
            in_time(&read(certificate)?, now)?;
        }
        Ok(is_pinned)
    }

    /// Verifies a certificate of the first version, which the library does not read: an authority of the trust store has
    /// signed it itself.
    fn verify_first(&self, certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
        in_time(certificate, now)?;
        let (algorithm, signature) = certificate.signature;
        let known = self.provider.signature_verification_algorithms.all;
        for authority in &self.authorities {
            let Ok(authority) = Certificate::read(authority) else { continue };
            if authority.subject != certificate.issuer || in_time(&authority, now).is_err() {
                continue;
            }
            let (key_algorithm, key) = authority.key;
            let is_signed = known.iter().any(|known| {
                known.signature_alg_id().as_ref() == algorithm
                    && known.public_key_alg_id().as_ref() == key_algorithm
                    && known.verify_signature(key, certificate.signed, signature).is_ok()
            });
            if is_signed {
                return Ok(());
            }
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    /// Whether the owner of this certificate has signed the handshake.
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        let read = read(certificate)?;
        if !read.is_first {
            return if is_tls13 {
                verify_tls13_signature(message, certificate, signed, known)
            } else {
                verify_tls12_signature(message, certificate, signed, known)
            };
        }
        let of_old = [
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
        ];
        if is_tls13 && of_old.contains(&signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let (key_algorithm, key) = read.key;
        let algorithms = known.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let algorithms = algorithms.map_or(&[][..], |(_, algorithms)| algorithms);
        // A scheme of 1.3 names a curve, and so means the first of them alone.
        let count = if is_tls13 { 1 } else { algorithms.len() };
        let is_signed = algorithms.iter().take(count).any(|known| {
            known.public_key_alg_id().as_ref() == key_algorithm
                && known.verify_signature(key, message, signed.signature()).is_ok()
        });
        if is_signed {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::read(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// Those that may vouch for others by what they say of their keys; of what cannot be read the library tells.
fn vouching<'a>(intermediates: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let may = |one: &&CertificateDer<'_>| !Certificate::read(one).is_ok_and(|read| !read.usage.vouches);
    intermediates.iter().filter(may).cloned().collect()
}

/// Whether the owner may prove himself with this key.
fn signs(certificate: &Certificate<'_>) -> Result<(), Error> {
    if certificate.usage.signs { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
}

fn in_time(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let (from, to) = certificate.valid;
    if now.as_secs() < from {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > to {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
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
    /// Whether who shows no certificate may pass.
    optional: bool,
    /// Judges whom an authority vouches for; none without any.
    vouched: Option<Arc<dyn ClientCertVerifier>>,
}

impl Clients {
    pub(crate) fn new(trust: &Arc<Trust>, optional: bool) -> Result<Self, Error> {
        let vouched = if trust.roots.is_empty() {
            None
        } else {
            let (roots, provider) = (Arc::clone(&trust.roots), Arc::clone(&trust.provider));
            let built = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            Some(built.map_err(|error| Error::General(error.to_string()))?)
        };
        Ok(Self { trust: Arc::clone(trust), optional, vouched })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        !self.optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Those who stand for themselves are not named here; they show what they have nevertheless.
        &[]
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
        let read = read(end_entity)?;
        if read.is_first {
            return self.trust.verify_first(&read, now).map(|()| ClientCertVerified::assertion());
        }
        signs(&read)?;
        match &self.vouched {
            Some(vouched) => vouched.verify_client_cert(end_entity, &vouching(intermediates), now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify(message, certificate, signed, true)
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
            let read = read(end_entity)?;
            if read.is_first {
                self.trust.verify_first(&read, now)?;
            } else {
                let known = self.trust.provider.signature_verification_algorithms.all;
                signs(&read)?;
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let (roots, between) = (&self.trust.roots, vouching(intermediates));
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, &between, now, known)?;
            }
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
        self.trust.verify(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify(message, certificate, signed, true)
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
