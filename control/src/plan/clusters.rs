//! The clusters of a scope, and where the endpoints of each come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_policies::kind::destination_rule::{LbPolicy, TrafficPolicy};
use weft_policies::kind::service_entry::{Resolution, ServiceEntry};
use weft_policies::labels::selects;
use weft_policies::precedence::MergedRule;
use weft_policies::{Meta, Object};

use super::context::{Context, Note, provenance_of};
use super::inputs::{ClusterInputs, ClusterKind, EndpointsInputs, EndpointsSource, HostFacts, MeshFacts};
use super::registry::{Host, Port, Source};
use super::{Shared, codes, names};
use crate::scope::{Interception, NodeType};
use crate::world::{Endpoint, NamespacedName, Pod, World};

/// Where the endpoints of a cluster are found in the world, however often they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsPlan {
    cluster: String,
    origin: EndpointsOrigin,
    labels: BTreeMap<String, String>,
    ready_only: bool,
    cluster_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum EndpointsOrigin {
    Service {
        name: NamespacedName,
        port: String,
    },
    Entry {
        entry: Arc<Object<ServiceEntry>>,
        host: String,
        port: u16,
    },
    Name {
        host: String,
        port: u16,
    },
}

impl EndpointsPlan {
    /// The inputs as the world has them now.
    pub fn inputs(&self, world: &World) -> EndpointsInputs {
        let source = match &self.origin {
            EndpointsOrigin::Service { name, port } => match world.endpoints.get(name) {
                Some(endpoints) => EndpointsSource::Service {
                    endpoints: Shared::new(endpoints),
                    port: port.clone(),
                },
                None => EndpointsSource::Nowhere,
            },
            EndpointsOrigin::Entry { entry, host, port } => match &entry.spec.workload_selector {
                Some(selector) => EndpointsSource::Selected {
                    endpoints: selected(world, entry, selector, *port),
                },
                None => EndpointsSource::Entry {
                    entry: Shared::new(entry),
                    host: host.clone(),
                    port: *port,
                },
            },
            EndpointsOrigin::Name { host, port } => EndpointsSource::Name {
                host: host.clone(),
                port: *port,
            },
        };
        EndpointsInputs {
            cluster: self.cluster.clone(),
            source,
            labels: self.labels.clone(),
            ready_only: self.ready_only,
            cluster_id: self.cluster_id.clone(),
        }
    }
}

/// Pods of the entry's namespace that its selector selects, on the port that the entry means.
fn selected(
    world: &World,
    entry: &Object<ServiceEntry>,
    selector: &BTreeMap<String, String>,
    number: u16,
) -> Vec<Endpoint> {
    let port = entry.spec.ports.iter().find(|port| port.number == u32::from(number));
    let target = port
        .and_then(|port| port.target_port)
        .and_then(|target| u16::try_from(target).ok());
    let pods = world
        .pods
        .values()
        .filter(|pod| pod.namespace == entry.meta.namespace && !selector.is_empty() && selects(selector, &pod.labels));
    pods.filter_map(|pod| endpoint_of(pod, target.unwrap_or(number)))
        .collect()
}

fn endpoint_of(pod: &Pod, port: u16) -> Option<Endpoint> {
    Some(Endpoint {
        address: pod.ip?,
        ports: BTreeMap::from([(String::new(), port)]),
        labels: Arc::clone(&pod.labels),
        workload: pod.workload.clone(),
        namespace: pod.namespace.clone(),
        service_account: pod.service_account.clone(),
        readiness: pod.readiness,
        weight: 1,
        locality: pod.locality.clone(),
        node: pod.node.clone(),
    })
}

/// The clusters that a scope is given, and the plans of their endpoints.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    pub(super) clusters: BTreeMap<String, ClusterInputs>,
    pub(super) endpoints: BTreeMap<String, EndpointsPlan>,
}

/// Plans a cluster for every port of every visible host and for each subset of it.
pub(super) fn clusters(context: &Context<'_>) -> Clusters {
    let mut all = Clusters::default();
    // A name that stands for another host leads to the clusters of that.
    for host in context.registry.iter().filter(|host| host.stands_for.is_none()) {
        let rule = context.rule_of(host);
        for port in &host.ports {
            all.put(context, host, port, rule.as_deref(), None);
            for subset in rule.iter().flat_map(|rule| &rule.spec.subsets) {
                all.put(context, host, port, rule.as_deref(), Some(&subset.name));
            }
        }
    }
    let mesh = facts(context);
    all.add(plain(
        names::BLACK_HOLE_CLUSTER,
        ClusterKind::BlackHole,
        TrafficPolicy::default(),
        mesh.clone(),
    ));
    if context.scope.node_type == NodeType::Sidecar {
        // Nobody's rule speaks about it; only the mesh limits it.
        let policy = TrafficPolicy {
            connection_pool: context.world.mesh.default_traffic_policy.connection_pool.clone(),
            ..Default::default()
        };
        all.add(plain(
            names::PASSTHROUGH_CLUSTER,
            ClusterKind::OriginalDestination,
            policy,
            mesh,
        ));
    }
    all
}

impl Clusters {
    fn add(&mut self, cluster: ClusterInputs) {
        self.clusters.insert(cluster.name.clone(), cluster);
    }

