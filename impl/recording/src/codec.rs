//! The small parts of records: numbers, strings, and writes without the data that logs hold.

use bytes::Bytes;
use tree::{Acl, CreateRequest, Identity, Text, Write};

use crate::Error;

/// Data longer than this is left out of a write: its length is recorded, and the log holds the rest.
pub const DATA_MAX: usize = 32;
/// The longest data that is believed to have been left out of one record: more than a server takes from a client.
pub(crate) const LEFT_OUT_MAX: usize = 256 << 20;

/// Appends a number, seven bits a byte, the low ones first.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A signed number so that small ones of either sign stay small.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// What [`zigzag`] was given.
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) ^ (value & 1).wrapping_neg()).cast_signed()
}

fn put_text(out: &mut Vec<u8>, text: &Text) {
    put(out, text.as_bytes().len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_data(out: &mut Vec<u8>, data: Option<&Bytes>) {
    let Some(data) = data else { return out.push(0) };
    put(out, data.len() as u64 + 1);
    if data.len() <= DATA_MAX {
        out.extend_from_slice(data);
    }
}

fn put_acl(out: &mut Vec<u8>, acl: &[Acl]) {
    put(out, acl.len() as u64);
    for Acl { perms, scheme, id } in acl {
        put(out, zigzag((*perms).into()));
        put_text(out, scheme);
        put_text(out, id);
    }
}

/// Appends identities.
pub(crate) fn put_identities(out: &mut Vec<u8>, identities: &[Identity]) {
    put(out, identities.len() as u64);
    for Identity { scheme, id } in identities {
        put_text(out, scheme);
        put_text(out, id);
    }
}

/// Appends a write.
pub(crate) fn put_write(out: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Create { path, data, acl, flags, request } => {
            out.push(match request {
                CreateRequest::Create => 0,
                CreateRequest::Create2 => 1,
                CreateRequest::Container => 7,
                CreateRequest::Ttl { .. } => 8,
            });
            put_text(out, path);
            put_data(out, data.as_ref());
            put_acl(out, acl);
            put(out, zigzag((*flags).into()));
            if let CreateRequest::Ttl { ttl_ms } = request {
                put(out, zigzag(*ttl_ms));
            }
        }
        Write::Delete { path, version } => put_versioned(out, 2, path, *version),
        Write::SetData { path, data, version } => {
            put_versioned(out, 3, path, *version);
            put_data(out, data.as_ref());
        }
        Write::SetAcl { path, acl, version } => {
            put_versioned(out, 4, path, *version);
            put_acl(out, acl);
        }
        Write::Check { path, version } => put_versioned(out, 5, path, *version),
        Write::Multi(parts) => {
            out.push(6);
            put(out, parts.len() as u64);
            for part in parts {
                put_write(out, part);
            }
        }
        Write::Sweep { path } => {
            out.push(9);
            put_text(out, path);
        }
    }
}

fn put_versioned(out: &mut Vec<u8>, tag: u8, path: &Text, version: i32) {
    out.push(tag);
    put_text(out, path);
    put(out, zigzag(version.into()));
}

/// Takes from records.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
    /// Of which record.
    pub(crate) kind: u8,
    /// How many bytes of data may still have been left out of it. All parts of a multi share them: each needs only a few
    /// bytes to say that many are missing, which are zeros here and take their room.
    pub(crate) left_out: usize,
}

