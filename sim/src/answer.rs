//! in → out: –. What becomes of a call, in the vocabulary of scenarios.
//! owns: the result type; its JSON is what checks compare.
//! may not touch: how it came to be.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::duration;

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The one thing that happens.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// All that goes with a routed HTTP request.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// Traffic policy towards the first destination of bytes that are copied; that of a request is in its details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Answer {
            outcome,
            details: None,
            policy: None,
        }
    }
}

/// The one thing that happens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It can go to one destination only.
    Destination {
        /// Where.
        destination: Destination,
    },
    /// It goes to one of several destinations.
    Weights {
        /// Where, with percentages.
        weights: Vec<Weighted>,
    },
    /// It is forwarded to where it was going.
    Passthrough {
        /// Always.
        passthrough: True,
    },
    /// The connection is closed without a word.
    Blackhole {
        /// Always.
        blackhole: True,
    },
    /// It is delivered to the application of the pod.
    Inbound {
        /// Where there.
        inbound: Inbound,
    },
    /// The proxy answers itself.
    Reply(LocalReply),
    /// The proxy answers itself, in gRPC's words.
    GrpcStatus {
        /// Name of the status.
        grpc_status: &'static str,
    },
    /// The connection is not served.
    Error {
        /// Why not.
        error: Refusal,
    },
}

/// Written as `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "bool")]
pub struct True;

impl From<True> for bool {
    fn from(_: True) -> Self {
        true
    }
}

/// A host and port of the mesh, and the endpoints behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Full name of the Service, or the host of the ServiceEntry.
    pub host: String,
    /// Port of the Service, not of its pods.
    pub port: u16,
    /// Name of the subset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Every `address:port` that the call can be sent to.
    pub endpoints: Vec<String>,
}

/// A destination and its share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weighted {
    /// Where.
    #[serde(flatten)]
    pub destination: Destination,
    /// Percentage of calls.
    pub weight: f64,
}

/// The application's side of an inbound call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Inbound {
    /// Port of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Address that the proxy connects to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Path of the Unix socket that the proxy connects to, in place of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
}

/// A response that the proxy makes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocalReply {
    /// Its status.
    pub status: u16,
    /// Its headers, as far as the rule decides them.
    pub headers: BTreeMap<String, String>,
    /// Its body, where the rule gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Nothing listens on that port.
    NoListener,
    /// Plain text to a port that takes TLS only.
    TlsRequired,
    /// The port demands a client certificate of the mesh.
    MtlsRequired,
    /// The bytes are not of the protocol that the port speaks.
    ProtocolError,
    /// No chain for this server name.
    NoRouteForSni,
}

/// All that goes with a routed HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Details {
    /// The request as the destination sees it.
    pub rewrite: Rewrite,
    /// Time limit of the whole request; zero is none.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
    /// Retries.
    pub retries: Retries,
    /// Faults.
    pub fault: Fault,
    /// Copies.
    pub mirror: Vec<Mirror>,
    /// Changes of request headers.
    pub request_headers: HeaderChanges,
    /// Changes of response headers.
    pub response_headers: HeaderChanges,
    /// Traffic policy towards the destination.
    pub policy: Policy,
    /// Name of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_name: Option<String>,
}

/// The request as the destination sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Path with query.
    pub path: String,
    /// `Host` or `:authority`.
    pub authority: String,
}

/// Retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retries {
    /// After the first try; 0 is off.
    pub attempts: u32,
    /// Limit of one try; zero is none.
    #[serde(serialize_with = "duration::serialize")]
    pub per_try_timeout: Duration,
    /// Conditions, in Envoy's words.
    pub retry_on: Vec<String>,
    /// Status codes that are retried.
    pub retry_codes: Vec<u16>,
}

/// Faults; none is `{}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Fault {
    /// Wait before forwarding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Answer instead of forwarding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
}

/// A wait put in on purpose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delay {
    /// Share of requests.
    pub percentage: f64,
    /// How long.
    #[serde(serialize_with = "duration::serialize")]
    pub fixed: Duration,
}

/// An answer made on purpose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Abort {
    /// Share of requests.
    pub percentage: f64,
    /// Its status.
    pub status: u16,
}

/// A copy of requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mirror {
    /// Where to.
    pub host: String,
    /// Port there.
    pub port: u16,
    /// Subset there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Share of requests.
    pub percentage: f64,
}

/// Changes of headers that the rule makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HeaderChanges {
    /// The header then has exactly this value.
    pub set: BTreeMap<String, String>,
    /// The value is there in addition to others. Several values for one header are joined with `,`.
    pub add: BTreeMap<String, String>,
    /// Headers that are taken out.
    pub remove: Vec<String>,
}

/// Traffic policy towards a destination; `null` where nothing sets it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Policy {
    /// `ROUND_ROBIN`, `LEAST_REQUEST`, `RANDOM`; `null` with a consistent hash.
    pub load_balancer: Option<&'static str>,
    /// Open connections.
    pub max_connections: Option<u32>,
    /// Limit of dialling.
    #[serde(serialize_with = "duration::serialize_option")]
    pub connect_timeout: Option<Duration>,
    /// Mode of TLS.
    pub tls: Option<String>,
    /// Server name of the TLS handshake.
    pub sni: Option<String>,
    /// Key of a consistent hash.
    pub hash: Option<HashKey>,
}

/// What a consistent hash is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashKey {
    /// A request header.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The address of the client.
    SourceIp(bool),
}
