//! Faults, cross-origin policies and copies under Envoy and under us: the same requests become the same.

use std::time::Duration;

use weft_testkit::{
    Behaviour, Client, Upstream,
    client::request,
    eventually,
    objects::{rules, service},
};

use crate::stage::{BOTH, HOST, Side, Stage};

const RULES: &str = r#"    - match: [{uri: {prefix: /abort}}]
      fault: {abort: {percentage: {value: 100}, httpStatus: 418}}
      headers: {response: {set: {x-rule: said}}}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /grpc}}]
      fault: {abort: {percentage: {value: 100}, grpcStatus: RESOURCE_EXHAUSTED}}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /delay}}]
      fault: {delay: {percentage: {value: 100}, fixedDelay: 300ms}}
      timeout: 200ms
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /both}}]
      fault: {delay: {percentage: {value: 100}, fixedDelay: 200ms}, abort: {percentage: {value: 100}, httpStatus: 503}}
      corsPolicy: SITE
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /some}}]
      fault: {abort: {percentage: {value: 30}, httpStatus: 500}}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /never}}]
      fault: {abort: {httpStatus: 500}}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /site}}]
      headers: {response: {set: {x-rule: said, access-control-allow-origin: rule}}}
      corsPolicy: SITE
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /star}}]
      corsPolicy: {allowOrigin: ["*"], allowMethods: ["*"], allowHeaders: ["*"], unmatchedPreflights: IGNORE}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /ignore}}]
      corsPolicy: {allowOrigins: [{exact: "https://a.test"}], unmatchedPreflights: IGNORE, allowCredentials: false}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /none}}]
      corsPolicy: SITE
      route: [{destination: {host: web, subset: none}}]
    - match: [{uri: {prefix: /direct}}]
      corsPolicy: SITE
      directResponse: {status: 200, body: {string: here}}
    - match: [{uri: {prefix: /moved}}]
      corsPolicy: SITE
      redirect: {uri: /there}
"#;

/// The policy of most rules.
const SITE: &str = r#"{allowOrigins: [{exact: "https://a.test"}, {prefix: "https://p."}, {regex: "https://[a-z]+\\.r\\.test"}],
        allowMethods: [GET, PUT], allowHeaders: [X-Key, X-Trace], exposeHeaders: [X-Total], maxAge: 90s, allowCredentials: true}"#;

/// Method, path, fields.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const HERE: (&str, &str) = ("origin", "https://a.test");
const ELSEWHERE: (&str, &str) = ("origin", "https://evil.test");
const ASKS: (&str, &str) = ("access-control-request-method", "DELETE");
const ASKS_FIELDS: (&str, &str) = ("access-control-request-headers", "x-one, x-two");

const CASES: &[Case] = &[
    ("GET", "/abort", &[]),
    ("HEAD", "/abort", &[]),
    ("POST", "/abort", &[GRPC]),
    ("GET", "/abort", &[HERE]),
    ("GET", "/grpc", &[]),
    ("POST", "/grpc", &[GRPC]),
    ("GET", "/delay", &[]),
    ("GET", "/both", &[HERE]),
    ("OPTIONS", "/both", &[HERE, ASKS]),
    ("GET", "/never", &[]),
    ("OPTIONS", "/site", &[HERE, ASKS]),
    ("OPTIONS", "/site", &[HERE, ASKS, ASKS_FIELDS]),
    ("OPTIONS", "/site", &[("origin", "https://p.test"), ASKS]),
    ("OPTIONS", "/site", &[("origin", "https://x.r.test"), ASKS]),
    ("OPTIONS", "/site", &[("origin", "https://x.r.test:1"), ASKS]),
    ("OPTIONS", "/site", &[ELSEWHERE, ASKS]),
    ("OPTIONS", "/site", &[HERE]),
    ("OPTIONS", "/site", &[ASKS]),
    ("OPTIONS", "/site", &[HERE, ("access-control-request-method", "")]),
    ("GET", "/site", &[HERE]),
    ("GET", "/site", &[ELSEWHERE]),
    ("GET", "/site", &[]),
    ("GET", "/site", &[HERE, ASKS]),
    ("OPTIONS", "/star", &[ELSEWHERE, ASKS]),
    ("OPTIONS", "/star", &[ELSEWHERE, ASKS, ASKS_FIELDS]),
    ("GET", "/star", &[ELSEWHERE]),
    ("OPTIONS", "/ignore", &[ELSEWHERE, ASKS]),
    ("OPTIONS", "/ignore", &[HERE, ASKS]),
    ("GET", "/ignore", &[ELSEWHERE]),
    ("GET", "/ignore", &[HERE]),
    ("GET", "/none", &[HERE]),
    ("GET", "/direct", &[HERE]),
    ("OPTIONS", "/direct", &[HERE, ASKS]),
    ("GET", "/moved", &[HERE]),
];

/// Status, fields that matter, body where the rules decide it, how often the upstream saw it, how many delays were counted.
type Outcome = (u16, Vec<(String, String)>, String, usize, u64);

async fn outcome(stage: &Stage, side: &Side, upstream: &Upstream, (method, path, fields): Case) -> Outcome {
    upstream.ledger().clear();
    let before = side.delays().await;
    let mut client = Client::connect(stage.address()).await;
    let bytes = request(method, "shop.test", path, fields);
    client.send(bytes).await.expect("room");
    let reply = client.reply(method == "HEAD").await.expect("a reply");
    let lower = reply
        .head
        .fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut fields: Vec<_> = lower
        .filter(|(name, _)| name.starts_with("access-control-") || name.starts_with("grpc-") || name == "x-rule")
        .collect();
    fields.sort();
    let body = if path == "/none" { String::new() } else { reply.text() };
    let delays = side.delays().await - before;
    (reply.status, fields, body, upstream.ledger().counts().requests, delays)
}

