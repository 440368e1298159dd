//! What a certificate says: for whom it is, by whom, for how long.

use std::fmt::Write;

use crate::{
    StoreError,
    der::{BIT_STRING, BMP_STRING, BOOLEAN, Der, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, dotted, place},
};

const WHAT: &str = "a certificate";
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const OTHER_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// The parts of a certificate that count here.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    /// The name of who signed it, in DER.
    pub(crate) issuer: &'a [u8],
    /// The name of whom it is for, in DER.
    pub(crate) subject: &'a [u8],
    /// Seconds since 1970 from which, and up to which, it is valid.
    pub(crate) valid: (u64, u64),
    /// The algorithm of its signature.
    pub(crate) signed_by: &'a [u8],
    /// What is signed.
    pub(crate) signed: &'a [u8],
    /// The algorithm of its signature with all that belongs to it, and the signature.
    pub(crate) signature: (&'a [u8], &'a [u8]),
    /// The algorithm of its key with all that belongs to it, and the key.
    pub(crate) key: (&'a [u8], &'a [u8]),
    /// Whether it is of the first version, which has no extensions.
    pub(crate) is_first: bool,
    /// Whether hosts are named in it, beside the subject.
    pub(crate) names_hosts: bool,
    /// Whether it may vouch for others: that is said in it, or it is of the first version and signed by itself.
    pub(crate) is_authority: bool,
    /// What its key is for.
    pub(crate) usage: Usage,
}

/// What a key is for; for everything, where a certificate does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Its owner may prove himself with it.
    pub(crate) signs: bool,
    /// It may sign certificates.
    pub(crate) vouches: bool,
}

impl<'a> Certificate<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, StoreError> {
        let mut outer = Der::new(bytes, WHAT).enter(SEQUENCE)?;
        let signed = outer.next()?;
        let mut inside = Der::new(signed.whole, WHAT).enter(SEQUENCE)?;
        let algorithm = outer.expect(SEQUENCE)?;
        let signed_by = Der::new(algorithm, WHAT).expect(OID)?;
        let signature = (algorithm, bits(&mut outer)?);
        let is_first = inside.optional(place(0))?.is_none();
        inside.expect(INTEGER)?;
        inside.algorithm()?;
        let issuer = inside.next()?.whole;
        let mut valid = inside.enter(SEQUENCE)?;
        let valid = (time(&mut valid)?, time(&mut valid)?);
        let subject = inside.next()?.whole;
        let mut key = inside.enter(SEQUENCE)?;
        let key = (key.expect(SEQUENCE)?, bits(&mut key)?);
        // One that does not say whether it is an authority can only be one of its own making: anybody else's was made for
        // somebody who is none.
        let (mut names_hosts, mut is_authority) = (false, is_first && issuer == subject);
        let mut usage = Usage { signs: true, vouches: true };
        while !inside.is_empty() {
            let part = inside.next()?;
            if part.tag == place(3) {
                let said = Extensions::read(part.content)?;
                (names_hosts, is_authority) = (said.names_hosts, is_authority || said.is_authority);
                usage = said.usage.unwrap_or(usage);
            }
        }
        let signed = signed.whole;
        Ok(Self {
            issuer,
            subject,
            valid,
            signed_by,
            signed,
            signature,
            key,
            is_first,
            names_hosts,
            is_authority,
            usage,
        })
    }

    /// Whether it is signed with a hash that is no longer trusted: MD5 or SHA-1.
    pub(crate) fn is_signed_weakly(&self) -> bool {
        const WEAK: [&str; 6] = [
            // RSA with MD2, MD5 and SHA-1, by both names; DSA and ECDSA with SHA-1.
            "1.2.840.113549.1.1.2",
            "1.2.840.113549.1.1.4",
            "1.2.840.113549.1.1.5",
            "1.3.14.3.2.29",
            "1.2.840.10040.4.3",
            "1.2.840.10045.4.1",
        ];
        dotted(self.signed_by).is_some_and(|name| WEAK.contains(&name.as_str()))
    }
}

