//! The host's own keys: for each tag a ring in one file, sealed by a passphrase or not.

mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use identity::{Name, PublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::HostKeyDeed;
use crate::directory::{self, Directory, OpenError};
use crate::sealed::{self, Kdf, Passphrase, SealError, UnsealError};
use format::Kept;

/// A static private key of the host, and its public key.
pub struct HostKey {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl HostKey {
    /// `None`: its public key is of low order, as that of one in 2^250.
    fn new(private: Zeroizing<[u8; 32]>) -> Option<Self> {
        let secret = x25519_dalek::StaticSecret::from(*private);
        let public = x25519_dalek::PublicKey::from(&secret);
        let public = PublicKey::parse(public.as_bytes()).ok()?;
        Some(Self { private, public })
    }

    /// What peers know it by.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The private key, for whoever answers handshakes with it.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.private
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({}, ***)", self.public)
    }
}

/// A private key that comes from elsewhere; it is wiped when dropped and never printed.
#[derive(Clone, Serialize, Deserialize)]
pub struct PrivateKey(#[serde(with = "bytes")] Zeroizing<[u8; 32]>);

impl PrivateKey {
    /// Takes the 32 bytes of a key; any bytes are.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What peers would know it by; `None` where that would be of low order.
    pub fn public(&self) -> Option<PublicKey> {
        HostKey::new(self.0.clone()).map(|key| key.public())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

mod bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        key: &Zeroizing<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (**key).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<[u8; 32]>, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(Zeroizing::new)
    }
}

/// The keys of a tag: those of a host ([`HostKey`]), or what others may know ([`PublicKey`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring<K> {
    /// Answers everybody, but whom the previous key answers.
    pub current: K,
    /// Since when it is the current one, ms since 1970; `None`: longer than is known.
    pub since_ms: Option<u64>,
    /// The key before it, during a rotation.
    pub previous: Option<Previous<K>>,
}

/// A key that has been rotated out, and goes on answering those who know nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous<K> {
    /// The key.
    pub key: K,
    /// When another one took its place, ms since 1970.
    pub rotated_ms: u64,
    /// It answers before this moment, ms since 1970.
    pub until_ms: u64,
}

impl<K> Ring<K> {
    /// Which key answers a peer at this time: one that was accepted before a rotation can only know
    /// the previous key, until that ends. `accepted_ms`: since when the peer is accepted; `None`: it
    /// is not yet.
    pub fn answering(&self, accepted_ms: Option<u64>, now_ms: u64) -> &K {
        match &self.previous {
            Some(previous)
                if now_ms < previous.until_ms
                    && accepted_ms.is_some_and(|accepted| accepted <= previous.rotated_ms) =>
            {
                &previous.key
            }
            _ => &self.current,
        }
    }

    /// Whether a rotation is under way at this time.
    pub fn is_rotating(&self, now_ms: u64) -> bool {
        let previous = self.previous.as_ref();
        previous.is_some_and(|previous| now_ms < previous.until_ms)
    }

    /// Forgets a previous key whose time is over, so that no clock brings it back.
    pub fn expire(&mut self, now_ms: u64) {
        if !self.is_rotating(now_ms) {
            self.previous = None;
        }
    }
}

impl Ring<HostKey> {
    /// What others may know of it.
    pub fn public(&self) -> Ring<PublicKey> {
        Ring {
            current: self.current.public(),
            since_ms: self.since_ms,
            previous: self.previous.as_ref().map(|previous| Previous {
                key: previous.key.public(),
                rotated_ms: previous.rotated_ms,
                until_ms: previous.until_ms,
            }),
        }
    }

    /// The private keys, one behind the other.
    fn private(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        bytes.extend(self.current.reveal());
        if let Some(previous) = &self.previous {
            bytes.extend(previous.key.reveal());
        }
        bytes
    }

