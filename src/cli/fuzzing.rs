//! What a fuzzer calls: any text as each of the words of the command line, and as its file.
#![expect(clippy::unwrap_used, reason = "a fuzzer is told by a panic")]

use super::address::{Address, Server};
use super::duration;

pub(crate) use super::config::fuzzing::file as config;

/// A duration, and whom to connect to.
pub(crate) fn word(text: &str) {
    if let Ok(length) = duration::parse(text) {
        assert!(!length.is_zero());
        let seconds = length.as_secs().to_string();
        if let Ok(again) = duration::parse(&seconds) {
            assert_eq!(again, length);
        }
        duration::text(length);
    }
    match text.parse() {
        Ok(Server::Address(address)) => {
            let again: Address = address.to_string().parse().unwrap();
            assert_eq!(again, address);
        }
        Ok(Server::Tag(tag)) => assert_eq!(text.strip_prefix('@'), Some(tag.as_str())),
        Ok(Server::Zmtp(_)) => assert!(text.starts_with("zmtp://")),
        Ok(Server::CurveCp(address)) => {
            let again: Server = address.to_string().parse().unwrap();
            assert_eq!(again, Server::CurveCp(address));
        }
        // It is told to a person.
        Err(error) => drop(error.to_string()),
    }
}
