//! The recordings of the reference programs, for tests.
//!
//! Those in `tests/vectors/a12` are always there; with the whole set beside the repository, that is
//! used too. `tests/vectors/README.md` says what the fields mean.
#![allow(dead_code, reason = "each test looks at what it is about")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// All recorded streams, by name.
pub(crate) fn recordings() -> Vec<Recording> {
    let mut files = BTreeMap::new();
    for folder in [SHARED, OWN] {
        let Ok(entries) = repository().join(folder).read_dir() else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.insert(path.file_name().unwrap().to_owned(), path);
            }
        }
    }
    files
        .into_values()
        .filter_map(|path| match load(&path) {
            File::Recording(recording) => Some(*recording),
            File::Other => None,
        })
        .collect()
}

/// One recorded stream; `None` if it is only in the whole set, and that is absent.
pub(crate) fn recording(name: &str) -> Option<Recording> {
    match load(&find(name)?) {
        File::Recording(recording) => Some(*recording),
        File::Other => None,
    }
}

/// Any other file of the set, or of those beside the protocol's description.
pub(crate) fn data<T: DeserializeOwned>(name: &str) -> T {
    load(&find(name).unwrap_or_else(|| panic!("{name}.json is in tests/vectors")))
}

fn find(name: &str) -> Option<PathBuf> {
    [OWN, SPECIFIED, SHARED]
        .into_iter()
        .map(|folder| repository().join(folder).join(format!("{name}.json")))
        .find(|path| path.exists())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const OWN: &str = "tests/vectors/a12";
const SPECIFIED: &str = "tests/vectors";
const SHARED: &str = "../shared/vectors/a12";

#[derive(Deserialize)]
#[serde(tag = "format")]
enum File {
    #[serde(rename = "a12-vector-1")]
    Recording(Box<Recording>),
    #[serde(other)]
    Other,
}

/// One connection.
#[derive(Debug, Deserialize)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) origin: Origin,
    /// `complete`, or why decoding stops.
    pub(crate) decode_status: String,
    /// Only of the library.
    pub(crate) rounds: Option<u8>,
    /// Only of the library.
    pub(crate) roles: Option<Sides<u8>>,
    /// Only of the library.
    pub(crate) rekey_bytes: Option<u64>,
    pub(crate) secrets: Secrets,
    pub(crate) keys: Vec<Stage>,
    /// Only of the library.
    pub(crate) final_state: Option<Sides<State>>,
    pub(crate) c2s: Hex,
    pub(crate) s2c: Hex,
    pub(crate) packets: Vec<Packet>,
    pub(crate) timeline: Vec<Step>,
}

