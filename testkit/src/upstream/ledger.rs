//! in → out: events of an upstream's connections → what it saw, in order and in numbers.
//! owns: the record that tests judge by.
//! may not touch: sockets.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::message::{Body, Head};

/// Most requests that are kept whole; later ones are only counted.
const SEEN_MAX: usize = 100_000;

/// One request as it reached the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Number of its connection, from 0 in order of acceptance.
    pub connection: usize,
    /// Its head as it came.
    pub head: Head,
    /// Its body, once that has been read.
    pub body: Body,
}

impl Seen {
    /// The request target.
    pub fn path(&self) -> &str {
        self.head.word(1)
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// The first value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

/// Numbers of a ledger at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted so far.
    pub accepts: usize,
    /// Connections that are open.
    pub open: usize,
    /// Most connections that were open at the same time.
    pub open_max: usize,
    /// Requests whose head has been read.
    pub requests: usize,
    /// Requests without a complete answer yet.
    pub active: usize,
    /// Most requests that were active at the same time.
    pub active_max: usize,
}

#[derive(Debug, Default)]
struct Book {
    counts: Counts,
    /// Connections ever, whatever was forgotten: a number is never given twice.
    connections: usize,
    /// Connections times the time that they were open, up to the last change.
    open_time: Duration,
    changed: Option<Instant>,
    seen: Vec<Seen>,
}

impl Book {
    /// Called before the number of open connections changes, and before it is read as time.
    fn add_open_time(&mut self) {
        let now = Instant::now();
        let open = u32::try_from(self.counts.open).expect("few connections");
        let unchanged = self.changed.replace(now).map_or(Duration::ZERO, |then| now - then);
        self.open_time += unchanged * open;
    }
}

/// The record of one upstream; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
}

impl Ledger {
    /// The numbers of now.
    pub fn counts(&self) -> Counts {
        self.book().counts
    }

    /// Every request so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.book().seen.clone()
    }

    /// How many requests had this path.
    pub fn requests_to(&self, path: &str) -> usize {
        self.book().seen.iter().filter(|seen| seen.path() == path).count()
    }

    /// Forgets the requests and starts the highest values again from what is open now.
    pub fn clear(&self) {
        let mut book = self.book();
        book.seen.clear();
        let Counts { open, active, .. } = book.counts;
        book.counts = Counts {
            open,
            open_max: open,
            active,
            active_max: active,
            ..Counts::default()
        };
    }

    /// The sum of the times for which connections have been open so far. Between two readings it grows by the mean number of
    /// open connections times the time between them.
    pub fn open_time(&self) -> Duration {
        let mut book = self.book();
        book.add_open_time();
        book.open_time
    }

    pub(super) fn accepted(&self) -> usize {
        let mut book = self.book();
        book.add_open_time();
        let counts = &mut book.counts;
        counts.accepts += 1;
        counts.open += 1;
        counts.open_max = counts.open_max.max(counts.open);
        book.connections += 1;
        book.connections - 1
    }

    pub(super) fn closed(&self) {
        let mut book = self.book();
        book.add_open_time();
        book.counts.open -= 1;
    }

    /// Takes down a request; the result is its place, where its body is to be noted.
    pub(super) fn request(&self, connection: usize, head: Head) -> Option<usize> {
        let mut book = self.book();
        book.counts.requests += 1;
        book.counts.active += 1;
        book.counts.active_max = book.counts.active_max.max(book.counts.active);
        let kept = book.seen.len() < SEEN_MAX;
        if kept {
            book.seen.push(Seen {
                connection,
                head,
                body: Body::default(),
            });
        }
        kept.then(|| book.seen.len() - 1)
    }

    pub(super) fn body(&self, place: Option<usize>, body: Body) {
        let mut book = self.book();
        // A ledger that was cleared meanwhile has no such place any more.
        if let Some(seen) = place.and_then(|place| book.seen.get_mut(place)) {
            seen.body = body;
        }
    }

    pub(super) fn answered(&self) {
        let counts = &mut self.book().counts;
        counts.active = counts.active.saturating_sub(1);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book
            .lock()
            .expect("no test thread panics while it writes the ledger")
    }
}
