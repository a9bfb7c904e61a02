//! What a source of objects tells the world.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use weft_policies::mesh::MeshConfig;
use weft_policies::{AnyObject, Finding, Origin};

use crate::world::ObjectKey;

/// One step of a source. Steps that belong together travel in one batch and become visible at once.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is there, in this form.
    Apply(Arc<Manifest>),
    /// The object is gone.
    Delete(ObjectKey),
    /// These are all the objects there are; whatever else was known is gone.
    Reset(Vec<Arc<Manifest>>),
    /// Everything there is to say about a file that is not about one of its objects; replaces what was said before.
    File {
        /// Path of the file, as findings name it.
        file: Arc<str>,
        /// What is wrong with it; empty when nothing is (any more).
        findings: Vec<Finding>,
    },
}

/// An object as it was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Which object it is.
    pub key: ObjectKey,
    /// Where it stands.
    pub origin: Origin,
    /// Hash of its content: equal for equal objects, wherever they stand.
    pub generation: u64,
    /// What it says; `None` if it was refused, and then a finding of severity Error says why.
    pub body: Option<Body>,
    /// All that validation has to say.
    pub findings: Vec<Finding>,
}

/// A decoded object of a kind that the world is made of.
#[derive(Clone, Debug)]
pub enum Body {
    /// A traffic policy.
    Policy(AnyObject),
    /// Service.
    Service(Box<core::Service>),
    /// Pod.
    Pod(Box<core::Pod>),
    /// EndpointSlice.
    EndpointSlice(Box<discovery::EndpointSlice>),
    /// Secret.
    Secret(Box<core::Secret>),
    /// Namespace.
    Namespace(Box<core::Namespace>),
    /// The mesh configuration.
    MeshConfig(Box<MeshConfig>),
}
