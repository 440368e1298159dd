//! What clients say in SASL, and the file that names its users.

use std::collections::BTreeMap;

use protocol::peer::ClientRequest;
use sasl::{Answer, User};
use server::sasl::Sasl;

/// Stands for the nonce that the server has given, which no input could guess.
const NONCE: &str = "NONCE";

/// Tokens with a zero byte between them, on one connection: nobody who does not know the password is believed.
pub(super) fn tokens(bytes: &[u8]) {
    let users = BTreeMap::from([("bob".to_owned(), "a password that stands in no input".to_owned())]);
    let sasl = Sasl { users, superusers: vec!["bob".to_owned()], ..Sasl::default() };
    let (mut exchange, mut nonce) = (None, String::new());
    for token in bytes.split(|byte| *byte == 0) {
        let token = match std::str::from_utf8(token) {
            Ok(text) => text.replace(NONCE, &nonce).into_bytes(),
            Err(_) => token.to_vec(),
        };
        // What a server says to a client.
        let user = User { name: "bob".to_owned(), password: "a password that stands in no input".to_owned() };
        if let Ok(answer) = Answer::to(&token, &user, b"nonce") {
            assert!(!answer.is_proved_by(&token) && answer.token().len() <= 4096, "believed or too long");
        }
        match sasl.step(&mut exchange, &token).0 {
            ClientRequest::Exchange { answer, proves } => {
                assert!(proves.is_empty(), "believed: {proves:?}");
                let challenge = String::from_utf8(answer.expect("it is set up")).expect("it is text");
                challenge.split('"').nth(3).expect("it has a nonce").clone_into(&mut nonce);
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
    let found = sasl::jaas::users(&text, "Server");
    assert_eq!(found, sasl::jaas::users(&text, "Server"), "another answer at a second look");
    let login = sasl::jaas::login(&text, "Server");
    assert!(found.is_ok() || login.is_err(), "it is well formed for one and not for the other");
}
