use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::chain::HttpFilters;
use crate::route::{Cors, Delay, Fault, FaultAbort, Pattern, Percentage, RequestHead, RouteFilters, StringMatch, Text};

const ISTIO: HttpFilters = HttpFilters {
    cors: true,
    fault: true,
    cors_before_fault: false,
    suppress_envoy_headers: false,
};
const CORS_FIRST: HttpFilters = HttpFilters {
    cors_before_fault: true,
    ..ISTIO
};

fn fields(list: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    list.iter().map(field).collect()
}

fn head<'a>(method: &'a str, headers: &'a HeaderMap) -> RequestHead<'a> {
    RequestHead {
        method,
        scheme: "http",
        authority: "web",
        path: "/",
        query: None,
        headers,
    }
}

fn fault(delay: u32, abort: u32) -> Fault {
    Fault {
        delay: Some(Delay {
            fixed: Duration::from_secs(2),
            share: Percentage::from_millionths(delay),
        }),
        abort: Some(FaultAbort {
            status: StatusCode::IM_A_TEAPOT,
            grpc_status: None,
            share: Percentage::from_millionths(abort),
        }),
    }
}

fn cors() -> Cors {
    let value = |text| Some(HeaderValue::from_static(text));
    Cors {
        allow_origins: vec![
            StringMatch::Exact(Text::new("https://a.test", false)),
            StringMatch::Regex(Pattern::new(r"https://[a-z]+\.b\.test").unwrap()),
        ],
        allow_methods: value("GET,PUT"),
        allow_headers: value("X-Key"),
        expose_headers: value("X-Total"),
        max_age: value("60"),
        allow_credentials: true,
        forward_unmatched_preflights: true,
        enabled: Percentage::ALL,
    }
}

fn random(numbers: &[u64]) -> impl FnMut() -> u64 {
    let mut numbers = numbers.iter().copied();
    move || numbers.next().expect("no more draws than shares")
}

/// The smallest and the largest number that are drawn: in every share above nothing, and in no share below all.
const LOW: u64 = 0;
const HIGH: u64 = u64::MAX;

#[test]
fn delay_and_abort_are_drawn_apart() {
    let filters = RouteFilters {
        fault: Some(fault(1, 999_999)),
        cors: None,
    };
    let (headers, wait) = (HeaderMap::new(), Some(Duration::from_secs(2)));
    for (numbers, delay, aborted) in [
        ([LOW, LOW], wait, true),
        ([LOW, HIGH], wait, false),
        ([HIGH, LOW], None, true),
        ([HIGH, HIGH], None, false),
    ] {
        let filtered = decide(&filters, ISTIO, &head("GET", &headers), random(&numbers));
        assert_eq!(filtered.delay, delay, "{numbers:?}");
        assert_eq!(matches!(filtered.then, Then::Abort(_)), aborted, "{numbers:?}");
    }
}

#[test]
fn shares_resolve_a_millionth() {
    let millionth = u64::MAX / 1_000_000;
    for (share, number, drawn) in [
        (0, LOW, false),
        (1, millionth - 1, true),
        (1, millionth + 1, false),
        (500_000, u64::MAX / 2, true),
        (500_000, u64::MAX / 2 + 1, false),
        (999_999, HIGH, false),
        (1_000_000, HIGH, true),
    ] {
        assert_eq!(
            Percentage::from_millionths(share).draw(number),
            drawn,
            "{share} {number}"
        );
    }
}

#[test]
fn settings_without_the_filter_mean_nothing() {
    let filters = RouteFilters {
        fault: Some(fault(1_000_000, 1_000_000)),
        cors: Some(cors()),
    };
    let headers = fields(&[("origin", "https://a.test"), ("access-control-request-method", "PUT")]);
    let nothing = decide(
        &filters,
        HttpFilters::default(),
        &head("OPTIONS", &headers),
        random(&[]),
    );
    assert_eq!(nothing, Filtered::default());
}

