//! A frameserver as the host knows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use identity::Name;
use tokio::time::Instant;

use crate::host::ScriptId;
use crate::host::admit::Table;
use crate::host::child::Child;
use crate::host::interface::{self, Bound};
use crate::host::refusals::Refusals;
use crate::host::strangers::Seen;
use crate::host::way::Use;
use crate::host::windows::Required;
#[cfg(test)]
use crate::ipc::Socket;
use crate::ipc::frameserver::{Candidate, Speaks, ToFrameserver};
use crate::ipc::script::{Wanted, WindowStatus};
use crate::ipc::{Carries, Denied, ListenerId, Options, Scheme};
use crate::wire::a12::{Role, SecretId};

/// A frameserver, the listener that it serves, and the sessions that it brought.
#[derive(Debug)]
pub(in crate::host) struct Front {
    pub(in crate::host) script: ScriptId,
    /// What it speaks.
    pub(in crate::host) scheme: Scheme,
    /// What its script wants of that.
    pub(in crate::host) options: Options,
    /// `None`: it does not listen any more.
    pub(in crate::host) listener: Option<ListenerId>,
    pub(in crate::host) name: Name,
    /// The interface and port, as its script asked for them.
    pub(in crate::host) asked_for: (String, u16),
    pub(in crate::host) addresses: Vec<SocketAddr>,
    /// What its sandbox denies.
    pub(in crate::host) sandbox: Vec<Denied>,
    /// The secret that everybody has to know; `None` while it is being replaced: nobody gets in.
    pub(in crate::host) required: Option<Required>,
    /// What the secrets are good for that it has been told.
    pub(in crate::host) uses: BTreeMap<SecretId, Use>,
    /// The script has named a required secret since its process was started.
    pub(in crate::host) named_required: bool,
    /// The same for a window of its own.
    pub(in crate::host) named_window: bool,
    /// A secret that the script wants is being seen to; and those that are next, one beside the
    /// required one and one to be required.
    pub(in crate::host) wishing: bool,
    pub(in crate::host) wishes: [Option<Wanted>; 2],
    /// Windows that the script has asked for, and that have not been seen to.
    pub(in crate::host) asked: usize,
    /// The windows of the name, as the script was told.
    pub(in crate::host) listed: Vec<WindowStatus>,
    /// Sessions that wait for the script's decision.
    pub(in crate::host) undecided: usize,
    /// What it listens on. The host's own descriptors: shut down, they take nobody in any more,
    /// and the address is free, whatever the frameserver does.
    pub(super) sockets: Vec<Bound>,
    /// The sockets are somebody else's, who goes on with them: they are not shut down.
    pub(super) handed: bool,
    pub(super) child: Option<Child<ToFrameserver>>,
    /// The admissions of its peers.
    pub(in crate::host) table: Table,
    /// The script's end of the data link, until the frameserver is ready.
    pub(super) link: Option<OwnedFd>,
    pub(super) failures: Failures,
    pub(in crate::host) refusals: Refusals,
    pub(in crate::host) strangers: Seen,
}

/// Keeps a listener's failures from drowning its script.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) last: Option<Instant>,
    pub(super) suppressed: u32,
}

impl Front {
    pub(in crate::host) fn tell(&mut self, message: ToFrameserver) {
        self.tell_with(message, Vec::new());
    }

    pub(in crate::host) fn tell_with(&mut self, message: ToFrameserver, descriptors: Vec<OwnedFd>) {
        if let Some(child) = &mut self.child {
            child.tell_with(message, descriptors);
        }
    }

    /// Where datagrams are spoken, a socket for one client alone: what is for it lies apart from what
    /// strangers send, and it stays when the listener goes.
    pub(in crate::host) fn socket_for(
        &self,
        client: SocketAddr,
    ) -> std::io::Result<Option<OwnedFd>> {
        match (self.scheme, self.sockets.first()) {
            (Scheme::CurveCp, Some(socket)) => interface::connected(socket, client).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether unknown keys come in, too.
    pub(in crate::host) fn takes_anonymous(&self) -> bool {
        self.scheme == Scheme::CurveCp && self.options.curvecp().anonymous
    }

    /// What its process is to speak, with these secrets if it has such.
    pub(super) fn speaks(&self, secrets: Vec<Candidate>) -> Speaks {
        match self.scheme {
            Scheme::A12 => Speaks::A12 {
                role: Role::Sink,
                secrets,
            },
            Scheme::CurveCp => {
                let options = self.options.curvecp();
                Speaks::CurveCp {
                    extension: options.extension,
                    idle: options.idle,
                }
            }
            Scheme::Zmtp => {
                let options = self.options.zmtp();
                Speaks::Zmtp {
                    socket: Box::new(options.socket.clone()),
                    keyless: options.keyless,
                    high_water: options.high_water,
                }
            }
        }
    }

    /// What goes over the segments of its peers.
    pub(in crate::host) fn carries(&self) -> Carries {
        match self.scheme {
            Scheme::A12 => Carries::Events,
            Scheme::Zmtp => self.options.zmtp().carries(),
            Scheme::CurveCp => Carries::Stream { writable: true },
        }
    }

    /// Its process has been started.
    pub(in crate::host) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// One whose process a test plays, and that has been told to listen.
    #[cfg(test)]
    pub(in crate::host) fn played(
        script: ScriptId,
        listener: ListenerId,
        name: Name,
        required: Required,
        child: Child<ToFrameserver>,
        unproved: crate::ipc::Unproved,
    ) -> Self {
        let (link, _) = Socket::<(), ()>::pair().unwrap();
        Self {
            script,
            scheme: Scheme::A12,
            options: Options::Usual,
            listener: Some(listener),
            name,
            asked_for: (String::new(), 0),
            addresses: Vec::new(),
            sandbox: Vec::new(),
            required: Some(required),
            uses: BTreeMap::new(),
            named_required: false,
            named_window: false,
            wishing: false,
            asked: 0,
            listed: Vec::new(),
            wishes: [None, None],
            undecided: 0,
            sockets: Vec::new(),
            handed: false,
            child: Some(child),
            table: Table::new(Scheme::A12, unproved.full()),
            link: Some(link.into_fd()),
            failures: Failures::default(),
            refusals: Refusals::default(),
            strangers: Seen::default(),
        }
    }

    /// It has locked itself down and accepts connections.
    pub(in crate::host) fn is_ready(&self) -> bool {
        self.child.is_some() && self.link.is_none()
    }
}
