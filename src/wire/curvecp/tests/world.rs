//! A client, a server and the network between them, in a time of their own.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use identity::PublicKey;
use rand_core::{Rng, SeedableRng};

use super::super::*;
use crate::wire::Refusal;
use crate::wire::cookie::Jar;
use crate::wire::crypto::SecretKey;

pub(crate) const SERVER: &str = "192.0.2.1:10000";
pub(crate) const CLIENT: &str = "198.51.100.7:4000";

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What the network does to datagrams, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) twice: u64,
    /// Late, so that others overtake it.
    pub(crate) late: u64,
    pub(crate) delay: Duration,
}

impl Weather {
    pub(crate) const CALM: Self = Self {
        loss: 0,
        twice: 0,
        late: 0,
        delay: Duration::from_micros(100),
    };
}

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Datagrams on their way, by when they come.
struct Network {
    weather: Weather,
    rng: ChaCha20Rng,
    way: BTreeMap<(Instant, u64), Datagram>,
    number: u64,
    sent: u64,
}

impl Network {
    fn chance(&mut self, percent: u64) -> bool {
        self.rng.next_u64() % 100 < percent
    }

    fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        if self.chance(self.weather.loss) {
            return;
        }
        let copies = 1 + u64::from(self.chance(self.weather.twice));
        for _ in 0..copies {
            let late = u32::from(self.chance(self.weather.late)) * 3;
            self.number += 1;
            let bytes = bytes.clone();
            self.way.insert(
                (now + self.weather.delay * (1 + late), self.number),
                Datagram { from, to, bytes },
            );
        }
    }
}

/// What an application does, and what it has seen.
pub(crate) struct Application {
    pub(crate) writes: Vec<u8>,
    pub(crate) written: usize,
    pub(crate) end: Option<End>,
    pub(crate) read: Vec<u8>,
    pub(crate) events: Vec<Event>,
    /// Whether it takes what comes.
    pub(crate) reads: bool,
}

impl Application {
    pub(crate) fn new(writes: Vec<u8>, end: Option<End>) -> Self {
        Self {
            writes,
            written: 0,
            end,
            read: Vec::new(),
            events: Vec::new(),
            reads: true,
        }
    }

    pub(crate) fn saw(&self, event: &Event) -> bool {
        self.events.contains(event)
    }

    fn use_(&mut self, connection: &mut Connection) {
        let rest = &self.writes[self.written..];
        self.written += connection.write(rest);
        if self.written == self.writes.len() {
            match self.end {
                Some(End::Success) => connection.finish(),
                Some(End::Failure) => connection.fail(),
                None => {}
            }
        }
    }

    fn take(&mut self, connection: &mut Connection, event: Event) {
        match event {
            Event::Data(bytes) => {
                connection.credit(bytes.len());
                self.read.extend(bytes);
            }
            other => self.events.push(other),
        }
    }
}

