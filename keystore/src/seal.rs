//! Window secrets on disk.
//!
//! The store's log keeps what was deleted, so it gets a window's secret only sealed
//! (XChaCha20-Poly1305), under a key that is in a file of its own. With that file the secret goes.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use identity::{Name, Secret};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 32;

/// Seals a secret for a window's opening. A key seals one secret only, hence the constant nonce.
pub(crate) fn seal(key: &[u8; KEY_LEN], aad: &[u8], secret: &Secret) -> Option<Vec<u8>> {
    let msg = padded(secret);
    cipher(key)
        .encrypt(&NONCE, Payload { msg: &*msg, aad })
        .ok()
}

/// `None`: not sealed under this key for this window's opening.
pub(crate) fn open(key: &[u8; KEY_LEN], aad: &[u8], sealed: &[u8]) -> Option<Secret> {
    let msg = Zeroizing::new(
        cipher(key)
            .decrypt(&NONCE, Payload { msg: sealed, aad })
            .ok()?,
    );
    let (len, bytes) = msg.split_first()?;
    Secret::parse(bytes.get(..usize::from(*len))?).ok()
}

/// What a sealed secret belongs to.
pub(crate) fn belongs_to(name: &Name, opening: &str) -> Vec<u8> {
    format!("moonport window secret\n{name}\n{opening}").into_bytes()
}

/// The length and the bytes of a secret, filled up with zeros: all secrets have the same length.
pub(crate) fn padded(secret: &Secret) -> Zeroizing<[u8; 1 + Secret::MAX_LEN]> {
    let mut all = Zeroizing::new([0; 1 + Secret::MAX_LEN]);
    let bytes = secret.reveal();
    if let Some((len, rest)) = all.split_first_mut() {
        // At most 31.
        *len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        rest.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    }
    all
}

/// Whether two secrets are the same; takes the same time whatever they are, but for the nanosecond in
/// which a longer one is copied.
pub(crate) fn same(a: &Secret, b: &Secret) -> bool {
    padded(a).ct_eq(&*padded(b)).into()
}

fn cipher(key: &[u8; KEY_LEN]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

const NONCE: XNonce = chacha20poly1305::aead::array::Array([0; 24]);