/// What a page is told: the response headers, or `None` where the policy says nothing.
fn crossed(cors: Cors, method: &str, request: &[(&str, &str)]) -> (bool, Option<HeaderMap>) {
    let filters = RouteFilters {
        fault: None,
        cors: Some(cors),
    };
    let headers = fields(request);
    let filtered = decide(&filters, ISTIO, &head(method, &headers), || HIGH);
    match (filtered.then, filtered.grant) {
        (Then::Preflight(headers), None) => (true, Some(headers)),
        (Then::Route, Some(grant)) => {
            let mut response = fields(&[("access-control-allow-origin", "app"), ("x-app", "1")]);
            grant.apply(&mut response);
            (false, Some(response))
        }
        (Then::Route, None) => (false, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_preflight_of_an_allowed_origin_is_answered() {
    let ask = [
        ("origin", "https://a.test"),
        ("access-control-request-method", "DELETE"),
        ("access-control-request-headers", "x-one, x-two"),
    ];
    let (answered, headers) = crossed(cors(), "OPTIONS", &ask);
    let expected = [
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Total"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "X-Key"),
        ("access-control-max-age", "60"),
    ];
    assert_eq!((answered, headers), (true, Some(fields(&expected))));
    let star = Cors {
        allow_methods: Some(HeaderValue::from_static("*")),
        allow_headers: Some(HeaderValue::from_static("*")),
        expose_headers: None,
        max_age: None,
        allow_credentials: false,
        ..cors()
    };
    let (answered, headers) = crossed(star, "OPTIONS", &ask);
    let echoed = [
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-allow-methods", "DELETE"),
        ("access-control-allow-headers", "x-one, x-two"),
    ];
    assert_eq!((answered, headers), (true, Some(fields(&echoed))));
}

#[test]
fn who_is_not_allowed_is_told_nothing() {
    let asks = ("access-control-request-method", "GET");
    let ignoring = || Cors {
        forward_unmatched_preflights: false,
        ..cors()
    };
    for (policy, method, request, expected) in [
        // Forwarded like any request, unless told otherwise.
        (
            cors(),
            "OPTIONS",
            &[("origin", "https://evil.test"), asks][..],
            (false, None),
        ),
        (
            ignoring(),
            "OPTIONS",
            &[("origin", "https://evil.test"), asks],
            (true, Some(HeaderMap::new())),
        ),
        // No preflights: another method, nothing asked for, no origin.
        (
            ignoring(),
            "GET",
            &[("origin", "https://evil.test"), asks],
            (false, None),
        ),
        (ignoring(), "OPTIONS", &[("origin", "https://evil.test")], (false, None)),
        (
            ignoring(),
            "OPTIONS",
            &[("origin", "https://evil.test"), ("access-control-request-method", "")],
            (false, None),
        ),
        (ignoring(), "OPTIONS", &[asks], (false, None)),
        (ignoring(), "OPTIONS", &[("origin", ""), asks], (false, None)),
        // The whole origin counts, and its case.
        (cors(), "GET", &[("origin", "https://a.test.evil.test")], (false, None)),
        (cors(), "GET", &[("origin", "https://A.test")], (false, None)),
        (cors(), "GET", &[("origin", "https://x.b.test:8443")], (false, None)),
        (cors(), "GET", &[("origin", "null")], (false, None)),
        (
            Cors {
                enabled: Percentage::from_millionths(999_999),
                ..ignoring()
            },
            "OPTIONS",
            &[("origin", "https://evil.test"), asks],
            (false, None),
        ),
    ] {
        assert_eq!(crossed(policy, method, request), expected, "{method} {request:?}");
    }
}

#[test]
fn what_the_application_says_about_origins_is_overwritten() {
    let (answered, headers) = crossed(cors(), "GET", &[("origin", "https://x.b.test")]);
    let expected = [
        ("access-control-allow-origin", "https://x.b.test"),
        ("x-app", "1"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Total"),
    ];
    assert_eq!((answered, headers), (false, Some(fields(&expected))));
}

#[test]
fn the_later_filter_does_not_see_what_the_earlier_one_answered() {
    let filters = RouteFilters {
        fault: Some(fault(1_000_000, 1_000_000)),
        cors: Some(cors()),
    };
    let delayed = RouteFilters {
        fault: Some(fault(1_000_000, 0)),
        ..filters.clone()
    };
    let preflight = fields(&[("origin", "https://a.test"), ("access-control-request-method", "PUT")]);
    let wait = Some(Duration::from_secs(2));
    for (filters, order, method, delay, answer, granted) in [
        (&filters, ISTIO, "OPTIONS", wait, "abort", false),
        (&filters, ISTIO, "GET", wait, "abort", false),
        (&delayed, ISTIO, "OPTIONS", wait, "preflight", false),
        (&delayed, ISTIO, "GET", wait, "route", true),
        (&filters, CORS_FIRST, "OPTIONS", None, "preflight", false),
        (&filters, CORS_FIRST, "GET", wait, "abort", true),
        (&delayed, CORS_FIRST, "GET", wait, "route", true),
    ] {
        let filtered = decide(filters, order, &head(method, &preflight), || HIGH);
        let then = match filtered.then {
            Then::Route => "route",
            Then::Abort(_) => "abort",
            Then::Preflight(_) => "preflight",
        };
        let found = (filtered.delay, then, filtered.grant.is_some());
        assert_eq!(found, (delay, answer, granted), "{method} {order:?}");
    }
}

#[test]
fn a_copy_is_told_by_its_host() {
    for (authority, expected) in [
        ("web.test", "web.test-shadow"),
        ("web.test:8080", "web.test-shadow:8080"),
        ("[::1]:80", "[::1]-shadow:80"),
        ("[fe80::1]", "[fe80::1]-shadow"),
        ("", "-shadow"),
    ] {
        assert_eq!(shadow_authority(authority), expected);
    }
}
