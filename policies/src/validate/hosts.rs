//! Names of hosts.

use std::net::IpAddr;

use crate::decode::{Check, Problem};

/// Length of a name (RFC 1035).
const HOST_CHARS_MAX: usize = 255;
/// Length of one label of a name (RFC 1035).
const LABEL_CHARS_MAX: usize = 63;

/// A name without wildcard, short or full.
pub(crate) fn fqdn(host: &str) -> Check {
    let named = |problem: &str, fix: &str| Err(Problem::new(format!("`{host}` {problem}"), fix));
    if host.is_empty() {
        return Err(Problem::new("is empty", "name a host"));
    }
    if host.len() > HOST_CHARS_MAX {
        return named("is longer than 255 characters", "shorten it");
    }
    if host.contains('*') {
        return named("is a wildcard", "name one host");
    }
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    for label in &labels {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        if bytes.len() > LABEL_CHARS_MAX {
            return named("has a part longer than 63 characters", "shorten it");
        }
        if !edge(bytes.first()) || !edge(bytes.last()) || !bytes.iter().copied().all(inner) {
            return named(
                "is no host name",
                "use letters, digits and `-`, in parts separated by dots",
            );
        }
    }
    // An all-numeric last part would be read as an address by others.
    if labels.len() > 1
        && labels
            .last()
            .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
    {
        return named("looks like an IP address", "name a host");
    }
    Ok(())
}

/// A name, `*`, `*.suffix`, or (deprecated, but taken) `*suffix`; with `ips`, an address as well.
pub(crate) fn wildcard_host(host: &str, ips: bool) -> Check {
    if host == "*" || (ips && host.parse::<IpAddr>().is_ok()) {
        return Ok(());
    }
    let Some(suffix) = host.strip_prefix('*') else {
        return fqdn(host);
    };
    let suffix = suffix.strip_prefix(['.', '-']).unwrap_or(suffix);
    fqdn(suffix).map_err(|_| Problem::new(format!("`{host}` is no host name"), "a wildcard is `*` or `*.suffix`"))
}

/// The host part of a Gateway server, or of a Sidecar egress host: full name, `*`, `*.suffix`, address.
pub(crate) fn gateway_host(host: &str) -> Check {
    if host == "*" || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    match host.strip_prefix('*') {
        Some(suffix) if !suffix.starts_with('.') => {
            return Err(Problem::new(
                format!("`{host}` is a partial wildcard"),
                "a wildcard is `*` or `*.suffix`",
            ));
        }
        None if !host.contains('.') && host != "localhost" => {
            return Err(Problem::new(
                format!("`{host}` is a short name"),
                "write the full name, `*` or `*.suffix`",
            ));
        }
        _ => {}
    }
    wildcard_host(host, true)
}

/// A host that traffic is sent to.
pub(crate) fn destination_host(host: &str) -> Check {
    if host == "*" || host.starts_with('*') {
        return Err(Problem::new(
            format!("`{host}` is a wildcard"),
            "traffic needs one service: name it",
        ));
    }
    fqdn(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_wildcards_or_addresses_by_place() {
        // (host, destination, VirtualService host, Gateway host)
        for (host, destination, virtual_service, gateway) in [
            ("reviews", true, true, false),
            ("reviews.prod.svc.cluster.local", true, true, true),
            ("a.example.com.", true, true, true),
            ("*", false, true, true),
            ("*.example.com", false, true, true),
            ("*example.com", false, true, false),
            ("10.0.0.1", false, true, true),
            ("a..b", false, false, false),
            ("-a.com", false, false, false),
            ("a b", false, false, false),
            ("", false, false, false),
            ("foo.*.com", false, false, false),
            ("10.0.0.0/8", false, false, false),
        ] {
            assert_eq!(destination_host(host).is_ok(), destination, "destination {host}");
            assert_eq!(
                wildcard_host(host, true).is_ok(),
                virtual_service,
                "virtual service {host}"
            );
            assert_eq!(gateway_host(host).is_ok(), gateway, "gateway {host}");
        }
        assert!(fqdn(&format!("{}.com", "a".repeat(64))).is_err());
        assert!(fqdn(&"a.".repeat(200)).is_err());
    }
}
