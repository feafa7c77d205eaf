//! The log: lines on standard error, for people, for programs, or for the journal.

use std::fmt;
use std::io;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::args::{Command, Global, LogFormat};
use super::exit::{Exit, Failure, OrExit};
use super::output;

/// Starts it.
pub(super) fn start(command: &Command, global: &Global) -> Result<(), Failure> {
    let usual = match command {
        Command::Run(_) => "info",
        _ => "warn",
    };
    let filter = global.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter)
        .or_exit_with(Exit::Usage, || format!("{filter:?} is no filter for --log"))?;
    let color = output::wanted(global.color, io::IsTerminal::is_terminal(&io::stderr()));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unheard(io::stderr()))
        // It would report on standard error that standard error fails, and panic.
        .log_internal_errors(false)
        .with_ansi(color);
    let format = match global.log_format {
        LogFormat::Auto if is_journal() => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Text,
        format => format,
    };
    match format {
        LogFormat::Text | LogFormat::Auto => log.fmt_fields(fields()).init(),
        LogFormat::Json => log.json().init(),
        LogFormat::Journald => log
            .with_ansi(false)
            .fmt_fields(fields())
            .event_format(Journal)
            .init(),
    }
    Ok(())
}

/// Whether standard error is the stream to the journal that systemd speaks of: `DEVICE:INODE`.
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let about = rustix::fs::fstat(rustix::stdio::stderr());
    about.is_ok_and(|about| stream == format!("{}:{}", about.st_dev, about.st_ino))
}

/// Lines as `sd-daemon(3)` has them: each begins with its priority, the later ones of a record, too.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        let priority = match *about.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        writeln!(writer, "<{priority}>{}: {first}", about.target())?;
        lines.try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
    }
}

/// Fields as people read them. What is said about an error in a script stands on lines of its own,
/// and what has several lines is indented: a line that begins at the margin is ours.
fn fields() -> impl for<'w> FormatFields<'w> + 'static {
    debug_fn(|writer, field, value| {
        let text = format!("{value:?}").replace('\n', "\n    ");
        match field.name() {
            "message" => write!(writer, "{text}"),
            name @ ("in" | "so" | "hint" | "traceback") => write!(writer, "\n  {name}: {text}"),
            name => write!(writer, " {name}={text}"),
        }
    })
}

/// Standard error, for words that are lost without harm where nobody can take them.
struct Unheard(io::Stderr);

impl io::Write for Unheard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
