//! The service as its callers see it: one binary, one harness, a module a capability.
