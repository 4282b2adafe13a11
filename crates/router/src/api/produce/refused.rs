//! Which batches were refused a moment ago, so that those behind them are refused alike.
//!
//! A producer has up to five batches of a partition on their way. When one is refused because this broker does not lead
//! yet, or lacks replicas in sync, and the next is taken up when it does, the next one leaves a gap. Kafka says so, with
//! OUT_OF_ORDER_SEQUENCE_NUMBER; librdkafka then ends its producer epoch and sends everything unacknowledged again in a
//! new one, also what a leader had written that resigned before it could acknowledge: those records are in the log twice,
//! and no broker can tell. Refused like the batch before, it is sent again behind that one, in the same epoch.
//!
//! The batch before may as well have been refused by the leader before this one: a client that turns to the new leader
//! the moment the old one's answer is there can send the next batch ahead of the refused one (librdkafka does when its
//! threads for the two brokers meet in that moment). So a leader that has taken nothing of a producer yet refuses the
//! first gap with NOT_LEADER_OR_FOLLOWER, after which clients send everything again in its order.
//!
//! A producer that a partition does not know may begin anywhere (KIP-360), so the batch behind its refused first one
//! would be taken, and the first one be lost while librdkafka counts it as written: what is before an acknowledged batch
//! must be there, it thinks. That is a gap, too, as long as a refusal can explain it.
//!
//! A gap that no refusal can explain, or one told a second time, is answered as it is: something is lost, and the
//! client must know. A producer that is not known is then taken at its word.

use std::collections::HashMap;

use ottla_partition::next_sequence;
use ottla_records::BatchHeader;
use ottla_types::{
    ErrorCode, LeaderEpoch, Millis, NO_PRODUCER_ID, ProducerEpoch, ProducerId, Sequence, TopicId,
};
use parking_lot::Mutex;

/// So many producers of partitions are remembered. When there are more, what is new is answered as Kafka answers it.
const MOST: usize = 4096;
/// Who was refused comes again well within this, if at all; in milliseconds.
const RECENT_MS: i64 = 60_000;
/// No topic has a longer name; what is not remembered of other names costs nobody anything.
const LONGEST_NAME: usize = 249;

/// One producer's batches for one partition on one connection: what is in flight there comes in order. The topic is named
/// as the request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) connection: u64,
    pub(super) topic: (TopicId, Box<str>),
    pub(super) partition: i32,
}

/// The last refusal of a producer's batch.
#[derive(Clone, Copy, Debug)]
struct Last {
    epoch: ProducerEpoch,
    /// What the batch behind it begins with.
    next: Sequence,
    code: ErrorCode,
    /// The leader epoch in which a gap was put down to the leader before: once in each.
    excused: Option<LeaderEpoch>,
    at: Millis,
}

/// The refusals that are remembered, of all connections.
#[derive(Debug, Default)]
pub(super) struct Refused {
    last: Mutex<HashMap<(Lane, ProducerId), Last>>,
}

impl Refused {
    /// What a batch is answered `now` that is refused with `code` by a leader that has taken nothing of the producer in
    /// its epoch `inherited`.
    pub(super) fn answer(
        &self,
        now: Millis,
        lane: impl FnOnce() -> Lane,
        batch: Option<&[u8]>,
        code: ErrorCode,
        inherited: Option<LeaderEpoch>,
    ) -> ErrorCode {
        let gap = matches!(code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID);
        if !gap && !passes(code) {
            return code;
        }
        let Some(header) = batch.and_then(|batch| BatchHeader::parse(batch).ok()) else { return code };
        if header.producer_id == NO_PRODUCER_ID || header.base_sequence < 0 || header.records_count < 1 {
            return code;
        }
        let next = next_sequence(header.base_sequence, header.records_count);
        let (epoch, key) = (header.producer_epoch, (lane(), header.producer_id));
        if key.0.topic.1.len() > LONGEST_NAME {
            return code;
        }
        let mut last = self.last.lock();
        let before = last.get(&key).filter(|before| before.epoch == epoch).copied();
        let (answer, excused) = match before {
            _ if !gap => (code, before.and_then(|before| before.excused)),
            Some(before) if before.next == header.base_sequence => (before.code, before.excused),
            _ if inherited.is_some() && before.and_then(|before| before.excused) != inherited => {
                (ErrorCode::NOT_LEADER_OR_FOLLOWER, inherited)
            }
            _ => return code,
        };
        if last.len() >= MOST && !last.contains_key(&key) {
            last.retain(|_, old| now.since(old.at) < RECENT_MS);
            if last.len() >= MOST {
                // An excuse that is not remembered would be made again and again.
                return code;
            }
        }
        last.insert(key, Last { epoch, next, code: answer, excused, at: now });
        answer
    }
}

