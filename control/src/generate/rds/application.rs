//! The routes to an application: one, which takes everything.

use std::time::Duration;

use weft_policies::defaults;
use weft_policies::kind::virtual_service::HttpRetry;
use weft_xds::pb;

use super::{action, conditions, retry};
use crate::generate::wire;

/// What is tried again towards the application: what it cannot have seen (Istio: `retry.go: defaultInboundPolicy`).
const RETRY_ON: &str = "reset-before-request";

/// The route table of a port, which rides within its listener (Istio: `httproute.go: buildSidecarInboundHTTPRouteConfig`).
pub(in crate::generate) fn application_table(
    cluster: &str,
    virtual_host: &str,
    operation: &str,
    is_grpc: bool,
    retries: Option<&HttpRetry>,
) -> pb::route::RouteConfiguration {
    let mut forward = action::plain(cluster);
    forward.max_stream_duration = Some(pb::route::route_action::MaxStreamDuration {
        max_stream_duration: Some(wire::duration(Duration::ZERO)),
        // A caller's own deadline is the caller's business; its sidecar has applied it.
        grpc_timeout_header_max: Some(wire::duration(Duration::ZERO)),
        ..Default::default()
    });
    forward.retry_policy = policy(is_grpc, retries);
    pb::route::RouteConfiguration {
        name: cluster.to_owned(),
        virtual_hosts: vec![pb::route::VirtualHost {
            name: virtual_host.to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![pb::route::Route {
                name: "default".to_owned(),
                r#match: Some(conditions::everything()),
                action: Some(pb::route::route::Action::Route(forward)),
                decorator: Some(pb::route::Decorator {
                    operation: operation.to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }],
            ..Default::default()
        }],
        validate_clusters: Some(wire::bool_value(false)),
        ..Default::default()
    }
}

/// Of a mesh policy only the number, the conditions and the back-off count on this side.
fn policy(is_grpc: bool, retries: Option<&HttpRetry>) -> Option<pb::route::RetryPolicy> {
    if is_grpc {
        return None;
    }
    let Some(stated) = retries else {
        return Some(pb::route::RetryPolicy {
            retry_on: RETRY_ON.to_owned(),
            num_retries: Some(wire::u32_value(defaults::INBOUND_RETRY_ATTEMPTS)),
            ..Default::default()
        });
    };
    let counting = HttpRetry {
        attempts: stated.attempts,
        retry_on: stated.retry_on.clone(),
        backoff: stated.backoff,
        retry_ignore_previous_hosts: Some(false),
        ..Default::default()
    };
    let mut policy = retry::policy(Some(&counting), false)?;
    if stated.retry_on.is_none() {
        RETRY_ON.clone_into(&mut policy.retry_on);
        policy.retriable_status_codes.clear();
    }
    Some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_tried_again_only_with_what_it_has_not_seen() {
        let built_in = policy(false, None).unwrap();
        assert_eq!(
            (built_in.retry_on.as_str(), built_in.num_retries),
            (RETRY_ON, Some(wire::u32_value(2)))
        );
        assert_eq!(policy(true, None), None, "gRPC");
        let stated = HttpRetry {
            attempts: 4,
            ..Default::default()
        };
        let stated = policy(false, Some(&stated)).unwrap();
        assert_eq!(
            (stated.retry_on.as_str(), stated.num_retries),
            (RETRY_ON, Some(wire::u32_value(4)))
        );
        assert_eq!(policy(false, Some(&HttpRetry::default())), None, "none at all");
    }
}
