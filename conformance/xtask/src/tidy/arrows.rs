//! Dependencies point down only, and the pure crates know next to nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Fault;

/// What each crate of ours may use of ours. Of `conformance`, each crate may use anything, and none is used from
/// without.
const ARROWS: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("protocol", &["spec"]),
    ("tree", &["spec"]),
    ("world", &["spec", "protocol", "tree"]),
    ("simulator", &["spec", "protocol", "tree", "world"]),
    ("checker", &["spec", "protocol", "tree", "world", "simulator"]),
    ("wire", &["spec", "protocol", "tree"]),
    ("storage", &["spec", "protocol", "tree", "wire"]),
    ("recording", &["spec", "protocol", "tree"]),
    ("properties", &[]),
    ("sasl", &[]),
    ("tls", &[]),
    ("client", &["spec", "protocol", "tree", "wire", "sasl", "tls"]),
    ("cli", &["spec", "tree", "client", "properties", "sasl", "tls"]),
    (
        "server",
        &["spec", "protocol", "tree", "wire", "storage", "recording", "cli", "properties", "sasl", "tls"],
    ),
];

/// What the pure crates may use of others' directly; their tests may use what they like.
const PURE: &[(&str, &[&str])] = &[
    ("spec", &["serde"]),
    ("protocol", &["serde"]),
    ("tree", &["serde", "hashbrown", "crc32fast", "bytes", "base64", "sha1", "sha2"]),
];

/// Crates that must know nothing of clocks, threads, sockets or chance, not even through others.
const DETERMINISTIC: &[&str] = &["spec", "protocol", "tree", "world", "simulator"];

/// What would tell them.
const WORLDLY: &[&str] = &[
    "tokio",
    "mio",
    "async-std",
    "smol",
    "stateright",
    "socket2",
    "rustix",
    "rand",
    "getrandom",
    "chrono",
    "time",
];

/// The only crate that knows stateright.
const KNOWS_STATERIGHT: &str = "checker";

/// What cargo tells of the workspace, as far as it is needed.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Dependency {
    /// Whether what ships uses it, rather than only tests.
    fn ships(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
    }
}

/// The graph by names.
struct Graph<'a> {
    /// Of each package by id: its name, and ours without the prefix.
    names: BTreeMap<&'a str, &'a str>,
    ours: BTreeSet<&'a str>,
    conformance: BTreeSet<&'a str>,
    deps: BTreeMap<&'a str, &'a [Dependency]>,
}

/// Every arrow the wrong way, and every forbidden dependency.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<Fault>> {
    let graph = Graph::new(metadata);
    let mut faults = Vec::new();
    for id in &graph.ours {
        let name = graph.name(id)?;
        let mut direct_ours = BTreeSet::new();
        let mut direct_theirs = BTreeSet::new();
        for dependency in graph.deps.get(id).copied().unwrap_or_default() {
            let other = graph.name(&dependency.pkg)?;
            if graph.ours.contains(dependency.pkg.as_str()) {
                direct_ours.insert((other, graph.conformance.contains(dependency.pkg.as_str())));
            } else if dependency.ships() {
                direct_theirs.insert(other);
            }
        }
        faults.extend(wrong_arrows(name, graph.conformance.contains(id), &direct_ours));
        faults.extend(forbidden(name, &direct_theirs));
        if DETERMINISTIC.contains(&name) {
            for (worldly, path) in graph.reaches(id, WORLDLY)? {
                faults.push(Fault::new(name, format!("must not know {worldly}, and does through {path}")));
            }
        }
    }
    Ok(faults)
}

fn wrong_arrows(name: &str, in_conformance: bool, uses: &BTreeSet<(&str, bool)>) -> Vec<Fault> {
    if in_conformance {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        return vec![Fault::new(
            name,
            "is not in the table of arrows (conformance/xtask/src/tidy/arrows.rs)",
        )];
    };
    let wrong = uses.iter().filter(|(other, conformance)| *conformance || !allowed.contains(other));
    wrong
        .map(|(other, _)| Fault::new(name, format!("an arrow the wrong way: it must not use {other}")))
        .collect()
}

