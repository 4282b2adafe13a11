//! ACLs, credentials, quotas, tokens.

/// Kept so that no fact is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {}
