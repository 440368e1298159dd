//! Stores as openssl and keytool make them, read; `stores/make.sh` has made them.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConnection, Connection, ServerConnection};
use tls::{ClientAuth, Context, Error, Protocol, Secret, Settings, Store, StoreError, StoreFile, rustls};

const PASSWORD: &str = "secret-of-tests";

fn file(name: &str) -> StoreFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stores").join(name);
    StoreFile { path, password: Secret(PASSWORD.to_owned()), password_path: None }
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name).path).expect(name)
}

fn settings(own: &str, trust: &str) -> Settings {
    let named = |name: &str| (!name.is_empty()).then(|| file(name));
    Settings { key_store: named(own), trust_store: named(trust), ..Settings::default() }
}

/// The first certificate of a PEM file.
fn certificate(name: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_file(file(name).path).expect(name).to_vec()
}

#[test]
fn every_kind_of_key_store_gives_a_key_with_its_certificate() {
    let servers = [
        "server.pem",
        "server-encrypted.pem",
        "server-sec1.pem",
        "server-openssl.p12",
        "server-legacy.p12",
        "server-keytool.p12",
        "server.jks",
        "client.pem",
        "client-pkcs1.pem",
        "client.p12",
        "client.jks",
        "own.p12",
        "alone.pem",
    ];
    for name in servers {
        let context = Context::load(&settings(name, "trust.pem"));
        let context = context.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(context.server.is_some() && context.client.is_some(), "{name}");
    }
}

#[test]
fn every_kind_of_trust_store_trusts_all_that_is_in_it() {
    for name in ["trust.pem", "trust.p12", "trust.jks", "trust-openssl.p12"] {
        let store = Store::read(&bytes(name), PASSWORD).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((store.trusted(), store.has_key()), (3, false), "{name}");
    }
    // The chain of a key is not whom its owner trusts.
    for name in ["server-keytool.p12", "server-openssl.p12", "server.jks"] {
        let store = Store::read(&bytes(name), PASSWORD).expect(name);
        assert_eq!((store.trusted(), store.has_key()), (0, true), "{name}");
    }
}

#[test]
fn a_wrong_password_opens_nothing() {
    for name in [
        "server-encrypted.pem",
        "server-openssl.p12",
        "server-legacy.p12",
        "server-keytool.p12",
        "server.jks",
    ] {
        assert_eq!(Store::read(&bytes(name), "wrong").err(), Some(StoreError::Password), "{name}");
    }
    for name in ["server.jks", "trust.jks"] {
        assert_eq!(Store::read(&bytes(name), "").err(), Some(StoreError::Password), "none for {name}");
    }
}

#[test]
fn passwords_are_read_from_files_without_the_end_of_their_line() {
    let of_file = StoreFile {
        password: Secret("wrong".to_owned()),
        password_path: Some(file("password.txt").path),
        ..file("server.jks")
    };
    assert!(of_file.read().expect("the password of the file counts").has_key());
}