impl Recording {
    /// The bytes of one direction.
    pub(crate) fn stream(&self, dir: Dir) -> &[u8] {
        match dir {
            Dir::C2s => &self.c2s.0,
            Dir::S2c => &self.s2c.0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    Library,
    Programs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dir {
    #[serde(alias = "client->server")]
    C2s,
    #[serde(alias = "server->client")]
    S2c,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sides<T> {
    pub(crate) client: T,
    pub(crate) server: T,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) client_preshared: String,
    pub(crate) server_preshared: String,
    pub(crate) client_static: Option<KeyPair>,
    pub(crate) server_static: Option<KeyPair>,
    #[serde(default)]
    pub(crate) exchanged: Vec<Exchanged>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeyPair {
    #[serde(rename = "priv")]
    pub(crate) private: Option<Hex>,
    #[serde(rename = "pub")]
    pub(crate) public: Option<Hex>,
}

/// A public key that went over the wire.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchanged {
    pub(crate) owner: Side,
    /// In which packet.
    pub(crate) packet: usize,
    #[serde(rename = "use")]
    pub(crate) purpose: Purpose,
    /// Whether it is a stored host key.
    #[serde(rename = "static")]
    pub(crate) stored: bool,
    /// `None`: it could not be logged.
    #[serde(rename = "priv")]
    pub(crate) private: Option<Hex>,
    #[serde(rename = "pub")]
    pub(crate) public: Hex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    Hello,
    Rekey,
}

/// Keys in order of use.
#[derive(Debug, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(crate) enum Stage {
    Preshared(StageKeys),
    Ephemeral(StageKeys),
    Session(StageKeys),
    Rekey {
        direction: Dir,
        secret: Hex,
        nonce: Hex,
        mac_key: Hex,
        cipher_key: Hex,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct StageKeys {
    pub(crate) secret: Hex,
    pub(crate) nonce: Hex,
    pub(crate) mac_key: Hex,
    pub(crate) client_cipher_key: Hex,
    pub(crate) server_cipher_key: Hex,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Packet {
    /// Number in order of decoding.
    pub(crate) n: usize,
    pub(crate) dir: Dir,
    /// Where it begins in its direction's stream.
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) mac: Hex,
    pub(crate) mac_ok: bool,
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: u8,
    /// Sequence number, type, body.
    pub(crate) plaintext: Hex,
    /// Packet 0 only.
    pub(crate) first_packet_nonce: Option<Hex>,
    /// Decoded fields.
    pub(crate) control: Option<serde_json::Value>,
    /// Decoded fields.
    pub(crate) event: Option<serde_json::Value>,
    /// Decoded fields.
    pub(crate) stream: Option<serde_json::Value>,
}

impl Packet {
    /// The body alone.
    pub(crate) fn body(&self) -> &[u8] {
        self.plaintext.0.get(9..).unwrap_or_default()
    }
}

/// What happened, in order.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Bytes were written.
    Tx {
        dir: Dir,
        offset: usize,
        length: usize,
        /// Those that became complete.
        packets: Vec<usize>,
    },
    /// A direction was closed.
    Eof { dir: Dir },
    /// What was done next, in words.
    Op { text: String },
    /// A side asked its keystore.
    PkLookup {
        side: Side,
        #[serde(rename = "pub")]
        public: Hex,
    },
    /// A side at this moment.
    State {
        side: Side,
        #[serde(flatten)]
        state: State,
    },
    /// An event was handed to a sender.
    Enqueue { side: Side, raw: Hex },
    /// An event was delivered by a receiver.
    Event { side: Side, ch: u8, raw: Hex },
    /// A receiver has finished a frame.
    Video { side: Side, w: u16, h: u16 },
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A side of the library.
#[derive(Debug, Deserialize)]
pub(crate) struct State {
    /// 5: authenticated.
    pub(crate) auth: i32,
    /// -1: it has stopped.
    pub(crate) poll: i32,
    /// The peer's role, or 0.
    pub(crate) remote_mode: i32,
}

/// `hello_variants`: crafted first packets.
#[derive(Debug, Deserialize)]
pub(crate) struct HelloVariants {
    pub(crate) client_static: KeyPair,
    pub(crate) server_static_priv: Hex,
    pub(crate) rows: Vec<HelloVariant>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HelloVariant {
    pub(crate) variant: String,
    pub(crate) server_role: u8,
    pub(crate) request: Hex,
    /// Empty: none.
    pub(crate) reply: Hex,
    pub(crate) server_ephemeral_priv: Vec<Hex>,
    pub(crate) final_state: State,
}

/// `role_matrix`: a handshake for every pair of roles.
#[derive(Debug, Deserialize)]
pub(crate) struct RoleMatrix {
    pub(crate) rows: Vec<RolePair>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RolePair {
    pub(crate) client_role: u8,
    pub(crate) server_role: u8,
    pub(crate) directory_link_allowed: bool,
    pub(crate) final_state: Sides<State>,
    /// How many were exchanged.
    pub(crate) packets: usize,
    pub(crate) c2s: Hex,
    pub(crate) s2c: Hex,
    pub(crate) secrets: RoleSecrets,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RoleSecrets {
    pub(crate) client_preshared: String,
    pub(crate) server_preshared: String,
    pub(crate) client_static: Hex,
    pub(crate) server_static: Hex,
    pub(crate) exchanged: Vec<Exchanged>,
}

/// `a12-vectors`: made by driving the library.
#[derive(Debug, Deserialize)]
pub(crate) struct Specified {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) event_checksum: Vec<EventChecksum>,
}

impl Specified {
    /// Those of all scenarios.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &ScenarioPacket> {
        self.scenarios.iter().flat_map(|scenario| &scenario.packets)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// As text.
    pub(crate) secret: String,
    pub(crate) client_private: Hex,
    pub(crate) server_private: Hex,
    pub(crate) client_public: Hex,
    pub(crate) server_public: Hex,
    /// Ephemeral keys and those of ratchets.
    pub(crate) other_keypairs: Vec<KeyPair>,
    pub(crate) packets: Vec<ScenarioPacket>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ScenarioPacket {
    pub(crate) dir: Dir,
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: u8,
    wire: String,
    plaintext: String,
}

impl ScenarioPacket {
    /// The whole packet; `None`: left out.
    pub(crate) fn wire(&self) -> Option<Hex> {
        Hex::parse(&self.wire)
    }

    /// Sequence number, type, body; `None`: shortened.
    pub(crate) fn plaintext(&self) -> Option<Hex> {
        Hex::parse(&self.plaintext)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct EventChecksum {
    pub(crate) event: Hex,
    pub(crate) packed: Hex,
}

/// Bytes, written in hex.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    fn parse(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .map(Self)
    }

    /// The bytes, if there are `N` of them.
    #[track_caller]
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

#[test]
fn the_recordings_load() {
    let recordings = recordings();
    assert!(
        recordings.len() >= 15,
        "only {} recordings",
        recordings.len()
    );
    for recording in &recordings {
        let bytes: usize = recording.packets.iter().map(|packet| packet.size).sum();
        assert!(bytes <= recording.c2s.0.len() + recording.s2c.0.len());
    }
    let variants: HelloVariants = data("hello_variants");
    assert!(!variants.rows.is_empty());
    let matrix: RoleMatrix = data("role_matrix");
    assert!(!matrix.rows.is_empty());
}
