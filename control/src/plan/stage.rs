//! The stage itself.

use std::collections::{BTreeMap, BTreeSet};

use weft_policies::Finding;
use weft_policies::precedence::DestinationRules;

use super::clusters::{self, EndpointsPlan};
use super::context::Context;
use super::inputs::{ClusterInputs, EndpointsInputs, ListenerInputs, RouteTableInputs};
use super::{application, gateway, sidecar};
use crate::scope::{NodeType, Scope};
use crate::world::{NamespacedName, World};

/// Everything that one scope is given, as inputs of the generators. Endpoints are found in the world again
/// whenever they are asked for, so that a plan outlives their changes.
#[derive(Debug, Default)]
pub struct Plan {
    /// Listeners by name.
    pub listeners: BTreeMap<String, ListenerInputs>,
    /// Route tables by name.
    pub routes: BTreeMap<String, RouteTableInputs>,
    /// Clusters by name.
    pub clusters: BTreeMap<String, ClusterInputs>,
    /// Where endpoints come from, by the name of their cluster.
    pub endpoints: BTreeMap<String, EndpointsPlan>,
    /// Services whose endpoints have listeners of their own: the plan is to be made again when these change.
    pub endpoint_listeners: BTreeSet<NamespacedName>,
    /// What authors of objects should know: what does not resolve, what is left out.
    pub notes: Vec<Finding>,
}

impl Plan {
    /// The endpoints of every cluster that asks for them, as the world has them now.
    pub fn endpoints(&self, world: &World) -> BTreeMap<String, EndpointsInputs> {
        self.endpoints
            .iter()
            .map(|(name, plan)| (name.clone(), plan.inputs(world)))
            .collect()
    }
}

/// Whether what is served for the application of `scope` differs between two worlds of which only the endpoints of these
/// services differ: a Service without a selector, or with a port that its endpoints alone number.
pub fn serves_other_ports(old: &World, new: &World, scope: &Scope, services: &BTreeSet<NamespacedName>) -> bool {
    scope.node_type == NodeType::Sidecar && application::moved(old, new, scope, services)
}

/// Plans a scope. `rules` is the index over the DestinationRules of the same world.
pub fn plan(world: &World, rules: &DestinationRules, scope: &Scope) -> Plan {
    let context = Context::new(world, rules, scope);
    let mut plan = Plan::default();
    match scope.node_type {
        NodeType::Router => gateway::plan(&context, &mut plan),
        NodeType::Sidecar => sidecar::plan(&context, &mut plan),
    }
    let clusters = clusters::clusters(&context);
    plan.clusters = clusters.clusters;
    plan.endpoints = clusters.endpoints;
    if scope.node_type == NodeType::Sidecar {
        application::plan(&context, &mut plan);
    }
    plan.notes = context.into_notes();
    plan
}
