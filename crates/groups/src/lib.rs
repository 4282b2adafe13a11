//! The group coordinator's rules.
