//! The server's side of an exchange.

use std::collections::BTreeMap;

use crate::{
    directives::Directives,
    proof::{Proof, encoded, hex, is_same, of_latin, secret},
    {REALM, URI},
};

/// The longest answer (RFC 2831, section 2.1.2).
const ANSWER_BYTES_MAX: usize = 4096;

/// A conversation under way.
#[derive(Debug)]
pub struct Exchange {
    nonce: String,
    /// Whether it has come to its end, good or bad.
    over: bool,
}

impl Exchange {
    /// A client begins, with nothing. Returns the challenge; the nonce is one that nobody can guess ([`crate::nonce`]).
    ///
    /// # Errors
    /// It said something.
    pub fn begin(nonce: &[u8], token: &[u8]) -> Result<(Self, Vec<u8>), String> {
        if !token.is_empty() {
            return Err(format!("the first token has {} bytes, and must be empty", token.len()));
        }
        let nonce = hex(nonce);
        let challenge =
            format!("realm=\"{REALM}\",nonce=\"{nonce}\",qop=\"auth\",charset=utf-8,algorithm=md5-sess");
        Ok((Self { nonce, over: false }, challenge.into_bytes()))
    }

    /// The client's answer to the challenge. Returns what it is told, and who it is.
    ///
    /// # Errors
    /// It is not to be believed; says why, without passwords.
    pub fn finish(
        &mut self,
        token: &[u8],
        users: &BTreeMap<String, String>,
    ) -> Result<(Vec<u8>, String), String> {
        if std::mem::replace(&mut self.over, true) {
            return Err("the exchange is over, and more was said".to_owned());
        }
        if token.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer has {} bytes, and may have {ANSWER_BYTES_MAX}", token.len()));
        }
        let answer = Directives::parse(token)?;
        let named = |key| answer.one(key);
        let expect = |key: &str, expected: &str, given: Option<&[u8]>| match given {
            Some(given) if given == expected.as_bytes() => Ok(()),
            given => {
                let given = given.map(String::from_utf8_lossy);
                Err(format!("{key} is {given:?}, and must be {expected:?}"))
            }
        };
        expect("nonce", &self.nonce, named("nonce")?)?;
        expect("nc", "00000001", named("nc")?)?;
        expect("digest-uri", URI, named("digest-uri")?)?;
        expect("qop", "auth", named("qop")?.or(Some(b"auth")))?;
        expect("realm", REALM, named("realm")?.filter(|realm| !realm.is_empty()).or(Some(REALM.as_bytes())))?;
        let utf8 = named("charset")?.is_some();
        let user = named("username")?.ok_or("no username is given")?;
        let user = if utf8 { String::from_utf8_lossy(user).into_owned() } else { of_latin(user) };
        let password = users.get(&user).ok_or_else(|| format!("there is no user {user:?}"))?;
        let proof = Proof {
            secret: secret(&user, &of_realm(named("realm")?, utf8), password, utf8),
            nonce: self.nonce.as_bytes(),
            cnonce: named("cnonce")?.filter(|cnonce| !cnonce.is_empty()).ok_or("no cnonce is given")?,
            authzid: named("authzid")?,
        };
        let response = named("response")?.ok_or("no response is given")?;
        if !is_same(response, proof.of("AUTHENTICATE").as_bytes()) {
            return Err(format!("the password of {user:?} is wrong"));
        }
        Ok((format!("rspauth={}", proof.of("")).into_bytes(), user))
    }
}

