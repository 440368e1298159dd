//! The server's side of DIGEST-MD5 with authentication alone (RFC 2831, `qop=auth`): a challenge with a nonce, an answer
//! that only somebody who knows the password can give, and a proof in return that the server knows it too.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use md5::{Digest as _, Md5};

/// The realm that is offered, and the name that clients call this server by.
const REALM: &str = "zk-sasl-md5";
/// The service and server that an answer has to be meant for.
const URI: &str = "zookeeper/zk-sasl-md5";
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
    /// A client begins, with nothing. Returns the challenge.
    ///
    /// # Errors
    /// It said something.
    pub(crate) fn begin(nonce: &[u8], token: &[u8]) -> Result<(Self, Vec<u8>), String> {
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
    pub(crate) fn finish(
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
        let answer = Answer::parse(token)?;
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

/// What both sides prove that they know the password with.
struct Proof<'a> {
    secret: [u8; 16],
    nonce: &'a [u8],
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
}

impl Proof<'_> {
    /// The response of a side: the client's for `AUTHENTICATE`, the server's for nothing.
    fn of(&self, method: &str) -> String {
        let mut first = Md5::new_with_prefix(self.secret);
        for part in [Some(self.nonce), Some(self.cnonce), self.authzid].into_iter().flatten() {
            first.update(b":");
            first.update(part);
        }
        let second = Md5::digest(format!("{method}:{URI}"));
        let mut whole = Md5::new_with_prefix(hex(&first.finalize()));
        for part in [self.nonce, b"00000001", self.cnonce, b"auth", hex(&second).as_bytes()] {
            whole.update(b":");
            whole.update(part);
        }
        hex(&whole.finalize())
    }
}

/// The hash of user, realm and password, which are Latin-1 where they can be (RFC 2831, section 2.1.2.1).
fn secret(user: &str, realm: &[u8], password: &str, utf8: bool) -> [u8; 16] {
    let text = |text: &str| encoded(text, utf8);
    let mut hash = Md5::new_with_prefix(text(user));
    hash.update(b":");
    hash.update(realm);
    hash.update(b":");
    hash.update(text(password));
    hash.finalize().into()
}

/// The realm as it goes into the hash: that of the answer, which may have none.
fn of_realm(realm: Option<&[u8]>, utf8: bool) -> Vec<u8> {
    match realm {
        Some(realm) if utf8 => encoded(&String::from_utf8_lossy(realm), utf8),
        Some(realm) => realm.to_vec(),
        None => Vec::new(),
    }
}

fn encoded(text: &str, utf8: bool) -> Vec<u8> {
    let latin: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
    match latin {
        Some(latin) => latin,
        None if utf8 => text.as_bytes().to_vec(),
        None => text.chars().map(|char| u8::try_from(char).unwrap_or(b'?')).collect(),
    }
}

fn of_latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Whether both are equal, in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The directives of an answer: `key=value`, separated by commas, values perhaps in quotes.
struct Answer<'a>(Vec<(String, Cow<'a, [u8]>)>);

impl<'a> Answer<'a> {
    fn parse(mut rest: &'a [u8]) -> Result<Self, String> {
        let mut directives = Vec::new();
        loop {
            rest = rest.trim_ascii_start();
            while let Some(behind) = rest.strip_prefix(b",") {
                rest = behind.trim_ascii_start();
            }
            if rest.is_empty() {
                return Ok(Self(directives));
            }
            let equals = rest.iter().position(|byte| *byte == b'=').ok_or("a directive has no value")?;
            let key = String::from_utf8_lossy(rest[..equals].trim_ascii()).to_ascii_lowercase();
            let (value, behind) = value(rest[equals + 1..].trim_ascii_start())
                .ok_or_else(|| format!("the quotes around {key} are not closed"))?;
            rest = behind.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return Err(format!("there is more behind the value of {key}"));
            }
            directives.push((key, value));
        }
    }

    /// The value of a directive that may stand there once.
    fn one(&self, key: &str) -> Result<Option<&[u8]>, String> {
        let mut found = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| &**value);
        let first = found.next();
        if found.next().is_some() { Err(format!("{key} is given twice")) } else { Ok(first) }
    }
}

/// A value, and what is behind it; none if its quotes are not closed.
fn value(rest: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        return Some((Cow::Borrowed(rest[..end].trim_ascii_end()), &rest[end..]));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((Cow::Owned(value), &quoted[place + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
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
    fn the_example_of_the_rfc() {
        let hash = |parts: &[&str]| hex(&Md5::digest(parts.join(":")));
        let secret = secret("chris", b"elwood.innosoft.com", "secret", true);
        let mut first = secret.to_vec();
        first.extend_from_slice(b":OA6MG9tEQGm2hh:OA6MHXh6VqTrRk");
        let second = hash(&["AUTHENTICATE", "imap/elwood.innosoft.com"]);
        let whole = hash(&[
            &hex(&Md5::digest(&first)),
            "OA6MG9tEQGm2hh",
            "00000001",
            "OA6MHXh6VqTrRk",
            "auth",
            &second,
        ]);
        assert_eq!(whole, "d388dad90d4bbd760a152321f2143af7");
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

    #[test]
    fn quotes_and_backslashes_are_read() {
        let parsed = Answer::parse(br#" a = "x\"y\\" , ,b=z ,c="" "#).expect("it is well formed");
        assert_eq!(parsed.one("a"), Ok(Some(&b"x\"y\\"[..])));
        assert_eq!(parsed.one("b"), Ok(Some(&b"z"[..])));
        assert_eq!(parsed.one("c"), Ok(Some(&b""[..])));
        assert_eq!(parsed.one("d"), Ok(None));
    }
}
