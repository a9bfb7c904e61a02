//! URLs and flags → the scenario of a run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rustls::ClientConfig;

use super::check::{self, Header};
use super::place::{Lookup, Pin, Place};
use super::{http1, http2};
use crate::client::tls::{self, TlsFlags};
use crate::flags::{FlagError, RunArgs};
use crate::scenario::{Origin, Payload, Protocol, Scenario, Target, Tls};

/// URLs, at most.
const URLS_MAX: usize = 1000;
/// Who we are to a server.
pub(super) const AGENT: &str = concat!("weft-load/", env!("CARGO_PKG_VERSION"));
/// What an echo server is sent where nothing else is asked for.
const ECHO: &[u8] = b"weft\n";

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// A flag is wrong.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A host has no address.
    #[error("{host}: cannot be resolved: {problem}")]
    Resolve { host: String, problem: String },
}

/// What all requests of a run have in common.
pub(super) struct Common<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) method: Method,
    pub(super) headers: Vec<Header>,
    pub(super) body: Bytes,
    pins: Vec<Pin>,
    lookup: Lookup<'a>,
    protocol: Protocol,
    /// Where any URL asks for it.
    tls: Option<Arc<ClientConfig>>,
}

/// Makes the scenario of a run.
///
/// # Errors
/// If a flag is wrong, or a host has no address.
pub(crate) fn scenario(args: &RunArgs, timeout: Duration, lookup: Lookup<'_>) -> Result<Scenario, TargetError> {
    if args.urls.len() > URLS_MAX {
        let wanted = format!("must be at most {URLS_MAX}");
        return Err(FlagError::value("URL", &format!("{} URLs", args.urls.len()), wanted).into());
    }
    let web = if args.http2 { Protocol::Http2 } else { Protocol::Http1 };
    let places = args
        .urls
        .iter()
        .map(|text| Place::parse(text, web))
        .collect::<Result<Vec<_>, _>>()?;
    let common = Common::new(args, &places, lookup)?;
    let mut scenario = Scenario {
        origins: Vec::new(),
        targets: Vec::new(),
        protocol: common.protocol,
        streams: args.streams.unwrap_or(1),
        timeout,
    };
    for place in places {
        let known = scenario.origins.iter().position(|origin| {
            (origin.host.as_str(), origin.port, origin.tls.is_some()) == (place.host(), place.port(), place.tls)
        });
        let origin = match known {
            Some(known) => known,
            None => {
                scenario.origins.push(common.origin(&place)?);
                scenario.origins.len() - 1
            }
        };
        scenario.targets.push(Target {
            origin,
            weight: place.weight,
            payload: common.payload(&place)?,
            url: place.uri.to_string(),
        });
    }
    Ok(scenario)
}

impl<'a> Common<'a> {
    fn new(args: &'a RunArgs, places: &[Place], lookup: Lookup<'a>) -> Result<Self, FlagError> {
        let protocol = check::protocol(args, places)?;
        check::contradictions(args, protocol, places)?;
        check::host(args)?;
        Ok(Self {
            args,
            method: check::method(args, protocol)?,
            headers: check::headers(args, protocol)?,
            body: check::body(args, protocol)?,
            pins: args
                .resolve
                .iter()
                .map(|text| Pin::parse(text, places))
                .collect::<Result<Vec<_>, _>>()?,
            lookup,
            protocol,
            tls: encryption(args, protocol, places)?,
        })
    }

    fn origin(&self, place: &Place) -> Result<Origin, TargetError> {
        let tls = match &self.tls {
            Some(config) if place.tls => Some(Tls {
                config: config.clone(),
                // Who is asked for under another name has to prove that one (--host is the name the server knows).
                name: tls::server_name(self.host_name().unwrap_or(place.host()))?,
            }),
            _ => None,
        };
        Ok(Origin {
            addresses: place.addresses(&self.pins, self.lookup)?,
            host: place.host().to_owned(),
            port: place.port(),
            tls,
        })
    }

    /// `--host` without its port.
    fn host_name(&self) -> Option<&str> {
        let host = self.args.host.as_deref()?;
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        Some(name.trim_matches(['[', ']']))
    }

    fn payload(&self, place: &Place) -> Result<Payload, FlagError> {
        Ok(match self.protocol {
            Protocol::Http1 => Payload::Http1(http1::plain(self, place)),
            Protocol::Http2 => Payload::Http2(http2::web(self, place)?.into()),
            Protocol::Grpc => Payload::Http2(http2::call(self, place)?.into()),
            Protocol::Tcp => Payload::Echo(match self.args.data {
                Some(_) => self.body.clone(),
                None => Bytes::from_static(ECHO),
            }),
        })
    }
}

/// TLS as all https:// and grpcs:// URLs have it.
fn encryption(args: &RunArgs, protocol: Protocol, places: &[Place]) -> Result<Option<Arc<ClientConfig>>, FlagError> {
    let flags = TlsFlags {
        cacert: args.cacert.as_deref(),
        cert: args.cert.as_deref(),
        key: args.key.as_deref(),
        insecure: args.insecure,
        alpn: if protocol.is_multiplexed() {
            &[b"h2"]
        } else {
            &[b"http/1.1"]
        },
    };
    let wanted = places.iter().any(|place| place.tls);
    wanted.then(|| tls::config(&flags)).transpose()
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    /// The scenario of a command line that is divided by bars; only the host `here` has an address.
    pub(in crate::target) fn made(line: &str) -> Result<Scenario, TargetError> {
        let args = Line::parse_from(std::iter::once("load").chain(line.split('|')));
        scenario(&args.run, Duration::from_secs(1), &|host, port| match host {
            "here" => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
            _ => Err("no such host".to_owned()),
        })
    }

    /// Command lines, and words of the line that refuses each.
    pub(in crate::target) fn refused(lines: &[(&str, &str)]) {
        for (line, words) in lines {
            let error = made(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
    }

    #[test]
    fn urls_of_one_host_share_it_and_weights_are_kept() {
        let scenario = made("http://here/a|3:http://here/b|http://here:81/|http://[::1]:82/").unwrap();
        let targets: Vec<_> = scenario
            .targets
            .iter()
            .map(|target| (target.origin, target.weight))
            .collect();
        assert_eq!(targets, [(0, 1), (0, 3), (1, 1), (2, 1)]);
        assert_eq!(scenario.origins[2].addresses[0].to_string(), "[::1]:82");
    }

    #[test]
    fn bytes_for_an_echo_are_what_the_flags_say_or_a_line() {
        for (line, wanted) in [("tcp://here:1", ECHO), ("tcp://here:1/|-d|abc", b"abc")] {
            let scenario = made(line).unwrap();
            assert!(
                matches!(&scenario.targets[0].payload, Payload::Echo(bytes) if bytes == wanted),
                "{line}"
            );
        }
    }
}
