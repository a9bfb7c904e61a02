//! The same requests through Envoy and through our gateway, under the same rules: what the upstream sees and what the
//! client gets are the same.

use std::net::SocketAddr;

use serde_json::json;
use weft_testkit::client::request;
use weft_testkit::mesh::free_address;
use weft_testkit::objects::{GATEWAY_LABELS, NAMESPACE, file, gateway, rules, service, subsets};
use weft_testkit::{Behaviour, Client, Control, Proxy, ProxySettings, Upstream};

use crate::envoy::{Dialect, Envoy, NodeIdentity};
use crate::{node_id, ready};

/// Fields of which upstream and client see the values that rules decide. Others name the proxy or the moment.
const COMPARED: [&str; 9] = [
    "host",
    "x-a",
    "x-b",
    "x-set",
    "x-added",
    "x-secret",
    "location",
    "content-type",
    "x-from-upstream",
];

const RULES: &str = r#"    - name: prefix
      match: [{uri: {prefix: /prefix/}}]
      rewrite: {uri: /}
      route: [{destination: {host: web, subset: v1}}]
    - name: regex
      match: [{uri: {prefix: /users/}}]
      rewrite: {uriRegexRewrite: {match: "^/users/([0-9]+)/(.*)$", rewrite: '/\2/of/\1'}}
      route: [{destination: {host: web, subset: v1}}]
    - name: authority
      match: [{uri: {exact: /authority}}]
      rewrite: {uri: /exact, authority: rewritten.test}
      route: [{destination: {host: web, subset: v2}}]
    - name: headers
      match: [{uri: {prefix: /headers}}]
      headers:
        request: {set: {x-set: rule}, add: {x-a: more}, remove: [x-secret]}
        response: {set: {x-set: answered}, add: {x-added: here}, remove: [x-from-upstream]}
      route:
        - destination: {host: web, subset: v1}
          headers: {request: {set: {x-set: destination}}}
    - match: [{uri: {regex: "/re/[a-z]+[0-9]?"}}]
      route: [{destination: {host: web, subset: v2}}]
    - match: [{uri: {exact: /Case}, ignoreUriCase: true}]
      route: [{destination: {host: web, subset: v2}}]
    - match: [{uri: {prefix: /match}, headers: {x-a: {regex: "v[12]"}}, withoutHeaders: {x-b: {exact: no}}}]
      route: [{destination: {host: web, subset: v1}}]
    - match: [{uri: {prefix: /match}, queryParams: {q: {exact: "1"}}}]
      route: [{destination: {host: web, subset: v2}}]
    - match: [{uri: {prefix: /match}, method: {exact: DELETE}}]
      route: [{destination: {host: web, subset: v2}}]
    - match: [{uri: {prefix: /match}, authority: {exact: other.test}}]
      route: [{destination: {host: web, subset: v2}}]
    - match: [{uri: {prefix: /moved}}]
      redirect: {uri: /there, redirectCode: 302}
    - match: [{uri: {prefix: /https}}]
      redirect: {scheme: https, authority: secure.test}
    - match: [{uri: {prefix: /direct}}]
      directResponse: {status: 202, body: {string: direct}}
    - match: [{uri: {prefix: /none}}]
      route: [{destination: {host: web, subset: none}}]
    - match: [{uri: {prefix: /status}}]
      route: [{destination: {host: web, subset: v1}}]
"#;

