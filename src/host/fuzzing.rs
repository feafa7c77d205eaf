//! What a fuzzer calls: any text as the place where a script wants to listen.

use super::interface::Interface;

/// It is a place, or told to be none.
pub(crate) fn interface(text: &str) {
    if let Err(error) = text.parse::<Interface>() {
        drop(error.to_string());
    }
}
