//! One HTTP/2 connection of a client.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection; clones share it. Requests on it are streams beside one another.
#[derive(Debug, Clone)]
pub struct Http2Client {
    sender: SendRequest<Bytes>,
}

/// A whole reply.
#[derive(Debug)]
pub struct Http2Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers, if it had a trailer section.
    pub trailers: Option<HeaderMap>,
}

impl Http2Client {
    /// Connects with prior knowledge. The handle ends with the connection, well or not.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<(Self, JoinHandle<Result<(), h2::Error>>)> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        let (sender, connection) = h2::client::handshake(stream).await.context("handshake")?;
        Ok((Self { sender }, tokio::spawn(connection)))
    }

    /// One request with its body and trailers.
    ///
    /// # Errors
    /// When its stream or its connection ends before the reply is complete.
    pub async fn send(
        &self,
        request: Request<()>,
        body: &[u8],
        trailers: Option<HeaderMap>,
    ) -> Result<Http2Reply, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let ends = body.is_empty() && trailers.is_none();
        let (response, mut upload) = sender.send_request(request, ends)?;
        if !body.is_empty() {
            upload.send_data(Bytes::copy_from_slice(body), trailers.is_none())?;
        }
        if let Some(trailers) = trailers {
            upload.send_trailers(trailers)?;
        }
        let (head, mut incoming) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = incoming.data().await {
            let data = data?;
            incoming.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        Ok(Http2Reply {
            status: head.status,
            fields: head.headers,
            body,
            trailers: incoming.trailers().await?,
        })
    }

    /// `GET` of a path.
    ///
    /// # Errors
    /// As [`Http2Client::send`].
    pub async fn get(&self, path: &str) -> Result<Http2Reply, h2::Error> {
        let request = Request::get(format!("http://shop.test{path}"));
        self.send(request.body(()).expect("a legal path"), b"", None).await
    }
}

impl Http2Reply {
    /// A field, or a trailer, as text.
    pub fn text_of<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
        fields.get(name)?.to_str().ok()
    }
}
