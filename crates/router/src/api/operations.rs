//! The operations a caller may do, as the bit fields of KIP-430.
//!
//! Without an authorizer everybody may do all that a resource of the type knows.

/// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(crate) const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub(crate) const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(crate) const GROUP: i32 = bits(&[3, 6, 8, 10, 11]);
/// The field when nobody asked for it.
pub(crate) const OMITTED: i32 = i32::MIN;

const fn bits(operations: &[u32]) -> i32 {
    let (mut field, mut i) = (0, 0);
    while i < operations.len() {
        field |= 1 << operations[i];
        i += 1;
    }
    field
}
