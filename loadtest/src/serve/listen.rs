//! Accepting, and what becomes of a connection.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::admin;
use super::answer::{Served, Upstream};
use super::connection::{Connection, Wire};
use super::flags::ServeArgs;
use super::ledger::Ledger;
use crate::clock;

/// Connections at the most; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 50_000;
/// Bytes that an echo of TCP holds.
const ECHO_BYTES: usize = 64 * 1024;

/// Serves until the process is asked to end.
///
/// # Errors
/// One line: a behaviour that makes no sense, an address that cannot be bound.
pub(crate) async fn run(args: &ServeArgs) -> Result<(), String> {
    let upstream = Rc::new(Upstream {
        name: args.name.clone(),
        hostname: std::fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        started: clock::now(),
        behaviour: RefCell::new(Rc::new(args.behaviour()?)),
        changed: Notify::new(),
        ledger: Ledger::default(),
        random: RefCell::new(fastrand::Rng::with_seed(args.seed)),
    });
    let admin = bind(args.admin).await?;
    let first = bind(args.listen).await?;
    let address = local(&first)?;
    println!("serving on {address}, admin on http://{}", local(&admin)?);
    tokio::task::spawn_local(admin::serve(upstream.clone(), admin));
    let mut listener = Some(first);
    let open: RefCell<Vec<Weak<Connection>>> = RefCell::default();
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
            None => listener.insert(bind(address).await?),
        };
        // Cancel safe: `accept` loses no connection, and a notice is kept until it is asked for.
        tokio::select! {
            accepted = listening.accept() => match accepted {
                Ok((stream, peer)) => accept(&upstream, &open, stream, peer, args.tcp),
                // Out of descriptors: the next one would fail as well.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
            () = upstream.changed.notified() => {}
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address}: cannot be bound: {error}"))
}

fn local(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

fn accept(
    upstream: &Rc<Upstream>,
    open: &RefCell<Vec<Weak<Connection>>>,
    stream: TcpStream,
    peer: SocketAddr,
    tcp: bool,
) {
    // Ends that are queued come first: who closes one connection and then opens another has one at a time.
    let mut open = open.borrow_mut();
    open.retain(|known| {
        known.upgrade().is_some_and(|connection| {
            connection.look();
            true
        })
    });
    if open.len() >= CONNECTIONS_MAX {
        return;
    }
    // A response of several frames must not wait for an acknowledgement; a socket that is gone will say so when it is read.
    let _ = stream.set_nodelay(true);
    let connection = Connection::new(stream, upstream.ledger.accepted());
    open.push(Rc::downgrade(&connection));
    if tcp {
        tokio::task::spawn_local(echo(connection));
    } else {
        tokio::task::spawn_local(serve(upstream.clone(), connection, peer));
    }
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
