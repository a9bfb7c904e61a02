use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::balance::{Cursor, Load, pick};
use crate::cluster::{
    Balance, Cluster, ClusterKind, DestinationLabels, Endpoint, EndpointSet, Health, Limits, Locality,
    OVERPROVISIONING_PERCENT, RetryBudget, UpstreamHttp, UpstreamProtocol,
};
use crate::route::{HeaderKey, HeaderMatch, HeaderTest, RequestHead, RetryOn, RetryPolicy, StringMatch, Text};

/// What Istio gives a route without retries of its own.
const DEFAULT_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

const BREAKS: [Break; 9] = [
    Break::Connect,
    Break::RefusedStream,
    Break::ResetBeforeRequest,
    Break::Reset,
    Break::TryTimeoutBeforeRequest,
    Break::TryTimeout,
    Break::RouteTimeout,
    Break::Overflow,
    Break::NoEndpoint,
];

fn policy(on: &str) -> RetryPolicy {
    let (on, unknown) = RetryOn::parse(on);
    assert!(unknown.is_empty(), "{unknown:?}");
    RetryPolicy {
        attempts: 2,
        per_try_timeout: None,
        per_try_idle_timeout: None,
        on,
        codes: Vec::new(),
        response_headers: Vec::new(),
        request_headers: Vec::new(),
        backoff_base: Duration::from_millis(25),
        backoff_max: Duration::from_millis(250),
        avoid_previous_hosts: true,
        avoid_previous_priorities: None,
        host_selection_attempts: 5,
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    pairs.iter().map(pair).collect()
}

fn after_response(policy: &RetryPolicy, status: u16, pairs: &[(&'static str, &'static str)]) -> bool {
    let outcome = Outcome::Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers(pairs),
    };
    is_retry(decide(policy, 0, outcome))
}

fn is_retry(decision: Decision) -> bool {
    match decision {
        Decision::Retry { number } => {
            assert_eq!(number, 1);
            true
        }
        Decision::Final => false,
        Decision::Exhausted => panic!("nothing was retried yet"),
    }
}

#[test]
fn every_word_retries_the_statuses_that_it_names() {
    let statuses: [u16; 15] = [
        200, 204, 302, 400, 404, 408, 409, 425, 429, 499, 500, 501, 502, 503, 504,
    ];
    let cases: [(&str, &[u16]); 17] = [
        ("5xx", &[500, 501, 502, 503, 504]),
        ("gateway-error", &[502, 503, 504]),
        ("retriable-4xx", &[409]),
        ("reset", &[]),
        ("reset-before-request", &[]),
        ("connect-failure", &[]),
        ("refused-stream", &[]),
        ("envoy-ratelimited", &[]),
        ("retriable-status-codes", &[]),
        ("retriable-headers", &[]),
        ("http3-post-connect-failure", &[]),
        ("cancelled", &[]),
        ("deadline-exceeded", &[]),
        ("internal", &[]),
        ("resource-exhausted", &[]),
        ("unavailable", &[]),
        (DEFAULT_ON, &[]),
    ];
    for (words, retried) in cases {
        for status in statuses {
            let expected = retried.contains(&status);
            assert_eq!(
                after_response(&policy(words), status, &[]),
                expected,
                "{words}: {status}"
            );
        }
    }
    assert!(after_response(&policy("5xx"), 505, &[]));
    assert!(after_response(&policy("5xx"), 599, &[]));
    assert!(!after_response(&policy("gateway-error"), 505, &[]));
}

