//! Placeholder until the generator's first output needs it.
