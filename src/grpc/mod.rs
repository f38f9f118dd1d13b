//! THE EDGE: the only place that names tonic, prost and the contract's generated types. A handler parses
//! here, acts below, and renders here.

pub mod auth;
pub mod bounds;
pub mod convert;
pub mod deadline;
pub mod rescue;
pub mod status;
#[cfg(test)]
mod tests;
pub mod tokens;

use crate::{context::Context, error::Error, secret::Secret};

/// What a call carries with it: whose it is and until when it matters.
pub fn context<T>(request: &tonic::Request<T>, secret: &Secret) -> Result<Context, Error> {
    let workspace = auth::workspace(request.metadata(), secret)?;
    let deadline = deadline::deadline(request.metadata(), request.extensions())?;
    Ok(Context { workspace, deadline })
}
