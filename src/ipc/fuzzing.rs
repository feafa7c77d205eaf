//! What a fuzzer calls: any bytes as each kind of message, and a panic if something does not hold.
#![expect(clippy::unwrap_used, reason = "a fuzzer is told by a panic")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::socket::{decode, encode};
use super::{admin, frameserver, link, script};

/// The first byte says which kind of message the others are.
pub(crate) fn message(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 8 {
        0 => round_trip::<admin::ToHost>(bytes),
        1 => round_trip::<admin::FromHost>(bytes),
        2 => round_trip::<frameserver::ToFrameserver>(bytes),
        3 => round_trip::<frameserver::FromFrameserver>(bytes),
        4 => round_trip::<script::ToScript>(bytes),
        5 => round_trip::<script::FromScript>(bytes),
        6 => round_trip::<Vec<link::ToScript>>(bytes),
        _ => round_trip::<Vec<link::FromScript>>(bytes),
    }
}

/// What is read is written so that it is read again. A number may have been spelled with more bytes
/// than it needs, so that the first spelling is not always the second.
fn round_trip<M: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) {
    let Some(message) = decode::<M>(bytes) else {
        return;
    };
    let written = encode(&message).unwrap();
    let again: M = decode(&written).unwrap();
    assert_eq!(*encode(&again).unwrap(), *written);
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}
