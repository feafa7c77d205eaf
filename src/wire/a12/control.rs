//! Control packets: 128 bytes, a common header and one of fifteen commands.
//!
//! Reading knows no error. Odd values come out as they are, because what is to be refused depends
//! on the state of the connection; bytes without a meaning are ignored, and sent as zero.

use identity::Secret;

use super::event::SegmentKind;
use crate::wire::codec::{Reader, Writer};

/// What every control packet begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The sequence number of the newest packet that its sender has received; informative.
    pub last_seen: u64,
    /// Eight random bytes. In a server's HELLO and in a REKEY they are the nonce of the next keys.
    pub entropy: [u8; 8],
    /// Which channel.
    pub channel: u8,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// 0: the handshake.
    Hello(Hello),
    /// 1: goodbye.
    Shutdown {
        /// Last words, at most 108 bytes.
        text: String,
    },
    /// 2: a sink opens a channel.
    NewChannel {
        /// Its number.
        channel: u8,
        /// What for; only the low byte goes over the wire.
        kind: SegmentKind,
        /// 0: the new segment gives data to the sink.
        direction: u8,
        /// The `id` of the SEGREQ that it answers.
        cookie: u32,
    },
    /// 3: the receiver of a stream does not want it.
    CancelStream {
        /// Which one.
        stream: u32,
        /// 0 unwanted, 1 cannot be decoded, 2 already known.
        reason: u8,
        /// 0 video, 1 audio, 2 binary.
        kind: u8,
    },
    /// 4: a frame follows.
    VideoFrame(VideoFrame),
    /// 5: audio follows. The reference can neither send nor receive it.
    AudioFrame(AudioFrame),
    /// 6: a transfer follows.
    BinaryStream(BinaryStream),
    /// 7: a frame or a transfer has arrived; 0: a sign of life.
    Ping(u32),
    /// 8: new keys, or proof of a signing key.
    Rekey(Rekey),
    /// 9: asks a directory for what it has.
    DirList {
        /// Tell of changes too.
        notify: bool,
    },
    /// 10: one application of a directory.
    DirState(DirState),
    /// 11: a source, sink or directory came or went.
    DirDiscover {
        /// 1 source, 2 sink, 4 directory.
        role: u8,
        /// 0 lost, 1 present, 2 present and meant for you.
        state: u8,
        /// What it is called there.
        petname: String,
        /// Its public key.
        key: [u8; 32],
    },
    /// 12: asks a directory for a way to a source.
    DirOpen {
        /// 2 direct, 4 through a tunnel.
        mode: u8,
        /// The source's key.
        key: [u8; 32],
        /// A fresh key of the asker.
        own: [u8; 32],
    },
    /// 13: the way.
    DirOpened(DirOpened),
    /// 14: a tunnel has ended.
    TunnelDrop {
        /// Its channel.
        tunnel: u8,
    },
    /// A command without a name; its body is not kept.
    Unknown(u8),
}

/// HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Which key is in it.
    pub mode: Mode,
    /// Its sender's public key, as it stands on the wire.
    pub key: [u8; 32],
    /// Its sender's role: 1 source, 2 sink, 3 probe, 4 directory, 0 not said.
    pub role: u8,
    /// Major and minor version; nobody checks them.
    pub version: [u8; 2],
}

impl Hello {
    /// The version that this module speaks.
    pub const VERSION: [u8; 2] = [0, 17];
}

/// Which key is in a HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 1: the one that the sender is known by.
    Static,
    /// 2: one made for this connection.
    Ephemeral,
    /// No mode that anybody supports.
    Other(u8),
}

/// REKEY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rekey {
    /// 0: the sender's direction goes on under keys made with this one.
    Ratchet {
        /// The sender's new public key.
        key: [u8; 32],
    },
    /// 1: a client of a directory proves an Ed25519 key.
    Signing {
        /// The public key.
        key: [u8; 32],
        /// The signature.
        signature: [u8; 64],
    },
    /// No mode that anybody supports.
    Other(u8),
}

