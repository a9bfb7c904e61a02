//! What a plan is made from, prepared once for all parts of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use weft_policies::kind::destination_rule::TrafficPolicy;
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::precedence::{DestinationRules, MergedRule, effective_policy, visible_virtual_services};
use weft_policies::{Finding, Meta, Object, ObjectRef, Severity};

use super::egress::{self, Outbound};
use super::inputs::Provenance;
use super::registry::{Host, Registry};
use crate::scope::Scope;
use crate::world::World;

/// The world as one scope sees it.
pub(super) struct Context<'a> {
    pub(super) world: &'a World,
    pub(super) scope: &'a Scope,
    pub(super) registry: Registry,
    /// In the order in which they are tried.
    pub(super) virtual_services: Vec<Arc<Object<VirtualService>>>,
    /// What a sidecar imports of that.
    pub(super) outbound: Outbound,
    rules: &'a DestinationRules,
    notes: RefCell<Notes>,
}

/// Findings in order, each once.
#[derive(Default)]
struct Notes {
    list: Vec<Finding>,
    seen: BTreeSet<String>,
}

impl<'a> Context<'a> {
    pub(super) fn new(world: &'a World, rules: &'a DestinationRules, scope: &'a Scope) -> Self {
        let virtual_services = visible_virtual_services(
            &world.virtual_services,
            &world.mesh.default_virtual_service_export_to,
            &scope.namespace,
        );
        let (outbound, registry) = egress::outbound(world, scope, &virtual_services);
        Self {
            world,
            scope,
            registry,
            virtual_services,
            outbound,
            rules,
            notes: RefCell::default(),
        }
    }

    /// The DestinationRule that shapes a host for this client.
    pub(super) fn rule_of(&self, host: &Host) -> Option<Arc<MergedRule>> {
        self.rules.find(
            &host.name,
            &host.namespace,
            &self.scope.namespace,
            Some(&self.scope.labels),
        )
    }

    /// The DestinationRule by which a server shapes what comes to its host: one without a selector, sought from its own
    /// namespace.
    pub(super) fn inbound_rule(&self, host: &str, namespace: &str) -> Option<Arc<MergedRule>> {
        self.rules.find(host, namespace, &self.scope.namespace, None)
    }

    /// The policy of one port and subset of a host, whole.
    pub(super) fn policy(&self, rule: Option<&MergedRule>, port: u16, subset: Option<&str>) -> TrafficPolicy {
        let spec = rule.map(|rule| &rule.spec);
        let policy = effective_policy(spec, port.into(), subset, &self.world.mesh.default_traffic_policy);
        TrafficPolicy {
            load_balancer: policy.load_balancer.cloned(),
            connection_pool: policy.connection_pool.cloned(),
            outlier_detection: policy.outlier_detection.cloned(),
            tls: policy.tls.cloned(),
            port_level_settings: Vec::new(),
            tunnel: policy.tunnel.cloned(),
            proxy_protocol: policy.proxy_protocol,
            retry_budget: policy.retry_budget.cloned(),
        }
    }

    /// Records what the author of an object should know.
    pub(super) fn note(&self, note: Note<'_>) {
        let finding = Finding {
            severity: Severity::Warning,
            code: note.code,
            object: ObjectRef {
                kind: note.kind.to_owned(),
                namespace: note.meta.namespace.clone(),
                name: note.meta.name.clone(),
            },
            origin: note.meta.origin.clone(),
            path: note.path,
            problem: note.problem,
            fix: note.fix,
        };
        let mut notes = self.notes.borrow_mut();
        if notes.seen.insert(finding.to_string()) {
            notes.list.push(finding);
        }
    }

    /// The findings so far.
    pub(super) fn into_notes(self) -> Vec<Finding> {
        self.notes.into_inner().list
    }
}

/// A finding of the plan: always a warning, since the object itself has been taken.
pub(super) struct Note<'a> {
    pub(super) code: &'static str,
    pub(super) kind: &'static str,
    pub(super) meta: &'a Meta,
    pub(super) path: String,
    pub(super) problem: String,
    pub(super) fix: String,
}

/// The object that a merged rule is known by: the first, its generation standing for all.
pub(super) fn provenance_of(rule: &MergedRule) -> Option<Provenance> {
    let first = rule.sources.first()?;
    let generations: Vec<_> = rule
        .sources
        .iter()
        .map(|source| source.meta.generation.to_string())
        .collect();
    Some(Provenance {
        generation: generations.join("+"),
        ..Provenance::of("DestinationRule", &first.meta)
    })
}
