use super::*;

fn table(hosts: Vec<VirtualHost>, ignore_port: bool) -> RouteTable {
    RouteTable::new("t".into(), None, hosts, ignore_port).unwrap()
}

#[test]
fn the_most_specific_domain_wins() {
    let hosts = [
        ("any", "*"),
        ("exact", "a.example.com"),
        ("short suffix", "*.example.com"),
        ("long suffix", "*.b.example.com"),
        ("loose suffix", "*ample.org"),
        ("prefix", "web.*"),
        ("long prefix", "web.shop.*"),
        ("with port", "ported.com:8080"),
    ];
    let hosts = hosts
        .iter()
        .map(|(name, domain)| host(name, &[domain], vec![]))
        .collect();
    let table = table(hosts, false);
    let cases = [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("x.example.com", "short suffix"),
        ("x.b.example.com", "long suffix"),
        (".example.com", "any"),
        ("example.com", "any"),
        ("sample.org", "loose suffix"),
        ("ample.org", "any"),
        ("web.io", "prefix"),
        ("web.shop.io", "long prefix"),
        ("web.", "any"),
        ("ported.com:8080", "with port"),
        ("ported.com", "any"),
        ("a.example.com:80", "any"),
        ("", "any"),
    ];
    for (authority, wanted) in cases {
        let (found, _) = table.find_virtual_host(authority).unwrap();
        assert_eq!(&*found.name, wanted, "{authority:?}");
    }
}

#[test]
fn ports_are_ignored_where_the_table_says_so() {
    let table = table(
        vec![host("a", &["a.com"], vec![]), host("six", &["[::1]"], vec![])],
        true,
    );
    for authority in ["a.com", "a.com:80", "A.COM:12345"] {
        assert_eq!(
            table.find_virtual_host(authority).map(|(found, _)| &*found.name),
            Some("a"),
            "{authority}"
        );
    }
    for authority in ["[::1]", "[::1]:80"] {
        assert_eq!(
            table.find_virtual_host(authority).map(|(found, _)| &*found.name),
            Some("six"),
            "{authority}"
        );
    }
    assert!(table.find_virtual_host("b.com").is_none());
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let routes = vec![
        answering("exact", on_path(exact("/a/b"))),
        answering("prefix", on_path(prefix("/a"))),
        answering("late", on_path(exact("/a/c"))),
    ];
    let table = table(vec![host("h", &["h"], routes)], false);
    for (path, wanted, place) in [("/a/b", "exact", 0), ("/a/c", "prefix", 1), ("/ab?x=1", "prefix", 1)] {
        let ask = ask("h", path);
        let found = table.find(&ask.head()).unwrap();
        assert_eq!((&*found.route.name, found.why.route), (wanted, Some(place)), "{path}");
    }
    assert!(matches!(table.find(&ask("h", "/z").head()), Err(Miss::NoRoute(host)) if &*host.name == "h"));
    assert!(matches!(table.find(&ask("x", "/a").head()), Err(Miss::NoVirtualHost)));
}

#[test]
fn a_stronger_match_compares_smaller() {
    let strong = Why {
        host: HostMatch::Exact,
        route: Some(3),
    };
    let weak = Why {
        host: HostMatch::Any,
        route: Some(0),
    };
    assert!(strong < weak);
}

#[test]
fn plain_text_is_redirected_where_tls_is_required() {
    let mut only_tls = host("h", &["*"], vec![answering("r", RouteMatch::any())]);
    only_tls.require_tls = RequireTls::All;
    let table = table(vec![only_tls], false);
    let ask = ask("shop.io:80", "/cart?id=7");
    let found = table.find(&ask.head()).unwrap();
    let Action::Redirect(redirect) = &found.route.action else {
        panic!("no redirect")
    };
    let location = redirect.location(&found.route.matcher.path, &ask.head()).unwrap();
    assert_eq!(
        (redirect.status.as_u16(), location.as_bytes()),
        (301, &b"https://shop.io/cart?id=7"[..])
    );
    let secure = RequestHead {
        scheme: "https",
        ..ask.head()
    };
    assert_eq!(&*table.find(&secure).unwrap().route.name, "r");
}

#[test]
fn domains_that_clash_or_make_no_sense_are_refused() {
    let refuse = |domains: &[&str]| RouteTable::new("t".into(), None, vec![host("h", domains, vec![])], false).err();
    assert_eq!(refuse(&["a.com", "A.com"]), Some(HostError::Duplicate("a.com".into())));
    assert_eq!(refuse(&["*", "*"]), Some(HostError::Duplicate("*".into())));
    for domain in ["", "a.*.com", "*a*", "**"] {
        assert_eq!(
            refuse(&[domain]),
            Some(HostError::Malformed(domain.into())),
            "{domain:?}"
        );
    }
}
