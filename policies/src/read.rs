//! A document → an object of a known kind, or the reason why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codes;
use crate::decode::{Check, Field, Fields, Problem, Sink, nearest};
use crate::defaults;
use crate::finding::Finding;
use crate::kind::destination_rule::DestinationRule;
use crate::kind::gateway::Gateway;
use crate::kind::peer_authentication::PeerAuthentication;
use crate::kind::service_entry::ServiceEntry;
use crate::kind::sidecar::Sidecar;
use crate::kind::virtual_service::VirtualService;
use crate::labels;
use crate::object::{AnyObject, Meta, Object, Origin};
use crate::validate;
use crate::yaml::{Document, Node, Value};

/// API group of the traffic kinds. Its three versions have one schema and one meaning.
const NETWORKING: &str = "networking.istio.io";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];
/// API group of what is said about security, and its versions, likewise.
const SECURITY: &str = "security.istio.io";
const SECURITY_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// The kind of it that is acted upon.
const PEER_AUTHENTICATION: &str = "PeerAuthentication";
/// The traffic kinds that are acted upon.
const TRAFFIC_KINDS: [&str; 5] = [
    "Gateway",
    "VirtualService",
    "DestinationRule",
    "ServiceEntry",
    "Sidecar",
];

/// Kinds of old Istio, and what stands in their place.
const REMOVED: [(&str, &str); 17] = [
    ("Policy", "PeerAuthentication and RequestAuthentication"),
    ("MeshPolicy", "PeerAuthentication in the root namespace"),
    ("ServiceRole", "AuthorizationPolicy"),
    ("ServiceRoleBinding", "AuthorizationPolicy"),
    ("RbacConfig", "AuthorizationPolicy"),
    ("ClusterRbacConfig", "AuthorizationPolicy"),
    ("RouteRule", "VirtualService"),
    ("DestinationPolicy", "DestinationRule"),
    ("EgressRule", "ServiceEntry"),
    ("ExternalService", "ServiceEntry"),
    ("attributemanifest", "Telemetry"),
    ("handler", "Telemetry"),
    ("instance", "Telemetry"),
    ("rule", "Telemetry"),
    ("QuotaSpec", "a rate limit of the application's"),
    ("HTTPAPISpec", "VirtualService"),
    ("adapter", "Telemetry"),
];

/// Kinds of Istio that weft reads past. `true`: what they say about security or traffic is not enforced.
const UNSUPPORTED: [(&str, bool); 9] = [
    ("EnvoyFilter", true),
    ("WasmPlugin", true),
    ("AuthorizationPolicy", true),
    ("RequestAuthentication", true),
    ("Telemetry", false),
    ("ProxyConfig", false),
    ("WorkloadEntry", false),
    ("WorkloadGroup", false),
    ("TrafficExtension", true),
];

/// Decodes and validates a document of an Istio kind, or says why it is passed over. `None` where there are errors (the
/// object is refused) and where the kind is none that weft acts upon.
///
/// Core kinds (Service, Pod, …) are not for this function: it takes them for unknown.
pub fn read(document: &Document) -> (Option<AnyObject>, Vec<Finding>) {
    let mut object = document.reference();
    if object.namespace.is_empty() {
        defaults::NAMESPACE.clone_into(&mut object.namespace);
    }
    let sink = Sink::new(object, Arc::clone(&document.origin.file));
    let root = Field::new(&document.node, document.origin.line, String::new(), &sink);
    let found = read_kind(document, &root);
    let refused = sink.has_errors();
    (found.filter(|_| !refused), sink.into_findings())
}

/// As `read`, for all documents of a file; keeps what is good.
pub fn read_all(documents: &[Document]) -> (Vec<AnyObject>, Vec<Finding>) {
    let (mut objects, mut findings) = (Vec::new(), Vec::new());
    for document in documents {
        let (object, found) = read(document);
        objects.extend(object);
        findings.extend(found);
    }
    (objects, findings)
}

