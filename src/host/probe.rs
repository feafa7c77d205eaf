//! What a frameserver's sandbox denies on this system: one is started, without anything to serve.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::child::{Child, Did};
use crate::frameserver;
use crate::ipc::frameserver::{Denied, FromFrameserver, Listen, ToFrameserver};
use crate::ipc::{Socket, Unproved, link};
use crate::wire::a12::Role;

/// Why nothing was found out.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It cannot be started.
    #[error("a frameserver cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It says that it cannot work.
    #[error("a frameserver cannot work here: {0}")]
    Failed(String),
    /// It ended, or said nothing that makes sense.
    #[error("a frameserver ended without a word")]
    Silent,
    /// It said nothing in time.
    #[error("a frameserver said nothing for {} seconds", PATIENCE.as_secs())]
    Late,
}

/// Starts a frameserver that listens nowhere, and gives its report. To be called inside a runtime.
pub async fn probe() -> Result<Vec<Denied>, ProbeError> {
    let (say, mut said) = mpsc::channel(4);
    LocalSet::new()
        .run_until(async {
            let mut child = Child::spawn(frameserver::ROLE, move |did| {
                let say = say.clone();
                // Nobody waits any more once there is a report.
                async move { drop(say.send(did).await) }
            })?;
            let (data, _script) = Socket::<Vec<link::ToScript>, Vec<link::FromScript>>::pair()?;
            let listen = Listen {
                role: Role::Sink,
                secrets: Vec::new(),
                handshake: PATIENCE,
                unproved: Unproved::USUAL,
                penalties: true,
                require_sandbox: false,
            };
            child.tell_with(ToFrameserver::Listen(listen), vec![data.into_fd()]);
            let first = timeout(PATIENCE, said.recv()).await;
            let report = match first.map_err(|_| ProbeError::Late)? {
                Some(Did::Said(FromFrameserver::Ready(report))) => Ok(report),
                Some(Did::Said(FromFrameserver::Failed(why))) => Err(ProbeError::Failed(why)),
                _ => Err(ProbeError::Silent),
            };
            child.tell(ToFrameserver::StopListening);
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
