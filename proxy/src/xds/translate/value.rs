use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use weft_proxy_core::Provenance;
use weft_proxy_core::chain::Cidr;
use weft_proxy_core::route::Percentage;
use weft_xds::pb;

use super::error::{At, Outcome, Problem, invalid, unsupported};

/// A duration that may be absent.
pub(super) fn duration(value: Option<&pb::protobuf::Duration>) -> Outcome<Option<Duration>> {
    value
        .map(|value| {
            let whole = u64::try_from(value.seconds).ok();
            let part = u32::try_from(value.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
            match (whole, part) {
                (Some(whole), Some(part)) => Ok(Duration::new(whole, part)),
                _ => Err(invalid(
                    format!("{}.{:09}s", value.seconds, value.nanos),
                    "a duration of at least 0",
                )),
            }
        })
        .transpose()
}

/// A limit in time: absent is the default, zero is none.
pub(super) fn limit(value: Option<&pb::protobuf::Duration>, default: Option<Duration>) -> Outcome<Option<Duration>> {
    Ok(duration(value)?.or(default).filter(|limit| !limit.is_zero()))
}

/// The number in a wrapper.
pub(super) fn number(value: Option<&pb::protobuf::UInt32Value>) -> Option<u32> {
    value.map(|value| value.value)
}

/// The truth in a wrapper, false when absent.
pub(super) fn truth(value: Option<&pb::protobuf::BoolValue>) -> bool {
    value.is_some_and(|value| value.value)
}

/// A share of requests.
pub(super) fn percentage(value: &pb::percent::FractionalPercent) -> Outcome<Percentage> {
    use pb::percent::fractional_percent::DenominatorType;
    let unit = match DenominatorType::try_from(value.denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) => 1,
        Err(_) => return Err(invalid(value.denominator, "a denominator")).at("denominator"),
    };
    Ok(Percentage::from_millionths(value.numerator.saturating_mul(unit)))
}

/// A share of requests with a default; runtime keys have no meaning here.
pub(super) fn runtime_percentage(
    value: Option<&pb::core::RuntimeFractionalPercent>,
    default: Percentage,
) -> Outcome<Percentage> {
    value
        .and_then(|value| value.default_value.as_ref())
        .map_or(Ok(default), percentage)
}

/// A port.
pub(super) fn port(number: u32) -> Outcome<u16> {
    u16::try_from(number).map_err(|_| invalid(number, "a port"))
}

/// An address of an IP.
pub(super) fn socket_address(address: Option<&pb::core::Address>) -> Outcome<SocketAddr> {
    let named = host_port(address)?;
    let ip: IpAddr = named.host.parse().map_err(|_| invalid(&named.host, "an IP address"))?;
    Ok(SocketAddr::new(ip, named.port))
}

/// A name, or an IP, and a port.
pub(super) struct HostPort {
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// An address of a name or an IP.
pub(super) fn host_port(address: Option<&pb::core::Address>) -> Outcome<HostPort> {
    use pb::core::{address, socket_address};
    let address = address
        .and_then(|address| address.address.as_ref())
        .ok_or(Problem::Missing)?;
    let address::Address::SocketAddress(socket) = address else {
        return Err(unsupported("only TCP addresses"));
    };
    if socket.protocol != i32::from(socket_address::Protocol::Tcp) {
        return Err(unsupported("only TCP addresses"));
    }
    let number = match socket.port_specifier {
        Some(socket_address::PortSpecifier::PortValue(number)) => port(number)?,
        Some(socket_address::PortSpecifier::NamedPort(_)) => return Err(unsupported("named ports")),
        None => 0,
    };
    Ok(HostPort {
        host: socket.address.as_str().into(),
        port: number,
    })
}

/// A network.
pub(super) fn cidr(range: &pb::core::CidrRange) -> Outcome<Cidr> {
    let address = range
        .address_prefix
        .parse()
        .map_err(|_| invalid(&range.address_prefix, "an IP address"))?;
    let length = number(range.prefix_len.as_ref()).unwrap_or(0);
    Cidr::new(address, length).map_err(|error| invalid(error, "a network"))
}

/// A section of metadata.
pub(super) fn metadata<'a>(metadata: Option<&'a pb::core::Metadata>, section: &str) -> Option<&'a Fields> {
    metadata?.filter_metadata.get(section).map(|section| &section.fields)
}

/// Fields of a structure.
pub(super) type Fields = HashMap<String, pb::protobuf::Value>;

/// A text in a structure.
pub(super) fn text<'a>(fields: &'a Fields, key: &str) -> Option<&'a str> {
    match fields.get(key)?.kind.as_ref()? {
        pb::protobuf::value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Where a message comes from, as the control plane noted it.
pub(super) fn provenance(source: Option<&pb::core::Metadata>) -> Option<Provenance> {
    let istio = metadata(source, "istio").and_then(|fields| text(fields, "config"));
    let weft = metadata(source, "weft");
    let object = weft.and_then(|fields| text(fields, "object"));
    if object.is_none() && istio.is_none() {
        return None;
    }
    let rule = weft.and_then(|fields| match fields.get("rule")?.kind.as_ref()? {
        // Structures have no integers; a rule's index is small and exact.
        pb::protobuf::value::Kind::NumberValue(number) if *number >= 0.0 => Some(*number as u32),
        _ => None,
    });
    let generation = weft.and_then(|fields| text(fields, "generation"));
    Some(Provenance {
        object: object.or(istio).unwrap_or_default().into(),
        rule,
        generation: generation.unwrap_or_default().into(),
        istio_config: istio.map(Arc::from),
    })
}
