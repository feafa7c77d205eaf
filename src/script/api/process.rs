//! The script's own process.

use std::time::{SystemTime, UNIX_EPOCH};

use mlua::MultiValue;

use super::{Call, Entry, NOTHING, Ty, arg, entry, form, opt, ret};
use crate::script::core::Ending;
use crate::script::errors::Fault;
use crate::script::text::{cut, printable};

const EXIT_SILENT: f64 = 256.0;

/// The most bytes of what is said on the way out.
const MAX_MESSAGE: usize = 4096;

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "shutdown",
        &[form(
            &[
                opt("message", Ty::Text, "nothing"),
                opt("code", Ty::Number, "EXIT_SUCCESS"),
            ],
            NOTHING,
        )],
        shutdown,
        "Ends the script: the running callback finishes, what is queued is dispatched, then NAME_shutdown runs. The message is said on the way out. EXIT_SILENT: clients see the connection break rather than a goodbye.",
        "Control characters in the message are dropped; the code is 0..255.",
    ),
    entry(
        "warning",
        &[form(
            &[arg("message", Ty::Text), opt("always", Ty::Flag, "false")],
            NOTHING,
        )],
        warning,
        "Writes a message to standard error, with the appl's name, as a line of the host's log.",
        "Control characters are dropped; nothing left: nothing written.",
    ),
    entry(
        "appl_arguments",
        &[form(&[], &[ret("string[]", "the words after `--`")])],
        appl_arguments,
        "The words that were given to the script.",
        "",
    ),
    entry(
        "system_identstr",
        &[form(&[], &[ret("string", "name and version")])],
        system_identstr,
        "Which program runs the script.",
        "",
    ),
    entry(
        "benchmark_timestamp",
        &[form(
            &[opt("unit", Ty::Number, "0")],
            &[ret(
                "number",
                "0: milliseconds, 1: seconds since 1970, -1: microseconds",
            )],
        )],
        benchmark_timestamp,
        "What time it is.",
        "Any other unit is fatal.",
    ),
];

fn message(call: &Call<'_>) -> Result<String, Fault> {
    let text = call.text(0)?.unwrap_or_default();
    Ok(printable(&String::from_utf8_lossy(&text)))
}

fn shutdown(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let code = call.number(1).unwrap_or_default();
    let silent = code == EXIT_SILENT;
    let ending = Ending {
        code: if silent { 0 } else { code as u8 },
        silent,
        message: cut(&message(call)?, MAX_MESSAGE).to_owned(),
    };
    *call.core.ending.borrow_mut() = Some(ending);
    call.answer(())
}

fn warning(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let message = message(call)?;
    if !message.is_empty() {
        call.core.warn(&message);
    }
    call.answer(())
}

fn appl_arguments(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let arguments = call.core.run.arguments.iter().map(String::as_str);
    call.answer(call.lua.create_sequence_from(arguments)?)
}

fn system_identstr(call: &Call<'_>) -> Result<MultiValue, Fault> {
    call.answer(concat!("Moonport ", env!("CARGO_PKG_VERSION")))
}

fn benchmark_timestamp(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let unit = call.number(0).unwrap_or_default();
    let time = if unit == 0.0 {
        now.as_millis() as f64
    } else if unit == 1.0 {
        now.as_secs() as f64
    } else if unit == -1.0 {
        now.as_micros() as f64
    } else {
        return Err(Fault::fatal(format!("{unit} is no unit of time"))
            .hint("0: milliseconds, 1: seconds, -1: microseconds"));
    };
    call.answer(time)
}