#[test]
fn every_word_retries_the_breaks_that_it_names() {
    use Break::*;
    let any: &[Break] = &[
        Connect,
        RefusedStream,
        ResetBeforeRequest,
        Reset,
        TryTimeoutBeforeRequest,
        TryTimeout,
    ];
    let refusal_too = [any, &[Overflow]].concat();
    let cases: [(&str, &[Break]); 17] = [
        ("5xx", &refusal_too),
        ("gateway-error", any),
        ("reset", any),
        (
            "reset-before-request",
            &[Connect, ResetBeforeRequest, TryTimeoutBeforeRequest],
        ),
        ("connect-failure", &[Connect]),
        ("refused-stream", &[RefusedStream]),
        ("retriable-4xx", &[]),
        ("envoy-ratelimited", &[]),
        ("retriable-status-codes", &[]),
        ("retriable-headers", &[]),
        ("http3-post-connect-failure", &[]),
        ("cancelled", &[]),
        ("deadline-exceeded", &[]),
        ("internal", &[]),
        ("resource-exhausted", &[]),
        ("unavailable", &[]),
        (DEFAULT_ON, &[Connect, RefusedStream]),
    ];
    for (words, retried) in cases {
        for cause in BREAKS {
            let decision = decide(&policy(words), 0, Outcome::Break(cause));
            assert_eq!(is_retry(decision), retried.contains(&cause), "{words}: {cause:?}");
        }
    }
}

#[test]
fn grpc_words_look_at_the_status_in_the_headers() {
    let cases = [
        ("cancelled", 1),
        ("unknown", 2),
        ("deadline-exceeded", 4),
        ("resource-exhausted", 8),
        ("internal", 13),
        ("unavailable", 14),
    ];
    const NUMBERS: [&str; 18] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17",
    ];
    for (word, code) in cases {
        for (number, text) in NUMBERS.iter().enumerate() {
            let retried = after_response(&policy(word), 200, &[("grpc-status", text)]);
            assert_eq!(retried, number == code, "{word}: {text}");
        }
        assert!(!after_response(&policy(word), 200, &[("grpc-status", "x")]));
        assert!(!after_response(&policy(word), 200, &[]));
    }
    for (text, retried) in [("14", true), ("1", true), ("13", false), ("4", false)] {
        assert_eq!(
            after_response(&policy(DEFAULT_ON), 200, &[("grpc-status", text)]),
            retried
        );
    }
}

#[test]
fn codes_count_only_with_their_word_and_only_what_was_sent() {
    let codes = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_EARLY];
    let with = |words: &str| RetryPolicy {
        codes: codes.clone(),
        ..policy(words)
    };
    let listed = with("retriable-status-codes");
    for (status, retried) in [(503, true), (425, true), (500, false), (200, false)] {
        assert_eq!(after_response(&listed, status, &[]), retried, "{status}");
    }
    assert!(!after_response(&with("reset"), 503, &[]));
    // The client would get 503 for a reset; the list means responses.
    assert_eq!(decide(&listed, 0, Outcome::Break(Break::Reset)), Decision::Final);
    // Istio's default has an empty list: a 503 of the upstream is not retried.
    assert!(!after_response(&policy(DEFAULT_ON), 503, &[]));
}

fn header_match(name: &str, value: &str) -> HeaderMatch {
    HeaderMatch {
        name: HeaderKey::new(name).unwrap(),
        test: HeaderTest::Value(StringMatch::Exact(Text::new(value, false))),
        invert: false,
        missing_is_empty: false,
    }
}

#[test]
fn response_headers_count_only_with_their_word() {
    let with = |words: &str| RetryPolicy {
        response_headers: vec![header_match("x-again", "yes"), header_match("x-more", "1")],
        ..policy(words)
    };
    let cases: [(&[(&str, &str)], bool); 5] = [
        (&[("x-again", "yes")], true),
        (&[("x-more", "1")], true),
        (&[("x-again", "no"), ("x-more", "1")], true),
        (&[("x-again", "no")], false),
        (&[], false),
    ];
    for (pairs, retried) in cases {
        assert_eq!(
            after_response(&with("retriable-headers"), 200, pairs),
            retried,
            "{pairs:?}"
        );
        assert!(!after_response(&with("5xx"), 200, pairs));
    }
}