/// Bits, whole bytes of them.
fn bits<'a>(input: &mut Der<'a>) -> Result<&'a [u8], StoreError> {
    match input.expect(BIT_STRING)?.split_first() {
        Some((0, bits)) => Ok(bits),
        _ => input.malformed(),
    }
}

/// What extensions say.
#[derive(Debug, Default)]
struct Extensions {
    names_hosts: bool,
    is_authority: bool,
    usage: Option<Usage>,
}

impl Extensions {
    fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        const DNS_NAME: u8 = 0x82;
        const ADDRESS: u8 = 0x87;
        let mut said = Self::default();
        let mut extensions = Der::new(bytes, WHAT).enter(SEQUENCE)?;
        while !extensions.is_empty() {
            let mut extension = extensions.enter(SEQUENCE)?;
            let name = extension.expect(OID)?;
            // Whether it is critical.
            extension.optional(BOOLEAN)?;
            let mut value = Der::new(extension.expect(OCTET_STRING)?, WHAT);
            if name == OTHER_NAMES {
                let mut names = value.enter(SEQUENCE)?;
                while !names.is_empty() {
                    said.names_hosts |= [DNS_NAME, ADDRESS].contains(&names.next()?.tag);
                }
            } else if name == CONSTRAINTS {
                let is_authority = value.enter(SEQUENCE)?.optional(BOOLEAN)?;
                said.is_authority = is_authority.is_some_and(|is| is == [0xff]);
            } else if name == USAGE {
                // How many bits of the last byte do not count goes before the bits; those that count here are early.
                let bits = value.expect(BIT_STRING)?.get(1).copied().unwrap_or(0);
                said.usage = Some(Usage { signs: bits & 0x80 != 0, vouches: bits & 0x04 != 0 });
            }
        }
        Ok(said)
    }
}

/// A time, in seconds since 1970; one before that is 1970.
fn time(input: &mut Der<'_>) -> Result<u64, StoreError> {
    const SHORT: u8 = 0x17;
    const LONG: u8 = 0x18;
    let value = input.next()?;
    let digits: Option<Vec<u64>> = value
        .content
        .strip_suffix(b"Z")
        .map(|digits| digits.iter().map(|digit| u64::from(digit.wrapping_sub(b'0'))).collect());
    let Some(digits) = digits.filter(|digits| digits.iter().all(|digit| *digit <= 9)) else {
        return input.malformed();
    };
    let two = |at: usize| digits[at] * 10 + digits[at + 1];
    let (year, rest) = match (value.tag, digits.len()) {
        // Of two digits, those from 50 on are of the twentieth century.
        (SHORT, 12) => (two(0) + if two(0) < 50 { 2000 } else { 1900 }, 2),
        (LONG, 14) => (two(0) * 100 + two(2), 4),
        _ => return input.malformed(),
    };
    let (month, day) = (two(rest), two(rest + 2));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return if year < 1970 { Ok(0) } else { input.malformed() };
    }
    // Days of a year that begins in March, so that the odd day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // From the first of March of the year 0 to 1970.
    let days = days.saturating_sub(719_468);
    Ok(days * 86_400 + two(rest + 4) * 3600 + two(rest + 6) * 60 + two(rest + 8))
}

/// For whom a certificate is, as Java's `X500Principal.getName()` writes it: in the form of RFC 2253, the last part
/// first, names of attributes that the RFC does not list as numbers, with their values in hexadecimal.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::read(certificate).ok()?;
    name(certificate.subject).ok()
}

/// The common name of whom a certificate is for; the last one, if there are several.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::read(certificate).ok()?;
    let mut last = None;
    let mut parts = Der::new(certificate.subject, WHAT).enter(SEQUENCE).ok()?;
    while !parts.is_empty() {
        let mut part = parts.enter(SET).ok()?;
        while !part.is_empty() {
            let mut attribute = part.enter(SEQUENCE).ok()?;
            if attribute.expect(OID).ok()? == COMMON_NAME {
                last = attribute.next().ok().map(|value| text(value.content));
            }
        }
    }
    last
}

