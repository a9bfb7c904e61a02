use std::sync::Arc;

use super::*;

fn cidr(text: &str) -> Cidr {
    let (address, length) = text.split_once('/').unwrap();
    Cidr::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn chain(name: &str, matcher: ChainMatch) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: name.into(),
        matcher,
        network: Network::Close,
        provenance: None,
    })
}

fn listener(name: &str, address: &str, chains: Vec<Arc<FilterChain>>) -> Listener {
    Listener {
        name: name.into(),
        address: address.parse().unwrap(),
        additional: Vec::new(),
        bind_to_port: true,
        use_original_dst: false,
        direction: Direction::Outbound,
        chains,
        default_chain: None,
        inspectors: Inspectors {
            tls: false,
            http: false,
            original_dst: false,
            proxy_protocol: false,
            timeout: None,
            continue_on_timeout: false,
            http_off_ports: Vec::new(),
            tls_off_ports: Vec::new(),
        },
        buffer_bytes_max: 1 << 20,
        provenance: None,
    }
}

fn facts(destination: &str) -> ConnectionFacts<'static> {
    ConnectionFacts {
        destination: destination.parse().unwrap(),
        source: "10.9.9.9:40000".parse().unwrap(),
        direct_source: "10.9.9.9".parse().unwrap(),
        server_name: None,
        transport_protocol: TransportProtocol::RawBuffer,
        application_protocols: &[],
    }
}

fn found<'a>(listener: &'a Listener, facts: &ConnectionFacts<'_>) -> &'a str {
    listener.find_chain(facts).map_or("none", |chain| &chain.name)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn the_most_specific_criterion_in_envoys_order_wins() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<Box<str>>>();
    let tls = Some(TransportProtocol::Tls);
    let chains = vec![
        chain(
            "port",
            ChainMatch {
                destination_port: Some(8080),
                ..ChainMatch::default()
            },
        ),
        chain(
            "net 8",
            ChainMatch {
                destinations: vec![cidr("10.0.0.0/8")],
                ..ChainMatch::default()
            },
        ),
        chain(
            "net 24",
            ChainMatch {
                destinations: vec![cidr("10.0.0.0/24"), cidr("10.2.0.0/24")],
                ..ChainMatch::default()
            },
        ),
        chain(
            "exact name",
            ChainMatch {
                server_names: names(&["a.x.io"]),
                transport_protocol: tls,
                ..ChainMatch::default()
            },
        ),
        chain(
            "long name",
            ChainMatch {
                server_names: names(&["*.b.x.io"]),
                ..ChainMatch::default()
            },
        ),
        chain(
            "short name",
            ChainMatch {
                server_names: names(&["*.x.io"]),
                ..ChainMatch::default()
            },
        ),
        chain(
            "tls",
            ChainMatch {
                transport_protocol: tls,
                ..ChainMatch::default()
            },
        ),
        chain(
            "http",
            ChainMatch {
                application_protocols: names(&["http/1.1", "h2c"]),
                ..ChainMatch::default()
            },
        ),
        chain(
            "local",
            ChainMatch {
                source_type: SourceType::Local,
                ..ChainMatch::default()
            },
        ),
        chain(
            "source",
            ChainMatch {
                sources: vec![cidr("10.9.0.0/16")],
                ..ChainMatch::default()
            },
        ),
        chain("rest", ChainMatch::default()),
    ];
    let listener = listener("l", "0.0.0.0:15001", chains);
    let elsewhere = || facts("20.0.0.1:80");
    let named = |name| ConnectionFacts {
        server_name: Some(name),
        transport_protocol: TransportProtocol::Tls,
        ..elsewhere()
    };
    let cases = [
        (facts("10.0.0.1:8080"), "port"),
        (facts("10.0.0.1:80"), "net 24"),
        (facts("10.3.0.1:80"), "net 8"),
        (named("a.x.io"), "exact name"),
        (named("c.b.x.io"), "long name"),
        (named("c.x.io"), "short name"),
        (named("x.io"), "tls"),
        (
            ConnectionFacts {
                application_protocols: &["h2c"],
                ..elsewhere()
            },
            "http",
        ),
        (
            ConnectionFacts {
                source: "127.0.0.1:5".parse().unwrap(),
                ..elsewhere()
            },
            "local",
        ),
        (elsewhere(), "source"),
        (
            ConnectionFacts {
                source: "30.0.0.1:5".parse().unwrap(),
                ..elsewhere()
            },
            "rest",
        ),
    ];
    for (facts, wanted) in cases {
        assert_eq!(found(&listener, &facts), wanted, "{facts:?}");
    }
}

