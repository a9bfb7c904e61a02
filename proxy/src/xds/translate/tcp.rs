use std::sync::Arc;

use weft_proxy_core::Provenance;
use weft_proxy_core::chain::{TcpDestination, TcpProxy};
use weft_proxy_core::route::{ClusterRef, SplitKey, SplitPattern};
use weft_xds::pb;

use super::context::Context;
use super::defaults;
use super::error::{At, Outcome, Problem, refuse};
use super::value::{limit, number};

/// A connection that is copied to a cluster.
pub(super) fn proxy(
    context: &mut Context<'_>,
    listener: &Arc<str>,
    chain: &str,
    owner: Option<Provenance>,
    source: &pb::tcp_proxy::TcpProxy,
) -> Outcome<TcpProxy> {
    refuse(source.tunneling_config.is_some(), "tunneling_config", "tunnels")?;
    refuse(
        source.metadata_match.is_some(),
        "metadata_match",
        "subsets are clusters of their own",
    )?;
    refuse(source.on_demand.is_some(), "on_demand", "clusters on demand")?;
    context.ignore_if(!source.access_log.is_empty(), "tcp_proxy.access_log");
    context.ignore_if(!source.hash_policy.is_empty(), "tcp_proxy.hash_policy");
    context.ignore_if(source.backoff_options.is_some(), "tcp_proxy.backoff_options");
    context.ignore_if(!source.proxy_protocol_tlvs.is_empty(), "tcp_proxy.proxy_protocol_tlvs");
    let key = match owner {
        Some(Provenance {
            object,
            rule: Some(rule),
            ..
        }) => SplitKey::Opaque { object, rule },
        _ => SplitKey::Route {
            table: listener.clone(),
            virtual_host: chain.into(),
            route: source.stat_prefix.as_str().into(),
        },
    };
    Ok(TcpProxy {
        stat_prefix: source.stat_prefix.as_str().into(),
        destination: destination(context, key, source)?,
        idle_timeout: limit(source.idle_timeout.as_ref(), Some(defaults::TCP_IDLE_TIMEOUT)).at("idle_timeout")?,
        duration_max: limit(source.max_downstream_connection_duration.as_ref(), None)
            .at("max_downstream_connection_duration")?,
        connect_attempts_max: number(source.max_connect_attempts.as_ref()).unwrap_or(1).max(1),
    })
}

fn destination(context: &mut Context<'_>, key: SplitKey, source: &pb::tcp_proxy::TcpProxy) -> Outcome<TcpDestination> {
    use pb::tcp_proxy::tcp_proxy::ClusterSpecifier;
    match source
        .cluster_specifier
        .as_ref()
        .ok_or(Problem::Missing)
        .at("cluster_specifier")?
    {
        ClusterSpecifier::Cluster(name) if name.is_empty() => Err(Problem::Missing).at("cluster"),
        ClusterSpecifier::Cluster(name) => Ok(TcpDestination::One(context.bindings.cluster(name)?)),
        ClusterSpecifier::WeightedClusters(source) => {
            let mut clusters: Vec<(ClusterRef, u32)> = Vec::new();
            for (index, one) in source.clusters.iter().enumerate().filter(|(_, one)| one.weight > 0) {
                refuse(
                    one.metadata_match.is_some(),
                    "metadata_match",
                    "subsets are clusters of their own",
                )
                .at_index("weighted_clusters.clusters", index)?;
                clusters.push((context.bindings.cluster(&one.name)?, one.weight));
            }
            let weights: Vec<u32> = clusters.iter().map(|(_, weight)| *weight).collect();
            let pattern = SplitPattern::new(&weights).at("weighted_clusters")?;
            Ok(TcpDestination::Weighted {
                clusters,
                pattern,
                state: context.bindings.split(&key),
            })
        }
    }
}
