//! How a peer's service ends, whatever it speaks.

use tokio::sync::mpsc::Receiver;

use super::driver::ToPeer;
use super::link::Outbox;
use super::pipes::Pipes;
use super::session::{Overrun, Session};
use crate::ipc::frameserver::Ended;

/// How a peer's service ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) why: Ended,
    /// What has been said is to arrive.
    pub(super) polite: bool,
}

impl From<Ended> for End {
    fn from(why: Ended) -> Self {
        Self { why, polite: false }
    }
}

impl From<Overrun> for End {
    fn from(Overrun: Overrun) -> Self {
        Ended::Told.into()
    }
}

/// Waits until the peer is to end at once.
pub(super) async fn at_once(inbox: &mut Receiver<ToPeer>) {
    while !matches!(inbox.recv().await, None | Some(ToPeer::End(_))) {}
}

/// The connection is over: hands on what its program and the script have not had room for yet.
pub(super) async fn hand_on(
    mut session: Session,
    pipes: Option<Pipes>,
    inbox: &mut Receiver<ToPeer>,
    script: &Outbox,
) {
    let program = session.leave_program().zip(pipes);
    let mut more = session.end(script);
    if let Some((program, pipes)) = program {
        pipes.finish(program).await;
    }
    while more {
        tokio::select! {
            told = inbox.recv() => match told {
                Some(ToPeer::Script(epoch, message)) => {
                    if session.said(epoch, *message).is_err() {
                        return;
                    }
                }
                Some(ToPeer::Linked(epoch)) => session.linked(epoch),
                Some(_) => {}
                None => return,
            },
            () = script.relieved(), if session.is_held_up() => {}
        }
        more = session.linger(script);
    }
}
