//! A client in words, for people who step through states.

use protocol::peer::ClientRequest;
use tree::Tree;
use world::Replica;

use super::{Asked, Client, Connection, Letter, What};

impl Client {
    /// All that a reader is told of it, in some lines.
    pub fn sketch(&self) -> Vec<String> {
        let deed = self.deed.map_or_else(|| "no script yet".to_owned(), |deed| format!("will {deed:?}"));
        let over = if self.over { ", and is done" } else { "" };
        let mut lines = vec![format!("{deed}, {} requests to send{over}", self.wishes())];
        if self.session.0 != 0 {
            lines.push(format!("session {}, has seen {}, wrote {}", self.session, self.seen, self.wrote));
        }
        lines.extend(self.home.as_ref().map(|home| connection("connected to", home)));
        lines.extend(self.left.as_ref().map(|left| connection("has left", left)));
        let asked: Vec<_> = self.asked.iter().map(asked).collect();
        lines.extend((!asked.is_empty()).then(|| format!("waits for {}", asked.join(", "))));
        lines.extend(self.watches.iter().map(|(watch, since)| format!("watches {watch:?} since {since}")));
        lines
    }
}

fn connection(how: &str, connection: &Connection) -> String {
    let Connection { id, server, open, unread, .. } = connection;
    let open = if *open { "" } else { ", not let in" };
    let unread: Vec<_> = unread.iter().map(letter).collect();
    let unread = if unread.is_empty() { String::new() } else { format!(", unread {}", unread.join(", ")) };
    format!("{how} server {server} by connection {}{open}{unread}", id.0)
}

/// What is under way to a server.
pub(in crate::session) fn letter(letter: &Letter) -> String {
    match letter {
        Letter::Connect { session, .. } if session.0 == 0 => "connect for a new session".to_owned(),
        Letter::Connect { session, .. } => format!("connect for {session}"),
        Letter::Request(xid, asked) => format!("request {xid}: {}", request(asked)),
    }
}

fn request(asked: &ClientRequest<Tree>) -> String {
    match asked {
        ClientRequest::Ping => "ping".to_owned(),
        ClientRequest::Authenticate(_) | ClientRequest::Exchange { .. } => "proof of an identity".to_owned(),
        ClientRequest::Read(read) => Tree::sketch_read(read),
        ClientRequest::Write(write) => Tree::sketch_write(write),
        ClientRequest::Sync(_) => "sync".to_owned(),
        ClientRequest::Close => "closeSession".to_owned(),
        ClientRequest::Refused { code, .. } => format!("what is refused with {code:?}"),
    }
}

fn asked(asked: &Asked) -> String {
    let what = match &asked.what {
        What::Write(write) => Tree::sketch_write(write),
        What::Read(read) => Tree::sketch_read(read),
        What::Sync => "sync".to_owned(),
        What::Close => "closeSession".to_owned(),
        What::Watches => "setWatches".to_owned(),
        What::Proof => "proof of an identity".to_owned(),
    };
    format!("{}: {what}", asked.xid)
}
