//! What a proxy would do with a call, answered by the real stages without a socket.
//!
//! in → out: a scenario (objects, proxies, calls) → an [`Answer`] for each call, with the objects and rules that decided.
//! owns: the order in which the stages are asked, the result type that `simulate` and `explain` share.
//! may not touch: a decision. Listeners, chains, routes, rewrites and clusters are asked of the control plane's
//! generators, the proxy's translator and its core; nothing here looks at a policy.

mod answer;
mod call;
mod destination;
mod duration;
mod node;
mod report;
mod route;
mod scenario;
mod simulate;

pub use answer::{
    Abort, Answer, Delay, Destination, Details, Fault, HashKey, HeaderChanges, Inbound, LocalReply, Mirror, Outcome,
    Policy, Refusal, Retries, Rewrite, Weighted,
};
pub use report::{CallReport, Report, json};
pub use scenario::{Call, Direction, Protocol, Proxy, ProxyType, Scenario, ScenarioError, Tls};
pub use simulate::{SimulateError, simulate};
