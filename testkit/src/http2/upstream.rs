//! The server.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

/// One request as it reached the upstream.
#[derive(Debug, Clone)]
pub struct Call {
    /// Number of its connection, from 0 in order of acceptance.
    pub connection: usize,
    /// How many requests came before it, over all connections.
    pub number: usize,
    /// `:authority`.
    pub authority: Option<String>,
    /// Its path.
    pub path: String,
    /// Its fields.
    pub fields: HeaderMap,
}

/// What an upstream does with one request.
#[derive(Debug, Clone)]
pub enum Http2Behaviour {
    /// Reads the body, waits, answers 200 with these fields, body and trailers.
    Answer {
        /// Time before the answer.
        delay: Duration,
        /// Fields.
        fields: Vec<(&'static str, &'static str)>,
        /// Body; `None` returns the one that came, with its trailers.
        body: Option<&'static str>,
        /// Trailers.
        trailers: Vec<(&'static str, &'static str)>,
    },
    /// REFUSED_STREAM: it has not looked at it.
    Refuse,
    /// INTERNAL_ERROR, after it has looked at it.
    Reset,
    /// GOAWAY, then the answer: this request is its connection's last.
    AnswerAndGo(&'static str),
}

impl Http2Behaviour {
    /// 200 with a body.
    pub fn ok(body: &'static str) -> Self {
        Self::Answer {
            delay: Duration::ZERO,
            fields: Vec::new(),
            body: Some(body),
            trailers: Vec::new(),
        }
    }

    /// A gRPC answer: one message, then the status in the trailers.
    pub fn grpc(status: &'static str) -> Self {
        Self::Answer {
            delay: Duration::ZERO,
            fields: vec![("content-type", "application/grpc")],
            body: Some("\0\0\0\0\0"),
            trailers: vec![("grpc-status", status), ("grpc-message", "so it is")],
        }
    }
}

/// Numbers of an upstream at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Http2Counts {
    /// Connections accepted so far.
    pub accepts: usize,
    /// Connections that are open.
    pub open: usize,
    /// Most connections that were open at the same time.
    pub open_max: usize,
    /// Requests so far.
    pub requests: usize,
    /// Most streams that one connection had at the same time.
    pub streams_max: usize,
}

#[derive(Debug, Default)]
struct Book {
    counts: Http2Counts,
    calls: Vec<Call>,
}

type Ledger = Arc<Mutex<Book>>;
type Script = Arc<dyn Fn(&Call) -> Http2Behaviour + Send + Sync>;

/// A scripted upstream; dropping it stops it and closes its connections.
#[derive(Debug)]
pub struct Http2Upstream {
    address: SocketAddr,
    ledger: Ledger,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Http2Upstream {
    /// Starts an upstream that takes `streams_max` streams on a connection (`None`: any number).
    pub fn start(streams_max: Option<u32>, script: impl Fn(&Call) -> Http2Behaviour + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a fresh socket takes options");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (ledger, script) = (Ledger::default(), Arc::new(script) as Script);
        let (stop, stopped) = watch::channel(false);
        let book = ledger.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            LocalSet::new().block_on(&runtime, run(listener, stopped, streams_max, script, book));
        });
        Self {
            address,
            ledger,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The numbers of now.
    pub fn counts(&self) -> Http2Counts {
        book(&self.ledger).counts
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Call> {
        book(&self.ledger).calls.clone()
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of its thread has been printed; a second one while dropping would hide it.
            let _ = thread.join();
        }
    }
}

fn book(ledger: &Ledger) -> MutexGuard<'_, Book> {
    ledger.lock().expect("no test thread panics while it writes the ledger")
}

