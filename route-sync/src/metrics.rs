//! Prometheus metrics, /healthz and /readyz, over as much of HTTP/1.1 as they need (RFC 9112): a
//! request without body, one answer, the connection closed.

mod text;

use crate::control::ask;
use crate::query::{Figures, Query};
use crate::serve::{Client, serve};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A loop that takes longer to answer is not healthy.
const HEALTHY: Duration = Duration::from_secs(2);
/// More of a request's head than any client sends, in bytes.
const HEAD_LIMIT: usize = 8 << 10;
/// The media type of the format (Prometheus, "Exposition formats").
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Listens on an address and serves it on the current runtime.
///
/// # Errors
/// The address is not this node's, or is taken.
pub fn listen(address: SocketAddr, queries: mpsc::Sender<Query>) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    start(TcpListener::from_std(listener)?, queries);
    Ok(())
}

fn start(listener: TcpListener, queries: mpsc::Sender<Query>) {
    let listener = Arc::new(listener);
    let accept = move || {
        let listener = Arc::clone(&listener);
        async move {
            let (stream, from) = listener.accept().await?;
            Ok((stream, Some(from.ip().to_canonical())))
        }
    };
    tokio::spawn(serve(accept, move |stream, client| answer(stream, client, queries.clone())));
}

async fn answer(
    mut stream: TcpStream,
    client: Client,
    queries: mpsc::Sender<Query>,
) -> io::Result<()> {
    let head = client.asks(head(&mut stream)).await?;
    let (answer, body) = match request(&head) {
        Ok(request) => (respond(request.path, &queries).await, !request.head),
        Err(answer) => (answer, true),
    };
    stream.write_all(&answer.to_bytes(body)).await?;
    stream.shutdown().await
}

/// A request's head, or as much of it as came before the limit or the end.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while head.len() <= HEAD_LIMIT && !ended(&head) {
        match stream.read(&mut part).await? {
            0 => break,
            length => head.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    Ok(head)
}

fn ended(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    path: &'a str,
    head: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn plain(status: &'static str, body: &str) -> Answer {
        Answer { status, kind: PLAIN, body: format!("{body}\n") }
    }

    fn to_bytes(&self, with_body: bool) -> Vec<u8> {
        let Answer { status, kind, body } = self;
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let length = body.len();
        let body = if with_body { body } else { "" };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             {allow}Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// What a head asks for, or what is answered to one that cannot be served.
fn request(head: &[u8]) -> Result<Request<'_>, Answer> {
    let bad = || Answer::plain("400 Bad Request", "this is no HTTP/1 request");
    if !ended(head) {
        return Err(match head.len() > HEAD_LIMIT {
            true => Answer::plain("431 Request Header Fields Too Large", "too long a request"),
            false => bad(),
        });
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| bad())?.trim_end_matches('\r');
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Err(bad());
    }
    let path = target.split('?').next().unwrap_or(target);
    match method {
        "GET" | "HEAD" => Ok(Request { path, head: method == "HEAD" }),
        _ => Err(Answer::plain("405 Method Not Allowed", "GET or HEAD")),
    }
}

async fn respond(path: &str, queries: &mpsc::Sender<Query>) -> Answer {
    if !["/metrics", "/healthz", "/readyz"].contains(&path) {
        return Answer::plain("404 Not Found", "there are /metrics, /healthz and /readyz");
    }
    let figures = tokio::time::timeout(HEALTHY, ask(queries, Query::Figures)).await;
    let Ok(Some(figures)) = figures else {
        return Answer::plain("503 Service Unavailable", "the daemon's loop does not answer");
    };
    match path {
        "/metrics" => Answer { status: "200 OK", kind: METRICS, body: text::metrics(&figures) },
        "/readyz" if !figures.synced => {
            Answer::plain("503 Service Unavailable", "no complete node set is carried out yet")
        }
        _ => Answer::plain("200 OK", "ok"),
    }
}

#[cfg(test)]
mod tests;