#[test]
fn a_rate_limited_response_is_retried_only_by_its_own_word() {
    let limited = [("x-envoy-ratelimited", "true")];
    let cases = [
        ("5xx", 503, false),
        ("5xx,gateway-error,retriable-4xx", 503, false),
        ("envoy-ratelimited", 429, true),
        ("envoy-ratelimited", 200, true),
        ("5xx,envoy-ratelimited", 503, true),
    ];
    for (words, status, retried) in cases {
        assert_eq!(after_response(&policy(words), status, &limited), retried, "{words}");
    }
    assert!(!after_response(&policy("envoy-ratelimited"), 429, &[]));
}

#[test]
fn attempts_are_counted_and_what_is_used_up_says_so() {
    let policy = policy("5xx");
    let broken = Outcome::Break(Break::Reset);
    assert_eq!(decide(&policy, 0, broken), Decision::Retry { number: 1 });
    assert_eq!(decide(&policy, 1, broken), Decision::Retry { number: 2 });
    assert_eq!(decide(&policy, 2, broken), Decision::Exhausted);
    assert_eq!(decide(&policy, 2, Outcome::Break(Break::RouteTimeout)), Decision::Final);
    let off = RetryPolicy { attempts: 0, ..policy };
    assert_eq!(decide(&off, 0, broken), Decision::Final);
}

#[test]
fn a_policy_may_ask_for_one_of_some_request_headers() {
    let asking = RetryPolicy {
        request_headers: vec![header_match("x-idempotent", "1"), header_match(":method", "GET")],
        ..policy("5xx")
    };
    let off = RetryPolicy {
        attempts: 0,
        ..policy("5xx")
    };
    for (method, pairs, expected) in [
        ("GET", headers(&[]), true),
        ("POST", headers(&[("x-idempotent", "1")]), true),
        ("POST", headers(&[("x-idempotent", "0")]), false),
    ] {
        let head = RequestHead {
            method,
            scheme: "http",
            authority: "a",
            path: "/",
            query: None,
            headers: &pairs,
        };
        assert_eq!(applies(&asking, &head), expected, "{method} {pairs:?}");
        assert!(applies(&policy("5xx"), &head));
        assert!(!applies(&off, &head));
    }
}

#[test]
fn the_wait_is_random_below_a_doubling_bound_with_a_cap() {
    // Retry, bound in milliseconds: 25 × (2^n − 1), at most 250.
    for (number, bound) in [
        (1, 25),
        (2, 75),
        (3, 175),
        (4, 250),
        (5, 250),
        (31, 250),
        (32, 250),
        (99, 250),
    ] {
        let policy = policy("5xx");
        let bound = Duration::from_millis(bound);
        assert_eq!(backoff(&policy, number, 0), Duration::ZERO, "retry {number}");
        let longest = backoff(&policy, number, u64::MAX);
        assert!(
            longest < bound && longest >= bound - Duration::from_nanos(1),
            "{longest:?}"
        );
        let half = backoff(&policy, number, 1 << 63);
        assert_eq!(half, bound / 2);
        let mut rng = fastrand::Rng::with_seed(7);
        let sum: Duration = (0..1000).map(|_| backoff(&policy, number, rng.u64(..))).sum();
        let mean = sum / 1000;
        assert!(mean > bound.mul_f64(0.45) && mean < bound.mul_f64(0.55), "{mean:?}");
    }
    let long = RetryPolicy {
        backoff_base: Duration::from_secs(1),
        backoff_max: Duration::MAX,
        ..policy("5xx")
    };
    assert_eq!(backoff(&long, 10, 1 << 63), Duration::from_millis(511_500));
    assert!(backoff(&long, 80, u64::MAX) > Duration::from_secs(u64::from(u32::MAX) - 1));
}