async fn run(
    listener: std::net::TcpListener,
    mut stopped: watch::Receiver<bool>,
    streams_max: Option<u32>,
    script: Script,
    ledger: Ledger,
) {
    let listener = TcpListener::from_std(listener).expect("the runtime of this thread takes the listener");
    let open = Open::default();
    loop {
        let accepted = tokio::select! {
            // Both sides may be dropped at any time without loss.
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, second)) = accepted.and_then(|(stream, _)| two_handles(stream)) else {
            continue;
        };
        // A peer that closes one connection and then opens another has never had both; the order in which the two events
        // are read here must not count otherwise.
        forget(&open, &ledger, has_ended);
        let number = {
            let counts = &mut book(&ledger).counts;
            counts.accepts += 1;
            counts.open += 1;
            counts.open_max = counts.open_max.max(counts.open);
            counts.accepts - 1
        };
        open.borrow_mut().push((number, second));
        let (script, ledger, open) = (script.clone(), ledger.clone(), open.clone());
        tokio::task::spawn_local(async move {
            // How a connection ends is the other side's affair.
            let _ = connection(stream, number, streams_max, script, ledger.clone()).await;
            forget(&open, &ledger, |one| one.0 == number);
        });
    }
}

/// Connections that have been counted as open, each with a second handle to its socket.
type Open = Rc<RefCell<Vec<Counted>>>;
type Counted = (usize, std::net::TcpStream);

fn two_handles(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    // Small frames must not wait for acknowledgements.
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let second = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, second))
}

/// Whether the peer has closed, also behind bytes that have not been read yet.
fn has_ended((_, socket): &Counted) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|found| found > 0)
}

fn forget(open: &Open, ledger: &Ledger, is_over: impl Fn(&Counted) -> bool) {
    let mut open = open.borrow_mut();
    let before = open.len();
    open.retain(|one| !is_over(one));
    book(ledger).counts.open -= before - open.len();
}

async fn connection(
    stream: TcpStream,
    number: usize,
    streams_max: Option<u32>,
    script: Script,
    ledger: Ledger,
) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    if let Some(max) = streams_max {
        builder.max_concurrent_streams(max);
    }
    let mut connection = builder.handshake(stream).await?;
    let streams = Arc::new(Mutex::new(0_usize));
    let (last, mut going) = (Arc::new(Notify::new()), false);
    loop {
        let accepted = tokio::select! {
            // Both sides may be dropped at any time without loss.
            accepted = connection.accept() => accepted,
            () = last.notified(), if !going => {
                going = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        let call = note(&ledger, number, &request);
        {
            let mut open = streams.lock().expect("one thread");
            *open += 1;
            let counts = &mut book(&ledger).counts;
            counts.streams_max = counts.streams_max.max(*open);
        }
        let (behaviour, streams, last) = (script(&call), streams.clone(), last.clone());
        tokio::task::spawn_local(async move {
            if matches!(behaviour, Http2Behaviour::AnswerAndGo(_)) {
                last.notify_one();
            }
            // A client may leave at any time.
            let _ = answer(request, respond, behaviour).await;
            *streams.lock().expect("one thread") -= 1;
        });
    }
}

fn note(ledger: &Ledger, connection: usize, request: &Request<RecvStream>) -> Call {
    let mut book = book(ledger);
    let call = Call {
        connection,
        number: book.counts.requests,
        authority: request.uri().authority().map(ToString::to_string),
        path: request.uri().path().to_owned(),
        fields: request.headers().clone(),
    };
    book.counts.requests += 1;
    book.calls.push(call.clone());
    call
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    behaviour: Http2Behaviour,
) -> Result<(), h2::Error> {
    let (delay, fields, body, trailers) = match behaviour {
        Http2Behaviour::Refuse => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        Http2Behaviour::Reset => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        Http2Behaviour::AnswerAndGo(body) => (Duration::ZERO, Vec::new(), Some(body), Vec::new()),
        Http2Behaviour::Answer {
            delay,
            fields,
            body,
            trailers,
        } => (delay, fields, body, trailers),
    };
    let (came, came_trailers) = read(request.into_body()).await?;
    tokio::time::sleep(delay).await;
    let mut response = Response::new(());
    *response.headers_mut() = map(&fields);
    let body = body.map_or(came, |body| Bytes::from_static(body.as_bytes()));
    let trailers = match (map(&trailers), came_trailers) {
        (ours, _) if !ours.is_empty() => Some(ours),
        (_, theirs) => theirs,
    };
    let mut stream = respond.send_response(response, body.is_empty() && trailers.is_none())?;
    if !body.is_empty() {
        stream.send_data(body, trailers.is_none())?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

async fn read(mut body: RecvStream) -> Result<(Bytes, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok((all.into(), body.trailers().await?))
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = fields.iter();
    pairs
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}
