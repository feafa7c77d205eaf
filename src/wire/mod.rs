//! What bytes mean.
//!
//! Protocols are state machines: bytes, answers, commands and time go in; bytes, questions, events
//! and deadlines come out. Nothing here knows a socket, a clock, a keystore or Lua, so every run
//! can be replayed from its inputs and a seed.

pub mod a12;
pub mod codec;
pub mod cookie;
pub mod crypto;
pub mod curvecp;
pub mod nacl;
pub mod zmtp;

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// One peer's state machine.
///
/// * **In:** [`handle`](Self::handle) takes one input. Bytes may be given in any portions of at
///   most [`room`](Self::room); a machine that waits for an answer has no room, so the socket is
///   not read: back-pressure for free.
/// * **Out:** after every `handle`, call [`poll`](Self::poll) until it says [`Output::Idle`].
/// * **Errors** are sticky: once `handle` has failed, every later call fails the same way, and the
///   connection is to be closed without another byte but those already polled.
pub trait Protocol {
    /// What only the key room can answer.
    type Ask;
    /// Its answer.
    type Answer;
    /// What this side wants done.
    type Command;
    /// What the peer did.
    type Event;

    /// How many bytes of the peer's stream can be taken now; 0 while an answer is awaited.
    fn room(&self) -> usize;

    /// Takes one input.
    fn handle(
        &mut self,
        now: Instant,
        input: Input<'_, Self::Answer, Self::Command>,
    ) -> Result<(), Error>;

    /// Takes the next output; bytes to send are appended to `out`.
    fn poll(&mut self, out: &mut Vec<u8>) -> Output<Self::Ask, Self::Event>;

    /// What a peer is told that is refused, the same for every reason, before the connection is
    /// closed. Most protocols say nothing.
    fn farewell(&self) -> &'static [u8] {
        &[]
    }
}

/// A handshake message of `N` bytes, whole: what the key room takes and gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Whole<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Debug for Whole<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Whole<{N}>(..)")
    }
}

impl<const N: usize> Serialize for Whole<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Whole<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let bytes = <[u8; N]>::try_from(bytes)
            .map_err(|_| serde::de::Error::custom(format_args!("not {N} bytes")))?;
        Ok(Self(bytes))
    }
}

/// What only the key room can answer, in each protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Arcan's.
    A12(a12::Ask),
    /// ZeroMQ's.
    Zmtp(zmtp::Ask),
    /// CurveCP.
    CurveCp(curvecp::Ask),
}

/// What the key room says to an [`Ask`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// Arcan's.
    A12(a12::Answer),
    /// ZeroMQ's.
    Zmtp(zmtp::Answer),
    /// CurveCP.
    CurveCp(curvecp::Answer),
    /// No, whatever the protocol.
    Refused(Refusal),
}

impl Answer {
    /// Whether it makes the peer a session.
    pub fn admits(&self) -> bool {
        match self {
            Self::A12(answer) => matches!(answer, a12::Answer::Session(_)),
            Self::Zmtp(answer) => {
                matches!(answer, zmtp::Answer::Session(_) | zmtp::Answer::Keyless)
            }
            Self::CurveCp(answer) => matches!(answer, curvecp::Answer::Session(_)),
            Self::Refused(_) => false,
        }
    }
}

macro_rules! of_protocol {
    ($($protocol:ident: $module:ident)*) => {$(
        impl From<$module::Ask> for Ask {
            fn from(ask: $module::Ask) -> Self {
                Self::$protocol(ask)
            }
        }

        impl From<$module::Answer> for Answer {
            fn from(answer: $module::Answer) -> Self {
                match answer {
                    $module::Answer::Refused(refusal) => Self::Refused(refusal),
                    answer => Self::$protocol(answer),
                }
            }
        }

        /// An answer for another protocol is out of turn.
        impl TryFrom<Answer> for $module::Answer {
            type Error = Error;

            fn try_from(answer: Answer) -> Result<Self, Error> {
                match answer {
                    Answer::$protocol(answer) => Ok(answer),
                    Answer::Refused(refusal) => Ok(Self::Refused(refusal)),
                    _ => Err(Error::Proto(Violation::OutOfTurn)),
                }
            }
        }
    )*};
}

of_protocol! { A12: a12 Zmtp: zmtp CurveCp: curvecp }

/// What goes into a [`Protocol`].
#[derive(Debug)]
pub enum Input<'a, Answer, Command> {
    /// The next bytes of the peer's stream, at most [`Protocol::room`] of them.
    Bytes(&'a [u8]),
    /// The peer has ended its stream.
    Eof,
    /// The deadline of the last [`Output::Idle`] has passed.
    Timeout,
    /// What the key room says to the pending question.
    Answer(Answer),
    /// What this side wants done.
    Command(Command),
}

