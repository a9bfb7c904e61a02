use super::*;

#[test]
fn paths() {
    let text = |text: &str| Text::new(text, true);
    let cases = [
        (exact("/a"), "/a", true),
        (exact("/a"), "/A", false),
        (exact("/a"), "/a?x=1", true),
        (PathMatch::Exact(text("/Foo")), "/fOO", true),
        (prefix("/foo"), "/foobar", true),
        (prefix("/foo/"), "/foo", false),
        (prefix(""), "/anything", true),
        (PathMatch::Prefix(text("/FOO")), "/foo/bar", true),
        (PathMatch::Segments(Text::new("/foo", false)), "/foo", true),
        (PathMatch::Segments(Text::new("/foo", false)), "/foo/bar", true),
        (PathMatch::Segments(Text::new("/foo", false)), "/foobar", false),
        (PathMatch::Regex(regex("/b+")), "/bbb", true),
        (PathMatch::Regex(regex("/b+")), "/bbbc", false),
        (PathMatch::Regex(regex("/b+")), "/a/bbb", false),
        (PathMatch::Regex(regex("a|/b")), "/b", true),
        (PathMatch::Regex(regex("/b")), "/b?c", true),
        (PathMatch::Connect, "/", false),
    ];
    for (path, target, wanted) in cases {
        let ask = ask("h", target);
        assert_eq!(path.is_match(&ask.head()), wanted, "{path:?} on {target}");
    }
    assert!(PathMatch::Connect.is_match(&ask("h:443", "").method("CONNECT").head()));
    assert!(!prefix("").is_match(&ask("h:443", "").method("CONNECT").head()));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn headers_in_all_their_forms() {
    let literal = |text: &str| Text::new(text, false);
    let none = || ask("h", "/");
    let with = |value: &'static str| none().header("x", value);
    let twice = || none().header("x", "a").header("x", "b");
    let cases = [
        (header_is("x", value("a")), with("a"), true),
        (header_is("X", value("a")), with("a"), true),
        (header_is("x", value("a")), with("A"), false),
        (header_is("x", value("a")), none(), false),
        (header_is("x", value("")), with(""), true),
        (header_is("x", value("")), none(), false),
        // Several lines are one value.
        (header_is("x", value("a")), twice(), false),
        (header_is("x", value("a,b")), twice(), true),
        (
            header_is("x", HeaderTest::Value(StringMatch::Regex(regex("a.*")))),
            twice(),
            true,
        ),
        (
            header_is("x", HeaderTest::Value(StringMatch::Prefix(literal("ab")))),
            with("abc"),
            true,
        ),
        (
            header_is("x", HeaderTest::Value(StringMatch::Suffix(literal("bc")))),
            with("abc"),
            true,
        ),
        (
            header_is("x", HeaderTest::Value(StringMatch::Contains(literal("b")))),
            with("abc"),
            true,
        ),
        (
            header_is("x", HeaderTest::Value(StringMatch::Regex(regex("b")))),
            with("abc"),
            false,
        ),
        (
            header_is("x", HeaderTest::Value(StringMatch::Exact(Text::new("AbC", true)))),
            with("aBc"),
            true,
        ),
        (header_is("x", HeaderTest::Present(true)), with(""), true),
        (header_is("x", HeaderTest::Present(true)), none(), false),
        (header_is("x", HeaderTest::Present(false)), none(), true),
        (
            header_is("x", HeaderTest::Range { start: -5, end: 10 }),
            with("9"),
            true,
        ),
        (
            header_is("x", HeaderTest::Range { start: -5, end: 10 }),
            with("10"),
            false,
        ),
        (
            header_is("x", HeaderTest::Range { start: -5, end: 10 }),
            with("-5"),
            true,
        ),
        (
            header_is("x", HeaderTest::Range { start: -5, end: 10 }),
            with("9a"),
            false,
        ),
        // withoutHeaders
        (without("x", value("1")), none(), true),
        (without("x", value("1")), with("2"), true),
        (without("x", value("1")), with("1"), false),
        (without("x", value("")), none(), false),
        (without("x", HeaderTest::Present(true)), none(), true),
        (without("x", HeaderTest::Present(true)), with("anything"), false),
        // Inverted without "missing is empty": a missing header fails.
        (
            HeaderMatch {
                invert: true,
                ..header_is("x", value("1"))
            },
            none(),
            false,
        ),
        // Pseudo headers.
        (header_is(":method", value("POST")), none().method("POST"), true),
        (header_is(":method", value("post")), none().method("POST"), false),
        (header_is(":authority", value("h")), none(), true),
        (header_is("host", value("h")), none(), true),
        (header_is(":scheme", value("http")), none(), true),
        (header_is(":path", value("/a?b")), ask("h", "/a?b"), true),
        (header_is("method", value("GET")), none(), false),
    ];
    for (condition, ask, wanted) in cases {
        assert_eq!(
            condition.is_match(&ask.head()),
            wanted,
            "{condition:?} on {:?}",
            ask.headers
        );
    }
}

#[test]
fn query_parameters() {
    let is = |name: &str, test: Option<StringMatch>| QueryMatch {
        name: name.into(),
        value: test,
    };
    let literal = |text: &str| Some(StringMatch::Exact(Text::new(text, false)));
    let cases = [
        (is("a", literal("1")), Some("a=1"), true),
        (is("a", literal("1")), Some("b=2&a=1"), true),
        (is("a", literal("1")), Some("a=2&a=1"), false),
        (is("a", literal("2")), Some("a=2&a=1"), true),
        (is("a", literal("%31")), Some("a=%31"), true),
        (is("a", literal("1")), Some("a=%31"), false),
        (is("A", literal("1")), Some("a=1"), false),
        (is("a", literal("")), Some("a"), true),
        (is("a", literal("")), Some("a="), true),
        (is("a", literal("")), Some("b"), false),
        (is("a", None), Some("a"), true),
        (is("a", None), Some("a=5"), true),
        (is("a", None), None, false),
        (is("a", None), Some("aa=1"), false),
        (is("a", Some(StringMatch::Regex(regex("v[0-9]+")))), Some("a=v12"), true),
        (
            is("a", Some(StringMatch::Regex(regex("v[0-9]+")))),
            Some("a=v12x"),
            false,
        ),
    ];
    for (condition, query, wanted) in cases {
        assert_eq!(condition.is_match(query), wanted, "{condition:?} on {query:?}");
    }
}

#[test]
fn all_conditions_of_a_match_have_to_hold() {
    // A match list becomes one route for each entry, in order.
    let first = RouteMatch {
        headers: vec![header_is("x", value("1"))],
        ..on_path(prefix("/a"))
    };
    let second = on_path(exact("/b"));
    let table = vec![answering("first", first), answering("second", second)];
    let table = RouteTable::new("t".into(), None, vec![host("h", &["*"], table)], false).unwrap();
    assert_eq!(
        &*table.find(&ask("h", "/a").header("x", "1").head()).unwrap().route.name,
        "first"
    );
    assert!(table.find(&ask("h", "/a").head()).is_err());
    assert_eq!(&*table.find(&ask("h", "/b").head()).unwrap().route.name, "second");
}

#[test]
fn grpc_is_told_by_its_content_type() {
    let grpc = RouteMatch {
        grpc: true,
        ..RouteMatch::any()
    };
    for (kind, wanted) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
    ] {
        assert_eq!(
            grpc.is_match(&ask("h", "/").header("content-type", kind).head()),
            wanted,
            "{kind}"
        );
    }
    assert!(!grpc.is_match(&ask("h", "/").head()));
}

#[test]
fn expressions_mean_what_re2_means() {
    let cases = [
        (r"\d+", "٣", false),
        (r"\w", "ä", false),
        ("(?i)abc", "ABC", true),
        (r"\Qa.b\E", "a.b", true),
        (r"\Qa.b\E", "axb", false),
        (r"\Qa.b\E+", "a.bb", true),
        (r"\\Q", r"\Q", true),
        (".", "\n", false),
        ("a", "a\n", false),
        ("", "", true),
    ];
    for (pattern, text, wanted) in cases {
        assert_eq!(
            regex(pattern).is_match(text.as_bytes()),
            wanted,
            "{pattern:?} on {text:?}"
        );
    }
    for pattern in ["(", r"(?=x)", r"\1", "a{1000}{1000}{1000}"] {
        assert!(Pattern::new(pattern).is_err(), "{pattern:?}");
    }
}
