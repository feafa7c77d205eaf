//! Sealing that hides and proves nothing, so that a fuzzer gets past it.
//!
//! No fuzzer guesses a tag, and one that is stopped by the first packet tests nothing behind it. In
//! here keystreams are zeros and every tag is right; lengths, types, numbers and keys are looked at
//! as ever. There are three places that ask [`is_on`]: `Cipher::apply`, `first_tag` and
//! `Direction::verify`.
//!
//! No release can contain it. It is not behind a feature, which somebody else's build could turn on,
//! but behind `cfg(test)` and `--cfg fuzzing`; with the latter this library is only built where
//! there are debug assertions, and the program is not built at all. `tests/it/fuzz.rs` holds that.

use std::cell::Cell;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread does without.
pub(super) fn is_on() -> bool {
    ON.get()
}

/// Does something without sealing, in this thread.
pub(super) fn without_sealing<T>(something: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(false);
        }
    }
    let _off = Off;
    ON.set(true);
    something()
}
