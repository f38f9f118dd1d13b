//! Cancelling: safe to repeat, and true about what the message is now.