fn forbidden(name: &str, uses: &BTreeSet<&str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some((_, allowed)) = PURE.iter().find(|(of, _)| *of == name) {
        for other in uses.iter().filter(|other| !allowed.contains(other)) {
            faults.push(Fault::new(name, format!("is pure and must not use {other}")));
        }
    }
    if name != KNOWS_STATERIGHT && uses.contains("stateright") {
        faults.push(Fault::new(name, format!("only {KNOWS_STATERIGHT} knows stateright")));
    }
    faults
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let short = |package: &'a Package| package.name.strip_prefix("zabkeeper-").unwrap_or(&package.name);
        let ours: BTreeSet<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
        let conformance = |package: &&Package| {
            ours.contains(package.id.as_str()) && package.manifest_path.contains("/conformance/")
        };
        Self {
            names: metadata.packages.iter().map(|package| (package.id.as_str(), short(package))).collect(),
            conformance: metadata
                .packages
                .iter()
                .filter(conformance)
                .map(|package| package.id.as_str())
                .collect(),
            ours,
            deps: metadata
                .resolve
                .nodes
                .iter()
                .map(|node| (node.id.as_str(), node.deps.as_slice()))
                .collect(),
        }
    }

    fn name(&self, id: &str) -> Result<&'a str> {
        self.names.get(id).copied().with_context(|| format!("cargo tells nothing of {id}"))
    }

    /// Which of these names what ships of `from` reaches, each with the way there. What only builds (a macro's own
    /// dependencies) is passed over: it does not ship.
    fn reaches(&self, from: &'a str, names: &[&str]) -> Result<BTreeMap<&'a str, String>> {
        let mut found = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut queue = vec![(from, self.name(from)?.to_owned())];
        while let Some((id, path)) = queue.pop() {
            for dependency in self.deps.get(id).copied().unwrap_or_default() {
                let normal = dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
                if normal && seen.insert(&dependency.pkg) {
                    let name = self.name(&dependency.pkg)?;
                    let path = format!("{path} -> {name}");
                    if names.contains(&name) {
                        found.insert(name, path.clone());
                    }
                    queue.push((&dependency.pkg, path));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A workspace of these packages of ours (folder and name) and of others', with these arrows and their kinds.
    fn faults(ours: &[(&str, &str)], theirs: &[&str], arrows: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let package = |name: &str, path: String| json!({"id": name, "name": name, "manifest_path": path});
        let full: Vec<String> = ours.iter().map(|(_, name)| format!("zabkeeper-{name}")).collect();
        let id = |name: &str| {
            let ours = format!("zabkeeper-{name}");
            if full.contains(&ours) { ours } else { name.to_owned() }
        };
        let mut packages: Vec<Value> = Vec::new();
        packages
            .extend(ours.iter().map(|(dir, name)| package(&id(name), format!("/x/{dir}/{name}/Cargo.toml"))));
        packages.extend(theirs.iter().map(|name| package(name, format!("/registry/{name}/Cargo.toml"))));
        let node = |name: String| {
            let from = arrows.iter().filter(|(from, _, _)| id(from) == name);
            let deps: Vec<Value> =
                from.map(|(_, to, kind)| json!({"pkg": id(to), "dep_kinds": [{"kind": kind}]})).collect();
            json!({"id": name, "deps": deps})
        };
        let all = full.iter().cloned().chain(theirs.iter().map(ToString::to_string));
        let metadata = json!({
            "packages": packages,
            "workspace_members": full,
            "resolve": {"nodes": all.map(node).collect::<Vec<_>>()},
        });
        let metadata = serde_json::from_value(metadata).expect("metadata");
        check(&metadata).expect("whole").iter().map(ToString::to_string).collect()
    }

    const HOUSE: &[(&str, &str)] = &[
        (".", "spec"),
        ("model", "protocol"),
        ("model", "world"),
        ("model", "checker"),
        ("impl", "wire"),
        ("impl", "server"),
        ("conformance", "faults"),
    ];

    #[test]
    fn arrows_down_are_well() {
        let arrows = [
            ("protocol", "spec", None),
            ("world", "protocol", None),
            ("wire", "protocol", None),
            ("server", "wire", None),
            ("faults", "server", None),
            ("faults", "checker", Some("dev")),
            ("checker", "stateright", None),
            ("server", "tokio", None),
            ("stateright", "rand", None),
        ];
        assert_eq!(faults(HOUSE, &["stateright", "tokio", "rand"], &arrows), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_up_is_a_fault_in_tests_too() {
        assert!(faults(HOUSE, &[], &[("spec", "protocol", None)])[0].contains("wrong way"));
        assert!(faults(HOUSE, &[], &[("world", "wire", Some("dev"))])[0].contains("must not use wire"));
        assert!(faults(HOUSE, &[], &[("server", "faults", None)])[0].contains("must not use faults"));
    }

    #[test]
    fn a_pure_crate_must_not_know_the_world_even_through_others() {
        let direct = faults(HOUSE, &["tokio"], &[("protocol", "tokio", None)]);
        assert_eq!(direct.len(), 2, "{direct:?}");
        let through =
            faults(HOUSE, &["serde", "mio"], &[("protocol", "serde", None), ("serde", "mio", None)]);
        assert!(through[0].contains("protocol -> serde -> mio"), "{through:?}");
        let world = faults(HOUSE, &["rand"], &[("world", "rand", None)]);
        assert!(world[0].contains("must not know rand"), "{world:?}");
        assert!(faults(HOUSE, &["rand"], &[("world", "rand", Some("dev"))]).is_empty());
    }

    #[test]
    fn only_the_checker_knows_stateright() {
        assert!(
            faults(HOUSE, &["stateright"], &[("server", "stateright", None)])[0].contains("only checker")
        );
    }

    #[test]
    fn an_unknown_crate_is_a_fault() {
        assert!(faults(&[("impl", "surprise")], &[], &[])[0].contains("not in the table"));
    }
}
