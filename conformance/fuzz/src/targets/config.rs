//! `zoo.cfg`, the properties beside it, and `myid`.

use std::{io, path::Path};

use server::config::{Config, ConfigError, Flags};

/// Problems of one configuration that are shown in full.
const SHOWN_MAX: usize = 10;

/// Three texts with a zero byte between them: the file, properties, a line each, and `myid`.
pub(super) fn parse(bytes: &[u8]) {
    let mut texts = bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    let (file, properties, id) = (texts.next(), texts.next(), texts.next());
    let properties: Vec<String> =
        properties.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
    let read = |path: &Path| match &id {
        Some(id) if path.ends_with("myid") => Ok(id.clone()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let parse = |text: String| Config::parse_with("zoo.cfg", text, &Flags::default().and(&properties), read);
    let file = file.unwrap_or_default();
    match parse(file.clone()) {
        Ok(config) => {
            let again = parse(file).map_or_else(|_| String::new(), |config| format!("{config:?}"));
            assert_eq!(again, format!("{config:?}"), "another configuration at a second look");
            for warning in &config.warnings {
                let _ = warning.summary();
            }
            if !config.standalone() {
                told_again(&config);
            }
        }
        Err(error) => {
            let ConfigError::Invalid { problems, .. } = &error else { return };
            assert!(!problems.is_empty(), "refused for no reason");
            for problem in problems {
                let _ = problem.summary();
            }
            // As an operator sees it, with the place of each problem: which takes its time for each.
            if problems.len() < SHOWN_MAX {
                let _ = format!("{:?}", miette::Report::new(error));
            }
        }
    }
}

/// The server list as other servers are told of it.
fn told_again(config: &Config) {
    let told = config.ensemble_text();
    let lines: Vec<_> = told.lines().filter(|line| line.starts_with("server.")).collect();
    assert_eq!(lines.len(), config.servers.len(), "a line for each server: {told:?}");
}
