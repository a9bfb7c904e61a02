//! IP addresses, ranges, and addresses to listen on.

use std::net::IpAddr;

use crate::decode::{Check, Problem};

/// An IP address.
pub(crate) fn ip(text: &str) -> Check {
    text.parse::<IpAddr>()
        .map(drop)
        .map_err(|_| Problem::new(format!("`{text}` is no IP address"), "write an IPv4 or IPv6 address"))
}

/// An IP address or a range such as `10.0.0.0/8`.
pub(crate) fn ip_or_cidr(text: &str) -> Check {
    let fits = match text.split_once('/') {
        None => text.parse::<IpAddr>().is_ok(),
        Some((address, bits)) => address.parse::<IpAddr>().is_ok_and(|address| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            bits.parse::<u8>().is_ok_and(|bits| bits <= most)
        }),
    };
    if fits {
        return Ok(());
    }
    Err(Problem::new(
        format!("`{text}` is no IP address or range"),
        "write an address, or a range such as `10.0.0.0/8`",
    ))
}

/// Where a server listens: an IP address, or a unix socket, with which goes port 0.
pub(crate) fn bind(text: &str, port: u32) -> Check {
    if text.starts_with('@')
        || text
            .strip_prefix("unix://")
            .is_some_and(|path| path.starts_with(['/', '@']))
    {
        return if port == 0 {
            Ok(())
        } else {
            Err(Problem::new(
                format!("`{text}` is a unix socket, and the port is {port}"),
                "set the port to 0",
            ))
        };
    }
    ip(text).map_err(|p| Problem::new(p.problem, "write an IP address, `unix:///path` or `@name`"))
}