#[test]
fn a_later_failure_does_not_go_back() {
    let strict = ChainMatch {
        destination_port: Some(80),
        transport_protocol: Some(TransportProtocol::Tls),
        ..ChainMatch::default()
    };
    let chains = vec![chain("strict", strict), chain("loose", ChainMatch::default())];
    let mut listener = listener("l", "0.0.0.0:1", chains);
    assert_eq!(found(&listener, &facts("1.1.1.1:80")), "none");
    listener.default_chain = Some(chain("default", ChainMatch::default()));
    assert_eq!(found(&listener, &facts("1.1.1.1:80")), "default");
    assert_eq!(found(&listener, &facts("1.1.1.1:81")), "loose");
}

#[test]
fn the_protocol_that_the_client_prefers_decides() {
    let speaks = |name: &str, protocol: &str| {
        chain(
            name,
            ChainMatch {
                application_protocols: vec![protocol.into()],
                ..ChainMatch::default()
            },
        )
    };
    let listener = listener("l", "0.0.0.0:1", vec![speaks("old", "http/1.1"), speaks("new", "h2")]);
    let offer = |offers| ConnectionFacts {
        application_protocols: offers,
        ..facts("1.1.1.1:80")
    };
    assert_eq!(found(&listener, &offer(&["h2", "http/1.1"])), "new");
    assert_eq!(found(&listener, &offer(&["x", "http/1.1", "h2"])), "old");
    assert_eq!(found(&listener, &offer(&["x"])), "none");
}

#[test]
fn captured_connections_go_to_the_listener_of_their_destination() {
    let capture = Listener {
        use_original_dst: true,
        ..listener("virtualOutbound", "0.0.0.0:15001", Vec::new())
    };
    let virtual_listener = |name: &str, address: &str| Listener {
        bind_to_port: false,
        ..listener(name, address, Vec::new())
    };
    let listeners = Listeners::new(
        [
            capture,
            virtual_listener("10.0.0.7_3306", "10.0.0.7:3306"),
            virtual_listener("0.0.0.0_3306", "0.0.0.0:3306"),
        ]
        .map(Arc::new)
        .to_vec(),
    );
    let capture = listeners.named("virtualOutbound").unwrap();
    let cases = [
        ("10.0.0.7:3306", "10.0.0.7_3306"),
        ("10.0.0.8:3306", "0.0.0.0_3306"),
        ("10.0.0.8:9999", "virtualOutbound"),
        ("0.0.0.0:15001", "virtualOutbound"),
    ];
    for (destination, wanted) in cases {
        let served = listeners.hand_over(capture, destination.parse().unwrap());
        assert_eq!(&*served.name, wanted, "{destination}");
    }
    assert!(listeners.named("10.0.0.8_3306").is_none());
    // What is dialled at a port of capture would come back to it; the ports of others are nobody's loop.
    assert!(listeners.captures_at(15001));
    assert!(!listeners.captures_at(3306));
    let plain = listeners.named("0.0.0.0_3306").unwrap();
    assert_eq!(
        &*listeners.hand_over(plain, "10.0.0.7:3306".parse().unwrap()).name,
        "0.0.0.0_3306"
    );
}

#[test]
fn networks_contain_their_addresses() {
    let cases = [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.1/32", "10.0.0.1", true),
        ("10.0.0.1/32", "10.0.0.2", false),
        ("0.0.0.0/0", "1.2.3.4", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "::1", true),
        ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "fe80::1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
    ];
    for (network, address, wanted) in cases {
        assert_eq!(
            cidr(network).contains(address.parse().unwrap()),
            wanted,
            "{address} in {network}"
        );
    }
    assert!(Cidr::new("10.0.0.0".parse().unwrap(), 33).is_err());
}
