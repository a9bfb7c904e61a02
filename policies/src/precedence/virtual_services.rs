//! The order in which VirtualServices are tried.

use std::sync::Arc;

use super::{Reach, by_age, reach};
use crate::kind::virtual_service::VirtualService;
use crate::object::Object;

/// The VirtualServices that namespace `client` sees, in the order in which sidecars and gateways try them: private to
/// the namespace, exported to it by name, public; each group oldest first. Delegates (no hosts) are left out.
pub fn visible_virtual_services(
    all: &[Arc<Object<VirtualService>>],
    mesh_default: &[String],
    client: &str,
) -> Vec<Arc<Object<VirtualService>>> {
    let mut seen: Vec<(Reach, &Arc<Object<VirtualService>>)> = all
        .iter()
        .filter(|object| !object.spec.hosts.is_empty())
        .filter_map(|object| {
            Some((
                reach(&object.spec.export_to, mesh_default, &object.meta.namespace, client)?,
                object,
            ))
        })
        .collect();
    seen.sort_by(|(ra, a), (rb, b)| ra.cmp(rb).then_with(|| by_age(&a.meta, &b.meta)));
    seen.into_iter().map(|(_, object)| Arc::clone(object)).collect()
}