    /// Puts private keys to their public ones; `None`: they do not belong together.
    fn join(public: Ring<PublicKey>, private: &[u8]) -> Option<Self> {
        let (current, rest) = private.split_first_chunk::<32>()?;
        let key = |private: &[u8; 32], public: PublicKey| {
            HostKey::new(Zeroizing::new(*private)).filter(|key| key.public() == public)
        };
        let previous = match public.previous {
            Some(previous) => Some(Previous {
                key: key(rest.try_into().ok()?, previous.key)?,
                rotated_ms: previous.rotated_ms,
                until_ms: previous.until_ms,
            }),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self {
            current: key(current, public.current)?,
            since_ms: public.since_ms,
            previous,
        })
    }
}

/// What there is of a tag without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Whose keys.
    pub tag: Name,
    /// The public ones.
    pub ring: Ring<PublicKey>,
    /// Whether the private ones are sealed.
    pub sealed: bool,
}

/// A tag's file, as it is read.
#[derive(Debug)]
pub enum Stored {
    /// Whoever can read the file has the keys.
    Unsealed(Ring<HostKey>),
    /// A passphrase is needed.
    Sealed(SealedRing),
}

/// A ring that a passphrase opens. Without it the public keys are there to be read, but nothing
/// vouches for them.
#[derive(Debug)]
pub struct SealedRing {
    path: PathBuf,
    purpose: Vec<u8>,
    public: Ring<PublicKey>,
    bytes: Vec<u8>,
}

impl SealedRing {
    /// What is said of the keys in clear.
    pub fn public(&self) -> &Ring<PublicKey> {
        &self.public
    }

    /// Opens it. This takes a while, and memory, as it is meant to.
    pub fn unseal(self, passphrase: &Passphrase) -> Result<Ring<HostKey>, HostKeyError> {
        let failed = |why| HostKeyError::Unseal {
            path: self.path.clone(),
            why,
        };
        let private = sealed::open(passphrase, &self.purpose, &self.bytes).map_err(failed)?;
        Ring::join(self.public, &private).ok_or_else(|| failed(UnsealError::Damaged))
    }
}

impl Stored {
    /// What others may know of it.
    pub fn public(&self) -> Ring<PublicKey> {
        match self {
            Self::Unsealed(ring) => ring.public(),
            Self::Sealed(sealed) => sealed.public.clone(),
        }
    }

    /// Whether a passphrase is needed.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }
}

/// What is done to the keys of a tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum HostKeyChange {
    /// Make the first key.
    New {
        /// What to seal it by, if at all.
        seal: Option<Passphrase>,
        /// Which key, if it is to be one that there is already.
        private: Option<PrivateKey>,
    },
    /// Make another key the current one; the one before answers whom it must, for a while.
    Rotate {
        /// How long, in ms.
        overlap_ms: u64,
        /// What the keys are sealed by, and will be; `None`: they are not.
        passphrase: Option<Passphrase>,
    },
    /// Forget the previous key now.
    Retire {
        /// What the keys are sealed by, and will be; `None`: they are not.
        passphrase: Option<Passphrase>,
    },
    /// Seal keys that are not.
    Seal {
        /// By this.
        passphrase: Passphrase,
    },
    /// Keep keys unsealed that are sealed.
    Unseal {
        /// By this.
        passphrase: Passphrase,
    },
    /// Change the passphrase.
    Reseal {
        /// What they are sealed by.
        passphrase: Passphrase,
        /// What they will be sealed by.
        new: Passphrase,
    },
}

impl HostKeyChange {
    /// What it comes to, for the log.
    pub fn deed(&self) -> HostKeyDeed {
        match self {
            Self::New { private: None, .. } => HostKeyDeed::New,
            Self::New { .. } => HostKeyDeed::Imported,
            Self::Rotate { .. } => HostKeyDeed::Rotated,
            Self::Retire { .. } => HostKeyDeed::Retired,
            Self::Seal { .. } => HostKeyDeed::Sealed,
            Self::Unseal { .. } => HostKeyDeed::Unsealed,
            Self::Reseal { .. } => HostKeyDeed::Resealed,
        }
    }
}

