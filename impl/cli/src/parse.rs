//! Words as a command.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use client::{Change, Created, Servers};
use properties::Entry;
use tree::{Acl, WatchChoice, WatchMode};

use crate::{
    acl,
    command::{Asked, Command, Form, Secret},
    flags::{self, Sorted},
    path,
    quota::Limits,
    suggest,
    verbs::{self, VERBS, Verb},
};

/// Nodes that one transaction of deleteall deletes.
const BATCH: usize = 1000;
/// Base64, with its padding or without, as Java reads it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The longest time to live, which stands in five bytes.
const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// Why words are no command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// What to do instead.
    pub(crate) advice: Option<String>,
}

impl Problem {
    fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), advice: None }
    }

    /// What is wrong with a path.
    fn of_path(path: &str, message: String) -> Self {
        let lacks_slash = !path.is_empty() && !path.starts_with('/');
        Self { message, advice: lacks_slash.then(|| format!("did you mean /{path}?")) }
    }

    fn of(verb: &Verb, message: impl Into<String>) -> Self {
        let advice = format!("usage: {}", verb.line());
        Self { message: message.into(), advice: Some(advice) }
    }
}

/// Reads a command.
pub(crate) fn command(words: &[String]) -> Result<Asked, Problem> {
    let Some((name, rest)) = words.split_first() else {
        return Err(Problem::plain("No command entered"));
    };
    let verb = verbs::find(name).ok_or_else(|| unknown(name))?;
    let sorted = flags::sort(verb.flags, rest).map_err(|message| {
        if OF_THE_PROGRAM.iter().any(|option| message.ends_with(option)) {
            let advice = format!("options of `zabkeeper cli` itself stand in front of {name}");
            return Problem { message, advice: Some(advice) };
        }
        Problem::of(verb, message)
    })?;
    let count = sorted.words.len();
    if count < verb.words.0 {
        return Err(Problem::of(verb, format!("{name}: something is missing")));
    }
    if count > verb.words.1 {
        let more =
            if sorted.words.len() > 1 && verb.name == "set" { "; quotes keep words together" } else { "" };
        return Err(Problem::of(verb, format!("{name}: {:?} is too much{more}", sorted.words[verb.words.1])));
    }
    let mut warnings = Vec::new();
    let command = Reader { verb, sorted, warnings: &mut warnings }.read()?;
    Ok(Asked { command, warnings })
}

/// Options that no command has.
const OF_THE_PROGRAM: [&str; 5] = [" -server", " -timeout", " -waitforconnection", " --json", " --server"];

fn unknown(name: &str) -> Problem {
    // As ZooKeeper's command line had it until 3.6.
    let near = (name == "rmr").then_some("deleteall");
    let near = near.or_else(|| suggest::closest(name, VERBS.iter().map(|verb| verb.name)));
    let advice = match near {
        Some(near) => format!("did you mean {near}? `help` lists the commands"),
        None => "`help` lists the commands".to_owned(),
    };
    Problem { message: format!("Command not found: {name}"), advice: Some(advice) }
}