fn name(subject: &[u8]) -> Result<String, StoreError> {
    let mut parts = Vec::new();
    let mut inside = Der::new(subject, WHAT).enter(SEQUENCE)?;
    while !inside.is_empty() {
        let mut part = inside.enter(SET)?;
        let mut attributes = Vec::new();
        while !part.is_empty() {
            attributes.push(attribute(part.enter(SEQUENCE)?)?);
        }
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Ok(parts.join(","))
}

/// The attributes that RFC 2253 gives a name.
const NAMED: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

fn attribute(mut inside: Der<'_>) -> Result<String, StoreError> {
    let Some(oid) = dotted(inside.expect(OID)?) else { return inside.malformed() };
    let value = inside.next()?;
    match NAMED.iter().find(|(number, _)| *number == oid) {
        Some((_, name)) if is_text(value.tag) => Ok(format!("{name}={}", escaped(&text(value.content)))),
        named => {
            let mut hex = format!("{}=#", named.map_or(oid.as_str(), |(_, name)| name));
            for byte in value.whole {
                let _ = write!(hex, "{byte:02x}");
            }
            Ok(hex)
        }
    }
}

/// Whether a value of this tag is text for Java: of ASN.1's eight kinds of string, those for people.
fn is_text(tag: u8) -> bool {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const T61: u8 = 0x14;
    const IA5: u8 = 0x16;
    const GENERAL: u8 = 0x1b;
    const UNIVERSAL: u8 = 0x1c;
    matches!(tag, UTF8 | PRINTABLE | T61 | IA5 | GENERAL | UNIVERSAL | BMP_STRING)
}

/// As Java reads it: whatever the kind of string, as UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// With a backslash before what has a meaning in a name, and before blanks at both ends.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => plain.extend(['\\', char]),
            '\0' => plain.push_str("\\00"),
            _ => plain.push(char),
        }
    }
    let is_blank = |char: char| matches!(char, ' ' | '\r');
    let inner = plain.trim_start_matches(is_blank);
    let lead = plain.len() - inner.len();
    let inner = inner.trim_end_matches(is_blank);
    let blanks = |text: &str| text.chars().flat_map(|char| ['\\', char]).collect::<String>();
    let (before, behind) = (&plain[..lead], &plain[lead + inner.len()..]);
    format!("{}{inner}{}", blanks(before), blanks(behind))
}

/// The public key of a certificate, as a value of its own.
pub(crate) fn public_key(certificate: &[u8]) -> Result<&[u8], StoreError> {
    let mut inside = Der::new(certificate, WHAT).enter(SEQUENCE)?.enter(SEQUENCE)?;
    inside.optional(place(0))?;
    inside.expect(INTEGER)?;
    for _ in 0..4 {
        inside.next()?;
    }
    let key = inside.next()?;
    // It is one with an algorithm and its bits.
    let mut parts = Der::new(key.content, WHAT);
    parts.algorithm()?;
    parts.expect(BIT_STRING)?;
    Ok(key.whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_java_does() {
        let rows = [
            ("plain name", "plain name"),
            ("a,b=c", "a\\,b\\=c"),
            ("#1", "\\#1"),
            ("a#b", "a\\#b"),
            (" both ", "\\ both\\ "),
            ("   ", "\\ \\ \\ "),
            ("q\"\\", "q\\\"\\\\"),
            ("zero\0", "zero\\00"),
            ("größe", "größe"),
        ];
        for (text, expected) in rows {
            assert_eq!(escaped(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_seconds_since_1970() {
        let rows: [(u8, &[u8], Option<u64>); 8] = [
            (0x17, b"700101000000Z", Some(0)),
            (0x17, b"000229123456Z", Some(951_827_696)),
            (0x17, b"491231235959Z", Some(2_524_607_999)),
            (0x17, b"500101000000Z", Some(0)),
            (0x18, b"21260101000000Z", Some(4_922_899_200)),
            (0x18, b"20261301000000Z", None),
            (0x17, b"2601010000Z", None),
            (0x17, b"26010100000xZ", None),
        ];
        for (tag, text, expected) in rows {
            let bytes = [&[tag, u8::try_from(text.len()).expect("short")], text].concat();
            assert_eq!(time(&mut Der::new(&bytes, WHAT)).ok(), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
