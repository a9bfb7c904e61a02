//! Conditions of an HTTP rule.

use std::collections::BTreeMap;

use crate::kind::string_match::StringMatch;

/// One entry of `http[].match`: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpMatch {
    /// Suffix of the route's name in logs.
    pub name: Option<String>,
    /// Path without query.
    pub uri: Option<StringMatch>,
    /// `uri` exact and prefix compare without case.
    pub ignore_uri_case: bool,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Host, with its port if the client sent one.
    pub authority: Option<StringMatch>,
    /// Headers by name, as written; `@request.auth.claims…` keys are conditions on JWT claims.
    pub headers: BTreeMap<String, StringMatch>,
    /// Headers whose condition must not hold.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// First value of each query parameter.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Port of the listener, or of the gateway's server.
    pub port: Option<u32>,
    /// Labels that the client's proxy must have.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace that the client's proxy must be in.
    pub source_namespace: Option<String>,
    /// Replaces the VirtualService's gateways; empty: not set.
    pub gateways: Vec<String>,
    /// Prefix of extra counters.
    pub stat_prefix: Option<String>,
}
