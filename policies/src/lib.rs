//! What a user may say: traffic objects, their validation, precedence and defaults.
//!
//! in → out: text of a YAML or JSON file → typed, checked objects and a list of findings.
//! owns: the meaning of every field a user writes, the defaults, the order in which objects win.
//! may not touch: files, sockets, clocks, the environment; Envoy's messages.

pub mod codes;
mod decode;
pub mod defaults;
mod finding;
pub mod kind;
pub mod labels;
pub mod mesh;
mod object;
mod percent;
pub mod precedence;
mod read;
pub mod validate;
pub mod yaml;

pub use finding::{Finding, ObjectRef, Severity};
pub use object::{AnyObject, Meta, Object, Origin};
pub use percent::{Finite, Percent};
pub use read::{read, read_all};
