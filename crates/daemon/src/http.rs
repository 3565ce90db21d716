//! Prometheus metrics, /healthz and /readyz, over as much of HTTP/1.1 as they need (RFC 9112): a
//! request without body, one answer, the connection closed.

use crate::clients::{Client, serve};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A daemon whose loop takes longer to answer is not healthy.
const HEALTHY: Duration = Duration::from_secs(2);
/// More of a request's head than any client sends, in bytes.
const HEAD_LIMIT: usize = 8 << 10;
/// The media type of the format (Prometheus, "Exposition formats").
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The state of a daemon, as its loop answers.
pub trait Health {
    /// What /metrics answers ([`crate::metrics::Text`]).
    fn metrics(&self) -> String;
    /// Why /readyz answers 503, in words; `None` when the daemon is ready.
    fn not_ready(&self) -> Option<&str>;
}

/// Listens on an address and serves it on the current runtime; `ask` asks the daemon's loop for its
/// state, and returns `None` when the loop has ended. Returns the address, with the port that the
/// kernel chose for port 0.
///
/// # Errors
/// The address is not this node's, or is taken.
pub fn listen<H, A>(
    address: SocketAddr,
    ask: impl Fn() -> A + Clone + Send + 'static,
) -> io::Result<SocketAddr>
where
    H: Health + Send + 'static,
    A: Future<Output = Option<H>> + Send + 'static,
{
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = Arc::new(TcpListener::from_std(listener)?);
    let accept = move || {
        let listener = Arc::clone(&listener);
        async move {
            let (stream, from) = listener.accept().await?;
            Ok((stream, Some(from.ip().to_canonical())))
        }
    };
    let handle = move |stream, client| answer(stream, client, ask.clone());
    tokio::spawn(async move { serve(accept, handle).await });
    Ok(address)
}

async fn answer<H, A>(mut stream: TcpStream, client: Client, ask: impl Fn() -> A) -> io::Result<()>
where
    H: Health,
    A: Future<Output = Option<H>>,
{
    let head = client.request(head(&mut stream)).await?;
    let (answer, body) = match request(&head) {
        Ok(request) => (respond(request.path, ask).await, !request.head),
        Err(answer) => (answer, true),
    };
    stream.write_all(&answer.to_bytes(body)).await?;
    stream.shutdown().await
}

/// A request's head, or as much of it as arrived before the limit or the end.
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

async fn respond<H, A>(path: &str, ask: impl Fn() -> A) -> Answer
where
    H: Health,
    A: Future<Output = Option<H>>,
{
    if !["/metrics", "/healthz", "/readyz"].contains(&path) {
        return Answer::plain("404 Not Found", "there are /metrics, /healthz and /readyz");
    }
    let Ok(Some(health)) = tokio::time::timeout(HEALTHY, ask()).await else {
        return Answer::plain("503 Service Unavailable", "the daemon's loop does not answer");
    };
    match (path, health.not_ready()) {
        ("/metrics", _) => Answer { status: "200 OK", kind: METRICS, body: health.metrics() },
        ("/readyz", Some(why)) => Answer::plain("503 Service Unavailable", why),
        _ => Answer::plain("200 OK", "ok"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy)]
    struct State {
        ready: bool,
    }

    impl Health for State {
        fn metrics(&self) -> String {
            "# TYPE ferrule_x gauge\nferrule_x 1\n".to_owned()
        }

        fn not_ready(&self) -> Option<&str> {
            (!self.ready).then_some("nothing is done yet")
        }
    }

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    fn served(ready: bool) -> SocketAddr {
        let ask = move || async move { Some(State { ready }) };
        listen("127.0.0.1:0".parse().unwrap(), ask).unwrap()
    }

    #[tokio::test]
    async fn each_path_has_its_answer() {
        let address = served(true);
        let text = get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(body, State { ready: true }.metrics());
        let head = get(address, "HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "), "{head}");
        for (request, status) in [
            ("GET /healthz?x=1 HTTP/1.0\r\n\r\n", "200"),
            ("GET /readyz HTTP/1.1\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let text = get(address, request).await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {text}");
        }
    }

    #[tokio::test]
    async fn a_loop_that_hangs_is_not_healthy() {
        let ask = std::future::pending::<Option<State>>;
        let address = listen("127.0.0.1:0".parse().unwrap(), ask).unwrap();
        let text = get(address, "GET /healthz HTTP/1.1\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_ready_is_healthy() {
        let address = served(false);
        let ready = get(address, "GET /readyz HTTP/1.1\r\n\r\n").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        assert!(ready.ends_with("\r\n\r\nnothing is done yet\n"), "{ready}");
        let health = get(address, "GET /healthz HTTP/1.1\r\n\r\n").await;
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    }

    proptest! {
        #[test]
        fn no_head_panics(head in prop::collection::vec(any::<u8>(), 0..200), get in any::<bool>()) {
            let mut whole = if get { b"GET /".to_vec() } else { Vec::new() };
            whole.extend(head);
            let _ = request(&whole);
            whole.extend(b"\r\n\r\n");
            let _ = request(&whole);
        }
    }
}
