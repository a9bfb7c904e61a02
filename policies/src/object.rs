//! An object of the traffic API: where it came from, what it is called, what it says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::finding::ObjectRef;
use crate::kind::destination_rule::DestinationRule;
use crate::kind::gateway::Gateway;
use crate::kind::peer_authentication::PeerAuthentication;
use crate::kind::service_entry::ServiceEntry;
use crate::kind::sidecar::Sidecar;
use crate::kind::virtual_service::VirtualService;

/// File and line (from 1) that something was read from. Line 0: unknown, as for objects of an API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Path as the user would write it.
    pub file: Arc<str>,
    /// Line, from 1; 0 where there is none.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}", self.file, self.line)
        }
    }
}

/// The metadata of an object, as far as traffic rules look at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace; `default` where the object states none.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `creationTimestamp` in milliseconds since 1970; absent means "as old as any other".
    pub created: Option<i64>,
    /// `metadata.generation`, or a hash of the content where that is missing.
    pub generation: u64,
    /// Where the object was read from.
    pub origin: Origin,
}

/// An object whose specification has type `S`; the kind is known by the type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object<S> {
    /// Name, labels, age and origin.
    pub meta: Meta,
    /// What the user says.
    pub spec: S,
}

/// A decoded and validated object of one of the kinds that weft acts upon.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyObject {
    /// `networking.istio.io` Gateway.
    Gateway(Arc<Object<Gateway>>),
    /// `networking.istio.io` VirtualService.
    VirtualService(Arc<Object<VirtualService>>),
    /// `networking.istio.io` DestinationRule.
    DestinationRule(Arc<Object<DestinationRule>>),
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry(Arc<Object<ServiceEntry>>),
    /// `networking.istio.io` Sidecar.
    Sidecar(Arc<Object<Sidecar>>),
    /// `security.istio.io` PeerAuthentication.
    PeerAuthentication(Arc<Object<PeerAuthentication>>),
}

impl AnyObject {
    /// The metadata, whatever the kind.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Gateway(o) => &o.meta,
            Self::VirtualService(o) => &o.meta,
            Self::DestinationRule(o) => &o.meta,
            Self::ServiceEntry(o) => &o.meta,
            Self::Sidecar(o) => &o.meta,
            Self::PeerAuthentication(o) => &o.meta,
        }
    }

    /// The kind as users write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "Gateway",
            Self::VirtualService(_) => "VirtualService",
            Self::DestinationRule(_) => "DestinationRule",
            Self::ServiceEntry(_) => "ServiceEntry",
            Self::Sidecar(_) => "Sidecar",
            Self::PeerAuthentication(_) => "PeerAuthentication",
        }
    }

    /// Kind, namespace and name.
    pub fn reference(&self) -> ObjectRef {
        let meta = self.meta();
        ObjectRef {
            kind: self.kind().to_owned(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        }
    }
}
