//! A Fetch response that is gathered, not encoded: records stay where they are, in memory or in a file.

use bytes::{BufMut, BytesMut};
use ottla_net::{Frame, Part};
use ottla_protocol::{EncodeError, messages::TopicName};
use ottla_replica::{AbortedTransaction, EpochEnd, Fetched};
use ottla_types::{ErrorCode, LeaderEpoch, NO_LEADER, NodeId, Offset, TopicId};
use smallvec::SmallVec;

use crate::{api::leaders::LeaderEndpoint, handler::IntoFrame};

/// The answer to a Fetch.
#[derive(Clone, Debug)]
pub(crate) struct FetchReply {
    /// Of the request as a whole.
    pub(crate) error: ErrorCode,
    /// 0 for no session.
    pub(crate) session_id: i32,
    /// Partitions by topic, in order.
    pub(crate) topics: Vec<TopicReply>,
    /// Where the leaders are that partitions name (version 16 on).
    pub(crate) endpoints: Vec<LeaderEndpoint>,
}

/// One topic of the answer.
#[derive(Clone, Debug)]
pub(crate) struct TopicReply {
    /// Its name (before version 13).
    pub(crate) topic: TopicName,
    /// Its id (version 13 on).
    pub(crate) topic_id: TopicId,
    /// Its partitions.
    pub(crate) partitions: Vec<PartitionReply>,
}

/// One partition of the answer. Offsets are -1 where they are not known.
#[derive(Clone, Debug)]
pub(crate) struct PartitionReply {
    /// Its number.
    pub(crate) index: i32,
    /// Its error.
    pub(crate) error: ErrorCode,
    /// High watermark.
    pub(crate) high_watermark: Offset,
    /// Last stable offset.
    pub(crate) last_stable_offset: Offset,
    /// Log start (version 5 on).
    pub(crate) log_start: Offset,
    /// Where histories differ (version 12 on).
    pub(crate) diverging: Option<EpochEnd>,
    /// A snapshot to be fetched instead: where it ends, and its epoch (version 12 on; of the metadata log only).
    pub(crate) snapshot: Option<(Offset, LeaderEpoch)>,
    /// A replica that the reader should read from instead (version 11 on); -1 for none.
    pub(crate) preferred_replica: NodeId,
    /// Who leads instead (version 12 on).
    pub(crate) current_leader: Option<(NodeId, LeaderEpoch)>,
    /// Aborted transactions; `None` when the client did not ask for committed records only.
    pub(crate) aborted: Option<Vec<AbortedTransaction>>,
    /// Whole batches.
    pub(crate) records: SmallVec<[Part; 2]>,
}

impl FetchReply {
    /// The request as a whole is refused.
    #[must_use]
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self { error, session_id: 0, topics: Vec::new(), endpoints: Vec::new() }
    }
}

impl PartitionReply {
    /// What was found, or why nothing could be.
    #[must_use]
    pub(crate) fn of(index: i32, fetched: Result<Fetched, ErrorCode>) -> Self {
        match fetched {
            Ok(fetched) if !fetched.error.is_ok() => Self::empty(index, fetched.error),
            Ok(fetched) => Self {
                index,
                error: fetched.error,
                high_watermark: fetched.view.high_watermark,
                last_stable_offset: fetched.view.last_stable_offset,
                log_start: fetched.view.log_start,
                diverging: fetched.diverging,
                snapshot: None,
                preferred_replica: NO_LEADER,
                current_leader: None,
                aborted: fetched.aborted,
                records: fetched.records,
            },
            Err(error) => Self {
                // As Kafka: an empty list where the partition is not known at all.
                aborted: is_unknown(error).then(Vec::new),
                ..Self::empty(index, error)
            },
        }
    }

    /// No records, and nothing known of offsets.
    #[must_use]
    pub(crate) fn empty(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start: -1,
            diverging: None,
            snapshot: None,
            preferred_replica: NO_LEADER,
            current_leader: None,
            aborted: None,
            records: SmallVec::new(),
        }
    }

    /// Neither an error nor news that the reader must act on before it reads.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        self.error.is_ok() && self.diverging.is_none() && self.snapshot.is_none()
    }
}

/// Nobody knows the partition.
fn is_unknown(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID)
}

/// What the versions differ in.
#[derive(Clone, Copy)]
struct Shape {
    log_start: bool,
    sessions: bool,
    preferred_replica: bool,
    flexible: bool,
    topic_ids: bool,
    endpoints: bool,
}

impl Shape {
    fn of(version: i16) -> Self {
        Self {
            log_start: version >= 5,
            sessions: version >= 7,
            preferred_replica: version >= 11,
            flexible: version >= 12,
            topic_ids: version >= 13,
            endpoints: version >= 16,
        }
    }
}

/// The bytes between records, with the places where records go.
struct Gather {
    shape: Shape,
    out: BytesMut,
    /// (offset in `out`, records that come there)
    records: Vec<(usize, SmallVec<[Part; 2]>)>,
    record_bytes: usize,
}

impl IntoFrame for FetchReply {
    fn into_frame(self, _: i16, version: i16, correlation_id: i32) -> Result<Frame, EncodeError> {
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut gather = Gather {
            shape: Shape::of(version),
            out: BytesMut::with_capacity(64 + 64 * self.topics.len() + 80 * partitions),
            records: Vec::with_capacity(partitions),
            record_bytes: 0,
        };
        gather.response(self, correlation_id);
        gather.into_frame()
    }
}

