//! Bytes from one side to the other, both ways, each way with its own end.

use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::net::TcpStream;

/// What is read at once, and with it the most that waits in one direction for a side that does not take it. One such
/// buffer is shared by all connections of a worker; a connection whose sides keep up holds none of its own.
pub(crate) const COPY_BUFFER_BYTES: usize = 64 * 1024;
/// Reads of one direction in a row before other connections get a turn.
const ROUNDS_MAX: usize = 8;

/// The two sides of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Downstream,
    Upstream,
}

/// A side whose connection broke: its bytes did not come to their end.
#[derive(Debug)]
pub(super) struct Broken(pub(super) Side);

/// The sockets of both sides.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) downstream: TcpStream,
    pub(super) upstream: TcpStream,
}

impl Sides {
    /// Ends both connections. A side that did not break itself is reset, so that it does not take what came so far for
    /// all there is.
    pub(super) fn abort(self, broken: Side) {
        let other = match broken {
            Side::Downstream => &self.upstream,
            Side::Upstream => &self.downstream,
        };
        // A socket that refuses the option is closed all the same.
        SockRef::from(other).set_linger(Some(std::time::Duration::ZERO)).ok();
    }
}

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Relay {
    /// From the client to the upstream.
    request: Pump,
    response: Pump,
    /// What is read at once, at the most.
    piece_bytes: usize,
}

impl Relay {
    /// Both sides stay open until each direction has ended. `buffer_bytes_max` is the limit that the listener sets on what
    /// waits in one direction. What was read of the client `first` goes before all else.
    pub(super) fn new(first: &[u8], buffer_bytes_max: u32) -> Self {
        Self {
            piece_bytes: COPY_BUFFER_BYTES.min(buffer_bytes_max as usize).max(1),
            request: Pump {
                pending: first.to_vec(),
                read: first.len() as u64,
                ..Pump::default()
            },
            response: Pump::default(),
        }
    }

    /// Bytes read from the client so far, and written to it.
    pub(super) fn moved(&self) -> (u64, u64) {
        (self.request.read, self.response.written)
    }

    /// All bytes that either side has given or taken.
    pub(super) fn progress(&self) -> u64 {
        self.request.read + self.request.written + self.response.read + self.response.written
    }

    /// Whether bytes of the client wait for an upstream that does not take them. Nothing is read from the client meanwhile, so
    /// that its reset does not show.
    pub(super) fn is_held_up(&self) -> bool {
        !self.request.pending.is_empty()
    }

    /// Moves what can be moved now, through a buffer of [`COPY_BUFFER_BYTES`]. Ready when both directions have ended, or one side is broken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, sides: &Sides, buffer: &mut [u8]) -> Poll<Result<(), Broken>> {
        let piece = self.piece_bytes.min(buffer.len());
        let buffer = &mut buffer[..piece];
        let request = self.request.poll(cx, &sides.downstream, &sides.upstream, buffer);
        let response = self.response.poll(cx, &sides.upstream, &sides.downstream, buffer);
        match (request, response) {
            (Poll::Ready(Err(End::Source)), _) | (_, Poll::Ready(Err(End::Sink))) => {
                Poll::Ready(Err(Broken(Side::Downstream)))
            }
            (Poll::Ready(Err(End::Sink)), _) | (_, Poll::Ready(Err(End::Source))) => {
                Poll::Ready(Err(Broken(Side::Upstream)))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

/// Which end of a direction broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Sink,
}

/// One direction.
#[derive(Debug, Default)]
struct Pump {
    /// Read, but not taken yet; nothing more is read meanwhile.
    pending: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
    stage: Stage,
    read: u64,
    written: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Copying,
    /// The source has ended; what is pending comes before the sink is told.
    Ending,
    Ended,
}

impl Pump {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        buffer: &mut [u8],
    ) -> Poll<Result<(), End>> {
        for _ in 0..ROUNDS_MAX {
            if !self.pending.is_empty() {
                ready!(self.poll_flush(cx, sink)).map_err(|_| End::Sink)?;
            }
            match self.stage {
                Stage::Copying => ready!(self.poll_read(cx, source, sink, buffer))?,
                Stage::Ending => {
                    // A sink that is gone already has shown it, or shows it to the other direction.
                    SockRef::from(sink).shutdown(Shutdown::Write).ok();
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and writes what the sink takes of it.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        buffer: &mut [u8],
    ) -> Poll<Result<(), End>> {
        let read = ready!(poll_io(cx, source, TcpStream::poll_read_ready, |source| {
            source.try_read(buffer)
        }))
        .map_err(|_| End::Source)?;
        if read == 0 {
            self.stage = Stage::Ending;
            return Poll::Ready(Ok(()));
        }
        self.read += read as u64;
        let taken = match sink.try_write(&buffer[..read]) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Poll::Ready(Err(End::Sink)),
        };
        self.written += taken as u64;
        if taken < read {
            self.pending = buffer[taken..read].to_vec();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &TcpStream) -> Poll<io::Result<()>> {
        while self.taken < self.pending.len() {
            let rest = &self.pending[self.taken..];
            let taken = ready!(poll_io(cx, sink, TcpStream::poll_write_ready, |sink| sink.try_write(rest)))?;
            self.taken += taken;
            self.written += taken as u64;
        }
        // What is empty still holds its memory.
        self.pending = Vec::new();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }
}

/// Tries until the socket would block and has been asked to wake us.
fn poll_io(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    poll_ready: fn(&TcpStream, &mut Context<'_>) -> Poll<io::Result<()>>,
    mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(poll_ready(stream, cx))?;
        match attempt(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}
