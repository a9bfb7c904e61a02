//! Which PeerAuthentication speaks for a port of a workload (Istio: `authn/policy_applier.go: ComposePeerAuthentication`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kind::peer_authentication::{MtlsMode, PeerAuthentication};
use crate::labels::selects;
use crate::object::Object;

type Policy = Arc<Object<PeerAuthentication>>;

/// What holds for one workload, and the objects that say so.
#[derive(Debug, Default)]
pub struct PeerModes<'a> {
    mesh: Option<&'a Policy>,
    namespace: Option<&'a Policy>,
    workload: Option<&'a Policy>,
    /// Objects of this workload that say nothing: an older one has spoken for the same workloads, or they select in the root
    /// namespace, which nobody may do.
    pub ignored: Vec<(&'a Policy, Ignored<'a>)>,
}

/// Why an object says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored<'a> {
    /// This older one speaks for the same scope.
    Older(&'a Policy),
    /// It selects workloads out of the root namespace.
    SelectsInRoot,
}

/// The objects that concern a workload of `namespace` with `labels`; `all` has the oldest first. Of several with one scope the
/// oldest speaks; a selector in the root namespace selects nobody.
pub fn peer_modes<'a>(
    all: &'a [Policy],
    root_namespace: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> PeerModes<'a> {
    let mut modes = PeerModes::default();
    for object in all {
        let own = object.meta.namespace == namespace;
        let root = object.meta.namespace == root_namespace;
        let slot = match object.spec.selected() {
            Some(selector) if root && selects(selector, labels) => {
                modes.ignored.push((object, Ignored::SelectsInRoot));
                continue;
            }
            Some(selector) if own && !root && selects(selector, labels) => &mut modes.workload,
            None if root => &mut modes.mesh,
            None if own => &mut modes.namespace,
            _ => continue,
        };
        match *slot {
            None => *slot = Some(object),
            Some(older) => modes.ignored.push((object, Ignored::Older(older))),
        }
    }
    modes
}

impl PeerModes<'_> {
    /// The mode of a port of the workload; never `Unset`.
    pub fn of(&self, port: u16) -> MtlsMode {
        let own = self.workload.and_then(|object| object.spec.port_level_mtls.get(&port));
        own.copied().unwrap_or_default().or(self.others())
    }

    /// The mode of ports that no object names; never `Unset`.
    pub fn others(&self) -> MtlsMode {
        let stated = |object: Option<&Policy>| object.map(|object| object.spec.mtls).unwrap_or_default();
        stated(self.workload)
            .or(stated(self.namespace))
            .or(stated(self.mesh))
            .or(MtlsMode::Permissive)
    }

    /// The object that states modes for single ports, and these ports.
    pub fn by_port(&self) -> Option<(&Object<PeerAuthentication>, impl Iterator<Item = u16> + '_)> {
        let object = self.workload?;
        Some((object, object.spec.port_level_mtls.keys().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Meta, Origin};

    fn meta(reference: &str) -> Meta {
        let (namespace, name) = reference.split_once('/').unwrap();
        Meta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            created: None,
            generation: 1,
            origin: Origin {
                file: Arc::from("test"),
                line: 1,
            },
        }
    }

    #[test]
    fn the_nearest_peer_authentication_that_says_something_decides_a_port() {
        use MtlsMode::{Disable, Permissive, Strict, Unset};
        let labels = |app: &str| Some(BTreeMap::from([("app".to_owned(), app.to_owned())]));
        let object = |reference: &str, selector, mtls, ports: &[(u16, MtlsMode)]| {
            Arc::new(Object {
                meta: meta(reference),
                spec: PeerAuthentication {
                    selector,
                    mtls,
                    port_level_mtls: ports.iter().copied().collect(),
                },
            })
        };
        let mesh = object("root/mesh", None, Strict, &[]);
        let mesh_later = object("root/mesh-later", None, Permissive, &[]);
        let namespace = |mode| object("shop/all", Some(BTreeMap::new()), mode, &[]);
        let workload = |mode| {
            object(
                "shop/web",
                labels("web"),
                mode,
                &[(81, Disable), (82, Unset), (83, Strict)],
            )
        };
        let in_root = object("root/web", labels("web"), Disable, &[(80, Disable)]);
        let stranger = object("shop/api", labels("api"), Disable, &[]);
        let abroad = object("other/all", None, Disable, &[]);
        // (objects, the modes of ports 80 to 83, how many are ignored)
        for (all, expected, ignored) in [
            (vec![], [Permissive; 4], 0),
            (vec![&mesh, &mesh_later, &stranger, &abroad], [Strict; 4], 1),
            (vec![&mesh_later, &mesh], [Permissive; 4], 1),
            (vec![&mesh, &namespace(Unset)], [Strict; 4], 0),
            (vec![&mesh, &namespace(Disable)], [Disable; 4], 0),
            (vec![&in_root], [Permissive; 4], 1),
            (
                vec![&namespace(Strict), &workload(Unset)],
                [Strict, Disable, Strict, Strict],
                0,
            ),
            (
                vec![&mesh, &namespace(Unset), &workload(Permissive), &workload(Strict)],
                [Permissive, Disable, Permissive, Strict],
                1,
            ),
        ] {
            let all: Vec<_> = all.into_iter().cloned().collect();
            let names: Vec<_> = all.iter().map(|object| &object.meta.name).collect();
            let modes = peer_modes(&all, "root", "shop", &labels("web").unwrap());
            assert_eq!([80, 81, 82, 83].map(|port| modes.of(port)), expected, "{names:?}");
            assert_eq!(modes.ignored.len(), ignored, "{names:?}");
        }
    }
}
