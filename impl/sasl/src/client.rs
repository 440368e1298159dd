//! The client's side of an exchange.

use std::fmt;

use crate::{
    URI,
    directives::Directives,
    proof::{Proof, encoded, hex, is_same, secret},
};

/// The longest challenge that is read (RFC 2831, section 2.1.1), and the longest answer (section 2.1.2).
const CHALLENGE_BYTES_MAX: usize = 2048;
const ANSWER_BYTES_MAX: usize = 4096;

/// Who proves to be somebody. It is printed without the password.
#[derive(Clone, Eq, PartialEq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An answer to a challenge, of which the server has yet to prove that it knows the password too.
#[derive(Debug)]
pub struct Answer {
    token: Vec<u8>,
    /// What the server's last token has to be.
    proof: String,
}

impl Answer {
    /// Answers a server's challenge; the nonce is one that nobody can guess ([`crate::nonce`]).
    ///
    /// # Errors
    /// Why that cannot be done.
    pub fn to(challenge: &[u8], user: &User, nonce: &[u8]) -> Result<Self, String> {
        if challenge.len() > CHALLENGE_BYTES_MAX {
            let bytes = challenge.len();
            return Err(format!("the challenge has {bytes} bytes, and may have {CHALLENGE_BYTES_MAX}"));
        }
        let challenge = Directives::parse(challenge)?;
        let has = |key: &str, wanted: &str| {
            let given = challenge.one(key)?.map(String::from_utf8_lossy);
            Ok::<_, String>(given.is_none_or(|given| given.split(',').any(|one| one.trim() == wanted)))
        };
        if !has("qop", "auth")? {
            return Err("the server demands protection of all that is said, which is TLS's here".to_owned());
        }
        if !has("algorithm", "md5-sess")? {
            return Err("the server demands another algorithm than md5-sess".to_owned());
        }
        let utf8 = challenge.one("charset")?.is_some();
        // Of several realms the first: a user here stands in one.
        let realm = challenge.first("realm");
        let nonces = (challenge.one("nonce")?.ok_or("the challenge has no nonce")?, hex(nonce));
        let realm_hashed = match realm {
            Some(realm) if utf8 => encoded(&String::from_utf8_lossy(realm), utf8),
            realm => realm.unwrap_or_default().to_vec(),
        };
        let proof = Proof {
            secret: secret(&user.name, &realm_hashed, &user.password, utf8),
            nonce: nonces.0,
            cnonce: nonces.1.as_bytes(),
            authzid: None,
        };
        let name = if utf8 { user.name.as_bytes().to_vec() } else { encoded(&user.name, utf8) };
        let mut token = Vec::new();
        if utf8 {
            token.extend_from_slice(b"charset=utf-8,");
        }
        let quoted = [("username", Some(&name[..])), ("realm", realm), ("nonce", Some(nonces.0))];
        for (key, value) in quoted.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            token.extend_from_slice(key.as_bytes());
            token.extend_from_slice(b"=\"");
            for byte in value {
                if matches!(byte, b'"' | b'\\') {
                    token.push(b'\\');
                }
                token.push(*byte);
            }
            token.extend_from_slice(b"\",");
        }
        let (cnonce, response) = (&nonces.1, proof.of("AUTHENTICATE"));
        token.extend_from_slice(
            format!(
                "nc=00000001,cnonce=\"{cnonce}\",digest-uri=\"{URI}\",response={response},qop=auth,maxbuf=65536"
            )
            .as_bytes(),
        );
        if token.len() > ANSWER_BYTES_MAX {
            let bytes = token.len();
            return Err(format!("the answer has {bytes} bytes, and may have {ANSWER_BYTES_MAX}"));
        }
        Ok(Self { token, proof: format!("rspauth={}", proof.of("")) })
    }

    /// What is said to the server.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Whether the server's last token proves that it knows the password.
    pub fn is_proved_by(&self, token: &[u8]) -> bool {
        is_same(token, self.proof.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> User {
        User { name: name.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn both_sides_believe_each_other() {
        for (name, password) in [("bob", "secret"), ("jürgen", "paßwort"), ("李", "密"), ("a\"b\\", "c\\\"")]
        {
            let users = [(name.to_owned(), password.to_owned())].into();
            let (mut exchange, challenge) =
                crate::Exchange::begin(&crate::nonce(), b"").expect("nothing was said");
            let answer =
                Answer::to(&challenge, &user(name, password), &crate::nonce()).expect("it is a challenge");
            let (told, found) = exchange.finish(answer.token(), &users).expect("it is right");
            assert_eq!(found, name);
            assert!(answer.is_proved_by(&told));
            assert!(!answer.is_proved_by(b"rspauth=00000000000000000000000000000000"));
            let (mut exchange, challenge) =
                crate::Exchange::begin(&crate::nonce(), b"").expect("nothing was said");
            let wrong =
                Answer::to(&challenge, &user(name, "wrong"), &crate::nonce()).expect("it is a challenge");
            assert!(exchange.finish(wrong.token(), &users).expect_err("it is wrong").contains("password"));
        }
    }

    #[test]
    fn without_a_character_set_it_is_latin() {
        let challenge = b"realm=\"zk-sasl-md5\",nonce=\"n\",qop=\"auth\",algorithm=md5-sess";
        let answer = Answer::to(challenge, &user("jürgen", "x"), b"c").expect("it is a challenge");
        assert!(answer.token().windows(11).any(|part| part == b"\"j\xfcrgen\",re"), "{:?}", answer.token());
        assert!(!answer.token().starts_with(b"charset"));
    }

    #[test]
    fn what_cannot_be_answered_is_told() {
        let long = format!("realm=\"{}\"", "x".repeat(3000));
        let rows = [
            ("realm=\"r\",qop=\"auth\"", "no nonce"),
            ("nonce=\"n\",qop=\"auth-int,auth-conf\"", "protection"),
            ("nonce=\"n\",algorithm=md4", "md5-sess"),
            ("nonce=\"n", "quotes"),
            ("nonce=\"n\",nonce=\"m\"", "twice"),
            (&long, "2048"),
        ];
        for (challenge, why) in rows {
            let told = Answer::to(challenge.as_bytes(), &user("bob", "x"), b"c").expect_err(challenge);
            assert!(told.contains(why), "{challenge}: {told}");
        }
        let both = b"realm=\"r\",realm=\"s\",nonce=\"n\",qop=\"auth-int, auth\"";
        let answer = Answer::to(both, &user("bob", "x"), b"c").expect("there is one to choose");
        assert!(String::from_utf8_lossy(answer.token()).contains("realm=\"r\""));
        let none = Answer::to(b"nonce=\"n\"", &user("bob", "x"), b"c").expect("there is none to name");
        assert!(!String::from_utf8_lossy(none.token()).contains("realm"));
        let long = Answer::to(b"nonce=\"n\"", &user(&"b".repeat(5000), "x"), b"c").expect_err("too long");
        assert!(long.contains("4096"), "{long}");
    }

    #[test]
    fn passwords_are_not_printed() {
        assert_eq!(format!("{:?}", user("bob", "secret")), "User { name: \"bob\", .. }");
    }
}
