//! Outlier detection: what ejects an endpoint, what does not, how many may be out, and that they come back.

mod cap;
mod causes;
mod returns;
mod stage;
