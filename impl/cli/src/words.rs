//! Failures in the words of zkCli.sh, and what to do about them.

use client::Failure;
use serde_json::{Value, json};
use spec::ErrorCode;

use crate::command::Command;

/// Errors with a sentence of their own in ZooKeeper's command line; the node stands behind it.
const SENTENCES: &[(ErrorCode, &str)] = &[
    (ErrorCode::NoNode, "Node does not exist: "),
    (ErrorCode::NoChildrenForEphemerals, "Ephemerals cannot have children: "),
    (ErrorCode::NodeExists, "Node already exists: "),
    (ErrorCode::NotEmpty, "Node not empty: "),
    (ErrorCode::NotReadOnly, "Not a read-only call: "),
    (ErrorCode::InvalidAcl, "Acl is not valid : "),
    (ErrorCode::NoAuth, "Insufficient permission : "),
    (ErrorCode::BadArguments, "Arguments are not valid : "),
    (ErrorCode::BadVersion, "version No is not valid : "),
    (ErrorCode::QuotaExceeded, "Quota has exceeded : "),
];

/// What to do about errors, where that is the same for all commands.
const ADVICE: &[(ErrorCode, &str)] = &[
    (
        ErrorCode::InvalidAcl,
        "auth:: stands for whom addauth has proved; digest takes user:hash, ip an address",
    ),
    (ErrorCode::AuthFailed, "the credential was refused, which ends the session"),
    (ErrorCode::NoWatcher, "this session has left no such watch there"),
    (ErrorCode::Unimplemented, "this server does not offer it"),
    (ErrorCode::ReconfigDisabled, LISTS),
];

/// What to do where servers do not change their list by themselves.
const LISTS: &str = "a server list is changed by changing server.N in the zoo.cfg of every server, and restarting them one \
                     by one";

/// A failure, and the node that it is about; empty if it is about none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) path: String,
    /// The chroot, if that is what is missing.
    pub(crate) missing_chroot: Option<String>,
}

impl Failed {
    pub(crate) fn new(failure: Failure, path: &str) -> Self {
        Self { failure, path: path.to_owned(), missing_chroot: None }
    }

    /// The sentence of ZooKeeper's command line.
    ///
    /// Source: ZooKeeper `CliWrapperException`, `KeeperException.getMessage`.
    pub(crate) fn message(&self) -> String {
        let path = &self.path;
        let other = || {
            let about = if path.is_empty() { String::new() } else { format!(" for {path}") };
            format!("KeeperErrorCode = {}{about}", self.failure.name())
        };
        if let Failure::Server(number) = self.failure {
            match number {
                -13 => {
                    return "No quorum of new config is connected and up-to-date with the leader of last \
                            commmitted config - try invoking reconfiguration after new servers are connected and \
                            synced"
                        .to_owned();
                }
                -14 => {
                    return "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
                        .to_owned();
                }
                _ => {}
            }
        }
        let sentence = SENTENCES.iter().find(|(code, _)| self.failure.code() == Some(*code));
        sentence.map_or_else(other, |(_, sentence)| format!("{sentence}{path}"))
    }