    fn put(
        &mut self,
        context: &Context<'_>,
        host: &Host,
        port: &Port,
        rule: Option<&MergedRule>,
        subset: Option<&str>,
    ) {
        let policy = context.policy(rule, port.number, subset);
        if let Some(source) = rule.and_then(|rule| rule.sources.first()) {
            not_yet(context, &source.meta, &policy);
        }
        let name = names::outbound_cluster(port.number, subset.unwrap_or_default(), &host.name);
        let declared = subset.and_then(|name| rule?.spec.subsets.iter().find(|subset| subset.name == name));
        let plan = EndpointsPlan {
            cluster: name.clone(),
            origin: origin(host, port),
            labels: declared.map(|subset| subset.labels.clone()).unwrap_or_default(),
            // In panic mode endpoints are used whatever their health; those that are not ready must not be.
            ready_only: policy
                .outlier_detection
                .as_ref()
                .is_some_and(|detection| detection.min_health_percent.is_some_and(|percent| percent > 0)),
            cluster_id: context.scope.cluster_id.clone(),
        };
        let kind = kind(host, &policy, context, &plan);
        if kind == ClusterKind::Eds && !is_as_dialled(&policy) {
            self.endpoints.insert(name.clone(), plan);
        }
        self.add(ClusterInputs {
            name,
            kind,
            source: None,
            host: Some(HostFacts {
                host: host.name.clone(),
                name: host.object_name().to_owned(),
                namespace: host.namespace.clone(),
                port: port.number,
                protocol: port.protocol,
            }),
            subset: subset.map(str::to_owned),
            policy,
            rule: rule.and_then(provenance_of),
            mesh: facts(context),
        });
    }
}

/// Tells the author of a rule which of its settings are not acted upon.
fn not_yet(context: &Context<'_>, meta: &Meta, policy: &TrafficPolicy) {
    let balancer = policy.load_balancer.as_ref();
    let settings = [
        ("spec.trafficPolicy.tunnel", policy.tunnel.is_some()),
        ("spec.trafficPolicy.proxyProtocol", policy.proxy_protocol.is_some()),
        (
            "spec.trafficPolicy.loadBalancer.localityLbSetting",
            balancer.is_some_and(|lb| lb.locality_lb_setting.is_some()),
        ),
        (
            "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
            balancer.is_some_and(|lb| lb.zone_aware_lb_setting.is_some()),
        ),
    ];
    for (path, _) in settings.into_iter().filter(|(_, is_set)| *is_set) {
        context.note(Note {
            code: codes::NO_EFFECT,
            kind: "DestinationRule",
            meta,
            path: path.to_owned(),
            problem: "is not acted upon yet".to_owned(),
            fix: "take it out: traffic is sent as if it were not there".to_owned(),
        });
    }
}

fn is_as_dialled(policy: &TrafficPolicy) -> bool {
    policy
        .load_balancer
        .as_ref()
        .is_some_and(|balancer| balancer.policy == LbPolicy::Passthrough)
}

fn origin(host: &Host, port: &Port) -> EndpointsOrigin {
    match &host.source {
        Source::Entry(entry) => EndpointsOrigin::Entry {
            entry: Arc::clone(port.entry.as_ref().unwrap_or(entry)),
            host: host.name.clone(),
            port: port.number,
        },
        Source::Service(service) => match &service.external_name {
            Some(target) => EndpointsOrigin::Name {
                host: target.clone(),
                port: port.number,
            },
            None => EndpointsOrigin::Service {
                name: NamespacedName::new(&service.namespace, &service.name),
                port: port.name.clone(),
            },
        },
    }
}

fn kind(host: &Host, policy: &TrafficPolicy, context: &Context<'_>, plan: &EndpointsPlan) -> ClusterKind {
    if is_as_dialled(policy) {
        return ClusterKind::OriginalDestination;
    }
    let dns = |first_record| ClusterKind::Dns {
        endpoints: plan.inputs(context.world),
        first_record,
    };
    let is_sidecar = context.scope.node_type == NodeType::Sidecar;
    let captures = is_sidecar && context.scope.interception != Interception::None;
    match host.resolution() {
        Some(Resolution::Dns) => dns(false),
        Some(Resolution::DnsRoundRobin) => dns(true),
        // A gateway has no address that somebody dialled; it uses the endpoints, if there are any.
        Some(Resolution::None) if is_sidecar => {
            if !captures {
                let problem =
                    "asks for the address that clients dial, which a proxy that captures nothing never learns";
                unreachable(context, host, problem, "use STATIC or DNS");
            }
            ClusterKind::OriginalDestination
        }
        Some(Resolution::DynamicDns) => {
            let problem = "takes the name from each request, which is not done yet: its requests get 503";
            unreachable(context, host, problem, "name the hosts, with resolution DNS");
            ClusterKind::Eds
        }
        Some(Resolution::None | Resolution::Static) => ClusterKind::Eds,
        None if host.alias_of().is_some() => dns(false),
        // The client has resolved the name itself and means the endpoint that it dialled.
        None if host.is_headless() && captures => ClusterKind::OriginalDestination,
        None => ClusterKind::Eds,
    }
}

/// Tells the author of a ServiceEntry that this proxy finds no endpoints for it.
fn unreachable(context: &Context<'_>, host: &Host, problem: &str, fix: &str) {
    let (kind, meta) = host.object();
    context.note(Note {
        code: codes::NO_EFFECT,
        kind,
        meta: &meta,
        path: "spec.resolution".to_owned(),
        problem: problem.to_owned(),
        fix: fix.to_owned(),
    });
}

fn plain(name: &str, kind: ClusterKind, policy: TrafficPolicy, mesh: MeshFacts) -> ClusterInputs {
    ClusterInputs {
        name: name.to_owned(),
        kind,
        source: None,
        host: None,
        subset: None,
        policy,
        rule: None,
        mesh,
    }
}

pub(super) fn facts(context: &Context<'_>) -> MeshFacts {
    let mesh = &context.world.mesh;
    MeshFacts {
        connect_timeout: mesh.connect_timeout,
        tcp_keepalive: mesh.tcp_keepalive.clone(),
        h2_upgrade: mesh.h2_upgrade,
        dns_refresh_rate: mesh.dns_refresh_rate,
    }
}
