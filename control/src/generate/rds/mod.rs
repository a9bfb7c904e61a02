//! in → out: `RouteTableInputs` → `envoy.config.route.v3.RouteConfiguration`.
//! owns: virtual hosts, routes, their matches and actions, as Envoy spells them.
//! may not touch: the world, which rule of which object applies.

mod action;
mod conditions;
mod filters;
mod headers;
mod redirect;
mod retry;
mod route;
mod table;

pub use table::route_table;
