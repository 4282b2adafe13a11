//! Takes the facts of a decision to the log.

use ottla_groups::Record;
use ottla_records::BatchBuilder;
use ottla_types::{ErrorCode, Millis};

use super::{Active, Shard};
use crate::Durable;

/// Facts are appended in batches of about so many bytes. Kafka's default limit for a batch is twice this.
const BATCH_BYTES: usize = 512 << 10;

/// How far the log went along with a decision.
pub(super) struct Appended {
    /// How many of the facts it took, from the first.
    pub(super) taken: usize,
    /// When those are durable.
    pub(super) durable: Option<Durable>,
    /// Why it did not take the rest.
    pub(super) refusal: Option<ErrorCode>,
}

impl Shard {
    /// Appends facts, a batch after the other, and applies those that were taken. Ends at the first that is refused.
    pub(super) fn append(&self, active: &mut Active, records: &[Record]) -> Appended {
        let (wall, epoch) = (self.world.clock.wall(), self.epoch());
        let (mut durables, mut rest, mut refusal) = (Vec::new(), records, None);
        while !rest.is_empty() {
            let appended = encode(rest, wall).and_then(|(batch, taken)| {
                self.world.log.append(self.partition, epoch, batch).map(|durable| (durable, taken))
            });
            match appended {
                Ok((durable, taken)) => {
                    durables.extend(durable);
                    let (accepted, later) = rest.split_at(taken);
                    active.groups.accept(accepted);
                    rest = later;
                }
                Err(error) => {
                    refusal = Some(error);
                    break;
                }
            }
        }
        Appended { taken: records.len() - rest.len(), durable: all_of(durables), refusal }
    }
}

/// Ends when all have ended, or one has failed.
fn all_of(mut durables: Vec<Durable>) -> Option<Durable> {
    if durables.len() <= 1 {
        return durables.pop();
    }
    Some(Box::pin(async move {
        for durable in durables {
            durable.await?;
        }
        Ok(())
    }))
}

/// As many facts as make a batch, at least one, and how many they are.
fn encode(records: &[Record], wall: Millis) -> Result<(bytes::Bytes, usize), ErrorCode> {
    let mut builder = BatchBuilder::new(0);
    let mut taken = 0;
    for record in records {
        if taken > 0 && builder.size_in_bytes() >= BATCH_BYTES {
            break;
        }
        let (key, value) = record.encode().map_err(|_| ErrorCode::INVALID_REQUEST)?;
        builder.append(wall.0, Some(&key), value.as_deref(), &[]);
        taken += 1;
    }
    Ok((builder.build(), taken))
}
