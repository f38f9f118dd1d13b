//! Bad input never changes the upstream's route, never panics, never hangs.
