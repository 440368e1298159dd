//! What is shown, as JSON: one value a line.
//!
//! Zxids and sessions are hexadecimal strings, as in ZooKeeper's texts: as numbers, many readers would round them.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use client::{Connection, Notice};
use serde_json::{Map, Value, json};
use spec::Zxid;
use tree::Stat;

use crate::{acl, command::Form, shown::Shown};

/// The value that shows this; none for what is only said on the side.
pub(crate) fn value(shown: &Shown) -> Option<Value> {
    Some(match shown {
        Shown::Children { names, stat } => with(json!({"children": names}), stat.as_ref()),
        Shown::Path(path) => json!(path),
        Shown::Data { data, form, stat } => with(data_value(data.as_ref(), *form), stat.as_ref()),
        Shown::Stat(stat) => json!({"stat": stat_value(stat)}),
        Shown::Acl { list, stat } => {
            let entry = |entry: &tree::Acl| {
                json!({
                    "scheme": entry.scheme.as_str(),
                    "id": entry.id.as_str(),
                    "perms": acl::letters(entry.perms),
                })
            };
            with(json!({"acl": list.iter().map(entry).collect::<Vec<_>>()}), stat.as_ref())
        }
        Shown::Created(path) => json!({"created": path}),
        Shown::Synced => json!({"synced": true}),
        Shown::Count(count) => json!({"count": count}),
        Shown::Ephemerals(paths) => json!({"ephemerals": paths}),
        Shown::Identities(identities) => {
            let one = |identity: &tree::Identity| json!({"scheme": identity.scheme.as_str(), "id": identity.id.as_str()});
            json!({"identities": identities.iter().map(one).collect::<Vec<_>>()})
        }
        Shown::Quota { path, figures, used } => {
            let figures: Map<_, _> =
                figures.iter().map(|(name, figure)| (name.to_owned(), json!(figure))).collect();
            json!({"path": path, if *used { "used" } else { "limits" }: figures})
        }
        Shown::Committed { data, stat } => with(data_value(data.as_ref(), Form::Plain), stat.as_ref()),
        Shown::PrintWatches(on) => json!({"printwatches": on}),
        Shown::History(commands) => {
            json!({"history": commands.iter().map(|(number, command)| json!([number, command])).collect::<Vec<_>>()})
        }
        Shown::Version(version) => json!({"version": version}),
        Shown::Text(text) => json!({"text": text}),
        Shown::Aside(_) => return None,
    })
}

/// Text where the data is text and nothing else is asked for; null and empty stay apart.
fn data_value(data: Option<&Bytes>, form: Form) -> Value {
    let Some(data) = data else { return json!({"data": null}) };
    match (form, str::from_utf8(data)) {
        (Form::Plain, Ok(text)) => json!({"data": text}),
        (Form::Hex, _) => json!({"hex": format!("{data:x}")}),
        (Form::Plain | Form::Base64, _) => json!({"base64": STANDARD.encode(data)}),
    }
}

fn with(mut value: Value, stat: Option<&Stat>) -> Value {
    if let (Some(stat), Some(object)) = (stat, value.as_object_mut()) {
        object.insert("stat".to_owned(), stat_value(stat));
    }
    value
}

fn stat_value(stat: &Stat) -> Value {
    json!({
        "czxid": format!("{:#x}", stat.czxid),
        "mzxid": format!("{:#x}", stat.mzxid),
        "pzxid": format!("{:#x}", stat.pzxid),
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": format!("{:#x}", stat.ephemeral_owner),
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    })
}

/// An event.
pub(crate) fn event(notice: &Notice, now: Connection) -> Value {
    match notice {
        Notice::Connection(connection) => json!({"type": "None", "state": connection.event_name()}),
        Notice::Event { kind, path, zxid } => json!({
            "type": kind.name(),
            "state": now.event_name(),
            "path": path,
            "zxid": zxid.map(|Zxid(zxid)| format!("{zxid:#x}")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use client::EventType;

    use super::*;

    fn shown(shown: &Shown) -> String {
        value(shown).expect("a value").to_string()
    }

    #[test]
    fn values_keep_apart_what_differs() {
        let data = |data: Option<&'static [u8]>, form| {
            shown(&Shown::Data { data: data.map(Bytes::from_static), form, stat: None })
        };
        assert_eq!(data(None, Form::Plain), r#"{"data":null}"#);
        assert_eq!(data(Some(b""), Form::Plain), r#"{"data":""}"#);
        assert_eq!(data(Some(b"a\"b"), Form::Plain), r#"{"data":"a\"b"}"#);
        assert_eq!(data(Some(b"\xff"), Form::Plain), r#"{"base64":"/w=="}"#);
        assert_eq!(data(Some(b"a"), Form::Base64), r#"{"base64":"YQ=="}"#);
        assert_eq!(data(Some(b"a\xff"), Form::Hex), r#"{"hex":"61ff"}"#);
        let stat = Stat { czxid: 0x7fff_ffff_ffff_ffff, ..Stat::default() };
        let with_stat = shown(&Shown::Children { names: vec!["a".to_owned()], stat: Some(stat) });
        assert!(with_stat.contains(r#""children":["a"]"#), "{with_stat}");
        assert!(with_stat.contains(r#""czxid":"0x7fffffffffffffff""#), "{with_stat}");
        assert_eq!(value(&Shown::Aside("x".to_owned())), None);
        assert_eq!(shown(&Shown::Path("/a".to_owned())), r#""/a""#);
    }

    #[test]
    fn events_are_objects() {
        let event = |notice| event(&notice, Connection::Connected).to_string();
        let one = Notice::Event { kind: EventType::NodeDeleted, path: "/a".to_owned(), zxid: Some(Zxid(17)) };
        assert_eq!(event(one), r#"{"path":"/a","state":"SyncConnected","type":"NodeDeleted","zxid":"0x11"}"#);
        assert_eq!(event(Notice::Connection(Connection::Expired)), r#"{"state":"Expired","type":"None"}"#);
    }
}
