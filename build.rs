//! Compiles the contract with protox, so that a build needs no protoc.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 4] = [
    "blubash/campaigns/v1/audience.proto",
    "blubash/campaigns/v1/campaigns_service.proto",
    "blubash/campaigns/v1/failure.proto",
    "blubash/campaigns/v1/message.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/blubash");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    // With comments and imports, for reflection: what a client prints is what stands in `proto/`.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("contract.binpb"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .codec_path("crate::grpc::codec::SmallCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
