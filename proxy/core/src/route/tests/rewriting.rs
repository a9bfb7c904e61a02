use http::StatusCode;

use super::*;

#[test]
fn paths_are_rewritten_by_what_was_matched() {
    let matched = |to: &str| PathRewrite::Matched(to.into());
    let sub = |pattern: &str, to: &str| PathRewrite::Regex {
        pattern: regex(pattern),
        substitution: to.into(),
    };
    let ignore_case = PathMatch::Prefix(Text::new("/API/", true));
    let cases = [
        (prefix("/api"), matched("/"), "/api/v1", "//v1"),
        (prefix("/api/"), matched("/"), "/api/v1", "/v1"),
        (ignore_case, matched("/"), "/Api/v1", "/v1"),
        (prefix("/"), matched("/x"), "/a/b", "/xa/b"),
        (exact("/old"), matched("/new"), "/old", "/new"),
        (
            PathMatch::Segments(Text::new("/a", false)),
            matched("/b"),
            "/a/c",
            "/b/c",
        ),
        (PathMatch::Regex(regex("/r.*")), matched("/whole"), "/rest", "/whole"),
        (prefix("/"), PathRewrite::Full("/z".into()), "/a/b", "/z"),
        (prefix("/"), PathRewrite::Keep, "/a", "/a"),
        (
            prefix("/"),
            sub("^/service/([^/]+)(/.*)$", r"\2/instance/\1"),
            "/service/foo/v1/api",
            "/v1/api/instance/foo",
        ),
        (
            prefix("/"),
            sub("one", "two"),
            "/xxx/one/yyy/one/zzz",
            "/xxx/two/yyy/two/zzz",
        ),
        (
            prefix("/"),
            sub("^(.*?)one(.*)$", r"\1two\2"),
            "/xxx/one/yyy/one/zzz",
            "/xxx/two/yyy/one/zzz",
        ),
        (prefix("/"), sub("(?i)/xxx/", "/yyy/"), "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
        (prefix("/"), sub("a", r"[\0]"), "/a", "/[a]"),
        (prefix("/"), sub("a", r"\\"), "/a", r"/\"),
    ];
    for (path, rewrite, before, after) in cases {
        assert_eq!(rewrite.apply(&path, before), after, "{rewrite:?} on {before}");
    }
}

#[test]
fn a_kept_path_costs_nothing() {
    assert!(matches!(
        PathRewrite::Keep.apply(&prefix("/"), "/a"),
        std::borrow::Cow::Borrowed("/a")
    ));
}

#[test]
fn a_destination_overrides_the_host() {
    let literal = |text: &'static str| HostRewrite::Literal(http::HeaderValue::from_static(text));
    let asked = ask("shop", "/tenant/blue/x").header("x-host", "by.header");
    let head = asked.head();
    let path = HostRewrite::Path {
        pattern: regex("^/tenant/([^/]+).*$"),
        substitution: r"\1.shop".into(),
    };
    let cases = [
        (HostRewrite::Keep, None),
        (literal("new.host"), Some("new.host")),
        (HostRewrite::Endpoint, Some("pod-1")),
        (HostRewrite::Header("x-host".parse().unwrap()), Some("by.header")),
        (HostRewrite::Header("x-none".parse().unwrap()), None),
        (path, Some("blue.shop")),
    ];
    for (rewrite, wanted) in cases {
        let host = rewrite.apply(&head, Some("pod-1"));
        assert_eq!(host.as_ref().map(|host| host.to_str().unwrap()), wanted, "{rewrite:?}");
    }
}

fn redirect() -> Redirect {
    Redirect {
        scheme: None,
        ..Redirect::to_https()
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn locations() {
    let base = redirect;
    let full = |path: &str| PathRedirect::Full(path.into());
    let at = |authority, target| (authority, target);
    let cases = [
        (base(), at("h", "/a?b=c"), "http://h/a?b=c"),
        (
            Redirect {
                path: full("/new/place"),
                ..base()
            },
            at("h", "/old?key=v"),
            "http://h/new/place?key=v",
        ),
        (
            Redirect {
                path: full("/new?x=1"),
                ..base()
            },
            at("h", "/old?key=v"),
            "http://h/new?x=1",
        ),
        (
            Redirect {
                path: full("/new?x=1"),
                strip_query: true,
                ..base()
            },
            at("h", "/old?k"),
            "http://h/new?x=1",
        ),
        (
            Redirect {
                strip_query: true,
                ..base()
            },
            at("h", "/old?key=v"),
            "http://h/old",
        ),
        (
            Redirect {
                host: Some("o.test".into()),
                ..base()
            },
            at("h:8085", "/a"),
            "http://o.test/a",
        ),
        (
            Redirect {
                path: PathRedirect::Matched("/guide".into()),
                ..base()
            },
            at("h", "/m/1"),
            "http://h/guide/1",
        ),
        (Redirect::to_https(), at("h", "/a"), "https://h/a"),
        // The port of the old scheme goes with it; any other stays.
        (Redirect::to_https(), at("h:80", "/a"), "https://h/a"),
        (Redirect::to_https(), at("h:8080", "/a"), "https://h:8080/a"),
        (base(), at("h:80", "/a"), "http://h:80/a"),
        (base(), at("h:8085", "/a"), "http://h:8085/a"),
        (
            Redirect {
                port: Some(9443),
                ..Redirect::to_https()
            },
            at("h", "/a"),
            "https://h:9443/a",
        ),
        (
            Redirect {
                port: Some(8085),
                ..base()
            },
            at("h:8085", "/a"),
            "http://h:8085/a",
        ),
        (
            Redirect {
                port: Some(8085),
                ..base()
            },
            at("[::1]:80", "/a"),
            "http://[::1]:8085/a",
        ),
        (
            Redirect {
                port: Some(1),
                host: Some("o".into()),
                ..base()
            },
            at("h", "/a"),
            "http://o:1/a",
        ),
    ];
    for (redirect, (authority, target), wanted) in cases {
        let location = redirect
            .location(&prefix("/m"), &ask(authority, target).head())
            .unwrap();
        assert_eq!(location.to_str().unwrap(), wanted, "{redirect:?}");
    }
}

#[test]
fn a_location_that_no_header_can_carry_is_not_made() {
    let redirect = Redirect {
        path: PathRedirect::Full("/a\nb".into()),
        status: StatusCode::FOUND,
        ..redirect()
    };
    assert_eq!(redirect.location(&prefix("/"), &ask("h", "/").head()), None);
}
