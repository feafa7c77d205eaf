//! What the sandboxes deny on this system: a frameserver is started without anything to serve, and a
//! script process without a script.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::child::{Child, Did};
use crate::ipc::frameserver::{FromFrameserver, Listen, Speaks, ToFrameserver};
use crate::ipc::script::{ErrorMode, FromScript, Limits, Permissions, Run, ToScript};
use crate::ipc::{Denied, Socket, Unproved, link};
use crate::wire::a12::Role;
use crate::{frameserver, script};

/// Why nothing was found out.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It cannot be started.
    #[error("it cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It says that it cannot work.
    #[error("it cannot work here: {0}")]
    Failed(String),
    /// It ended, or said nothing that makes sense.
    #[error("it ended without a word")]
    Silent,
    /// It said nothing in time.
    #[error("it said nothing for {} seconds", PATIENCE.as_secs())]
    Late,
}

/// Starts a frameserver that listens nowhere, and gives its report. To be called inside a runtime.
pub async fn probe_frameserver() -> Result<Vec<Denied>, ProbeError> {
    let start = |child: &mut Child<ToFrameserver>| {
        let (data, _script) = Socket::<Vec<link::ToScript>, Vec<link::FromScript>>::pair()?;
        let listen = Listen {
            speaks: Speaks::A12 {
                role: Role::Sink,
                secrets: Vec::new(),
            },
            handshake: PATIENCE,
            unproved: Unproved::USUAL,
            penalties: true,
            require_sandbox: false,
        };
        child.tell_with(ToFrameserver::Listen(listen), vec![data.into_fd()]);
        child.tell(ToFrameserver::StopListening);
        Ok(())
    };
    probe(frameserver::ROLE, start, |said| match said {
        FromFrameserver::Ready(report) => Ok(report),
        FromFrameserver::Failed(why) => Err(ProbeError::Failed(why)),
        _ => Err(ProbeError::Silent),
    })
    .await
}

/// Starts a script process whose script is not there, and gives its report. To be called inside a
/// runtime.
pub async fn probe_script() -> Result<Vec<Denied>, ProbeError> {
    let nowhere = PathBuf::new;
    let start = |child: &mut Child<ToScript>| {
        child.tell(ToScript::Run(Run {
            program: nowhere(),
            appl: "probe".into(),
            directory: false,
            arguments: Vec::new(),
            state: nowhere(),
            temporary: nowhere(),
            errors: ErrorMode::Isolate,
            limits: Limits::default(),
            require_sandbox: false,
            permissions: Permissions::default(),
        }));
        Ok(())
    };
    probe(script::ROLE, start, |said| match said {
        FromScript::Confined(report) => Ok(report),
        _ => Err(ProbeError::Silent),
    })
    .await
}

/// Starts a child, and makes a report of the first that it says.
async fn probe<Out, In>(
    role: &str,
    start: impl FnOnce(&mut Child<Out>) -> io::Result<()>,
    report: impl FnOnce(In) -> Result<Vec<Denied>, ProbeError>,
) -> Result<Vec<Denied>, ProbeError>
where
    Out: Serialize + 'static,
    In: DeserializeOwned + 'static,
{
    let (say, mut said) = mpsc::channel(4);
    LocalSet::new()
        .run_until(async {
            let mut child = Child::spawn(role, move |did| {
                let say = say.clone();
                // Nobody waits any more once there is a report.
                async move { drop(say.send(did).await) }
            })?;
            start(&mut child)?;
            let first = timeout(PATIENCE, said.recv()).await;
            let report = match first.map_err(|_| ProbeError::Late)? {
                Some(Did::Said(first)) => report(first),
                _ => Err(ProbeError::Silent),
            };
            // It ends by itself; with the child's handle it would be killed at the latest.
            while let Ok(Some(did)) = timeout(PATIENCE, said.recv()).await {
                if let Did::Exited(_) = did {
                    break;
                }
            }
            report
        })
        .await
}

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
