//! The edge as a gRPC library sees it: reflection, health, compression, deadlines, raw frames.
