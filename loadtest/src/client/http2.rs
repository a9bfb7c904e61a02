//! HTTP/2: streams of several lanes on one connection, and gRPC over it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::HeaderValue;

use super::answer::{Answer, grpc_status, sign};
use super::connect::{connect, until};
use super::message::{MessageReader, Said};
use super::timer::Timer;
use super::{Failure, Kind, Phase};
use crate::scenario::{Message, Origin, Reply};

/// Windows large enough that no response waits for us (RFC 9113 6.9).
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Connections that one request is tried on before it has been sent: each may be going away.
const CONNECTIONS_TRIED_MAX: usize = 3;
/// Longest head of a response.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Where a response of gRPC names its status.
const GRPC_STATUS: &str = "grpc-status";

/// A connection that several lanes share.
#[derive(Default)]
pub(crate) struct Shared {
    open: RefCell<Option<Open>>,
    /// One lane at a time opens it.
    opening: tokio::sync::Mutex<()>,
    generation: Cell<u64>,
}

#[derive(Clone)]
struct Open {
    sender: SendRequest<Bytes>,
    generation: u64,
    /// It has carried a request.
    used: Rc<Cell<bool>>,
}

impl Shared {
    /// Sends a request over the connection, which is opened if there is none; `opened` is told when it is. Also says whether
    /// the connection had carried a request before.
    pub(crate) async fn exchange(
        &self,
        origin: &Origin,
        turn: usize,
        message: &Message,
        timer: &Timer,
        opened: impl FnOnce(),
    ) -> (Result<Answer, Failure>, bool) {
        let mut opened = Some(opened);
        for _ in 0..CONNECTIONS_TRIED_MAX {
            let open = match self.connection(origin, turn, timer, &mut opened).await {
                Ok(open) => open,
                Err(failure) => return (Err(failure), false),
            };
            // A connection that is going away takes no request; this one has not been sent yet.
            let sender = match until(timer, Phase::Send, open.sender.ready()).await {
                Ok(Ok(sender)) => sender,
                Ok(Err(_)) => {
                    self.forget(open.generation);
                    continue;
                }
                Err(timeout) => return (Err(timeout), open.used.get()),
            };
            let reused = open.used.replace(true);
            let progress = Cell::new(Phase::Send);
            let result = match until(timer, Phase::Send, send(sender, message, &progress)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(Broken::Message)) => Err(Failure::new(Phase::Body, Kind::Protocol)),
                Ok(Err(Broken::H2(error))) => {
                    if error.is_io() || error.is_go_away() {
                        self.forget(open.generation);
                    }
                    Err(failure(&error, progress.get()))
                }
                Err(_) => Err(Failure::new(progress.get(), Kind::Timeout)),
            };
            return (result, reused);
        }
        (Err(Failure::new(Phase::Connect, Kind::Closed)), false)
    }

    fn forget(&self, generation: u64) {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_some_and(|open| open.generation == generation) {
            *open = None;
        }
    }

    async fn connection(
        &self,
        origin: &Origin,
        turn: usize,
        timer: &Timer,
        opened: &mut Option<impl FnOnce()>,
    ) -> Result<Open, Failure> {
        if let Some(open) = &*self.open.borrow() {
            return Ok(open.clone());
        }
        let _one = until(timer, Phase::Connect, self.opening.lock()).await?;
        // Another lane may have opened it meanwhile.
        if let Some(open) = &*self.open.borrow() {
            return Ok(open.clone());
        }
        let stream = connect(origin, turn, timer).await?;
        if let Some(opened) = opened.take() {
            opened();
        }
        let shaken = Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES * 16)
            .max_header_list_size(HEAD_BYTES_MAX)
            .enable_push(false)
            .handshake(stream);
        let shaken = until(timer, Phase::Connect, shaken).await?;
        let (sender, connection) = shaken.map_err(|error| failure(&error, Phase::Connect))?;
        // Ends with the connection, and its streams with it: they tell what happened.
        tokio::task::spawn_local(async move { drop(connection.await) });
        self.generation.set(self.generation.get() + 1);
        let open = Open {
            sender,
            generation: self.generation.get(),
            used: Rc::new(Cell::new(false)),
        };
        *self.open.borrow_mut() = Some(open.clone());
        Ok(open)
    }
}

/// Sends a request on a stream of its own and reads the whole response. `progress` says how far it has come.
async fn send(mut sender: SendRequest<Bytes>, message: &Message, progress: &Cell<Phase>) -> Result<Answer, Broken> {
    let (response, mut body) = sender.send_request(message.head.clone(), message.body.is_empty())?;
    if !message.body.is_empty() {
        body.send_data(message.body.clone(), true)?;
    }
    progress.set(Phase::FirstByte);
    let response = response.await?;
    progress.set(Phase::Body);
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
