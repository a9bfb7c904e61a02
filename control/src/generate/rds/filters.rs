//! Settings of HTTP filters that a route carries: faults and CORS.

use std::collections::HashMap;

use weft_policies::Percent;
use weft_policies::kind::virtual_service::{AbortError, CorsPolicy, Fault, HttpRoute, UnmatchedPreflights};
use weft_xds::{Any, pack, pb};

use super::conditions;
use crate::generate::wire;

/// The filters that a rule configures, by their names.
pub(super) fn per_route(rule: &HttpRoute) -> HashMap<String, Any> {
    let mut filters = HashMap::new();
    if let Some(fault) = &rule.fault {
        filters.insert(wire::FAULT.to_owned(), pack(&http_fault(fault)));
    }
    if let Some(policy) = &rule.cors_policy {
        filters.insert(wire::CORS.to_owned(), pack(&cors(policy)));
    }
    filters
}

fn http_fault(fault: &Fault) -> pb::fault::HttpFault {
    use pb::common_fault::fault_delay::FaultDelaySecifier;
    use pb::fault::fault_abort::ErrorType;
    let delay = fault.delay.as_ref().map(|delay| pb::common_fault::FaultDelay {
        percentage: Some(wire::percentage(delay.percentage)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(wire::duration(delay.fixed_delay))),
    });
    let abort = fault.abort.as_ref().map(|abort| pb::fault::FaultAbort {
        percentage: Some(wire::percentage(abort.percentage)),
        error_type: Some(match abort.error {
            AbortError::Http(status) => ErrorType::HttpStatus(status.into()),
            AbortError::Grpc(code) => ErrorType::GrpcStatus(code.number().into()),
        }),
        ..Default::default()
    });
    pb::fault::HttpFault {
        delay,
        abort,
        ..Default::default()
    }
}

fn cors(policy: &CorsPolicy) -> pb::cors::CorsPolicy {
    pb::cors::CorsPolicy {
        allow_origin_string_match: policy.allow_origins.iter().map(conditions::string).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials.map(wire::bool_value),
        filter_enabled: Some(wire::fixed_share(Percent::HUNDRED)),
        forward_not_matching_preflights: Some(wire::bool_value(
            policy.unmatched_preflights != UnmatchedPreflights::Ignore,
        )),
        ..Default::default()
    }
}
