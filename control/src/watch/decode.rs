//! The text of a file → the objects that stand in it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weft_policies::codes::SCHEMA;
use weft_policies::defaults::NAMESPACE as DEFAULT_NAMESPACE;
use weft_policies::yaml::{self, Document};
use weft_policies::{AnyObject, Finding, ObjectRef, Severity, mesh};

use super::catalog::duplicate;
use super::kept::Text;
use super::{Body, Manifest, codes};
use crate::world::{Kind, NamespacedName, ObjectKey};

/// The ConfigMap that holds the mesh configuration, and its key (Istio: `istio` in the root namespace).
const MESH_CONFIG_MAP: (&str, &str) = ("istio-system", "istio");
const MESH_KEY: &str = "mesh";

/// What stands in a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Objects of kinds that the world is made of, each key once.
    pub(super) manifests: Vec<Manifest>,
    /// What there is to say beside that.
    pub(super) findings: Vec<Finding>,
    /// The text of each object that is good, but for Secrets.
    pub(super) texts: BTreeMap<ObjectKey, Text>,
    /// A document could not be told for what it is, so objects that seem to be missing may stand in it.
    pub(super) torn: bool,
}

/// Reads the text of a file. Nothing fails: what cannot be read is among the findings.
pub(super) fn decode(file: &str, bytes: &[u8]) -> Content {
    let (documents, findings) = yaml::parse_bytes(file, bytes);
    let mut content = Content {
        torn: findings.iter().any(Finding::is_error),
        findings,
        ..Content::default()
    };
    let mut seen = BTreeMap::new();
    let mut noted = std::collections::BTreeSet::new();
    for document in documents {
        let Some(kind) = known_kind(&document) else {
            if is_other_config_map(&document) {
                continue;
            }
            let findings = weft_policies::read(&document).1;
            // What cannot be told for what it is may be an object that was read before: that one is not gone.
            let is_unclear = findings
                .iter()
                .any(|finding| finding.code == SCHEMA && finding.is_error());
            content.torn |= is_unclear;
            // One note for each kind, however many objects of it there are.
            if noted.insert((document.api_version.clone(), document.kind.clone())) || is_unclear {
                content.findings.extend(findings);
            }
            continue;
        };
        if document.name.is_empty() {
            content.torn = true;
            content.findings.push(finding(
                &document,
                codes::NAMELESS,
                "has no `metadata.name`",
                "give it a name",
            ));
            continue;
        }
        let (manifest, json) = manifest(kind, document);
        match seen.get(&manifest.key) {
            Some(first) => content.findings.push(duplicate(&manifest, &content.manifests[*first])),
            None => {
                seen.insert(manifest.key.clone(), content.manifests.len());
                if manifest.body.is_some() && kind != Kind::Secret {
                    let line = manifest.origin.line;
                    content.texts.insert(manifest.key.clone(), Text { line, json });
                }
                content.manifests.push(manifest);
            }
        }
    }
    content
}

/// The kind of the world that a document is of; `None` for all others.
fn known_kind(document: &Document) -> Option<Kind> {
    Some(match (document.group(), document.kind.as_str()) {
        ("networking.istio.io", "Gateway") => Kind::Gateway,
        ("networking.istio.io", "VirtualService") => Kind::VirtualService,
        ("networking.istio.io", "DestinationRule") => Kind::DestinationRule,
        ("networking.istio.io", "ServiceEntry") => Kind::ServiceEntry,
        ("networking.istio.io", "Sidecar") => Kind::Sidecar,
        ("security.istio.io", "PeerAuthentication") => Kind::PeerAuthentication,
        ("", "Service") => Kind::Service,
        ("", "Pod") => Kind::Pod,
        ("", "Secret") => Kind::Secret,
        ("", "Namespace") => Kind::Namespace,
        ("discovery.k8s.io", "EndpointSlice") => Kind::EndpointSlice,
        ("", "ConfigMap") if is_mesh_config(document) => Kind::MeshConfig,
        _ => return None,
    })
}

fn is_mesh_config(document: &Document) -> bool {
    (document.namespace.as_str(), document.name.as_str()) == MESH_CONFIG_MAP
}

/// ConfigMaps belong to applications; only one of them is ours to talk about.
fn is_other_config_map(document: &Document) -> bool {
    document.group().is_empty() && document.kind == "ConfigMap"
}

