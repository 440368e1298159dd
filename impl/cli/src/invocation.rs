//! The command line of `zabkeeper cli` itself.

use std::time::Duration;

use bytes::Bytes;
use client::{Options, Servers};
use tree::{Credential, Text};

use crate::{parse::Problem, secure::Properties};

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Invocation {
    /// The help.
    Help,
    /// To run commands.
    Run {
        /// How a session is asked for.
        wish: Box<Options>,
        json: bool,
        /// The one command; none for those that are asked for, or read.
        words: Vec<String>,
        /// Whether of several commands the first that fails is the last.
        stop_on_error: bool,
        /// What is asked for and cannot be done, and does not end it.
        notes: Vec<String>,
    },
}

/// Reads it. Options have one dash or two, and a value behind a blank or an equals sign; the first word that is no
/// option begins the command.
pub(crate) fn parse(arguments: &[String]) -> Result<Invocation, Problem> {
    let problem = |message: String| Problem {
        message,
        advice: Some(
            "`zabkeeper cli --help` lists the options; they stand in front of the command".to_owned(),
        ),
    };
    let (mut servers, mut timeout) = ("localhost:2181".to_owned(), "30000".to_owned());
    let (mut json, mut read_only, mut patient, mut stop_on_error) = (false, false, false, false);
    let mut properties = Properties::of_environment();
    let mut credentials = Vec::new();
    let mut rest = arguments.iter();
    let mut words = Vec::new();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            words.push(word.clone());
            words.extend(rest.by_ref().cloned());
            break;
        };
        let (name, inline) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let mut value = || {
            let value = inline.map(ToOwned::to_owned).or_else(|| rest.next().cloned());
            value.ok_or_else(|| problem(format!("Error: no argument found for option {word}")))
        };
        if let Some(property) = option.strip_prefix('D') {
            properties.set(property);
            continue;
        }
        match name {
            "server" => servers = value()?,
            "timeout" => timeout = value()?,
            "json" => json = true,
            "stop-on-error" => stop_on_error = true,
            "auth" => credentials.push(credential(&value()?).ok_or_else(|| {
                problem("-auth takes a scheme and a proof, such as digest:ann:secret".to_owned())
            })?),
            "r" => read_only = true,
            "waitforconnection" => patient = true,
            "client-configuration" => properties.read(&value()?).map_err(problem)?,
            "h" | "help" => return Ok(Invocation::Help),
            _ => return Err(problem(format!("{word} is no option"))),
        }
    }
    let servers = Servers::parse(&servers).map_err(|error| problem(error.to_string()))?;
    let milliseconds =
        timeout.parse().ok().filter(|milliseconds| (1..=i32::MAX.unsigned_abs()).contains(milliseconds));
    let Some(milliseconds) = milliseconds else {
        return Err(problem(format!(
            "a timeout is a number of milliseconds from 1 to {}, and not {timeout:?}",
            i32::MAX
        )));
    };
    let tls = properties.tls().map_err(problem)?;
    let timeout = Duration::from_millis(u64::from(milliseconds));
    let (user, note) = properties.user().map_err(problem)?;
    let notes = properties.strangers().into_iter().chain(note).collect();
    let wish = Options { servers, timeout, read_only, tls, user, credentials, patient };
    Ok(Invocation::Run { wish: Box::new(wish), json, words, stop_on_error, notes })
}

/// A scheme and, behind a colon, the proof.
fn credential(value: &str) -> Option<Credential> {
    let (scheme, proof) = value.split_once(':').filter(|(scheme, _)| !scheme.is_empty())?;
    Some(Credential {
        scheme: Text::from(scheme),
        bytes: Bytes::copy_from_slice(proof.as_bytes()),
        sealed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, Problem> {
        parse(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let rows = [
            ("", "localhost:2181", 30_000, false, ""),
            ("ls /", "localhost:2181", 30_000, false, "ls /"),
            ("-server a:1/x ls -s /", "a:1/x", 30_000, false, "ls -s /"),
            ("--server=a:1,b:2 --json --timeout 50 get --json", "a:1,b:2", 50, true, "get --json"),
            ("--stop-on-error", "localhost:2181", 30_000, false, ""),
            ("-timeout 8000 -waitforconnection stat /", "localhost:2181", 8000, false, "stat /"),
        ];
        for (line, servers, timeout, with_json, command) in rows {
            match parsed(line).expect(line) {
                Invocation::Run { wish, json, words, stop_on_error, notes: _ } => {
                    assert_eq!(stop_on_error, line.contains("--stop"), "{line}");
                    assert_eq!(wish.servers.to_string(), servers, "{line}");
                    assert_eq!(wish.timeout, Duration::from_millis(timeout), "{line}");
                    assert_eq!(wish.patient, line.contains("waitfor"), "{line}");
                    assert_eq!((json, words.join(" ").as_str()), (with_json, command), "{line}");
                }
                Invocation::Help => panic!("{line} is no call for help"),
            }
        }
        for line in ["--help", "-h", "--json -help ls"] {
            assert!(matches!(parsed(line), Ok(Invocation::Help)), "{line}");
        }
    }

    #[test]
    fn a_credential_has_its_scheme_in_front_and_is_not_shown() {
        let invocation = parsed("-auth digest:ann:se:cret --auth=ip: ls /").expect("valid");
        assert!(!format!("{invocation:?}").contains("cret"), "{invocation:?}");
        let Invocation::Run { wish, .. } = invocation else { panic!("it is no call for help") };
        let shown = wish.credentials.iter().map(|one| (one.scheme.as_str(), one.bytes.as_ref()));
        assert_eq!(shown.collect::<Vec<_>>(), [("digest", &b"ann:se:cret"[..]), ("ip", b"")]);
    }

    #[test]
    fn what_is_no_option_is_told() {
        let rows = [
            ("-server", "no argument found for option -server"),
            ("--colour ls", "--colour is no option"),
            ("-timeout x ls", "a timeout is a number"),
            ("-timeout 0 ls", "a timeout is a number"),
            ("-server : ls", "no server in"),
            ("-auth secret ls", "such as digest:ann:secret"),
            ("-auth :secret ls", "such as digest:ann:secret"),
            ("-client-configuration /nowhere.cfg ls", "cannot read /nowhere.cfg"),
            ("-Dzookeeper.client.secure=true ls", "needs whom to trust"),
        ];
        for (line, message) in rows {
            let problem = parsed(line).expect_err(line);
            assert!(problem.message.contains(message), "{line}: {problem:?}");
        }
    }
}
