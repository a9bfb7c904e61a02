use weft_testkit::{Behaviour, Client, Reply, Upstream, client::request};

use crate::stage::{mesh, sum};

const RULES: &str = "    - match: [{uri: {prefix: /dead}}]
      corsPolicy: {allowOrigins: [{exact: 'https://a.test'}], exposeHeaders: [x-total]}
      route: [{destination: {host: dead}}]
    - corsPolicy:
        allowOrigins: [{exact: 'https://a.test'}]
        allowMethods: [GET, POST]
        allowHeaders: [x-key]
        exposeHeaders: [x-total]
        maxAge: 10m
        allowCredentials: true
      headers: {response: {set: {x-rule: said}}}
      route: [{destination: {host: web}}]
";

const ORIGIN: (&str, &str) = ("origin", "https://a.test");

fn of_cors(reply: &Reply) -> Vec<(String, String)> {
    let mut fields: Vec<_> = reply.head.fields.clone();
    fields.retain(|(name, _)| name.starts_with("access-control-"));
    fields.sort();
    fields
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_preflight_is_answered_without_the_upstream_and_its_connection_goes_on() {
    let upstream = Upstream::named("web");
    let dead = weft_testkit::mesh::free_address();
    let mesh = mesh(&[("web", upstream.address()), ("dead", dead)], RULES, &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    for _ in 0..3 {
        let asks = [ORIGIN, ("access-control-request-method", "POST")];
        let preflight = request("OPTIONS", "shop.test", "/", &asks);
        let reply = client.ask(preflight).await.expect("a reply");
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
        let expected = [
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "x-key"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-origin", "https://a.test"),
            ("access-control-expose-headers", "x-total"),
            ("access-control-max-age", "600"),
        ];
        assert_eq!(of_cors(&reply), owned(&expected));
        assert_eq!(reply.field("x-rule"), None);
    }
    assert_eq!(upstream.ledger().counts().accepts, 0);
    let actual = client.get("shop.test", "/", &[ORIGIN]).await.expect("a reply");
    assert_eq!((actual.status, actual.field("x-rule")), (200, Some("said")));
    assert_eq!(upstream.ledger().counts().requests, 1);
    assert_eq!(
        sum(&mesh, "istio_requests_total", &["response_code=\"200\""]).await,
        4.0
    );
}

#[tokio::test]
async fn what_the_page_may_read_is_said_once_whoever_answers() {
    let fields = [("access-control-allow-origin", "*"), ("access-control-max-age", "5")];
    let upstream = Upstream::start(move |_| Behaviour::with_fields("web", &fields));
    let dead = weft_testkit::mesh::free_address();
    let mesh = mesh(&[("web", upstream.address()), ("dead", dead)], RULES, &[]).await;
    let granted = [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-expose-headers", "x-total"),
        ("access-control-max-age", "5"),
    ];
    assert_eq!(of_cors(&mesh.get("/", &[ORIGIN]).await), owned(&granted));
    // Another origin is told what the application says, and gets its answer all the same.
    let other = mesh.get("/", &[("origin", "https://evil.test")]).await;
    assert_eq!((other.status, of_cors(&other)), (200, owned(&fields)));
    // A page can read why it failed.
    let failed = mesh.get("/dead", &[ORIGIN]).await;
    let told = [
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-expose-headers", "x-total"),
    ];
    assert_eq!((failed.status, of_cors(&failed)), (503, owned(&told)));
}

#[tokio::test]
async fn a_preflight_of_another_origin_goes_to_the_application() {
    let upstream = Upstream::named("web");
    let dead = weft_testkit::mesh::free_address();
    let mesh = mesh(&[("web", upstream.address()), ("dead", dead)], RULES, &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    let asks = [
        ("origin", "https://evil.test"),
        ("access-control-request-method", "GET"),
    ];
    let reply = client
        .ask(request("OPTIONS", "shop.test", "/", &asks))
        .await
        .expect("a reply");
    assert_eq!((reply.status, of_cors(&reply)), (200, Vec::new()));
    assert_eq!(upstream.ledger().seen()[0].method(), "OPTIONS");
}
