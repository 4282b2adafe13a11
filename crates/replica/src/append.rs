//! Appending: validate, take the lock, decide, one write, publish, say what the acknowledgement waits for.

use std::sync::Arc;

use bytes::Bytes;
use ottla_partition::{Admitted, BatchFacts, Effects, Origin, Role, TransactionEnd};
use ottla_records::{
    Batch, ProduceRules, Validated, check_produce,
    validate::{self, Refusal},
};
use ottla_storage::{Log, Pin};
use ottla_types::{ErrorCode, LeaderEpoch, Millis, Offset};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{
    AckFsync, Replica, ReplicaManager, Ticket, TopicSettings, aside,
    dirs::Dir,
    replica::{Owned, Woken},
    ticket::Pending,
};

/// Most bytes that one batch may decompress to while it is checked.
const MAX_UNCOMPRESSED: u64 = 1 << 30;

/// Batches seldom decompress to more than so many times their length.
const USUAL_RATIO: u64 = 16;

/// How a batch is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct AppendOptions<'a> {
    /// -1: every in-sync replica; 1: this one; 0: nobody asks.
    pub acks: i16,
    /// Who appends.
    pub origin: Origin,
    /// Version of the Produce request; the newest for coordinators.
    pub version: i16,
    /// The frame that the records are a slice of, when they are.
    pub frame: Option<&'a FrameRef>,
    /// The leader epoch in which it was decided to append this, where that counts: in another one it is refused.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl AppendOptions<'_> {
    /// What a coordinator of this broker uses that loaded its partition in `epoch`: acks=all.
    #[must_use]
    pub const fn coordinator(epoch: LeaderEpoch) -> AppendOptions<'static> {
        let origin = Origin::Coordinator;
        AppendOptions { acks: -1, origin, version: 13, frame: None, leader_epoch: Some(epoch) }
    }
}

/// The buffer that the records of one request are slices of: what the tail cache keeps in memory by keeping one of
/// them. Made once per request, for all its partitions.
#[derive(Debug)]
pub struct FrameRef {
    bytes: usize,
    /// One per log dir that got some of it, by the dir's number.
    pins: Mutex<SmallVec<[(usize, Pin); 1]>>,
}

impl FrameRef {
    pub(crate) fn pin(&self, dir: &Dir) -> Pin {
        let mut pins = self.pins.lock();
        if let Some((_, pin)) = pins.iter().find(|(number, _)| *number == dir.number) {
            return pin.clone();
        }
        let pin = dir.dir.pin(self.bytes);
        pins.push((dir.number, pin.clone()));
        pin
    }
}

/// What became of a batch that is in the log now, or was already.
#[derive(Debug)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// `log_append_time_ms` of the response: -1 for CreateTime; for a duplicate its largest timestamp, as Kafka says.
    pub log_append_time: i64,
    /// First offset of the log.
    pub log_start: Offset,
    /// When it may be acknowledged.
    pub ticket: Ticket,
}

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRefusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What is wrong with the batch, when it is its records.
    pub message: Option<String>,
    /// Which records are at fault (KIP-467): index in the batch, message.
    pub record_errors: Vec<(i32, Option<String>)>,
    /// First offset of the log; -1 when the batch never got that far.
    pub log_start: Offset,
    /// The leader's epoch, if it has taken nothing of the producer in it ([`ottla_partition::Partition::inherited`]).
    pub inherited: Option<LeaderEpoch>,
}

impl ProduceRefusal {
    /// A code and nothing more.
    #[must_use]
    pub fn code(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new(), log_start: -1, inherited: None }
    }

    fn of_batch(refusal: Refusal, log_start: Offset) -> Self {
        let early = matches!(refusal.code, ErrorCode::CORRUPT_MESSAGE | ErrorCode::MESSAGE_TOO_LARGE);
        Self {
            code: refusal.code,
            message: (!refusal.message.is_empty()).then_some(refusal.message),
            record_errors: refusal.record_errors,
            log_start: if early { -1 } else { log_start },
            inherited: None,
        }
    }
}

impl ReplicaManager {
    /// A frame of `bytes` whose records will be appended.
    #[must_use]
    pub fn frame(&self, bytes: usize) -> FrameRef {
        FrameRef { bytes, pins: Mutex::default() }
    }

