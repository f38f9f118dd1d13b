//! The error table: every row of the vendor's reference and every reason, with its details.
