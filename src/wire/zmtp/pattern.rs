//! What a socket of each type does with messages, as far as it concerns one peer (RFC 28, 29, 30
//! and 31).

use std::collections::VecDeque;

use super::peer::{Event, Message, Outbox};
use super::socket::SocketType;
use super::subscriptions::Subscriptions;
use crate::wire::Violation;

/// A socket's state towards one peer.
pub(super) enum Pattern {
    /// DEALER, ROUTER, PAIR: messages as they are.
    Plain,
    /// PUSH: messages go out only.
    Push,
    /// PULL: messages come in only.
    Pull,
    Req {
        /// A request has gone out.
        asked: bool,
    },
    Rep(Rep),
    Pub {
        wanted: Subscriptions,
        /// XPUB: the application sees what comes in.
        shown: bool,
    },
    Sub(Subscriptions),
    /// XSUB: messages as they are, and ours may be subscriptions.
    Xsub,
}

/// A replier: one request at a time.
#[derive(Default)]
pub(super) struct Rep {
    /// What stood before the request that the application has, up to the empty part.
    envelope: Option<Message>,
    /// Requests that have to wait.
    waiting: VecDeque<(Message, Message)>,
    /// How many bytes they have.
    bytes: usize,
}

/// What is to become of a message of ours.
pub(super) enum Outgoing {
    /// Send these parts, and then the message.
    Send(Message, Message),
    /// Nobody wants it.
    Unwanted,
    /// It may not be sent, or not now.
    OutOfTurn(Message),
}

impl Pattern {
    pub(super) fn new(kind: SocketType) -> Self {
        match kind {
            SocketType::Dealer | SocketType::Router | SocketType::Pair => Self::Plain,
            SocketType::Push => Self::Push,
            SocketType::Pull => Self::Pull,
            SocketType::Req => Self::Req { asked: false },
            SocketType::Rep => Self::Rep(Rep::default()),
            SocketType::Pub | SocketType::Xpub => Self::Pub {
                wanted: Subscriptions::default(),
                shown: kind == SocketType::Xpub,
            },
            SocketType::Sub => Self::Sub(Subscriptions::default()),
            SocketType::Xsub => Self::Xsub,
        }
    }

    /// A message came in.
    pub(super) fn received(
        &mut self,
        mut message: Message,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        match self {
            Self::Plain | Self::Pull | Self::Xsub => out.event(Event::Message(message)),
            Self::Push => {}
            Self::Req { asked } => {
                if *asked && message.len() > 1 && message.first().is_some_and(Vec::is_empty) {
                    *asked = false;
                    message.remove(0);
                    out.event(Event::Message(message));
                }
            }
            Self::Rep(rep) => rep.received(message, out),
            Self::Pub { shown, .. } => match message.as_slice() {
                [only] => match only.split_first() {
                    Some((1, topic)) => self.subscribed(topic, out)?,
                    Some((0, topic)) => self.cancelled(topic, out),
                    _ if *shown => out.event(Event::Message(message)),
                    _ => {}
                },
                _ if *shown => out.event(Event::Message(message)),
                _ => {}
            },
            Self::Sub(topics) => {
                let subject = message.first().map_or(&[][..], Vec::as_slice);
                if topics.matches(subject) {
                    out.event(Event::Message(message));
                }
            }
        }
        Ok(())
    }

    /// The peer has subscribed.
    pub(super) fn subscribed(&mut self, topic: &[u8], out: &mut Outbox) -> Result<(), Violation> {
        if let Self::Pub { wanted, shown } = self {
            let first = wanted.add(topic)?;
            if *shown {
                let topic = topic.to_vec();
                out.event(Event::Subscribed { topic, first });
            }
        }
        Ok(())
    }

    /// The peer has taken back a subscription.
    pub(super) fn cancelled(&mut self, topic: &[u8], out: &mut Outbox) {
        if let Self::Pub { wanted, shown } = self
            && let Some(last) = wanted.cancel(topic)
            && *shown
        {
            let topic = topic.to_vec();
            out.event(Event::Cancelled { topic, last });
        }
    }

    /// Whether what we subscribe to is to be told. SUB also looks at what comes in.
    pub(super) fn subscribe(&mut self, topic: &[u8]) -> Result<bool, Violation> {
        match self {
            Self::Sub(topics) => topics.add(topic).map(|_| true),
            other => Ok(matches!(other, Self::Xsub)),
        }
    }

    /// Whether what we do not subscribe to any more is to be told.
    pub(super) fn cancel(&mut self, topic: &[u8]) -> bool {
        match self {
            Self::Sub(topics) => topics.cancel(topic).is_some(),
            other => matches!(other, Self::Xsub),
        }
    }

    /// A message is to go out.
    pub(super) fn outgoing(&mut self, message: Message, out: &mut Outbox) -> Outgoing {
        match self {
            Self::Plain | Self::Push | Self::Xsub => Outgoing::Send(Vec::new(), message),
            Self::Req { asked } if !*asked => {
                *asked = true;
                Outgoing::Send(vec![Vec::new()], message)
            }
            Self::Rep(rep) => match rep.envelope.take() {
                Some(envelope) => {
                    rep.next(out);
                    Outgoing::Send(envelope, message)
                }
                None => Outgoing::OutOfTurn(message),
            },
            Self::Pub { wanted, .. } => {
                let subject = message.first().map_or(&[][..], Vec::as_slice);
                match wanted.matches(subject) {
                    true => Outgoing::Send(Vec::new(), message),
                    false => Outgoing::Unwanted,
                }
            }
            Self::Pull | Self::Sub(_) | Self::Req { .. } => Outgoing::OutOfTurn(message),
        }
    }

    /// The application will not answer the request that it has.
    pub(super) fn abandon(&mut self, out: &mut Outbox) {
        if let Self::Rep(rep) = self
            && rep.envelope.take().is_some()
        {
            rep.next(out);
        }
    }

    /// Whether it is our turn to send, and the peer wants anything.
    pub(super) fn may_send(&self) -> bool {
        match self {
            Self::Plain | Self::Push | Self::Xsub => true,
            Self::Pull | Self::Sub(_) => false,
            Self::Req { asked } => !asked,
            Self::Rep(rep) => rep.envelope.is_some(),
            Self::Pub { wanted, .. } => !wanted.is_empty(),
        }
    }

    /// Whether the peer has to wait with more.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Rep(rep) if rep.waiting.len() > WAITING || rep.bytes > WAITING_BYTES)
    }
}

impl Rep {
    /// What has no envelope is no request.
    fn received(&mut self, mut message: Message, out: &mut Outbox) {
        let Some(empty) = message.iter().position(Vec::is_empty) else {
            return;
        };
        let request = message.split_off(empty + 1);
        if request.is_empty() {
            return;
        }
        self.bytes += size(&request) + size(&message);
        self.waiting.push_back((message, request));
        if self.envelope.is_none() {
            self.next(out);
        }
    }

    fn next(&mut self, out: &mut Outbox) {
        if let Some((envelope, request)) = self.waiting.pop_front() {
            self.bytes -= size(&request) + size(&envelope);
            self.envelope = Some(envelope);
            out.event(Event::Message(request));
        }
    }
}

fn size(message: &Message) -> usize {
    message.iter().map(Vec::len).sum()
}

const WAITING: usize = 1000;
const WAITING_BYTES: usize = 256 * 1024;
