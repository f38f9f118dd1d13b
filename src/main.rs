//! blubash-grpc: the gRPC face of the BluBash Campaigns API.

fn main() {}
