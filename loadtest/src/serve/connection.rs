//! A connection that can be reset, and whose end is seen before the next one is counted.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::RecvFlags;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::ends::EndsGuard;
use super::ledger::OpenGuard;

/// The server's side of a connection; the ledger's entry goes with it, or earlier, once its end has been seen.
pub(super) struct Connection {
    stream: TcpStream,
    open: RefCell<Option<OpenGuard>>,
    reset: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    place: EndsGuard,
}

impl Connection {
    /// A connection that has been accepted, and counted.
    pub(super) fn new(stream: TcpStream, open: OpenGuard, place: EndsGuard) -> Rc<Self> {
        Rc::new(Self {
            stream,
            open: RefCell::new(Some(open)),
            reset: Cell::new(false),
            reader: RefCell::default(),
            place,
        })
    }

    /// Where it is known.
    pub(super) fn place(&self) -> &EndsGuard {
        &self.place
    }

    /// Ends it with a reset: what has not been sent is lost, and the other side learns it at once.
    pub(super) fn reset(&self) {
        self.reset.set(true);
        // Without it the close would be an orderly one; a socket that is gone needs no reset.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Sends back what comes, until the other side has no more.
    pub(super) async fn echo(&self, bytes: &mut [u8]) -> io::Result<()> {
        loop {
            self.stream.readable().await?;
            let count = match self.stream.try_read(bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let mut sent = 0;
            while sent < count {
                self.stream.writable().await?;
                match self.stream.try_write(&bytes[sent..count]) {
                    Ok(more) => sent += more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Counts it out if the other side has ended it, and all before that has been read; whether it did.
    pub(super) fn look(&self) -> bool {
        let mut byte = [0u8; 1];
        let ended = match rustix::net::recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((read, _)) => read == 0,
            Err(error) => error != rustix::io::Errno::AGAIN && error != rustix::io::Errno::INTR,
        };
        if ended {
            self.open.borrow_mut().take();
        }
        ended
    }
}

/// What hyper reads and writes.
pub(super) struct Wire(pub(super) Rc<Connection>);

fn was_reset() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &self.0;
        let mut piece = [0u8; 8192];
        loop {
            if connection.reset.get() {
                return Poll::Ready(Err(was_reset()));
            }
            *connection.reader.borrow_mut() = Some(context.waker().clone());
            ready!(connection.stream.poll_read_ready(context))?;
            let wanted = piece.len().min(buffer.remaining());
            match connection.stream.try_read(&mut piece[..wanted]) {
                Ok(count) => {
                    buffer.put_slice(&piece[..count]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let connection = &self.0;
        loop {
            if connection.reset.get() {
                return Poll::Ready(Err(was_reset()));
            }
            ready!(connection.stream.poll_write_ready(context))?;
            match connection.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
    }
}
