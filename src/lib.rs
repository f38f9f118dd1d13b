//! blubash-grpc: the gRPC face of the BluBash Campaigns API.

#[allow(missing_docs)]
pub mod pb {
    //! The contract's generated types. Only the edge (`grpc/`) names them.
    tonic::include_proto!("blubash.campaigns.v1");
}
