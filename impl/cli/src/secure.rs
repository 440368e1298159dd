//! TLS and SASL for `zabkeeper cli`, by the properties that `zkCli.sh` knows.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use tls::{Context, Protocol, Secret, Settings, StoreFile, rustls::ClientConfig};

use crate::strangers;

/// What `zkCli.sh` hands to Java: flags, in the order in which later ones count more, and whether servers are handed them,
/// too.
const VARIABLES: [(&str, bool); 2] = [("CLIENT_JVMFLAGS", false), ("JVMFLAGS", true)];

/// Names the file with users and passwords.
const JAAS: &str = "java.security.auth.login.config";

/// Properties, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties(BTreeMap<String, Given>);

/// A value, and whether it stands where servers look, too, so that its name may be for them.
#[derive(Clone, Debug)]
struct Given {
    value: String,
    shared: bool,
}

impl Properties {
    /// Those of the environment.
    pub(crate) fn of_environment() -> Self {
        Self::of_flags(
            VARIABLES.iter().filter_map(|(name, shared)| Some((std::env::var(name).ok()?, *shared))),
        )
    }

    fn of_flags(variables: impl IntoIterator<Item = (String, bool)>) -> Self {
        let mut properties = Self::default();
        for (flags, shared) in variables {
            for flag in flags.split_ascii_whitespace().filter_map(|flag| flag.strip_prefix("-D")) {
                properties.give(flag, shared);
            }
        }
        properties
    }

    /// Sets `key=value`.
    pub(crate) fn set(&mut self, property: &str) {
        self.give(property, false);
    }

    fn give(&mut self, property: &str, shared: bool) {
        let (key, value) = property.split_once('=').unwrap_or((property, ""));
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        self.0.insert(key.trim().to_owned(), Given { value, shared });
    }

