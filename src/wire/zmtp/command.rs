//! Commands of a session (RFC 37, sections "Heartbeating" and "The Publish-Subscribe pattern"): a
//! name with 1 byte of length, then what belongs to it.

/// As many bytes of context a PING may have; what is more is left out of the answer, as by libzmq.
pub const CONTEXT: usize = 16;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Are you there?
    Ping {
        /// How long to wait for the sender's next one, tenths of a second; 0: for ever.
        ttl: u16,
        /// Comes back with the answer.
        context: &'a [u8],
    },
    /// Yes.
    Pong {
        /// Of the PING.
        context: &'a [u8],
    },
    /// Wants messages that begin so.
    Subscribe(&'a [u8]),
    /// Does not want them any more.
    Cancel(&'a [u8]),
}

impl<'a> Command<'a> {
    /// Reads a command. One that is unknown or malformed means nothing, and is to be ignored.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (&length, rest) = body.split_first()?;
        let (name, content) = rest.split_at_checked(length.into())?;
        match name {
            b"PING" => {
                let (ttl, context) = content.split_first_chunk()?;
                let (context, _) = context.split_at(context.len().min(CONTEXT));
                Some(Self::Ping {
                    ttl: u16::from_be_bytes(*ttl),
                    context,
                })
            }
            b"PONG" => Some(Self::Pong { context: content }),
            b"SUBSCRIBE" => Some(Self::Subscribe(content)),
            b"CANCEL" => Some(Self::Cancel(content)),
            _ => None,
        }
    }

    /// Appends it as the wire has it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (name, content): (&[u8], _) = match *self {
            Self::Ping { ttl, context } => {
                out.extend_from_slice(b"\x04PING");
                out.extend_from_slice(&ttl.to_be_bytes());
                (b"", context)
            }
            Self::Pong { context } => (b"\x04PONG", context),
            Self::Subscribe(topic) => (b"\x09SUBSCRIBE", topic),
            Self::Cancel(topic) => (b"\x06CANCEL", topic),
        };
        out.extend_from_slice(name);
        out.extend_from_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_context_is_cut_and_a_ping_without_ttl_is_none() {
        let mut body = b"\x04PING\0\x0a".to_vec();
        body.extend_from_slice(&[7; 63]);
        let context = &[7; 16][..];
        assert_eq!(
            Command::parse(&body),
            Some(Command::Ping { ttl: 10, context })
        );
        assert_eq!(Command::parse(b"\x04PING\0"), None);
        assert_eq!(Command::parse(b"\x04PING"), None);
    }

    #[test]
    fn what_is_unknown_or_malformed_is_no_command() {
        for body in [
            &b""[..],
            b"\0",
            b"\x05HELLO",
            b"\x09SUBSCRIB",
            b"\xffPING\0\0",
        ] {
            assert_eq!(Command::parse(body), None);
        }
    }

    proptest! {
        #[test]
        fn a_command_reads_as_it_was_written(ttl: u16, content in prop::collection::vec(any::<u8>(), 0..=16)) {
            for command in [
                Command::Ping { ttl, context: &content },
                Command::Pong { context: &content },
                Command::Subscribe(&content),
                Command::Cancel(&content),
            ] {
                let mut out = Vec::new();
                command.write(&mut out);
                prop_assert_eq!(Command::parse(&out), Some(command));
            }
        }
    }
}
