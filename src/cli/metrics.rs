//! `moonport metrics`: what the host counts.

use std::path::Path;

use super::admin::Admin;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::status::no_host;

pub(super) async fn run(state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Some(mut host) = Admin::host(state)? else {
        return Err(no_host(state));
    };
    out.raw(host.metrics().await?.as_bytes())?;
    Ok(Exit::Done)
}