/// Why keys were not read or changed.
#[derive(Debug, Error)]
pub enum HostKeyError {
    /// A private key from elsewhere gives no public key that anybody may use.
    #[error("the key for {0} is of low order, so it is no key")]
    Unfit(Name),
    /// The file, or the folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It was not opened.
    #[error("{}: {why}", path.display())]
    Unseal {
        /// The file.
        path: PathBuf,
        /// Why.
        why: UnsealError,
    },
    /// It was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Another version of the program wrote it.
    #[error("{} is of another version; use the program that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no host key {0}")]
    Missing(Name),
    /// There is one.
    #[error("there is a host key {0} already; it can be rotated")]
    Exists(Name),
    /// It is sealed, and no passphrase is given.
    #[error("host key {0} is sealed, so its passphrase is needed")]
    PassphraseNeeded(Name),
    /// A passphrase is given, or needed, for what is not sealed.
    #[error("host key {0} is not sealed, so there is no passphrase that opens it")]
    NotSealed(Name),
    /// It is sealed already.
    #[error("host key {0} is sealed already; its passphrase can be changed")]
    Sealed(Name),
    /// The last rotation is under way.
    #[error("the key before the current one still answers as host key {0}; retire it first")]
    Rotating(Name),
    /// Nothing is to be retired.
    #[error("host key {0} has no previous key")]
    NoPrevious(Name),
}

/// The host keys in a state directory.
#[derive(Debug, Clone)]
pub struct HostKeys {
    folder: PathBuf,
    kdf: Kdf,
    /// Nobody else changes them meanwhile.
    _directory: Directory,
}

impl HostKeys {
    /// Those of this directory, which is held as long as this lives.
    pub fn new(directory: &Directory) -> Result<Self, OpenError> {
        Ok(Self {
            folder: directory.subdirectory("hostkeys")?,
            kdf: Kdf::INTERACTIVE,
            _directory: directory.clone(),
        })
    }

    /// Where the keys of a tag are.
    pub fn path(&self, tag: &Name) -> PathBuf {
        self.folder.join(tag.as_str())
    }

    /// All tags, in order, without any passphrase.
    pub fn list(&self) -> Result<Vec<Listed>, HostKeyError> {
        let failed = directory::failed("read", &self.folder);
        let names: Result<Vec<_>, _> = fs::read_dir(&self.folder).and_then(|entries| {
            entries
                .map(|entry| entry.map(|it| it.file_name()))
                .collect()
        });
        // What is half written has a name that is none.
        let tags = names.map_err(failed)?.into_iter();
        let mut tags: Vec<_> = tags
            .filter_map(|name| Name::parse(name.to_str()?).ok())
            .collect();
        tags.sort();
        let mut listed = Vec::with_capacity(tags.len());
        for tag in tags {
            if let Some(stored) = self.read(&tag)? {
                listed.push(Listed {
                    ring: stored.public(),
                    sealed: stored.is_sealed(),
                    tag,
                });
            }
        }
        Ok(listed)
    }

    /// The keys of a tag, if there are any.
    pub fn read(&self, tag: &Name) -> Result<Option<Stored>, HostKeyError> {
        let path = self.path(tag);
        let Some(text) = directory::read_private(&path, format::LONGEST)? else {
            return Ok(None);
        };
        if format::is_of_another_version(&text) {
            return Err(HostKeyError::Format { path });
        }
        let unfit = || OpenError::Unfit {
            path: path.clone(),
            expected: "a host key",
        };
        let (public, kept) = format::parse(&text).ok_or_else(unfit)?;
        match kept {
            Kept::Old(ring) => Ok(Some(Stored::Unsealed(ring))),
            Kept::Unsealed(private) => {
                let ring = Ring::join(public.ok_or_else(unfit)?, &private).ok_or_else(unfit)?;
                Ok(Some(Stored::Unsealed(ring)))
            }
            Kept::Sealed(bytes) => {
                let public = public.ok_or_else(unfit)?;
                sealed::check(&bytes).map_err(|why| HostKeyError::Unseal {
                    path: path.clone(),
                    why,
                })?;
                Ok(Some(Stored::Sealed(SealedRing {
                    purpose: format::purpose(tag, &public),
                    public,
                    bytes,
                    path,
                })))
            }
        }
    }

