//! What operators set about TLS, for clients and between servers.

use std::{ops::Range, path::PathBuf};

use tls::{ClientAuth, Context, Protocol, Secret, Settings, StoreFile};

use super::reader::Reader;

/// TLS as it is set up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// The port of clients inside TLS: address (every one if `None`) and port.
    pub port: Option<(Option<String>, u16)>,
    /// Whether the plain port of clients takes TLS too.
    pub unifies_clients: bool,
    /// How clients are taken; none where no port speaks TLS.
    pub clients: Option<Settings>,
    /// Whose certificate makes a client one who may do everything.
    pub superuser: Option<String>,
    /// Whether servers dial each other inside TLS.
    pub dials_servers: bool,
    /// Whether ports between servers take both.
    pub unifies_servers: bool,
    /// How servers are taken and dialled; none where they do not speak TLS.
    pub servers: Option<Settings>,
    /// How the admin server takes operators; none where it does not speak TLS.
    pub admin: Option<AdminTls>,
}

/// TLS of the admin server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminTls {
    /// How operators are taken.
    pub settings: Settings,
    /// Whether they come no other way.
    pub is_forced: bool,
}

/// TLS as it is set up, with every store read once to see that it can be; a server `alone` has none with others.
pub(super) fn read(reader: &mut Reader, alone: bool) -> Tls {
    let address = reader.host("secureClientPortAddress");
    let port = reader.optional_number::<u16>("secureClientPort", 1, u16::MAX);
    if address.is_some() && port.is_none() {
        let help = "add a line such as secureClientPort=2281".to_owned();
        let span = reader.span("secureClientPortAddress");
        reader.error_with_help(span, "secureClientPortAddress needs a secureClientPort", help);
    }
    let unifies_clients = reader.flag("client.portUnification", false);
    let dials_servers = reader.flag("sslQuorum", false);
    let unifies_servers = reader.flag("portUnification", false);
    let is_forced = reader.flag("admin.forceHttps", false);
    let has_admin =
        (reader.flag("admin.portUnification", false) || is_forced) && reader.flag("admin.enableServer", true);
    let admin_needs_auth = reader.flag("admin.needClientAuth", false);
    if admin_needs_auth && !(is_forced && has_admin) {
        reader.warn_at(
            "admin.needClientAuth",
            "admin.needClientAuth asks those who come inside TLS alone, and nobody has to without admin.forceHttps",
        );
    }
    let clients = (port.is_some() || unifies_clients).then(|| settings(reader, Side::Clients));
    let servers = (!alone && (dials_servers || unifies_servers)).then(|| settings(reader, Side::Servers));
    let admin = has_admin.then(|| AdminTls { settings: settings(reader, Side::Admin), is_forced });
    if clients.is_some() {
        refuse_revocations(reader, Side::Clients);
    }
    if servers.is_some() || admin.is_some() && admin_needs_auth {
        refuse_revocations(reader, Side::Servers);
    }
    warn_of_idle_stores(reader, Side::Clients, clients.is_some());
    warn_of_idle_stores(reader, Side::Servers, alone || servers.is_some() || admin.is_some());
    let other =
        "certificates are judged by x509 here; another provider may let fewer in, or as somebody else";
    reader.unsupported_choice("ssl.authProvider", &["x509"], other);
    let superuser = reader.text("X509AuthenticationProvider.superUser");
    Tls {
        port: port.map(|port| (address, port)),
        unifies_clients,
        clients,
        superuser,
        dials_servers,
        unifies_servers,
        servers,
        admin,
    }
}

/// Stores that no port has are a mistake, in all likelihood.
fn warn_of_idle_stores(reader: &mut Reader, side: Side, are_used: bool) {
    let key = side.key("keyStore.location");
    if !are_used && reader.has(&key) {
        let (prefix, switch) = (side.prefix(), side.switch());
        reader.warn_at(&key, format!("{prefix}* means nothing: no port speaks TLS without {switch}"));
    }
}

/// Lists of revoked certificates that are asked for are not looked at: to go on without them would be unsafe.
fn refuse_revocations(reader: &mut Reader, side: Side) {
    for (suffix, what) in [("crl", "lists of revoked certificates"), ("ocsp", "OCSP")] {
        let key = side.key(suffix);
        if reader.flag(&key, false) {
            let help =
                "take the line away, and take a revoked certificate's owner out of lists and trust stores";
            let message = format!("{key} is not possible: {what} are not looked at here");
            reader.error_with_help(reader.span(&key), message, help);
        }
    }
}

/// Whom TLS is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Clients,
    Servers,
    /// The admin server, which has the stores of the servers.
    Admin,
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Self::Clients => "ssl.",
            Self::Servers | Self::Admin => "ssl.quorum.",
        }
    }

    fn key(self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix())
    }

    /// Where that stands.
    fn span(self, reader: &Reader) -> Option<Range<usize>> {
        let keys = match self {
            Self::Clients => ["secureClientPort", "client.portUnification"],
            Self::Servers => ["sslQuorum", "portUnification"],
            Self::Admin => ["admin.forceHttps", "admin.portUnification"],
        };
        keys.iter().find_map(|key| reader.span(key))
    }

    /// What makes a port speak TLS.
    fn switch(self) -> &'static str {
        match self {
            Self::Clients => "secureClientPort or client.portUnification",
            Self::Servers => "sslQuorum or portUnification",
            Self::Admin => "admin.forceHttps or admin.portUnification",
        }
    }
}

