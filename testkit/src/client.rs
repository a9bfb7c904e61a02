//! in → out: bytes of a request → the reply that came back, as it came.
//! owns: one connection to the proxy under test; a deadline on every wait.
//! may not touch: the bytes. What a test says is what goes out, valid or not.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    eventually::in_time,
    message::{Body, Framing, Head, Reader},
};

/// A response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Start line and fields.
    pub head: Head,
    /// Its body.
    pub body: Body,
    /// Heads of the interim responses (1xx other than 101) that came before.
    pub interim: Vec<Head>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// The first value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

/// A connection that speaks exactly the bytes it is given.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    reader: Reader,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// Where nobody listens.
    pub async fn connect(address: SocketAddr) -> Self {
        let client = Self::try_connect(address).await;
        client.unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    /// Connects where somebody may not listen yet.
    pub async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = in_time("connect", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            reader: Reader::default(),
        })
    }

    /// Writes `bytes`; the error is the peer's reset or close.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        in_time("the peer takes what is sent", self.stream.write_all(bytes.as_ref())).await
    }

    /// Closes the sending half.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next reply. `head_only` is for the answer to `HEAD`, which has no body whatever its fields say.
    ///
    /// The error is the end or reset of the connection before a head has come.
    pub async fn reply(&mut self, head_only: bool) -> io::Result<Reply> {
        in_time("a reply", self.read_reply(head_only)).await
    }

    /// Sends one request and reads its reply.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> io::Result<Reply> {
        let head_only = request.as_ref().starts_with(b"HEAD ");
        self.send(request).await?;
        self.reply(head_only).await
    }

    /// `GET` with a host and further fields; the connection stays open.
    pub async fn get(&mut self, host: &str, path: &str, fields: &[(&str, &str)]) -> io::Result<Reply> {
        self.ask(request("GET", host, path, fields)).await
    }

    /// Whatever comes until `bytes` bytes are there or the connection ends.
    pub async fn raw(&mut self, bytes: usize) -> Vec<u8> {
        let mut found = self.reader.held();
        while found.len() < bytes {
            let mut buffer = vec![0; bytes - found.len()];
            match in_time("bytes", self.stream.read(&mut buffer)).await {
                Ok(0) | Err(_) => break,
                Ok(n) => found.extend_from_slice(&buffer[..n]),
            }
        }
        found
    }

    /// Whether the peer ends the connection, in whatever way, before it sends anything more.
    pub async fn ended(&mut self) -> bool {
        matches!(
            in_time("the end of the connection", self.stream.read(&mut [0; 1])).await,
            Ok(0) | Err(_)
        )
    }

    /// The socket, for tests that need an option of it.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    async fn read_reply(&mut self, head_only: bool) -> io::Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let head = self
                .reader
                .head(&mut self.stream)
                .await?
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let status: u16 = head
                .word(1)
                .parse()
                .map_err(|_| io::Error::other(format!("not a reply: {}", head.start)))?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let bare = head_only || matches!(status, 101 | 204 | 304);
            let framing = if bare { Framing::Absent } else { head.framing() };
            let body = self.reader.body(&mut self.stream, framing, !bare).await;
            return Ok(Reply {
                status,
                head,
                body,
                interim,
            });
        }
    }
}

/// The bytes of a request without a body.
pub fn request(method: &str, host: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Connects, sends one request, reads its reply.
pub async fn get(address: SocketAddr, host: &str, path: &str, fields: &[(&str, &str)]) -> io::Result<Reply> {
    Client::try_connect(address).await?.get(host, path, fields).await
}
