//! Callers of a gateway, and what its figures say.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex as Shared, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::Mutex, task::JoinSet};
use weft_testkit::{
    Client, Mesh, Upstream,
    objects::{self, file, policy, rules},
};

/// Held by tests that measure, so that none of them measures the load of another.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// The service that is called.
pub(crate) const HOST: &str = "web";

/// A rule with this `connectionPool`, as YAML in flow style.
pub(crate) fn breaker(pool: &str) -> String {
    policy(HOST, &format!("{{connectionPool: {pool}}}"))
}

/// Everything to the service, under these objects.
pub(crate) fn all_to_it(objects: &[String]) -> String {
    let route = format!("    - route: [{{destination: {{host: {HOST}}}}}]\n      retries: {{attempts: 0}}\n");
    file(&[&[rules("web", &route)], objects].concat())
}

/// The service with these of the upstream's addresses.
pub(crate) fn service_at(addresses: &[SocketAddr]) -> String {
    objects::service_at(HOST, addresses)
}

/// A gateway before a service with this `connectionPool`.
pub(crate) async fn mesh(upstream: &Upstream, pool: &str, workers: usize) -> Mesh {
    let services = [service_at(upstream.addresses())];
    Mesh::start(&services, &all_to_it(&[breaker(pool)]), workers).await
}

/// Statuses and how often each came.
pub(crate) type Statuses = BTreeMap<u16, usize>;

/// Callers that ask without a pause, each on a connection of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
    statuses: Arc<Shared<Statuses>>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, callers: usize) -> Self {
        let (stop, statuses) = (Arc::new(AtomicBool::new(false)), Arc::<Shared<Statuses>>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (stop, statuses) = (stop.clone(), statuses.clone());
            tasks.spawn(async move {
                let mut client = Client::connect(address).await;
                while !stop.load(Relaxed) {
                    let reply = client.get("shop.test", "/", &[]).await.expect("a reply");
                    let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
                    *statuses.entry(reply.status).or_default() += 1;
                }
            });
        }
        Self {
            stop,
            callers: tasks,
            statuses,
        }
    }

    /// Everybody still gets the answer to what they have asked.
    pub(crate) async fn stop(self) -> Statuses {
        self.stop.store(true, Relaxed);
        self.callers.join_all().await;
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everybody leaves, also those who wait: where the queue is long its end is not waited for.
    pub(crate) async fn leave(mut self) -> Statuses {
        self.callers.abort_all();
        while let Some(ended) = self.callers.join_next().await {
            if let Some(panic) = ended.err().filter(|error| error.is_panic()) {
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A figure of the service's cluster on `/clusters`.
pub(crate) async fn figure(mesh: &Mesh, name: &str) -> u64 {
    let page = mesh.admin("/clusters").await.text();
    let line = page
        .lines()
        .find(|line| line.contains(&format!("|{HOST}.")) && line.contains(&format!("::{name}::")));
    let value = line.and_then(|line| line.rsplit("::").next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {page}"))
}

/// A metric of the service's cluster.
pub(crate) async fn metric(mesh: &Mesh, name: &str) -> f64 {
    mesh.cluster_metric(HOST, name).await
}