/// Refusals after which a client sends the same batch again, with the same sequence.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::KAFKA_STORAGE_ERROR
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_records::{BatchBuilder, Producer};

    use super::*;

    const GAP: ErrorCode = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
    const NOT_LEADER: ErrorCode = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    const NOW: Millis = Millis(1_000);

    fn lane(connection: u64, partition: i32) -> Lane {
        Lane { connection, topic: (TopicId::ZERO, "t".into()), partition }
    }

    fn batch(id: i64, epoch: i16, base_sequence: i32, records: usize) -> Bytes {
        let mut builder = BatchBuilder::new(0).producer(Producer { id, epoch, base_sequence });
        for _ in 0..records {
            builder.append(0, None, Some(b"value"), &[]);
        }
        builder.build()
    }

    /// The answer to a batch of producer 7 on connection 1.
    fn tell(refused: &Refused, (epoch, sequence): (i16, i32), records: usize, code: ErrorCode) -> ErrorCode {
        refused.answer(NOW, || lane(1, 0), Some(&batch(7, epoch, sequence, records)), code, None)
    }

    /// The answer to a gap that a leader sees in its epoch `term`, before it has taken anything of the producer.
    fn new_leader(refused: &Refused, connection: u64, sequence: i32, term: i32) -> ErrorCode {
        refused.answer(NOW, || lane(connection, 0), Some(&batch(7, 0, sequence, 1)), GAP, Some(term))
    }

    #[test]
    fn what_is_behind_a_refused_batch_is_refused_alike() {
        for code in [NOT_LEADER, ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::KAFKA_STORAGE_ERROR] {
            let refused = Refused::default();
            assert_eq!(tell(&refused, (0, 5), 3, code), code);
            assert_eq!(tell(&refused, (0, 8), 2, GAP), code);
            assert_eq!(tell(&refused, (0, 10), 1, GAP), code, "and what is behind that");
            assert_eq!(tell(&refused, (0, 10), 1, GAP), GAP, "but nothing twice");
        }
    }

    #[test]
    fn a_gap_that_no_refusal_explains_is_told() {
        let refused = Refused::default();
        assert_eq!(tell(&refused, (0, 5), 1, GAP), GAP);
        assert_eq!(tell(&refused, (0, 5), 1, NOT_LEADER), NOT_LEADER);
        assert_eq!(tell(&refused, (0, 7), 1, GAP), GAP, "another batch is missing");
        assert_eq!(tell(&refused, (1, 6), 1, GAP), GAP, "another epoch");
        let of = |connection, partition, id| {
            refused.answer(NOW, || lane(connection, partition), Some(&batch(id, 0, 6, 1)), GAP, None)
        };
        assert_eq!([of(2, 0, 7), of(1, 1, 7), of(1, 0, 8)], [GAP; 3]);
        assert_eq!(of(1, 0, 7), NOT_LEADER);
    }

    #[test]
    fn a_new_leader_puts_the_first_gap_down_to_the_one_before() {
        let refused = Refused::default();
        assert_eq!(new_leader(&refused, 1, 8, 3), NOT_LEADER);
        assert_eq!(new_leader(&refused, 1, 9, 3), NOT_LEADER, "and what is behind it");
        assert_eq!(tell(&refused, (0, 8), 1, GAP), GAP, "not when it has taken something");
        assert_eq!(new_leader(&refused, 1, 8, 3), GAP, "nor again, or what is lost would never be told");
        assert_eq!(tell(&refused, (0, 8), 1, ErrorCode::NOT_ENOUGH_REPLICAS), ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(new_leader(&refused, 1, 8, 3), GAP, "whatever else was refused meanwhile");
        assert_eq!(new_leader(&refused, 1, 8, 5), NOT_LEADER, "but in another term");
        assert_eq!(new_leader(&refused, 2, 8, 3), NOT_LEADER, "and to another client");
    }

    #[test]
    fn the_first_batch_of_a_producer_that_is_not_known_may_be_on_its_way() {
        let unknown = ErrorCode::UNKNOWN_PRODUCER_ID;
        let refused = Refused::default();
        assert_eq!(tell(&refused, (0, 5), 1, unknown), unknown, "nothing explains it");
        assert_eq!(tell(&refused, (0, 0), 5, ErrorCode::NOT_ENOUGH_REPLICAS), ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(tell(&refused, (0, 5), 1, unknown), ErrorCode::NOT_ENOUGH_REPLICAS);
        let ahead =
            |sequence| refused.answer(NOW, || lane(2, 0), Some(&batch(7, 0, sequence, 1)), unknown, Some(3));
        assert_eq!([ahead(5), ahead(6)], [NOT_LEADER; 2]);
        assert_eq!(ahead(5), unknown, "told again, it is taken");
    }

    #[test]
    fn a_refusal_for_good_explains_nothing() {
        for code in
            [ErrorCode::MESSAGE_TOO_LARGE, ErrorCode::INVALID_RECORD, ErrorCode::INVALID_PRODUCER_EPOCH]
        {
            let refused = Refused::default();
            assert_eq!(tell(&refused, (0, 5), 1, code), code);
            assert_eq!(tell(&refused, (0, 6), 1, GAP), GAP);
        }
    }

    #[test]
    fn sequences_wrap() {
        let refused = Refused::default();
        tell(&refused, (0, i32::MAX - 1), 2, NOT_LEADER);
        assert_eq!(tell(&refused, (0, 0), 1, GAP), NOT_LEADER);
    }

    #[test]
    fn what_is_no_batch_of_an_idempotent_producer_is_left_alone() {
        let refused = Refused::default();
        let plain = batch(-1, -1, -1, 1);
        for batch in [None, Some(&b"short"[..]), Some(&plain[..])] {
            assert_eq!(refused.answer(NOW, || lane(1, 0), batch, NOT_LEADER, None), NOT_LEADER);
            assert_eq!(refused.answer(NOW, || lane(1, 0), batch, GAP, Some(1)), GAP);
        }
        assert!(refused.last.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let refused = Refused::default();
        let fill = |now| {
            for connection in 0..2 * MOST as u64 + 10 {
                let told =
                    refused.answer(now, || lane(connection, 0), Some(&batch(7, 0, 5, 1)), GAP, Some(1));
                let excused = connection < MOST as u64;
                assert_eq!(told, if excused { NOT_LEADER } else { GAP }, "not what cannot be remembered");
            }
            assert_eq!(refused.last.lock().len(), MOST);
        };
        fill(NOW);
        assert_eq!(new_leader(&refused, 1, 5, 1), GAP, "who comes again is known, however many came since");
        refused.last.lock().clear();
        fill(NOW);
        // A minute later all of them are gone, and there is room.
        let later = NOW.plus(RECENT_MS);
        let new = || lane(u64::MAX, 0);
        assert_eq!(refused.answer(later, new, Some(&batch(7, 0, 5, 1)), GAP, Some(1)), NOT_LEADER);
        assert_eq!(refused.last.lock().len(), 1);
        let long = Lane { topic: (TopicId::ZERO, "t".repeat(LONGEST_NAME + 1).into()), ..lane(0, 0) };
        refused.answer(NOW, || long.clone(), Some(&batch(7, 0, 0, 1)), NOT_LEADER, None);
        assert_eq!(refused.answer(NOW, || long, Some(&batch(7, 0, 1, 1)), GAP, Some(1)), GAP);
    }
}
