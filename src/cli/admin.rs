//! An admin's requests: put to the host where one runs, else done on the keystore itself.

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use identity::{Name, PublicKey};
use keystore::audit::Head;
use keystore::{
    Actor, ApplyError, Change, Directory, Entry, HostKeyChange, HostKeys, Keystore, Listed, Note,
    OpenWindow, Reason, Sled, Window,
};
use tokio::time::timeout;

use super::exit::{Exit, Failure, OrExit};
use super::rooms::{self, Caller, Doorman};
use crate::ipc::admin::{Ending, FromHost, Reloaded, SessionStatus, Status, ToHost};
use crate::ipc::script::{Report, Severity};
use crate::ipc::{Asked, AsyncSocket, Outcome, Received, RecvError, Said, Socket};

/// Who does what an admin asks.
pub(super) enum Admin {
    /// The host that runs.
    Host(AsyncSocket<ToHost, FromHost>),
    /// No host runs: this process, which holds the keystore meanwhile.
    Store(Box<(Directory, Sled)>),
}

impl Admin {
    /// Finds the host of a state directory, or opens the keystore in it. In the runtime that is
    /// entered.
    pub(super) fn open(state: &Path) -> Result<Self, Failure> {
        // Why it cannot be reached is told better by what opens the directory it should be in.
        if let Ok(Some(host)) = Self::host(state) {
            return Ok(host);
        }
        match rooms::open(state) {
            Ok(store) => Ok(Self::Store(Box::new(store))),
            // It may have been about to start.
            Err(failure) => Self::host(state).ok().flatten().ok_or(failure),
        }
    }