/// The realm as it goes into the hash: that of the answer, which may have none.
fn of_realm(realm: Option<&[u8]>, utf8: bool) -> Vec<u8> {
    match realm {
        Some(realm) if utf8 => encoded(&String::from_utf8_lossy(realm), utf8),
        Some(realm) => realm.to_vec(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as a client makes it.
    fn answer(nonce: &str, user: &str, password: &str, more: &str) -> String {
        let proof = Proof {
            secret: secret(user, REALM.as_bytes(), password, true),
            nonce: nonce.as_bytes(),
            cnonce: b"c",
            authzid: None,
        };
        let response = proof.of("AUTHENTICATE");
        format!(
            "username=\"{user}\",realm=\"{REALM}\",nonce=\"{nonce}\",nc=00000001,cnonce=\"c\",\
             digest-uri=\"{URI}\",response={response},qop=auth,charset=utf-8{more}"
        )
    }

    fn users() -> BTreeMap<String, String> {
        [("bob", "secret"), ("jürgen", "paßwort"), ("李", "密")]
            .map(|(user, password)| (user.to_owned(), password.to_owned()))
            .into()
    }

    fn begun() -> Exchange {
        let (exchange, challenge) = Exchange::begin(&[0xab; 16], b"").expect("nothing was said");
        assert!(String::from_utf8_lossy(&challenge).contains(&format!("nonce=\"{}\"", exchange.nonce)));
        exchange
    }

    #[test]
    fn who_knows_the_password_is_believed_once() {
        for (user, password) in users() {
            let mut exchange = begun();
            let said = answer(&exchange.nonce, &user, &password, "");
            let (told, found) = exchange.finish(said.as_bytes(), &users()).expect("it is right");
            assert_eq!((found.as_str(), told.len()), (user.as_str(), "rspauth=".len() + 32));
            let again = exchange.finish(said.as_bytes(), &users()).expect_err("it is over");
            assert!(again.contains("over"), "{again}");
        }
    }

    #[test]
    fn nobody_else_is() {
        let nonce = begun().nonce;
        let right = answer(&nonce, "bob", "secret", "");
        let (long, twice) = ("x".repeat(5000), format!("{right},nonce=\"{nonce}\""));
        let wrong = [
            (answer(&nonce, "bob", "wrong", ""), "password"),
            (answer(&nonce, "eve", "secret", ""), "no user"),
            (answer("another", "bob", "secret", ""), "nonce"),
            (right.replace("nc=00000001", "nc=00000002"), "nc is"),
            (right.replace("zookeeper/", "imap/"), "digest-uri"),
            (right.replace("qop=auth", "qop=auth-int"), "qop"),
            (right.replace("realm=\"zk", "realm=\"other"), "realm"),
            (right.replace(",cnonce=\"c\"", ""), "cnonce"),
            (right.replace(",response=", ",respons="), "no response"),
            (right.replace("username=", "name="), "no username"),
            (right.replace("charset=utf-8", "charset=\"utf-8"), "quotes"),
            (right.replace("\"c\"", "\"c\"x"), "more behind"),
            (format!("{right},x"), "no value"),
            (twice, "twice"),
            (long, "4096"),
        ];
        for (said, why) in wrong {
            let error = begun().finish(said.as_bytes(), &users()).expect_err(&said);
            assert!(error.contains(why), "{error}: {said}");
        }
        assert!(Exchange::begin(&[0; 16], b"x").is_err());
    }

    #[test]
    fn an_identity_to_act_as_goes_into_the_hash_and_means_nothing_else() {
        let mut exchange = begun();
        let said = answer(&exchange.nonce, "bob", "secret", ",authzid=\"root\"");
        assert!(exchange.finish(said.as_bytes(), &users()).is_err(), "it was not hashed");
        let mut exchange = begun();
        let proof = Proof {
            secret: secret("bob", REALM.as_bytes(), "secret", true),
            nonce: exchange.nonce.as_bytes(),
            cnonce: b"c",
            authzid: Some(b"root"),
        };
        let said = answer(&exchange.nonce, "bob", "secret", ",authzid=\"root\"");
        let right = answer(&exchange.nonce, "bob", "secret", "");
        let of = |text: &str| text.split_once("response=").expect("it has one").1[..32].to_owned();
        let said = said.replace(&of(&right), &proof.of("AUTHENTICATE"));
        assert_eq!(exchange.finish(said.as_bytes(), &users()).expect("it is right").1, "bob");
    }
}