fn read_kind(document: &Document, root: &Field<'_>) -> Option<AnyObject> {
    let kind = document.kind.as_str();
    let istio = document.group().ends_with("istio.io");
    if document.api_version.is_empty() {
        let fix = if is_traffic_kind(kind) {
            format!("write `apiVersion: {NETWORKING}/v1`")
        } else if kind == PEER_AUTHENTICATION {
            format!("write `apiVersion: {SECURITY}/v1`")
        } else {
            "state the API group and version of the kind".to_owned()
        };
        root.error("has no `apiVersion`, so nobody can tell what it is", fix);
        return None;
    }
    let versions: &[&str] = match document.group() {
        NETWORKING if is_traffic_kind(kind) => &VERSIONS,
        SECURITY if kind == PEER_AUTHENTICATION => &SECURITY_VERSIONS,
        _ => {
            pass_over(document, root, istio);
            return None;
        }
    };
    if let Some((last, others)) = versions
        .split_last()
        .filter(|_| !versions.contains(&document.version()))
    {
        root.error(
            format!("has apiVersion `{}`", document.api_version),
            format!("must be {}/{} or {last}", document.group(), others.join(", ")),
        );
    }
    Some(match kind {
        "Gateway" => AnyObject::Gateway(object(document, root, Gateway::read)?),
        "VirtualService" => AnyObject::VirtualService(object(document, root, VirtualService::read)?),
        "DestinationRule" => AnyObject::DestinationRule(object(document, root, DestinationRule::read)?),
        "ServiceEntry" => AnyObject::ServiceEntry(object(document, root, ServiceEntry::read)?),
        PEER_AUTHENTICATION => AnyObject::PeerAuthentication(object(document, root, PeerAuthentication::read)?),
        _ => AnyObject::Sidecar(object(document, root, Sidecar::read)?),
    })
}

fn is_traffic_kind(kind: &str) -> bool {
    TRAFFIC_KINDS.contains(&kind)
}

