//! blubash-grpc: the gRPC face of the BluBash Campaigns API.

pub mod campaigns;
pub mod clock;
pub mod context;
pub mod error;
pub mod model;
pub mod upstream;

#[allow(missing_docs)]
pub mod pb {
    //! The contract's generated types. Only the edge (`grpc/`) names them.
    tonic::include_proto!("blubash.campaigns.v1");
}
