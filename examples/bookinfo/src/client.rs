//! One HTTP/1.1 connection that is opened when it is needed, kept, and bounded in time and size.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest reply that is read.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Why there is no whole reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens, or the connection cannot be opened.
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] std::io::Error),
    /// The exchange broke.
    #[error("the connection to {0} broke")]
    Exchange(SocketAddr, #[source] hyper::Error),
    /// The reply broke off, or is too long.
    #[error("the reply of {0} is not whole")]
    Body(SocketAddr),
    /// Too slow.
    #[error("{0} did not answer within {1:?}")]
    Timeout(SocketAddr, Duration),
}

/// A caller: one connection to one peer, one request at a time.
#[derive(Debug)]
pub struct Caller {
    to: SocketAddr,
    limit: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    /// A caller of `to` that waits for `limit` at the most, for the whole exchange.
    pub fn new(to: SocketAddr, limit: Duration) -> Self {
        Self {
            to,
            limit,
            connection: None,
        }
    }

    /// Sends a request and reads the whole reply. The target is written as it is given: a whole URI for a proxy, a
    /// path for a server; `host` is the request's own business.
    ///
    /// # Errors
    /// If there is no whole reply in time. The connection is not used again then.
    pub async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        let (to, limit) = (self.to, self.limit);
        // Cancel safe: a connection is put back only after its exchange has ended well.
        timeout(limit, self.exchange(request))
            .await
            .unwrap_or(Err(CallError::Timeout(to, limit)))
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            match kept.try_send_request(request).await {
                Ok(response) => return self.read(kept, response).await,
                // The peer closed the connection meanwhile; the request comes back where no byte of it was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(CallError::Exchange(self.to, error.into_error())),
                },
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(request).await;
        let response = response.map_err(|error| CallError::Exchange(self.to, error))?;
        self.read(fresh, response).await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, CallError> {
        let stream = TcpStream::connect(self.to)
            .await
            .map_err(|error| CallError::Connect(self.to, error))?;
        // A hint: without it small requests wait for an acknowledgement.
        stream.set_nodelay(true).ok();
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::Exchange(self.to, error))?;
        // Its error reaches whoever sends.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    async fn read(
        &mut self,
        connection: SendRequest<Full<Bytes>>,
        response: Response<Incoming>,
    ) -> Result<Response<Bytes>, CallError> {
        let (head, body) = response.into_parts();
        let whole = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = whole.map_err(|_| CallError::Body(self.to))?.to_bytes();
        self.connection = Some(connection);
        Ok(Response::from_parts(head, body))
    }
}