    /// Finds the host of a state directory, if one runs.
    pub(super) fn host(state: &Path) -> Result<Option<Self>, Failure> {
        let path = rooms::socket_path(state);
        match Socket::connect(&path) {
            Ok(socket) => Ok(Some(Self::Host(
                AsyncSocket::new(socket).or_exit(Exit::Failed)?,
            ))),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).or_exit_with(Exit::Keystore, || {
                format!("cannot reach the host over {}", path.display())
            }),
        }
    }

    pub(super) async fn keys(&mut self) -> Result<Vec<Entry>, Failure> {
        match self.ask(ToHost::Keys).await? {
            FromHost::Keys(keys) => Ok(keys),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Makes changes, all of them or none, and gives the sessions that have ended by it. Rehearsed,
    /// nothing is changed, and they are those that would.
    pub(super) async fn apply(
        &mut self,
        changes: Vec<Change>,
        rehearse: bool,
    ) -> Result<Vec<SessionStatus>, Failure> {
        match self.ask(ToHost::Apply { changes, rehearse }).await? {
            FromHost::Applied(ended) => Ok(ended),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Opens a window, and gives it as it then is.
    pub(super) async fn open_window(&mut self, open: OpenWindow) -> Result<Window, Failure> {
        let id = open.id;
        self.apply(vec![Change::OpenWindow(open)], false).await?;
        let windows = self.windows().await?;
        let opened = windows.into_iter().find(|window| window.id == id);
        opened.ok_or_else(|| Failure::new(Exit::Keystore, ApplyError::NoSuchWindow))
    }

    /// Copies what goes into a backup to a new folder; gives the epoch and how many keys there are.
    pub(super) async fn snapshot(&mut self, folder: &Path) -> Result<(u64, u64), Failure> {
        // The host may work in another directory.
        let folder = std::path::absolute(folder).or_exit(Exit::Usage)?;
        match self.ask(ToHost::Snapshot(folder)).await? {
            FromHost::Snapshot { epoch, keys } => Ok((epoch, keys)),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn windows(&mut self) -> Result<Vec<Window>, Failure> {
        match self.ask(ToHost::Windows).await? {
            FromHost::Windows(windows) => Ok(windows),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn sessions(&mut self) -> Result<Vec<SessionStatus>, Failure> {
        match self.ask(ToHost::Sessions).await? {
            FromHost::Sessions(sessions) => Ok(sessions),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn host_key(&mut self) -> Result<PublicKey, Failure> {
        match self.ask(ToHost::HostKey).await? {
            FromHost::HostKey(key) => Ok(key),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn audit_head(&mut self) -> Result<Option<Head>, Failure> {
        match self.ask(ToHost::AuditHead).await? {
            FromHost::AuditHead(head) => Ok(head),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn host_keys(&mut self) -> Result<Vec<Listed>, Failure> {
        match self.ask(ToHost::HostKeys).await? {
            FromHost::HostKeys(listed) => Ok(listed),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Returns what there is then.
    pub(super) async fn change_host_key(
        &mut self,
        tag: Name,
        change: HostKeyChange,
        rehearsal: bool,
    ) -> Result<Listed, Failure> {
        let request = ToHost::ChangeHostKey {
            tag,
            change,
            rehearsal,
        };
        match self.ask(request).await? {
            FromHost::HostKeyChanged(listed) => Ok(listed),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Lets a key in that has been proved to somebody else's server, and notes it.
    pub(super) async fn admit(
        &mut self,
        caller: Caller,
        doorman: &mut Doorman,
    ) -> Result<Result<Entry, Reason>, Failure> {
        let Self::Store(store) = self else {
            let Caller { name, key, from } = caller;
            return match self.ask(ToHost::Admit { name, key, from }).await? {
                FromHost::Admission(answer) => Ok(answer),
                other => Err(out_of_turn(&other)),
            };
        };
        let (_, store) = store.as_mut();
        let now = rooms::now();
        let came = rooms::admit(store, now, &caller.name, &caller.key).or_exit(Exit::Keystore)?;
        let mut notes = doorman.sums();
        notes.extend(doorman.note(caller, &came));
        if !notes.is_empty() {
            let noted = notes.into_iter().try_for_each(|note| store.note(now, note));
            noted
                .and_then(|()| store.settle(now))
                .or_exit(Exit::Keystore)?;
        }
        Ok(came.map(|admitted| admitted.entry))
    }

    /// Has a script loaded again.
    pub(super) async fn reload(&mut self, script: String) -> Result<Reloaded, Failure> {
        match self.ask(ToHost::Reload(script)).await? {
            FromHost::Reloaded(done) => Ok(done),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has a running script evaluate something, however long that takes; `hear` is told what is said
    /// meanwhile. Whoever does not wait for it cancels it.
    pub(super) async fn evaluate(
        self,
        script: &str,
        asked: Asked,
        mut hear: impl FnMut(Said) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let Self::Host(socket) = self else {
            return Err(Failure::because(Exit::Failed, "no host runs"));
        };
        let script = script.to_owned();
        let request = ToHost::Evaluate { script, asked };
        in_time(socket.send(&request, &[]))
            .await?
            .map_err(|_| gone())?;
        loop {
            match socket.recv().await {
                Ok(Received::Message(FromHost::Said(said), _)) => hear(said)?,
                Ok(Received::Message(FromHost::Evaluated(outcome), _)) => return Ok(outcome),
                Ok(Received::Message(FromHost::Failed(why), _)) => {
                    return Ok(Err(Report::new(Severity::Error, why)));
                }
                Ok(Received::Message(other, _)) => return Err(out_of_turn(&other)),
                Err(RecvError::Garbage) => return Err(other_version()),
                Ok(Received::Closed) | Err(_) => return Err(gone()),
            }
        }
    }

    pub(super) async fn status(&mut self) -> Result<Status, Failure> {
        match self.ask(ToHost::Status).await? {
            FromHost::Status(status) => Ok(status),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn metrics(&mut self) -> Result<String, Failure> {
        match self.ask(ToHost::Metrics).await? {
            FromHost::Metrics(lines) => Ok(lines.join("\n") + "\n"),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has the host end; gives how many sessions it has. One that is gone before it says so has
    /// none.
    pub(super) async fn end(&mut self, how: Ending) -> Result<u32, Failure> {
        let Self::Host(socket) = self else {
            return Ok(0);
        };
        let asked = in_time(socket.send(&ToHost::End(how), &[])).await?;
        if asked.is_err() {
            return Ok(0);
        }
        match in_time(socket.recv()).await? {
            Ok(Received::Message(FromHost::Ending { sessions }, _)) => Ok(sessions),
            Ok(Received::Message(other, _)) => Err(out_of_turn(&other)),
            Err(RecvError::Garbage) => Err(other_version()),
            Ok(Received::Closed) | Err(_) => Ok(0),
        }
    }

    /// Waits until the host is gone.
    pub(super) async fn gone(&mut self) {
        if let Self::Host(socket) = self {
            while let Ok(Received::Message(..)) = socket.recv().await {}
        }
    }

    async fn ask(&mut self, request: ToHost) -> Result<FromHost, Failure> {
        let answer = match self {
            Self::Host(socket) => put(socket, request).await?,
            Self::Store(store) => do_it(store, request)?,
        };
        match answer {
            FromHost::Failed(why) => Err(Failure::because(Exit::Keystore, why)),
            answer => Ok(answer),
        }
    }
}

/// Puts a request to the host, and waits for the answer.
async fn put(socket: &AsyncSocket<ToHost, FromHost>, request: ToHost) -> Result<FromHost, Failure> {
    in_time(socket.send(&request, &[]))
        .await?
        .map_err(|_| gone())?;
    let mut whole: Option<FromHost> = None;
    loop {
        let part = match in_time(socket.recv()).await? {
            Ok(Received::Message(part, _)) => part,
            Err(RecvError::Garbage) => return Err(other_version()),
            Ok(Received::Closed) | Err(_) => return Err(gone()),
        };
        // Lists come in parts, the last of which is empty.
        let last = match &part {
            FromHost::Keys(keys) => keys.is_empty(),
            FromHost::Windows(windows) => windows.is_empty(),
            FromHost::Applied(ended) => ended.is_empty(),
            FromHost::Sessions(sessions) => sessions.is_empty(),
            FromHost::Metrics(lines) => lines.is_empty(),
            FromHost::Status(status) => status.listeners.is_empty() && status.scripts.is_empty(),
            _ => true,
        };
        match (&mut whole, part) {
            (Some(FromHost::Keys(all)), FromHost::Keys(more)) => all.extend(more),
            (Some(FromHost::Windows(all)), FromHost::Windows(more)) => all.extend(more),
            (Some(FromHost::Applied(all)), FromHost::Applied(more)) => all.extend(more),
            (Some(FromHost::Sessions(all)), FromHost::Sessions(more)) => all.extend(more),
            (Some(FromHost::Metrics(all)), FromHost::Metrics(more)) => all.extend(more),
            (Some(FromHost::Status(all)), FromHost::Status(more)) => {
                all.listeners.extend(more.listeners);
                all.scripts.extend(more.scripts);
            }
            (whole, part) => *whole = Some(part),
        }
        if let (true, Some(answer)) = (last, whole.take_if(|_| last)) {
            return Ok(answer);
        }
    }
}

fn gone() -> Failure {
    Failure::because(
        Exit::Failed,
        "the host ended before it answered; see its log",
    )
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(PATIENCE, work).await.map_err(|_| {
        Failure::because(
            Exit::Failed,
            "the host runs, but does not answer; see its log",
        )
    })
}

fn other_version() -> Failure {
    Failure::because(
        Exit::Failed,
        "the host gave an answer that this program does not know: it is of another version, start it again",
    )
}

fn out_of_turn(_: &FromHost) -> Failure {
    other_version()
}

/// Does what the host would do, were there one.
fn do_it(store: &mut (Directory, Sled), request: ToHost) -> Result<FromHost, Failure> {
    let (directory, store) = store;
    let now = rooms::now();
    let by = Actor::User(rustix::process::geteuid().as_raw());
    Ok(match request {
        ToHost::Keys => FromHost::Keys(store.entries().or_exit(Exit::Keystore)?),
        ToHost::Apply {
            changes,
            rehearse: true,
        } => {
            store.rehearse(now, &by, &changes).map_err(not_applied)?;
            FromHost::Applied(Vec::new())
        }
        ToHost::Apply { changes, .. } => {
            store.apply(now, &by, &changes).map_err(not_applied)?;
            FromHost::Applied(Vec::new())
        }
        ToHost::Sessions => FromHost::Sessions(Vec::new()),
        ToHost::Snapshot(folder) => rooms::snapshot(store, now, &folder).or_exit(Exit::Keystore)?,
        ToHost::Windows => FromHost::Windows(store.windows(now).or_exit(Exit::Keystore)?),
        ToHost::HostKey => FromHost::HostKey(rooms::host_key(directory)?),
        ToHost::HostKeys => {
            let kept = HostKeys::new(directory).or_exit(Exit::Keystore)?;
            FromHost::HostKeys(kept.list().or_exit(Exit::Keystore)?)
        }
        ToHost::ChangeHostKey {
            tag,
            change,
            rehearsal,
        } => {
            let kept = HostKeys::new(directory).or_exit(Exit::Keystore)?;
            let deed = change.deed();
            let changed = kept.change(&tag, now.wall_ms, change, rehearsal);
            let (listed, _) = changed.or_exit(Exit::Keystore)?;
            if !rehearsal {
                let note = Note::HostKey {
                    by,
                    tag,
                    change: deed,
                    key: listed.ring.current,
                };
                store
                    .note(now, note)
                    .and_then(|()| store.settle(now))
                    .or_exit(Exit::Keystore)?;
            }
            FromHost::HostKeyChanged(listed)
        }
        ToHost::AuditHead => FromHost::AuditHead(store.audit_head()),
        // Only a host can say; an admission without one is done above.
        ToHost::Status
        | ToHost::Metrics
        | ToHost::End(_)
        | ToHost::Admit { .. }
        | ToHost::Reload(_)
        | ToHost::Evaluate { .. } => {
            return Err(Failure::because(Exit::Failed, "no host runs"));
        }
    })
}

fn not_applied(error: ApplyError) -> Failure {
    Failure::new(Exit::Keystore, error)
}

/// How long the host may take for an answer; a revocation takes the longest.
const PATIENCE: Duration = Duration::from_secs(30);
