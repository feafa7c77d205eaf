//! A window, as it goes on.

use std::path::Path;
use std::time::Duration;

use keystore::WindowId;
use tokio::time::{MissedTickBehavior, interval};

use super::{named, shown};
use crate::cli::admin::Admin;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;

/// Shows a window until it ends, or somebody has seen enough. On a terminal it is drawn again each
/// second, elsewhere what is different is told in lines.
pub(super) async fn watch(text: &str, state: &Path, out: &Output) -> Result<Exit, Failure> {
    tokio::select! {
        done = go_on(text, state, out) => done,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

async fn go_on(text: &str, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let mut tick = interval(SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut id: Option<WindowId> = None;
    let mut drawn = 0;
    let mut told: Vec<String> = Vec::new();
    loop {
        tick.tick().await;
        // Whoever holds the keystore keeps others out of it, so it is not held in between.
        let mut admin = Admin::open(state)?;
        let (windows, keys) = (admin.windows().await?, admin.keys().await?);
        drop(admin);
        let window = match id {
            None => named(text, &windows)?,
            // It ended a day ago.
            Some(id) => match windows.iter().find(|window| window.id == id) {
                Some(window) => window,
                None => return Ok(Exit::Done),
            },
        };
        id = Some(window.id);
        let lines = shown::lines(window, &keys);
        if out.terminal {
            out.raw(redraw(&lines, drawn, width()).as_bytes())?;
            drawn = lines.len();
        } else {
            // Time goes by in every line; only what is lasting is told.
            let news = shown::news(window, &keys);
            for line in news.iter().filter(|line| !told.contains(line)) {
                out.line(line)?;
            }
            told = news;
        }
        if window.ended.is_some() {
            return Ok(Exit::Done);
        }
    }
}

/// Goes up to where it was drawn before, and draws it again. A line that the terminal would break
/// is cut, since it would be two.
fn redraw(lines: &[String], drawn: usize, width: usize) -> String {
    let mut text = match drawn {
        0 => String::new(),
        drawn => format!("\u{1b}[{drawn}A\u{1b}[J"),
    };
    for line in lines {
        text.extend(line.chars().take(width));
        text.push('\n');
    }
    text
}

/// How many characters fit into a line.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    match size.map(|size| usize::from(size.ws_col)) {
        Ok(width) if width > 0 => width,
        _ => 80,
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_drawn_over() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(redraw(&lines, 0, 80), "a\nb\n");
        assert_eq!(redraw(&lines, 3, 80), "\u{1b}[3A\u{1b}[Ja\nb\n");
        assert_eq!(redraw(&["länger".into()], 0, 2), "lä\n");
    }
}
