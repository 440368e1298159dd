//! Who votes in a model: the servers 1, 2, … in the order of their names, in groups or not, then the observers.

use protocol::Quorum;
use spec::ServerId;

/// The quorums of these voters; `groups` has their weights in the same order, and is empty for a plain majority.
pub(crate) fn quorum(voters: &[ServerId], groups: &[Vec<u32>]) -> Quorum {
    if groups.is_empty() {
        return Quorum::majority(voters.iter().copied());
    }
    let named: usize = groups.iter().map(Vec::len).sum();
    assert!(named == voters.len(), "{named} weights are given, for {} voters", voters.len());
    let mut rest = voters;
    let mut name = |weights: &Vec<u32>| {
        let (group, behind) = rest.split_at(weights.len());
        rest = behind;
        group.iter().copied().zip(weights.iter().copied()).collect::<Vec<_>>()
    };
    let groups: Vec<_> = groups.iter().map(&mut name).collect();
    Quorum::hierarchical(groups).expect("bounds give some voter a weight")
}

/// How it stands in a row's bounds, behind the number of servers.
pub(crate) fn text(observers: u8, groups: &[Vec<u32>]) -> String {
    let observing = match observers {
        0 => String::new(),
        1 => ", one of them an observer".to_owned(),
        more => format!(", {more} of them observers"),
    };
    let weighed: Vec<_> = groups
        .iter()
        .map(|weights| weights.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
        .collect();
    if weighed.is_empty() { observing } else { format!("{observing}, weights {}", weighed.join(" and ")) }
}
