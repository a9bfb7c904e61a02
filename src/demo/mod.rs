//! in → out: the folder of rules → a mesh of child processes, five steps played through it, figures.
//! owns: the order of the play, what each step expects (out of the rule files), what the reader sees of it.
//! may not touch: routing, limits, ejection: it only looks at them from outside, as any client would.

mod admin;
mod book;
mod diagnose;
mod live;
mod load;
mod metrics;
mod page;
mod report;
mod rules;
mod run;
mod stage;
mod steps;
mod view;

pub(crate) use report::Output;
pub(crate) use run::{Settings, run};
