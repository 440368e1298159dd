//! The form in which things travel and are kept.
//!
//! A run decides what is sent when, what arrives, what a crash takes. Whether what is sent is the value itself or the
//! bytes that stand for it, and whether a disk is a list or files, is the form's. Here is the plainest: every value is
//! itself. Another one stands where the bytes are known, outside of this folder.

use std::fmt;

use protocol::{Notification, peer::Config};
use spec::ServerId;
use tree::{Event, Settings};
use world::{Fault, Happened, Host, HostDisk, HostEvent, Pace, Said, Storage, Wire};

use crate::{client::Letter, node::Subject, plan::Plan};

/// A server of a form.
pub type Served<F> = Host<Subject, <F as Form>::Disk>;

/// A form.
pub trait Form: Sized + fmt::Debug {
    /// What runs of this form are called where they are saved.
    const NAME: &'static str;

    /// A server's disk.
    type Disk: Storage<Subject> + fmt::Debug;
    /// What is under way on a link.
    type Load: Clone + fmt::Debug + PartialEq;
    /// What is under way from a client.
    type Up: fmt::Debug;
    /// What is under way to a client.
    type Down: fmt::Debug;
    /// One end of a connection: what it has read and not understood yet, and what it has to know for that.
    type Ear: Default + fmt::Debug;

    /// The form of a run.
    fn new(plan: &Plan) -> Self;

    /// A server that starts on an empty disk.
    ///
    /// # Errors
    /// The rule that its start breaks.
    fn start(&mut self, config: Config<Settings>) -> Result<(Served<Self>, Happened<Subject>), Fault>;

    /// Something happens to a server.
    ///
    /// # Errors
    /// The rule that the step breaks.
    fn step(
        &mut self,
        host: &mut Served<Self>,
        event: &HostEvent<Subject>,
    ) -> Result<Happened<Subject>, Fault>;

    /// What a server puts on a link comes to this, in order.
    fn put(&mut self, from: ServerId, frame: &Wire<Subject>) -> Vec<Self::Load>;

    /// Whether what comes next on a link is read with what was just read, if it is sent already.
    fn reads_on(&self, _ear: &Self::Ear) -> bool {
        false
    }

    /// What an end of a link understands when it reads this.
    ///
    /// # Errors
    /// It is nothing that a server says.
    fn take(&mut self, ear: &mut Self::Ear, loads: Vec<Self::Load>) -> Result<Vec<Wire<Subject>>, Fault>;

    /// What is read of a notification.
    ///
    /// # Errors
    /// It does not read.
    fn carry(&mut self, said: Notification) -> Result<Notification, Fault>;

    /// What a client sends comes to this, in order.
    fn ask(&mut self, ear: &mut Self::Ear, letter: Letter) -> Vec<Self::Up>;

    /// What a server understands when it reads this from a client.
    ///
    /// # Errors
    /// It is nothing that a client says.
    fn read(&mut self, ear: &mut Self::Ear, up: Self::Up) -> Result<Vec<Letter>, Fault>;

    /// What a server tells a client comes to this, in order. It is what the last [`Self::step`] has told, each word
    /// once and in its order.
    fn tell(&mut self, said: Said<Event>) -> Vec<Self::Down>;

    /// What a client understands when it reads this.
    ///
    /// # Errors
    /// It is nothing that a server tells.
    fn hear(&mut self, ear: &mut Self::Ear, down: Self::Down) -> Result<Vec<Said<Event>>, Fault>;
}

/// Every value is itself.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Form for Plain {
    const NAME: &'static str = "simulator";

    type Disk = HostDisk<Subject>;
    type Load = Wire<Subject>;
    type Up = Letter;
    type Down = Said<Event>;
    type Ear = ();

    fn new(_: &Plan) -> Self {
        Self
    }

    fn start(&mut self, config: Config<Settings>) -> Result<(Served<Self>, Happened<Subject>), Fault> {
        Host::new(config, Pace::Async, Subject::default())
    }

    fn step(
        &mut self,
        host: &mut Served<Self>,
        event: &HostEvent<Subject>,
    ) -> Result<Happened<Subject>, Fault> {
        host.step(event)
    }

    fn put(&mut self, _: ServerId, frame: &Wire<Subject>) -> Vec<Self::Load> {
        vec![frame.clone()]
    }

    fn take(&mut self, (): &mut (), loads: Vec<Self::Load>) -> Result<Vec<Wire<Subject>>, Fault> {
        Ok(loads)
    }

    fn carry(&mut self, said: Notification) -> Result<Notification, Fault> {
        Ok(said)
    }

    fn ask(&mut self, (): &mut (), letter: Letter) -> Vec<Letter> {
        vec![letter]
    }

    fn read(&mut self, (): &mut (), up: Letter) -> Result<Vec<Letter>, Fault> {
        Ok(vec![up])
    }

    fn tell(&mut self, said: Said<Event>) -> Vec<Said<Event>> {
        vec![said]
    }

    fn hear(&mut self, (): &mut (), down: Said<Event>) -> Result<Vec<Said<Event>>, Fault> {
        Ok(vec![down])
    }
}
