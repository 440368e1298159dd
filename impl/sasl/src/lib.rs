//! SASL with DIGEST-MD5 and authentication alone (RFC 2831, `qop=auth`), as ZooKeeper's clients and servers use it: a
//! challenge with a nonce, an answer that only somebody who knows the password can give, and a proof in return that the
//! server knows it too. Passwords stand in JAAS files.
//!
//! Nothing here knows of connections: both sides make tokens out of tokens. Sources: RFC 2831; ZooKeeper
//! `SaslServerCallbackHandler`, `DigestLoginModule`.

mod client;
mod directives;
pub mod jaas;
mod proof;
mod server;

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

pub use client::{Answer, User};
pub use server::Exchange;

/// The realm that servers offer, and the name that clients call every server by.
const REALM: &str = "zk-sasl-md5";
/// The service and server that an answer has to be meant for.
const URI: &str = "zookeeper/zk-sasl-md5";

/// What nobody can guess, and no exchange has had before.
///
/// # Panics
/// If the system gives no random bytes, without which nothing can be proved.
pub fn nonce() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => panic!("the system gives no random bytes: {error}"),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn nonces_differ() {
        assert_ne!(super::nonce(), super::nonce());
    }
}