/// The object, and its text as JSON.
fn manifest(kind: Kind, document: Document) -> (Manifest, String) {
    let mut json = document.node.to_json();
    let namespace = match (kind, document.namespace.as_str()) {
        (Kind::Namespace, _) => "",
        (_, "") => DEFAULT_NAMESPACE,
        (_, stated) => stated,
    };
    let key = ObjectKey {
        kind,
        name: NamespacedName::new(namespace, &document.name),
    };
    let text = json.to_string();
    let generation = content_hash(&text);
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), Value::from(namespace));
    }
    let (body, findings) = match kind {
        Kind::Service => core_kind(json, &document, Body::Service),
        Kind::Pod => core_kind(json, &document, Body::Pod),
        Kind::Secret => core_kind(json, &document, Body::Secret),
        Kind::Namespace => core_kind(json, &document, Body::Namespace),
        Kind::EndpointSlice => core_kind(json, &document, Body::EndpointSlice),
        Kind::MeshConfig => mesh_config(json, &document),
        Kind::Gateway
        | Kind::VirtualService
        | Kind::DestinationRule
        | Kind::ServiceEntry
        | Kind::Sidecar
        | Kind::PeerAuthentication => {
            let (object, findings) = weft_policies::read(&document);
            (object.map(|object| Body::Policy(stamped(object, generation))), findings)
        }
        Kind::File => (None, Vec::new()),
    };
    let manifest = Manifest {
        key,
        origin: document.origin,
        generation,
        body,
        findings,
    };
    (manifest, text)
}

/// A file's object has its content for a generation, whatever the file says: `kubectl get` writes the cluster's
/// number into it, which no edit of the file ever changes.
fn stamped(mut object: AnyObject, generation: u64) -> AnyObject {
    fn stamp<S: Clone>(object: &mut std::sync::Arc<weft_policies::Object<S>>, generation: u64) {
        std::sync::Arc::make_mut(object).meta.generation = generation;
    }
    match &mut object {
        AnyObject::Gateway(object) => stamp(object, generation),
        AnyObject::VirtualService(object) => stamp(object, generation),
        AnyObject::DestinationRule(object) => stamp(object, generation),
        AnyObject::ServiceEntry(object) => stamp(object, generation),
        AnyObject::Sidecar(object) => stamp(object, generation),
        AnyObject::PeerAuthentication(object) => stamp(object, generation),
    }
    object
}

/// A kind of Kubernetes itself: unknown fields are none of our business, wrong types are.
fn core_kind<T: DeserializeOwned>(
    json: Value,
    document: &Document,
    body: fn(Box<T>) -> Body,
) -> (Option<Body>, Vec<Finding>) {
    match serde_json::from_value(json) {
        Ok(object) => (Some(body(Box::new(object))), Vec::new()),
        Err(error) => {
            let fix = "write it as the Kubernetes API has it";
            (
                None,
                vec![finding(
                    document,
                    codes::UNDECODABLE,
                    &format!("does not decode: {error}"),
                    fix,
                )],
            )
        }
    }
}

fn mesh_config(json: Value, document: &Document) -> (Option<Body>, Vec<Finding>) {
    let map: core::ConfigMap = match serde_json::from_value(json) {
        Ok(map) => map,
        Err(error) => {
            let problem = format!("does not decode: {error}");
            return (
                None,
                vec![finding(
                    document,
                    codes::UNDECODABLE,
                    &problem,
                    "write `data` as a mapping to strings",
                )],
            );
        }
    };
    let text = map.data.unwrap_or_default().remove(MESH_KEY).unwrap_or_default();
    let line = document
        .node
        .get("data")
        .and_then(|data| data.get(MESH_KEY))
        .map_or(document.origin.line, |node| node.line);
    let (mesh, findings) = mesh::decode(&text, &document.origin.file, line, reference(document));
    (mesh.map(|mesh| Body::MeshConfig(Box::new(mesh))), findings)
}

fn finding(document: &Document, code: &'static str, problem: &str, fix: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        code,
        object: reference(document),
        origin: document.origin.clone(),
        path: String::new(),
        problem: problem.to_owned(),
        fix: fix.to_owned(),
    }
}

/// What a finding calls the object: with the namespace that it lands in.
fn reference(document: &Document) -> ObjectRef {
    let mut reference = document.reference();
    if reference.namespace.is_empty() && reference.kind != "Namespace" {
        DEFAULT_NAMESPACE.clone_into(&mut reference.namespace);
    }
    reference
}

/// FNV-1a over the JSON text, whose keys are sorted: the same on every machine and in every build.
fn content_hash(json: &str) -> u64 {
    fnv1a(json.as_bytes())
}

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
