//! Single requests to the API server.

use crate::fault::{Doing, Fault, Status, chain};
use crate::objects::Resource;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ConfigExt};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;
use tower::{BoxError, ServiceBuilder};

/// How long the API server may take for an answer, and for the rest of each part of it. It gives up
/// its own work after 60 s.
const PATIENCE: Duration = Duration::from_secs(70);
/// More than one answer ever has, in bytes: etcd takes objects of 1.5 MB, and pages have 100.
const LIMIT: usize = 256 << 20;
/// Of an answer that refuses.
const SHORT: usize = 64 << 10;

/// A client of the API server, cheap to clone. It has a pool of connections.
#[derive(Clone)]
pub struct Client {
    client: kube::Client,
    server: String,
}

/// A request.
pub(crate) struct Call {
    pub doing: Doing,
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Media type and content.
    pub body: Option<(&'static str, Vec<u8>)>,
}

impl Call {
    /// To read.
    pub fn get(verb: &'static str, resource: Resource, target: String) -> Call {
        Call { doing: Doing { verb, resource, part: "" }, method: Method::GET, target, body: None }
    }
}

/// The path of all objects of a kind: `/api/v1/nodes`; in a namespace, if one is named.
pub(crate) fn path(resource: &Resource, namespace: &str) -> String {
    let Resource { group, version, plural, .. } = resource;
    let root = match *group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    match namespace {
        "" => format!("{root}/{plural}"),
        namespace => format!("{root}/namespaces/{}/{plural}", escaped(namespace)),
    }
}

/// A text as part of a path or a query (RFC 3986 section 2.3).
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

impl Client {
    /// Without the layers of kube's own that log each failure as an error: here it is told by a
    /// [`Fault`], once.
    pub(crate) fn new(config: &Config) -> kube::Result<Client> {
        let connector = config.rustls_https_connector()?;
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
        let client = kube::Client::new(service, config.default_namespace.clone());
        Ok(Client {
            client,
            server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
        })
    }

    /// Asks, and reads the whole answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Fault> {
        let doing = call.doing;
        let mut body = self.open(call).await?;
        let text = self.read(&mut body, LIMIT).await?;
        serde_json::from_slice(&text).map_err(|error| Fault::unreadable(doing, &error))
    }

    /// Asks, and returns the answer to be read as it comes.
    pub(crate) async fn open(&self, call: Call) -> Result<Body, Fault> {
        let Call { doing, method, target, body } = call;
        let mut request = Request::builder().method(method).uri(&target);
        if let Some((kind, _)) = &body {
            request = request.header(CONTENT_TYPE, *kind);
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
        let request = request.body(Body::from(body));
        let request = request.map_err(|error| Fault::no_answer(&self.server, error.to_string()))?;
        let response = match timeout(PATIENCE, self.client.send(request)).await {
            Err(_) => return Err(self.silent()),
            Ok(Err(error)) => return Err(Fault::no_answer(&self.server, plain(&chain(&error)))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(self.refusal(doing, response).await)
    }

    async fn refusal(&self, doing: Doing, response: Response<Body>) -> Fault {
        let code = response.status().as_u16();
        let wait =
            response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        let mut body = response.into_body();
        let text = self.read(&mut body, SHORT).await.unwrap_or_default();
        let message = match serde_json::from_slice::<Status>(&text) {
            Ok(status) if !status.message.is_empty() => status.message,
            _ => String::from_utf8_lossy(&text).trim().chars().take(200).collect(),
        };
        Fault::refused(doing, Status { code, message }, wait.map(Duration::from_secs))
    }

    /// The rest of an answer.
    async fn read(&self, body: &mut Body, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        while let Some(part) =
            timeout(PATIENCE, self.part(body)).await.map_err(|_| self.silent())??
        {
            text.extend_from_slice(&part);
            if text.len() > limit {
                return Err(self.too_long(limit));
            }
        }
        Ok(text)
    }

    /// The next part of an answer; `None` at its end.
    pub(crate) async fn part(&self, body: &mut Body) -> Result<Option<Bytes>, Fault> {
        loop {
            match body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Fault::no_answer(&self.server, plain(&chain(&error))));
                }
                // Trailers are no data.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_) => continue,
                },
            }
        }
    }

    pub(crate) fn too_long(&self, limit: usize) -> Fault {
        Fault::no_answer(&self.server, format!("its answer has more than {limit} bytes"))
    }

    fn silent(&self) -> Fault {
        Fault::no_answer(&self.server, format!("nothing came for {} s", PATIENCE.as_secs()))
    }
}

/// What of an error of kube's and hyper's says something.
fn plain(error: &str) -> String {
    let noise = [
        "ServiceError: ",
        "client error (Connect): ",
        "client error (SendRequest): ",
        "HyperError: ",
    ];
    noise.iter().fold(error.to_owned(), |text, noise| text.replace(noise, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Node, Object};

    #[test]
    fn paths_are_as_the_api_server_has_them() {
        assert_eq!(path(&Node::RESOURCE, ""), "/api/v1/nodes");
        let events =
            Resource { group: "events.k8s.io", version: "v1", plural: "events", kind: "Event" };
        assert_eq!(path(&events, "default"), "/apis/events.k8s.io/v1/namespaces/default/events");
        assert_eq!(escaped("a=b,c/d é"), "a%3Db%2Cc%2Fd%20%C3%A9");
    }
}
