//! Who may connect, and who counts as whom: what operators set about SASL and demanded identities.

use std::{collections::BTreeMap, io, path::Path};

use tree::{Digest, Settings, Text};

use super::reader::Reader;
use crate::sasl::Sasl;

const JAAS: &str = "java.security.auth.login.config";
const SUPER_PASSWORD: &str = "SASLAuthenticationProvider.superPassword";
/// Where ZooKeeper's providers of authentication stand.
const PROVIDERS: &str = "org.apache.zookeeper.server.auth.";
const X509: &str = "X509AuthenticationProvider";

/// SASL as it is set up, and what the state has to know of it.
pub(super) fn read(
    reader: &mut Reader,
    settings: &mut Settings,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Sasl {
    providers(reader, settings);
    settings.demanded = demanded(reader, settings);
    let users = users(reader, read);
    let demanded = settings.demanded.iter().any(|scheme| *scheme == "sasl");
    let mut superusers: Vec<_> = reader.text("superUser").into_iter().collect();
    superusers.extend(reader.family("superUser.").into_iter().map(|entry| entry.value));
    if users.is_empty() && demanded {
        let key = if reader.has("sessionRequireClientSASLAuth") {
            "sessionRequireClientSASLAuth"
        } else {
            "enforce.auth.schemes"
        };
        reader.warn_at(key, format!("nobody can authenticate with SASL: {JAAS} names no users"));
    }
    let keeps_failed = reader.flag("allowSaslFailedClients", false);
    Sasl { users, superusers, keeps_failed, demanded, listed: settings.sasl }
}

/// Whether lists may name owners of certificates although no port here speaks TLS: clients of other servers may.
pub(super) fn names_x509(reader: &mut Reader) -> bool {
    let providers = reader.family("authProvider.");
    providers.iter().any(|entry| entry.value.strip_prefix(PROVIDERS).unwrap_or(&entry.value) == X509)
}

/// Which schemes there are beside those that always are.
fn providers(reader: &mut Reader, settings: &mut Settings) {
    let names = reader.text("ensembleAuthName");
    for entry in reader.family("authProvider.") {
        match entry.value.strip_prefix(PROVIDERS).unwrap_or(&entry.value) {
            "SASLAuthenticationProvider" => settings.sasl = true,
            "EnsembleAuthenticationProvider" => {
                let names = names.iter().flat_map(|names| names.split(','));
                settings.ensembles = Some(names.map(|name| Text::from(name.trim())).collect());
            }
            // What X509AuthenticationProvider does is said beside the state of `settings.x509`.
            "DigestAuthenticationProvider" | "IPAuthenticationProvider" | X509 => {}
            // Whoever it lets in, and as whom, is not known here: a certificate that is trusted would do.
            other if entry.key == "authProvider.x509" => {
                let message = format!("there is no provider {other:?} here to judge certificates");
                let help =
                    format!("without this line {X509} does: whoever holds a certificate that is trusted");
                reader.error_with_help(reader.span(&entry.key), message, help);
            }
            other => {
                let message = format!(
                    "{} is ignored: there is no provider {other:?} here, only SASLAuthenticationProvider, \
                     X509AuthenticationProvider, DigestAuthenticationProvider, IPAuthenticationProvider and \
                     EnsembleAuthenticationProvider",
                    entry.key
                );
                reader.warn_at(&entry.key, message);
            }
        }
    }
    if names.is_some() && settings.ensembles.is_none() {
        let message = "ensembleAuthName has no effect: no authProvider.N is EnsembleAuthenticationProvider";
        reader.warn_at("ensembleAuthName", message);
    }
}

/// The schemes of which a connection has to prove an identity.
fn demanded(reader: &mut Reader, settings: &Settings) -> Vec<Text> {
    let (key, schemes) = if reader.flag("sessionRequireClientSASLAuth", false) {
        ("sessionRequireClientSASLAuth", "sasl".to_owned())
    } else if reader.flag("enforce.auth.enabled", false) {
        let schemes = reader.text("enforce.auth.schemes").unwrap_or_default();
        if split(&schemes).next().is_none() {
            let help = "add a line such as enforce.auth.schemes=digest";
            let span = reader.span("enforce.auth.enabled");
            reader.error_with_help(span, "enforce.auth.enabled needs the schemes to demand", help.to_owned());
        }
        ("enforce.auth.schemes", schemes)
    } else {
        return Vec::new();
    };
    let schemes: Vec<_> = split(&schemes).collect();
    for scheme in &schemes {
        let is_there = match *scheme {
            "ip" => true,
            "digest" => settings.digest != Digest::Off,
            "sasl" => settings.sasl,
            "x509" => settings.x509,
            _ => false,
        };
        if !is_there {
            let help = "digest and ip are there by themselves, x509 with a port that speaks TLS, sasl with the line \
                        authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
            let span = reader.span(key);
            reader.error_with_help(span, format!("the scheme {scheme:?} is not offered"), help.to_owned());
        }
    }
    schemes.into_iter().map(Text::from).collect()
}

fn split(schemes: &str) -> impl Iterator<Item = &str> {
    schemes.split(',').map(str::trim).filter(|scheme| !scheme.is_empty())
}

/// The users of the JAAS file's section.
fn users(reader: &mut Reader, read: impl Fn(&Path) -> io::Result<String>) -> BTreeMap<String, String> {
    let Some(path) = reader.text(JAAS) else { return BTreeMap::new() };
    let section = reader.text_or("sasl.serverconfig", "Server");
    let text = match read(&sasl::jaas::file(&path)) {
        Ok(text) => text,
        Err(error) => {
            reader.error(reader.span(JAAS), format!("cannot read {path}: {error}"));
            return BTreeMap::new();
        }
    };
    let mut users = match sasl::jaas::users(&text, &section) {
        Ok(Some(users)) => users,
        Ok(None) => {
            let message = format!("{path} has no section {section}: clients cannot authenticate with SASL");
            reader.warn_at(JAAS, message);
            return BTreeMap::new();
        }
        Err(problem) => {
            reader.error(reader.span(JAAS), format!("{path}, {problem}"));
            return BTreeMap::new();
        }
    };
    if let Some(password) = reader.text(SUPER_PASSWORD)
        && let Some(known) = users.get_mut("super")
    {
        *known = password;
    }
    users
}
