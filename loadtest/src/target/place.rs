//! A URL of the command line, and the addresses of its host.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::Uri;

use super::assemble::TargetError;
use crate::flags::FlagError;
use crate::grpc;
use crate::scenario::Protocol;

/// Finds the addresses of a host and port, or says why there are none.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, u16) -> Result<Vec<SocketAddr>, String>;

/// A URL of the command line.
pub(super) struct Place {
    pub(super) weight: u32,
    pub(super) uri: Uri,
    pub(super) protocol: Protocol,
    pub(super) tls: bool,
}

/// `--resolve HOST:PORT:ADDRESS`, as curl has it.
pub(super) struct Pin {
    host: String,
    port: u16,
    address: IpAddr,
}

impl Place {
    /// Reads `[WEIGHT:]URL`; `web` is what is spoken to http:// and https://.
    pub(super) fn parse(text: &str, web: Protocol) -> Result<Self, FlagError> {
        let wrong = || {
            let wanted = "must be [WEIGHT:]SCHEME://host[:port][/path], with http, https, grpc, grpcs or tcp";
            FlagError::value("URL", text, wanted)
        };
        let (weight, rest) = match text.split_once(':') {
            Some((weight, rest)) if !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit()) => {
                (weight.parse().map_err(|_| wrong())?, rest)
            }
            _ => (1, text),
        };
        let uri: Uri = rest.parse().map_err(|_| wrong())?;
        let (protocol, tls) = match uri.scheme_str() {
            Some("http") => (web, false),
            Some("https") => (web, true),
            Some("grpc") => (Protocol::Grpc, false),
            Some("grpcs") => (Protocol::Grpc, true),
            Some("tcp") => (Protocol::Tcp, false),
            _ => return Err(wrong()),
        };
        if weight == 0 || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let place = Self {
            weight,
            uri,
            protocol,
            tls,
        };
        match place.flaw() {
            Some(wanted) => Err(FlagError::value("URL", text, wanted)),
            None => Ok(place),
        }
    }

    /// What would be right where parts of it do not go together.
    fn flaw(&self) -> Option<&'static str> {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        // `http` reads a number that no port can have as no port.
        let has_port = authority
            .trim_end_matches(|byte: char| byte.is_ascii_digit())
            .ends_with(':');
        if authority.contains('@') {
            Some("must not carry a user; give an authorization header with --header")
        } else if has_port && self.uri.port_u16().is_none_or(|port| port == 0) {
            Some("must have a port from 1 to 65535")
        } else if self.protocol == Protocol::Tcp && !has_port {
            Some("must have a port: TCP has none of its own")
        } else if self.protocol == Protocol::Tcp && self.path() != "/" {
            Some("must be tcp://host:port: TCP knows no paths")
        } else if self.protocol == Protocol::Grpc && self.uri.query().is_some() {
            Some("must be grpc://host[:port][/package.Service/Method]: gRPC knows no queries")
        } else {
            None
        }
    }

    /// Without brackets.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// Path and query; a query without a path is one of the root (RFC 9112 3.2.1).
    pub(super) fn path(&self) -> Cow<'_, str> {
        match self.uri.path_and_query().map_or("/", |path| path.as_str()) {
            "" => "/".into(),
            query if query.starts_with('?') => format!("/{query}").into(),
            path => path.into(),
        }
    }

    /// The method of a gRPC URL; the health check where there is none.
    pub(super) fn method_path(&self) -> &str {
        match self.uri.path() {
            "/" | "" => grpc::HEALTH_CHECK,
            path => path,
        }
    }

    /// What its host stands for: as pinned, as it says itself, or as looked up.
    pub(super) fn addresses(&self, pins: &[Pin], lookup: Lookup<'_>) -> Result<Vec<SocketAddr>, TargetError> {
        let (host, port) = (self.host(), self.port());
        let pinned: Vec<_> = pins
            .iter()
            .filter(|pin| pin.is_of(self))
            .map(|pin| SocketAddr::new(pin.address, port))
            .collect();
        if !pinned.is_empty() {
            return Ok(pinned);
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let failed = |problem: String| TargetError::Resolve {
            host: host.to_owned(),
            problem,
        };
        let found = lookup(host, port).map_err(failed)?;
        if found.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        Ok(found)
    }
}

impl Pin {
    /// Reads one, which has to be of one of the URLs.
    pub(super) fn parse(text: &str, places: &[Place]) -> Result<Self, FlagError> {
        let wrong = || FlagError::value("--resolve", text, "must be HOST:PORT:ADDRESS");
        let (host, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (port, address) = rest.split_once(':').ok_or_else(wrong)?;
        let pin = Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
            address: address.trim_matches(['[', ']']).parse().map_err(|_| wrong())?,
        };
        if !places.iter().any(|place| pin.is_of(place)) {
            let wanted = "must have the host and the port of a URL";
            return Err(FlagError::value("--resolve", text, wanted));
        }
        Ok(pin)
    }

    fn is_of(&self, place: &Place) -> bool {
        self.host.eq_ignore_ascii_case(place.host()) && self.port == place.port()
    }
}

#[cfg(test)]
mod tests {
    use crate::target::assemble::tests::{made, refused};

    #[test]
    fn a_host_may_be_given_its_addresses() {
        let line = "http://Nowhere:81/|https://nowhere/|--resolve|nowhere:81:10.0.0.1|--resolve|NOWHERE:81:::1";
        let scenario = made(&format!("{line}|--resolve|nowhere:443:10.0.0.2")).unwrap();
        let wanted = ["10.0.0.1:81".parse().unwrap(), "[::1]:81".parse().unwrap()];
        assert_eq!(scenario.origins[0].addresses, wanted);
        assert_eq!(scenario.origins[1].addresses, ["10.0.0.2:443".parse().unwrap()]);
    }

    #[test]
    fn what_is_no_place_is_refused_in_one_line() {
        refused(&[
            ("here", "URL \"here\": must be [WEIGHT:]SCHEME://"),
            ("ftp://here/", "must be [WEIGHT:]SCHEME://"),
            ("0:http://here/", "must be [WEIGHT:]SCHEME://"),
            ("http://here:99999/", "port from 1 to 65535"),
            ("tcp://here", "must have a port"),
            ("tcp://here:1/path", "TCP knows no paths"),
            ("grpc://here?x=1", "gRPC knows no queries"),
            ("http://me:secret@here/", "--header"),
            ("http://nowhere/", "nowhere: cannot be resolved: no such host"),
            (
                "http://here/|--resolve|here:10.0.0.1",
                "--resolve \"here:10.0.0.1\": must be HOST:PORT:ADDRESS",
            ),
            (
                "http://here/|--resolve|here:81:10.0.0.1",
                "must have the host and the port of a URL",
            ),
            ("http://here/|--resolve|there:80:10.0.0.1", "must have the host"),
        ]);
    }
}
