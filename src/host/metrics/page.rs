//! The page: as much of HTTP as somebody needs who collects numbers. One request of a few bytes for
//! each connection, few connections, and little time.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use keystore::Actor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::Loopback;
use crate::host::Event;
use crate::host::control::Reply;
use crate::ipc::admin::{FromHost, ToHost};

/// Serves the page until the host's loop is gone.
pub(in crate::host) fn serve(at: Loopback, events: mpsc::Sender<Event>) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(at.0)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "telling numbers: GET /metrics");
    tokio::task::spawn_local(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            // One too many is closed without a word.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let events = events.clone();
            tokio::task::spawn_local(async move {
                // Who is too slow gets nothing.
                let _ = timeout(DEADLINE, converse(stream, events)).await;
                drop(place);
            });
        }
    });
    Ok(())
}

async fn converse(mut stream: TcpStream, events: mpsc::Sender<Event>) -> io::Result<()> {
    let mut head = Vec::with_capacity(REQUEST);
    while !ends(&head) && head.len() < REQUEST {
        let left = REQUEST - head.len();
        if (&mut stream).take(number(left)).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let (status, text) = match asked(&head) {
        Ok(()) => match numbers(events).await {
            Some(text) => (OK, text),
            None => (UNAVAILABLE, String::new()),
        },
        Err(status) => (status, String::new()),
    };
    let text = match status {
        OK => text,
        status => format!("{status}\n"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nAllow: GET\r\nX-Content-Type-Options: nosniff\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Asks the host's loop.
async fn numbers(events: mpsc::Sender<Event>) -> Option<String> {
    let (reply, mut answers) = Reply::new();
    let event = Event::Admin(Actor::Host, ToHost::Metrics, reply);
    events.send(event).await.ok()?;
    match answers.recv().await? {
        FromHost::Metrics(lines) => Some(lines.join("\n") + "\n"),
        _ => None,
    }
}

/// Whether the head of a request is there.
fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

/// Whether a request is for the page; else what it is answered.
fn asked(head: &[u8]) -> Result<(), &'static str> {
    if !ends(head) {
        return Err(if head.len() < REQUEST { BAD } else { TOO_LARGE });
    }
    let text = str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path, version) = (words.next(), words.next(), words.next());
    if words.next().is_some() || !version.is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Err(BAD);
    }
    // A page of somebody else's, in a browser here, may have a name of its own point at us.
    let host = lines.filter_map(|line| line.split_once(':'));
    let mut host = host.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    if !host.all(|(_, host)| is_here(host.trim())) {
        return Err(MISDIRECTED);
    }
    match (method, path) {
        (Some("GET"), Some("/metrics")) => Ok(()),
        (Some("GET"), _) => Err(NOT_FOUND),
        _ => Err(NOT_ALLOWED),
    }
}

/// Whether a host, with or without a port, is this machine by number, or `localhost`.
fn is_here(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let bare = bare.unwrap_or_default();
    let address = bare.parse::<IpAddr>();
    bare.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn number(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

const OK: &str = "200 OK";
const BAD: &str = "400 Bad Request";
const NOT_FOUND: &str = "404 Not Found";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const MISDIRECTED: &str = "421 Misdirected Request";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";
const UNAVAILABLE: &str = "503 Service Unavailable";

/// The most bytes of a request.
const REQUEST: usize = 4096;

/// How long one may take, answer and all.
const DEADLINE: Duration = Duration::from_secs(2);

/// So many at once.
const CONNECTIONS: usize = 4;

/// How long to wait when the socket does not work.
const BACK_OFF: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_is_there_and_only_for_this_machine() {
        let ask = |text: &str| asked(text.as_bytes());
        for good in [
            "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nhost:[::1]:9464\r\nAccept: */*\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /metrics HTTP/1.0\n\n",
        ] {
            assert_eq!(ask(good), Ok(()), "{good}");
        }
        for (wrong, status) in [
            ("GET / HTTP/1.1\r\n\r\n", NOT_FOUND),
            ("GET /metrics/../x HTTP/1.1\r\n\r\n", NOT_FOUND),
            ("POST /metrics HTTP/1.1\r\n\r\n", NOT_ALLOWED),
            ("GET /metrics\r\n\r\n", BAD),
            ("GET  /metrics HTTP/1.1\r\n\r\n", BAD),
            ("\r\n\r\n", BAD),
            ("GET /metrics HTTP/1.1\r\n", BAD),
            (
                "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                MISDIRECTED,
            ),
            (
                "GET /metrics HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
                MISDIRECTED,
            ),
        ] {
            assert_eq!(ask(wrong), Err(status), "{wrong}");
        }
        let long = "GET /metrics HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(REQUEST);
        assert_eq!(ask(&long), Err(TOO_LARGE));
        assert_eq!(asked(b"GET /metrics HTTP/1.1\r\nX: \xff\r\n\r\n"), Err(BAD));
    }
}
