//! The README is true.
