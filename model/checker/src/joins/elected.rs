//! What elections come to: how servers stand to each other, and whose history is ahead of whose.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
};

use spec::{
    Epoch, ServerId, Zxid,
    history::{Part as Doing, ServerView},
};

use crate::{
    election::{self, Election},
    engine::search::Search,
    zab::{self, Zab},
};

/// How a server stands to the others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Stand {
    /// Without a leader, or down.
    Looks,
    /// Leads.
    Leads,
    /// Follows the server at this place.
    Follows(usize),
}

/// What a server's voice counts: none for an observer, else its weight, and the place of its group.
pub(super) type Voice = Option<(usize, u32)>;

/// The voice of a voter among others that are alike.
const PLAIN: (usize, u32) = (0, 1);

/// The voices of so many servers, by place.
pub(super) fn voices(servers: usize, observers: u8, groups: &[Vec<u32>]) -> Vec<Voice> {
    let weighed =
        groups.iter().enumerate().flat_map(|(group, all)| all.iter().map(move |weight| (group, *weight)));
    let mut voices: Vec<_> = weighed.map(Some).collect();
    let voters = servers - usize::from(observers);
    voices.resize(voters, Some(PLAIN));
    voices.resize(servers, None);
    voices
}

/// What a server is to an election: how it stands, and what its vote for itself would be.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Candidate {
    stand: Stand,
    epoch: Epoch,
    last: Zxid,
}

/// How all servers stand to each other: for each its voice, its stand, and how many histories are behind its own. Under
/// the names that make it the least.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Elected(Vec<(Voice, Stand, usize)>);

impl Elected {
    fn of(candidates: &[Candidate], voices: &[Voice]) -> Self {
        let key = |one: &Candidate| (one.epoch, one.last);
        let behind = |one: &Candidate| {
            let lower: BTreeSet<_> = candidates.iter().map(key).filter(|other| *other < key(one)).collect();
            lower.len()
        };
        let named = candidates.iter().zip(voices).map(|(one, voice)| (*voice, one.stand, behind(one)));
        let plain: Vec<_> = named.collect();
        let least = orders(plain.len()).into_iter().map(|order| renamed(&plain, &order)).min();
        Self(least.unwrap_or_default())
    }

    /// Whether all vote, and alike.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|(voice, ..)| *voice == Some(PLAIN))
    }

    /// Whether a server leads that is a quorum of a single group by itself, and another one's history is newer.
    pub(super) fn leads_alone_without_epoch(&self) -> bool {
        let newest = self.0.iter().map(|(.., behind)| *behind).max();
        let weights = || self.0.iter().filter_map(|(voice, ..)| *voice);
        let total: u32 = weights().map(|(_, weight)| weight).sum();
        let one_group = weights().all(|(group, _)| group == 0);
        self.0.iter().any(|(voice, stand, behind)| {
            let is_quorum = voice.is_some_and(|(_, weight)| 2 * weight > total);
            one_group && is_quorum && *stand == Stand::Leads && Some(*behind) < newest
        })
    }

    /// The histories alone, in order: for each voice, how many are behind its own.
    pub(super) fn histories(&self) -> Vec<(Voice, usize)> {
        let mut histories: Vec<_> = self.0.iter().map(|(voice, _, behind)| (*voice, *behind)).collect();
        histories.sort_unstable();
        histories
    }
}

/// The same servers in another order: `order` names who comes to stand at each place.
fn renamed(servers: &[(Voice, Stand, usize)], order: &[usize]) -> Vec<(Voice, Stand, usize)> {
    let place = |of: usize| order.iter().position(|at| *at == of).unwrap_or(of);
    let rename = |stand| match stand {
        Stand::Follows(leader) => Stand::Follows(place(leader)),
        Stand::Looks | Stand::Leads => stand,
    };
    let servers = order.iter().map(|at| servers[*at]);
    servers.map(|(voice, stand, behind)| (voice, rename(stand), behind)).collect()
}

/// Every order of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(last) {
        for at in 0..count {
            let mut longer = order.clone();
            longer.insert(at, last);
            all.push(longer);
        }
    }
    all
}

impl fmt::Display for Elected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (voice, stand, behind)) in self.0.iter().enumerate() {
            let name = |place: usize| char::from(b"ABCDEFG"[place.min(6)]);
            if place > 0 {
                f.write_str(", ")?;
            }
            match stand {
                Stand::Looks => write!(f, "{} looks", name(place))?,
                Stand::Leads => write!(f, "{} leads", name(place))?,
                Stand::Follows(leader) => write!(f, "{} follows {}", name(place), name(*leader))?,
            }
            write!(f, " ({behind} histories behind it)")?;
            match voice {
                None => f.write_str(" and observes")?,
                Some(PLAIN) => {}
                Some((group, weight)) => write!(f, " and weighs {weight} in group {group}")?,
            }
        }
        Ok(())
    }
}