fn stage(upstream: &Upstream) -> Stage {
    Stage::new(
        "HTTP",
        &[
            service(HOST, &[("v1", upstream.address())]),
            rules(HOST, &RULES.replace("SITE", SITE)),
        ],
    )
}

/// An application with an opinion of its own about origins.
fn application() -> Upstream {
    let fields = [
        ("access-control-allow-origin", "app"),
        ("access-control-expose-headers", "x-app"),
        ("access-control-max-age", "1"),
    ];
    Upstream::start(move |_| Behaviour::with_fields("app", &fields))
}

#[tokio::test]
async fn faults_and_origins_are_the_same_through_envoy_and_through_us() {
    let upstream = application();
    let stage = stage(&upstream);
    let mut theirs = Vec::new();
    let mut wrong = Vec::new();
    for who in BOTH {
        let side = stage.enter(who).await;
        for (index, case) in CASES.iter().enumerate() {
            let outcome = outcome(&stage, &side, &upstream, *case).await;
            match theirs.get(index) {
                None => theirs.push(outcome),
                Some(expected) if *expected != outcome => {
                    wrong.push(format!("{case:?}\n  envoy {expected:?}\n  weft  {outcome:?}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn both_abort_the_same_share() {
    const ASKED: usize = 1_000;
    let upstream = application();
    let stage = stage(&upstream);
    for who in BOTH {
        let _side = stage.enter(who).await;
        let mut client = Client::connect(stage.address()).await;
        let mut aborted = 0;
        for _ in 0..ASKED {
            let reply = client.get("shop.test", "/some", &[]).await.expect("a reply");
            aborted += usize::from(reply.status == 500);
        }
        // Independent draws: five standard deviations around 300.
        assert!((227..=373).contains(&aborted), "{who:?}: {aborted} of {ASKED}");
    }
}

#[tokio::test]
async fn who_leaves_during_a_delay_reaches_nobody() {
    let upstream = application();
    let stage = stage(&upstream);
    for who in BOTH {
        let _side = stage.enter(who).await;
        upstream.ledger().clear();
        let mut client = Client::connect(stage.address()).await;
        client
            .send(request("GET", "shop.test", "/delay", &[]))
            .await
            .expect("room");
        drop(client);
        tokio::time::timeout(Duration::from_millis(600), stage.get("/delay"))
            .await
            .expect("a reply");
        assert_eq!(upstream.ledger().counts().requests, 1, "{who:?}");
    }
}

/// What is compared of a copy: start line, host, fields of rules, body.
type Copied = (String, Option<String>, Option<String>, Option<String>, usize);

#[tokio::test]
async fn both_send_the_same_copies() {
    const RULES: &str = r#"    - match: [{uri: {prefix: /old}}]
      rewrite: {uri: /new, authority: new.test}
      headers: {request: {set: {x-rule: said}}}
      mirrors: [{destination: {host: copy}}, {destination: {host: copy}}]
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /abort}}]
      fault: {abort: {percentage: {value: 100}, httpStatus: 500}}
      mirror: {host: copy}
      route: [{destination: {host: web}}]
    - match: [{uri: {prefix: /zero}}]
      mirror: {host: copy}
      mirrorPercentage: {value: 0}
      route: [{destination: {host: web}}]
    - mirror: {host: copy}
      route: [{destination: {host: web}}]
"#;
    let (web, copy) = (application(), Upstream::named("copy"));
    let services = [("web", web.address()), ("copy", copy.address())].map(|(name, at)| service(name, &[("v1", at)]));
    let stage = Stage::new("HTTP", &[&services[..], &[rules(HOST, RULES)]].concat());
    let mut theirs: Option<Vec<Copied>> = None;
    for who in BOTH {
        let _side = stage.enter(who).await;
        copy.ledger().clear();
        let body = vec![b'b'; 50_000];
        for (method, path, body) in [
            ("GET", "/old/a?q=1", &[][..]),
            ("POST", "/old/b", &body),
            ("GET", "/abort", &[]),
            ("GET", "/zero", &[]),
            ("POST", "/plain", &body),
            ("DELETE", "/plain?x=%20", &[]),
        ] {
            let length = body.len().to_string();
            let fields = [("content-length", length.as_str())];
            let fields = if method == "POST" { &fields[..] } else { &[] };
            let mut client = Client::connect(stage.address()).await;
            let bytes = [&request(method, "shop.test", path, fields)[..], body].concat();
            client.ask(bytes).await.expect("a reply");
        }
        let seen = eventually("the copies arrive", async || {
            let seen = copy.ledger().seen();
            (seen.len() == 6 && copy.ledger().counts().active == 0).then_some(seen)
        })
        .await;
        let text = |value: Option<&str>| value.map(str::to_owned);
        let mut copied: Vec<Copied> = seen
            .iter()
            .map(|seen| {
                (
                    seen.head.start.clone(),
                    text(seen.field("host")),
                    text(seen.field("x-rule")),
                    text(seen.field("x-envoy-original-path")),
                    seen.body.bytes.len(),
                )
            })
            .collect();
        copied.sort();
        match &theirs {
            None => theirs = Some(copied),
            Some(theirs) => assert_eq!(*theirs, copied),
        }
    }
}
