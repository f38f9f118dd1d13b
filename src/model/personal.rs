//! Values about a person: they go upstream, and nowhere else.

use std::{fmt, ops::Deref};

use serde::{Serialize, Serializer};

/// A value about a person. It serializes as itself; its `Debug` says only that it is there, so that
/// no log line can hold it by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Personal<T>(pub T);

impl<T> Deref for Personal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
