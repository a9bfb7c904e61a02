//! What has been generated, by its inputs: equal inputs are generated once, for all scopes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use weft_xds::Resource;

use crate::plan::inputs::{ClusterInputs, EndpointsInputs, ListenerInputs, RouteTableInputs};

/// The memory of the generators.
#[derive(Debug, Default)]
pub struct Memo {
    listeners: HashMap<ListenerInputs, Resource>,
    routes: HashMap<RouteTableInputs, Resource>,
    clusters: HashMap<ClusterInputs, Resource>,
    endpoints: HashMap<EndpointsInputs, Resource>,
    work: Work,
}

/// How many resources have been generated, as opposed to remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Listeners.
    pub listeners: u64,
    /// Route tables.
    pub routes: u64,
    /// Clusters.
    pub clusters: u64,
    /// Endpoints.
    pub endpoints: u64,
}

impl Memo {
    /// The listener of these inputs.
    pub fn listener(&mut self, inputs: &ListenerInputs) -> Resource {
        recall(&mut self.listeners, inputs, super::listener, &mut self.work.listeners)
    }

    /// The route table of these inputs.
    pub fn route_table(&mut self, inputs: &RouteTableInputs) -> Resource {
        recall(&mut self.routes, inputs, super::route_table, &mut self.work.routes)
    }

    /// The cluster of these inputs.
    pub fn cluster(&mut self, inputs: &ClusterInputs) -> Resource {
        recall(&mut self.clusters, inputs, super::cluster, &mut self.work.clusters)
    }

    /// The endpoints of these inputs.
    pub fn endpoints(&mut self, inputs: &EndpointsInputs) -> Resource {
        recall(&mut self.endpoints, inputs, super::endpoints, &mut self.work.endpoints)
    }

    /// What has been generated so far.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Forgets what nobody outside holds any more. Without it the memory would grow with every change.
    pub fn sweep(&mut self) {
        self.listeners.retain(|_, resource| is_held(resource));
        self.routes.retain(|_, resource| is_held(resource));
        self.clusters.retain(|_, resource| is_held(resource));
        self.endpoints.retain(|_, resource| is_held(resource));
    }

    /// How many resources are remembered.
    pub fn len(&self) -> usize {
        self.listeners.len() + self.routes.len() + self.clusters.len() + self.endpoints.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn recall<I: Clone + Hash + Eq>(
    known: &mut HashMap<I, Resource>,
    inputs: &I,
    generate: fn(&I) -> Resource,
    work: &mut u64,
) -> Resource {
    if let Some(resource) = known.get(inputs) {
        return resource.clone();
    }
    *work += 1;
    let resource = generate(inputs);
    known.insert(inputs.clone(), resource.clone());
    resource
}

/// The memory itself holds one.
fn is_held(resource: &Resource) -> bool {
    Arc::strong_count(&resource.body) > 1
}
