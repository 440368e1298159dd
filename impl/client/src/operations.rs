//! What can be asked, each as a call that waits.

use std::time::Duration;

use bytes::Bytes;
use protocol::peer::ClientRequest;
use spec::ErrorCode;
use tree::{
    Acl, CreateRequest, Credential, Identity, Outcome, Read, Stat, Text, WatchChoice, WatchMode, Write,
};
use wire::client::Response;

use crate::{
    Client, Failure,
    client::{Request, write},
    shared::Leaves,
    state::Notice,
    watches::Kind,
};

/// Where every server keeps the configuration of its ensemble, whatever the chroot.
const CONFIGURATION: &str = "/zookeeper/config";

/// What a node holds, null and empty apart, and its Stat.
pub type Node = (Option<Bytes>, Stat);

/// How a node is to be created.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Created {
    /// It ends with the session.
    pub ephemeral: bool,
    /// Its name gets a number.
    pub sequential: bool,
    /// It ends some time after its last child.
    pub container: bool,
    /// It ends when it has had no child and no new data for so many milliseconds.
    pub ttl_ms: Option<i64>,
}

/// A change of the ensemble: who joins and who leaves, or who is in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// Servers to add or change, `server.N=…` behind commas.
    pub joining: Option<String>,
    /// Numbers of servers to remove, behind commas.
    pub leaving: Option<String>,
    /// All servers, in the place of the above.
    pub members: Option<String>,
    /// The version of the configuration that it is to change; −1 for any.
    pub version: i64,
}

impl Client {
    /// getData.
    ///
    /// # Errors
    /// As every operation: what the server says, or why it says nothing.
    pub fn data(&self, path: &str, watch: bool) -> Result<Node, Failure> {
        let path = self.outward(path);
        let leaves = watch.then(|| leaves(&path, Kind::Data, None));
        let Response::Data(data, stat) = self.read(Read::GetData { path, watch }, leaves)? else {
            return Err(unexpected());
        };
        Ok((data, stat))
    }

