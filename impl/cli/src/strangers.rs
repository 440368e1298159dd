//! Names of properties that no client knows.

use crate::suggest::{closest, slip};

/// What ZooKeeper's properties begin with.
const PREFIX: &str = "zookeeper.";

/// What zkCli.sh 3.9 knows, also where it has no effect here.
///
/// Source: ZooKeeper `ZKClientConfig`, `ClientX509Util`.
const KNOWN: &[&str] = &[
    "java.security.auth.login.config",
    "zookeeper.client.certReload",
    "zookeeper.client.secure",
    "zookeeper.clientCnxnSocket",
    "zookeeper.disableAutoWatchReset",
    "zookeeper.fips-mode",
    "zookeeper.kerberos.minReLoginTimeMs",
    "zookeeper.kinit",
    "zookeeper.request.timeout",
    "zookeeper.sasl.client",
    "zookeeper.sasl.client.canonicalize.hostname",
    "zookeeper.sasl.client.username",
    "zookeeper.sasl.clientconfig",
    "zookeeper.server.principal",
    "zookeeper.server.realm",
    "zookeeper.ssl.allowReverseDnsLookup",
    "zookeeper.ssl.authProvider",
    "zookeeper.ssl.ciphersuites",
    "zookeeper.ssl.clientAuth",
    "zookeeper.ssl.clientHostnameVerification",
    "zookeeper.ssl.context.supplier.class",
    "zookeeper.ssl.crl",
    "zookeeper.ssl.enabledProtocols",
    "zookeeper.ssl.handshakeDetectionTimeoutMillis",
    "zookeeper.ssl.hostnameVerification",
    "zookeeper.ssl.keyStore.location",
    "zookeeper.ssl.keyStore.password",
    "zookeeper.ssl.keyStore.passwordPath",
    "zookeeper.ssl.keyStore.type",
    "zookeeper.ssl.ocsp",
    "zookeeper.ssl.protocol",
    "zookeeper.ssl.sslProvider",
    "zookeeper.ssl.trustStore.location",
    "zookeeper.ssl.trustStore.password",
    "zookeeper.ssl.trustStore.passwordPath",
    "zookeeper.ssl.trustStore.type",
];

/// Whose names are endless, or are read by what writes logs.
const FAMILIES: [&str; 4] =
    ["zookeeper.authProvider.", "zookeeper.console.", "zookeeper.log.", "zookeeper.root."];

/// What is to be said of a property of this name, if anything. Where servers look, too, a name may be theirs: there only
/// what is all but a client's is told of.
pub(crate) fn warning(name: &str, shared: bool) -> Option<String> {
    if KNOWN.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family)) {
        return None;
    }
    let meant = slip(name, KNOWN.iter().copied()).map(ToOwned::to_owned);
    let rest = name.strip_prefix(PREFIX).filter(|_| !shared);
    if meant.is_none() && rest.is_none() {
        return None;
    }
    // Letters that all names begin with would make strangers alike.
    let known = KNOWN.iter().filter_map(|known| known.strip_prefix(PREFIX));
    let meant = meant.or_else(|| closest(rest?, known).map(|known| format!("{PREFIX}{known}")));
    let hint = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    Some(format!("{name} is no property of ZooKeeper's clients, and is ignored{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_told_of_with_the_name_that_is_meant() {
        let secure = Some("zookeeper.client.secure");
        let rows = [
            ("zookeeper.client.secur", true, secure),
            ("zookeeper.client.Secure", true, secure),
            ("zookeper.client.secure", true, secure),
            ("zookeeper.clientsecure", false, secure),
            ("zookeeper.ssl.truststore.location", true, Some("zookeeper.ssl.trustStore.location")),
            ("zookeeper.ssl.trustStore.locate", false, Some("zookeeper.ssl.trustStore.location")),
            ("zookeeper.colour", false, None),
        ];
        for (name, shared, meant) in rows {
            let told = warning(name, shared).expect(name);
            assert!(told.starts_with(&format!("{name} is no property")), "{told}");
            let hint = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            assert!(told.ends_with(&format!("is ignored{hint}")), "{told}");
        }
    }

    #[test]
    fn what_is_known_or_not_for_clients_is_not_told_of() {
        let rows = [
            ("zookeeper.client.secure", false),
            ("zookeeper.clientCnxnSocket", false),
            ("zookeeper.root.logger", false),
            ("user.language", false),
            ("zookeeper.ssl.quorum.keyStore.location", true),
            ("zookeeper.admin.enableServer", true),
        ];
        for (name, shared) in rows {
            assert_eq!(warning(name, shared), None, "{name}");
        }
    }
}
