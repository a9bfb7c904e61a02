//! Every decision of the data plane, pure.