    /// Sets what a file has, in Java's syntax of properties, which counts more than all before.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&mut self, path: &str) -> Result<(), String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let entries = properties::parse(&text).into_iter();
        self.0.extend(entries.map(|entry| (entry.key, Given { value: entry.value, shared: false })));
        Ok(())
    }

    /// What is to be said of names that no client knows: who has mistyped one would go on without what it asks for.
    pub(crate) fn strangers(&self) -> Vec<String> {
        self.0.iter().filter_map(|(key, given)| strangers::warning(key, given.shared)).collect()
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|given| given.value.as_str()).filter(|value| !value.is_empty())
    }

    fn is(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// Who proves to be somebody by SASL, or why nobody does where one might think so. As in ZooKeeper's client a file
    /// without the section is none; one that cannot be read, or has not the section that was named, is an error here.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn user(&self) -> Result<(Option<sasl::User>, Option<String>), String> {
        const SECTION: &str = "zookeeper.sasl.clientconfig";
        let Some(file) = self.get(JAAS).filter(|_| self.is("zookeeper.sasl.client", true)) else {
            return Ok((None, None));
        };
        let without = "zookeeper.sasl.client=false goes on without SASL";
        if self.is("zookeeper.fips-mode", false) {
            return Err(format!(
                "zookeeper.fips-mode=true forbids DIGEST-MD5, which {file} asks for; {without}"
            ));
        }
        let file = sasl::jaas::file(file);
        let told = file.display();
        let text =
            fs::read_to_string(&file).map_err(|error| format!("cannot read {told}: {error}; {without}"))?;
        let named = self.get(SECTION);
        let section = named.unwrap_or("Client");
        match sasl::jaas::login(&text, section) {
            Ok(Some(user)) => Ok((Some(user), None)),
            Ok(None) if named.is_some() => {
                Err(format!("{told} has no section {section}, which {SECTION} names; {without}"))
            }
            Ok(None) => {
                let next = "it goes on without SASL, and zookeeper.sasl.client=false says that this is meant";
                Ok((None, Some(format!("{JAAS} is {told}, which has no section {section}: {next}"))))
            }
            Err(why) => Err(format!("{told}: {why}; {without}")),
        }
    }

    fn store(&self, which: &str) -> Option<StoreFile> {
        let value = |what: &str| self.get(&format!("zookeeper.ssl.{which}.{what}"));
        Some(StoreFile {
            path: PathBuf::from(value("location")?),
            password: Secret(value("password").unwrap_or_default().to_owned()),
            password_path: value("passwordPath").map(PathBuf::from),
        })
    }

    /// How servers are spoken with, if that is inside TLS.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        if !self.is("zookeeper.client.secure", false) {
            return Ok(None);
        }
        for key in ["zookeeper.ssl.crl", "zookeeper.ssl.ocsp"] {
            if self.is(key, false) {
                return Err(format!("{key} is not possible: revocation is not looked up here; take it away"));
            }
        }
        let named = self.get("zookeeper.ssl.enabledProtocols").or_else(|| self.get("zookeeper.ssl.protocol"));
        let protocols = named.unwrap_or("TLSv1.3,TLSv1.2").split(',').map(str::trim);
        let protocols: Option<Vec<_>> = protocols.map(Protocol::from_name).collect();
        let suites = self.get("zookeeper.ssl.ciphersuites");
        let suites: Option<Vec<_>> =
            suites.map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        let known = tls::suite_names();
        if let Some(unknown) = suites.iter().flatten().find(|name| !known.contains(name)) {
            return Err(format!(
                "zookeeper.ssl.ciphersuites names {unknown}; there are {}",
                known.join(", ")
            ));
        }
        let settings = Settings {
            key_store: self.store("keyStore"),
            trust_store: self.store("trustStore"),
            protocols: protocols.ok_or("TLSv1.2 and TLSv1.3 are spoken here, and no other version of TLS")?,
            suites,
            verifies_servers: self.is("zookeeper.ssl.hostnameVerification", true),
            // Nobody connects to a client.
            client_auth: tls::ClientAuth::None,
            ..Settings::default()
        };
        if settings.trust_store.is_none() {
            return Err("zookeeper.client.secure needs whom to trust: set zookeeper.ssl.trustStore.location"
                .to_owned());
        }
        let context = Context::load(&settings).map_err(|error| error.to_string())?;
        Ok(context.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[&str]) -> Properties {
        let mut properties = Properties::default();
        for pair in pairs {
            properties.set(pair);
        }
        properties
    }

    #[test]
    fn a_file_is_read_as_java_reads_properties_and_counts_more() {
        let file = std::env::temp_dir().join(format!("zabkeeper-cli-{}.properties", std::process::id()));
        fs::write(
            &file,
            "! TLS\nzookeeper.client.secure true\nzookeeper.ssl.ciphersuites = a,\\\n  b\npw=\"q\\\\\"\n",
        )
        .expect("room");
        let mut read = properties(&["zookeeper.client.secure=false"]);
        read.read(file.to_str().expect("text")).expect("it is there");
        fs::remove_file(&file).expect("it is there");
        assert!(read.is("zookeeper.client.secure", false));
        assert_eq!(read.get("zookeeper.ssl.ciphersuites"), Some("a,b"));
        assert_eq!(read.get("pw"), Some("\"q\\\""), "quotes of a file stay");
    }

    #[test]
    fn later_flags_count_more() {
        let flags = [("-Da=1 -Db=1 -Xmx1g".to_owned(), false), ("-Da=2".to_owned(), true)];
        let read = Properties::of_flags(flags);
        assert_eq!((read.get("a"), read.get("b")), (Some("2"), Some("1")));
    }

    #[test]
    fn a_mistyped_name_is_told_wherever_it_stands() {
        let given = |flags: &str, shared| Properties::of_flags([(flags.to_owned(), shared)]).strangers();
        let slip = "-Dzookeeper.client.secur=true -Dzookeeper.client.secure=true -Xmx1g";
        assert_eq!(given(slip, false).len(), 1);
        assert_eq!(given(slip, true), given(slip, false));
        let of_servers = "-Dzookeeper.admin.enableServer=false";
        assert_eq!((given(of_servers, false).len(), given(of_servers, true).len()), (1, 0));
    }

    #[test]
    fn who_names_a_jaas_file_is_the_user_of_its_section() {
        let folder = std::env::temp_dir().join(format!("zabkeeper-cli-jaas-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("room");
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("room");
            format!("java.security.auth.login.config={}", path.display())
        };
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required username=bob password=x;";
        let both =
            write("both", &format!("Client {{ {module} }}; Other {{ {} }};", module.replace("bob", "eve")));
        let name = |pairs: &[&str]| {
            let (user, note) = properties(pairs).user()?;
            Ok::<_, String>((user.map(|user| user.name), note))
        };
        let is = |name: &str| Ok((Some(name.to_owned()), None));
        assert_eq!(name(&[&both]), is("bob"));
        assert_eq!(name(&[&both, "zookeeper.sasl.clientconfig=Other"]), is("eve"));
        assert_eq!(name(&[&both, "zookeeper.sasl.client=false"]), Ok((None, None)));
        assert_eq!(name(&[]), Ok((None, None)));
        let servers = write("servers", "Server {};");
        let (nobody, note) = name(&[&servers]).expect("as ZooKeeper's client");
        assert_eq!(nobody, None);
        assert!(note.as_ref().is_some_and(|note| note.contains("has no section Client")), "{note:?}");
        let kerberos =
            write("kerberos", "Client {\n com.sun.security.auth.module.Krb5LoginModule required; };");
        let rows = [
            (&[&*servers, "zookeeper.sasl.clientconfig=Mine"][..], "has no section Mine"),
            (&[&kerberos], "line 2: the section Client has the module com.sun"),
            (&["java.security.auth.login.config=file:/nowhere"], "cannot read /nowhere"),
            (&[&both, "zookeeper.fips-mode=true"], "zookeeper.fips-mode=true forbids"),
        ];
        for (pairs, why) in rows {
            let told = name(pairs).expect_err(why);
            assert!(told.contains(why) && told.contains("zookeeper.sasl.client=false"), "{told}");
        }
        fs::remove_dir_all(&folder).expect("it is there");
    }

    #[test]
    fn tls_is_spoken_when_that_is_said_and_servers_can_be_trusted() {
        let stores = concat!(env!("CARGO_MANIFEST_DIR"), "/../tls/tests/stores");
        let trust = format!("zookeeper.ssl.trustStore.location={stores}/trust.pem");
        let secure = "zookeeper.client.secure=true";
        assert!(properties(&[&trust]).tls().expect("nothing is wrong").is_none());
        assert!(properties(&[secure, &trust]).tls().expect("nothing is wrong").is_some());
        let rows = [
            ("zookeeper.ssl.trustStore.location=", "needs whom to trust"),
            ("zookeeper.ssl.trustStore.location=/nowhere.pem", "cannot read /nowhere.pem"),
            ("zookeeper.ssl.protocol=TLSv1.1", "TLSv1.2 and TLSv1.3"),
            ("zookeeper.ssl.ciphersuites=TLS_NULL", "TLS_NULL; there are"),
            ("zookeeper.ssl.ocsp=true", "zookeeper.ssl.ocsp is not possible"),
        ];
        for (more, expected) in rows {
            let told = properties(&[secure, &trust, more]).tls().expect_err(more);
            assert!(told.contains(expected), "{more}: {told}");
        }
    }
}
