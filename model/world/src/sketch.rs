//! A server and a connection in a line each, for people who step through states.

use std::fmt;

use protocol::Role;
use spec::Zxid;

use crate::{End, Link, Logged, Server, Side, sink::frame_text};

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zab = self.zab();
        match zab.role() {
            Some((Role::Leading, epoch)) => write!(f, "leads {epoch}")?,
            Some((Role::Following(leader), epoch)) => write!(f, "follows {leader} in {epoch}")?,
            Some((Role::Observing(leader), epoch)) => write!(f, "observes {leader} in {epoch}")?,
            None if self.is_looking() => f.write_str("looking")?,
            None => f.write_str("coming to rest")?,
        }
        if zab.is_serving() {
            f.write_str(", serving")?;
        }
        let history = zab.history();
        write!(f, "; promised {}, joined {}", zab.accepted(), zab.current())?;
        write!(f, "; state {}, committed through {}", Entries(self.state()), zab.committed())?;
        write!(f, "; logged through {}, durable through {}", history.last(), history.flushed())?;
        if let Ok(durable) = self.disk().durable() {
            write!(f, "; disk {}", Entries(&durable))?;
        }
        let tickets = self.disk().may_finish().len();
        if tickets > 0 {
            write!(f, "; {tickets} disk operations may end")?;
        }
        for timer in self.timers() {
            write!(f, "; {timer:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (side, name) in [(Side::Learner, "learner"), (Side::Leader, "leader")] {
            match self.end(side) {
                End::Closed => write!(f, "{name} closed; ")?,
                End::Dialling => write!(f, "{name} dialling; ")?,
                End::Open(unread) => {
                    let frames: Vec<_> = unread.iter().map(frame_text).collect();
                    write!(f, "{name} open, to read [{}]; ", frames.join(", "))?;
                }
            }
        }
        f.write_str(if self.is_joined() { "joined" } else { "not joined" })
    }
}

/// Transactions with what they say.
struct Entries<'a>(&'a [Logged]);

impl fmt::Display for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("empty");
        }
        let texts: Vec<_> = self.0.iter().map(|(zxid, txn): &(Zxid, _)| format!("{zxid}={txn}")).collect();
        f.write_str(&texts.join(" "))
    }
}
