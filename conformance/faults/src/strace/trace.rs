//! The lines of `strace -f -yy -xx`, as calls with a beginning and an end.

use std::{collections::HashMap, net::SocketAddr};

/// What a process asked of the system; only what ended well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// Made, or opened, a file that may not have been there.
    Create(String),
    /// Wrote to a file.
    Write {
        /// Its path then.
        path: String,
        /// What.
        bytes: Vec<u8>,
    },
    /// Sent to a socket.
    Send {
        /// Its own end.
        from: SocketAddr,
        /// The other end.
        to: SocketAddr,
        /// What was taken of it.
        bytes: Vec<u8>,
    },
    /// Synced a file or a folder.
    Sync(String),
    /// Renamed a file.
    Rename(String, String),
}

/// A call, in nanoseconds since 1970. The end is never later than the true one, and the begin never earlier, so that
/// a claim can only look later than its sync by mistake, not by luck of the clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Call {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) act: Act,
}

/// Every call of a trace that matters, in the order of their ends.
pub(super) fn parse(text: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, (u64, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.trim_start().split_once(' ') else { continue };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else { continue };
        let Some(time) = nanoseconds(time) else { continue };
        if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, (time, head));
        } else if let Some(tail) = rest.strip_prefix("<... ") {
            let tail = tail.split_once(" resumed>").map(|(_, tail)| tail);
            if let (Some((begin, head)), Some(tail)) = (unfinished.remove(pid), tail) {
                let whole = format!("{head}{tail}");
                calls.extend(act(&whole).map(|(act, _)| Call { begin, end: time, act }));
            }
        } else if let Some((act, took)) = act(rest) {
            calls.push(Call { begin: time, end: time + took, act });
        }
    }
    for (begin, head) in unfinished.into_values() {
        calls.extend(act(&format!("{head}) = ?")).map(|(act, _)| Call { begin, end: begin, act }));
    }
    calls.sort_by_key(|call| call.end);
    calls
}

/// Whether the traced process has ended, and the trace with it.
pub(super) fn is_whole(text: &str) -> bool {
    text.lines().rev().take(3).any(|line| line.contains("+++ exited") || line.contains("+++ killed"))
}

/// `seconds.fraction`, with nine digits behind the point.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let fraction = fraction.get(..9).filter(|_| fraction.len() == 9)?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.parse().ok()?)
}

/// A whole call: what it did, and how long it took.
///
/// A process that is killed in a call gets no answer (`= ?`). Its write or rename counts as carried out, for it may
/// have been, and recovery may build on it; its sync and its send count as nothing.
fn act(text: &str) -> Option<(Act, u64)> {
    let (call, outcome) = text.rsplit_once(") = ")?;
    let (name, arguments) = call.split_once('(')?;
    let (returned, took) = if outcome.starts_with('?') {
        (None, 0)
    } else {
        let took = outcome.rsplit_once('<').and_then(|(_, time)| nanoseconds(time.trim_end_matches('>')))?;
        // Negative: it failed.
        (Some(usize::try_from(outcome.split([' ', '<']).next()?.parse::<i64>().ok()?).ok()?), took)
    };
    let act = match name {
        "openat" if arguments.contains("O_CREAT") => {
            Act::Create(quoted(arguments).into_iter().next().map(text_of)?)
        }
        "write" | "pwrite64" | "writev" | "pwritev" | "sendto" | "sendmsg" => {
            let mut bytes: Vec<u8> = quoted(arguments).concat();
            bytes.truncate(returned.unwrap_or(usize::MAX));
            match descriptor(arguments)? {
                Descriptor::File(path) => Act::Write { path, bytes },
                Descriptor::Socket(from, to) => returned.map(|_| Act::Send { from, to, bytes })?,
            }
        }
        "fsync" | "fdatasync" => match descriptor(arguments)? {
            Descriptor::File(path) => returned.map(|_| Act::Sync(path))?,
            Descriptor::Socket(..) => return None,
        },
        "rename" | "renameat" | "renameat2" => {
            let mut names = quoted(arguments).into_iter().map(text_of);
            Act::Rename(names.next()?, names.next()?)
        }
        _ => return None,
    };
    Some((act, took))
}

