//! The scripts of the host that runs.

use std::path::Path;

use super::admin::Admin;
use super::exit::{Exit, Failure};
use super::output::printable;

/// The host of a state directory, and what its scripts are called.
pub(super) async fn host(state: &Path) -> Result<(Admin, Vec<String>), Failure> {
    let Some(mut host) = Admin::host(state)? else {
        return Err(Failure::because(
            Exit::Failed,
            format_args!(
                "no host runs on {}; `moonport run SCRIPT` starts one",
                state.display()
            ),
        ));
    };
    let scripts = host.status().await?.scripts;
    Ok((host, scripts.into_iter().map(|it| it.name).collect()))
}

/// The one of these scripts that somebody names, by its name or its file.
pub(super) fn named(script: &str, running: &[String]) -> Result<String, Failure> {
    let name = called(script);
    if running.contains(&name) {
        return Ok(name);
    }
    Err(Failure::because(
        Exit::Usage,
        format_args!(
            "no script {} runs, but {}",
            printable(script),
            list(running)
        ),
    ))
}

/// Scripts, for people.
pub(super) fn list(scripts: &[String]) -> String {
    let names: Vec<_> = scripts.iter().map(|name| printable(name)).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

/// What a script is called by, of its name or its file.
fn called(script: &str) -> String {
    let path = Path::new(script);
    let stem = match path.extension() {
        Some(extension) if extension == "lua" => path.file_stem(),
        _ => path.file_name(),
    };
    let stem = stem.unwrap_or_default().to_string_lossy();
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    stem.chars()
        .map(|c| if named(c) { c } else { '_' })
        .collect()
}
