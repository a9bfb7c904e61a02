use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::*;

fn op(kind: HeaderOpKind, name: &str, value: &str) -> HeaderOp {
    HeaderOp::new(name, value, kind, false).unwrap()
}

fn level(remove: &[&str], ops: Vec<HeaderOp>) -> HeaderLevel {
    let mut level = HeaderLevel {
        ops,
        ..HeaderLevel::default()
    };
    for name in remove {
        level.remove(name).unwrap();
    }
    level
}

fn applied(ops: &HeaderOps, before: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
    let mut headers = HeaderMap::new();
    for (name, value) in before {
        headers.append(*name, HeaderValue::from_static(value));
    }
    ops.apply_to_request(&mut headers, &context());
    let mut after: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    // Names in order; lines of one name as they stand.
    after.sort_by(|left, right| left.0.cmp(&right.0));
    after
}

fn context() -> FormatContext<'static> {
    FormatContext {
        downstream_remote: Some("10.0.0.7:4711".parse().unwrap()),
        downstream_local: Some("[::1]:80".parse().unwrap()),
        upstream_host: Some("10.1.1.1:8080".parse().unwrap()),
        upstream_cluster: Some("outbound|80||a"),
        method: Some("GET"),
        path: Some("/p?q"),
        authority: Some("shop"),
        scheme: Some("http"),
        protocol: Some(http::Version::HTTP_11),
        response_code: Some(503),
        start_time: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        hostname: Some("node-1"),
        ..FormatContext::default()
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn removals_come_first_then_what_is_set_then_what_is_added() {
    use HeaderOpKind::{Add, AddIfAbsent, Set, SetIfPresent};
    let ops = vec![
        op(Add, "a", "added"),
        op(Set, "b", "set"),
        op(SetIfPresent, "c", "if"),
        op(SetIfPresent, "d", "if"),
        op(AddIfAbsent, "e", "absent"),
        op(AddIfAbsent, "f", "absent"),
        op(Add, "gone", "back"),
    ];
    let ops = HeaderOps::join([&level(&["gone", "never"], ops)]);
    let before = [
        ("a", "1"),
        ("b", "1"),
        ("b", "2"),
        ("c", "1"),
        ("e", "1"),
        ("gone", "1"),
    ];
    let after = [
        ("a", "1"),
        ("a", "added"),
        ("b", "set"),
        ("c", "if"),
        ("e", "1"),
        ("f", "absent"),
        ("gone", "back"),
    ];
    assert_eq!(applied(&ops, &before), pairs(&after));
}

#[test]
fn the_destination_wins_what_is_set_and_both_add() {
    use HeaderOpKind::{Add, Set};
    let route = level(
        &["x"],
        vec![op(Set, "s", "route"), op(Add, "a", "route"), op(Set, "only", "route")],
    );
    let destination = level(
        &["only"],
        vec![
            op(Set, "s", "destination"),
            op(Add, "a", "destination"),
            op(Set, "x", "d"),
        ],
    );
    let ops = HeaderOps::join([&route, &destination]);
    let after = [
        ("a", "route"),
        ("a", "destination"),
        ("only", "route"),
        ("s", "destination"),
        ("x", "d"),
    ];
    assert_eq!(
        applied(&ops, &[("s", "client"), ("x", "client"), ("only", "client")]),
        pairs(&after)
    );
    assert_eq!(
        ops.set().iter().filter(|op| op.name == "s").count(),
        1,
        "what loses is not even tried"
    );
}

#[test]
fn values_are_made_of_the_request() {
    let cases = [
        ("plain", "plain"),
        ("100%%", "100%"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "10.0.0.7:4711"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.7"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", "[::1]:80"),
        ("%DOWNSTREAM_LOCAL_PORT%", "80"),
        ("<%UPSTREAM_HOST%>", "<10.1.1.1:8080>"),
        ("%UPSTREAM_CLUSTER%", "outbound|80||a"),
        ("%PROTOCOL% %RESPONSE_CODE%", "HTTP/1.1 503"),
        ("%REQ(:METHOD)% %REQ(:path)%", "GET /p?q"),
        ("%REQ(X-A)%", "one,two"),
        ("%REQ(X-NONE?X-A)%", "one,two"),
        ("%REQ(x-a):5%", "one,t"),
        ("[%REQ(x-none)%]", "[]"),
        ("%START_TIME%", "2023-11-14T22:13:20.123Z"),
        ("%START_TIME(%Y/%m/%d %H:%M:%S)%", "2023/11/14 22:13:20"),
        ("%START_TIME(%s.%3f)%", "1700000000.123"),
        ("%HOSTNAME%", "node-1"),
        ("%ENVIRONMENT(ZONE)%", "z1"),
    ];
    let environment = rustc_hash::FxHashMap::from_iter([("ZONE".to_owned(), "z1".to_owned())]);
    for (text, wanted) in cases {
        let ops = HeaderOps::join([&level(&[], vec![op(HeaderOpKind::Set, "out", text)])]);
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("one"));
        headers.append("x-a", HeaderValue::from_static("two"));
        ops.apply_to_request(
            &mut headers,
            &FormatContext {
                environment: Some(&environment),
                ..context()
            },
        );
        assert_eq!(headers["out"], wanted, "{text}");
    }
}

#[test]
fn response_operations_read_the_response() {
    let ops = HeaderOps::join([&level(
        &["server"],
        vec![op(HeaderOpKind::Set, "out", "%RESP(x-a)%/%REQ(x-a)%")],
    )]);
    let mut request = HeaderMap::new();
    request.insert("x-a", HeaderValue::from_static("asked"));
    let mut response = HeaderMap::new();
    response.insert("x-a", HeaderValue::from_static("answered"));
    response.insert("server", HeaderValue::from_static("app"));
    ops.apply_to_response(
        &mut response,
        &FormatContext {
            request: Some(&request),
            ..context()
        },
    );
    assert_eq!(response["out"], "answered/asked");
    assert!(!response.contains_key("server"));
}

#[test]
fn an_empty_value_is_left_out_unless_it_is_wanted() {
    let ops = HeaderOps::join([&level(&[], vec![op(HeaderOpKind::Set, "out", "%REQ(x-none)%")])]);
    assert_eq!(applied(&ops, &[("out", "old")]), pairs(&[("out", "old")]));
    let keep = HeaderOp::new("out", "%REQ(x-none)%", HeaderOpKind::Set, true).unwrap();
    assert_eq!(
        applied(&HeaderOps::join([&level(&[], vec![keep])]), &[("out", "old")]),
        pairs(&[("out", "")])
    );
}

#[test]
fn operations_that_cannot_be_made_are_refused() {
    let make = |name: &str, value: &str| HeaderOp::new(name, value, HeaderOpKind::Set, false);
    for name in [":path", "host", "Host", ":authority"] {
        assert_eq!(make(name, "v"), Err(HeaderOpsError::Reserved(name.to_owned())));
    }
    assert!(matches!(make("no name", "v"), Err(HeaderOpsError::Name(_))));
    assert!(matches!(make("x", "a\r\nb"), Err(HeaderOpsError::Value(_))));
    for text in [
        "50%",
        "%NO_SUCH%",
        "%REQ%",
        "%REQ(x",
        "%REQ(x):many%",
        "%START_TIME(%Q)%",
    ] {
        assert!(matches!(make("x", text), Err(HeaderOpsError::Format { .. })), "{text}");
    }
}
