//! `moonport stop`: the host ends in order, and that is waited for.

use std::path::Path;

use super::admin::Admin;
use super::args::Stop;
use super::exit::{Exit, Failure};
use super::output::{Output, count};
use super::status::no_host;
use crate::ipc::admin::Ending;

pub(super) async fn run(stop: Stop, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Some(mut host) = Admin::host(state)? else {
        return Err(no_host(state));
    };
    let how = match (stop.now, stop.drain) {
        (true, _) => Ending::AtOnce,
        (false, drain) => Ending::InOrder { drain },
    };
    let sessions = host.end(how).await?;
    if sessions > 0 && out.terminal {
        out.line(format_args!("{} to end", count(sessions, "session")))?;
    }
    host.gone().await;
    Ok(Exit::Done)
}