/// VIDEOFRAME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoFrame {
    /// The frame's number, from 1 on.
    pub stream: u32,
    /// 0 RGBA, 1 RGB, 2 RGB565, 5 H.264, 7 text, 8 compressed difference, 9 compressed whole.
    pub format: u8,
    /// Width and height of the surface, pixels.
    pub surface: [u16; 2],
    /// Where the changed region begins: x and y, pixels.
    pub at: [u16; 2],
    /// Width and height of the changed region, pixels.
    pub region: [u16; 2],
    /// 1: the origin is the lower left corner.
    pub flags: u8,
    /// Bytes in all data packets of the frame.
    pub length: u32,
    /// Bytes after decompression.
    pub expanded: u32,
    /// To be shown when complete.
    pub commit: bool,
}

/// AUDIOFRAME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFrame {
    /// Stream number.
    pub stream: u32,
    /// Channels of sound.
    pub channels: u8,
    /// 0: signed 16 bits.
    pub encoding: u8,
    /// How many samples follow.
    pub samples: u16,
    /// Samples per second.
    pub rate: u32,
}

/// BINARYSTREAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryStream {
    /// Stream number.
    pub stream: u32,
    /// Bytes before compression; 0: not known, an event says when it ends.
    pub size: u64,
    /// 0 state, 1 font, 2 fallback font, 3 blob, 4 crash report, 5 application, 6 its resource,
    /// 7 its controller, 8 metadata.
    pub kind: u8,
    /// What it answers, or a namespace.
    pub identifier: u32,
    /// The first 16 bytes of its BLAKE3 hash; zeros: not known.
    pub hash: [u8; 16],
    /// 1: each data packet is a zstd frame of its own.
    pub compression: u8,
    /// Name, for kinds 5 to 7; at most 15 bytes.
    pub name: String,
}

/// DIRSTATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirState {
    /// The application's number.
    pub id: u16,
    /// What it is.
    pub categories: u16,
    /// What it may do.
    pub permissions: u16,
    /// Changes when the package does.
    pub hash: [u8; 4],
    /// Size of the package, bytes.
    pub size: u64,
    /// At most 17 bytes; empty: the list ends here.
    pub name: String,
    /// At most 68 bytes.
    pub description: String,
}

/// DIROPENED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirOpened {
    /// 0 failed, 1 connect to the host, 4 go through the tunnel.
    pub status: u8,
    /// Where to connect, or the number of the tunnel's channel; at most 45 bytes.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What keys the first packets; at most 11 bytes.
    pub secret: Option<Secret>,
    /// The other side's key; zeros: the one that was asked for.
    pub key: [u8; 32],
}

impl Control {
    /// Size of a control packet's body.
    pub const SIZE: usize = 128;

