//! Who votes, and with what weight: the server list, `group.N`, `weight.N` and `peerType`.
//!
//! Source: ZooKeeper `QuorumPeerConfig`, `QuorumHierarchical`.

use std::{collections::BTreeMap, fmt::Write};

use properties::Entry;
use protocol::Quorum;
use spec::ServerId;

use super::{ServerAddress, reader::Reader};

/// Who makes a quorum.
pub(super) struct Voters {
    pub(super) quorum: Quorum,
    /// Groups and weights as servers tell each other of them, a line each; empty where a majority counts.
    pub(super) lines: String,
}

impl Voters {
    fn majority(ids: impl IntoIterator<Item = ServerId>) -> Self {
        Self { quorum: Quorum::majority(ids), lines: String::new() }
    }
}

/// The quorums of these servers, which are the ensemble; with no server at all, `alone` is one by itself.
pub(super) fn read(
    reader: &mut Reader,
    servers: &BTreeMap<ServerId, ServerAddress>,
    alone: ServerId,
) -> Option<Voters> {
    let voters: Vec<_> = servers.iter().filter(|(_, server)| !server.observer).map(|(id, _)| *id).collect();
    let (groups, weights) = (reader.family("group."), reader.family("weight."));
    if servers.is_empty() {
        for prefix in ["group.", "weight."] {
            if reader.has_family(prefix) {
                reader
                    .warn_at(prefix, "a server that is alone needs no groups and weights; they are ignored");
            }
        }
        return Some(Voters::majority([alone]));
    }
    if groups.is_empty() && weights.is_empty() {
        return Some(Voters::majority(voters));
    }
    let weights = self::weights(reader, servers, &weights);
    let groups = self::groups(reader, servers, &groups);
    let grouped: Vec<_> = groups.values().flatten().copied().collect();
    for id in voters.iter().filter(|id| !grouped.contains(id)) {
        let span = reader.span(&format!("server.{id}"));
        let help = format!("add it to a line such as group.1={}", join(&voters));
        reader.error_with_help(span, format!("server {id} is in no group"), help);
    }
    if !reader.errors.is_empty() {
        return None;
    }
    let lines = lines(&groups, &voters, &weights);
    let weigh = |id: ServerId| (id, weights.get(&id).copied().unwrap_or(1));
    match Quorum::hierarchical(groups.into_values().map(|group| group.into_iter().map(weigh))) {
        Ok(quorum) => Some(Voters { quorum, lines }),
        Err(unfit) => {
            let first = reader.family("weight.").into_iter().chain(reader.family("group.")).next();
            reader.error(first.map(|entry| entry.value_span), unfit);
            None
        }
    }
}

/// Groups, each in the order of ids, and then the weight of everybody who votes or is given one.
fn lines(
    groups: &BTreeMap<u64, Vec<ServerId>>,
    voters: &[ServerId],
    given: &BTreeMap<ServerId, u32>,
) -> String {
    let mut lines = String::new();
    for (number, group) in groups {
        let mut group = group.clone();
        group.sort();
        let _ = writeln!(lines, "group.{number}={}", join(&group));
    }
    let mut weights: BTreeMap<_, _> = voters.iter().map(|id| (*id, 1)).collect();
    weights.extend(given);
    for (id, weight) in weights {
        let _ = writeln!(lines, "weight.{id}={weight}");
    }
    lines
}

/// The members of each group, by its number.
fn groups(
    reader: &mut Reader,
    servers: &BTreeMap<ServerId, ServerAddress>,
    entries: &[Entry],
) -> BTreeMap<u64, Vec<ServerId>> {
    let mut groups: BTreeMap<u64, Vec<ServerId>> = BTreeMap::new();
    for entry in entries {
        let Some(number) = number_of(entry, "group.") else {
            reader.error(entry.key_span.clone(), "a group's number is 0 or more, as in group.1");
            continue;
        };
        let mut group = Vec::new();
        for member in entry.value.split(':') {
            let member = member.trim();
            let known = member.parse().ok().map(ServerId).and_then(|id| servers.get_key_value(&id));
            let problem = match known {
                None => format!(
                    "{} names server {member:?}, and the list has {}",
                    entry.key,
                    join(servers.keys())
                ),
                Some((id, server)) if server.observer => {
                    format!("{} names server {id}, an observer, which votes in no group", entry.key)
                }
                Some((id, _)) if group.contains(id) || groups.values().any(|group| group.contains(id)) => {
                    format!("server {id} is in two groups, or twice in one")
                }
                Some((id, _)) => {
                    group.push(*id);
                    continue;
                }
            };
            reader.error(entry.value_span.clone(), problem);
        }
        if groups.insert(number, group).is_some() {
            reader.error(entry.key_span.clone(), format!("group {number} is there already"));
        }
    }
    groups
}

/// The weights that are given; others are 1.
fn weights(
    reader: &mut Reader,
    servers: &BTreeMap<ServerId, ServerAddress>,
    entries: &[Entry],
) -> BTreeMap<ServerId, u32> {
    let mut weights = BTreeMap::new();
    for entry in entries {
        let id = number_of(entry, "weight.").map(ServerId);
        let Some((id, server)) = id.and_then(|id| servers.get_key_value(&id)) else {
            let message = format!("{} is of no server: the list has {}", entry.key, join(servers.keys()));
            reader.error(entry.key_span.clone(), message);
            continue;
        };
        if server.observer {
            reader.warn_at(&entry.key, format!("server {id} is an observer: its weight counts nowhere"));
        }
        if let Some(weight) = reader.optional_number(&entry.key, 0, u32::MAX) {
            weights.insert(*id, weight);
        }
    }
    weights
}

fn number_of(entry: &Entry, prefix: &str) -> Option<u64> {
    entry.key.strip_prefix(prefix)?.parse().ok()
}

fn join<'a>(ids: impl IntoIterator<Item = &'a ServerId>) -> String {
    ids.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(":")
}

/// What is wrong with the roles of the list as a whole.
pub(super) fn check_roles(
    reader: &mut Reader,
    servers: &BTreeMap<ServerId, ServerAddress>,
    standalone: bool,
) {
    let observers = servers.values().filter(|server| server.observer).count();
    let voters = servers.len() - observers;
    let line = servers.iter().find(|(_, server)| server.observer);
    let span = line.and_then(|(id, _)| reader.span(&format!("server.{id}")));
    if servers.is_empty() && !standalone {
        let message = "standaloneEnabled=false makes an ensemble, and no server.N lists who is in it";
        reader.error(reader.span("standaloneEnabled"), message);
    }
    if observers > 0 && voters == 0 {
        reader.error(span, "there are observers and no participant, so that nobody could lead them");
    } else if observers > 0 && voters == 1 && standalone {
        reader.error_with_help(
            span,
            "one participant alone is a standalone server, which has no observers",
            "standaloneEnabled=false makes an ensemble of it",
        );
    }
}

/// `peerType`, which says what the server list says already: the list counts, as in ZooKeeper.
pub(super) fn check_peer_type(reader: &mut Reader, own: Option<&ServerAddress>) {
    reader.unsupported_choice(
        "peerType",
        &["participant", "observer"],
        "a server is a participant or an observer",
    );
    let Some(said) = reader.text("peerType").map(|said| said.to_ascii_lowercase()) else { return };
    let listed = own.map_or("participant", |own| if own.observer { "observer" } else { "participant" });
    if said != listed && ["participant", "observer"].contains(&said.as_str()) {
        let message =
            format!("peerType is {said}, and the server list makes this server {listed}: the list counts");
        reader.warn_at("peerType", message);
    }
}