/// One end, once it has a connection.
pub(crate) struct Party {
    pub(crate) application: Application,
    pub(crate) connection: Option<Connection>,
    credited: bool,
    deadline: Option<Instant>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    network: Network,
    pub(crate) endpoint: Endpoint<ChaCha20Rng>,
    pub(crate) client: Option<Client<ChaCha20Rng>>,
    pub(crate) here: SocketAddr,
    pub(crate) at_client: Party,
    pub(crate) at_server: Party,
    pub(crate) host: SecretKey,
    pub(crate) own: SecretKey,
    pub(crate) jar: Jar,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) accepts: bool,
    pub(crate) proved: Vec<PublicKey>,
    pub(crate) failed: Option<ClientError>,
    pub(crate) heard: Vec<Vec<u8>>,
    start: Start,
    pub(crate) idle: Duration,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        weather: Weather,
        client: Application,
        server: Application,
    ) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let now = Instant::now();
        let host = SecretKey::generate(&mut rng);
        let config = ClientConfig {
            addresses: vec![address(SERVER)],
            server: host.public().unwrap(),
            name: "echo.example".parse().unwrap(),
            extension: Extension([3; 16]),
            own: Extension([4; 16]),
        };
        let endpoint = EndpointConfig {
            extension: Extension([3; 16]),
            ..EndpointConfig::default()
        };
        Self {
            now,
            network: Network {
                weather,
                rng: ChaCha20Rng::seed_from_u64(!seed),
                way: BTreeMap::new(),
                number: 0,
                sent: 0,
            },
            endpoint: Endpoint::new(endpoint, ChaCha20Rng::seed_from_u64(seed ^ 1)),
            client: Some(Client::new(
                config,
                now,
                ChaCha20Rng::seed_from_u64(seed ^ 2),
            )),
            here: address(CLIENT),
            at_client: Party::new(client),
            at_server: Party::new(server),
            own: SecretKey::generate(&mut rng),
            jar: Jar::new(keyroom::COOKIES, now, &mut rng),
            host,
            rng,
            accepts: true,
            proved: Vec::new(),
            failed: None,
            heard: Vec::new(),
            start: Start::Within(Duration::ZERO),
            idle: IDLE,
        }
    }

    /// How many datagrams were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.network.sent
    }

    /// What the key room of the host says.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Answer {
        let refused = Answer::Refused(Refusal::NotAccepted);
        let (now, hosts) = (self.now, [&self.host]);
        let name = "echo.example".parse().unwrap();
        match ask {
            Ask::Hello(hello) => keyroom::cookie(
                hello,
                Extension([3; 16]),
                &hosts,
                &mut self.jar,
                now,
                &mut self.rng,
            )
            .map_or(refused, |cookie| Answer::Cookie(Box::new(cookie))),
            Ask::Initiate(packet) if self.accepts => {
                let proved =
                    keyroom::initiate(packet, &hosts, &name, &mut self.jar, now, &mut self.rng);
                proved.map_or(refused, |proved| {
                    self.proved.push(proved.key);
                    Answer::Session(proved.session)
                })
            }
            Ask::Initiate(_) => refused,
            Ask::Vouch { client, server } => Answer::Vouch {
                key: self.own.public().unwrap(),
                vouch: Box::new(keyroom::vouch(&self.own, client, server, [8; 16])),
            },
        }
    }

    fn work_client(&mut self) {
        while let Some(client) = &mut self.client {
            let mut out = Vec::new();
            match client.poll(self.now, &mut out) {
                ClientOutput::Transmit(to) => self.network.send(self.now, self.here, to, out),
                ClientOutput::Ask(ask) => {
                    let answer = self.answer(&ask);
                    self.client.as_mut().unwrap().answer(answer);
                }
                ClientOutput::Connected(tunnel) => {
                    let connection = Connection::new(*tunnel, self.start, self.idle, self.now);
                    self.at_client.connection = Some(connection);
                    self.client = None;
                }
                ClientOutput::Failed(error) => {
                    self.failed = Some(error);
                    self.client = None;
                }
                ClientOutput::Idle(deadline) => {
                    self.at_client.deadline = deadline;
                    break;
                }
            }
        }
        let sends = self.at_client.work(self.now);
        for (to, bytes) in sends {
            self.network.send(self.now, self.here, to, bytes);
        }
    }

    fn work_server(&mut self) {
        while let Some((question, ask)) = self.endpoint.poll() {
            let answer = self.answer(&ask);
            match self.endpoint.answer(question, answer) {
                Outcome::Nothing => {}
                Outcome::Transmit(to, packet) => {
                    self.network
                        .send(self.now, address(SERVER), to, packet.0.to_vec());
                }
                Outcome::Open(accepted) => {
                    let mut connection =
                        Connection::new(accepted.tunnel, Start::Silent, self.idle, self.now);
                    for message in &accepted.messages {
                        connection.deliver(self.now, message);
                    }
                    self.at_server.connection = Some(connection);
                }
            }
        }
        let sends = self.at_server.work(self.now);
        for (to, bytes) in sends {
            self.network.send(self.now, address(SERVER), to, bytes);
        }
    }

    /// Lets both ends do what there is to do now.
    pub(crate) fn work(&mut self) {
        self.work_client();
        self.work_server();
    }

    /// Something comes to the server.
    pub(crate) fn arrive(&mut self, from: SocketAddr, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if self.endpoint.handle(from, &bytes).is_some()
            && let Some(connection) = &mut self.at_server.connection
        {
            connection.receive(self.now, from, &mut bytes);
        }
    }

    /// Goes on to the next thing that happens, if it is not later than this.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        self.work();
        let network = self.network.way.first_key_value().map(|((at, _), _)| *at);
        let next = [network, self.at_client.deadline, self.at_server.deadline];
        let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(first) = self.network.way.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let Datagram {
                from,
                to,
                mut bytes,
            } = first.remove();
            if to == address(SERVER) {
                self.heard.push(bytes.clone());
                self.arrive(from, &bytes);
            } else if to == self.here {
                if let Some(client) = &mut self.client {
                    client.receive(from, &bytes);
                } else if let Some(connection) = &mut self.at_client.connection {
                    connection.receive(self.now, from, &mut bytes);
                }
            }
            if self.heard.len() > 64 {
                self.heard.pop();
            }
            self.work();
        }
        true
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Goes on until this holds; `false` if it does not within that time.
    pub(crate) fn until(&mut self, time: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + time;
        loop {
            if holds(self) {
                return true;
            }
            if !self.step(until) {
                return holds(self);
            }
        }
    }

    /// Whether both applications have seen the end of the other's stream, and of their own.
    pub(crate) fn is_over(&self) -> bool {
        [&self.at_client, &self.at_server].iter().all(|end| {
            let seen = |event| end.application.saw(&event);
            (seen(Event::Eof) || seen(Event::Failed)) && seen(Event::Sent)
        })
    }
}

impl Party {
    pub(crate) fn new(application: Application) -> Self {
        Self {
            application,
            connection: None,
            credited: false,
            deadline: None,
        }
    }

    /// What is to be sent.
    fn work(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sends = Vec::new();
        let Some(connection) = &mut self.connection else {
            return sends;
        };
        self.deadline = None;
        if self.application.reads && !self.credited {
            self.credited = true;
            connection.credit(131_072);
        }
        self.application.use_(connection);
        for _ in 0.. {
            assert!(sends.len() < 1000, "it never stops");
            let mut out = Vec::new();
            match connection.poll(now, &mut out) {
                Output::Transmit(to) => {
                    assert!(out.len() <= packet::PACKET);
                    sends.push((to, out));
                }
                Output::Event(event) => {
                    self.application.take(connection, event);
                    self.application.use_(connection);
                }
                Output::Idle(deadline) => {
                    assert!(deadline.is_none_or(|at| at > now), "a deadline has passed");
                    self.deadline = deadline;
                    break;
                }
            }
        }
        sends
    }
}

/// Bytes in which nothing repeats soon.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (7 * at + at / 256) as u8).collect()
}