    /// Appends one batch. When this returns the batch has left the process and consumers may see it (where this
    /// broker is alone in sync); the [`Ticket`] says when acks=all may be answered.
    ///
    /// # Errors
    /// The refusal, with Kafka's code. Nothing was written then.
    pub fn append(
        &self,
        replica: &Arc<Replica>,
        records: &Bytes,
        options: &AppendOptions<'_>,
    ) -> Result<Appended, ProduceRefusal> {
        let settings = replica.settings.load();
        let wall = self.clock.wall();
        let validated = check(records, rules(replica, &settings, options, wall))
            .map_err(|refusal| ProduceRefusal::of_batch(refusal, replica.view().log_start))?;
        let end = if validated.header().is_control() { transaction_end(&validated.batch) } else { None };
        let mut facts = BatchFacts::from(validated.header());
        if replica.place().dir.is_offline() {
            return Err(ProduceRefusal::code(ErrorCode::KAFKA_STORAGE_ERROR));
        }
        let now = self.clock.ticks();
        let (appended, woken) = replica.with(|owned| {
            if options.leader_epoch.is_some_and(|epoch| owned.partition.role() != Role::Leader(epoch)) {
                return Err(ProduceRefusal::code(ErrorCode::NOT_LEADER_OR_FOLLOWER));
            }
            let admitted = owned.partition.admit(&facts, options.origin, options.acks == -1);
            let admitted = admitted.map_err(|refusal| ProduceRefusal {
                log_start: owned.partition.log_start(),
                inherited: owned.partition.inherited(facts.producer_id),
                ..ProduceRefusal::code(refusal.code())
            })?;
            match admitted {
                Admitted::Append { base_offset, leader_epoch } => {
                    facts.base_offset = base_offset;
                    facts.last_offset += base_offset - validated.header().base_offset;
                    let log = owned.log.as_mut();
                    let log = log.ok_or(ProduceRefusal::code(ErrorCode::NOT_LEADER_OR_FOLLOWER))?;
                    write(replica, log, &validated, (base_offset, leader_epoch), options)?;
                    owned.unseen_bytes += validated.batch.bytes.len();
                    owned.unsent_bytes += validated.batch.bytes.len();
                    let mut effects = Effects::default();
                    owned.partition.appended((now, wall), &facts, end, &mut effects);
                    let woken = replica.publish(owned, &effects);
                    self.flush_if_due(replica, owned, &settings, facts.last_offset - base_offset + 1, now);
                    let appended =
                        self.appended(replica, owned, &facts, validated.log_append_time, options.acks);
                    Ok::<_, ProduceRefusal>((appended, woken))
                }
                Admitted::Duplicate { base_offset, last_offset, timestamp } => {
                    let facts = BatchFacts { base_offset, last_offset, ..facts };
                    let appended = self.appended(replica, owned, &facts, timestamp.0, options.acks);
                    Ok((appended, Woken::default()))
                }
            }
        })?;
        replica.wake(woken);
        self.upkeep.appended(validated.batch.bytes.len(), &self.options);
        Ok(appended)
    }