impl Gather {
    fn response(&mut self, reply: FetchReply, correlation_id: i32) {
        self.out.put_i32(0); // the length, once it is known
        self.out.put_i32(correlation_id);
        self.no_tags();
        self.out.put_i32(0); // throttle time
        if self.shape.sessions {
            self.out.put_i16(reply.error.0);
            self.out.put_i32(reply.session_id);
        }
        self.count(reply.topics.len());
        for topic in reply.topics {
            if self.shape.topic_ids {
                self.out.put_slice(topic.topic_id.0.as_bytes());
            } else {
                self.string(&topic.topic);
            }
            self.count(topic.partitions.len());
            for partition in topic.partitions {
                self.partition(partition);
            }
            self.no_tags();
        }
        if self.shape.endpoints && !reply.endpoints.is_empty() {
            self.endpoints(&reply.endpoints);
        } else {
            self.no_tags();
        }
    }

    fn partition(&mut self, partition: PartitionReply) {
        self.out.put_i32(partition.index);
        self.out.put_i16(partition.error.0);
        self.out.put_i64(partition.high_watermark);
        self.out.put_i64(partition.last_stable_offset);
        if self.shape.log_start {
            self.out.put_i64(partition.log_start);
        }
        match &partition.aborted {
            None => self.null(),
            Some(aborted) => {
                self.count(aborted.len());
                for ended in aborted {
                    self.out.put_i64(ended.producer_id);
                    self.out.put_i64(ended.first_offset);
                    self.no_tags();
                }
            }
        }
        if self.shape.preferred_replica {
            self.out.put_i32(partition.preferred_replica);
        }
        let bytes = partition.records.iter().map(Part::len).sum();
        self.count(bytes);
        if bytes > 0 {
            self.record_bytes += bytes;
            self.records.push((self.out.len(), partition.records));
        }
        if self.shape.flexible {
            let tags = u32::from(partition.diverging.is_some())
                + u32::from(partition.current_leader.is_some())
                + u32::from(partition.snapshot.is_some());
            put_varint(&mut self.out, tags);
            if let Some(end) = partition.diverging {
                self.out.put_slice(&[0, 13]); // tag, size
                self.out.put_i32(end.epoch);
                self.out.put_i64(end.end_offset);
                self.out.put_u8(0);
            }
            if let Some((leader, epoch)) = partition.current_leader {
                self.out.put_slice(&[1, 9]);
                self.out.put_i32(leader);
                self.out.put_i32(epoch);
                self.out.put_u8(0);
            }
            if let Some((end_offset, epoch)) = partition.snapshot {
                self.out.put_slice(&[2, 13]);
                self.out.put_i64(end_offset);
                self.out.put_i32(epoch);
                self.out.put_u8(0);
            }
        }
    }

    fn endpoints(&mut self, endpoints: &[LeaderEndpoint]) {
        let mut inner = BytesMut::new();
        put_varint(&mut inner, endpoints.len() as u32 + 1);
        for endpoint in endpoints {
            inner.put_i32(endpoint.node);
            put_compact(&mut inner, Some(&endpoint.host));
            inner.put_i32(endpoint.port);
            put_compact(&mut inner, endpoint.rack.as_deref());
            inner.put_u8(0);
        }
        self.out.put_slice(&[1, 0]); // one tag, tag 0
        put_varint(&mut self.out, inner.len() as u32);
        self.out.put_slice(&inner);
    }

    fn no_tags(&mut self) {
        if self.shape.flexible {
            self.out.put_u8(0);
        }
    }

    fn null(&mut self) {
        if self.shape.flexible {
            self.out.put_u8(0);
        } else {
            self.out.put_i32(-1);
        }
    }

    /// The length of an array or of records. Larger ones than `i32` are refused at the end, with the frame.
    fn count(&mut self, count: usize) {
        if self.shape.flexible {
            put_varint(&mut self.out, u32::try_from(count).unwrap_or(u32::MAX - 1) + 1);
        } else {
            self.out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    fn string(&mut self, text: &str) {
        if self.shape.flexible {
            put_compact(&mut self.out, Some(text));
        } else {
            // Names come from requests or from the image: 249 bytes at most, or as long as a request could say.
            self.out.put_i16(i16::try_from(text.len()).unwrap_or(0));
            self.out.put_slice(text.as_bytes());
        }
    }

    fn into_frame(mut self) -> Result<Frame, EncodeError> {
        let total = self.out.len() + self.record_bytes;
        let length = i32::try_from(total - 4).map_err(|_| EncodeError::TooLong(total - 4))?;
        self.out[..4].copy_from_slice(&length.to_be_bytes());
        let mut rest = self.out.freeze();
        let mut frame = Frame::default();
        let mut taken = 0;
        for (at, records) in self.records {
            frame.0.push(Part::Bytes(rest.split_to(at - taken)));
            taken = at;
            frame.0.extend(records);
        }
        frame.0.push(Part::Bytes(rest));
        Ok(frame)
    }
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_compact(out: &mut BytesMut, text: Option<&str>) {
    let Some(text) = text else { return out.put_u8(0) };
    put_varint(out, text.len() as u32 + 1);
    out.put_slice(text.as_bytes());
}
