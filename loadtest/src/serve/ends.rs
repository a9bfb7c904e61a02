//! Which connections the other side has ended: asked of the kernel, which knows before this thread has read so far.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::sync::Notify;

use super::connection::Connection;

/// Ends that are asked for at once.
const EVENTS_MAX: usize = 256;

/// The open connections of an upstream.
pub(super) struct Ends {
    epoll: OwnedFd,
    open: RefCell<HashMap<u64, Weak<Connection>>>,
    /// Their end is known, but not all that came before it has been read.
    unread: RefCell<Vec<u64>>,
    numbers: Cell<u64>,
    /// Told when a connection has gone.
    pub(super) gone: Notify,
}

/// A connection's place among them.
pub(super) struct EndsGuard {
    ends: Rc<Ends>,
    number: u64,
}

impl Ends {
    /// # Errors
    /// When the machine has no descriptor left.
    pub(super) fn new() -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            open: RefCell::default(),
            unread: RefCell::default(),
            numbers: Cell::new(0),
            gone: Notify::new(),
        }))
    }

    /// Connections that are there.
    pub(super) fn open(&self) -> usize {
        self.open.borrow().len()
    }

    /// A place for the connection of `stream`, which [`Ends::know`] then fills.
    ///
    /// # Errors
    /// When the kernel does not watch more.
    pub(super) fn watch(self: &Rc<Self>, stream: impl AsFd) -> io::Result<EndsGuard> {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        // Each end is told once; a descriptor that is closed is forgotten by the kernel.
        epoll::add(
            &self.epoll,
            stream,
            EventData::new_u64(number),
            EventFlags::RDHUP | EventFlags::ET,
        )?;
        self.open.borrow_mut().insert(number, Weak::new());
        Ok(EndsGuard {
            ends: self.clone(),
            number,
        })
    }

    /// Tells which connection is behind a place.
    pub(super) fn know(&self, connection: &Rc<Connection>) {
        let number = connection.place().number;
        self.open.borrow_mut().insert(number, Rc::downgrade(connection));
    }

    /// Counts out all connections whose end the kernel knows: this costs as much as there are of these, not as there are open.
    pub(super) fn look(&self) {
        let mut numbers = std::mem::take(&mut *self.unread.borrow_mut());
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            events.clear();
            let told = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once));
            numbers.extend(events.iter().map(|event| event.data.u64()));
            // Interrupted or not: whoever is left is asked about the next time.
            if told.unwrap_or_default() < EVENTS_MAX {
                break;
            }
        }
        for number in numbers {
            let connection = self.open.borrow().get(&number).and_then(Weak::upgrade);
            if connection.is_some_and(|connection| !connection.look()) {
                self.unread.borrow_mut().push(number);
            }
        }
    }
}

impl Drop for EndsGuard {
    fn drop(&mut self) {
        self.ends.open.borrow_mut().remove(&self.number);
        self.ends.gone.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::super::ledger::Ledger;
    use super::*;

    #[tokio::test]
    async fn connections_that_have_ended_are_counted_out_before_the_next_one_is_counted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ends, ledger) = (Ends::new().unwrap(), Ledger::default());
        let accept = async || {
            let client = std::net::TcpStream::connect(address).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            ends.look();
            let place = ends.watch(&stream).unwrap();
            let connection = Connection::new(stream, ledger.accepted(), place);
            ends.know(&connection);
            (client, connection)
        };
        let open = || ledger.json()["connections"]["open"].as_u64().unwrap();
        let mut kept = Vec::new();
        // Nobody reads on the server's side: only the kernel knows.
        for number in 0..EVENTS_MAX + 10 {
            let (client, connection) = accept().await;
            drop(client);
            kept.push(connection);
            ends.look();
            assert_eq!(open(), 0, "{number}");
        }
        let many: Vec<_> = {
            let mut many = Vec::new();
            for _ in 0..EVENTS_MAX + 10 {
                many.push(accept().await);
            }
            many
        };
        assert_eq!(open(), many.len() as u64);
        let (clients, connections): (Vec<_>, Vec<_>) = many.into_iter().unzip();
        drop(clients);
        ends.look();
        assert_eq!(open(), 0, "more than are told at once");
        let (mut client, connection) = accept().await;
        client.write_all(b"x").unwrap();
        drop(client);
        for _ in 0..2 {
            ends.look();
            assert_eq!(open(), 1, "what it sent is still to be read");
        }
        assert_eq!(ends.open(), kept.len() + connections.len() + 1);
        drop((kept, connections, connection));
        ends.look();
        assert_eq!((open(), ends.open()), (0, 0));
    }
}