    /// Reads a body.
    pub fn parse(body: &[u8; Self::SIZE]) -> (Header, Self) {
        let r = Reader::new(body);
        let header = Header {
            last_seen: r.u64::<0>(),
            entropy: r.bytes::<8, 8>(),
            channel: r.u8::<16>(),
        };
        let command = match r.u8::<17>() {
            HELLO => Self::Hello(Hello {
                mode: r.u8::<20>().into(),
                key: r.bytes::<21, 32>(),
                role: r.u8::<54>(),
                version: r.bytes::<18, 2>(),
            }),
            SHUTDOWN => Self::Shutdown {
                text: r.text::<18, 109>(),
            },
            NEWCH => Self::NewChannel {
                channel: r.u8::<18>(),
                kind: SegmentKind(r.u8::<19>().into()),
                direction: r.u8::<20>(),
                cookie: r.u32::<21>(),
            },
            CANCELSTREAM => Self::CancelStream {
                stream: r.u32::<18>(),
                reason: r.u8::<22>(),
                kind: r.u8::<23>(),
            },
            VIDEOFRAME => Self::VideoFrame(VideoFrame {
                stream: r.u32::<18>(),
                format: r.u8::<22>(),
                surface: [r.u16::<23>(), r.u16::<25>()],
                at: [r.u16::<27>(), r.u16::<29>()],
                region: [r.u16::<31>(), r.u16::<33>()],
                flags: r.u8::<35>(),
                length: r.u32::<36>(),
                expanded: r.u32::<40>(),
                commit: r.bool::<44>(),
            }),
            AUDIOFRAME => Self::AudioFrame(AudioFrame {
                stream: r.u32::<18>(),
                channels: r.u8::<22>(),
                encoding: r.u8::<23>(),
                samples: r.u16::<24>(),
                rate: r.u32::<26>(),
            }),
            BINARYSTREAM => Self::BinaryStream(BinaryStream {
                stream: r.u32::<18>(),
                size: r.u64::<22>(),
                kind: r.u8::<30>(),
                identifier: r.u32::<31>(),
                hash: r.bytes::<35, 16>(),
                compression: r.u8::<52>(),
                name: r.text::<53, 16>(),
            }),
            PING => Self::Ping(r.u32::<18>()),
            REKEY => Self::Rekey(match r.u8::<18>() {
                0 => Rekey::Ratchet {
                    key: r.bytes::<19, 32>(),
                },
                1 => Rekey::Signing {
                    key: r.bytes::<19, 32>(),
                    signature: r.bytes::<51, 64>(),
                },
                other => Rekey::Other(other),
            }),
            DIRLIST => Self::DirList {
                notify: r.bool::<18>(),
            },
            DIRSTATE => Self::DirState(DirState {
                id: r.u16::<18>(),
                categories: r.u16::<20>(),
                permissions: r.u16::<22>(),
                hash: r.bytes::<24, 4>(),
                size: r.u64::<28>(),
                name: r.text::<36, 18>(),
                description: r.text::<55, 69>(),
            }),
            DIRDISCOVER => Self::DirDiscover {
                role: r.u8::<18>(),
                state: r.u8::<19>(),
                petname: r.text::<20, 16>(),
                key: r.bytes::<36, 32>(),
            },
            DIROPEN => Self::DirOpen {
                mode: r.u8::<18>(),
                key: r.bytes::<19, 32>(),
                own: r.bytes::<52, 32>(),
            },
            DIROPENED => Self::DirOpened(DirOpened {
                status: r.u8::<18>(),
                host: r.text::<19, 46>(),
                port: r.u16::<65>(),
                secret: Secret::parse(r.terminated::<67, 12>()).ok(),
                key: r.bytes::<79, 32>(),
            }),
            TUNDROP => Self::TunnelDrop {
                tunnel: r.u8::<18>(),
            },
            other => Self::Unknown(other),
        };
        (header, command)
    }

