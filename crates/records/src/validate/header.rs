//! What a client may say in a batch's header.

use super::refusal::Refusal;
use crate::header::BatchHeader;

/// Checks counts, control bit and sequence.
pub(super) fn check(header: &BatchHeader) -> Result<(), Refusal> {
    let count = header.records_count;
    // Kafka counts in 64 bits, so the largest delta does not wrap.
    let from_offsets = i64::from(header.last_offset_delta) + 1;
    if from_offsets <= 0 {
        return Err(Refusal::invalid(format!(
            "a batch cannot end at offset delta {}",
            header.last_offset_delta
        )));
    }
    if count <= 0 {
        return Err(Refusal::invalid(format!("a batch cannot have {count} records")));
    }
    if from_offsets != i64::from(count) {
        return Err(Refusal::invalid(format!("a batch of {from_offsets} offsets announces {count} records")));
    }
    if header.is_control() {
        return Err(Refusal::invalid("clients do not write control batches"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (sequence, id) = (header.base_sequence, header.producer_id);
        return Err(Refusal::invalid(format!("producer id {id} comes with the sequence {sequence}")));
    }
    Ok(())
}
