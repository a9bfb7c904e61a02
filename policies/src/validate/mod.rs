//! in → out: one value as a user wrote it → fine, or what is wrong and what would be right.
//! owns: the syntax of hosts, names, addresses, expressions and header values.
//! may not touch: documents, findings, objects.

mod addresses;
mod expressions;
mod headers;
mod hosts;
mod names;

pub use expressions::{REGEX_CHARS_MAX, REGEX_COMPILED_BYTES_MAX, REGEX_REPEAT_MAX, compile};
pub use headers::KNOWN_OPERATORS;

pub(crate) use addresses::{bind, ip, ip_or_cidr};
pub(crate) use expressions::regex;
pub(crate) use headers::{HeaderSide, header_name, header_value, line, operator_unknown, settable_name};
pub(crate) use hosts::{destination_host, fqdn, gateway_host, wildcard_host};
pub(crate) use names::{dns_label, export_to, gateway_reference, selector};