/// Picks these in turn; what is used, and after how many picks.
fn check_pick(policy: &RetryPolicy, tried: &[usize], picks: &[usize], expected: (usize, usize)) {
    let number = Cell::new(0);
    let pick = || {
        number.set(number.get() + 1);
        Ok::<_, ()>(picks[number.get() - 1])
    };
    let picked = pick_untried(policy, |place| tried.contains(place), pick);
    assert_eq!(
        (picked, number.get()),
        (Ok(expected.0), expected.1),
        "{tried:?} {picks:?}"
    );
}

#[test]
fn an_endpoint_that_was_tried_is_picked_again_only_if_there_is_no_other_luck() {
    let policy = policy("5xx");
    check_pick(&policy, &[], &[0], (0, 1));
    check_pick(&policy, &[0], &[1], (1, 1));
    check_pick(&policy, &[0], &[0, 0, 1], (1, 3));
    check_pick(&policy, &[0, 1], &[0, 1, 0, 1, 0, 2], (2, 6));
    check_pick(&policy, &[0, 1], &[0, 1, 0, 1, 0, 1, 2], (1, 6));
    let careless = RetryPolicy {
        avoid_previous_hosts: false,
        ..policy
    };
    check_pick(&careless, &[0], &[0, 1], (0, 1));
    assert_eq!(pick_untried(&careless, |(): &()| true, || Err("none")), Err("none"));
}

#[test]
fn priorities_that_were_tried_are_avoided_from_every_so_many_tries_on() {
    let every_two = RetryPolicy {
        avoid_previous_priorities: Some(2),
        ..policy("5xx")
    };
    let tried = [0, 0, 1, 1, 2];
    for (tries, avoided) in [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4)] {
        assert_eq!(
            avoided_priorities(&every_two, &tried[..tries]),
            &tried[..avoided],
            "{tries}"
        );
    }
    assert!(avoided_priorities(&policy("5xx"), &tried).is_empty());
    let every_one = RetryPolicy {
        avoid_previous_priorities: Some(0),
        ..every_two
    };
    assert_eq!(avoided_priorities(&every_one, &tried), tried);
}

#[test]
fn an_endpoint_that_refuses_and_has_the_least_load_is_not_all_that_is_picked() {
    let least = Cluster {
        balance: Balance::LeastRequest { choices: 2 },
        ..cluster()
    };
    let set = EndpointSet::new(vec![endpoint(1, 0), endpoint(2, 0)], OVERPROVISIONING_PERCENT).unwrap();
    let policy = policy("5xx");
    for draw in 0..32_u64 {
        let load = Untried::new(&policy, &set, &Calm, |place| place == 0).unwrap();
        let picked = pick(
            &least,
            &set,
            &load,
            draw.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            &mut Cursor::starting_at(0),
        );
        assert_eq!(picked, Ok(1), "{draw}");
    }
    assert!(Untried::new(&policy, &set, &Calm, |_| true).is_none(), "nobody is left");
    let careless = RetryPolicy {
        avoid_previous_hosts: false,
        ..policy
    };
    assert!(Untried::new(&careless, &set, &Calm, |place| place == 0).is_none());
}

struct Calm;

impl Load for Calm {
    fn active(&self, place: usize) -> u32 {
        u32::try_from(place).unwrap()
    }

    fn is_ejected(&self, place: usize) -> bool {
        place == 2
    }

    fn ejected(&self) -> usize {
        1
    }
}

fn endpoint(number: u8, priority: u32) -> Endpoint {
    Endpoint {
        address: ([10, 0, 0, number], 80).into(),
        weight: 1,
        health: Health::Healthy,
        priority,
        locality: Arc::new(Locality::default()),
        workload: None,
        hostname: None,
    }
}

