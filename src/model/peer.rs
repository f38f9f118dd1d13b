//! Who is at the other end of a connection.

use std::sync::Arc;

/// The names in a client certificate that the listener has verified: each URI name as it stands
/// (`spiffe://mesh.example/ns/crm/sa/sender`), each DNS name behind `dns:` (`dns:crm.example`). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// All of them, in the certificate's order: URIs, then DNS names.
    pub names: Arc<[String]>,
}
