//! Conditions of an HTTP rule.

use std::collections::BTreeMap;

use crate::codes;
use crate::decode::{Field, Fields};
use crate::kind::string_match::{MatchPlace, StringMatch};
use crate::validate;

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

/// Header keys that are conditions on the claims of a token.
const CLAIMS: &str = "@request.auth.claims";

impl HttpMatch {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mut condition = |name| {
            fields
                .field(name)
                .and_then(|f| StringMatch::read(&f, MatchPlace::Other))
        };
        let (scheme, method, authority) = (condition("scheme"), condition("method"), condition("authority"));
        let found = Self {
            name: fields.filled("name"),
            uri: fields.field("uri").and_then(|f| StringMatch::read(&f, MatchPlace::Uri)),
            ignore_uri_case: fields.flag("ignoreUriCase"),
            scheme,
            method,
            authority,
            headers: conditions(fields.field("headers"), MatchPlace::Other, true),
            without_headers: conditions(fields.field("withoutHeaders"), MatchPlace::WithoutHeader, true),
            query_params: conditions(fields.field("queryParams"), MatchPlace::Other, false),
            port: fields.field("port").and_then(|f| f.u32(0..=65_535)).filter(|n| *n > 0),
            source_labels: fields.labels("sourceLabels"),
            source_namespace: namespace(&mut fields),
            gateways: gateways(&mut fields),
            stat_prefix: fields.filled("statPrefix"),
        };
        fields.finish();
        Some(found)
    }

    /// Whether the claims of a token are looked at.
    pub fn has_claims(&self) -> bool {
        self.headers
            .keys()
            .chain(self.without_headers.keys())
            .any(|key| key.starts_with(CLAIMS))
    }
}

fn conditions(field: Option<Field<'_>>, place: MatchPlace, headers: bool) -> BTreeMap<String, StringMatch> {
    let read = |(key, field): (&str, Field<'_>)| {
        if key.is_empty() {
            field.error("has an empty name", "name a header or parameter");
        } else if headers && key.starts_with('@') {
            claim(&field, key);
        } else if headers {
            field.check(validate::header_name(key.strip_prefix(':').unwrap_or(key)));
        }
        Some((key.to_owned(), StringMatch::read(&field, place)?))
    };
    field
        .map(|f| f.entries().into_iter().filter_map(read).collect())
        .unwrap_or_default()
}

/// `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`.
fn claim(field: &Field<'_>, key: &str) {
    let good = match key.strip_prefix(CLAIMS) {
        None => false,
        Some(path) if path.starts_with('.') => path[1..].split('.').all(|part| !part.is_empty()),
        Some(path) => path
            .strip_prefix('[')
            .and_then(|p| p.strip_suffix(']'))
            .is_some_and(|p| p.split("][").all(|part| !part.is_empty() && !part.contains(['[', ']']))),
    };
    if !good {
        field.error(format!("`{key}` names no claim"), "write `@request.auth.claims[name]`");
    }
}

pub(super) fn namespace(fields: &mut Fields<'_>) -> Option<String> {
    let field = fields.field("sourceNamespace")?;
    let name = field.text().filter(|name| !name.is_empty())?;
    field.check(validate::dns_label(name)).map(|()| name.to_owned())
}

/// References to Gateways, of a VirtualService or of one match.
pub(super) fn gateways(fields: &mut Fields<'_>) -> Vec<String> {
    fields.list("gateways", |field| {
        let reference = field.text()?;
        if field.check(validate::gateway_reference(reference))? {
            let fix = "write `namespace/name`";
            field.warn(
                codes::SCHEMA_WARNING,
                format!("`{reference}` is the old way to name a gateway"),
                fix,
            );
        }
        Some(reference.to_owned())
    })
}