fn cluster() -> Cluster {
    Cluster {
        name: "c".into(),
        kind: ClusterKind::Eds("c".into()),
        balance: Balance::Random,
        panic_threshold_percent: 0.0,
        connect_timeout: Duration::from_secs(1),
        transport: crate::cluster::Transport::Plain,
        limits: LIMITS,
        outlier: None,
        http: UpstreamHttp {
            protocol: UpstreamProtocol::Http1,
            idle_timeout: None,
            connection_duration_max: None,
            requests_per_connection_max: None,
            streams_max: None,
            keepalive: None,
        },
        sources: crate::cluster::Sources::default(),
        tcp_keepalive: None,
        destination: DestinationLabels {
            service: "c".into(),
            service_name: "c".into(),
            service_namespace: "n".into(),
        },
        provenance: None,
    }
}

#[test]
fn a_retry_that_avoids_a_priority_goes_to_the_next() {
    // Places 0 and 1 have priority 0, 2 (which is ejected) and 3 priority 1, 4 priority 2.
    let endpoints = [0, 0, 1, 1, 2]
        .iter()
        .zip(0..)
        .map(|(tier, number)| endpoint(number, *tier));
    let set = EndpointSet::new(endpoints.collect(), OVERPROVISIONING_PERCENT).unwrap();
    let cluster = cluster();
    let mut rng = fastrand::Rng::with_seed(3);
    let mut picks = |avoided: &[u32]| {
        let avoiding = Avoiding::new(&set, &Calm, avoided)?;
        assert_eq!(avoiding.active(3), 3);
        let mut picks: Vec<usize> = (0..500)
            .map(|_| pick(&cluster, &set, &avoiding, rng.u64(..), &mut Cursor::starting_at(0)).unwrap())
            .collect();
        picks.sort_unstable();
        picks.dedup();
        Some(picks)
    };
    assert_eq!(picks(&[]), None, "nothing to avoid");
    // Half of priority 1 is out: it carries 70 %, the rest spills over.
    assert_eq!(picks(&[0, 0]), Some(vec![3, 4]));
    assert_eq!(picks(&[0, 1]), Some(vec![4]));
    assert_eq!(picks(&[2]), Some(vec![0, 1]));
    assert_eq!(picks(&[0, 1, 2]), None, "nothing would be left");
}

const LIMITS: Limits = Limits {
    connections_max: 1,
    pending_max: 1,
    requests_max: 1,
    retries_max: 3,
    retry_budget: None,
};

#[test]
fn a_budget_takes_the_place_of_the_limit() {
    // Hundredths of a percent, minimum, active, pending, allowed.
    let cases = [
        (2000, 3, 0, 0, 3),
        (2000, 3, 14, 1, 3),
        (2000, 3, 15, 5, 4),
        (2000, 3, 20, 4, 4),
        (2000, 3, 20, 5, 5),
        (2000, 0, 4, 0, 0),
        (2000, 0, 5, 0, 1),
        (10_000, 0, 7, 2, 9),
        (1, 0, 9999, 0, 0),
        (1, 0, 9999, 1, 1),
        (0, 2, 1000, 1000, 2),
        (10_000, 0, u32::MAX, u32::MAX, u32::MAX),
    ];
    for (basis_points, concurrency_min, active, pending, allowed) in cases {
        let budget = RetryBudget {
            basis_points,
            concurrency_min,
        };
        let limits = Limits {
            retry_budget: Some(budget),
            ..LIMITS
        };
        assert_eq!(
            retries_max(&limits, active, pending),
            allowed,
            "{budget:?} {active} {pending}"
        );
    }
    assert_eq!(retries_max(&LIMITS, 1000, 1000), 3);
}

#[test]
fn grpc_statuses_have_their_http_status() {
    let expected = [
        200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500,
    ];
    for (status, http) in (0..).zip(expected) {
        assert_eq!(http_of_grpc(status).as_u16(), http, "{status}");
    }
    assert_eq!(http_of_grpc(u32::MAX).as_u16(), 500);
    assert_eq!(grpc_status(&headers(&[("grpc-status", "14")])), Some(14));
    assert_eq!(grpc_status(&headers(&[("grpc-status", "-1")])), None);
    assert_eq!(grpc_status(&headers(&[])), None);
}
