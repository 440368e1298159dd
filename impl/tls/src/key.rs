//! Keys of elliptic curves as Java writes them: without their public half, which the library needs.

use crate::der::{BIT_STRING, Der, INTEGER, OCTET_STRING, OID, SEQUENCE, place};

/// 1.2.840.10045.2.1: a key of an elliptic curve.
const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// A private key of PKCS#8 with the public half of a certificate's key put in, if it has none and is of the same curve.
/// Whether the two belong together is for others to find out.
pub(crate) fn with_public(key: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let mut inside = Der::new(key, "a key").enter(SEQUENCE).ok()?;
    inside.number().ok()?;
    let algorithm = inside.next().ok()?;
    let is_elliptic = Der::new(algorithm.content, "a key").expect(OID).is_ok_and(|oid| oid == ELLIPTIC);
    let mut public = Der::new(public, "a key").enter(SEQUENCE).ok()?;
    if !is_elliptic || public.next().ok()?.whole != algorithm.whole {
        return None;
    }
    let bits = public.next().ok()?;
    let mut private = Der::new(inside.expect(OCTET_STRING).ok()?, "a key").enter(SEQUENCE).ok()?;
    let version = private.next().ok()?;
    let secret = private.expect(OCTET_STRING).ok()?;
    private.optional(place(0)).ok()?;
    if private.tag() == Some(place(1)) || bits.tag != BIT_STRING || version.tag != INTEGER {
        return None;
    }
    let secret = put(OCTET_STRING, &[secret]);
    let private = put(SEQUENCE, &[version.whole, &secret, &put(place(1), &[bits.whole])]);
    let version = put(INTEGER, &[&[0]]);
    Some(put(SEQUENCE, &[&version, algorithm.whole, &put(OCTET_STRING, &[&private])]))
}

/// A value: tag, length, and these parts.
fn put(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|digit| **digit == 0).count()..];
    let mut value = vec![tag];
    match (digits, content.len()) {
        (_, short @ ..0x80) => value.extend(u8::try_from(short)),
        (digits, _) => {
            value.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            value.extend_from_slice(digits);
        }
    }
    [value, content].concat()
}