/// The words of one command on their way to its meaning.
struct Reader<'a> {
    verb: &'static Verb,
    sorted: Sorted,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::of(self.verb, message)
    }

    fn word(&self, index: usize) -> Option<&str> {
        self.sorted.words.get(index).map(String::as_str)
    }

    fn has(&self, flag: &str) -> bool {
        self.sorted.has(flag)
    }

    /// The first word, which is a path.
    fn path(&self) -> Result<String, Problem> {
        let path = self.word(0).unwrap_or_default();
        path::judge(path).map_err(|message| Problem::of_path(path, message))?;
        Ok(path.to_owned())
    }

    /// `-w`, or the word behind the path that once said the same.
    fn watch(&mut self) -> Result<bool, Problem> {
        let Some(word) = self.word(1) else { return Ok(self.has("w")) };
        if word.starts_with('/') {
            return Err(
                self.problem(format!("{}: one path at a time, and {word} is another", self.verb.name))
            );
        }
        let name = self.verb.name;
        let flags = if name == "get" { "[-s] [-w]" } else { "[-w]" };
        self.warnings.push(format!(
            "'{name} path [watch]' has been deprecated. Please use '{name} {flags} path' instead."
        ));
        Ok(true)
    }

    fn version(&self) -> Result<i32, Problem> {
        let version = self.sorted.number("v", "a version, a number below 2147483648");
        Ok(version.map_err(|message| self.problem(message))?.unwrap_or(-1))
    }

    fn mode(&self) -> Result<WatchMode, Problem> {
        let Some(mode) = self.sorted.value("m") else { return Ok(WatchMode::Recursive) };
        match mode.to_ascii_uppercase().as_str() {
            "PERSISTENT" => Ok(WatchMode::Persistent),
            "PERSISTENT_RECURSIVE" => Ok(WatchMode::Recursive),
            _ => {
                Err(self.problem(format!("{mode} is no mode; modes are PERSISTENT and PERSISTENT_RECURSIVE")))
            }
        }
    }

    fn acl(&self, text: &str) -> Result<Vec<Acl>, Problem> {
        acl::parse(text).map_err(|message| self.problem(message))
    }

    /// What the verb means. The names are those of the table.
    fn read(mut self) -> Result<Command, Problem> {
        Ok(match self.verb.name {
            "ls" => Command::List {
                path: self.path()?,
                stat: self.has("s"),
                watch: self.watch()?,
                recursive: self.has("R"),
            },
            "get" => Command::Get {
                path: self.path()?,
                stat: self.has("s"),
                watch: self.watch()?,
                form: match (self.has("x"), self.has("b")) {
                    (true, _) => Form::Hex,
                    (false, true) => Form::Base64,
                    (false, false) => Form::Plain,
                },
            },
            "stat" => Command::Stat { path: self.path()?, watch: self.watch()? },
            "set" => self.set()?,
            "create" => self.create()?,
            "delete" => self.delete()?,
            "deleteall" => {
                let batch = self.sorted.number("b", "a number").map_err(|message| self.problem(message))?;
                Command::DeleteAll { path: self.path()?, batch: batch.unwrap_or(BATCH) }
            }
            "getAcl" => Command::GetAcl { path: self.path()?, stat: self.has("s") },
            "setAcl" => Command::SetAcl {
                path: self.path()?,
                acl: self.acl(self.word(1).unwrap_or_default())?,
                version: self.version()?,
                stat: self.has("s"),
                recursive: self.has("R"),
            },
            "addauth" => Command::AddAuth {
                scheme: self.word(0).unwrap_or_default().to_owned(),
                proof: Secret(Bytes::copy_from_slice(self.word(1).unwrap_or_default().as_bytes())),
            },
            "sync" => Command::Sync { path: self.path()? },
            "watch" => Command::Watch { path: self.path()?, mode: self.mode()? },
            "addWatch" => Command::AddWatch { path: self.path()?, mode: self.mode()? },
            "removewatches" => {
                Command::RemoveWatches { path: self.path()?, which: self.which(), local: self.has("l") }
            }
            "listquota" => Command::ListQuota { path: self.path()? },
            "setquota" => self.set_quota()?,
            "delquota" => self.del_quota()?,
            "getAllChildrenNumber" => Command::CountBelow { path: self.path()? },
            "getEphemerals" => Command::Ephemerals {
                prefix: if self.word(0).is_some() { self.path()? } else { "/".to_owned() },
            },
            "config" => Command::Config { stat: self.has("s"), watch: self.has("w"), clients: self.has("c") },
            "reconfig" => self.reconfig()?,
            _ => self.of_the_shell()?,
        })
    }

    /// Verbs that no server is asked for.
    fn of_the_shell(&self) -> Result<Command, Problem> {
        Ok(match self.verb.name {
            "whoami" => Command::WhoAmI,
            "version" => Command::Version,
            "history" => Command::History,
            "close" => Command::Close,
            "quit" => Command::Quit,
            "printwatches" => {
                // As in ZooKeeper, anything but `on` turns them off.
                Command::PrintWatches(self.word(0).map(|word| word == "on"))
            }
            "redo" => {
                let number = self.word(0).unwrap_or_default();
                let wrong =
                    |_| self.problem(format!("{number} is no number of a command; `history` lists them"));
                Command::Redo(number.parse().map_err(wrong)?)
            }
            "connect" => {
                let servers = self.word(0).map(Servers::parse).transpose();
                Command::Connect(servers.map_err(|error| self.problem(error.to_string()))?)
            }
            "help" => match self.word(0) {
                Some(name) if verbs::find(name).is_none() => return Err(unknown(name)),
                name => Command::Help(name.map(ToOwned::to_owned)),
            },
            other => return Err(self.problem(format!("{other} has no meaning"))),
        })
    }

    fn set(&self) -> Result<Command, Problem> {
        let text = self.word(1).unwrap_or_default();
        let data = if self.has("b") {
            BASE64.decode(text).map_err(|error| self.problem(format!("the data is no base64: {error}")))?
        } else {
            text.as_bytes().to_vec()
        };
        Ok(Command::Set {
            path: self.path()?,
            data: Bytes::from(data),
            version: self.version()?,
            stat: self.has("s"),
        })
    }

    fn create(&self) -> Result<Command, Problem> {
        let (ephemeral, sequential, container) = (self.has("e"), self.has("s"), self.has("c"));
        if container && (ephemeral || sequential) {
            return Err(Problem::plain(
                "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
            ));
        }
        let ttl_ms =
            self.sorted.number::<i64>("t", "a long value").map_err(|message| self.problem(message))?;
        if let Some(ttl_ms) = ttl_ms {
            if ephemeral {
                return Err(Problem::plain("TTLs cannot be used with Ephemeral znodes"));
            }
            if container {
                return Err(Problem::plain("TTLs cannot be used with Container znodes"));
            }
            if !(1..=TTL_MS_MAX).contains(&ttl_ms) {
                return Err(Problem::plain(format!(
                    "ttl must be positive and cannot be larger than: {TTL_MS_MAX}"
                )));
            }
        }
        let path = self.word(0).unwrap_or_default();
        // With a number at its end, a slash there is no harm.
        path::judge(&if sequential { format!("{path}1") } else { path.to_owned() })
            .map_err(|message| Problem::of_path(path, message))?;
        Ok(Command::Create {
            path: path.to_owned(),
            data: self.word(1).map(|data| Bytes::copy_from_slice(data.as_bytes())),
            acl: match self.word(2) {
                Some(text) => self.acl(text)?,
                None => vec![Acl::world(tree::acl::ALL)],
            },
            how: Created { ephemeral, sequential, container, ttl_ms },
        })
    }

    /// The version may stand behind the path, as it once did.
    fn delete(&mut self) -> Result<Command, Problem> {
        let mut version = self.version()?;
        if let Some(word) = self.word(1) {
            let wrong = |_| self.problem(format!("{word} is no version"));
            version = word.parse().map_err(wrong)?;
            self.warnings.push(
                "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead."
                    .to_owned(),
            );
        }
        Ok(Command::Delete { path: self.path()?, version })
    }

    fn which(&self) -> WatchChoice {
        let choices = [
            ("c", WatchChoice::Child),
            ("d", WatchChoice::Data),
            ("p", WatchChoice::Persistent),
            ("r", WatchChoice::Recursive),
        ];
        choices.into_iter().find(|(flag, _)| self.has(flag)).map_or(WatchChoice::Any, |(_, choice)| choice)
    }

    /// The one limit that is chosen, if any is.
    fn chosen(&self) -> Result<Option<&'static str>, Problem> {
        let mut chosen = ["n", "b", "N", "B"].into_iter().filter(|flag| self.has(flag));
        match (chosen.next(), chosen.next()) {
            (first, None) => Ok(first),
            (first, Some(second)) => Err(self.problem(format!(
                "The option '{second}' was specified but an option from this group has already been selected: '{}'",
                first.unwrap_or_default()
            ))),
        }
    }

    fn set_quota(&self) -> Result<Command, Problem> {
        let path = self.path()?;
        if path.starts_with(tree::quota::QUOTA) {
            return Err(Problem::plain(format!("cannot set a quota under the path: {}", tree::quota::QUOTA)));
        }
        let flag =
            self.chosen()?.ok_or_else(|| self.problem("Missing required option: one of -n, -b, -N, -B"))?;
        let value = self.sorted.number::<i64>(flag, "a number").map_err(|message| self.problem(message))?;
        let value = value.unwrap_or_default();
        let is_count = matches!(flag, "n" | "N");
        if is_count && !(1..=i64::from(i32::MAX)).contains(&value) {
            return Err(Problem::plain("the num quota must be greater than zero, and below 2147483648"));
        }
        if value < 0 {
            return Err(Problem::plain("the bytes quota must be greater than or equal to zero"));
        }
        Ok(Command::SetQuota { path, limits: limit(flag, value) })
    }

    fn del_quota(&self) -> Result<Command, Problem> {
        Ok(Command::DelQuota { path: self.path()?, which: self.chosen()?.map(|flag| limit(flag, -1)) })
    }

    fn reconfig(&self) -> Result<Command, Problem> {
        let given = |flag| self.sorted.value(flag).map(str::to_lowercase);
        let (joining, leaving, members) = (given("add"), given("remove"), given("members"));
        let whole = members.is_some() || self.has("file");
        let parts = joining.is_some() || leaving.is_some();
        if whole && parts {
            return Err(self.problem(
                "Can't use -file or -members together with -add or -remove (mixing incremental and \
                 non-incremental modes is not allowed)",
            ));
        }
        if members.is_some() && self.has("file") {
            return Err(
                self.problem("Can't use -file and -members together (conflicting non-incremental modes)")
            );
        }
        if !whole && !parts {
            return Err(self.problem("reconfig: what is to change?"));
        }
        let members = match self.sorted.value("file") {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let members = text.map_err(|error| error.to_string()).and_then(|text| members_of(&text));
                Some(members.map_err(|error| self.problem(format!("Error processing {file}: {error}")))?)
            }
            None => members,
        };
        let version = match self.sorted.value("v") {
            Some(version) => i64::from_str_radix(version, 16)
                .map_err(|_| self.problem("-v must be followed by a long (configuration version)"))?,
            None => -1,
        };
        Ok(Command::Reconfig { change: Change { joining, leaving, members, version }, stat: self.has("s") })
    }
}

