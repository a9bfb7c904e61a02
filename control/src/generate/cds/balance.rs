//! How an endpoint is chosen.

use weft_policies::defaults;
use weft_policies::kind::destination_rule::{HashAlgorithm, LbPolicy, LoadBalancer, Warmup};
use weft_xds::pb;

use crate::generate::wire;
use pb::cluster::cluster::{
    LbConfig, LbPolicy as Pick, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    SlowStartConfig,
};

/// Sets policy and parameters; LEAST_REQUEST where nobody asks for another.
pub(super) fn apply(cluster: &mut pb::cluster::Cluster, balancer: Option<&LoadBalancer>) {
    let default = LoadBalancer::default();
    let balancer = balancer.unwrap_or(&default);
    let slow_start = balancer.warmup.as_ref().map(slow_start);
    let (pick, config) = match &balancer.policy {
        LbPolicy::Unspecified | LbPolicy::LeastRequest => (
            Pick::LeastRequest,
            slow_start.map(|slow_start| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(slow_start),
                    ..Default::default()
                })
            }),
        ),
        LbPolicy::RoundRobin => (
            Pick::RoundRobin,
            slow_start.map(|slow_start| {
                LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                    slow_start_config: Some(slow_start),
                })
            }),
        ),
        LbPolicy::Random => (Pick::Random, None),
        // Decided by the kind of cluster.
        LbPolicy::Passthrough => return,
        LbPolicy::ConsistentHash(hash) => match hash.algorithm {
            HashAlgorithm::RingHash { minimum_ring_size } => (
                Pick::RingHash,
                Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
                    minimum_ring_size: Some(size(minimum_ring_size.unwrap_or(defaults::RING_SIZE_MIN))),
                    ..Default::default()
                })),
            ),
            HashAlgorithm::Maglev { table_size } => (
                Pick::Maglev,
                Some(LbConfig::MaglevLbConfig(MaglevLbConfig {
                    table_size: table_size.map(size),
                })),
            ),
        },
    };
    cluster.lb_policy = pick.into();
    cluster.lb_config = config;
}

fn slow_start(warmup: &Warmup) -> SlowStartConfig {
    let minimum = warmup
        .minimum_percent
        .map_or(defaults::WARMUP_MINIMUM_PERCENT.into(), |percent| percent.percent());
    SlowStartConfig {
        slow_start_window: Some(wire::duration(warmup.duration)),
        aggression: warmup.aggression.map(|aggression| pb::core::RuntimeDouble {
            default_value: aggression.get(),
            // Envoy refuses an empty key; nothing ever sets it.
            runtime_key: "weft.slow_start.aggression".to_owned(),
        }),
        min_weight_percent: Some(pb::percent::Percent { value: minimum }),
    }
}

fn size(value: u64) -> pb::protobuf::UInt64Value {
    pb::protobuf::UInt64Value { value }
}
