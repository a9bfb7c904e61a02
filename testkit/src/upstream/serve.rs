//! in → out: a listener and a script → connections served to their end.
//! owns: the upstream's thread and sockets.
//! may not touch: how the ledger counts.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, sync::Arc, thread::JoinHandle};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::LocalSet,
};

use super::{Behaviour, Ledger, Seen};
use crate::message::{Body, Framing, Head, Reader};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

type Script = Arc<dyn Fn(&Seen) -> Behaviour + Send + Sync>;

/// A scripted upstream; dropping it stops it and closes its connections.
#[derive(Debug)]
pub struct Upstream {
    addresses: Vec<SocketAddr>,
    ledger: Ledger,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts an upstream on 127.0.0.1, port 0, that asks `script` what to do with each request.
    pub fn start(script: impl Fn(&Seen) -> Behaviour + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0".parse().expect("a literal address"), script)
    }

    /// The same on a given loopback address.
    ///
    /// # Panics
    /// Where the address cannot be bound.
    pub fn start_on(address: SocketAddr, script: impl Fn(&Seen) -> Behaviour + Send + Sync + 'static) -> Self {
        Self::start_at(&[address], script)
    }

    /// One upstream on so many ports, with one ledger: what is open to all of them together is known at every moment.
    pub fn group(ports: usize, script: impl Fn(&Seen) -> Behaviour + Send + Sync + 'static) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("a literal address");
        Self::start_at(&vec![any; ports], script)
    }

    fn start_at(addresses: &[SocketAddr], script: impl Fn(&Seen) -> Behaviour + Send + Sync + 'static) -> Self {
        let listeners: Vec<_> = addresses.iter().map(|address| bind(*address)).collect();
        let addresses: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("a bound socket has an address"))
            .collect();
        let ledger = Ledger::default();
        let (stop, stopped) = watch::channel(false);
        let server = Server {
            script: Arc::new(script),
            ledger: ledger.clone(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            LocalSet::new().block_on(&runtime, server.run(listeners, stopped));
        });
        Upstream {
            addresses,
            ledger,
            stop,
            thread: Some(thread),
        }
    }

    /// An upstream that answers `200` with its name to everything.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |_| Behaviour::ok(name))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everywhere that it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it saw.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of its thread has been printed; a second one while dropping would hide it.
            let _ = thread.join();
        }
    }
}

/// Connections that have been counted as open, each with a second handle to its socket.
type Open = Rc<RefCell<Vec<(usize, std::net::TcpStream)>>>;

#[derive(Clone)]
struct Server {
    script: Script,
    ledger: Ledger,
}

fn bind(address: SocketAddr) -> std::net::TcpListener {
    // The backlog of the standard library (128) is less than a crowd that comes at once; what is over waits for a second.
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
    let socket = socket.expect("the system has sockets");
    socket.set_reuse_address(true).expect("a fresh socket takes options");
    socket
        .bind(&address.into())
        .unwrap_or_else(|e| panic!("bind {address}: {e}"));
    socket
        .listen(BACKLOG)
        .unwrap_or_else(|e| panic!("listen on {address}: {e}"));
    socket.set_nonblocking(true).expect("a fresh socket takes options");
    socket.into()
}

impl Server {
    async fn run(self, listeners: Vec<std::net::TcpListener>, mut stopped: watch::Receiver<bool>) {
        let open = Open::default();
        for listener in listeners {
            let listener = TcpListener::from_std(listener).expect("the runtime of this thread takes the listener");
            tokio::task::spawn_local(self.clone().accept(listener, open.clone()));
        }
        // An error is the end of the upstream, too. Its tasks end with the set that they are on.
        let _ = stopped.changed().await;
    }

    async fn accept(self, listener: TcpListener, open: Open) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            // A peer that closes one connection and then opens another has never had both; the order in which the
            // two events are read here must not count otherwise.
            forget_ended(&open, &self.ledger);
            let Ok((stream, second)) = two_handles(stream) else {
                continue;
            };
            let number = self.ledger.accepted();
            open.borrow_mut().push((number, second));
            let (script, ledger, open) = (self.script.clone(), self.ledger.clone(), open.clone());
            tokio::task::spawn_local(async move {
                let connection = Connection {
                    number,
                    stream,
                    reader: Reader::default(),
                    ledger: ledger.clone(),
                };
                connection.run(script).await;
                forget(&open, &ledger, number);
            });
        }
    }
}

fn two_handles(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let second = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, second))
}

fn forget_ended(open: &Open, ledger: &Ledger) {
    open.borrow_mut().retain(|(_, socket)| {
        // The handles share one non-blocking socket, so this never waits.
        let ended = match socket.peek(&mut [0; 1]) {
            Ok(bytes) => bytes == 0,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        };
        if ended {
            ledger.closed();
        }
        !ended
    });
}

fn forget(open: &Open, ledger: &Ledger, number: usize) {
    let mut open = open.borrow_mut();
    if let Some(place) = open.iter().position(|(n, _)| *n == number) {
        open.swap_remove(place);
        ledger.closed();
    }
}

/// Whether a connection goes on after a request.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    End,
}