/// What a file of a configuration says of members: servers, groups and weights. The version that it may name is given
/// apart.
///
/// Source: ZooKeeper `ReconfigCommand`, `QuorumPeerConfig.parseDynamicConfig`.
fn members_of(text: &str) -> Result<String, String> {
    let mut lines = Vec::new();
    for Entry { key, value, .. } in properties::parse(text) {
        match key.as_str() {
            "version" => {}
            key if ["server.", "group", "weight"].iter().any(|start| key.starts_with(start)) => {
                lines.push(format!("{key}={value}"));
            }
            key => return Err(format!("Unrecognised parameter: {key}")),
        }
    }
    Ok(lines.join("\n"))
}

fn limit(flag: &str, value: i64) -> Limits {
    let none = Limits::default();
    match flag {
        "n" => Limits { count: Some(value), ..none },
        "b" => Limits { bytes: Some(value), ..none },
        "N" => Limits { count_hard: Some(value), ..none },
        _ => Limits { bytes_hard: Some(value), ..none },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Asked, Problem> {
        command(&crate::line::words(line).expect(line))
    }

    fn asked(line: &str) -> Command {
        read(line).unwrap_or_else(|problem| panic!("{line}: {problem:?}")).command
    }

    #[test]
    fn commands_are_read_with_their_flags() {
        let path = || "/a".to_owned();
        let list = |stat, watch, recursive| Command::List { path: path(), stat, watch, recursive };
        let get = |form| Command::Get { path: path(), stat: false, watch: false, form };
        let set = |data: &'static str, version| Command::Set {
            path: path(),
            data: Bytes::from_static(data.as_bytes()),
            version,
            stat: false,
        };
        let rows = [
            ("ls /a", list(false, false, false)),
            ("ls -sR /a -w", list(true, true, true)),
            ("ls /a watch", list(false, true, false)),
            ("get /a", get(Form::Plain)),
            ("get -b /a", get(Form::Base64)),
            ("get -b -x /a", get(Form::Hex)),
            ("set /a 'b c'", set("b c", -1)),
            ("set -v 3 /a b", set("b", 3)),
            ("set -b /a YiBj", set("b c", -1)),
            ("set -b /a YQ==", set("a", -1)),
            ("set -b /a YQ", set("a", -1)),
            ("set /a -5", set("-5", -1)),
            ("delete -v -1 /a", Command::Delete { path: path(), version: -1 }),
            ("delete /a 3", Command::Delete { path: path(), version: 3 }),
            ("deleteall /a -b 7", Command::DeleteAll { path: path(), batch: 7 }),
            ("addWatch -m persistent /a", Command::AddWatch { path: path(), mode: WatchMode::Persistent }),
            ("watch /a", Command::Watch { path: path(), mode: WatchMode::Recursive }),
            (
                "removewatches /a -d -l",
                Command::RemoveWatches { path: path(), which: WatchChoice::Data, local: true },
            ),
            ("getEphemerals", Command::Ephemerals { prefix: "/".to_owned() }),
            ("printwatches off", Command::PrintWatches(Some(false))),
            ("printwatches maybe", Command::PrintWatches(Some(false))),
            ("delquota -N /a", Command::DelQuota { path: path(), which: Some(limit("N", -1)) }),
            ("setquota -b 0 /a", Command::SetQuota { path: path(), limits: limit("b", 0) }),
        ];
        for (line, expected) in rows {
            assert_eq!(asked(line), expected, "{line}");
        }
        assert!(read("ls /a watch").expect("valid").warnings[0].contains("deprecated"));
    }

    #[test]
    fn a_create_says_what_it_creates() {
        let how = |line| {
            let Command::Create { how, data, acl, .. } = asked(line) else { panic!("{line}") };
            (how, data, acl.len())
        };
        let plain = Created { ephemeral: false, sequential: false, container: false, ttl_ms: None };
        assert_eq!(how("create /a"), (plain, None, 1));
        assert_eq!(how("create /a ''"), (plain, Some(Bytes::new()), 1));
        let both = Created { ephemeral: true, sequential: true, ..plain };
        assert_eq!(
            how("create -es /a/ x world:anyone:r,ip:::1:w"),
            (both, Some(Bytes::from_static(b"x")), 2)
        );
        assert_eq!(how("create -t 5 /a").0, Created { ttl_ms: Some(5), ..plain });
    }

    #[test]
    fn a_proof_is_not_printed() {
        let shown = format!("{:?}", asked("addauth digest ann:secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_what_can_be_done() {
        let rows = [
            ("lss /", "Command not found: lss", "did you mean ls?"),
            ("getacl /", "Command not found: getacl", "did you mean getAcl?"),
            ("rmr /a", "Command not found: rmr", "did you mean deleteall?"),
            ("ls / -server x:1", "Unrecognized option: -server", "stand in front of ls"),
            ("frobnicate", "Command not found", "`help` lists"),
            ("help gte", "Command not found: gte", "did you mean get?"),
            ("ls", "missing", "usage: ls [-s] [-w] [-R] path"),
            ("ls -z /", "Unrecognized option: -z", "usage: ls"),
            ("ls /a /b", "one path at a time", "usage: ls"),
            ("set /a b c", "\"c\" is too much; quotes", "usage: set"),
            ("set -v x /a b", "-v argument must be a version", "usage: set"),
            ("set -b /a =", "no base64", "usage: set"),
            ("create -c -e /a", "-c cannot be combined", ""),
            ("create -t 5 -e /a", "TTLs cannot be used with Ephemeral", ""),
            ("create -t 0 /a", "ttl must be positive", ""),
            ("create /a/", "must not end", ""),
            ("create /a x y", "scheme:id:perm", "usage: create"),
            ("get a", "Path must start with / character", "did you mean /a?"),
            ("setquota /a", "one of -n, -b, -N, -B", "usage: setquota"),
            ("setquota -n 1 -b 2 /a", "already been selected: 'n'", "usage: setquota"),
            ("setquota -n 0 /a", "greater than zero", ""),
            ("setquota -n 1 /zookeeper/quota/a", "cannot set a quota under", ""),
            ("addWatch -m once /a", "modes are PERSISTENT", "usage: addWatch"),
            ("redo x", "`history` lists them", "usage: redo"),
            ("reconfig", "what is to change", "usage: reconfig"),
            ("reconfig -add 1=x -members 2=y", "mixing incremental", "usage: reconfig"),
            ("connect a:b", "\"b\" is no port", "usage: connect"),
        ];
        for (line, message, advice) in rows {
            let problem = read(line).expect_err(line);
            assert!(problem.message.contains(message), "{line}: {problem:?}");
            assert!(problem.advice.clone().unwrap_or_default().contains(advice), "{line}: {problem:?}");
        }
        assert!(command(&[]).is_err());
    }

    #[test]
    fn a_file_of_a_configuration_gives_its_servers() {
        assert_eq!(
            members_of("# all\nserver.1=x:1:2;3\n\n server.2 = y\ngroup.1=1:2\nweight.1=2\nversion=5")
                .as_deref(),
            Ok("server.1=x:1:2;3\nserver.2=y\ngroup.1=1:2\nweight.1=2")
        );
        assert_eq!(members_of("server.1=x\ntickTime=5"), Err("Unrecognised parameter: tickTime".to_owned()));
    }
}