enum Descriptor {
    File(String),
    Socket(SocketAddr, SocketAddr),
}

/// The first argument, `5<\x2f…>` or `5<TCP:[a->b]>`.
fn descriptor(arguments: &str) -> Option<Descriptor> {
    let (_, rest) = arguments.split_once('<')?;
    if let Some(ends) = rest.strip_prefix("TCP:[").or_else(|| rest.strip_prefix("TCPv6:[")) {
        let (ends, _) = ends.split_once("]>")?;
        let (from, to) = ends.split_once("->")?;
        return Some(Descriptor::Socket(from.parse().ok()?, to.parse().ok()?));
    }
    let (path, _) = rest.split_once('>')?;
    let path = text_of(unescape(path));
    path.starts_with('/').then_some(Descriptor::File(path))
}

/// Every text between quotes, unescaped.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    // All of it is in hexadecimal, so that no quote stands inside.
    arguments.split('"').skip(1).step_by(2).map(unescape).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()).collect()
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_cuts_short_may_be_written_and_is_not_said() {
        let text = r#"71 1795363226.676369863 pwrite64(14<\x2f\x61>, "\x01\x02", 2, 16) = ? <unavailable>
72 1795363226.676370000 rename("\x2f\x61", "\x2f\x62" <unfinished ...>
73 1795363226.676371000 sendto(3<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x07", 1, MSG_NOSIGNAL, NULL, 0) = ? <unavailable>
74 1795363226.676372000 fdatasync(14<\x2f\x61> <unfinished ...>
"#;
        let acts: Vec<Act> = parse(text).into_iter().map(|call| call.act).collect();
        assert_eq!(
            acts,
            [
                Act::Write { path: "/a".to_owned(), bytes: vec![1, 2] },
                Act::Rename("/a".to_owned(), "/b".to_owned()),
            ]
        );
    }

    #[test]
    fn calls_have_their_times_and_contents() {
        let text = r#"71 1795363226.676369863 pwrite64(14<\x2f\x61>, "\x01\x02", 2, 16) = 2 <0.000000500>
71 1795363226.676370000 fdatasync(14<\x2f\x61> <unfinished ...>
72 1795363226.676371000 sendto(3<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x07\x08\x09", 3, MSG_NOSIGNAL, NULL, 0) = 2 <0.000000001>
71 1795363226.676380000 <... fdatasync resumed>) = 0 <0.000009000>
71 1795363226.676390000 rename("\x2f\x61", "\x2f\x62") = 0 <0.000000001>
71 1795363226.676390000 fsync(9<\x2f>) = -1 EIO (Input/output error) <0.000000001>
71 1795363226.676399000 write(4<\x61\x6e\x6f\x6e>, "\x01", 1) = 1 <0.000000001>
"#;
        let base = 1_795_363_226_676_000_000;
        let ends = ("127.0.0.1:1".parse().expect("address"), "127.0.0.1:2".parse().expect("address"));
        assert_eq!(
            parse(text),
            [
                Call {
                    begin: base + 369_863,
                    end: base + 370_363,
                    act: Act::Write { path: "/a".to_owned(), bytes: vec![1, 2] }
                },
                Call {
                    begin: base + 371_000,
                    end: base + 371_001,
                    act: Act::Send { from: ends.0, to: ends.1, bytes: vec![7, 8] }
                },
                Call { begin: base + 370_000, end: base + 380_000, act: Act::Sync("/a".to_owned()) },
                Call {
                    begin: base + 390_000,
                    end: base + 390_001,
                    act: Act::Rename("/a".to_owned(), "/b".to_owned())
                },
            ]
        );
        assert!(!is_whole(text));
        assert!(is_whole("71 1795363226.676390000 +++ killed by SIGKILL +++"));
    }
}
