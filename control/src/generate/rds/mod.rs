//! in → out: `RouteTableInputs` → `envoy.config.route.v3.RouteConfiguration`.
//! owns: virtual hosts, routes, their matches and actions, as Envoy spells them.
//! may not touch: the world, which rule of which object applies.

mod action;
mod application;
mod conditions;
mod filters;
mod headers;
mod redirect;
mod retry;
mod route;
mod table;

pub(in crate::generate) use application::application_table;
pub use table::route_table;