    /// exists: the Stat.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn stat(&self, path: &str, watch: bool) -> Result<Stat, Failure> {
        let path = self.outward(path);
        let leaves = watch.then(|| leaves(&path, Kind::Data, Some(Kind::Exist)));
        let Response::Stat(stat) = self.read(Read::Exists { path, watch }, leaves)? else {
            return Err(unexpected());
        };
        Ok(stat)
    }

    /// exists: whether the chroot is missing, if there is a server now, and it says so within a bounded time.
    pub fn lacks_chroot(&self, patience: Duration) -> bool {
        if self.servers().chroot().is_empty() {
            return false;
        }
        let read = Read::Exists { path: self.outward("/"), watch: false };
        let answer = self.ask_soon(Request::Known(ClientRequest::Read(read)), patience);
        answer.is_err_and(|failure| failure.code() == Some(ErrorCode::NoNode))
    }

    /// exists: whether the node is there.
    ///
    /// # Errors
    /// As for [`Self::data`], but for a missing node.
    pub fn is_there(&self, path: &str) -> Result<bool, Failure> {
        match self.stat(path, false) {
            Ok(_) => Ok(true),
            Err(failure) if failure.code() == Some(ErrorCode::NoNode) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// getChildren: the names, sorted, and the Stat of the node.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn children(&self, path: &str, watch: bool) -> Result<(Vec<String>, Stat), Failure> {
        let path = self.outward(path);
        let leaves = watch.then(|| leaves(&path, Kind::Child, None));
        let answer = self.read(Read::GetChildren2 { path, watch }, leaves)?;
        let Response::Children2(names, stat) = answer else { return Err(unexpected()) };
        Ok((sorted(names), stat))
    }

    /// getChildren, if a server is there now, and within a bounded time.
    ///
    /// # Errors
    /// As for [`Self::data`], and [`Failure::Interrupted`] when the time is over.
    pub fn children_soon(&self, path: &str, patience: Duration) -> Result<Vec<String>, Failure> {
        let read = Read::GetChildren { path: self.outward(path), watch: false };
        let Response::Children(names) = self.ask_soon(Request::Known(ClientRequest::Read(read)), patience)?
        else {
            return Err(unexpected());
        };
        Ok(sorted(names))
    }

    /// getACL: the list and the Stat.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Failure> {
        let Response::Acl(acl, stat) = self.read(Read::GetAcl { path: self.outward(path) }, None)? else {
            return Err(unexpected());
        };
        Ok((acl, stat))
    }

    /// create: the path, which has a number at its end if the node is sequential.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn create(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        how: Created,
    ) -> Result<String, Failure> {
        let flags = match how {
            Created { container: true, .. } => 4,
            Created { ttl_ms: Some(_), sequential: false, .. } => 5,
            Created { ttl_ms: Some(_), sequential: true, .. } => 6,
            Created { ephemeral, sequential, .. } => i32::from(ephemeral) + 2 * i32::from(sequential),
        };
        let request = match how {
            Created { container: true, .. } => CreateRequest::Container,
            Created { ttl_ms: Some(ttl_ms), .. } => CreateRequest::Ttl { ttl_ms },
            Created { .. } => CreateRequest::Create,
        };
        let path = self.outward(path);
        let (Response::Path(path) | Response::PathStat(path, _)) =
            self.ask(write(Write::Create { path, data, acl, flags, request }), None)?
        else {
            return Err(unexpected());
        };
        Ok(self.shared.options.servers.inward(path.as_str()))
    }

    /// delete, if the data has this version; −1 for any.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn delete(&self, path: &str, version: i32) -> Result<(), Failure> {
        self.ask(write(Write::Delete { path: self.outward(path), version }), None).map(drop)
    }

    /// multi: deletes all of these or none, in their order.
    ///
    /// # Errors
    /// As for [`Self::data`], and which of them is in the way, if one is.
    pub fn delete_all(&self, paths: &[String]) -> Result<(), (Failure, Option<usize>)> {
        let parts = paths.iter().map(|path| Write::Delete { path: self.outward(path), version: -1 });
        let whole = |failure| (failure, None);
        let Response::Multi(outcomes) =
            self.ask(write(Write::Multi(parts.collect())), None).map_err(whole)?
        else {
            return Err(whole(unexpected()));
        };
        // A multi that failed is answered in order, and says so in its parts alone.
        refused(&outcomes).map_or(Ok(()), |(at, code)| Err((Failure::Server(code), Some(at))))
    }

    /// setData, if the data has this version; −1 for any.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn set(&self, path: &str, data: Bytes, version: i32) -> Result<Stat, Failure> {
        let path = self.outward(path);
        let Response::Stat(stat) =
            self.ask(write(Write::SetData { path, data: Some(data), version }), None)?
        else {
            return Err(unexpected());
        };
        Ok(stat)
    }

    /// setACL, if the list has this version; −1 for any.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn set_acl(&self, path: &str, acl: Vec<Acl>, version: i32) -> Result<Stat, Failure> {
        let path = self.outward(path);
        let Response::Stat(stat) = self.ask(write(Write::SetAcl { path, acl, version }), None)? else {
            return Err(unexpected());
        };
        Ok(stat)
    }

    /// sync: what is read behind it shows everything that is committed by now.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn sync(&self, path: &str) -> Result<(), Failure> {
        let path = self.outward(path).as_bytes().to_vec();
        self.ask(Request::Known(ClientRequest::Sync(path)), None).map(drop)
    }

    /// addWatch: one that stays.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn watch(&self, path: &str, mode: WatchMode) -> Result<(), Failure> {
        let path = self.outward(path);
        let leaves = leaves(&path, Kind::of_mode(mode), None);
        self.read(Read::AddWatch { path, mode }, Some(leaves)).map(drop)
    }

    /// Whether this session has left one of these watches here.
    pub fn watches(&self, path: &str, which: WatchChoice) -> bool {
        !self.shared.lock().watches.chosen(which, &self.outward(path)).is_empty()
    }

    /// removeWatches, of those that this session has left; `local` takes them back also without a server, or against
    /// its word.
    ///
    /// # Errors
    /// As for [`Self::data`]; [`ErrorCode::NoWatcher`] if it has left none.
    pub fn remove_watches(&self, path: &str, which: WatchChoice, local: bool) -> Result<(), Failure> {
        let outward = self.outward(path);
        let chosen = self.shared.lock().watches.chosen(which, &outward);
        if chosen.is_empty() {
            return Err(Failure::Server(ErrorCode::NoWatcher.number()));
        }
        // Without a server, they end with the connection that they were left on.
        if !local || self.connection().is_up() {
            let removed = self.read(Read::RemoveWatches { path: outward.clone(), which }, None);
            if let (Err(failure), false) = (removed, local) {
                return Err(failure);
            }
        }
        let told = self.shared.lock().watches.remove(&chosen, &outward);
        for kind in told {
            self.shared.tell(Notice::Event { kind, path: path.to_owned(), zxid: None });
        }
        Ok(())
    }

    /// getEphemerals: those of this session whose paths begin so.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn ephemerals(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let Response::Paths(paths) = self.read(Read::GetEphemerals { prefix: self.outward(prefix) }, None)?
        else {
            return Err(unexpected());
        };
        let servers = &self.shared.options.servers;
        // A prefix is no path: what begins like the chroot need not stand below it.
        let below = paths.iter().map(Text::as_str).filter(|path| servers.is_below(path));
        let mut paths: Vec<_> = below.map(|path| servers.inward(path)).collect();
        paths.sort();
        Ok(paths)
    }

    /// getAllChildrenNumber: how many nodes stand below this one.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn count_below(&self, path: &str) -> Result<i32, Failure> {
        let Response::Number(number) =
            self.read(Read::GetAllChildrenNumber { path: self.outward(path) }, None)?
        else {
            return Err(unexpected());
        };
        Ok(number)
    }

    /// whoAmI: whom the server takes this client for.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn who_am_i(&self) -> Result<Vec<Identity>, Failure> {
        let Response::Identities(identities) = self.read(Read::WhoAmI, None)? else {
            return Err(unexpected());
        };
        Ok(identities)
    }

    /// Shows a credential, to this server and to each that the session comes to.
    ///
    /// # Errors
    /// As for [`Self::data`]; a credential that is refused ends the session.
    pub fn authenticate(&self, scheme: &str, proof: Bytes) -> Result<(), Failure> {
        let credential = Credential { scheme: Text::from(scheme), bytes: proof, sealed: false };
        self.ask(Request::Known(ClientRequest::Authenticate(credential.clone())), None)?;
        self.shared.lock().credentials.push(credential);
        Ok(())
    }

    /// The configuration of the ensemble, as the server keeps it.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn configuration(&self, watch: bool) -> Result<Node, Failure> {
        let path = Text::from(CONFIGURATION);
        let leaves = watch.then(|| leaves(&path, Kind::Data, None));
        let Response::Data(data, stat) = self.read(Read::GetData { path, watch }, leaves)? else {
            return Err(unexpected());
        };
        Ok((data, stat))
    }

    /// reconfig: the new configuration.
    ///
    /// # Errors
    /// As for [`Self::data`].
    pub fn reconfigure(&self, change: Change) -> Result<Node, Failure> {
        let Change { joining, leaving, members, version } = change;
        let Response::Data(data, stat) =
            self.ask(Request::Reconfigure { joining, leaving, members, version }, None)?
        else {
            return Err(unexpected());
        };
        Ok((data, stat))
    }

    fn outward(&self, path: &str) -> Text {
        Text::from(self.shared.options.servers.outward(path))
    }

    fn read(&self, read: Read, leaves: Option<Leaves>) -> Result<Response, Failure> {
        self.ask(Request::Known(ClientRequest::Read(read)), leaves)
    }
}

