//! What is told of servers and the record of a run where a rule is broken, for people.

use std::any::Any;

use spec::history::{Entry, Record, ServerView};

/// So many transactions of a sequence are shown, its last ones.
const SHOWN: usize = 12;

/// The end of a sequence of transactions.
pub fn sequence(entries: &[Entry]) -> String {
    let skipped = entries.len().saturating_sub(SHOWN);
    let shown: Vec<_> = entries[skipped..]
        .iter()
        // A sum that fills its width tells itself apart by its first digits. Of a model's numbers there is nothing there.
        .map(|Entry { zxid, digest }| match digest >> 48 {
            0 => format!("{zxid} = {digest}"),
            first => format!("{zxid} = {first:04x}"),
        })
        .collect();
    let before = if skipped > 0 { format!("{skipped} and ") } else { String::new() };
    format!("{before}[{}]", shown.join(", "))
}

/// A server.
pub fn server(server: &ServerView) -> String {
    format!(
        "server {} ({:?}) has logged {}, durable {}, delivered {}, in its window {}, epochs {} and {}",
        server.id,
        server.part,
        sequence(&server.logged),
        sequence(&server.durable),
        sequence(&server.delivered),
        sequence(&server.window),
        server.accepted.memory,
        server.current.memory
    )
}

/// The record of a run.
pub fn record(record: &Record) -> String {
    let reigns: Vec<_> = record
        .reigns()
        .iter()
        .map(|reign| format!("{} of {} from {}", reign.epoch, reign.leader, sequence(&reign.initial)))
        .collect();
    let clash = record.clash().map_or_else(String::new, |clash| {
        format!(", against which a leader holds {}", sequence(&clash.held))
    });
    format!("committed is {}{clash}, established are {}", sequence(record.committed()), reigns.join(", "))
}

/// What a panic says.
pub fn of_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic that carries no text")
        .to_owned()
}
