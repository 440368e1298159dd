//! What both sides of an exchange prove that they know the password with.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::URI;

/// What a proof is made of.
pub(crate) struct Proof<'a> {
    pub(crate) secret: [u8; 16],
    pub(crate) nonce: &'a [u8],
    pub(crate) cnonce: &'a [u8],
    pub(crate) authzid: Option<&'a [u8]>,
}

impl Proof<'_> {
    /// The response of a side: the client's for `AUTHENTICATE`, the server's for nothing.
    pub(crate) fn of(&self, method: &str) -> String {
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
pub(crate) fn secret(user: &str, realm: &[u8], password: &str, utf8: bool) -> [u8; 16] {
    let text = |text: &str| encoded(text, utf8);
    let mut hash = Md5::new_with_prefix(text(user));
    hash.update(b":");
    hash.update(realm);
    hash.update(b":");
    hash.update(text(password));
    hash.finalize().into()
}

pub(crate) fn encoded(text: &str, utf8: bool) -> Vec<u8> {
    let latin: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
    match latin {
        Some(latin) => latin,
        None if utf8 => text.as_bytes().to_vec(),
        None => text.chars().map(|char| u8::try_from(char).unwrap_or(b'?')).collect(),
    }
}

pub(crate) fn of_latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Whether both are equal, in a time that does not tell where they differ.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
