//! Compiles the contract's client with protox, as the service's own build does.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto/blubash");
    let contract = protox::compile(["blubash/campaigns/v1/campaigns_service.proto"], ["../../proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(contract)?;
    Ok(())
}
