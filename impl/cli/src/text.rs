//! What is shown, as zkCli.sh writes it.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use client::{Connection, EventType, Notice};
use jiff::{Timestamp, tz::TimeZone};
use spec::Zxid;
use tree::Stat;

use crate::{acl, command::Form, shown::Shown};

/// Lines for the two outputs of a process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lines {
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The lines that show this, with times in this zone.
pub(crate) fn lines(shown: &Shown, zone: &TimeZone) -> Lines {
    let stat = |stat: &Option<Stat>| stat.as_ref().map(|stat| stat_lines(stat, zone)).unwrap_or_default();
    let out = match shown {
        Shown::Children { names, stat: with } => format!("[{}]\n{}", names.join(", "), stat(with)),
        Shown::Path(path) => format!("{path}\n"),
        Shown::Data { data, form, stat: with } => {
            let data = data.as_deref().unwrap_or(b"null");
            let data = match form {
                Form::Plain => String::from_utf8_lossy(data).into_owned(),
                Form::Base64 => STANDARD.encode(data),
                Form::Hex => hex(data),
            };
            format!("{data}\n{}", stat(with))
        }
        Shown::Stat(with) => stat_lines(with, zone),
        Shown::Acl { list, stat: with } => {
            let entry = |entry: &tree::Acl| {
                let (scheme, id) = (escaped(entry.scheme.as_str()), escaped(entry.id.as_str()));
                format!("'{scheme},'{id}\n: {}\n", acl::letters(entry.perms))
            };
            list.iter().map(entry).collect::<String>() + &stat(with)
        }
        Shown::Synced => "Sync is OK\n".to_owned(),
        Shown::Count(count) => format!("{count}\n"),
        Shown::Ephemerals(paths) => format!("[{}]\n", paths.join(", ")),
        Shown::Identities(identities) => {
            let rows = identities.iter().map(|identity| format!("{}: {}\n", identity.scheme, identity.id));
            "Auth scheme: User\n".to_owned() + &rows.collect::<String>()
        }
        Shown::Quota { path, figures, used } => {
            let what = if *used { "stat" } else { "quota" };
            format!("Output {what} for {path} {figures}\n")
        }
        Shown::Committed { data, stat: with } => {
            let text = String::from_utf8_lossy(data.as_deref().unwrap_or_default());
            format!("Committed new configuration:\n{text}\n{}", stat(with))
        }
        Shown::PrintWatches(on) => format!("printwatches is {}\n", if *on { "on" } else { "off" }),
        Shown::History(commands) => {
            let rows = commands.iter().map(|(number, command)| format!("{number} - {command}\n"));
            rows.collect::<Vec<_>>().concat()
        }
        Shown::Version(version) => format!("ZooKeeper CLI version: {version}\n"),
        Shown::Text(text) => text.clone(),
        Shown::Created(path) => return Lines { err: format!("Created {path}\n"), ..Lines::default() },
        Shown::Aside(text) => return Lines { err: format!("{text}\n"), ..Lines::default() },
    };
    Lines { out, ..Lines::default() }
}

/// A Stat, a field a line.
///
/// Source: ZooKeeper `StatPrinter`.
fn stat_lines(stat: &Stat, zone: &TimeZone) -> String {
    format!(
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = {:#x}\ndataLength = {}\nnumChildren = {}\n",
        stat.czxid,
        date(stat.ctime, zone),
        stat.mzxid,
        date(stat.mtime, zone),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )
}

/// A time as Java's `Date` writes it: `Fri Nov 27 15:40:01 UTC 2026`.
fn date(milliseconds: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        Err(_) => format!("{milliseconds} ms since 1970"),
    }
}