    /// What is behind it, or can be done about it, where that is not plain.
    pub(crate) fn advice(&self, command: &Command) -> Option<String> {
        let path = &self.path;
        match &self.failure {
            Failure::Unreachable(why) => {
                return Some(format!(
                    "{why}; -server HOST:PORT, or `connect` at a prompt, names other servers"
                ));
            }
            Failure::ConnectionLoss(why) => {
                let doubt = "; whether it was done is not known, look before doing it again";
                return Some(format!("{why}{}", if command.changes_nodes() { doubt } else { "" }));
            }
            Failure::Malformed(why) => return Some(why.clone()),
            Failure::Unproved(why) => {
                return Some(format!(
                    "{why}; the JAAS file that java.security.auth.login.config names says who this is"
                ));
            }
            Failure::SessionExpired => {
                return Some("its ephemerals are gone; `connect` starts another session".to_owned());
            }
            Failure::Interrupted if command.changes_nodes() => {
                return Some("whether it was done is not known, look before doing it again".to_owned());
            }
            Failure::Server(_) | Failure::Closed | Failure::Interrupted => {}
        }
        let code = self.failure.code()?;
        let deletes = matches!(command, Command::Delete { .. } | Command::DeleteAll { .. });
        if deletes && code == ErrorCode::BadArguments && path == "/" {
            return Some("the root stays".to_owned());
        }
        let creates = matches!(command, Command::Create { .. });
        if let Some(chroot) = &self.missing_chroot {
            return Some(chroot_advice(chroot, creates && path == "/"));
        }
        if code == ErrorCode::NoNode && creates {
            return Some(format!("its parent {} is missing; create that first", parent(path)));
        }
        if code == ErrorCode::NotEmpty && matches!(command, Command::Delete { .. }) {
            return Some(format!("`deleteall {path}` deletes it with all below"));
        }
        if code == ErrorCode::BadVersion && !path.is_empty() {
            return Some(format!("`stat {path}` shows the version now"));
        }
        if code == ErrorCode::NoAuth {
            return Some(auth_advice(path, command));
        }
        let advice = ADVICE.iter().find(|(of, _)| *of == code).map(|(_, advice)| *advice);
        Some(
            match advice? {
                _ if code == ErrorCode::Unimplemented && matches!(command, Command::Reconfig { .. }) => LISTS,
                _ if code == ErrorCode::Unimplemented && creates => {
                    "this server does not offer such nodes; a time to live needs extendedTypesEnabled=true"
                }
                advice => advice,
            }
            .to_owned(),
        )
    }

    /// The same for programs.
    pub(crate) fn value(&self, command: &Command) -> Value {
        json!({
            "error": self.failure.code_name(),
            "path": self.path,
            "message": self.message(),
            "advice": self.advice(command),
        })
    }
}

/// Above a node; the root is above itself.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty()).unwrap_or("/")
}

/// How to become one who may. To create and to delete needs a permission of the parent's.
fn auth_advice(path: &str, command: &Command) -> String {
    let proves = "`-auth digest:user:password` in front of a command, or `addauth digest user:password` before it, proves \
                  who you are; `whoami` shows whom the server takes you for";
    let above = parent(path);
    if path.is_empty() || matches!(command, Command::GetAcl { .. }) {
        proves.to_owned()
    } else if matches!(command, Command::DeleteAll { .. }) {
        format!("{proves}, `getAcl {path}` and `getAcl {above}` who may")
    } else if matches!(command, Command::Create { .. } | Command::Delete { .. }) {
        format!("{proves}, `getAcl {above}` who may")
    } else {
        format!("{proves}, `getAcl {path}` who may")
    }
}

