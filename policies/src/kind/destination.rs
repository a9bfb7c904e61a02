//! Where traffic goes: a host of the service registry.

use crate::codes;
use crate::decode::Field;
use crate::validate;

/// A service, optionally one subset and one port of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Destination {
    /// Host as written; a short name belongs to the namespace of the object (`precedence::expand_host`).
    pub host: String,
    /// Subset of the effective DestinationRule.
    pub subset: Option<String>,
    /// Service port number.
    pub port: Option<u32>,
    /// Old YAML: `port.name`, to be resolved against the ports of the service. Only set where `port` is not.
    pub port_name: Option<String>,
}

impl Destination {
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let host = fields.required("host", "name the service that gets the traffic")?;
        let host = host
            .check(validate::destination_host(host.text()?))
            .and_then(|()| host.text());
        let subset = fields.field("subset").and_then(|f| {
            let name = f.text().filter(|name| !name.is_empty())?;
            f.check(validate::dns_label(name)).map(|()| name.to_owned())
        });
        let (mut port, mut port_name) = (None, None);
        if let Some(field) = fields.field("port")
            && let Some(mut selector) = field.fields()
        {
            port = selector
                .field("number")
                .and_then(|f| f.u32(0..=65_535))
                .filter(|n| *n > 0);
            if let Some(name) = selector.old("name") {
                port_name = name.text().map(str::to_owned).filter(|_| port.is_none());
                name.warn(
                    codes::OLD_FIELD,
                    "is a field of old Istio; the port is looked up by its name in the Service",
                    "write `number`",
                );
            }
            selector.finish();
        }
        fields.finish();
        Some(Self {
            host: host.unwrap_or_default().to_owned(),
            subset,
            port,
            port_name,
        })
    }
}
