//! Listeners, and connections that the script has asked for.

use identity::{Name, PublicKey, Secret};

use super::{MAX_LISTENERS, MAX_QUEUED, MAX_SAID, World};
use crate::ipc::script::{Connect, FromScript, Listen, Wanted, WindowStatus};
use crate::ipc::{ConnectOptions, ListenerId, Options, Scheme};
use crate::script::status::{self, Status};
use crate::script::vids::{Address, Listener, Object, Segment, Stage, Vid};

impl World {
    /// Asks the host for a listener.
    pub(in crate::script) fn listen(
        &mut self,
        name: Name,
        interface: String,
        port: u16,
        options: Options,
        place: String,
    ) -> Option<Vid> {
        if self.listeners.len() >= MAX_LISTENERS || self.outbox.host.len() >= MAX_SAID {
            return None;
        }
        let id = ListenerId(self.next_listener);
        let vid = self.add(Object::Listener(Listener {
            id,
            name: name.clone(),
            has_secrets: Scheme::of(&interface).0.is_ok_and(Scheme::has_secrets),
            place: place.clone(),
            cookie: self.cookie(),
        }))?;
        self.next_listener += 1;
        self.listeners.insert(id, vid);
        self.outbox.host.push(FromScript::Listen(Listen {
            listener: id,
            name,
            interface,
            port,
            options,
            place,
        }));
        self.tell(vid, Status::Preroll(status::NETWORK_SERVER));
        Some(vid)
    }

    /// Sets the listener's secret; `num:secret` with a mistake in it is told as a `failure`.
    pub(in crate::script) fn secret(&mut self, vid: Vid, text: &[u8]) -> Result<(), String> {
        let Some(Object::Listener(Listener {
            id, has_secrets, ..
        })) = self.objects.get(&vid)
        else {
            return Err("secret: this is no listener".to_owned());
        };
        if !has_secrets {
            return Err("secret: clients of this protocol have no field for one".to_owned());
        }
        if self.outbox.host.len() >= MAX_SAID || self.queue.len() >= MAX_QUEUED {
            return Err("secret: too many in one call".to_owned());
        }
        match parse_secret(text) {
            Ok((count, secret)) => {
                self.outbox.host.push(FromScript::Secret(Wanted {
                    listener: *id,
                    secret,
                    required: true,
                    count,
                    seconds: None,
                }));
                Ok(())
            }
            Err(message) => {
                self.tell(vid, Status::Failure(message.clone()));
                Err(message)
            }
        }
    }

    /// The windows of a listener's name.
    pub(in crate::script) fn windows(&self, listener: ListenerId) -> &[WindowStatus] {
        self.windows.get(&listener).map_or(&[], Vec::as_slice)
    }

    /// Asks the host for a connection to a server.
    pub(in crate::script) fn connect(
        &mut self,
        (host, port): (String, u16),
        server: PublicKey,
        options: ConnectOptions,
        place: String,
    ) -> Option<Vid> {
        if self.connections.len() >= MAX_LISTENERS || self.outbox.host.len() >= MAX_SAID {
            return None;
        }
        let id = ListenerId(self.next_listener);
        let label = format!("connection to {host}:{port} ({place})");
        let carries = options.carries();
        let kind = status::foreign(carries).unwrap_or(status::MESSAGES);
        let mut segment = Segment {
            carries,
            stage: Stage::Active(kind),
            ..self.blank(id, Address::Asked, label)
        };
        segment.out.pause();
        let vid = self.new_segment(segment)?;
        self.next_listener += 1;
        self.connections.insert(id, vid);
        self.outbox.host.push(FromScript::Connect(Connect {
            connection: id,
            host,
            port,
            server,
            options,
            place,
        }));
        Some(vid)
    }
}

/// Takes `num:secret` apart; the error is for the script and does not have the secret in it.
fn parse_secret(text: &[u8]) -> Result<(u32, Secret), String> {
    let colon = text
        .iter()
        .position(|&b| b == b':')
        .ok_or("secret: want num:secret")?;
    let (number, secret) = (text.get(..colon), text.get(colon + 1..));
    let count = number
        .and_then(|number| std::str::from_utf8(number).ok())
        .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|number| number.parse().ok())
        .ok_or("secret: num is not a number")?;
    let secret = Secret::parse(secret.unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok((count, secret))
}
