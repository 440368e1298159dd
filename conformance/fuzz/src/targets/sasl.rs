//! What clients say in SASL, and the file that names its users.

use std::collections::BTreeMap;

use protocol::peer::ClientRequest;
use server::sasl::Sasl;

/// Tokens with a zero byte between them, on one connection: nobody who does not know the password is believed.
pub(super) fn tokens(bytes: &[u8]) {
    let users = BTreeMap::from([("bob".to_owned(), "a password that stands in no input".to_owned())]);
    let sasl = Sasl { users, superusers: vec!["bob".to_owned()], ..Sasl::default() };
    let mut exchange = None;
    for token in bytes.split(|byte| *byte == 0) {
        match sasl.step(&mut exchange, token) {
            ClientRequest::Exchange { answer, proves } => {
                assert!(answer.is_some() && proves.is_empty(), "believed: {proves:?}");
            }
            ClientRequest::Refused { close, .. } => assert!(close, "goes on behind a failure"),
            request @ (ClientRequest::Ping
            | ClientRequest::Authenticate(_)
            | ClientRequest::Read(_)
            | ClientRequest::Write(_)
            | ClientRequest::Sync(_)
            | ClientRequest::Close) => panic!("a token became {request:?}"),
        }
    }
}

/// A JAAS file.
pub(super) fn users(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let found = server::sasl::users(&text, "Server");
    assert_eq!(found, server::sasl::users(&text, "Server"), "another answer at a second look");
}
