//! Who speaks first, and what.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::sleep;
use weft_proxy_core::chain::{Network, Origin, TcpProxy};

use super::look::{Look, Looks, Seen, look};
use super::sniff::{FIRST_BYTES_MAX, ordered};
use crate::http::conn::{HEAD_DEFAULT, IDLE_DEFAULT};
use crate::http::conn_state::{ConnLimits, ConnState, Phase};
use crate::listener::{Accepted, chain};
use crate::tcp::{self, Opened};
use crate::worker::Worker;

/// A client that says nothing for so long may be waiting for the server to begin (MySQL, SMTP, SSH). Clients that speak
/// first do it with their connection, unless they open it in advance.
const SILENCE: Duration = Duration::from_millis(100);
/// How long an upstream that was dialled for a silent client may hold its connection without having spoken.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// How often a connection is looked at that was dialled so: whoever waits for the cluster's limit comes before a guess.
const GREETING_POLL: Duration = Duration::from_millis(50);
/// The longest pause between two guesses; the first is [`SILENCE`], each later one twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What became of the look at a connection.
pub(crate) enum Inspected {
    /// Its chain can be chosen.
    As(Seen),
    /// The server spoke first: its bytes wait on this connection.
    Opened(Arc<TcpProxy>, Box<Opened>),
    /// It is over.
    Ended,
}

/// Reads until it is known what the connection speaks; what was read is in `accepted.first`.
///
/// A limit of time is kept as Envoy does. Without one, a silent client is not left waiting for a server that would speak
/// first: the opaque chain's cluster is dialled, within its limits, and the side that speaks first decides.
pub(crate) async fn inspect(worker: &Rc<Worker>, accepted: &mut Accepted, looks: Looks) -> Inspected {
    let limits = ConnLimits {
        idle: Some(IDLE_DEFAULT),
        head: Some(HEAD_DEFAULT),
        write: None,
    };
    let state = Arc::new(ConnState::new(limits, worker.now_ms()));
    if !accepted.enter(worker, &state) {
        return Inspected::Ended;
    }
    let inspectors = &accepted.listener.inspectors;
    let timeout = inspectors.timeout;
    let as_nothing = inspectors.continue_on_timeout;
    let opaque = match timeout {
        Some(_) => None,
        None => opaque_alternative(accepted),
    };
    let mut first = BytesMut::new();
    let seen = {
        let read = read(&accepted.stream, &mut first, looks, &state);
        let late = async {
            match timeout {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        // Cancel safe: what was read is kept outside; a connection that was dialled is closed and its permit given back.
        // Biased: bytes that the client has sent count before those of the server, and both before the clock.
        tokio::select! {
            biased;
            read = read => read.map(Ok),
            greeted = greeted(worker, opaque.as_ref(), &accepted.origin, &state) => Some(Err(greeted)),
            () = late => as_nothing.then(|| Ok(Seen::default())),
        }
    };
    accepted.first = first.freeze();
    match (seen, opaque) {
        (Some(Ok(seen)), _) => Inspected::As(seen),
        (Some(Err(opened)), Some(proxy)) => Inspected::Opened(proxy, opened),
        (Some(Err(_)), None) | (None, _) => Inspected::Ended,
    }
}

/// The chain that copies bytes, where one takes what is neither TLS nor HTTP.
fn opaque_alternative(accepted: &Accepted) -> Option<Arc<TcpProxy>> {
    match &chain(accepted, &Seen::default())?.network {
        Network::Tcp(proxy) => Some(proxy.clone()),
        Network::Http(_) | Network::Close => None,
    }
}

/// Reads until the bytes say what they are; `None` when there is nothing more to do for the connection.
async fn read(stream: &TcpStream, first: &mut BytesMut, looks: Looks, state: &ConnState) -> Option<Seen> {
    loop {
        // Cancel safe: readiness is not lost when an order comes first. Biased: a late connection gets no other turn.
        tokio::select! {
            biased;
            _late = ordered(state) => return None,
            ready = stream.readable() => ready.ok()?,
        }
        first.reserve(FIRST_BYTES_MAX);
        let ended = match stream.try_read_buf(first) {
            Ok(read) => read == 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        };
        match look(first, looks) {
            Look::Seen(seen) => return Some(seen),
            // Nobody was there; or they said less than tells what it is, and no more.
            Look::More if ended => return (!first.is_empty()).then(Seen::default),
            Look::More => state.read(Phase::Head, 0),
            Look::TooLong => return None,
        }
    }
}

/// Resolves when the server speaks first, with the connection on which it does. Never, where there is nobody to ask.
async fn greeted(
    worker: &Rc<Worker>,
    opaque: Option<&Arc<TcpProxy>>,
    origin: &Origin,
    state: &Arc<ConnState>,
) -> Box<Opened> {
    let Some(proxy) = opaque else {
        return std::future::pending().await;
    };
    let mut pause = SILENCE;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        let Some(opened) = tcp::guess(worker, proxy, origin, state).await else {
            continue;
        };
        if speaks(&opened).await {
            return Box::new(opened);
        }
        // It waits for its client, as HTTP does: there is no hurry to ask it again.
        pause = PAUSE_MAX;
    }
}

/// Whether an upstream sends anything before its time is over, or somebody with a claim waits for the connection.
async fn speaks(opened: &Opened) -> bool {
    let mut looks = GREETING_MAX.as_millis() / GREETING_POLL.as_millis();
    while looks > 0 && !opened.is_wanted() {
        // Cancel safe: nothing is taken from the socket.
        tokio::select! {
            biased;
            speaks = opened.speaks() => return speaks,
            () = sleep(GREETING_POLL) => looks -= 1,
        }
    }
    false
}