/// Method, host, target, fields.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const CASES: &[Case] = &[
    ("GET", "shop.test", "/prefix/a/b?c=d", &[]),
    ("GET", "shop.test", "/prefix/", &[]),
    ("GET", "shop.test", "/prefix", &[]),
    ("GET", "shop.test", "/users/42/orders?x=%2F", &[]),
    ("GET", "shop.test", "/users/nobody", &[]),
    ("GET", "shop.test", "/authority", &[]),
    ("GET", "shop.test", "/authority/", &[]),
    (
        "GET",
        "shop.test",
        "/headers",
        &[("x-a", "1"), ("x-secret", "s"), ("x-set", "client")],
    ),
    ("GET", "shop.test", "/re/abc1", &[]),
    ("GET", "shop.test", "/re/abc12", &[]),
    ("GET", "shop.test", "/cASE", &[]),
    ("GET", "shop.test", "/match", &[("x-a", "v1")]),
    ("GET", "shop.test", "/match", &[("x-a", "v1"), ("x-b", "no")]),
    ("GET", "shop.test", "/match", &[("x-a", "v1"), ("x-b", "yes")]),
    ("GET", "shop.test", "/match", &[("x-a", "v12")]),
    ("GET", "shop.test", "/match", &[("x-a", "v1"), ("x-a", "v2")]),
    ("GET", "shop.test", "/match?q=1", &[]),
    ("GET", "shop.test", "/match?q=2&q=1", &[]),
    ("GET", "shop.test", "/match?Q=1", &[]),
    ("DELETE", "shop.test", "/match", &[]),
    ("GET", "other.test", "/match", &[]),
    ("GET", "OTHER.test", "/match", &[]),
    ("GET", "other.test:8080", "/match", &[]),
    ("GET", "shop.test", "/moved/far?a=b", &[]),
    ("GET", "shop.test:81", "/https/x?a=b", &[]),
    ("GET", "shop.test", "/direct", &[]),
    ("HEAD", "shop.test", "/direct", &[]),
    ("GET", "shop.test", "/none", &[]),
    ("GET", "shop.test", "/nowhere", &[]),
    ("GET", "shop.test", "/status/404", &[]),
    ("GET", "shop.test", "/status/204", &[]),
    ("HEAD", "shop.test", "/status/200", &[]),
    ("GET", "shop.test", "/status//200", &[]),
    ("GET", "shop.test", "/prefix/../status/200", &[]),
    ("GET", "shop.test", "/status/%32%30%30", &[]),
    ("OPTIONS", "shop.test", "/status/200", &[]),
];

/// Names and values.
type Fields = Vec<(String, String)>;

/// What became of one request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    reply: Fields,
    body: String,
    /// Which upstream saw it, its start line, its fields.
    seen: Option<(usize, String, Fields)>,
}

fn compared(fields: &[(String, String)]) -> Fields {
    let lower = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut kept: Vec<_> = lower.filter(|(name, _)| COMPARED.contains(&name.as_str())).collect();
    kept.sort();
    kept
}

async fn outcome(address: SocketAddr, upstreams: &[Upstream], case: &Case) -> Outcome {
    upstreams.iter().for_each(|upstream| upstream.ledger().clear());
    let (method, host, target, fields) = case;
    let mut client = Client::connect(address).await;
    let reply = client
        .ask(request(method, host, target, fields))
        .await
        .expect("a reply");
    let seen = upstreams.iter().enumerate().find_map(|(index, upstream)| {
        let seen = upstream.ledger().seen().pop()?;
        Some((index, seen.head.start.clone(), compared(&seen.head.fields)))
    });
    // Texts that a proxy writes about itself differ; those of rules and upstreams do not.
    let own_words = reply.status >= 400 && seen.is_none();
    let body = if own_words { String::new() } else { reply.text() };
    let mut fields = compared(&reply.head.fields);
    fields.retain(|(name, _)| !(own_words && name == "content-type"));
    Outcome {
        status: reply.status,
        reply: fields,
        body,
        seen,
    }
}

#[tokio::test]
async fn requests_become_the_same_through_envoy_and_through_us() {
    let upstreams = ["v1", "v2"].map(|name| {
        Upstream::start(move |seen| {
            let status = seen
                .path()
                .rsplit('/')
                .next()
                .and_then(|last| last.parse().ok())
                .filter(|s| (200..600).contains(s));
            let fields = vec![("x-from-upstream".to_owned(), name.to_owned())];
            Behaviour::Answer {
                status: status.unwrap_or(200),
                fields,
                body: name.into(),
            }
        })
    });
    let port = free_address().port();
    let pods = [("v1", upstreams[0].address()), ("v2", upstreams[1].address())];
    let text = file(&[
        service("web", &pods),
        gateway(port),
        rules("web", RULES),
        subsets("web", &["v1", "v2"]),
    ]);
    let control = Control::start(&[("mesh.yaml", &text)]);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let labels: serde_json::Value = serde_json::from_str(GATEWAY_LABELS).expect("labels are JSON");
    let id = node_id("router", "127.0.0.1", NAMESPACE);
    let metadata = json!({"NAMESPACE": NAMESPACE, "LABELS": labels});
    let mut theirs = Vec::new();
    {
        let _envoy = Envoy::start(control.xds(), &NodeIdentity { id: &id, metadata }, Dialect::Delta).await;
        for case in CASES {
            theirs.push(outcome(address, &upstreams, case).await);
        }
    }
    let proxy = Proxy::start(control.xds(), ProxySettings::gateway(NAMESPACE, GATEWAY_LABELS, 1));
    ready(&proxy).await;
    let mut wrong = Vec::new();
    for (case, theirs) in CASES.iter().zip(theirs) {
        let ours = outcome(address, &upstreams, case).await;
        if ours != theirs {
            wrong.push(format!("{case:?}\n  envoy {theirs:?}\n  weft  {ours:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n")
    );
}