/// Which part of a multi has failed, and how: those in front of it and behind it are answered with codes that say no
/// more than that they were not done.
fn refused(outcomes: &[Outcome]) -> Option<(usize, i32)> {
    let failed = outcomes.iter().enumerate().filter_map(|(at, outcome)| {
        let Outcome::Error { code } = outcome else { return None };
        Some((at, *code))
    });
    let only_not_done = |code: i32| code == 0 || code == ErrorCode::RuntimeInconsistency.number();
    failed.min_by_key(|(at, code)| (only_not_done(*code), *at))
}

fn leaves(path: &Text, found: Kind, missing: Option<Kind>) -> Leaves {
    Leaves { path: path.clone(), found, missing }
}

fn sorted(names: Vec<Text>) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

fn unexpected() -> Failure {
    Failure::Malformed("it answers another question".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multi_is_refused_by_the_part_that_is_in_the_way() {
        let errors =
            |codes: &[i32]| codes.iter().map(|code| Outcome::Error { code: *code }).collect::<Vec<_>>();
        assert_eq!(refused(&[Outcome::Delete, Outcome::Delete]), None);
        assert_eq!(refused(&errors(&[0, 0, -102, -2])), Some((2, -102)));
        assert_eq!(refused(&errors(&[-2, -2])), Some((0, -2)));
    }
}