fn settings(reader: &mut Reader, side: Side) -> Settings {
    let detection = side.key("handshakeDetectionTimeoutMillis");
    let settings = Settings {
        key_store: store(reader, side, "keyStore"),
        trust_store: store(reader, side, "trustStore"),
        client_auth: client_auth(reader, side),
        protocols: protocols(reader, side),
        suites: suites(reader, side),
        verifies_servers: reader.flag(&side.key("hostnameVerification"), true),
        verifies_clients: reader.flag(&side.key("clientHostnameVerification"), side == Side::Servers),
        detection_ms: reader.number(&detection, 5000, 1, 3_600_000),
    };
    let settings = Settings {
        // As in Java, who asks servers for no name asks nobody.
        verifies_clients: settings.verifies_clients && settings.verifies_servers,
        ..settings
    };
    try_stores(reader, side, &settings);
    settings
}

/// Reads the stores, so that what is wrong with them is said beside the line that names them.
fn try_stores(reader: &mut Reader, side: Side, settings: &Settings) {
    let (own, trust) = (side.key("keyStore.location"), side.key("trustStore.location"));
    if settings.key_store.is_none() {
        let help = format!("add a line such as {own}=/etc/zookeeper/server.p12");
        return reader.error_with_help(
            side.span(reader),
            format!("{} needs a key store", side.switch()),
            help,
        );
    }
    let is_asked = side == Side::Servers || settings.client_auth != ClientAuth::None;
    if settings.trust_store.is_none() && is_asked {
        let otherwise = match side {
            Side::Clients => format!(", or {}=none", side.key("clientAuth")),
            Side::Admin => ", or admin.needClientAuth=false".to_owned(),
            // Each server dials others, and asks them.
            Side::Servers => String::new(),
        };
        let help = format!("add a line such as {trust}=/etc/zookeeper/trust.pem{otherwise}");
        let message = "certificates are asked for, and there is no trust store to compare them with";
        return reader.error_with_help(side.span(reader), message, help);
    }
    if !reader.errors.is_empty() {
        return;
    }
    match Context::load(settings) {
        Ok(context) => {
            for warning in context.warnings {
                reader.warn_at(&trust, warning);
            }
        }
        Err(error) => {
            let is_of = |store: &Option<StoreFile>, path: &PathBuf| {
                store.as_ref().is_some_and(|store| store.path == *path)
            };
            let is_of_trust = if let tls::Error::Store { path, .. } | tls::Error::File { path, .. } = &error {
                is_of(&settings.trust_store, path) && !is_of(&settings.key_store, path)
            } else {
                false
            };
            let span = reader.span(if is_of_trust { &trust } else { &own });
            reader.error(span, error);
        }
    }
}

fn store(reader: &mut Reader, side: Side, which: &str) -> Option<StoreFile> {
    let mut text = |what: &str| reader.text(&side.key(&format!("{which}.{what}")));
    let (path, password) = (text("location"), text("password"));
    let (password_path, kind) = (text("passwordPath"), text("type"));
    let known = ["JKS", "PEM", "PKCS12"];
    if let Some(kind) = kind.filter(|kind| !known.contains(&kind.to_ascii_uppercase().as_str())) {
        let key = side.key(&format!("{which}.type"));
        let help = "JKS, PEM and PKCS12 are read, each recognised by what is in it; keytool -importkeystore converts \
                    others";
        let message = format!("{key} is {kind:?}, which is not read here");
        reader.error_with_help(reader.span(&key), message, help);
    }
    Some(StoreFile {
        path: PathBuf::from(path?),
        password: Secret(password.unwrap_or_default()),
        password_path: password_path.map(PathBuf::from),
    })
}

fn client_auth(reader: &mut Reader, side: Side) -> ClientAuth {
    if side == Side::Admin {
        let needed = reader.flag("admin.needClientAuth", false);
        return if needed { ClientAuth::Need } else { ClientAuth::None };
    }
    let key = side.key("clientAuth");
    let name = reader.text_or(&key, "need");
    ClientAuth::from_name(&name).unwrap_or_else(|| {
        reader.error(reader.span(&key), format!("{key} is {name:?}, and must be none, want or need"));
        ClientAuth::default()
    })
}

/// The versions: those that are enabled, or the one of `protocol`; but for clients the ones above 1.2 with it, as in
/// Java.
fn protocols(reader: &mut Reader, side: Side) -> Vec<Protocol> {
    let (key, enabled) = (side.key("protocol"), side.key("enabledProtocols"));
    let of_all = vec![Protocol::Tls13, Protocol::Tls12];
    let name = reader.text_or(&key, "TLSv1.3");
    let (key, names) = match reader.text(&enabled) {
        Some(names) => (enabled, names),
        None if name == "TLS" => return of_all,
        None => (key, name),
    };
    let mut protocols = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if let Some(protocol) = Protocol::from_name(name) {
            protocols.push(protocol);
        } else {
            let help = "TLSv1.2 and TLSv1.3 are spoken here; what speaks neither has to be renewed";
            reader.error_with_help(reader.span(&key), format!("{key} asks for {name:?}"), help);
        }
    }
    if side != Side::Clients && !reader.has(&side.key("enabledProtocols")) && protocols == [Protocol::Tls13] {
        return of_all;
    }
    protocols
}

fn suites(reader: &mut Reader, side: Side) -> Option<Vec<String>> {
    let key = side.key("ciphersuites");
    let names: Vec<_> = reader.text(&key)?.split(',').map(|name| name.trim().to_owned()).collect();
    let known = tls::suite_names();
    let unknown: Vec<_> = names.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let message = format!("{key} names {}, which is not spoken here", unknown.join(", "));
        reader.error_with_help(reader.span(&key), message, format!("there are {}", known.join(", ")));
    }
    Some(names)
}
