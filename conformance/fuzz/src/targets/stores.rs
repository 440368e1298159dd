//! Stores of TLS, and the names in certificates.

use tls::Store;
use tree::{Acl, Settings, Text};

/// What opens those among the inputs that were made by tools.
const PASSWORD: &str = "secret-of-tests";
/// As many rounds as keytool asks for.
const ITERATIONS_MAX: u32 = 10_000;

/// A key store or a trust store of any kind.
pub(super) fn stores(bytes: &[u8]) {
    let read = || {
        Store::read_within(bytes, PASSWORD, ITERATIONS_MAX)
            .map(|store| (store.has_key(), store.trusted()))
            .map_err(|error| error.to_string())
    };
    assert_eq!(read(), read(), "another answer at a second look");
}

/// A certificate, of which nothing is verified.
pub(super) fn certificates(bytes: &[u8]) {
    let _ = tls::common_name(bytes);
    if let Some(subject) = tls::subject(bytes) {
        let settings = Settings { x509: true, ..Settings::default() };
        let list = [Acl { perms: 1, scheme: Text::from_static("x509"), id: Text::from(subject) }];
        assert!(
            tree::auth::resolve(&settings, &list, &[]).is_ok(),
            "its owner can stand in no list: {list:?}"
        );
    }
}