fn place(id: ServerId) -> usize {
    usize::try_from(id.0).map_or(usize::MAX, |id| id - 1)
}

pub(super) fn of_election(search: &Search<'_, Election>, voices: &[Voice], out: &mut BTreeSet<Elected>) {
    collect(search.states(), voices, out, |_, id| match search.part(id) {
        election::Part::Server(server) => {
            let stand = match (server.leads(), server.follows()) {
                (true, _) => Stand::Leads,
                (false, Some(leader)) => Stand::Follows(place(leader)),
                (false, None) => Stand::Looks,
            };
            let own = server.own();
            Some(Candidate { stand, epoch: own.epoch, last: own.zxid.unwrap_or(Zxid::ZERO) })
        }
        election::Part::Mesh(_) | election::Part::Budget(_) => None,
    });
}

pub(super) fn of_zab(search: &Search<'_, Zab>, voices: &[Voice], out: &mut BTreeSet<Elected>) {
    collect(search.states(), voices, out, |_, id| match search.part(id) {
        zab::Part::Server(server) => Some(candidate(&server.view())),
        zab::Part::Link(_) | zab::Part::Record(_) | zab::Part::Budget(_) => None,
    });
}

fn candidate(view: &ServerView) -> Candidate {
    let stand = match view.part {
        Doing::Down | Doing::Looking => Stand::Looks,
        Doing::Leading(_) => Stand::Leads,
        Doing::Following(leader, _) => Stand::Follows(place(leader)),
    };
    let last = view.logged.last().map_or(Zxid::ZERO, |entry| entry.zxid);
    Candidate { stand, epoch: view.current.memory, last }
}

/// Looks at each distinct part once, and at each distinct combination of what that gives once.
fn collect<'s>(
    states: impl Iterator<Item = &'s [u32]>,
    voices: &[Voice],
    out: &mut BTreeSet<Elected>,
    look: impl Fn(usize, u32) -> Option<Candidate>,
) {
    let mut known = HashMap::new();
    let mut met = HashSet::new();
    for ids in states {
        let candidates = ids
            .iter()
            .enumerate()
            .map_while(|(slot, id)| *known.entry(*id).or_insert_with(|| look(slot, *id)));
        let candidates: Vec<_> = candidates.collect();
        if !met.contains(&candidates) {
            out.insert(Elected::of(&candidates, voices));
            met.insert(candidates);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elected(servers: &[(Stand, u32)], voices: &[Voice]) -> Elected {
        let candidate = |(stand, epoch): &(Stand, u32)| Candidate {
            stand: *stand,
            epoch: Epoch(*epoch),
            last: Zxid::ZERO,
        };
        Elected::of(&servers.iter().map(candidate).collect::<Vec<_>>(), voices)
    }

    #[test]
    fn names_make_no_difference_and_voices_do() {
        let alike = voices(3, 0, &[]);
        let one = elected(&[(Stand::Leads, 1), (Stand::Follows(0), 0), (Stand::Looks, 0)], &alike);
        let other = elected(&[(Stand::Looks, 0), (Stand::Follows(2), 0), (Stand::Leads, 1)], &alike);
        assert_eq!(one, other);
        assert!(one.is_plain());
        let observed = voices(3, 1, &[]);
        assert_eq!(observed, [Some(PLAIN), Some(PLAIN), None]);
        let watched = elected(&[(Stand::Leads, 1), (Stand::Follows(0), 0), (Stand::Looks, 0)], &observed);
        assert!(!watched.is_plain() && watched != one);
        assert_eq!(watched.histories(), [(None, 0), (Some(PLAIN), 0), (Some(PLAIN), 1)]);
    }

    #[test]
    fn a_quorum_by_itself_that_leads_has_the_newest_history() {
        let weighed = voices(3, 0, &[vec![2, 1, 0]]);
        let lone = |epoch| elected(&[(Stand::Leads, epoch), (Stand::Leads, 1), (Stand::Looks, 0)], &weighed);
        assert!(lone(0).leads_alone_without_epoch());
        assert!(!lone(1).leads_alone_without_epoch());
        let grouped = voices(3, 0, &[vec![1, 1], vec![1]]);
        let one = elected(&[(Stand::Looks, 1), (Stand::Looks, 1), (Stand::Leads, 0)], &grouped);
        assert!(!one.leads_alone_without_epoch(), "no group is a quorum of two by itself");
    }
}