    /// Makes a change, durable when this returns, or nothing of it; in a rehearsal all of it but
    /// the writing. Gives what there is then.
    pub fn change(
        &self,
        tag: &Name,
        now_ms: u64,
        change: HostKeyChange,
        rehearsal: bool,
    ) -> Result<(Listed, Ring<HostKey>), HostKeyError> {
        let stored = self.read(tag)?;
        let (ring, seal) = match (change, stored) {
            (HostKeyChange::New { seal, private }, None) => {
                let unfit = || HostKeyError::Unfit(tag.clone());
                let (current, since_ms) = match private {
                    // Nobody knows how long it has been somebody's.
                    Some(key) => (HostKey::new(key.0).ok_or_else(unfit)?, None),
                    None => (self.fresh(tag)?, Some(now_ms)),
                };
                let ring = Ring {
                    current,
                    since_ms,
                    previous: None,
                };
                (ring, seal)
            }
            (HostKeyChange::New { .. }, Some(_)) => return Err(HostKeyError::Exists(tag.clone())),
            (_, None) => return Err(HostKeyError::Missing(tag.clone())),
            (
                HostKeyChange::Rotate {
                    overlap_ms,
                    passphrase,
                },
                Some(stored),
            ) => {
                if stored.public().is_rotating(now_ms) {
                    return Err(HostKeyError::Rotating(tag.clone()));
                }
                let before = open(tag, stored, passphrase.as_ref())?;
                let ring = Ring {
                    current: self.fresh(tag)?,
                    since_ms: Some(now_ms),
                    previous: Some(Previous {
                        key: before.current,
                        rotated_ms: now_ms,
                        until_ms: now_ms.saturating_add(overlap_ms),
                    }),
                };
                (ring, passphrase)
            }
            (HostKeyChange::Retire { passphrase }, Some(stored)) => {
                if stored.public().previous.is_none() {
                    return Err(HostKeyError::NoPrevious(tag.clone()));
                }
                let mut ring = open(tag, stored, passphrase.as_ref())?;
                ring.previous = None;
                (ring, passphrase)
            }
            (HostKeyChange::Seal { passphrase }, Some(Stored::Unsealed(ring))) => {
                (ring, Some(passphrase))
            }
            (HostKeyChange::Seal { .. }, Some(Stored::Sealed(_))) => {
                return Err(HostKeyError::Sealed(tag.clone()));
            }
            (HostKeyChange::Unseal { passphrase }, Some(stored)) => {
                (open(tag, stored, Some(&passphrase))?, None)
            }
            (HostKeyChange::Reseal { passphrase, new }, Some(stored)) => {
                (open(tag, stored, Some(&passphrase))?, Some(new))
            }
        };
        let mut ring = ring;
        ring.expire(now_ms);
        let text = format::render(tag, &ring, seal.as_ref().map(|seal| (seal, self.kdf)))?;
        if !rehearsal {
            directory::write_private(&self.path(tag), text.as_bytes())?;
        }
        let listed = Listed {
            tag: tag.clone(),
            ring: ring.public(),
            sealed: seal.is_some(),
        };
        Ok((listed, ring))
    }

    fn fresh(&self, tag: &Name) -> Result<HostKey, OpenError> {
        loop {
            if let Some(key) = HostKey::new(directory::random(&self.path(tag))?) {
                return Ok(key);
            }
        }
    }
}

/// Opens keys by what is given, which has to fit what they are.
fn open(
    tag: &Name,
    stored: Stored,
    passphrase: Option<&Passphrase>,
) -> Result<Ring<HostKey>, HostKeyError> {
    match (stored, passphrase) {
        (Stored::Unsealed(ring), None) => Ok(ring),
        (Stored::Sealed(sealed), Some(passphrase)) => sealed.unseal(passphrase),
        (Stored::Sealed(_), None) => Err(HostKeyError::PassphraseNeeded(tag.clone())),
        (Stored::Unsealed(_), Some(_)) => Err(HostKeyError::NotSealed(tag.clone())),
    }
}

#[cfg(test)]
mod tests;
