//! The records that others contain: Stat, entries of access control lists, identities.

use tree::{Acl, Identity, Stat, StatPersisted, Text};

use crate::{Decoder, Error, Sink};

/// Reads a Stat of 68 bytes, as clients see it.
///
/// # Errors
/// [`Error::Short`].
pub fn stat(input: &mut Decoder<'_>) -> Result<Stat, Error> {
    Ok(Stat {
        czxid: input.long()?,
        mzxid: input.long()?,
        ctime: input.long()?,
        mtime: input.long()?,
        version: input.int()?,
        cversion: input.int()?,
        aversion: input.int()?,
        ephemeral_owner: input.long()?,
        data_length: input.int()?,
        num_children: input.int()?,
        pzxid: input.long()?,
    })
}

/// Appends a Stat as clients see it.
pub fn put_stat(stat: &Stat, out: &mut impl Sink) {
    out.put_long(stat.czxid);
    out.put_long(stat.mzxid);
    out.put_long(stat.ctime);
    out.put_long(stat.mtime);
    out.put_int(stat.version);
    out.put_int(stat.cversion);
    out.put_int(stat.aversion);
    out.put_long(stat.ephemeral_owner);
    out.put_int(stat.data_length);
    out.put_int(stat.num_children);
    out.put_long(stat.pzxid);
}

/// Reads a Stat of 60 bytes, as snapshots hold it.
///
/// # Errors
/// [`Error::Short`].
pub fn stat_persisted(input: &mut Decoder<'_>) -> Result<StatPersisted, Error> {
    Ok(StatPersisted {
        czxid: input.long()?,
        mzxid: input.long()?,
        ctime: input.long()?,
        mtime: input.long()?,
        version: input.int()?,
        cversion: input.int()?,
        aversion: input.int()?,
        ephemeral_owner: input.long()?,
        pzxid: input.long()?,
    })
}

/// Appends a Stat as snapshots hold it.
pub fn put_stat_persisted(stat: &StatPersisted, out: &mut impl Sink) {
    out.put_long(stat.czxid);
    out.put_long(stat.mzxid);
    out.put_long(stat.ctime);
    out.put_long(stat.mtime);
    out.put_int(stat.version);
    out.put_int(stat.cversion);
    out.put_int(stat.aversion);
    out.put_long(stat.ephemeral_owner);
    out.put_long(stat.pzxid);
}

/// Reads an access control list; a null one is empty, and so is a null scheme or id.
///
/// # Errors
/// As [`Decoder::vector`].
pub fn acl(input: &mut Decoder<'_>) -> Result<Vec<Acl>, Error> {
    let entries = input.vector(|input| {
        Ok(Acl { perms: input.int()?, scheme: text_or_empty(input)?, id: text_or_empty(input)? })
    })?;
    Ok(entries.unwrap_or_default())
}

/// Appends an access control list.
pub fn put_acl(acl: &[Acl], out: &mut impl Sink) {
    out.put_count(acl.len());
    for entry in acl {
        out.put_int(entry.perms);
        out.put_bytes(entry.scheme.as_bytes());
        out.put_bytes(entry.id.as_bytes());
    }
}

/// Reads a list of identities, or null.
///
/// # Errors
/// As [`Decoder::vector`].
pub fn identities(input: &mut Decoder<'_>) -> Result<Option<Vec<Identity>>, Error> {
    input.vector(|input| Ok(Identity { scheme: text_or_empty(input)?, id: text_or_empty(input)? }))
}

/// Appends a list of identities.
pub fn put_identities(identities: &[Identity], out: &mut impl Sink) {
    out.put_count(identities.len());
    for identity in identities {
        out.put_bytes(identity.scheme.as_bytes());
        out.put_bytes(identity.id.as_bytes());
    }
}

/// Reads a list of paths, none of which is null.
///
/// # Errors
/// As [`Decoder::vector`], and [`Error::Null`].
pub fn paths(input: &mut Decoder<'_>) -> Result<Vec<Text>, Error> {
    input.vector(|input| input.text("path"))?.ok_or(Error::Null { what: "list of paths" })
}

/// Appends a list of paths.
pub fn put_paths(paths: &[Text], out: &mut impl Sink) {
    out.put_count(paths.len());
    for path in paths {
        out.put_bytes(path.as_bytes());
    }
}

fn text_or_empty(input: &mut Decoder<'_>) -> Result<Text, Error> {
    match input.text("text") {
        Err(Error::Null { .. }) => Ok(Text::default()),
        other => other,
    }
}