/// Bytes in rows of sixteen, between lines, as `get -x` draws them; nothing for none.
fn hex(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    let edge = "+--------+-------------------------------------------------+----------------+";
    let mut rows = vec![format!(
        "         +-------------------------------------------------+\n         |{}|\n{edge}",
        "  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f "
    )];
    for (row, bytes) in data.chunks(16).enumerate() {
        let codes = bytes.iter().map(|byte| format!(" {byte:02x}")).collect::<Vec<_>>().concat();
        let letter = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let letters: String = bytes.iter().map(letter).collect();
        rows.push(format!("|{:08x}|{codes:<48} |{letters:<16}|", row * 16));
    }
    rows.push(edge.to_owned());
    rows.join("\n")
}

/// An event as zkCli.sh prints it, between empty lines.
pub(crate) fn watcher(notice: &Notice, now: Connection) -> String {
    let (state, kind, path, zxid) = match notice {
        Notice::Connection(connection) => (*connection, "None", "null", None),
        Notice::Event { kind, path, zxid } => (state_of(*kind, now), kind.name(), path.as_str(), *zxid),
    };
    // Where no transaction is meant, ZooKeeper says −1.
    let zxid = zxid.map_or_else(|| "-1".to_owned(), |Zxid(zxid)| zxid.to_string());
    format!("\nWATCHER::\n\nWatchedEvent state:{} type:{kind} path:{path} zxid: {zxid}\n", state.event_name())
}

/// Events of nodes come from a server; what the client tells itself has the state that it is in.
fn state_of(kind: EventType, now: Connection) -> Connection {
    match kind {
        EventType::NodeCreated
        | EventType::NodeDeleted
        | EventType::NodeDataChanged
        | EventType::NodeChildrenChanged => Connection::Connected,
        EventType::DataWatchRemoved | EventType::ChildWatchRemoved | EventType::PersistentWatchRemoved => now,
    }
}

/// An event on one line, as `watch` prints it.
pub(crate) fn tail(notice: &Notice) -> String {
    match notice {
        Notice::Connection(connection) => format!("{}\n", connection.event_name()),
        Notice::Event { kind, path, zxid: Some(Zxid(zxid)) } => {
            format!("{:<19} {path} zxid {zxid:#x}\n", kind.name())
        }
        Notice::Event { kind, path, zxid: None } => format!("{:<19} {path}\n", kind.name()),
    }
}

