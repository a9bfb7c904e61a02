//! in → out: ways into the mesh → requests at a steady pace, and what became of each.
//! owns: the callers and their record.
//! may not touch: the mesh.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use weft_testkit::{Client, eventually};

/// Callers for each way in.
const CALLERS: usize = 5;
/// All of them together, each second.
const RATE: u32 = 500;
/// Requests that make a phase worth its name.
const SOME: usize = 150;

/// An address and the host that is asked for there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    pub(crate) host: &'static str,
}

/// A request that did not end with 200.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    address: SocketAddr,
    sent: Instant,
    ended: Instant,
    what: String,
}

#[derive(Debug, Default)]
struct Record {
    done: AtomicUsize,
    from_v2: AtomicUsize,
    failures: Mutex<Vec<Failure>>,
}

/// Requests under way.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    record: Arc<Record>,
    callers: JoinSet<()>,
}

/// What became of all requests.
pub(crate) struct Outcome {
    done: usize,
    failures: Vec<Failure>,
}

/// One request on a connection of its own: the version that answered.
pub(crate) async fn ask(way: &Way) -> io::Result<String> {
    let mut client = Client::try_connect(way.address).await?;
    let reply = client.get(way.host, "/", &[]).await?;
    match reply.status {
        200 => Ok(reply.text()),
        status => Err(io::Error::other(format!("{status} {}", reply.text()))),
    }
}

impl Load {
    pub(crate) fn start(ways: &[Way]) -> Self {
        let (stop, record) = (Arc::new(AtomicBool::new(false)), Arc::new(Record::default()));
        let mut callers = JoinSet::new();
        let count = ways.len() * CALLERS;
        for way in ways.iter().flat_map(|way| std::iter::repeat_n(*way, CALLERS)) {
            callers.spawn(call(
                way,
                Duration::from_secs(1) * count as u32 / RATE,
                stop.clone(),
                record.clone(),
            ));
        }
        Load { stop, record, callers }
    }

    /// Lets some requests pass.
    pub(crate) async fn some_more(&self) {
        let goal = self.record.done.load(Relaxed) + SOME;
        eventually("requests are answered", async || {
            (self.record.done.load(Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Says when the first requests failed.
    pub(crate) fn note(&self, when: impl FnOnce() -> String) {
        let failed = self.record.failures.lock().expect("no caller panics").len();
        if failed > 0 {
            eprintln!("{failed} failures {}", when());
        }
    }

    /// Waits until v2 answers once more.
    pub(crate) async fn until_v2(&self) {
        let before = self.record.from_v2.load(Relaxed);
        eventually("v2 answers", async || {
            (self.record.from_v2.load(Relaxed) > before).then_some(())
        })
        .await;
    }

    pub(crate) async fn end(self) -> Outcome {
        self.stop.store(true, Relaxed);
        self.callers.join_all().await;
        let failures = self.record.failures.lock().expect("no caller panics").clone();
        Outcome {
            done: self.record.done.load(Relaxed),
            failures,
        }
    }
}

/// One caller: a kept connection, a request at each tick. A connection that its peer ended between two requests, without a
/// word being lost, is opened anew, as every client does.
async fn call(way: Way, pace: Duration, stop: Arc<AtomicBool>, record: Arc<Record>) {
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut client = None;
    while !stop.load(Relaxed) {
        ticks.tick().await;
        let sent = Instant::now();
        let reply = match client.take() {
            Some(open) => Ok(open),
            None => Client::try_connect(way.address).await,
        };
        let what = match reply {
            Err(e) => format!("connect: {e}"),
            Ok(mut open) => match open.get(way.host, "/", &[]).await {
                Ok(reply) if reply.status == 200 => {
                    record.done.fetch_add(1, Relaxed);
                    record.from_v2.fetch_add(usize::from(reply.text() == "v2"), Relaxed);
                    client = Some(open);
                    continue;
                }
                Ok(reply) => {
                    let reason = reply.field("x-weft-reason").unwrap_or_default();
                    format!("{} {} {reason}", reply.head.start, reply.text())
                }
                Err(e) => format!("no reply: {e}"),
            },
        };
        let what = format!("{way:?}: {what}");
        let failure = Failure {
            address: way.address,
            sent,
            ended: Instant::now(),
            what,
        };
        record.failures.lock().expect("no caller panics").push(failure);
    }
}

impl Failure {
    fn was_in_flight(&self, kills: &[(Instant, Instant)]) -> bool {
        kills
            .iter()
            .any(|(begun, over)| self.sent <= *over && self.ended >= *begun)
    }
}

impl Outcome {
    pub(crate) fn none_failed(&self) {
        self.only_in_flight_failed(&[]);
    }

    /// Every failure was on its way while one of these kills was carried out: sent before its end, over after its beginning.
    pub(crate) fn only_in_flight_failed(&self, kills: &[(Instant, Instant)]) {
        self.only_these_failed(|failure| failure.was_in_flight(kills));
    }

    /// The same, where what was killed is in one way alone.
    pub(crate) fn only_in_flight_failed_by(&self, way: Way, kills: &[(Instant, Instant)]) {
        self.only_these_failed(|failure| failure.address == way.address && failure.was_in_flight(kills));
    }

    fn only_these_failed(&self, in_flight: impl Fn(&Failure) -> bool) {
        assert!(self.done > 0, "there was no load");
        let rest: Vec<_> = self.failures.iter().filter(|failure| !in_flight(failure)).collect();
        let what: Vec<_> = rest.iter().map(|failure| &failure.what).collect();
        assert!(what.is_empty(), "{} of {} failed: {what:#?}", what.len(), self.done);
    }
}
