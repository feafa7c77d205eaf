//! Moonport, a Lua-scriptable network host.
//!
//! One binary, three kinds of process, and a room for each:
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`wire`] | what bytes mean: protocols as state machines without sockets, clock, keystore or Lua |
//! | [`ipc`] | what the processes say to each other, and the socket they say it over |
//! | [`formats`] | key files of other programs, and of our own: bytes in, values out |
//! | [`host`] | who decides: supervision, admission, windows, the key room, sessions, the control socket |
//! | [`frameserver`] | who faces the network: accept loop, a driver per peer |
//! | [`sandbox`] | what is left to a frameserver and to a script, and what denies the rest |
//! | [`script`] | what users write against: the Lua engine, its API table, vids, status tables |
//! | [`cli`] | the command line |
//!
//! Who is known is kept by a crate of its own, `keystore`; the words for who somebody is (public
//! key, name, secret, fingerprint) are in `identity`. Dependencies between rooms point one way
//! and a test holds them to it; `ARCHITECTURE.md` draws the picture.

pub mod cli;
pub mod formats;
pub mod frameserver;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod ipc;
pub mod sandbox;
pub mod script;
pub mod wire;

#[cfg(all(fuzzing, not(debug_assertions)))]
compile_error!("a build for fuzzing does without sealing: it is never for a release");
