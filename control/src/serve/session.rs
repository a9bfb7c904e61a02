//! One stream with its I/O: requests, worlds and deadlines in; responses out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};
use weft_xds::pb::core::Node;
use weft_xds::{Received, TypeUrl, Verdict};

use super::client::Client;
use super::server::{Generate, Settings};
use super::wire::Wire;
use crate::world::World;

/// A stream must say who it is within this time.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes no response for this time has gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// What one stream writes to.
pub(super) type Responses<W> = mpsc::Sender<Result<<W as Wire>::Response, Status>>;

/// Serves one stream until it ends, or until `age` has passed: the client then comes back, here or at a replica.
///
/// # Errors
/// With the status that the client is to see.
pub(super) async fn run<W: Wire, G: Generate>(
    settings: Arc<Settings<G>>,
    mut requests: Streaming<W::Request>,
    responses: Responses<W>,
    age: Duration,
) -> Result<(), Status> {
    let mut worlds = settings.worlds.clone();
    let first = timeout(FIRST_REQUEST_TIMEOUT, requests.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no request within the limit on a first request"))??;
    let Some(first) = first else { return Ok(()) };
    let node = W::node(&first)
        .cloned()
        .ok_or_else(|| Status::invalid_argument("the first request names no node"))?;
    // A control plane that has not read everything yet knows nothing, and must not be taken to say "nothing".
    worlds
        .wait_for(|world| world.generation > 0)
        .await
        .map_err(|_| Status::unavailable("stopping"))?;
    let mut session = Session::<W, G>::open(settings, node, responses)?;
    session.settings.board.connected(&session.node.id);
    let result = session.serve(first, requests, worlds, age).await;
    session.settings.board.disconnected(&session.node.id);
    result
}

struct Session<W: Wire, G> {
    settings: Arc<Settings<G>>,
    node: Node,
    responses: Responses<W>,
    client: Client,
    /// The world that the newest resources come from, and since when.
    world: (u64, Instant),
    synced: u64,
    held_back: usize,
}

impl<W: Wire, G: Generate> Session<W, G> {
    fn open(settings: Arc<Settings<G>>, node: Node, responses: Responses<W>) -> Result<Self, Status> {
        let (resources, world) = settings
            .generate
            .resources(&node)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        settings.board.note(&node.id, &resources.notes);
        let client = Client::new(W::PROTOCOL, resources);
        Ok(Self {
            settings,
            node,
            responses,
            client,
            world: (world, Instant::now()),
            synced: 0,
            held_back: 0,
        })
    }

    async fn serve(
        &mut self,
        first: W::Request,
        mut requests: Streaming<W::Request>,
        mut worlds: watch::Receiver<Arc<World>>,
        age: Duration,
    ) -> Result<(), Status> {
        let end = Instant::now() + age;
        worlds.mark_changed();
        self.receive(&first)?;
        loop {
            self.flush().await?;
            let deadline = self.client.deadline();
            // Cancel safety: `message` keeps a half-read message in the stream, `changed` remembers what was seen,
            // timers hold nothing.
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.receive(&request)?,
                    None => return Ok(()),
                },
                changed = worlds.changed() => {
                    changed.map_err(|_| Status::unavailable("stopping"))?;
                    self.refresh()?;
                }
                () = sleep_until(deadline.unwrap_or(end)), if deadline.is_some() => {}
                () = sleep_until(end) => return Ok(()),
            }
        }
    }

    fn receive(&mut self, request: &W::Request) -> Result<(), Status> {
        let url = W::type_url(request);
        let Some(kind) = TypeUrl::parse(url) else {
            tracing::debug!(node = %self.node.id, url, "a type that is not served is asked for");
            return Ok(());
        };
        let received = W::receive(&mut self.client, kind, request)
            .map_err(|limit| Status::resource_exhausted(limit.to_string()))?;
        let Settings { board, metrics, .. } = &*self.settings;
        match received {
            Received::Ack(_) => board.accepted(&self.node.id, kind),
            Received::Nack(_, verdict) => {
                metrics.rejected(kind);
                board.refused(&self.node.id, kind, &problem(&verdict));
            }
            Received::Subscription | Received::Stale => {}
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), Status> {
        let (resources, world) = self
            .settings
            .generate
            .resources(&self.node)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if world != self.world.0 {
            self.world = (world, Instant::now());
            self.settings.board.note(&self.node.id, &resources.notes);
            self.client.update(resources);
        }
        Ok(())
    }

    /// Sends what there is to send, and reports where the client stands.
    async fn flush(&mut self) -> Result<(), Status> {
        for outgoing in self.client.advance(Instant::now()) {
            self.settings.metrics.pushed(outgoing.kind);
            let response = W::response(&outgoing, self.world.0);
            let sent = timeout(SEND_TIMEOUT, self.responses.send(Ok(response))).await;
            sent.map_err(|_| Status::deadline_exceeded("the client takes no responses"))?
                .map_err(|_| Status::cancelled("the client has gone"))?;
        }
        let held_back = self.client.held_back();
        if held_back.len() != self.held_back {
            self.held_back = held_back.len();
            for (table, missing) in held_back {
                tracing::warn!(node = %self.node.id, %table, ?missing, "keeps its last good routes until these clusters exist");
            }
        }
        if self.client.is_settled() && self.synced != self.world.0 {
            self.synced = self.world.0;
            self.settings.board.synced(&self.node.id, self.synced);
            self.settings.metrics.converged(self.world.1.elapsed());
        }
        Ok(())
    }
}

/// A refusal as one text.
fn problem(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Ack => String::new(),
        Verdict::Nack(text) => text.clone(),
        Verdict::Some(named) => named
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect::<Vec<_>>()
            .join("; "),
    }
}
