//! Stock clients that are judged by what they see: each first on Apache ZooKeeper, then on ours, which must show the same.
//! Their drivers stand in `conformance/clients`.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    built,
    gate::Part,
    install,
    run::{self, Call},
};

/// How long one client may take, on both servers.
const PATIENCE: Duration = Duration::from_mins(25);

/// A client.
struct Client {
    part: &'static str,
    what: &'static str,
    script: &'static str,
    /// Puts in place what its driver needs, and returns the options that say where that is.
    install: fn() -> Result<Vec<String>>,
}

const CLIENTS: &[Client] = &[
    Client {
        part: "java-client",
        what: "every public method of Apache's Java client, on Apache ZooKeeper and on ours",
        script: "java_suite.py",
        install: || install::javac().map(|()| Vec::new()),
    },
    Client {
        part: "zkcli",
        what: "every command of zkCli.sh, which prints the same on Apache ZooKeeper and on ours",
        script: "zkcli_suite.py",
        install: || {
            let jar = "/usr/share/java/commons-cli.jar";
            install::debian(&[("libcommons-cli-java", jar)])?;
            Ok(vec!["--jar".to_owned(), jar.to_owned()])
        },
    },
    Client {
        part: "curator",
        what: "every recipe of two versions of Curator, on Apache ZooKeeper and on ours",
        script: "curator_suite.py",
        install: || {
            install::javac()?;
            Ok(install::curators()?.into_iter().flat_map(|each| ["--curator".to_owned(), each]).collect())
        },
    },
    Client {
        part: "c-client",
        what: "every call of the C client, on Apache ZooKeeper and on ours",
        script: "c_suite.py",
        install: || install::c_client().map(|()| Vec::new()),
    },
    Client {
        part: "node-client",
        what: "every call of node-zookeeper-client, on Apache ZooKeeper and on ours",
        script: "node_suite.py",
        install: || {
            install::node()?;
            Ok(vec!["--cache".to_owned(), install::cache()?])
        },
    },
    Client {
        part: "rust-client",
        what: "the tests of the Rust crate zookeeper-client, on Apache ZooKeeper and on ours",
        script: "rust_suite.py",
        install: || Ok(vec!["--cache".to_owned(), install::cache()?]),
    },
];

/// A part of the gate for each.
pub(crate) fn parts() -> impl Iterator<Item = Part> {
    CLIENTS.iter().map(|client| Part {
        name: client.part,
        what: client.what,
        run: Box::new(move || judged(client)),
    })
}

/// Judges a client; what came of it, in a line.
fn judged(client: &Client) -> Result<String> {
    let options = (client.install)()?;
    let json = run::release()?.join(format!("{}.json", client.part));
    if json.exists() {
        fs::remove_file(&json)?;
    }
    let script = run::root()?.join("conformance/clients").join(client.script);
    let script = script.to_str().context("the project's folder has no plain name")?;
    let apache = install::newest()?;
    Call::new("python3", &[script, "--apache", &apache, "--binary", &built::server()?])
        .args(options)
        .args(["--json"])
        .args([&json])
        .within(PATIENCE)
        .call()?;
    let told: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    let told = told.as_array().cloned().unwrap_or_else(|| vec![told]);
    let texts: Vec<_> = told.iter().map(line).collect();
    Ok(texts.join("; "))
}

fn line(told: &Value) -> String {
    format!(
        "{}: {} cases pass on Apache ZooKeeper {}, {} of them here, {} of the others with a reason",
        told["client"].as_str().unwrap_or_default(),
        told["apache"],
        told["version"].as_str().unwrap_or_default(),
        told["ours"],
        told["explained"]
    )
}
