//! PeerAuthentication: who may speak to a workload, everybody or members of the mesh.

use std::collections::BTreeMap;

use crate::codes;
use crate::decode::{Field, Fields};

/// `security.istio.io` PeerAuthentication.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PeerAuthentication {
    /// Labels of the workloads; unset or empty: all of the namespace (in the root namespace: of the mesh).
    pub selector: Option<BTreeMap<String, String>>,
    /// `mtls.mode` of all ports.
    pub mtls: MtlsMode,
    /// `portLevelMtls` by port of the workload, not of the Service.
    pub port_level_mtls: BTreeMap<u16, MtlsMode>,
}

/// `mtls.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MtlsMode {
    /// As the next wider scope says.
    #[default]
    Unset,
    /// No mutual TLS is taken off.
    Disable,
    /// Mutual TLS and everything else.
    Permissive,
    /// Mutual TLS alone.
    Strict,
}

impl MtlsMode {
    const WORDS: [(&'static str, Self); 4] = [
        ("UNSET", Self::Unset),
        ("DISABLE", Self::Disable),
        ("PERMISSIVE", Self::Permissive),
        ("STRICT", Self::Strict),
    ];

    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mode = fields.word("mode", &Self::WORDS);
        fields.finish();
        Some(mode.unwrap_or_default())
    }

    /// This mode, or the other where this one leaves it open.
    #[must_use]
    pub fn or(self, wider: Self) -> Self {
        if self == Self::Unset { wider } else { self }
    }
}

impl PeerAuthentication {
    pub(crate) fn read(fields: &mut Fields<'_>, _own: &str) -> Self {
        let selector = fields.selector("selector", "matchLabels");
        let mtls = fields.field("mtls").and_then(|f| MtlsMode::read(&f));
        let mut object = Self {
            selector,
            mtls: mtls.unwrap_or_default(),
            port_level_mtls: BTreeMap::new(),
        };
        if let Some(ports) = fields.field("portLevelMtls") {
            object.port_level_mtls = read_ports(&ports);
            if object.selected().is_none() {
                ports.error(
                    "is set for a whole namespace",
                    "select workloads by `selector.matchLabels`: only they have ports",
                );
            }
        }
        object.tell(&fields.at);
        object
    }

    /// The labels by which workloads are selected; `None` where it is for all of them.
    pub fn selected(&self) -> Option<&BTreeMap<String, String>> {
        self.selector.as_ref().filter(|labels| !labels.is_empty())
    }

    /// Mutual TLS is not served yet: said once per object, with what it means there.
    fn tell(&self, at: &Field<'_>) {
        let strict = self.mtls == MtlsMode::Strict || self.port_level_mtls.values().any(|m| *m == MtlsMode::Strict);
        let (problem, fix) = if strict {
            (
                "mutual TLS is not served yet, so ports under STRICT refuse everybody",
                "use PERMISSIVE where clients have to get through",
            )
        } else {
            ("mutual TLS is not served yet; clients are served in plain text", "")
        };
        at.warn(codes::NO_EFFECT, problem, fix);
    }
}

fn read_ports(field: &Field<'_>) -> BTreeMap<u16, MtlsMode> {
    let entries = field.entries();
    if entries.is_empty() {
        field.error("names no port", "name one, or remove the block");
    }
    let port = |(key, field): (&str, Field<'_>)| {
        let number = key.parse::<u16>().ok().filter(|number| *number > 0);
        if number.is_none() {
            field.error(format!("`{key}` is no port"), "must be a whole number from 1 to 65535");
        }
        Some((number?, MtlsMode::read(&field)?))
    };
    entries.into_iter().filter_map(port).collect()
}
