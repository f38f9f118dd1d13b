//! What the binaries that prove the promises share: the caller's verbs, and the truth that answers are held
//! against.

pub(crate) mod calls;
pub(crate) mod seeds;
pub(crate) mod truth;
pub(crate) mod wire;
