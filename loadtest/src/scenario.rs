//! in → out: what the command line asked for → requests as they go over the wire, and where to.
//! owns: origins, weights, the bytes of a request.
//! may not touch: sockets, time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
}

/// Where requests go: a host and a port.
#[derive(Clone, Debug)]
pub struct Origin {
    /// As the URL has it.
    pub host: String,
    /// Of the URL, or its scheme's.
    pub port: u16,
    /// What the host stands for; not empty.
    pub addresses: Vec<SocketAddr>,
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub struct Target {
    /// Index of its origin.
    pub origin: usize,
    /// Its share among all, not zero.
    pub weight: u32,
    /// Head and body, as HTTP/1.1 has them.
    pub request: Bytes,
    /// The method is HEAD: its response has no body.
    pub head_only: bool,
    /// As the user wrote it.
    pub url: String,
}

/// What is sent, and to whom; the same for all threads.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Not empty.
    pub origins: Vec<Origin>,
    /// Not empty.
    pub targets: Vec<Target>,
    /// Spoken to all of them.
    pub protocol: Protocol,
    /// A request that has taken longer has failed.
    pub timeout: Duration,
}

impl Scenario {
    /// Chooses targets by their weights.
    pub fn chooser(self: &Arc<Self>, seed: u64) -> Chooser {
        Chooser {
            total: self.targets.iter().map(|target| u64::from(target.weight)).sum(),
            scenario: self.clone(),
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

/// The targets of one thread's requests, one after another.
#[derive(Clone, Debug)]
pub struct Chooser {
    scenario: Arc<Scenario>,
    total: u64,
    random: fastrand::Rng,
}

impl Chooser {
    /// Index of the next target.
    pub fn next_target(&mut self) -> usize {
        if self.scenario.targets.len() == 1 {
            return 0;
        }
        let mut drawn = self.random.u64(0..self.total);
        for (index, target) in self.scenario.targets.iter().enumerate() {
            match drawn.checked_sub(u64::from(target.weight)) {
                Some(left) => drawn = left,
                None => return index,
            }
        }
        unreachable!("what is drawn lies below the sum of all weights")
    }
}