    /// The body as it is sent.
    pub fn encode(&self, header: &Header) -> [u8; Self::SIZE] {
        let mut w = Writer::new();
        w.u64::<0>(header.last_seen)
            .bytes::<8, 8>(&header.entropy)
            .u8::<16>(header.channel)
            .u8::<17>(self.number());
        match self {
            Self::Hello(hello) => w
                .bytes::<18, 2>(&hello.version)
                .u8::<20>(hello.mode.into())
                .bytes::<21, 32>(&hello.key)
                .u8::<54>(hello.role),
            Self::Shutdown { text } => w.text::<18, 109>(text),
            Self::NewChannel {
                channel,
                kind,
                direction,
                cookie,
            } => {
                let [kind, ..] = kind.0.to_le_bytes();
                w.u8::<18>(*channel)
                    .u8::<19>(kind)
                    .u8::<20>(*direction)
                    .u32::<21>(*cookie)
            }
            Self::CancelStream {
                stream,
                reason,
                kind,
            } => w.u32::<18>(*stream).u8::<22>(*reason).u8::<23>(*kind),
            Self::VideoFrame(frame) => {
                let ([surface_width, surface_height], [x, y]) = (frame.surface, frame.at);
                let [width, height] = frame.region;
                w.u32::<18>(frame.stream)
                    .u8::<22>(frame.format)
                    .u16::<23>(surface_width)
                    .u16::<25>(surface_height)
                    .u16::<27>(x)
                    .u16::<29>(y)
                    .u16::<31>(width)
                    .u16::<33>(height)
                    .u8::<35>(frame.flags)
                    .u32::<36>(frame.length)
                    .u32::<40>(frame.expanded)
                    .bool::<44>(frame.commit)
            }
            Self::AudioFrame(frame) => w
                .u32::<18>(frame.stream)
                .u8::<22>(frame.channels)
                .u8::<23>(frame.encoding)
                .u16::<24>(frame.samples)
                .u32::<26>(frame.rate),
            Self::BinaryStream(stream) => w
                .u32::<18>(stream.stream)
                .u64::<22>(stream.size)
                .u8::<30>(stream.kind)
                .u32::<31>(stream.identifier)
                .bytes::<35, 16>(&stream.hash)
                .u8::<52>(stream.compression)
                .text::<53, 16>(&stream.name),
            Self::Ping(id) => w.u32::<18>(*id),
            Self::Rekey(Rekey::Ratchet { key }) => w.u8::<18>(0).bytes::<19, 32>(key),
            Self::Rekey(Rekey::Signing { key, signature }) => w
                .u8::<18>(1)
                .bytes::<19, 32>(key)
                .bytes::<51, 64>(signature),
            Self::Rekey(Rekey::Other(mode)) => w.u8::<18>(*mode),
            Self::DirList { notify } => w.bool::<18>(*notify),
            Self::DirState(state) => w
                .u16::<18>(state.id)
                .u16::<20>(state.categories)
                .u16::<22>(state.permissions)
                .bytes::<24, 4>(&state.hash)
                .u64::<28>(state.size)
                .text::<36, 18>(&state.name)
                .text::<55, 69>(&state.description),
            Self::DirDiscover {
                role,
                state,
                petname,
                key,
            } => w
                .u8::<18>(*role)
                .u8::<19>(*state)
                .text::<20, 16>(petname)
                .bytes::<36, 32>(key),
            Self::DirOpen { mode, key, own } => {
                w.u8::<18>(*mode).bytes::<19, 32>(key).bytes::<52, 32>(own)
            }
            Self::DirOpened(opened) => w
                .u8::<18>(opened.status)
                .text::<19, 46>(&opened.host)
                .u16::<65>(opened.port)
                .terminated::<67, 12>(opened.secret.as_ref().map_or(&[], Secret::reveal))
                .bytes::<79, 32>(&opened.key),
            Self::TunnelDrop { tunnel } => w.u8::<18>(*tunnel),
            Self::Unknown(_) => &mut w,
        };
        w.finish()
    }

    /// The command's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Shutdown { .. } => SHUTDOWN,
            Self::NewChannel { .. } => NEWCH,
            Self::CancelStream { .. } => CANCELSTREAM,
            Self::VideoFrame(_) => VIDEOFRAME,
            Self::AudioFrame(_) => AUDIOFRAME,
            Self::BinaryStream(_) => BINARYSTREAM,
            Self::Ping(_) => PING,
            Self::Rekey(_) => REKEY,
            Self::DirList { .. } => DIRLIST,
            Self::DirState(_) => DIRSTATE,
            Self::DirDiscover { .. } => DIRDISCOVER,
            Self::DirOpen { .. } => DIROPEN,
            Self::DirOpened(_) => DIROPENED,
            Self::TunnelDrop { .. } => TUNDROP,
            Self::Unknown(command) => *command,
        }
    }
}

impl From<u8> for Mode {
    fn from(byte: u8) -> Self {
        match byte {
            1 => Self::Static,
            2 => Self::Ephemeral,
            other => Self::Other(other),
        }
    }
}

impl From<Mode> for u8 {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Static => 1,
            Mode::Ephemeral => 2,
            Mode::Other(byte) => byte,
        }
    }
}

const HELLO: u8 = 0;
const SHUTDOWN: u8 = 1;
const NEWCH: u8 = 2;
const CANCELSTREAM: u8 = 3;
const VIDEOFRAME: u8 = 4;
const AUDIOFRAME: u8 = 5;
const BINARYSTREAM: u8 = 6;
const PING: u8 = 7;
const REKEY: u8 = 8;
const DIRLIST: u8 = 9;
const DIRSTATE: u8 = 10;
const DIRDISCOVER: u8 = 11;
const DIROPEN: u8 = 12;
const DIROPENED: u8 = 13;
const TUNDROP: u8 = 14;

#[cfg(test)]
mod tests;
