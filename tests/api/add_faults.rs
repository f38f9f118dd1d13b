//! Adding through a broken upstream: what is proven is told, the rest is in doubt, nobody is messaged twice.