fn pass_over(document: &Document, root: &Field<'_>, istio: bool) {
    let kind = document.kind.as_str();
    if let Some((_, new)) = REMOVED.iter().find(|(old, _)| istio && *old == kind) {
        root.error_as(
            codes::REMOVED_KIND,
            format!("{kind} is a kind of old Istio and has no effect"),
            format!("use {new}"),
        );
    } else if let Some((_, matters)) = UNSUPPORTED.iter().find(|(known, _)| istio && *known == kind) {
        let problem = format!("{kind} is not supported and is ignored");
        if *matters {
            root.error_as(codes::UNSUPPORTED_KIND, problem, "do not rely on it");
        } else {
            root.warn(codes::UNSUPPORTED_KIND, problem, "");
        }
    } else if document.group() == SECURITY {
        let unsupported = UNSUPPORTED.iter().map(|(known, _)| *known);
        let fix = nearest(kind, unsupported.chain([PEER_AUTHENTICATION])).map_or_else(
            || format!("write {PEER_AUTHENTICATION}"),
            |near| format!("did you mean `{near}`?"),
        );
        root.error(format!("{kind} is no kind of {SECURITY}"), fix);
    } else if document.group() == NETWORKING {
        // All kinds of this group are known, so this is one of them misspelt.
        let known = TRAFFIC_KINDS
            .into_iter()
            .chain(UNSUPPORTED.iter().map(|(known, _)| *known));
        let fix = nearest(kind, known).map_or_else(
            || format!("write one of {}", TRAFFIC_KINDS.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        root.error(format!("{kind} is no kind of {NETWORKING}"), fix);
    } else {
        root.info(
            codes::UNKNOWN_KIND,
            format!("{kind} of `{}` is no kind that weft knows", document.api_version),
            "",
        );
    }
}

fn object<S>(
    document: &Document,
    root: &Field<'_>,
    read: impl Fn(&mut Fields<'_>, &str) -> S,
) -> Option<Arc<Object<S>>> {
    let mut fields = root.fields()?;
    for known in ["apiVersion", "kind", "status"] {
        fields.old(known);
    }
    let meta = fields
        .required("metadata", "give at least a name")
        .and_then(|f| read_meta(document, &f));
    let namespace = meta.as_ref().map_or(defaults::NAMESPACE, |m| m.namespace.as_str());
    let spec = fields.required("spec", "say what the object is to do").and_then(|f| {
        let mut fields = f.fields()?;
        let spec = read(&mut fields, namespace);
        fields.finish();
        Some(spec)
    });
    fields.finish();
    Some(Arc::new(Object {
        meta: meta?,
        spec: spec?,
    }))
}

fn read_meta(document: &Document, field: &Field<'_>) -> Option<Meta> {
    let mut fields = field.fields()?;
    let name = fields.required("name", "name the object").and_then(|f| {
        let name = f.text()?;
        f.check(object_name(name)).map(|()| name.to_owned())
    });
    let namespace = match fields.field("namespace") {
        Some(f) => f
            .text()
            .and_then(|name| f.check(validate::dns_label(name)).map(|()| name.to_owned())),
        None => Some(defaults::NAMESPACE.to_owned()),
    };
    let annotations = fields.field("annotations").map(|f| {
        for (key, field) in f.entries() {
            if key.starts_with(labels::INTERNAL_PREFIX) {
                field.error("is an annotation of Istio's own machinery", "remove it");
            } else if key == labels::DRY_RUN {
                field.error("has a meaning on AuthorizationPolicy only", "remove it");
            }
        }
        f.string_map()
    });
    let created = fields.field("creationTimestamp").and_then(|f| {
        let text = f.text()?;
        f.check(timestamp(text).ok_or_else(|| {
            Problem::new(
                format!("`{text}` is no timestamp"),
                "write one such as 2024-01-31T12:00:00Z",
            )
        }))
    });
    let generation = fields
        .field("generation")
        .and_then(|f| f.integer(0..=i64::MAX))
        .and_then(|n| u64::try_from(n).ok());
    let meta = Meta {
        name: name?,
        namespace: namespace?,
        labels: fields.field("labels").map(|f| f.string_map()).unwrap_or_default(),
        annotations: annotations.unwrap_or_default(),
        created,
        generation: generation
            .filter(|n| *n > 0)
            .unwrap_or_else(|| content_hash(&document.node)),
        origin: Origin {
            file: Arc::clone(&document.origin.file),
            line: document.origin.line,
        },
    };
    // The rest of the metadata belongs to Kubernetes.
    Some(meta)
}

/// A DNS subdomain (RFC 1123), as Kubernetes asks of names.
fn object_name(name: &str) -> Check {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let good = |part: &[u8]| edge(part.first()) && edge(part.last()) && part.iter().copied().all(inner);
    if name.len() <= 253 && name.as_bytes().split(|b| *b == b'.').all(good) {
        return Ok(());
    }
    Err(Problem::new(
        format!("`{name}` is no object name"),
        "use letters, digits, `-` and `.`",
    ))
}

/// RFC 3339 in UTC or with an offset, in milliseconds since 1970.
fn timestamp(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        text.get(range)
            .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?
            .parse::<i64>()
            .ok()
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| text.as_bytes().get(*at) == Some(mark))
        || !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '))
    {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let fraction_end = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(fraction_end);
    let digits = fraction.strip_prefix('.').unwrap_or_default();
    let millis = format!("{digits:0<3}").get(..3)?.parse::<i64>().ok()?;
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let read = |r: std::ops::Range<usize>| zone.get(r)?.parse::<i64>().ok();
            let minutes = read(1..3)? * 60 + read(4..6)?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days from the civil calendar, with years that begin in March, so that a leap day comes last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + millis)
}

/// FNV-1a over what the object says: the same content has the same generation, wherever it stands.
fn content_hash(node: &Node) -> u64 {
    let content: BTreeMap<&str, String> = match &node.value {
        Value::Map(entries) => entries
            .iter()
            .filter(|e| e.key != "status")
            .map(|e| (e.key.as_str(), e.node.to_json().to_string()))
            .collect(),
        _ => BTreeMap::new(),
    };
    let bytes = content.iter().flat_map(|(key, value)| key.bytes().chain(value.bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn timestamps_are_read_to_the_millisecond() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:30:15Z", Some(1_709_209_815_000)),
            ("2024-02-29T12:30:15.25Z", Some(1_709_209_815_250)),
            ("2024-02-29T14:30:15+02:00", Some(1_709_209_815_000)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2024-02-29", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-02-29T12:30:15", None),
            ("yesterday", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
    }
}
