//! in → out: a `RequestHead` and a `RouteTable` → the `Route`, why it matched, and everything that its action says.
//! owns: virtual hosts, matching, rewrites, redirects, the weighted split, header operations, path normalisation.
//! may not touch: clusters beyond their names and slots, connections, clocks.

mod action;
mod bind;
mod format;
mod format_time;
mod hash;
mod head;
mod headers;
mod host;
mod matcher;
mod normalize;
mod pattern;
mod policy;
mod redirect;
mod rewrite;
mod split;
mod string;
mod table;
#[cfg(test)]
mod tests;

pub use action::{
    Action, ClusterChoice, Destination, DirectResponse, Forward, HostRewrite, Route, RouteFilters, Upgrade,
};
pub use bind::{BindError, Bindings, CLUSTER_SLOTS_MAX, ClusterRef};
pub use format::{Format, FormatContext, FormatError};
pub use hash::{HashKeys, KeyedBy};
pub use head::{HeaderKey, RequestHead};
pub use headers::{HeaderLevel, HeaderOp, HeaderOpKind, HeaderOps, HeaderOpsError};
pub use host::{HostError, HostMatch, VirtualHost};
pub use matcher::{HeaderMatch, HeaderTest, PathMatch, QueryMatch, RouteMatch};
pub use normalize::{EscapedSlashes, Normalized, PathError, PathNormalization};
pub use pattern::{Pattern, PatternError, REGEX_SIZE_MAX};
pub use policy::{Cors, Delay, Fault, FaultAbort, HashKey, Mirror, Percentage, RetryOn, RetryPolicy};
pub use redirect::{PathRedirect, Redirect};
pub use rewrite::PathRewrite;
pub use split::{BLOCK, DESTINATIONS_MAX, SplitError, SplitKey, SplitPattern, SplitState, WeightedSplit};
pub use string::{StringMatch, Text};
pub use table::{Found, Miss, RequireTls, RouteTable, Why};
