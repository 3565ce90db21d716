//! An API server for tests that does exactly what a test says: each request is handed to the test,
//! which answers it.

use crate::Access;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server; its kubeconfig names its certificate authority and a token.
pub(crate) struct Server {
    folder: TempDir,
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
    sender: mpsc::Sender<Request>,
    accepting: tokio::task::JoinHandle<()>,
    tls: Arc<Mutex<Arc<ServerConfig>>>,
}

/// A request that waits for its answer.
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
    answer: mpsc::Sender<Vec<u8>>,
}

/// Begins a server with a certificate of its own.
pub(crate) async fn started() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel(16);
    let (authority, config) = certificate();
    let tls = Arc::new(Mutex::new(config));
    let accepting = tokio::spawn(accept(listener, Arc::clone(&tls), sender.clone()));
    let folder = tempfile::tempdir().unwrap();
    let server = Server { folder, address, requests, sender, accepting, tls };
    server.write("ca.crt", &authority);
    server.write("token", "secret-1");
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts:\n- name: c\n  context: {{cluster: k, user: u}}\n\
         clusters:\n- name: k\n  cluster: {{server: 'https://{address}', certificate-authority: ca.crt}}\n\
         users:\n- name: u\n  user: {{tokenFile: token}}\n"
    );
    server.write("config", &kubeconfig);
    server
}

/// A certificate authority, and the configuration of a server that it vouches for.
fn certificate() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (issuer.pem(), Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    tls: Arc<Mutex<Arc<ServerConfig>>>,
    requests: mpsc::Sender<Request>,
) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.lock().unwrap()));
        let requests = requests.clone();
        connections.spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, requests).await;
            }
        });
    }
}

/// One connection: requests one after the other, each answered before the next.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, requests: mpsc::Sender<Request>) {
    let mut text = Vec::new();
    loop {
        let end = loop {
            match text.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if stream.read_buf(&mut text).await.is_ok_and(|read| read > 0) => {}
                None => return,
            }
        };
        let head = String::from_utf8(text.drain(..end).collect()).unwrap();
        let length = header(&head, "content-length").parse().unwrap_or(0);
        while text.len() < length {
            if stream.read_buf(&mut text).await.unwrap() == 0 {
                return;
            }
        }
        let body = text.drain(..length).collect();
        let (answer, mut parts) = mpsc::channel::<Vec<u8>>(16);
        if requests.send(Request { head, body, answer }).await.is_err() {
            return;
        }
        while let Some(part) = parts.recv().await {
            // An empty part cuts the connection.
            if part.is_empty() || stream.write_all(&part).await.is_err() {
                return;
            }
            let _ = stream.flush().await;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

impl Server {
    /// As a client gets to it.
    pub fn access(&self) -> Access {
        Access::Kubeconfig(self.file("config"))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        timeout(PATIENCE, self.requests.recv()).await.expect("no request came").unwrap()
    }

    /// The next request, which must be this one.
    pub async fn expect(&mut self, what: &str) -> Request {
        let request = self.next().await;
        assert!(request.line().starts_with(what), "{} and not {what}", request.line());
        request
    }

    /// Ends all connections, and listens no more.
    pub async fn stop(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }

    /// Listens again at the same address.
    pub async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.accepting = tokio::spawn(accept(listener, Arc::clone(&self.tls), self.sender.clone()));
    }

    /// Takes another certificate, of another authority; returns that.
    pub fn change_certificate(&self) -> String {
        let (authority, config) = certificate();
        *self.tls.lock().unwrap() = config;
        authority
    }
}

impl Request {
    /// Method and target.
    pub fn line(&self) -> &str {
        self.head.split(" HTTP/").next().unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        header(&self.head, name)
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Answers with a status and a JSON document.
    pub async fn json(self, status: u16, body: &str) {
        self.json_with(status, "", body).await;
    }

    /// The same, with more header lines.
    pub async fn json_with(self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{headers}Content-Length: \
             {length}\r\n\r\n{body}"
        );
        self.answer.send(text.into_bytes()).await.unwrap();
    }

    /// Begins an answer without end: a watch.
    pub async fn stream(self) -> Stream {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.answer.send(head.into()).await.unwrap();
        Stream(self.answer)
    }
}

/// The answer to a watch.
pub(crate) struct Stream(mpsc::Sender<Vec<u8>>);

impl Stream {
    /// Sends a part of it.
    pub async fn send(&self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.0.send(chunk.into_bytes()).await.unwrap();
    }

    /// Ends it, as the API server does after `timeoutSeconds`.
    pub async fn end(self) {
        self.0.send("0\r\n\r\n".into()).await.unwrap();
    }

    /// Cuts its connection.
    pub async fn cut(self) {
        self.0.send(vec![]).await.unwrap();
    }
}
