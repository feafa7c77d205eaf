//! Host and frameserver.

use std::net::SocketAddr;
use std::time::Duration;

use identity::{PublicKey, Reference};
use serde::{Deserialize, Serialize};

use super::{ConnectionId, Denied, Exit, Framing, SessionId, Unproved};
use crate::wire::a12::{Role, SecretId, StageKeys};
use crate::wire::{Answer, Ask, Refusal, Violation, curvecp, zmtp};

/// What the host says to a frameserver.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToFrameserver {
    /// The first message. Its descriptors: the data link, then the bound and listening sockets.
    Listen(Listen),
    /// The current secrets have changed; these replace all of them.
    Secrets(Vec<Candidate>),
    /// What the key room says to this connection's pending question. With one that
    /// [admits](Answer::admits) comes the session that the peer has become; its descriptor, where
    /// datagrams are spoken: a socket for that peer alone.
    Answer {
        /// The connection that asked.
        connection: ConnectionId,
        /// The answer.
        answer: Answer,
        /// Present exactly with an answer that admits.
        session: Option<SessionId>,
    },
    /// The script has decided; after `true` the session's events go to the data link.
    Decision {
        /// The session it decided on.
        session: SessionId,
        /// Taken, or turned away.
        accept: bool,
    },
    /// End this session now, and confirm with [`FromFrameserver::Gone`].
    Drop(SessionId),
    /// Close the listening sockets and whatever is not a session yet; end after the last session.
    StopListening,
    /// To one that is a client: speak on this connection, its descriptor, or, where datagrams are
    /// spoken, on this socket, which sends to the server alone. It is a session from the start, and what it asks comes under the session's number.
    Connected(SessionId),
    /// The script process is a new one. Its descriptor: the new data link. Every accepted session
    /// is announced on it.
    Relink,
    /// A program talks with this session's peer from here on. Its descriptors: the pipe that it
    /// reads from, and the one that it writes to; both non-blocking.
    Program {
        /// Which session.
        session: SessionId,
        /// How messages are told apart.
        framing: Framing,
    },
    /// The program has ended; what it has written is in its pipe.
    ProgramEnded {
        /// Of which session.
        session: SessionId,
        /// How.
        exit: Exit,
    },
}

/// How to listen.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listen {
    /// What is spoken.
    pub speaks: Speaks,
    /// From the accepted connection to the proof, whatever happens in between.
    pub handshake: Duration,
    /// How many connections that have proved nothing are held at once.
    pub unproved: Unproved,
    /// Refuse sources that have broken the rules too often, for a while.
    pub penalties: bool,
    /// Refuse to start unless every action that the sandbox denies is denied.
    pub require_sandbox: bool,
}

/// What a listener speaks, and how.
#[derive(Debug, Serialize, Deserialize)]
pub enum Speaks {
    /// Arcan's protocol.
    A12 {
        /// Our role.
        role: Role,
        /// The current secrets, at most [`Listen::MAX_SECRETS`].
        secrets: Vec<Candidate>,
    },
    /// ZeroMQ's.
    Zmtp {
        /// Our socket.
        socket: Box<zmtp::Socket>,
        /// Peers without a key may come.
        keyless: bool,
        /// How many messages may wait for one peer.
        high_water: u32,
    },
    /// ZeroMQ's, as a client: nobody is listened for.
    ZmtpClient {
        /// The server's key.
        server: PublicKey,
        /// Our socket.
        socket: Box<zmtp::Socket>,
        /// How many messages may wait for the server.
        high_water: u32,
    },
    /// CurveCP.
    CurveCp {
        /// Tells servers apart that share an address.
        extension: curvecp::Extension,
        /// After so long without a packet a connection is over.
        idle: Duration,
    },
    /// CurveCP, as a client: nobody is listened for.
    CurveCpClient {
        /// The server's long-term key.
        server: PublicKey,
        /// The name by which it goes.
        name: Box<curvecp::ServerName>,
        /// Its extension.
        extension: curvecp::Extension,
        /// Our own.
        own: curvecp::Extension,
        /// After so long without a packet a connection is over.
        idle: Duration,
    },
}

impl Listen {
    /// How many secrets a first packet is tried against.
    pub const MAX_SECRETS: usize = 8;
}

/// A secret that a first packet is tried against, as the keys derived from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Candidate {
    /// The host's number for it.
    pub id: SecretId,
    /// Its first-packet keys.
    pub keys: StageKeys,
}

/// What a frameserver says to the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromFrameserver {
    /// Locked down and about to accept; says what the sandbox denies, and by which layer.
    Ready(Vec<Denied>),
    /// It cannot do its work.
    Failed(String),
    /// A question for the key room.
    Ask {
        /// Which connection asks; it has one question pending at most.
        connection: ConnectionId,
        /// Where it comes from.
        source: SocketAddr,
        /// What its peer can call this attempt.
        reference: Option<Reference>,
        /// The question.
        ask: Ask,
    },
    /// A connection that was no session has ended.
    Closed {
        /// Which one.
        connection: ConnectionId,
        /// Where it came from.
        source: SocketAddr,
        /// What its peer can call this attempt, if its first packet was whole.
        reference: Option<Reference>,
        /// Why.
        why: Ended,
    },
    /// What has become of strangers; at most once a second, and only if something is new.
    Strangers(Strangers),
    /// A client's session has been taken by its server.
    Up(SessionId),
    /// A session has ended.
    Gone {
        /// Which one.
        session: SessionId,
        /// Why.
        why: Ended,
    },
}

/// What has become of the strangers of a listener: those who have proved no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strangers {
    /// How many connections are held that have proved nothing.
    pub unproved: u32,
    /// How many had to go to make room, since the frameserver was started.
    pub dropped: u64,
    /// How many sources are shut out.
    pub shut_out: u32,
    /// How many connections were closed as they came, from sources that are shut out, since the
    /// frameserver was started.
    pub refused: u64,
}

impl Strangers {
    /// As many sources are remembered that owe something.
    pub const SOURCES: u32 = 8192;
}

/// Why a connection or session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// The peer closed.
    Peer,
    /// It broke the protocol.
    Violation(Violation),
    /// It was refused.
    Refused(Refusal),
    /// The host or the script ended it.
    Told,
    /// The connection broke.
    Broken,
    /// Room was needed for others.
    Crowded,
}
