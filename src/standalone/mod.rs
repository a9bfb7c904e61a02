//! in → out: a directory of objects → a control plane in this process and a child process for each gateway.
//! owns: the life of the children, the lines that say what listens where.
//! may not touch: which gateways there are and what they do; requests.

mod child;
mod port;
mod run;

pub(crate) use child::{ChildSettings, ChildState, supervise};
pub(crate) use port::probe;
pub(crate) use run::{Settings, proxy_arguments, run};
