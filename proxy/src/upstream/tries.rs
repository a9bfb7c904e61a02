//! Where a request has been, and where it goes next.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Version};
use weft_proxy_core::cluster::ClusterKind;
use weft_proxy_core::retry::{Avoiding, Untried, avoided_priorities, pick_untried};
use weft_proxy_core::route::RetryPolicy;

use super::attempt::{EndpointKeyHash, pick_among, pick_endpoint};
use super::cluster::Cluster;
use super::endpoint::EndpointState;
use crate::http::failure::Failure;
use crate::worker::Worker;

/// The tries of one request so far.
pub(crate) struct Tries<'a> {
    /// What the request is sent as, in each of them.
    pub(super) version: Version,
    policy: Option<&'a RetryPolicy>,
    /// What the client dialled, where that is known.
    destination: Option<SocketAddr>,
    hash: Option<EndpointKeyHash>,
    /// By id.
    endpoints: Vec<u64>,
    priorities: Vec<u32>,
}

impl<'a> Tries<'a> {
    /// Before the first.
    pub(super) fn new<B>(
        request: &Request<B>,
        policy: Option<&'a RetryPolicy>,
        destination: Option<SocketAddr>,
    ) -> Self {
        Self {
            version: request.version(),
            policy,
            destination,
            hash: request.extensions().get().copied(),
            endpoints: Vec::new(),
            priorities: Vec::new(),
        }
    }

    /// A try went to this endpoint, and there is to be another.
    pub(super) fn add(&mut self, cluster: &Cluster, endpoint: &Arc<EndpointState>) {
        self.endpoints.push(endpoint.id);
        if self
            .policy
            .is_some_and(|policy| policy.avoid_previous_priorities.is_some())
        {
            let live = cluster.state.endpoints();
            let place = live.states.iter().position(|state| Arc::ptr_eq(state, endpoint));
            // One that has left since has no priority to avoid.
            self.priorities
                .extend(place.map(|place| live.set.endpoints()[place].priority));
        }
    }

    /// Whether a connection to `offered` is no step back behind the pick: nobody is asked again for being at hand.
    pub(super) fn allows(&self, offered: &EndpointState) -> bool {
        !self.policy.is_some_and(|policy| policy.avoid_previous_hosts) || !self.endpoints.contains(&offered.id)
    }

    /// An endpoint of the cluster, for a retry one that has not been tried if there is any.
    pub(super) fn pick(&self, worker: &Rc<Worker>, cluster: &Cluster) -> Result<Arc<EndpointState>, Failure> {
        let is_given = matches!(cluster.config.kind, ClusterKind::OriginalDst(_));
        let Some(policy) = self.policy.filter(|_| !self.endpoints.is_empty() && !is_given) else {
            return pick_endpoint(worker, cluster, self.destination, self.hash);
        };
        let live = cluster.state.endpoints();
        let is_tried = |endpoint: &Arc<EndpointState>| self.endpoints.contains(&endpoint.id);
        let picks = Cell::new(0);
        let attempt = || picks.replace(picks.get() + 1);
        let picked = match Avoiding::new(&live.set, &**live, avoided_priorities(policy, &self.priorities)) {
            Some(load) => pick_untried(policy, is_tried, || {
                pick_among(worker, cluster, &live, &load, self.hash, attempt())
            }),
            None => pick_untried(policy, is_tried, || {
                pick_among(worker, cluster, &live, &**live, self.hash, attempt())
            }),
        }?;
        if !is_tried(&picked) {
            return Ok(picked);
        }
        match Untried::new(policy, &live.set, &**live, |place| is_tried(&live.states[place])) {
            Some(load) => pick_among(worker, cluster, &live, &load, self.hash, 0),
            None => Ok(picked),
        }
    }
}
