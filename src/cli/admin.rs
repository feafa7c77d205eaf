//! An admin's requests: put to the host where one runs, else done on the keystore itself.

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use identity::{Name, PublicKey, Secret};
use keystore::{
    ApplyError, Change, Directory, Entry, HostKeyChange, HostKeys, Keystore, Listed, OpenWindow,
    Origin, Scope, Sled, Window, WindowEnd, WindowId,
};
use tokio::time::timeout;

use super::exit::{Exit, Failure, OrExit};
use super::rooms;
use crate::ipc::admin::{FromHost, Status, ToHost};
use crate::ipc::{AsyncSocket, Received, RecvError, Socket};

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

    pub(super) async fn accept(
        &mut self,
        key: PublicKey,
        scope: Scope,
        label: Option<String>,
    ) -> Result<(), Failure> {
        match self.ask(ToHost::Accept { key, scope, label }).await? {
            FromHost::Done => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Returns how many sessions were ended.
    pub(super) async fn remove(&mut self, key: PublicKey) -> Result<u32, Failure> {
        match self.ask(ToHost::Remove(key)).await? {
            FromHost::Removed { sessions } => Ok(sessions),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn open_window(
        &mut self,
        name: Name,
        secret: Secret,
        human: bool,
        count: u32,
        lasts: Duration,
    ) -> Result<Window, Failure> {
        let open = ToHost::OpenWindow {
            name,
            secret,
            count,
            lasts,
            human,
        };
        match self.ask(open).await? {
            FromHost::Window(window) => Ok(window),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn windows(&mut self) -> Result<Vec<Window>, Failure> {
        match self.ask(ToHost::Windows).await? {
            FromHost::Windows(windows) => Ok(windows),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn close_window(&mut self, window: WindowId) -> Result<(), Failure> {
        match self.ask(ToHost::CloseWindow(window)).await? {
            FromHost::Done => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    pub(super) async fn host_key(&mut self) -> Result<PublicKey, Failure> {
        match self.ask(ToHost::HostKey).await? {
            FromHost::HostKey(key) => Ok(key),
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

    pub(super) async fn status(&mut self) -> Result<Status, Failure> {
        match self.ask(ToHost::Status).await? {
            FromHost::Status(status) => Ok(status),
            other => Err(out_of_turn(&other)),
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
    let gone = || {
        Failure::because(
            Exit::Failed,
            "the host ended before it answered; see its log",
        )
    };
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
            _ => true,
        };
        match (&mut whole, part) {
            (Some(FromHost::Keys(all)), FromHost::Keys(more)) => all.extend(more),
            (Some(FromHost::Windows(all)), FromHost::Windows(more)) => all.extend(more),
            (whole, part) => *whole = Some(part),
        }
        if let (true, Some(answer)) = (last, whole.take_if(|_| last)) {
            return Ok(answer);
        }
    }
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
    let mut apply = |change: Change| -> Result<(), Failure> {
        store.apply(now, &[change]).map(drop).map_err(not_applied)
    };
    Ok(match request {
        ToHost::Keys => FromHost::Keys(store.entries().or_exit(Exit::Keystore)?),
        ToHost::Accept { key, scope, label } => {
            apply(Change::Accept { key, scope, label })?;
            FromHost::Done
        }
        ToHost::Remove(key) => {
            apply(Change::Remove { key })?;
            FromHost::Removed { sessions: 0 }
        }
        ToHost::OpenWindow {
            name,
            secret,
            count,
            lasts,
            human,
        } => {
            let id = WindowId(getrandom::u64().or_exit(Exit::Failed)?);
            apply(Change::OpenWindow(OpenWindow {
                id,
                name,
                secret,
                human,
                count,
                lasts_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
                origin: Origin::Admin,
            }))?;
            let windows = store.windows(now).or_exit(Exit::Keystore)?;
            let opened = windows.into_iter().find(|window| window.id == id);
            FromHost::Window(opened.ok_or_else(|| not_applied(ApplyError::NoSuchWindow))?)
        }
        ToHost::Windows => FromHost::Windows(store.windows(now).or_exit(Exit::Keystore)?),
        ToHost::CloseWindow(window) => {
            let why = WindowEnd::Closed;
            apply(Change::CloseWindow { window, why })?;
            FromHost::Done
        }
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
            let changed = kept.change(&tag, now.wall_ms, change, rehearsal);
            FromHost::HostKeyChanged(changed.or_exit(Exit::Keystore)?.0)
        }
        // Only a host can say.
        ToHost::Status => return Err(Failure::because(Exit::Failed, "no host runs")),
    })
}

fn not_applied(error: ApplyError) -> Failure {
    Failure::new(Exit::Keystore, error)
}

/// How long the host may take for an answer; a revocation takes the longest.
const PATIENCE: Duration = Duration::from_secs(30);
