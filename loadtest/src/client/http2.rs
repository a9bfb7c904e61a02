//! HTTP/2: streams of several lanes on one connection, and gRPC over it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::HeaderValue;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::answer::{Answer, grpc_status, sign};
use super::connect::{connect, until};
use super::message::{MessageReader, Said};
use super::progress::Progress;
use super::stream::Heard;
use super::timer::Timer;
use super::{Failure, Kind, Phase};
use crate::scenario::{Message, Origin, Reply};

/// Windows large enough that no response waits for us (RFC 9113 6.9).
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Longest head of a response.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Where a response of gRPC names its status.
const GRPC_STATUS: &str = "grpc-status";

/// Connections that one request is tried on while it has not been taken: each may be going away.
const CONNECTIONS_TRIED_MAX: usize = 3;

/// A connection that several lanes share.
pub(crate) struct Shared {
    open: RefCell<Option<Rc<Open>>>,
    /// One lane at a time opens it.
    opening: tokio::sync::Mutex<()>,
    /// Which of the origin's addresses comes next.
    turn: Cell<usize>,
}

/// The connection as it is now. Whoever has a request on it holds it; the last one to let go of it closes it.
struct Open {
    sender: SendRequest<Bytes>,
    /// It has carried a request.
    used: Cell<bool>,
    /// Bytes that came.
    heard: Heard,
    in_flight: Cell<usize>,
    /// Told when a stream has ended.
    freed: Notify,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One of the streams that the server allows.
struct StreamPermit<'a>(&'a Open);

impl Drop for StreamPermit<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.freed.notify_one();
    }
}

impl Open {
    /// A stream, once the server allows one more. The library would wait as well, but not say until when.
    async fn permit(&self) -> StreamPermit<'_> {
        while self.in_flight.get() >= self.sender.current_max_send_streams() {
            self.freed.notified().await;
        }
        self.in_flight.set(self.in_flight.get() + 1);
        StreamPermit(self)
    }
}

impl Shared {
    /// A connection that begins with address number `turn`.
    pub(crate) fn new(turn: usize) -> Self {
        Self {
            open: RefCell::default(),
            opening: tokio::sync::Mutex::default(),
            turn: Cell::new(turn),
        }
    }

    /// Sends a request over the connection, which is opened if there is none; `opened` is told when it is.
    pub(crate) async fn exchange(
        &self,
        origin: &Origin,
        message: &Message,
        timer: &Timer,
        progress: &Progress,
        opened: impl Fn(),
    ) -> Result<Answer, Failure> {
        for _ in 0..CONNECTIONS_TRIED_MAX {
            let open = self.connection(origin, timer, &opened).await?;
            let heard = open.heard.bytes();
            let timeout = |_| {
                // Not a byte came all that time: nobody knows whether anybody is there still.
                if open.heard.bytes() == heard {
                    self.forget(&open);
                }
                progress.failed(Kind::Timeout)
            };
            // A connection that is going away takes no request; this one has not been sent yet.
            let sender = match until(timer, Phase::Send, open.sender.clone().ready())
                .await
                .map_err(timeout)?
            {
                Ok(sender) => sender,
                Err(_) => {
                    self.forget(&open);
                    continue;
                }
            };
            let _permit = until(timer, Phase::Send, open.permit()).await.map_err(timeout)?;
            progress.reuses(open.used.replace(true));
            progress.begins_now();
            match until(timer, Phase::Send, send(sender, message, progress))
                .await
                .map_err(timeout)?
            {
                Ok(answer) => return Ok(answer),
                Err(Broken::Message) => return Err(progress.failed(Kind::Protocol)),
                Err(Broken::H2(error)) => {
                    if error.is_io() || error.is_go_away() {
                        self.forget(&open);
                    }
                    // A stream beyond the last one that the server names has not been looked at (RFC 9113 6.8).
                    if !(error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)) {
                        return Err(failure(&error, progress.phase()));
                    }
                    progress.begins_again();
                }
            }
        }
        Err(Failure::new(Phase::Connect, Kind::Closed))
    }

    /// The next request opens another one.
    fn forget(&self, gone: &Rc<Open>) {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_some_and(|open| Rc::ptr_eq(open, gone)) {
            *open = None;
        }
    }

    async fn connection(&self, origin: &Origin, timer: &Timer, opened: &impl Fn()) -> Result<Rc<Open>, Failure> {
        if let Some(open) = &*self.open.borrow() {
            return Ok(open.clone());
        }
        let _one = until(timer, Phase::Connect, self.opening.lock()).await?;
        // Another lane may have opened it meanwhile.
        if let Some(open) = &*self.open.borrow() {
            return Ok(open.clone());
        }
        let stream = connect(origin, self.turn.replace(self.turn.get() + 1), timer).await?;
        opened();
        let heard = Heard::default();
        let shaken = Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES * 16)
            .max_header_list_size(HEAD_BYTES_MAX)
            .enable_push(false)
            .handshake(stream.heard_by(heard.clone()));
        let shaken = until(timer, Phase::Connect, shaken).await?;
        let (sender, connection) = shaken.map_err(|error| failure(&error, Phase::Connect))?;
        let open = Rc::new(Open {
            sender,
            used: Cell::new(false),
            heard,
            in_flight: Cell::new(0),
            freed: Notify::new(),
            // Ends with the connection, and its streams with it: they tell what happened.
            driver: tokio::task::spawn_local(async move { drop(connection.await) }),
        });
        *self.open.borrow_mut() = Some(open.clone());
        Ok(open)
    }
}