    /// A ticket for all that is in the log of a partition led here since `epoch`. When it is good, whoever leads next
    /// has it, too: until then a new leader cannot tell which of its last records will stay.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when this broker does not lead it in that epoch.
    pub fn settle(&self, replica: &Arc<Replica>, epoch: LeaderEpoch) -> Result<Ticket, ErrorCode> {
        replica.with(|owned| {
            if owned.partition.role() != Role::Leader(epoch) {
                return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
            let end = owned.partition.log_end();
            Ok(ticket(replica, owned, end))
        })
    }

    fn appended(
        &self,
        replica: &Arc<Replica>,
        owned: &mut Owned,
        facts: &BatchFacts,
        log_append_time: i64,
        acks: i16,
    ) -> Appended {
        Appended {
            base_offset: facts.base_offset,
            last_offset: facts.last_offset,
            log_append_time,
            log_start: owned.partition.log_start(),
            ticket: if acks == -1 { ticket(replica, owned, facts.last_offset + 1) } else { Ticket::DONE },
        }
    }

    /// `flush.messages` and `flush.ms`, as Kafka has them: records that may be unsynced, and for how long.
    pub(crate) fn flush_if_due(
        &self,
        replica: &Arc<Replica>,
        owned: &mut Owned,
        settings: &TopicSettings,
        records: i64,
        now: Millis,
    ) {
        owned.unflushed += records;
        if owned.unflushed >= settings.flush_messages {
            owned.unflushed = 0;
            if let Some(log) = &mut owned.log
                && let Err(fault) = log.flush()
            {
                replica.place().dir.fail(&fault);
            }
        } else if settings.flush_ms != i64::MAX {
            self.upkeep.plan_flush(replica, now.plus(settings.flush_ms));
        }
    }
}

/// Checks a batch here when that takes no longer than its length lets one expect, and [`aside`] otherwise.
fn check(records: &Bytes, rules: ProduceRules<'_>) -> Result<Validated, Refusal> {
    let expected = (records.len() as u64).saturating_mul(USUAL_RATIO).saturating_add(4096);
    if expected >= rules.max_uncompressed_bytes {
        return aside(|| check_produce(records, &rules));
    }
    let quick = ProduceRules { max_uncompressed_bytes: expected, ..rules };
    match check_produce(records, &quick) {
        Err(refusal) if refusal.code == ErrorCode::MESSAGE_TOO_LARGE => {
            let rules = ProduceRules { max_uncompressed_bytes: rules.max_uncompressed_bytes, ..quick };
            aside(|| check_produce(records, &rules))
        }
        checked => checked,
    }
}

fn write(
    replica: &Replica,
    log: &mut Log,
    validated: &Validated,
    (base_offset, leader_epoch): (Offset, i32),
    options: &AppendOptions<'_>,
) -> Result<(), ProduceRefusal> {
    let stamped = [validated.stamp(base_offset, leader_epoch)];
    let written = match options.frame {
        Some(frame) if !validated.recompressed => {
            log.append_pinned(&stamped, &frame.pin(&replica.place().dir))
        }
        _ => log.append(&stamped),
    };
    written.map(drop).map_err(|fault| {
        replica.place().dir.fail(&fault);
        ProduceRefusal::code(ErrorCode::KAFKA_STORAGE_ERROR)
    })
}

/// What acks=all of everything before `end` waits for.
fn ticket(replica: &Arc<Replica>, owned: &mut Owned, end: Offset) -> Ticket {
    let replicated = owned.partition.high_watermark() >= end;
    let sync = match replica.place().dir.acks_all_fsync {
        AckFsync::Alone => replicated && owned.partition.is_alone(),
        AckFsync::Always => true,
        AckFsync::Never => false,
    };
    let sync = sync && replica.place().reader.recovery_point() < end;
    let steps = u8::from(!replicated) + u8::from(sync);
    if steps == 0 {
        return Ticket::DONE;
    }
    let pending = Pending::new(steps);
    if !replicated {
        let at = owned.waiting.partition_point(|(waits_for, _)| *waits_for <= end);
        owned.waiting.insert(at, (end, Arc::clone(&pending)));
    }
    if sync {
        replica.place().dir.syncer.sync(Arc::clone(&replica.place().reader), end, Arc::clone(&pending));
    }
    Ticket(Some(pending))
}

fn rules<'a>(
    replica: &'a Replica,
    settings: &TopicSettings,
    options: &AppendOptions<'_>,
    now: Millis,
) -> ProduceRules<'a> {
    ProduceRules {
        origin: match options.origin {
            Origin::Client | Origin::ClientFromZero => validate::Origin::Client,
            Origin::Coordinator | Origin::Replication => validate::Origin::Coordinator,
        },
        max_message_bytes: settings.max_message_bytes,
        compacted: settings.compacted,
        timestamp_type: settings.timestamp_type,
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
        compression: settings.compression,
        max_uncompressed_bytes: MAX_UNCOMPRESSED,
        ..ProduceRules::new(&replica.name, options.version, now)
    }
}

/// Reads the end of a transaction out of its control batch: key `i16` version, `i16` type; value `i16` version,
/// `i32` coordinator epoch. `None` for control records of other kinds.
pub(crate) fn transaction_end(batch: &Batch) -> Option<TransactionEnd> {
    use ottla_partition::Marker;
    let mut records = batch.records().ok()?;
    let record = records.try_next().ok()??;
    let key: &[u8; 4] = record.key?.first_chunk()?;
    let marker = match i16::from_be_bytes([key[2], key[3]]) {
        0 => Marker::Abort,
        1 => Marker::Commit,
        _ => return None,
    };
    let value: &[u8; 6] = record.value?.first_chunk()?;
    Some(TransactionEnd {
        marker,
        coordinator_epoch: i32::from_be_bytes([value[2], value[3], value[4], value[5]]),
    })
}
