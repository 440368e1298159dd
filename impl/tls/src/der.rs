//! DER, as far as stores and certificates need it: tag, length, content, one after the other.

use crate::StoreError;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag of something that stands in a place with this number, with more inside.
pub(crate) const fn place(number: u8) -> u8 {
    0xa0 | number
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

/// Values that follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Der<'a> {
    rest: &'a [u8],
    /// What an error says that it was.
    what: &'static str,
}

impl<'a> Der<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn malformed<T>(&self) -> Result<T, StoreError> {
        Err(StoreError::Malformed { what: self.what })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of what follows, if anything does.
    pub(crate) fn tag(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes the next value. Lengths have up to four bytes and are always given; tags have one.
    pub(crate) fn next(&mut self) -> Result<Value<'a>, StoreError> {
        let all = self.rest;
        let (Some(&tag), Some(&first)) = (all.first(), all.get(1)) else { return self.malformed() };
        let (length, start) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return self.malformed();
            }
            let Some(digits) = all.get(2..2 + count) else { return self.malformed() };
            (digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit)), 2 + count)
        };
        let Some(end) = start.checked_add(length).filter(|end| *end <= all.len()) else {
            return self.malformed();
        };
        self.rest = &all[end..];
        Ok(Value { tag, content: &all[start..end], whole: &all[..end] })
    }

    /// Takes the next value, which has this tag; its content.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8], StoreError> {
        match self.next()? {
            value if value.tag == tag => Ok(value.content),
            _ => self.malformed(),
        }
    }

    /// The same, of which the content is values again.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<Self, StoreError> {
        let content = self.expect(tag)?;
        Ok(Self { rest: content, what: self.what })
    }

    /// Takes the next value if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, StoreError> {
        if self.tag() == Some(tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    /// A number that is not negative.
    pub(crate) fn number(&mut self) -> Result<u32, StoreError> {
        let digits = self.expect(INTEGER)?;
        let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
        if digits.len() > 4 || digits.len() == 4 && digits[0] >= 0x80 {
            return self.malformed();
        }
        Ok(digits.iter().fold(0, |sum, digit| sum << 8 | u32::from(*digit)))
    }

    /// An algorithm: its name, and what stands behind it.
    pub(crate) fn algorithm(&mut self) -> Result<(&'a [u8], Self), StoreError> {
        let mut inside = self.enter(SEQUENCE)?;
        Ok((inside.expect(OID)?, inside))
    }
}

/// The name of an object as numbers with points; `None` if it is none.
pub(crate) fn dotted(oid: &[u8]) -> Option<String> {
    let mut parts: Vec<u64> = Vec::new();
    let mut part = 0_u64;
    for byte in oid {
        part = part.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if parts.is_empty() {
                let first = (part / 40).min(2);
                parts.extend([first, part - 40 * first]);
            } else {
                parts.push(part);
            }
            part = 0;
        }
    }
    let ends_well = oid.last().is_some_and(|last| last & 0x80 == 0);
    ends_well.then(|| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_each_other() {
        let bytes = [0x30, 0x06, 0x02, 0x01, 0x05, 0x04, 0x01, 0xff];
        let mut inside = Der::new(&bytes, "a test").enter(SEQUENCE).expect("a sequence");
        assert_eq!(inside.number(), Ok(5));
        assert_eq!(inside.optional(SET), Ok(None));
        assert_eq!(inside.expect(OCTET_STRING), Ok(&[0xff][..]));
        assert!(inside.is_empty() && inside.next().is_err());
    }

    #[test]
    fn lengths_that_promise_too_much_are_none() {
        for bytes in [
            &[0x30][..],
            &[0x30, 0x05, 0x02],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        ] {
            assert_eq!(
                Der::new(bytes, "a test").next().map(|value| value.tag),
                Err(StoreError::Malformed { what: "a test" })
            );
        }
    }

    #[test]
    fn names_of_objects_are_dotted() {
        let rows: [(&[u8], Option<&str>); 4] = [
            (&[0x55, 4, 3], Some("2.5.4.3")),
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], Some("1.2.840.113549.1.9.1")),
            (&[0x88, 0x37, 3], Some("2.999.3")),
            (&[0x55, 0x84], None),
        ];
        for (oid, expected) in rows {
            assert_eq!(dotted(oid).as_deref(), expected);
        }
    }
}