#[test]
fn damaged_stores_are_told_and_nothing_panics() {
    for name in [
        "server.pem",
        "server-encrypted.pem",
        "server-openssl.p12",
        "server-keytool.p12",
        "server.jks",
        "trust.p12",
        "trust.jks",
    ] {
        let whole = bytes(name);
        for at in 0..whole.len() {
            // Cut off, and with a byte that differs; what still can be read is read, with little work.
            let _ = Store::read_within(&whole[..at], PASSWORD, 4);
            let mut other = whole.clone();
            other[at] ^= 0x55;
            let _ = Store::read_within(&other, PASSWORD, 4);
        }
    }
    for (bytes, expected) in [
        (&b"no store"[..], "a store is PEM, PKCS#12 or JKS"),
        (&[0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2][..], "keytool -importkeystore"),
        (&[0x30, 0x03, 0x02, 0x01, 0x01][..], "BCFKS"),
    ] {
        let told = Store::read(bytes, PASSWORD).expect_err("no store").to_string();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn names_are_written_as_java_writes_them() {
    // What `X509Certificate.getSubjectX500Principal().getName()` of Java 17 gives for these files.
    let rows = [
        ("client.pem", "CN=client one,OU=Clients,O=Zabkeeper tests,C=DE"),
        ("multi.pem", "CN=two+UID=parts,O=Zabkeeper tests"),
        (
            "odd.pem",
            "CN=\\#odd \\\"q\\\",2.5.4.5=#130137,1.2.840.113549.1.9.1=#160b6140622e6578616d706c65,UID=u,DC=example,\
             OU=x\\;\\<y\\>,OU=a\\+b\\=c,O=\\ blanks\\ ,STREET=Weg 1,L=Köln,ST=A\\,B,C=DE",
        ),
    ];
    for (name, expected) in rows {
        assert_eq!(tls::subject(&certificate(name)).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(tls::common_name(&certificate("client.pem")).as_deref(), Some("client one"));
}

/// Shakes hands in memory; whom the server sees, or what went wrong first.
fn shake(server: &Settings, client: &Settings, host: &str) -> Result<Option<String>, rustls::Error> {
    let server = Context::load(server).expect("the server's stores").server.expect("it has a key");
    let client = Context::load(client).expect("the client's stores").client.expect("it trusts somebody");
    let mut server = Connection::Server(ServerConnection::new(server)?);
    let host = tls::name_of(host).expect("a name");
    let mut client = Connection::Client(ClientConnection::new(client, host)?);
    let carry = |from: &mut Connection, to: &mut Connection| -> Result<(), rustls::Error> {
        let mut wire = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut wire).expect("memory takes all");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            to.read_tls(&mut rest).expect("memory gives all");
            to.process_new_packets()?;
        }
        Ok(())
    };
    for _ in 0..6 {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    let shown = server.peer_certificates().and_then(|chain| chain.first());
    Ok(shown.and_then(|certificate| tls::subject(certificate)))
}

const ONE: &str = "CN=client one,OU=Clients,O=Zabkeeper tests,C=DE";

/// The server's own and trust, the client's own, the name that it dials, whom the server sees or why not, and why.
type Meeting = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Result<&'static str, &'static str>,
    &'static str,
);

const MEETINGS: [Meeting; 22] = [
    ("server.pem", "trust.pem", "client.pem", "localhost", Ok(ONE), "vouched for by the authority"),
    ("server.jks", "trust.jks", "client.jks", "127.0.0.1", Ok(ONE), "all in JKS, dialled by address"),
    ("server-keytool.p12", "trust.p12", "client.p12", "::1", Ok(ONE), "all in PKCS#12"),
    ("server.pem", "trust.pem", "alone.pem", "localhost", Ok("CN=alone"), "stands in the trust store"),
    ("own.p12", "trust.p12", "own.p12", "localhost", Ok("CN=own,O=Zabkeeper tests"), "the same, by keytool"),
    ("named.pem", "trust.pem", "client.pem", "localhost", Ok(ONE), "known by its common name"),
    ("server.pem", "trust.pem", "stranger.pem", "localhost", Err("trust store"), "nobody vouches for it"),
    ("server.pem", "ca.pem", "alone.pem", "localhost", Err("trust store"), "it is not in this trust store"),
    ("server.pem", "trust.pem", "first.pem", "localhost", Ok("CN=first"), "of the first version of X.509"),
    ("server.pem", "alone.pem", "first.pem", "localhost", Err("trust store"), "not by this authority"),
    ("server.pem", "trust.pem", "made.pem", "localhost", Err("trust store"), "by one who is no authority"),
    (
        "server.pem",
        "trust.pem",
        "made-first.pem",
        "localhost",
        Err("trust store"),
        "the same, of the first version",
    ),
    ("server.pem", "first.pem", "first.pem", "localhost", Ok("CN=first"), "stands in the trust store"),
    (
        "server.pem",
        "first.pem",
        "made-by-first.pem",
        "localhost",
        Err("trust store"),
        "by one of the first version that somebody else has signed",
    ),
    ("server.pem", "trust.pem", "", "localhost", Err("no certificates"), "a certificate is needed"),
    ("server.pem", "trust.pem", "signs.pem", "localhost", Ok("CN=signs"), "its key is for proving oneself"),
    (
        "server.pem",
        "trust.pem",
        "encrypts.pem",
        "localhost",
        Err("digitalSignature"),
        "its key is for something else",
    ),
    (
        "encrypts.pem",
        "trust.pem",
        "client.pem",
        "localhost",
        Err("digitalSignature"),
        "the server's key is for something else",
    ),
    (
        "server.pem",
        "trust.pem",
        "below-busy.pem",
        "localhost",
        Ok("CN=below busy"),
        "an authority between vouches",
    ),
    (
        "server.pem",
        "trust.pem",
        "below-idle.pem",
        "localhost",
        Err("trust store"),
        "an authority between, whose key may not vouch",
    ),
    ("elsewhere.pem", "trust.pem", "client.pem", "localhost", Err("not valid for name"), "another host's"),
    (
        "server.pem",
        "trust.pem",
        "client.pem",
        "zk1.example",
        Err("not valid for name"),
        "another name is dialled",
    ),
];

#[test]
fn who_is_let_in_and_who_is_not() {
    for protocols in [vec![Protocol::Tls12], vec![Protocol::Tls13], vec![Protocol::Tls13, Protocol::Tls12]] {
        for (own, trust, shown, host, expected, why) in &MEETINGS {
            let server = Settings { protocols: protocols.clone(), ..settings(own, trust) };
            let client = Settings { protocols: protocols.clone(), ..settings(shown, "trust.pem") };
            let seen = shake(&server, &client, host);
            match (seen, expected) {
                (Ok(seen), Ok(expected)) => assert_eq!(seen.as_deref(), Some(*expected), "{why}"),
                (Err(error), Err(expected)) => {
                    let told = tls::tell(&error);
                    assert!(told.contains(expected), "{why}: {told}");
                }
                (seen, expected) => panic!("{why}: {seen:?}, and not {expected:?}"),
            }
        }
    }
}

#[test]
fn settings_let_more_pass_or_less() {
    let (server, client) = (settings("server.pem", "trust.pem"), settings("client.pem", "trust.pem"));
    let nobody = Settings { key_store: None, ..client.clone() };
    for (auth, shown) in
        [(ClientAuth::Want, &nobody), (ClientAuth::None, &nobody), (ClientAuth::None, &client)]
    {
        let server = Settings { client_auth: auth, ..server.clone() };
        assert_eq!(shake(&server, shown, "localhost"), Ok(None), "{auth:?}");
    }
    let careless = Settings { verifies_servers: false, ..client.clone() };
    assert!(shake(&server, &careless, "zk1.example").is_ok());
    let old = Settings { protocols: vec![Protocol::Tls12], ..client.clone() };
    assert!(shake(&server, &old, "localhost").is_err(), "1.3 alone is asked for, 1.2 alone is offered");
    let suites = |name: &str| Some(vec![name.to_owned()]);
    let strict = Settings { suites: suites("TLS_AES_256_GCM_SHA384"), ..server };
    assert!(shake(&strict, &client, "localhost").is_ok());
    let other = Settings { suites: suites("TLS_AES_128_GCM_SHA256"), ..client };
    assert!(shake(&strict, &other, "localhost").is_err(), "no suite in common");
}

#[test]
fn what_cannot_be_done_is_told_with_what_to_do() {
    let told = |own: &str, trust: &str| {
        let error: Error = Context::load(&settings(own, trust)).expect_err(own);
        error.to_string()
    };
    assert!(told("weak.pem", "trust.pem").contains("signed with SHA-1 or MD5"));
    assert!(told("trust.pem", "trust.pem").contains("no private key"));
    assert!(told("server.pem", "server.jks").contains("no certificate in it that is trusted"));
    assert!(told("nowhere.pem", "trust.pem").contains("cannot read"));
    assert!(told("server.pem", "").contains("no trust store is named"));
    assert!(told("odd.pem", "trust.pem").contains("no private key"));
}

#[test]
fn a_certificate_is_for_whom_it_names() {
    let certificate = rustls::pki_types::CertificateDer::from(certificate("server.pem"));
    let address = |text: &str| text.parse().expect("an address");
    assert!(tls::is_for_any(&certificate, address("127.0.0.1"), std::iter::empty()));
    assert!(!tls::is_for_any(&certificate, address("10.0.0.1"), std::iter::empty()));
    assert!(tls::is_for_any(&certificate, address("10.0.0.1"), ["zk1", "localhost"].into_iter()));
    let config = Context::load(&settings("server.pem", "trust.pem")).expect("it loads").server;
    assert!(Arc::strong_count(&config.expect("it has a key")) == 1);
}