impl<'a> Reader<'a> {
    fn short(&self) -> Error {
        Error::Short(self.kind)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let (first, rest) = self.rest.split_first().ok_or(self.short())?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Result<&'a [u8], Error> {
        let count = usize::try_from(count).map_err(|_| self.short())?;
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(self.short())?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.short())
    }

    fn signed(&mut self) -> Result<i32, Error> {
        i32::try_from(unzigzag(self.number()?)).map_err(|_| self.short())
    }

    fn text(&mut self) -> Result<Text, Error> {
        let length = self.number()?;
        let bytes = Bytes::copy_from_slice(self.bytes(length)?);
        Text::from_utf8(bytes).map_err(|_| self.short())
    }

    fn data(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.number()?.checked_sub(1) else { return Ok(None) };
        if length <= DATA_MAX as u64 {
            return Ok(Some(Bytes::copy_from_slice(self.bytes(length)?)));
        }
        let left = usize::try_from(length).ok().and_then(|length| self.left_out.checked_sub(length));
        let length = self.left_out - left.ok_or(self.short())?;
        self.left_out -= length;
        Ok(Some(vec![0; length].into()))
    }

    /// As many as are told of; each has a byte at least.
    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let count = self.number()?;
        if count > self.rest.len() as u64 {
            return Err(self.short());
        }
        (0..count).map(|_| one(self)).collect()
    }

    fn acl(&mut self) -> Result<Vec<Acl>, Error> {
        self.list(|reader| Ok(Acl { perms: reader.signed()?, scheme: reader.text()?, id: reader.text()? }))
    }

    pub(crate) fn identities(&mut self) -> Result<Vec<Identity>, Error> {
        self.list(|reader| Ok(Identity { scheme: reader.text()?, id: reader.text()? }))
    }

    /// A write; where data was left out stand as many zeros.
    pub(crate) fn write(&mut self) -> Result<Write, Error> {
        match self.byte()? {
            6 => Ok(Write::Multi(self.list(|reader| {
                let tag = reader.byte()?;
                reader.part(tag)
            })?)),
            tag => self.part(tag),
        }
    }

    /// A write that is no multi.
    fn part(&mut self, tag: u8) -> Result<Write, Error> {
        let path = self.text()?;
        Ok(match tag {
            0 | 1 | 7 | 8 => Write::Create {
                path,
                data: self.data()?,
                acl: self.acl()?,
                flags: self.signed()?,
                request: match tag {
                    0 => CreateRequest::Create,
                    1 => CreateRequest::Create2,
                    7 => CreateRequest::Container,
                    _ => CreateRequest::Ttl { ttl_ms: unzigzag(self.number()?) },
                },
            },
            2 => Write::Delete { path, version: self.signed()? },
            3 => {
                let version = self.signed()?;
                Write::SetData { path, data: self.data()?, version }
            }
            4 => {
                let version = self.signed()?;
                Write::SetAcl { path, acl: self.acl()?, version }
            }
            5 => Write::Check { path, version: self.signed()? },
            9 => Write::Sweep { path },
            _ => return Err(self.short()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(write: &Write) -> Write {
        let mut out = Vec::new();
        put_write(&mut out, write);
        let mut reader = Reader { rest: &out, kind: 0, left_out: LEFT_OUT_MAX };
        let read = reader.write().expect("it reads");
        assert!(reader.rest.is_empty());
        read
    }

    #[test]
    fn a_write_is_read_as_it_was_but_for_long_data() {
        let path = Text::from("/a/b");
        let data = |length: usize| Some(Bytes::from(vec![7; length]));
        let acl = vec![Acl::world(31), Acl { perms: -1, scheme: Text::from("ip"), id: Text::from("::1") }];
        let set = |data| Write::SetData { path: path.clone(), data, version: -1 };
        let create =
            |data, acl, flags, request| Write::Create { path: path.clone(), data, acl, flags, request };
        let same = [
            create(None, acl.clone(), 3, CreateRequest::Create2),
            create(data(0), Vec::new(), -1, CreateRequest::Create),
            create(data(1), Vec::new(), 4, CreateRequest::Container),
            create(data(1), Vec::new(), 6, CreateRequest::Ttl { ttl_ms: -1 }),
            Write::Sweep { path: path.clone() },
            Write::Delete { path: path.clone(), version: i32::MAX },
            set(None),
            set(data(DATA_MAX)),
            Write::SetAcl { path: path.clone(), acl, version: i32::MIN },
            Write::Multi(vec![Write::Check { path: path.clone(), version: 5 }, set(data(1))]),
        ];
        for write in same {
            assert_eq!(again(&write), write);
        }
        let zeros = Some(Bytes::from(vec![0; DATA_MAX + 1]));
        assert_eq!(again(&set(data(DATA_MAX + 1))), set(zeros));
    }

    #[test]
    fn the_parts_of_a_multi_cannot_claim_more_than_one_write_could() {
        let path = Text::from("/a");
        let part = || {
            let mut out = Vec::new();
            put_versioned(&mut out, 3, &path, -1);
            put(&mut out, LEFT_OUT_MAX as u64 / 2 + 1);
            out
        };
        let read = |parts: u64| {
            let mut out = vec![6];
            put(&mut out, parts);
            out.extend((0..parts).flat_map(|_| part()));
            Reader { rest: &out, kind: 0, left_out: LEFT_OUT_MAX }.write().map(drop)
        };
        assert!(read(2).is_ok());
        // Ten bytes each would else have grown to 128 MiB.
        assert!(matches!(read(3), Err(Error::Short(0))));
    }

    #[test]
    fn numbers_of_either_sign_stay_small() {
        for (value, expected) in [(0, 0), (-1, 1), (1, 2), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(value), expected);
            assert_eq!(unzigzag(expected), value);
        }
    }
}
