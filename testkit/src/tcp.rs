//! in → out: a script → a server on loopback, port 0, that speaks bytes and takes down how each connection went.
//! owns: the record of opaque connections that tests judge by.
//! may not touch: HTTP, the proxy under test.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Read at once.
const READ_BYTES: usize = 16 * 1024;

/// What the server does with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Sends these bytes at once and ends its direction; reads to the end.
    Greet(Vec<u8>),
    /// Returns every byte, and ends its direction when the client has ended its own.
    Echo,
    /// Reads to the end, then sends these bytes and closes.
    ReplyAtEnd(Vec<u8>),
    /// Reads so many bytes, sends these, then resets the connection.
    ResetAfter(usize, Vec<u8>),
    /// Reads and says nothing, until the client ends.
    Silence,
}

/// One connection, as far as it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// What the client sent.
    pub received: Vec<u8>,
    /// How it ended; `None` while it is open.
    pub end: Option<End>,
}

/// How a client ended its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By the end of its bytes.
    Closed,
    /// By a reset, or it no longer took what was sent to it.
    Reset,
    /// We reset it ourselves.
    ByScript,
}

#[derive(Debug, Default)]
struct Book {
    conversations: Vec<Conversation>,
    open: usize,
    open_max: usize,
}

/// A running server; dropping it closes its socket.
#[derive(Debug)]
pub struct TcpUpstream {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

impl TcpUpstream {
    /// Starts a server that follows one script.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let book = Arc::<Mutex<Book>>::default();
        let task = tokio::spawn(accept(listener, script, book.clone()));
        Self { address, book, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every connection so far, in order of acceptance.
    pub fn conversations(&self) -> Vec<Conversation> {
        lock(&self.book).conversations.clone()
    }

    /// How many connections were accepted so far, are open, and were open at the same time at the most.
    pub fn counts(&self) -> (usize, usize, usize) {
        let book = lock(&self.book);
        (book.conversations.len(), book.open, book.open_max)
    }
}

impl Drop for TcpUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().expect("nobody panics while writing the book")
}

async fn accept(listener: TcpListener, script: Script, book: Arc<Mutex<Book>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let place = {
            let mut book = lock(&book);
            book.conversations.push(Conversation::default());
            book.open += 1;
            book.open_max = book.open_max.max(book.open);
            book.conversations.len() - 1
        };
        let (script, book) = (script.clone(), book.clone());
        tokio::spawn(async move {
            let end = converse(stream, &script, |bytes| {
                lock(&book).conversations[place].received.extend_from_slice(bytes);
            })
            .await
            .unwrap_or(End::Reset);
            let mut book = lock(&book);
            book.conversations[place].end = Some(end);
            book.open -= 1;
        });
    }
}

async fn converse(mut stream: TcpStream, script: &Script, mut take: impl FnMut(&[u8])) -> io::Result<End> {
    stream.set_nodelay(true)?;
    if let Script::Greet(bytes) = script {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut total = 0;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        take(&buffer[..read]);
        total += read;
        match script {
            Script::Echo => stream.write_all(&buffer[..read]).await?,
            Script::ResetAfter(bytes, reply) if total >= *bytes => {
                stream.write_all(reply).await?;
                reset(stream);
                return Ok(End::ByScript);
            }
            Script::Greet(_) | Script::ReplyAtEnd(_) | Script::ResetAfter(..) | Script::Silence => {}
        }
    }
    if let Script::ReplyAtEnd(bytes) = script {
        stream.write_all(bytes).await?;
    }
    if *script != Script::Silence {
        // A client that has gone altogether takes no end either; it has sent its own.
        stream.shutdown().await.ok();
    }
    Ok(End::Closed)
}

/// Closes a connection by a reset.
///
/// # Panics
/// Where the system does not know the option.
pub fn reset(stream: TcpStream) {
    let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("a TCP socket lingers as told");
}
