//! Accepting, and what becomes of a connection.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::admin;
use super::alarms::Alarms;
use super::answer::{Served, Upstream};
use super::behaviour::Behaviour;
use super::connection::{Connection, Wire};
use super::ends::Ends;
use super::flags::ServeArgs;
use super::ledger::Ledger;
use crate::{clock, print};

/// Connections, at most; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 50_000;
/// Bytes that an echo of TCP holds.
const ECHO_BYTES: usize = 64 * 1024;

/// What ends an upstream. Each is one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// An address is taken, or not this machine's.
    #[error("{address}: cannot be bound: {problem}")]
    Bind { address: SocketAddr, problem: io::Error },
    /// The machine has no descriptors left.
    #[error("connections and time cannot be watched: {0}")]
    Watch(io::Error),
    /// Nobody can be told where it serves.
    #[error("{0}")]
    Output(String),
}

/// Serves until the process is asked to end, first as `behaviour` says.
///
/// # Errors
/// When it cannot begin, or its address cannot be bound again.
pub(crate) async fn run(args: &ServeArgs, behaviour: Behaviour) -> Result<(), ServeError> {
    let upstream = Rc::new(Upstream {
        name: args.name.clone(),
        tcp: args.tcp,
        hostname: std::fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        started: clock::now(),
        behaviour: RefCell::new(Rc::new(behaviour)),
        changed: Notify::new(),
        ledger: Ledger::default(),
        alarms: Alarms::new().map_err(ServeError::Watch)?,
        random: RefCell::new(fastrand::Rng::with_seed(args.seed)),
    });
    let ends = Ends::new().map_err(ServeError::Watch)?;
    let (admin, admin_address) = bind(args.admin).await?;
    let (first, address) = bind(args.listen).await?;
    print::out(&format!("serving on {address}, admin on http://{admin_address}\n")).map_err(ServeError::Output)?;
    tokio::task::spawn_local(admin::serve(upstream.clone(), admin));
    let ringing = upstream.clone();
    // No error of a timer that exists is known.
    tokio::task::spawn_local(async move { drop(ringing.alarms.ring().await) });
    let mut listener = Some(first);
    loop {
        let refuse = upstream.behaviour.borrow().raw.refuse;
        if refuse {
            // Only a closed socket refuses; the port stays ours by being bound again.
            listener = None;
            upstream.changed.notified().await;
            continue;
        }
        let listening = match &listener {
            Some(listening) => listening,
            None => listener.insert(bind(address).await?.0),
        };
        let full = ends.open() >= CONNECTIONS_MAX;
        // Cancel safe: `accept` loses no connection, and a notice is kept until it is asked for.
        tokio::select! {
            accepted = listening.accept(), if !full => {
                let taken = accepted.and_then(|(stream, peer)| accept(&upstream, &ends, stream, peer));
                if taken.is_err() {
                    // Out of descriptors: the next one would fail as well.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
            () = ends.gone.notified(), if full => {}
            () = upstream.changed.notified() => {}
        }
    }
}

/// A listener and the address that it has got.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let wrong = |problem| ServeError::Bind { address, problem };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let local = listener.local_addr().map_err(wrong)?;
    Ok((listener, local))
}

fn accept(upstream: &Rc<Upstream>, ends: &Rc<Ends>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    // Ends that are queued come first: who closes one connection and then opens another has one at a time.
    ends.look();
    // A response of several frames must not wait for an acknowledgement; a socket that is gone will say so when it is read.
    let _ = stream.set_nodelay(true);
    let place = ends.watch(&stream)?;
    let connection = Connection::new(stream, upstream.ledger.accepted(), place);
    ends.know(&connection);
    if upstream.tcp {
        tokio::task::spawn_local(echo(connection));
    } else {
        tokio::task::spawn_local(serve(upstream.clone(), connection, peer));
    }
    Ok(())
}

async fn serve(upstream: Rc<Upstream>, connection: Rc<Connection>, peer: SocketAddr) {
    let served = Rc::new(Served {
        upstream,
        connection: connection.clone(),
        peer,
        requests: Cell::new(0),
        full: Notify::new(),
    });
    let answering = served.clone();
    let service = service_fn(move |request: Request<Incoming>| answering.clone().answer(request));
    let mut builder = auto::Builder::new(Local);
    builder.http1().timer(TokioTimer::new()).half_close(false);
    builder.http2().timer(TokioTimer::new());
    let mut serving = std::pin::pin!(builder.serve_connection(Wire(connection), service));
    // Cancel safe: the connection is only polled, never dropped before its end.
    tokio::select! {
        // How it ended is the client's business; what it did is in the ledger.
        _ = serving.as_mut() => return,
        () = served.full.notified() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Gives every byte back until the other side has no more.
async fn echo(connection: Rc<Connection>) {
    let mut bytes = vec![0; ECHO_BYTES];
    // How it ended is the client's business.
    let _ = connection.echo(&mut bytes).await;
}

/// HTTP/2 runs on this thread, as everything here does.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
