//! in → out: arguments of a verb → calls of the packages, and their answers in print.
//! owns: the text of the command line.
//! may not touch: decisions.

pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod demo_app;
pub(crate) mod load;
pub(crate) mod parent;
pub(crate) mod proxy;
pub(crate) mod simulate;
pub(crate) mod standalone;
