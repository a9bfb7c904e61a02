//! Retries (istio `retry.go`).

use weft_policies::defaults;
use weft_policies::kind::virtual_service::{HttpRetry, RetryOn, RetryWord};
use weft_xds::{pack, pb};

use crate::generate::wire;
use pb::route::retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority};

/// Tries after which the localities that were tried are looked at again (Istio).
const PRIORITY_UPDATE_FREQUENCY: i32 = 2;

/// The retries of a route: what its rule says, or the mesh; the built-in policy if neither does. `None` is "never".
/// Where endpoints are chosen by a hash, a retry stays with its endpoint unless told otherwise.
pub(super) fn policy(retries: Option<&HttpRetry>, by_hash: bool) -> Option<pb::route::RetryPolicy> {
    let built_in = HttpRetry {
        attempts: defaults::RETRY_ATTEMPTS,
        ..Default::default()
    };
    let retries = retries.unwrap_or(&built_in);
    if retries.attempts == 0 {
        return None;
    }
    let elsewhere = retries.retry_ignore_previous_hosts.unwrap_or(!by_hash);
    let (retry_on, codes) = conditions(retries.retry_on.as_ref());
    let mut policy = pb::route::RetryPolicy {
        retry_on,
        num_retries: Some(wire::u32_value(retries.attempts)),
        per_try_timeout: retries.per_try_timeout.map(wire::duration),
        retriable_status_codes: codes,
        retry_back_off: retries.backoff.map(|base| RetryBackOff {
            base_interval: Some(wire::duration(base)),
            ..Default::default()
        }),
        ..Default::default()
    };
    if elsewhere {
        policy.retry_host_predicate = vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack(
                &pb::previous_hosts::PreviousHostsPredicate {},
            ))),
        }];
        policy.host_selection_retry_max_attempts = defaults::RETRY_HOST_SELECTION_ATTEMPTS.into();
    }
    if retries.retry_remote_localities == Some(true) {
        let config = pb::previous_priorities::PreviousPrioritiesConfig {
            update_frequency: PRIORITY_UPDATE_FREQUENCY,
        };
        policy.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(pack(&config))),
        });
    }
    Some(policy)
}

fn conditions(retry_on: Option<&RetryOn>) -> (String, Vec<u32>) {
    let (mut words, codes) = match retry_on {
        Some(on) => (on.words.clone(), on.codes.iter().map(|code| u32::from(*code)).collect()),
        None => (defaults::RETRY_ON.to_vec(), Vec::new()),
    };
    if !codes.is_empty() && !words.contains(&RetryWord::RetriableStatusCodes) {
        words.push(RetryWord::RetriableStatusCodes);
    }
    (
        words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(","),
        codes,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_from_anybody_the_built_in_policy_holds() {
        let policy = policy(None, false).unwrap();
        assert_eq!(
            policy.retry_on,
            "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
        );
        assert_eq!(policy.num_retries, Some(wire::u32_value(2)));
        assert_eq!(policy.host_selection_retry_max_attempts, 5);
        assert_eq!(policy.retry_host_predicate.len(), 1);
        assert!(policy.retriable_status_codes.is_empty());
    }

    #[test]
    fn no_attempts_is_no_policy() {
        assert_eq!(policy(Some(&HttpRetry::default()), false), None);
    }

    #[test]
    fn statuses_bring_their_condition() {
        let on = RetryOn {
            words: vec![RetryWord::GatewayError],
            codes: vec![418, 503],
        };
        assert_eq!(
            conditions(Some(&on)),
            ("gateway-error,retriable-status-codes".to_owned(), vec![418, 503])
        );
    }

    #[test]
    fn a_hash_keeps_its_endpoint_unless_told_otherwise() {
        assert!(policy(None, true).unwrap().retry_host_predicate.is_empty());
        let told = HttpRetry {
            attempts: 1,
            retry_ignore_previous_hosts: Some(true),
            ..Default::default()
        };
        assert_eq!(policy(Some(&told), true).unwrap().retry_host_predicate.len(), 1);
    }
}