/// Scheme or id of an entry, as Java prints records: what separates their fields is written as a number.
///
/// Source: ZooKeeper jute, `ToStringOutputArchive`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' | '\n' | '\r' | '%' | ',' | '}' => {
                let _ = write!(out, "%{:02X}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::quota;

    fn out(shown: Shown) -> String {
        lines(&shown, &TimeZone::UTC).out
    }

    #[test]
    fn entries_are_escaped_as_java_does() {
        let rows = [
            ("CN=a,O=b", "CN=a%2CO=b"),
            ("100%}", "100%25%7D"),
            ("a\n\r\0", "a%0A%0D%00"),
            ("ann:x=", "ann:x="),
        ];
        for (id, expected) in rows {
            let list = vec![tree::Acl { perms: 1, scheme: "x509".into(), id: id.into() }];
            assert_eq!(out(Shown::Acl { list, stat: None }), format!("'x509,'{expected}\n: r\n"));
        }
    }

    fn stat() -> Stat {
        Stat {
            czxid: 2,
            mzxid: 0x1_0000_000a,
            ctime: 1_795_794_001_000,
            mtime: 1_795_794_002_999,
            version: 3,
            cversion: 4,
            aversion: 5,
            ephemeral_owner: 0x1000_0000_0000_0001,
            data_length: 6,
            num_children: 7,
            pzxid: -1,
        }
    }

    #[test]
    fn a_stat_has_zookeepers_lines() {
        let expected = "cZxid = 0x2\nctime = Fri Nov 27 15:40:01 UTC 2026\nmZxid = 0x10000000a\n\
            mtime = Fri Nov 27 15:40:02 UTC 2026\npZxid = 0xffffffffffffffff\ncversion = 4\ndataVersion = 3\n\
            aclVersion = 5\nephemeralOwner = 0x1000000000000001\ndataLength = 6\nnumChildren = 7\n";
        assert_eq!(out(Shown::Stat(stat())), expected);
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        assert!(lines(&Shown::Stat(stat()), &berlin).out.contains("Fri Nov 27 16:40:01 "));
    }

    #[test]
    fn every_kind_has_its_text() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let data = |data: Option<&'static [u8]>, form| Shown::Data {
            data: data.map(Bytes::from_static),
            form,
            stat: None,
        };
        let rows = [
            (Shown::Children { names: names(), stat: None }, "[a, b]\n"),
            (Shown::Children { names: vec![], stat: None }, "[]\n"),
            (Shown::Path("/a".to_owned()), "/a\n"),
            (data(Some(b"x y"), Form::Plain), "x y\n"),
            (data(Some(b""), Form::Plain), "\n"),
            (data(None, Form::Plain), "null\n"),
            (data(Some(b"\xff"), Form::Plain), "\u{fffd}\n"),
            (data(Some(b"\xff"), Form::Base64), "/w==\n"),
            (data(Some(b""), Form::Hex), "\n"),
            (
                Shown::Acl { list: vec![tree::Acl::world(31), tree::Acl::world(1)], stat: None },
                "'world,'anyone\n: cdrwa\n'world,'anyone\n: r\n",
            ),
            (Shown::Synced, "Sync is OK\n"),
            (Shown::Count(7), "7\n"),
            (Shown::Ephemerals(names()), "[a, b]\n"),
            (Shown::Identities(vec![tree::Identity::ip("127.0.0.1")]), "Auth scheme: User\nip: 127.0.0.1\n"),
            (
                Shown::Quota { path: "/a".to_owned(), figures: quota::nothing_used(), used: true },
                "Output stat for /a count=0,bytes=0\n",
            ),
            (Shown::Committed { data: None, stat: None }, "Committed new configuration:\n\n"),
            (Shown::PrintWatches(true), "printwatches is on\n"),
            (Shown::History(vec![(3, "ls /".to_owned())]), "3 - ls /\n"),
            (Shown::Version("x".to_owned()), "ZooKeeper CLI version: x\n"),
        ];
        for (shown, expected) in rows {
            assert_eq!(out(shown.clone()), expected, "{shown:?}");
        }
        let created = lines(&Shown::Created("/a".to_owned()), &TimeZone::UTC);
        assert_eq!(created, Lines { out: String::new(), err: "Created /a\n".to_owned() });
        assert!(
            out(Shown::Children { names: names(), stat: Some(stat()) }).starts_with("[a, b]\ncZxid = 0x2\n")
        );
    }

    #[test]
    fn hexadecimal_rows_are_as_zookeeper_draws_them() {
        let expected = "\
         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |
+--------+-------------------------------------------------+----------------+
|00000000| 68 65 6c 6c 6f 00 31 32 33 34 35 36 37 38 39 61 |hello.123456789a|
|00000010| 7f                                              |.               |
+--------+-------------------------------------------------+----------------+";
        let drawn = hex(b"hello\x00123456789a\x7f");
        let (first, rest) = drawn.split_once('\n').expect("lines");
        assert_eq!(first, "         +-------------------------------------------------+");
        assert_eq!(rest, format!("         {expected}"));
    }

    #[test]
    fn events_are_as_zookeeper_prints_them() {
        let event =
            Notice::Event { kind: EventType::NodeDataChanged, path: "/a".to_owned(), zxid: Some(Zxid(17)) };
        assert_eq!(
            watcher(&event, Connection::Connected),
            "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:NodeDataChanged path:/a zxid: 17\n"
        );
        assert_eq!(tail(&event), "NodeDataChanged     /a zxid 0x11\n");
        let lost = Notice::Connection(Connection::Connecting);
        assert_eq!(
            watcher(&lost, Connection::Connecting),
            "\nWATCHER::\n\nWatchedEvent state:Disconnected type:None path:null zxid: -1\n"
        );
        assert_eq!(tail(&lost), "Disconnected\n");
    }
}
