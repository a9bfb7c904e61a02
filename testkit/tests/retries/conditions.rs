//! Which outcomes are tried again.

use std::time::Duration;

use tokio::time::Instant;
use weft_testkit::{
    Behaviour, Mesh, Upstream, client,
    mesh::free_address,
    objects::{rules, service},
};

use crate::stage::{failing, mesh, try_of, with_flags};

/// How the first try ends, by a word of the path.
fn failure(word: &str) -> Behaviour {
    let answer = |status: u16, name: &str, value: &str| Behaviour::Answer {
        status,
        fields: vec![(name.to_owned(), value.to_owned())],
        body: Vec::new(),
    };
    match word.split_at_checked(4) {
        Some(("grpc", status)) => answer(200, "grpc-status", status),
        Some(("rate", status)) => answer(status.parse().expect("a status"), "x-envoy-ratelimited", "true"),
        _ => match word {
            "close" => Behaviour::Close,
            "reset" => Behaviour::Reset,
            status => Behaviour::status(status.parse().expect("a status"), "failed"),
        },
    }
}

/// The policy of a rule; how its first try ends; whether there is another.
const CASES: [(&str, &[(&str, bool)]); 13] = [
    (
        "attempts: 1, retryOn: 5xx",
        &[
            ("500", true),
            ("503", true),
            ("close", true),
            ("409", false),
            ("200", false),
        ],
    ),
    (
        "attempts: 1, retryOn: gateway-error",
        &[("500", false), ("502", true), ("504", true), ("close", true)],
    ),
    (
        "attempts: 1, retryOn: reset",
        &[("503", false), ("close", true), ("reset", true)],
    ),
    (
        "attempts: 1, retryOn: connect-failure",
        &[("503", false), ("close", false)],
    ),
    (
        "attempts: 1, retryOn: reset-before-request",
        &[("503", false), ("close", false)],
    ),
    (
        "attempts: 1, retryOn: retriable-4xx",
        &[("409", true), ("404", false), ("503", false)],
    ),
    (
        "attempts: 1, retryOn: '503'",
        &[("503", true), ("502", false), ("close", false)],
    ),
    (
        "attempts: 1, retryOn: 'gateway-error,418'",
        &[("418", true), ("503", true), ("500", false)],
    ),
    (
        "attempts: 1, retryOn: 'unavailable,internal'",
        &[("grpc14", true), ("grpc13", true), ("grpc4", false)],
    ),
    (
        "attempts: 1, retryOn: 'cancelled,deadline-exceeded,resource-exhausted'",
        &[("grpc1", true), ("grpc4", true), ("grpc8", true), ("grpc14", false)],
    ),
    (
        "attempts: 1, retryOn: 'envoy-ratelimited'",
        &[("rate429", true), ("429", false)],
    ),
    ("attempts: 1, retryOn: '5xx'", &[("rate503", false)]),
    ("attempts: 0", &[("503", false), ("close", false), ("grpc14", false)]),
];

#[tokio::test]
async fn each_condition_means_what_it_says() {
    let upstream = Upstream::start(|seen| match try_of(seen) {
        1 => failure(seen.path().rsplit('/').next().unwrap_or_default()),
        _ => Behaviour::ok("fine"),
    });
    let http: String = CASES
        .iter()
        .enumerate()
        .map(|(place, (policy, _))| {
            format!(
                "    - {{match: [{{uri: {{prefix: /{place}/}}}}], route: [{{destination: {{host: web}}}}], retries: {{{policy}}}}}\n"
            )
        })
        .collect();
    // A rule without a word about retries has the usual ones.
    let http = http + "    - route: [{destination: {host: web}}]\n";
    let mesh = Mesh::start(
        &[service("web", &[("v1", upstream.address())])],
        &rules("web", &http),
        1,
    )
    .await;
    let usual: [(&str, &[(&str, bool)]); 1] = [(
        "usual",
        &[
            ("503", false),
            ("close", false),
            ("grpc14", true),
            ("grpc1", true),
            ("grpc13", false),
        ],
    )];
    for (place, (policy, cases)) in CASES.iter().chain(&usual).enumerate() {
        for (word, again) in *cases {
            let path = format!("/{place}/{word}");
            let fields: &[_] = if word.starts_with("grpc") {
                &[("content-type", "application/grpc")]
            } else {
                &[]
            };
            let reply = mesh.get(&path, fields).await;
            let tries = upstream.ledger().requests_to(&path);
            assert_eq!(tries, 1 + usize::from(*again), "{policy}: {word}");
            assert_eq!(reply.text() == "fine", *again, "{policy}: {word}: {}", reply.status);
        }
    }
}

#[tokio::test]
async fn a_retry_is_the_same_request_with_the_next_count() {
    let upstream = failing(1, 3, Behaviour::status(500, "failed"));
    let mesh = mesh(upstream.addresses(), "retries: {attempts: 3, retryOn: 5xx}", &[]).await;
    assert_eq!(mesh.get("/a?b=c", &[("x-mine", "1")]).await.text(), "fine");
    let seen = upstream.ledger().seen();
    let counts: Vec<_> = seen.iter().map(try_of).collect();
    assert_eq!(counts, [1, 2, 3, 4]);
    for one in &seen {
        assert_eq!((one.path(), one.field("x-mine")), ("/a?b=c", Some("1")));
        assert_eq!(one.field("x-request-id"), seen[0].field("x-request-id"));
    }
}

#[tokio::test]
async fn who_refuses_connections_is_asked_as_often_as_there_are_tries() {
    let dead = [free_address(), free_address(), free_address()];
    let mesh = mesh(&dead, "retries: {attempts: 2}", &[]).await;
    let reply = mesh.get("/", &[]).await;
    assert_eq!(reply.status, 503);
    assert_eq!(with_flags(&mesh, "UF,URX").await, 1.0);
    let page = mesh.admin("/clusters").await.text();
    let failed: u32 = page
        .lines()
        .filter(|line| line.contains("::cx_connect_fail::"))
        .filter_map(|line| line.rsplit("::").next()?.parse::<u32>().ok())
        .sum();
    assert_eq!(failed, 3, "{page}");
}

#[tokio::test]
async fn another_endpoint_answers_for_one_that_is_down() {
    let upstream = Upstream::named("fine");
    // Nothing is said about retries: those that there are without a word are enough.
    let mesh = mesh(&[free_address(), upstream.address()], "name: usual", &[]).await;
    for _ in 0..40 {
        assert_eq!(mesh.get("/", &[]).await.text(), "fine");
    }
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_one_more_try_only_where_that_is_asked_for() {
    for (on, tries, least) in [
        ("", 1, Duration::from_millis(250)),
        (", retryOn: gateway-error", 2, Duration::from_millis(400)),
    ] {
        let upstream = Upstream::start(|_| Behaviour::Silence);
        let rule = format!("timeout: 400ms, retries: {{attempts: 3, perTryTimeout: 250ms{on}}}");
        let mesh = mesh(upstream.addresses(), &rule, &[]).await;
        let start = Instant::now();
        let reply = client::get(mesh.address(), "shop.test", "/", &[])
            .await
            .expect("a reply");
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (504, "upstream request timeout"),
            "{on}"
        );
        assert!(start.elapsed() >= least, "{on}: {:?}", start.elapsed());
        assert_eq!(upstream.ledger().counts().requests, tries, "{on}");
        assert_eq!(with_flags(&mesh, "UT").await, 1.0, "{on}");
    }
}
