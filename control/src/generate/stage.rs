//! The stage itself: a scope's plan turned into resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_policies::Finding;
use weft_policies::kind::destination_rule::DestinationRule;
use weft_policies::mesh::MeshConfig;
use weft_policies::precedence::DestinationRules;
use weft_xds::Resource;

use super::{Memo, Work};
use crate::plan::{Plan, plan};
use crate::scope::Scope;
use crate::world::{Policies, World};

/// Everything that one scope is given, by name.
#[derive(Clone, Debug, Default)]
pub struct ResourceSet {
    /// Listeners (LDS).
    pub listeners: BTreeMap<String, Resource>,
    /// Route tables (RDS).
    pub routes: BTreeMap<String, Resource>,
    /// Clusters (CDS).
    pub clusters: BTreeMap<String, Resource>,
    /// Endpoints of clusters (EDS).
    pub endpoints: BTreeMap<String, Resource>,
    /// What authors of objects should know.
    pub notes: Vec<Finding>,
}

/// A scope's resources with the plan behind them, which serves for as long as only endpoints change.
#[derive(Debug, Default)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The resources.
    pub resources: ResourceSet,
}

/// Plans and generates for any number of scopes, each piece of work once.
#[derive(Debug, Default)]
pub struct Generator {
    memo: Memo,
    index: Option<Index>,
}

/// The index over the DestinationRules of a world, with what it was made from.
#[derive(Debug)]
struct Index {
    policies: Policies<DestinationRule>,
    mesh: Arc<MeshConfig>,
    rules: DestinationRules,
}

impl Generator {
    /// Everything for a scope, planned anew.
    pub fn generate(&mut self, world: &World, scope: &Scope) -> Planned {
        let rules = rules(&mut self.index, world);
        let mut plan = plan(world, rules, scope);
        let memo = &mut self.memo;
        let resources = ResourceSet {
            listeners: all(&plan.listeners, |inputs| memo.listener(inputs)),
            routes: all(&plan.routes, |inputs| memo.route_table(inputs)),
            clusters: all(&plan.clusters, |inputs| memo.cluster(inputs)),
            endpoints: all(&plan.endpoints(world), |inputs| memo.endpoints(inputs)),
            notes: std::mem::take(&mut plan.notes),
        };
        Planned { plan, resources }
    }

    /// Takes in a world that differs in endpoints only: nothing but endpoints is looked at. A cluster that resolves
    /// names carries its own, which come from objects and not from the world's endpoints.
    pub fn refresh_endpoints(&mut self, world: &World, planned: &mut Planned) {
        let memo = &mut self.memo;
        planned.resources.endpoints = all(&planned.plan.endpoints(world), |inputs| memo.endpoints(inputs));
    }

    /// Forgets what no scope holds any more. To be called after the last scope has taken in a change.
    pub fn sweep(&mut self) {
        self.memo.sweep();
    }

    /// How many resources have been generated, as opposed to remembered.
    pub fn work(&self) -> Work {
        self.memo.work()
    }
}

/// Everything for a scope, with nothing remembered.
pub fn resources(world: &World, scope: &Scope) -> ResourceSet {
    Generator::default().generate(world, scope).resources
}

fn all<I>(inputs: &BTreeMap<String, I>, mut make: impl FnMut(&I) -> Resource) -> BTreeMap<String, Resource> {
    inputs
        .iter()
        .map(|(name, inputs)| (name.clone(), make(inputs)))
        .collect()
}

/// The index, built again only when what it is made from has changed.
fn rules<'i>(index: &'i mut Option<Index>, world: &World) -> &'i DestinationRules {
    let is_current = index.as_ref().is_some_and(|index| {
        Arc::ptr_eq(&index.policies, &world.destination_rules) && Arc::ptr_eq(&index.mesh, &world.mesh)
    });
    if !is_current {
        *index = None;
    }
    let index = index.get_or_insert_with(|| Index {
        policies: Arc::clone(&world.destination_rules),
        mesh: Arc::clone(&world.mesh),
        rules: DestinationRules::new(&world.destination_rules, &world.mesh),
    });
    &index.rules
}
