//! The part of CRI that pods need, spoken over containerd's socket.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ferrule_tests::node::Place;
use http::{HeaderMap, Method, Request};
use prost::Message;

/// Generous: a sandbox takes a second on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls a method of the runtime service.
pub fn call<A: Message + Default>(
    place: &impl Place,
    socket: &str,
    method: &str,
    request: &impl Message,
) -> Result<A, String> {
    let stream = place.ns().enter(|| UnixStream::connect(socket)).map_err(said)?;
    stream.set_nonblocking(true).map_err(said)?;
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(request.encoded_len()).map_err(said)?);
    request.encode(&mut message).map_err(said)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
    let answer = runtime.block_on(async {
        let exchanged = exchange(stream, method, message.freeze());
        tokio::time::timeout(LIMIT, exchanged).await.map_err(said)?
    });
    let answer = answer.map_err(|error| format!("{method}: {error}"))?;
    // Five bytes of gRPC's framing: no compression, and the length.
    A::decode(answer.get(5..).unwrap_or_default()).map_err(said)
}

/// One HTTP/2 stream.
async fn exchange(stream: UnixStream, method: &str, body: Bytes) -> Result<Vec<u8>, String> {
    let stream = tokio::net::UnixStream::from_std(stream).map_err(said)?;
    let (client, connection) = h2::client::handshake(stream).await.map_err(said)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(said)?;
    let mut client = client.ready().await.map_err(said)?;
    let (response, mut sending) = client.send_request(request, false).map_err(said)?;
    sending.send_data(body, true).map_err(said)?;
    let response = response.await.map_err(said)?;
    // An error without a body has its status in the headers.
    verdict(response.headers())?;
    let mut body = response.into_body();
    let mut answer = vec![];
    while let Some(data) = body.data().await {
        let data = data.map_err(said)?;
        body.flow_control().release_capacity(data.len()).map_err(said)?;
        answer.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(said)?;
    trailers.map_or(Ok(()), |trailers| verdict(&trailers))?;
    Ok(answer)
}

fn verdict(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => Err(format!("{} (gRPC {code})", text("grpc-message").unwrap_or("no text"))),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn said(error: impl ToString) -> String {
    error.to_string()
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<SandboxMetadata>,
    #[prost(string, tag = "2")]
    pub hostname: String,
    #[prost(string, tag = "3")]
    pub log_directory: String,
    #[prost(message, repeated, tag = "5")]
    pub ports: Vec<PortMapping>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// Of protocol TCP, which is the enumeration's 0.
#[derive(Clone, PartialEq, Message)]
pub struct PortMapping {
    #[prost(int32, tag = "2")]
    pub container: i32,
    #[prost(int32, tag = "3")]
    pub host: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunSandbox {
    #[prost(message, optional, tag = "1")]
    pub config: Option<SandboxConfig>,
}

/// The requests that name one sandbox or one container, and the answers that give one.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxStatusAnswer {
    #[prost(message, optional, tag = "1")]
    pub status: Option<SandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxStatus {
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(message, optional, tag = "5")]
    pub network: Option<SandboxNetwork>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxNetwork {
    #[prost(string, tag = "1")]
    pub ip: String,
    #[prost(message, repeated, tag = "2")]
    pub additional: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateContainer {
    #[prost(string, tag = "1")]
    pub sandbox: String,
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pub sandbox_config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    /// Its metadata: the name comes first there too.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Named>,
    #[prost(message, optional, tag = "2")]
    pub image: Option<Named>,
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    #[prost(string, tag = "11")]
    pub log_path: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExecSync {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, repeated, tag = "2")]
    pub command: Vec<String>,
    #[prost(int64, tag = "3")]
    pub timeout: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExecAnswer {
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub exit_code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Condition {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(bool, tag = "2")]
    pub met: bool,
    #[prost(string, tag = "3")]
    pub reason: String,
    #[prost(string, tag = "4")]
    pub message: String,
}
