//! blubash-grpc: the gRPC face of the BluBash Campaigns API.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    blubash_grpc::cli::run()
}