/// What comes out of a [`Protocol`].
#[derive(Debug)]
pub enum Output<Ask, Event> {
    /// Bytes were appended: send them, in order.
    Transmit,
    /// Hand this to the key room; nothing more is taken from the peer until it has answered.
    Ask(Ask),
    /// The peer did something.
    Event(Event),
    /// Nothing more for now; if there is a deadline, come back then with [`Input::Timeout`].
    Idle(Option<Instant>),
}

/// Why a machine takes no more, in the three classes of ZeroMQ's security mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// More bytes are needed (`EAGAIN`). Not a failure, not logged.
    #[error("incomplete: {need} bytes are needed")]
    Again {
        /// How many bytes there must be, altogether.
        need: usize,
    },
    /// The peer broke the protocol (`EPROTO`): close, and count it against the source.
    #[error("the peer broke the protocol: {0}")]
    Proto(Violation),
    /// The peer is not let in (`EACCES`): close, and tell it nothing.
    #[error("the peer is refused: {0}")]
    Access(Refusal),
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
pub enum Violation {
    /// No current secret verifies the first packet: a wrong secret, a guess, or noise.
    #[error("the first packet verifies under no secret")]
    FirstPacket,
    /// A tag does not verify.
    #[error("wrong tag")]
    Tag,
    /// The sequence number is not the next one.
    #[error("wrong sequence number")]
    Sequence,
    /// A packet type that must not appear here.
    #[error("packet type {0} out of place")]
    PacketType(u8),
    /// A control command that must not appear here.
    #[error("control command {0} out of place")]
    Command(u8),
    /// A HELLO mode other than the two with a key.
    #[error("unsupported handshake mode {0}")]
    Mode(u8),
    /// The peer's role does not go with ours.
    #[error("role {0} does not go with this side's")]
    Role(u8),
    /// More ephemeral rounds than one.
    #[error("too many ephemeral rounds")]
    Rounds,
    /// A public key that is no key.
    #[error("invalid public key")]
    Key,
    /// A box does not open: another key, another nonce, or changed on the way.
    #[error("a box does not open")]
    Forged,
    /// What a client vouches for is not the key that it uses.
    #[error("the vouch is for another key")]
    Vouch,
    /// A cookie that has been used.
    #[error("a handshake is replayed")]
    Replayed,
    /// Another security mechanism than is spoken here.
    #[error("another security mechanism")]
    Mechanism,
    /// A command of another name than the one that comes next.
    #[error("a command out of place")]
    Unexpected,
    /// A socket of a type that does not go with ours.
    #[error("the socket types do not go together")]
    SocketType,
    /// A rekey out of turn or of unknown mode.
    #[error("rekey out of turn")]
    Rekey,
    /// A field outside its bounds.
    #[error("malformed {0}")]
    Malformed(Field),
    /// More of something than this side holds.
    #[error("too many {0}")]
    TooMany(Field),
    /// The peer has not been heard of for longer than its heartbeat allows.
    #[error("the peer has gone silent")]
    Silent,
    /// The stream ended inside a handshake or a packet.
    #[error("the stream ended in the middle")]
    Truncated,
    /// The handshake took longer than its absolute deadline.
    #[error("the handshake took too long")]
    Deadline,
    /// The embedding code gave what the machine did not ask for; a bug of ours, never the peer's.
    #[error("an answer or command came out of turn")]
    OutOfTurn,
}

/// Why a peer is refused. The peer is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The key room said no.
    #[error("not accepted")]
    NotAccepted,
    /// The key room found that its handshake does not hold.
    #[error("its handshake does not hold: {0}")]
    Broken(Violation),
    /// The script did not take the client.
    #[error("turned away by the script")]
    TurnedAway,
}

/// What a [`Violation`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
pub enum Field {
    /// A control packet.
    #[error("control packets")]
    Control,
    /// An event packet.
    #[error("events")]
    Event,
    /// A data packet.
    #[error("data packets")]
    Data,
    /// A channel.
    #[error("channels")]
    Channel,
    /// An answer of the key room.
    #[error("answers")]
    Answer,
    /// A greeting.
    #[error("greeting")]
    Greeting,
    /// A frame.
    #[error("frame")]
    Frame,
    /// HELLO.
    #[error("HELLO")]
    Hello,
    /// WELCOME, or a Cookie packet.
    #[error("WELCOME")]
    Welcome,
    /// INITIATE.
    #[error("INITIATE")]
    Initiate,
    /// READY.
    #[error("READY")]
    Ready,
    /// ERROR.
    #[error("ERROR")]
    Error,
    /// MESSAGE.
    #[error("message")]
    Message,
    /// Properties of a peer.
    #[error("metadata")]
    Metadata,
    /// The parts of a message.
    #[error("parts")]
    Parts,
    /// The bytes of a message.
    #[error("bytes in a message")]
    Bytes,
    /// What a peer has subscribed to.
    #[error("subscriptions")]
    Subscriptions,
    /// The name of the server that is wanted.
    #[error("server name")]
    Name,
}
