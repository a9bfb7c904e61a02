//! How many streams the HTTP/2 connections of a cluster take, together: a hint for who finds none on its own worker.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::admission::Admission;

/// Sums over the open HTTP/2 connections of a cluster.
#[derive(Debug, Default)]
pub(super) struct Http2Sums {
    pub(super) connections: AtomicU32,
    pub(super) streams: AtomicU32,
}

/// The part of one connection in the sums, until it is dropped. Relaxed throughout: nobody decides by it alone.
#[derive(Debug)]
pub(crate) struct Http2Places {
    admission: Arc<Admission>,
    streams: Cell<u32>,
}

impl Http2Places {
    /// A connection that takes so many streams at once.
    pub(crate) fn new(admission: &Arc<Admission>, streams: u32) -> Self {
        admission.http2.connections.fetch_add(1, Relaxed);
        admission.http2.streams.fetch_add(streams, Relaxed);
        Self {
            admission: admission.clone(),
            streams: Cell::new(streams),
        }
    }

    /// Its peer has changed its mind.
    pub(crate) fn set(&self, streams: u32) {
        let before = self.streams.replace(streams);
        if before != streams {
            // Wraps where it goes down, as the sum does.
            self.admission
                .http2
                .streams
                .fetch_add(streams.wrapping_sub(before), Relaxed);
        }
    }
}

impl Drop for Http2Places {
    fn drop(&mut self) {
        self.set(0);
        self.admission.http2.connections.fetch_sub(1, Relaxed);
    }
}
