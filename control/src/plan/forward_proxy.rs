//! The route table of a forward proxy: hosts are named with their port, and CONNECT leads to them as well.

use std::collections::BTreeSet;

use super::context::Context;
use super::egress::Egress;
use super::inputs::{RouteInputs, RouteTableInputs, Unknown, VirtualHostInputs};
use super::registry::Host;
use super::virtual_hosts::{self, Owner};
use super::{destination, names, unknown};

/// The port that a request means whose authority has none.
const DEFAULT_PORT: u16 = 80;

/// A table of every port of every host that a view imports. Only hosts on port 80 are found without a port (Istio:
/// `httproute.go: mergeAllVirtualHosts`).
pub(super) fn table(context: &Context<'_>, view: Option<(&Egress, &[Owner])>, name: String) -> RouteTableInputs {
    let mut hosts: Vec<VirtualHostInputs> = Vec::new();
    if let Some((view, owners)) = view {
        let known: Vec<&Host> = context.registry.iter().filter(|host| view.imports(host)).collect();
        let ports: BTreeSet<u16> = known
            .iter()
            .flat_map(|host| &host.ports)
            .map(|port| port.number)
            .chain([DEFAULT_PORT])
            .collect();
        for port in ports {
            hosts.extend(on_port(context, view, owners, &known, port));
        }
    }
    virtual_hosts::one_owner_for_each_domain(&mut hosts);
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    hosts.push(catch_all(context));
    RouteTableInputs {
        by_port: true,
        ..virtual_hosts::finish(context, name, hosts)
    }
}

fn on_port(
    context: &Context<'_>,
    view: &Egress,
    owners: &[Owner],
    known: &[&Host],
    port: u16,
) -> Vec<VirtualHostInputs> {
    let mut hosts = virtual_hosts::on_port(context, view, owners, port);
    for host in known.iter().filter(|host| host.port(port).is_some()) {
        let connect = RouteInputs::Connect {
            cluster: Some(destination::own_target(context, host, port).cluster),
        };
        let name = names::virtual_host(&host.name, port);
        // Another name for a host is served by that host's own entry.
        match hosts.iter_mut().find(|one| one.name == name) {
            Some(one) => one.routes.insert(0, connect),
            None if host.stands_for.is_some() => {}
            None => {
                let authorities = host.authorities(&context.scope.namespace);
                hosts.push(virtual_hosts::virtual_host(
                    &host.name,
                    authorities,
                    port,
                    vec![connect],
                ));
            }
        }
    }
    for host in &mut hosts {
        let with_port = host.domains.iter().map(|domain| format!("{domain}:{port}"));
        host.domains = if port == DEFAULT_PORT {
            let both = with_port
                .zip(&host.domains)
                .flat_map(|(full, bare)| [bare.clone(), full]);
            both.collect()
        } else {
            with_port.collect()
        };
    }
    hosts
}

fn catch_all(context: &Context<'_>) -> VirtualHostInputs {
    let mut host = virtual_hosts::catch_all(context);
    let cluster = match unknown::of(context) {
        Unknown::Allowed => Some(names::PASSTHROUGH_CLUSTER.to_owned()),
        Unknown::Through(cluster) => Some(cluster),
        Unknown::Refused => None,
    };
    host.routes.insert(0, RouteInputs::Connect { cluster });
    host
}
