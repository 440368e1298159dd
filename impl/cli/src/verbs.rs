//! The verbs: how each is written, what it does, and examples.

use crate::flags::{Flag, flag, valued};

/// One verb.
#[derive(Debug)]
pub(crate) struct Verb {
    /// As it is written; case counts.
    pub(crate) name: &'static str,
    /// What stands behind it.
    pub(crate) usage: &'static str,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    pub(crate) flags: &'static [Flag],
    /// How many words without a dash may stand behind it.
    pub(crate) words: (usize, usize),
    pub(crate) examples: &'static [&'static str],
    /// Whether its first word is a path, which is completed.
    pub(crate) takes_path: bool,
}

const STAT: Flag = flag("s", "show the node's Stat as well");
const WATCH: Flag = flag("w", "leave a watch, whose event is printed once");
const VERSION: Flag = valued("v", "version", "only if this is the version now");

/// All verbs, in the order of `help`.
pub(crate) const VERBS: &[Verb] = &[
    Verb {
        name: "ls",
        usage: "[-s] [-w] [-R] path",
        about: "lists the children of a node",
        flags: &[STAT, WATCH, flag("R", "all nodes below, one a line")],
        words: (1, 2),
        examples: &["ls /", "ls -s /app", "ls -R /app"],
        takes_path: true,
    },
    Verb {
        name: "get",
        usage: "[-s] [-w] [-b] [-x] path",
        about: "shows what a node holds",
        flags: &[STAT, WATCH, flag("b", "as base64"), flag("x", "as hexadecimal bytes")],
        words: (1, 2),
        examples: &["get /app/config", "get -s -w /app/config"],
        takes_path: true,
    },
    Verb {
        name: "set",
        usage: "path data [-s] [-v version] [-b]",
        about: "replaces what a node holds",
        flags: &[STAT, VERSION, flag("b", "the data is given as base64")],
        words: (2, 2),
        examples: &["set /app/config 'two words'", "set -v 3 /app/config x"],
        takes_path: true,
    },
    Verb {
        name: "create",
        usage: "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        about: "creates a node",
        flags: &[
            flag("s", "sequential: the name gets a number"),
            flag("e", "ephemeral: it ends with this session"),
            flag("c", "container: it ends some time after its last child"),
            valued("t", "ttl", "it ends after so many milliseconds without children and new data"),
        ],
        words: (1, 3),
        examples: &["create /app", "create -s -e /app/member- host1", "create /secret x auth::cdrwa"],
        takes_path: true,
    },
    Verb {
        name: "delete",
        usage: "[-v version] path",
        about: "deletes a node without children",
        flags: &[VERSION],
        words: (1, 2),
        examples: &["delete /app/old"],
        takes_path: true,
    },
    Verb {
        name: "deleteall",
        usage: "path [-b batch size]",
        about: "deletes a node with all below",
        flags: &[valued("b", "batch size", "so many nodes in one transaction; 1000 by default, 0 for none")],
        words: (1, 1),
        examples: &["deleteall /app/old"],
        takes_path: true,
    },
    Verb {
        name: "stat",
        usage: "[-w] path",
        about: "shows a node's Stat",
        flags: &[WATCH],
        words: (1, 2),
        examples: &["stat /app"],
        takes_path: true,
    },
    Verb {
        name: "getAcl",
        usage: "[-s] path",
        about: "shows who may do what to a node",
        flags: &[STAT],
        words: (1, 1),
        examples: &["getAcl /app"],
        takes_path: true,
    },
    Verb {
        name: "setAcl",
        usage: "[-s] [-v version] [-R] path acl",
        about: "sets who may do what to a node: scheme:id:perms,…",
        flags: &[STAT, VERSION, flag("R", "for all nodes below, too")],
        words: (2, 2),
        examples: &["setAcl /app world:anyone:r,auth::cdrwa"],
        takes_path: true,
    },
    Verb {
        name: "addauth",
        usage: "scheme auth",
        about: "proves who this client is",
        flags: &[],
        words: (1, 2),
        examples: &["addauth digest user:password"],
        takes_path: false,
    },
    Verb {
        name: "sync",
        usage: "path",
        about: "brings the server up to date with the leader",
        flags: &[],
        words: (1, 1),
        examples: &["sync /"],
        takes_path: true,
    },
    Verb {
        name: "watch",
        usage: "[-m mode] path",
        about: "prints each event of a node and of all below, until Ctrl-C",
        flags: &[valued(
            "m",
            "mode",
            "PERSISTENT_RECURSIVE (by default), or PERSISTENT: the node and its children",
        )],
        words: (1, 1),
        examples: &["watch /app", "watch -m PERSISTENT /app"],
        takes_path: true,
    },
    Verb {
        name: "addWatch",
        usage: "[-m mode] path",
        about: "leaves a watch that stays",
        flags: &[valued("m", "mode", "PERSISTENT_RECURSIVE (by default) or PERSISTENT")],
        words: (1, 1),
        examples: &["addWatch -m PERSISTENT /app"],
        takes_path: true,
    },
    Verb {
        name: "removewatches",
        usage: "path [-c|-d|-p|-r|-a] [-l]",
        about: "takes watches of a node back",
        flags: &[
            flag("c", "those of children"),
            flag("d", "those of data"),
            flag("p", "persistent ones"),
            flag("r", "persistent recursive ones"),
            flag("a", "all (by default)"),
            flag("l", "also without a server"),
        ],
        words: (1, 1),
        examples: &["removewatches /app"],
        takes_path: true,
    },
    Verb {
        name: "printwatches",
        usage: "[on|off]",
        about: "says whether events are printed, or changes it",
        flags: &[],
        words: (0, 1),
        examples: &["printwatches off"],
        takes_path: false,
    },
    Verb {
        name: "listquota",
        usage: "path",
        about: "shows the quota of a node and what is used of it",
        flags: &[],
        words: (1, 1),
        examples: &["listquota /app"],
        takes_path: true,
    },
    Verb {
        name: "setquota",
        usage: "-n|-b|-N|-B val path",
        about: "limits what a node and all below may hold",
        flags: &[
            valued(
                "n",
                "nodes",
                "more than that is told of, in metrics; by ZooKeeper's servers in their logs, too",
            ),
            valued("b", "bytes", "the same for data"),
            valued("N", "nodes", "more than that is refused, if the server enforces quotas"),
            valued("B", "bytes", "the same for data"),
        ],
        words: (1, 1),
        examples: &["setquota -N 1000 /app"],
        takes_path: true,
    },
    Verb {
        name: "delquota",
        usage: "[-n|-b|-N|-B] path",
        about: "takes a quota away, or one limit of it",
        flags: &[
            flag("n", "the limit of nodes that is told of"),
            flag("b", "the limit of bytes that is told of"),
            flag("N", "the limit of nodes that is kept"),
            flag("B", "the limit of bytes that is kept"),
        ],
        words: (1, 1),
        examples: &["delquota /app"],
        takes_path: true,
    },
    Verb {
        name: "getAllChildrenNumber",
        usage: "path",
        about: "counts the nodes below a node",
        flags: &[],
        words: (1, 1),
        examples: &["getAllChildrenNumber /app"],
        takes_path: true,
    },
    Verb {
        name: "getEphemerals",
        usage: "[path]",
        about: "lists the ephemerals of this session, or those whose paths begin so",
        flags: &[],
        words: (0, 1),
        examples: &["getEphemerals", "getEphemerals /app"],
        takes_path: true,
    },
    Verb {
        name: "whoami",
        usage: "",
        about: "shows whom the server takes this client for",
        flags: &[],
        words: (0, 0),
        examples: &["whoami"],
        takes_path: false,
    },
    Verb {
        name: "config",
        usage: "[-c] [-w] [-s]",
        about: "shows the configuration of the ensemble",
        flags: &[STAT, WATCH, flag("c", "as a connect string for clients")],
        words: (0, 0),
        examples: &["config"],
        takes_path: false,
    },
    Verb {
        name: "reconfig",
        usage: "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
                [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        about: "changes the configuration of the ensemble",
        flags: &[
            STAT,
            valued("v", "version", "only if this is the version now, in hexadecimal digits"),
            valued("file", "path", "a file with all servers"),
            valued("members", "list", "all servers"),
            valued("add", "list", "servers that join"),
            valued("remove", "list", "numbers of servers that leave"),
        ],
        words: (0, 0),
        examples: &["reconfig -add \"4=host4:2888:3888;2181\"", "reconfig -remove 4"],
        takes_path: false,
    },
    Verb {
        name: "connect",
        usage: "[host:port,…[/chroot]]",
        about: "closes the session and starts another, there or at the same servers",
        flags: &[],
        words: (0, 1),
        examples: &["connect zk1:2181,zk2:2181/app"],
        takes_path: false,
    },
    Verb {
        name: "close",
        usage: "",
        about: "closes the session",
        flags: &[],
        words: (0, 0),
        examples: &["close"],
        takes_path: false,
    },
    Verb {
        name: "history",
        usage: "",
        about: "lists the last commands with their numbers",
        flags: &[],
        words: (0, 0),
        examples: &["history"],
        takes_path: false,
    },
    Verb {
        name: "redo",
        usage: "cmdno",
        about: "does a command of the history again",
        flags: &[],
        words: (1, 1),
        examples: &["redo 3"],
        takes_path: false,
    },
    Verb {
        name: "version",
        usage: "",
        about: "shows the version of this client",
        flags: &[],
        words: (0, 0),
        examples: &["version"],
        takes_path: false,
    },
    Verb {
        name: "help",
        usage: "[command]",
        about: "lists the commands, or explains one",
        flags: &[],
        words: (0, 1),
        examples: &["help", "help create"],
        takes_path: false,
    },
    Verb {
        name: "quit",
        usage: "",
        about: "closes the session and ends",
        flags: &[],
        words: (0, 0),
        examples: &["quit"],
        takes_path: false,
    },
];

/// The help of `zabkeeper cli`.
pub const HELP: &str = "\
A command line for ZooKeeper and Zabkeeper, with the commands and outputs of zkCli.sh.

Usage: zabkeeper cli [OPTIONS] [COMMAND …]

With a command: does it and ends. Without one: asks for commands in a terminal, and else reads them from standard
input, one a line. `zabkeeper cli help` lists the commands, `zabkeeper cli help create` explains one.

Options, in front of the command, with one dash or two:
  -server HOST:PORT,…[/CHROOT]  the servers, one of which is connected to; by default localhost:2181. With a chroot,
                                paths are below that node
  -timeout MS                   the session timeout to ask for, and the longest wait for a connection; by default 30000
  -auth SCHEME:PROOF            shows a credential first, as `addauth SCHEME PROOF` does; as often as there are some.
                                Whoever lists processes sees it: `addauth` on standard input hides it
  --json                        results and events as JSON, one value a line
  --stop-on-error               of commands on standard input, does none behind the first that fails
  -client-configuration FILE    properties, a line each, as zkCli.sh knows them: for TLS zookeeper.client.secure=true,
                                zookeeper.ssl.trustStore.location=…, zookeeper.ssl.keyStore.location=… and so on
  -DKEY=VALUE                   one such property; CLIENT_JVMFLAGS and JVMFLAGS are looked at too
  -waitforconnection            waits for a first server, as long as the timeout says, though none listens yet
  -r                            a server without a quorum will do, for reading
  -h, --help                    this text

Examples:
  zabkeeper cli
  zabkeeper cli -server zk1:2181,zk2:2181/app ls /
  zabkeeper cli create /app/config 'size=5'
  zabkeeper cli --json get -s /app/config
  zabkeeper cli -auth digest:ann:secret get /app/secret
  zabkeeper cli --json watch /app
  zabkeeper cli --stop-on-error < commands.txt

Ends with 0 if the command succeeded, with 1 if the server said no or was not reached, with 2 if the command cannot be
read; of several commands on standard input all are done, and the last one counts; with --stop-on-error the first that
fails is the last. Ctrl-C closes the session and ends with 130.
The session ends with the command, or with the last one, and its ephemeral nodes with it.
";

/// The verb of this name.
pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

impl Verb {
    /// The verb and what stands behind it.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.name, self.usage).trim_end().to_owned()
    }

    /// All there is to know of it.
    pub(crate) fn help(&self) -> String {
        let flags = self.flags.iter().map(|flag| {
            let shown = match flag.value {
                Some(value) => format!("-{} {value}", flag.name),
                None => format!("-{}", flag.name),
            };
            format!("  {shown:<14} {}\n", flag.help)
        });
        let head = format!("{}\n  {}\n", self.line(), self.about);
        let examples = self.examples.iter().map(|example| format!("  {example}\n"));
        let rows = [head].into_iter().chain(flags).chain(["examples:\n".to_owned()]).chain(examples);
        rows.collect::<Vec<_>>().concat()
    }
}

/// All verbs, one a line.
pub(crate) fn list() -> String {
    let row = |verb: &Verb| {
        // The longest usage would push all explanations out of sight.
        let line = if verb.line().len() > 44 { format!("{} …", verb.name) } else { verb.line() };
        format!("  {line:<44} {}\n", verb.about)
    };
    let end = "`help COMMAND` explains one, with examples; Tab completes commands and paths.\n".to_owned();
    VERBS.iter().map(row).chain([end]).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_there_once_and_its_examples_can_be_read() {
        for (index, verb) in VERBS.iter().enumerate() {
            assert!(VERBS[..index].iter().all(|other| other.name != verb.name), "{} twice", verb.name);
            assert!(list().contains(&format!("  {} ", verb.name)), "{} is not listed", verb.name);
            for flag in verb.flags {
                assert!(
                    verb.usage.contains(&format!("-{}", flag.name)),
                    "{} hides -{}",
                    verb.name,
                    flag.name
                );
            }
            for example in verb.examples {
                assert!(verb.help().contains(example));
                let words = crate::line::words(example).expect(example);
                let asked = crate::parse::command(&words);
                assert!(asked.is_ok(), "{example}: {asked:?}");
                assert_eq!(words[0], verb.name);
            }
        }
    }
}
