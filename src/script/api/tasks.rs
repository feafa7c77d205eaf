//! Tasks, timers, and the objects around vids. What waits does so in `lua/task.lua`.

use mlua::MultiValue;

use super::{Arg, Call, Entry, NOTHING, Ret, Ty, arg, form, inner, messages, opt, ret, segment};
use crate::ipc::Carries;
use crate::script::errors::Fault;
use crate::script::vids::Object;

const MS: Arg = arg("ms", Ty::Number);
const FUNCTION: Arg = arg("fn", Ty::Function);
const TIMER: &[Ret] = &[ret("timer", "cancels it: timer:cancel()")];

/// What is in the object around a vid.
pub(super) const SEGMENT: &[(&str, &str, &str)] = &[(
    "vid",
    "vid",
    "what it stands for, as other functions take it",
)];

pub(super) const ENTRIES: &[Entry] = &[
    inner(
        "moonport.task",
        &[form(&[FUNCTION, opt("...", Ty::Any, "")], NOTHING)],
        checked,
        "Runs a function as a task, with the other arguments: a coroutine that can wait, by moonport.sleep, moonport.any and the methods of segments. It begins when the running callback returns or the running task waits, and before a request is answered. Until it has waited for something it belongs to the first segment among its arguments, or else to what has started it; then to what it has waited for last. An error in it has the effect of one in a callback of that segment or listener.",
        "More than 10000 that wait to begin: a Lua error.",
    ),
    inner(
        "moonport.sleep",
        &[form(&[MS], NOTHING)],
        checked,
        "Waits so many milliseconds. Only in a task.",
        "What is not 0 to a year, and more than 10000 timers: a Lua error.",
    ),
    inner(
        "moonport.any",
        &[form(
            &[opt("...", Ty::Any, "")],
            &[
                ret("segment?", "which it was; nil: the time"),
                ret(
                    "status|segment|string|nil",
                    "of a segment its status, of a listener the client, `timeout` of the time",
                ),
                ret(
                    "status|string|nil",
                    "of a listener the request; `terminated` or `deleted`",
                ),
            ],
        )],
        things,
        "Waits for the first of several: the next status of a segment, the next client of a listener, which is accepted, or so many milliseconds. Only in a task.",
        "What is neither a segment's object nor a number: a Lua error.",
    ),
    inner(
        "moonport.segment",
        &[form(
            &[arg("vid", Ty::Vid)],
            &[ret("segment", "the object; the same one for the same vid")],
        )],
        wrapped,
        "The object of a segment or listener, with methods that wait. Once one of them was used, what comes for the vid is kept until a task waits for it, and the peer waits, too, when much is kept; a callback, if there is one, hears it at the same time. That ends when the script has let go of the object.",
        "A vid that does not exist: a Lua error.",
    ),
    inner(
        "moonport.after",
        &[form(&[MS, FUNCTION], TIMER)],
        checked,
        "Calls a function once, after so many milliseconds, counted from the time at which the script was told what it is at. An error in it is reported, and the script goes on, as for a clock pulse.",
        "What is not 0 to a year, and more than 10000 timers: a Lua error.",
    ),
    inner(
        "moonport.every",
        &[form(&[MS, FUNCTION], TIMER)],
        checked,
        "Calls a function again and again, with so many milliseconds between; what could not be called in time is left out.",
        "What is not 1 to a year, and more than 10000 timers: a Lua error.",
    ),
    inner(
        "segment:send",
        &[
            form(
                &[arg("parts", Ty::Table)],
                &[ret("boolean", "whether all of it was sent")],
            ),
            form(
                &[arg("text", Ty::Text), opt("...", Ty::Text, "no more parts")],
                &[ret("boolean", "whether all of it was sent")],
            ),
        ],
        send,
        "Sends text, as message_target does; to a client that takes messages of parts, these, as moonport.send does.",
        "As for these.",
    ),
    inner(
        "segment:close",
        &[form(&[], NOTHING)],
        close,
        "Ends what the vid stands for, as delete_image, if it is not deleted already.",
        "",
    ),
    inner(
        "segment:events",
        &[form(&[], &[ret("fun(): status?", "for a loop")])],
        checked,
        "For `for status in client:events() do`: waits for one status after the other. The loop ends when the segment has terminated or is deleted.",
        "In what is no task: a Lua error.",
    ),
    inner(
        "segment:expect",
        &[form(
            &[
                opt("kind", Ty::Text, "any"),
                opt("ms", Ty::Number, "for ever"),
            ],
            &[
                ret("status?", "the status"),
                ret("string?", "without one: `timeout` or `terminated`"),
            ],
        )],
        checked,
        "Waits for the next status of a kind; others that come before are passed over. If the segment is deleted the task ends, as if by an error that nobody is told of.",
        "In what is no task: a Lua error.",
    ),
    inner(
        "segment:accept",
        &[form(
            &[],
            &[
                ret("segment?", "the client"),
                ret(
                    "status|string",
                    "the request; without a client: `terminated`",
                ),
            ],
        )],
        checked,
        "Waits for the next request of a listener, or of a segment, and accepts it. An error before the task waits again denies it. If the vid is deleted the task ends, as if by an error that nobody is told of.",
        "In what is no task: a Lua error.",
    ),
    inner(
        "timer:cancel",
        &[form(
            &[],
            &[ret("boolean", "whether it would still have come")],
        )],
        checked,
        "Ends what moonport.after or moonport.every has begun.",
        "",
    ),
];

/// The arguments are looked at; the rest is in Lua.
fn checked(call: &Call<'_>) -> Result<MultiValue, Fault> {
    call.answer(MultiValue::from_vec(call.values.clone()))
}

fn wrapped(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = call.vid(0);
    if call.core.world.borrow().object(vid).is_none() {
        return Err(segment::missing(call));
    }
    call.answer(vid.number())
}

fn things(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let known = |value: &mlua::Value| value.is_table() || value.is_number() || value.is_integer();
    match call.values.iter().position(|value| !known(value)) {
        Some(at) => Err(
            Fault::plain(format!("argument #{} cannot be waited for", at + 1))
                .hint("give what moonport.segment makes of a vid, or milliseconds"),
        ),
        None if call.values.is_empty() => Err(Fault::plain("there is nothing to wait for")),
        None => checked(call),
    }
}

fn send(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = call.vid(0);
    let carries = match call.core.world.borrow().object(vid) {
        Some(Object::Segment(segment)) => segment.carries,
        _ => Carries::Events,
    };
    if matches!(carries, Carries::Messages { .. }) {
        return messages::send(call);
    }
    match call.text(1) {
        Ok(Some(text)) if call.form == 1 => call.answer(segment::send_text(call, vid, &text) == 0),
        _ => Err(Fault::plain("this client takes text, not a table of parts")),
    }
}

fn close(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let exists = call.core.world.borrow().object(call.vid(0)).is_some();
    if exists {
        return segment::delete_image(call);
    }
    call.answer(())
}