/// What to do about a chroot that is missing, and, if it could not be created, so is what is above.
fn chroot_advice(chroot: &str, tried: bool) -> String {
    let above = parent(chroot);
    let comma = if chroot.contains(',') {
        "; should its comma part servers, the chroot stands behind the last"
    } else {
        ""
    };
    if tried {
        format!(
            "the chroot {chroot} is missing, and so is {above}: `create {above}` without a chroot comes first{comma}"
        )
    } else if above == "/" {
        format!("the chroot {chroot} is missing; `create /` makes it{comma}")
    } else {
        format!("the chroot {chroot} is missing; `create /` makes it, if {above} is there{comma}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failure: Failure) -> Failed {
        Failed::new(failure, "/a/b")
    }

    fn server(code: ErrorCode) -> Failed {
        failed(Failure::Server(code.number()))
    }

    #[test]
    fn failures_have_zookeepers_words() {
        let rows = [
            (ErrorCode::NoNode, "Node does not exist: /a/b"),
            (ErrorCode::NodeExists, "Node already exists: /a/b"),
            (ErrorCode::NotEmpty, "Node not empty: /a/b"),
            (ErrorCode::BadVersion, "version No is not valid : /a/b"),
            (ErrorCode::NoAuth, "Insufficient permission : /a/b"),
            (ErrorCode::InvalidAcl, "Acl is not valid : /a/b"),
            (ErrorCode::NoChildrenForEphemerals, "Ephemerals cannot have children: /a/b"),
            (ErrorCode::NoWatcher, "KeeperErrorCode = No such watcher for /a/b"),
            (ErrorCode::Unimplemented, "KeeperErrorCode = Unimplemented for /a/b"),
        ];
        for (code, words) in rows {
            assert_eq!(server(code).message(), words);
        }
        assert_eq!(
            failed(Failure::Server(-123)).message(),
            "KeeperErrorCode = Reconfig is disabled for /a/b"
        );
        let lost = failed(Failure::ConnectionLoss("x: gone".to_owned()));
        assert_eq!(lost.message(), "KeeperErrorCode = ConnectionLoss for /a/b");
    }

    #[test]
    fn a_next_step_is_named_where_there_is_one() {
        let plain = client::Created { ephemeral: false, sequential: false, container: false, ttl_ms: None };
        let create = Command::Create { path: "/a/b".to_owned(), data: None, acl: vec![], how: plain };
        let delete = Command::Delete { path: "/a/b".to_owned(), version: -1 };
        let advice = |failed: Failed, command| failed.advice(command).unwrap_or_default();
        assert!(advice(server(ErrorCode::NoNode), &create).contains("parent /a is missing"));
        assert_eq!(server(ErrorCode::NoNode).advice(&delete), None);
        assert!(advice(server(ErrorCode::NotEmpty), &delete).contains("deleteall /a/b"));
        let lost = failed(Failure::ConnectionLoss("x: gone".to_owned()));
        assert!(advice(lost, &delete).contains("x: gone"));
        let lists = |command| advice(server(ErrorCode::NoAuth), command);
        assert!(lists(&delete).contains("-auth digest:"), "{}", lists(&delete));
        assert!(lists(&delete).ends_with("`getAcl /a` who may"), "{}", lists(&delete));
        let sync = Command::Sync { path: "/a/b".to_owned() };
        assert!(lists(&sync).ends_with("`getAcl /a/b` who may"), "{}", lists(&sync));
        let asks = Command::GetAcl { path: "/a/b".to_owned(), stat: false };
        assert!(lists(&asks).ends_with("takes you for"), "{}", lists(&asks));
    }

    #[test]
    fn a_chroot_that_is_missing_is_blamed_and_not_what_is_below() {
        let plain = client::Created { ephemeral: false, sequential: false, container: false, ttl_ms: None };
        let create = |path: &str| {
            let command = Command::Create { path: path.to_owned(), data: None, acl: vec![], how: plain };
            (path.to_owned(), command)
        };
        let stat = ("/".to_owned(), Command::Stat { path: "/".to_owned(), watch: false });
        let rows = [
            ("/app", &stat, "the chroot /app is missing; `create /` makes it"),
            ("/app", &create("/x"), "the chroot /app is missing; `create /` makes it"),
            ("/a/b/c", &stat, "the chroot /a/b/c is missing; `create /` makes it, if /a/b is there"),
            (
                "/a/b/c",
                &create("/"),
                "the chroot /a/b/c is missing, and so is /a/b: `create /a/b` without a chroot comes first",
            ),
            (
                "/a,b",
                &stat,
                "the chroot /a,b is missing; `create /` makes it; should its comma part servers, the chroot stands \
                 behind the last",
            ),
        ];
        for (chroot, (path, command), told) in rows {
            let mut failed = Failed::new(Failure::Server(ErrorCode::NoNode.number()), path);
            failed.missing_chroot = Some(chroot.to_owned());
            assert_eq!(failed.advice(command).as_deref(), Some(told));
        }
    }

    #[test]
    fn programs_are_told_a_name_that_stays_beside_the_words() {
        let sync = Command::Sync { path: "/a/b".to_owned() };
        let rows = [
            (ErrorCode::NoNode, "NoNode"),
            (ErrorCode::NodeExists, "NodeExists"),
            (ErrorCode::BadVersion, "BadVersion"),
            (ErrorCode::NotEmpty, "NotEmpty"),
            (ErrorCode::NoWatcher, "NoWatcher"),
            (ErrorCode::ReconfigDisabled, "ReconfigDisabled"),
            (ErrorCode::InvalidAcl, "InvalidACL"),
        ];
        for (code, name) in rows {
            let value = server(code).value(&sync);
            assert_eq!(value["error"], name);
            assert_eq!(value["message"], server(code).message());
        }
    }
}