/// Sends a request on a stream of its own and reads the whole response.
async fn send(mut sender: SendRequest<Bytes>, message: &Message, progress: &Progress) -> Result<Answer, Broken> {
    let (response, mut body) = sender.send_request(message.head.clone(), message.body.is_empty())?;
    if !message.body.is_empty() {
        body.send_data(message.body.clone(), true)?;
        progress.wrote(message.body.len());
    }
    progress.reached(Phase::FirstByte);
    let response = response.await?;
    progress.reached(Phase::Body);
    let (head, mut body) = response.into_parts();
    let mut answer = Answer {
        status: head.status.as_u16(),
        reusable: true,
        ..Answer::default()
    };
    let mut messages = MessageReader::new(message.reply);
    answer.bytes = read(&mut body, &mut messages).await?;
    if message.reply != Reply::Anything {
        let trailers = body.trailers().await?.unwrap_or_default();
        // A response of nothing but a status has it in its head (gRPC over HTTP/2, "Trailers-Only"): a mesh replies so.
        let named = trailers.get(GRPC_STATUS).or_else(|| head.headers.get(GRPC_STATUS));
        let status = grpc_status(named.map(HeaderValue::as_bytes), answer.status);
        answer.grpc_status = Some(status);
        match messages.end() {
            _ if status != 0 => {}
            Said::Enough => {}
            Said::NotServing => answer.not_serving = true,
            Said::Malformed => return Err(Broken::Message),
        }
    }
    if answer.is_refused() {
        answer.sign = sign(
            head.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
        );
    }
    Ok(answer)
}

async fn read(body: &mut RecvStream, messages: &mut MessageReader) -> Result<u64, h2::Error> {
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        messages.feed(&data);
        bytes += data.len() as u64;
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(bytes)
}

/// Why a stream has brought no answer.
enum Broken {
    /// It, or its connection, has ended.
    H2(h2::Error),
    /// What came over it is no message of gRPC.
    Message,
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::H2(error)
    }
}

fn failure(error: &h2::Error, phase: Phase) -> Failure {
    if let Some(error) = error.get_io() {
        return Failure::of_io(phase, error);
    }
    let kind = match error.reason() {
        // Our own library has ended the connection over what came: that was no HTTP/2.
        Some(
            Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::FLOW_CONTROL_ERROR | Reason::COMPRESSION_ERROR,
        ) if !error.is_remote() => Kind::Protocol,
        _ if error.is_go_away() => Kind::Closed,
        Some(
            Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::FLOW_CONTROL_ERROR | Reason::COMPRESSION_ERROR,
        ) => Kind::Protocol,
        Some(_) => Kind::Reset,
        None => Kind::Other,
    };
    Failure::new(phase, kind)
}