struct Connection {
    number: usize,
    stream: TcpStream,
    reader: Reader,
    ledger: Ledger,
}

impl Connection {
    async fn run(mut self, script: Script) {
        while let Ok(Some(head)) = self.reader.head(&mut self.stream).await {
            let close = head.all("connection").any(|v| v.eq_ignore_ascii_case("close"));
            let place = self.ledger.request(self.number, head.clone());
            let seen = Seen {
                connection: self.number,
                head,
                body: Body::default(),
            };
            let next = self.request(&seen, place, script(&seen)).await;
            self.ledger.answered();
            if close || !matches!(next, Ok(Next::Request)) {
                return;
            }
        }
    }

    async fn request(&mut self, seen: &Seen, place: Option<usize>, behaviour: Behaviour) -> io::Result<Next> {
        match behaviour {
            Behaviour::Reset => {
                self.stream.set_zero_linger()?;
                Ok(Next::End)
            }
            Behaviour::Close => Ok(Next::End),
            Behaviour::AnswerEarly(then) => {
                self.write(seen, &Body::default(), *then).await?;
                let body = self.reader.body(&mut self.stream, seen.head.framing(), false).await;
                let complete = body.complete;
                self.ledger.body(place, body);
                Ok(if complete { Next::Request } else { Next::End })
            }
            other => {
                if seen
                    .field("expect")
                    .is_some_and(|v| v.eq_ignore_ascii_case("100-continue"))
                {
                    self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                }
                let body = self.reader.body(&mut self.stream, seen.head.framing(), false).await;
                self.ledger.body(place, body.clone());
                if !body.complete {
                    return Ok(Next::End);
                }
                self.write(seen, &body, other).await
            }
        }
    }

    async fn write(&mut self, seen: &Seen, body: &Body, mut behaviour: Behaviour) -> io::Result<Next> {
        while let Behaviour::After(delay, then) = behaviour {
            tokio::time::sleep(delay).await;
            behaviour = *then;
        }
        match behaviour {
            Behaviour::Answer { status, fields, body } => {
                let fields: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
                let head = format!(
                    "HTTP/1.1 {status} Scripted\r\n{fields}content-length: {}\r\n\r\n",
                    body.len()
                );
                let body = if seen.method() == "HEAD" { &[] } else { body.as_slice() };
                self.stream.write_all(&[head.as_bytes(), body].concat()).await?;
            }
            Behaviour::Echo => self.echo(&seen.head, body).await?,
            Behaviour::Raw(bytes) => self.stream.write_all(&bytes).await?,
            Behaviour::RawThenClose(bytes) => {
                self.stream.write_all(&bytes).await?;
                return Ok(Next::End);
            }
            Behaviour::SlowBody { pieces, bytes, pause } => {
                self.stream
                    .write_all(b"HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await?;
                for _ in 0..pieces {
                    tokio::time::sleep(pause).await;
                    self.chunk(&vec![b'x'; bytes]).await?;
                }
                self.stream.write_all(b"0\r\n\r\n").await?;
            }
            Behaviour::CloseInBody { promised, sent } => {
                let head = format!("HTTP/1.1 200 Scripted\r\ncontent-length: {promised}\r\n\r\n");
                self.stream
                    .write_all(&[head.as_bytes(), &vec![b'x'; sent]].concat())
                    .await?;
                return Ok(Next::End);
            }
            Behaviour::Silence => return self.until_the_end().await,
            Behaviour::Upgrade(protocol) => return self.upgrade(&protocol).await,
            Behaviour::Reset => {
                self.stream.set_zero_linger()?;
                return Ok(Next::End);
            }
            Behaviour::Close | Behaviour::After(..) | Behaviour::AnswerEarly(_) => {
                return Ok(Next::End);
            }
        }
        Ok(Next::Request)
    }

    async fn echo(&mut self, head: &Head, body: &Body) -> io::Result<()> {
        if head.framing() == Framing::Chunked {
            self.stream
                .write_all(b"HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            if !body.bytes.is_empty() {
                self.chunk(&body.bytes).await?;
            }
            let trailers: String = body.trailers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
            return self.stream.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await;
        }
        let head = format!("HTTP/1.1 200 Scripted\r\ncontent-length: {}\r\n\r\n", body.bytes.len());
        self.stream.write_all(&[head.as_bytes(), &body.bytes].concat()).await
    }

    async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = format!("{:x}\r\n", bytes.len());
        self.stream.write_all(&[size.as_bytes(), bytes, b"\r\n"].concat()).await
    }

    async fn until_the_end(&mut self) -> io::Result<Next> {
        let mut buffer = [0; 4096];
        while self.stream.read(&mut buffer).await? > 0 {}
        Ok(Next::End)
    }

    async fn upgrade(&mut self, protocol: &str) -> io::Result<Next> {
        let head = format!("HTTP/1.1 101 Scripted\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        let early = self.reader.held();
        self.stream.write_all(&early).await?;
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer).await? {
                0 => return Ok(Next::End),
                bytes => self.stream.write_all(&buffer[..bytes]).await?,
            }
        }
    }
}
