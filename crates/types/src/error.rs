//! Kafka's error codes, and the refusal that carries one.

use std::{borrow::Cow, fmt};

/// A Kafka error code. A newtype, so that codes of newer versions survive a round trip.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// Kafka's `UNKNOWN_SERVER_ERROR`.
    pub const UNKNOWN_SERVER_ERROR: Self = Self(-1);
    /// Kafka's `NONE`.
    pub const NONE: Self = Self(0);
    /// Kafka's `OFFSET_OUT_OF_RANGE`.
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1);
    /// Kafka's `CORRUPT_MESSAGE`.
    pub const CORRUPT_MESSAGE: Self = Self(2);
    /// Kafka's `UNKNOWN_TOPIC_OR_PARTITION`.
    pub const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    /// Kafka's `INVALID_FETCH_SIZE`.
    pub const INVALID_FETCH_SIZE: Self = Self(4);
    /// Kafka's `LEADER_NOT_AVAILABLE`.
    pub const LEADER_NOT_AVAILABLE: Self = Self(5);
    /// Kafka's `NOT_LEADER_OR_FOLLOWER`.
    pub const NOT_LEADER_OR_FOLLOWER: Self = Self(6);
    /// Kafka's `REQUEST_TIMED_OUT`.
    pub const REQUEST_TIMED_OUT: Self = Self(7);
    /// Kafka's `BROKER_NOT_AVAILABLE`.
    pub const BROKER_NOT_AVAILABLE: Self = Self(8);
    /// Kafka's `REPLICA_NOT_AVAILABLE`.
    pub const REPLICA_NOT_AVAILABLE: Self = Self(9);
    /// Kafka's `MESSAGE_TOO_LARGE`.
    pub const MESSAGE_TOO_LARGE: Self = Self(10);
    /// Kafka's `STALE_CONTROLLER_EPOCH`.
    pub const STALE_CONTROLLER_EPOCH: Self = Self(11);
    /// Kafka's `OFFSET_METADATA_TOO_LARGE`.
    pub const OFFSET_METADATA_TOO_LARGE: Self = Self(12);
    /// Kafka's `NETWORK_EXCEPTION`.
    pub const NETWORK_EXCEPTION: Self = Self(13);
    /// Kafka's `COORDINATOR_LOAD_IN_PROGRESS`.
    pub const COORDINATOR_LOAD_IN_PROGRESS: Self = Self(14);
    /// Kafka's `COORDINATOR_NOT_AVAILABLE`.
    pub const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    /// Kafka's `NOT_COORDINATOR`.
    pub const NOT_COORDINATOR: Self = Self(16);
    /// Kafka's `INVALID_TOPIC_EXCEPTION`.
    pub const INVALID_TOPIC_EXCEPTION: Self = Self(17);
    /// Kafka's `RECORD_LIST_TOO_LARGE`.
    pub const RECORD_LIST_TOO_LARGE: Self = Self(18);
    /// Kafka's `NOT_ENOUGH_REPLICAS`.
    pub const NOT_ENOUGH_REPLICAS: Self = Self(19);
    /// Kafka's `NOT_ENOUGH_REPLICAS_AFTER_APPEND`.
    pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: Self = Self(20);
    /// Kafka's `INVALID_REQUIRED_ACKS`.
    pub const INVALID_REQUIRED_ACKS: Self = Self(21);
    /// Kafka's `ILLEGAL_GENERATION`.
    pub const ILLEGAL_GENERATION: Self = Self(22);
    /// Kafka's `INCONSISTENT_GROUP_PROTOCOL`.
    pub const INCONSISTENT_GROUP_PROTOCOL: Self = Self(23);
    /// Kafka's `INVALID_GROUP_ID`.
    pub const INVALID_GROUP_ID: Self = Self(24);
    /// Kafka's `UNKNOWN_MEMBER_ID`.
    pub const UNKNOWN_MEMBER_ID: Self = Self(25);
    /// Kafka's `INVALID_SESSION_TIMEOUT`.
    pub const INVALID_SESSION_TIMEOUT: Self = Self(26);
    /// Kafka's `REBALANCE_IN_PROGRESS`.
    pub const REBALANCE_IN_PROGRESS: Self = Self(27);
    /// Kafka's `INVALID_COMMIT_OFFSET_SIZE`.
    pub const INVALID_COMMIT_OFFSET_SIZE: Self = Self(28);
    /// Kafka's `TOPIC_AUTHORIZATION_FAILED`.
    pub const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    /// Kafka's `GROUP_AUTHORIZATION_FAILED`.
    pub const GROUP_AUTHORIZATION_FAILED: Self = Self(30);
    /// Kafka's `CLUSTER_AUTHORIZATION_FAILED`.
    pub const CLUSTER_AUTHORIZATION_FAILED: Self = Self(31);
    /// Kafka's `INVALID_TIMESTAMP`.
    pub const INVALID_TIMESTAMP: Self = Self(32);
    /// Kafka's `UNSUPPORTED_SASL_MECHANISM`.
    pub const UNSUPPORTED_SASL_MECHANISM: Self = Self(33);
    /// Kafka's `ILLEGAL_SASL_STATE`.
    pub const ILLEGAL_SASL_STATE: Self = Self(34);
    /// Kafka's `UNSUPPORTED_VERSION`.
    pub const UNSUPPORTED_VERSION: Self = Self(35);
    /// Kafka's `TOPIC_ALREADY_EXISTS`.
    pub const TOPIC_ALREADY_EXISTS: Self = Self(36);
    /// Kafka's `INVALID_PARTITIONS`.
    pub const INVALID_PARTITIONS: Self = Self(37);
    /// Kafka's `INVALID_REPLICATION_FACTOR`.
    pub const INVALID_REPLICATION_FACTOR: Self = Self(38);
    /// Kafka's `INVALID_REPLICA_ASSIGNMENT`.
    pub const INVALID_REPLICA_ASSIGNMENT: Self = Self(39);
    /// Kafka's `INVALID_CONFIG`.
    pub const INVALID_CONFIG: Self = Self(40);
    /// Kafka's `NOT_CONTROLLER`.
    pub const NOT_CONTROLLER: Self = Self(41);
    /// Kafka's `INVALID_REQUEST`.
    pub const INVALID_REQUEST: Self = Self(42);
    /// Kafka's `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
    pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: Self = Self(43);
    /// Kafka's `POLICY_VIOLATION`.
    pub const POLICY_VIOLATION: Self = Self(44);
    /// Kafka's `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: Self = Self(45);
    /// Kafka's `DUPLICATE_SEQUENCE_NUMBER`.
    pub const DUPLICATE_SEQUENCE_NUMBER: Self = Self(46);
    /// Kafka's `INVALID_PRODUCER_EPOCH`.
    pub const INVALID_PRODUCER_EPOCH: Self = Self(47);
    /// Kafka's `INVALID_TXN_STATE`.
    pub const INVALID_TXN_STATE: Self = Self(48);
    /// Kafka's `INVALID_PRODUCER_ID_MAPPING`.
    pub const INVALID_PRODUCER_ID_MAPPING: Self = Self(49);
    /// Kafka's `INVALID_TRANSACTION_TIMEOUT`.
    pub const INVALID_TRANSACTION_TIMEOUT: Self = Self(50);
    /// Kafka's `CONCURRENT_TRANSACTIONS`.
    pub const CONCURRENT_TRANSACTIONS: Self = Self(51);
    /// Kafka's `TRANSACTION_COORDINATOR_FENCED`.
    pub const TRANSACTION_COORDINATOR_FENCED: Self = Self(52);
    /// Kafka's `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`.
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Self = Self(53);
    /// Kafka's `SECURITY_DISABLED`.
    pub const SECURITY_DISABLED: Self = Self(54);
    /// Kafka's `OPERATION_NOT_ATTEMPTED`.
    pub const OPERATION_NOT_ATTEMPTED: Self = Self(55);
    /// Kafka's `KAFKA_STORAGE_ERROR`.
    pub const KAFKA_STORAGE_ERROR: Self = Self(56);
    /// Kafka's `LOG_DIR_NOT_FOUND`.
    pub const LOG_DIR_NOT_FOUND: Self = Self(57);
    /// Kafka's `SASL_AUTHENTICATION_FAILED`.
    pub const SASL_AUTHENTICATION_FAILED: Self = Self(58);
    /// Kafka's `UNKNOWN_PRODUCER_ID`.
    pub const UNKNOWN_PRODUCER_ID: Self = Self(59);
    /// Kafka's `REASSIGNMENT_IN_PROGRESS`.
    pub const REASSIGNMENT_IN_PROGRESS: Self = Self(60);
    /// Kafka's `DELEGATION_TOKEN_AUTH_DISABLED`.
    pub const DELEGATION_TOKEN_AUTH_DISABLED: Self = Self(61);
    /// Kafka's `DELEGATION_TOKEN_NOT_FOUND`.
    pub const DELEGATION_TOKEN_NOT_FOUND: Self = Self(62);
    /// Kafka's `DELEGATION_TOKEN_OWNER_MISMATCH`.
    pub const DELEGATION_TOKEN_OWNER_MISMATCH: Self = Self(63);
    /// Kafka's `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`.
    pub const DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: Self = Self(64);
    /// Kafka's `DELEGATION_TOKEN_AUTHORIZATION_FAILED`.
    pub const DELEGATION_TOKEN_AUTHORIZATION_FAILED: Self = Self(65);
    /// Kafka's `DELEGATION_TOKEN_EXPIRED`.
    pub const DELEGATION_TOKEN_EXPIRED: Self = Self(66);
    /// Kafka's `INVALID_PRINCIPAL_TYPE`.
    pub const INVALID_PRINCIPAL_TYPE: Self = Self(67);
    /// Kafka's `NON_EMPTY_GROUP`.
    pub const NON_EMPTY_GROUP: Self = Self(68);
    /// Kafka's `GROUP_ID_NOT_FOUND`.
    pub const GROUP_ID_NOT_FOUND: Self = Self(69);
    /// Kafka's `FETCH_SESSION_ID_NOT_FOUND`.
    pub const FETCH_SESSION_ID_NOT_FOUND: Self = Self(70);
    /// Kafka's `INVALID_FETCH_SESSION_EPOCH`.
    pub const INVALID_FETCH_SESSION_EPOCH: Self = Self(71);
    /// Kafka's `LISTENER_NOT_FOUND`.
    pub const LISTENER_NOT_FOUND: Self = Self(72);
    /// Kafka's `TOPIC_DELETION_DISABLED`.
    pub const TOPIC_DELETION_DISABLED: Self = Self(73);
    /// Kafka's `FENCED_LEADER_EPOCH`.
    pub const FENCED_LEADER_EPOCH: Self = Self(74);
    /// Kafka's `UNKNOWN_LEADER_EPOCH`.
    pub const UNKNOWN_LEADER_EPOCH: Self = Self(75);
    /// Kafka's `UNSUPPORTED_COMPRESSION_TYPE`.
    pub const UNSUPPORTED_COMPRESSION_TYPE: Self = Self(76);
    /// Kafka's `STALE_BROKER_EPOCH`.
    pub const STALE_BROKER_EPOCH: Self = Self(77);
    /// Kafka's `OFFSET_NOT_AVAILABLE`.
    pub const OFFSET_NOT_AVAILABLE: Self = Self(78);
    /// Kafka's `MEMBER_ID_REQUIRED`.
    pub const MEMBER_ID_REQUIRED: Self = Self(79);
    /// Kafka's `PREFERRED_LEADER_NOT_AVAILABLE`.
    pub const PREFERRED_LEADER_NOT_AVAILABLE: Self = Self(80);
    /// Kafka's `GROUP_MAX_SIZE_REACHED`.
    pub const GROUP_MAX_SIZE_REACHED: Self = Self(81);
    /// Kafka's `FENCED_INSTANCE_ID`.
    pub const FENCED_INSTANCE_ID: Self = Self(82);
    /// Kafka's `ELIGIBLE_LEADERS_NOT_AVAILABLE`.
    pub const ELIGIBLE_LEADERS_NOT_AVAILABLE: Self = Self(83);
    /// Kafka's `ELECTION_NOT_NEEDED`.
    pub const ELECTION_NOT_NEEDED: Self = Self(84);
    /// Kafka's `NO_REASSIGNMENT_IN_PROGRESS`.
    pub const NO_REASSIGNMENT_IN_PROGRESS: Self = Self(85);
    /// Kafka's `GROUP_SUBSCRIBED_TO_TOPIC`.
    pub const GROUP_SUBSCRIBED_TO_TOPIC: Self = Self(86);
    /// Kafka's `INVALID_RECORD`.
    pub const INVALID_RECORD: Self = Self(87);
    /// Kafka's `UNSTABLE_OFFSET_COMMIT`.
    pub const UNSTABLE_OFFSET_COMMIT: Self = Self(88);
    /// Kafka's `THROTTLING_QUOTA_EXCEEDED`.
    pub const THROTTLING_QUOTA_EXCEEDED: Self = Self(89);
    /// Kafka's `PRODUCER_FENCED`.
    pub const PRODUCER_FENCED: Self = Self(90);
    /// Kafka's `RESOURCE_NOT_FOUND`.
    pub const RESOURCE_NOT_FOUND: Self = Self(91);
    /// Kafka's `DUPLICATE_RESOURCE`.
    pub const DUPLICATE_RESOURCE: Self = Self(92);
    /// Kafka's `UNACCEPTABLE_CREDENTIAL`.
    pub const UNACCEPTABLE_CREDENTIAL: Self = Self(93);
    /// Kafka's `INCONSISTENT_VOTER_SET`.
    pub const INCONSISTENT_VOTER_SET: Self = Self(94);
    /// Kafka's `INVALID_UPDATE_VERSION`.
    pub const INVALID_UPDATE_VERSION: Self = Self(95);
    /// Kafka's `FEATURE_UPDATE_FAILED`.
    pub const FEATURE_UPDATE_FAILED: Self = Self(96);
    /// Kafka's `PRINCIPAL_DESERIALIZATION_FAILURE`.
    pub const PRINCIPAL_DESERIALIZATION_FAILURE: Self = Self(97);
    /// Kafka's `SNAPSHOT_NOT_FOUND`.
    pub const SNAPSHOT_NOT_FOUND: Self = Self(98);
    /// Kafka's `POSITION_OUT_OF_RANGE`.
    pub const POSITION_OUT_OF_RANGE: Self = Self(99);
    /// Kafka's `UNKNOWN_TOPIC_ID`.
    pub const UNKNOWN_TOPIC_ID: Self = Self(100);
    /// Kafka's `DUPLICATE_BROKER_REGISTRATION`.
    pub const DUPLICATE_BROKER_REGISTRATION: Self = Self(101);
    /// Kafka's `BROKER_ID_NOT_REGISTERED`.
    pub const BROKER_ID_NOT_REGISTERED: Self = Self(102);
    /// Kafka's `INCONSISTENT_TOPIC_ID`.
    pub const INCONSISTENT_TOPIC_ID: Self = Self(103);
    /// Kafka's `INCONSISTENT_CLUSTER_ID`.
    pub const INCONSISTENT_CLUSTER_ID: Self = Self(104);
    /// Kafka's `TRANSACTIONAL_ID_NOT_FOUND`.
    pub const TRANSACTIONAL_ID_NOT_FOUND: Self = Self(105);
    /// Kafka's `FETCH_SESSION_TOPIC_ID_ERROR`.
    pub const FETCH_SESSION_TOPIC_ID_ERROR: Self = Self(106);
    /// Kafka's `INELIGIBLE_REPLICA`.
    pub const INELIGIBLE_REPLICA: Self = Self(107);
    /// Kafka's `NEW_LEADER_ELECTED`.
    pub const NEW_LEADER_ELECTED: Self = Self(108);
    /// Kafka's `OFFSET_MOVED_TO_TIERED_STORAGE`.
    pub const OFFSET_MOVED_TO_TIERED_STORAGE: Self = Self(109);
    /// Kafka's `FENCED_MEMBER_EPOCH`.
    pub const FENCED_MEMBER_EPOCH: Self = Self(110);
    /// Kafka's `UNRELEASED_INSTANCE_ID`.
    pub const UNRELEASED_INSTANCE_ID: Self = Self(111);
    /// Kafka's `UNSUPPORTED_ASSIGNOR`.
    pub const UNSUPPORTED_ASSIGNOR: Self = Self(112);
    /// Kafka's `STALE_MEMBER_EPOCH`.
    pub const STALE_MEMBER_EPOCH: Self = Self(113);
    /// Kafka's `MISMATCHED_ENDPOINT_TYPE`.
    pub const MISMATCHED_ENDPOINT_TYPE: Self = Self(114);
    /// Kafka's `UNSUPPORTED_ENDPOINT_TYPE`.
    pub const UNSUPPORTED_ENDPOINT_TYPE: Self = Self(115);
    /// Kafka's `UNKNOWN_CONTROLLER_ID`.
    pub const UNKNOWN_CONTROLLER_ID: Self = Self(116);
    /// Kafka's `UNKNOWN_SUBSCRIPTION_ID`.
    pub const UNKNOWN_SUBSCRIPTION_ID: Self = Self(117);
    /// Kafka's `TELEMETRY_TOO_LARGE`.
    pub const TELEMETRY_TOO_LARGE: Self = Self(118);
    /// Kafka's `INVALID_REGISTRATION`.
    pub const INVALID_REGISTRATION: Self = Self(119);
    /// Kafka's `TRANSACTION_ABORTABLE`.
    pub const TRANSACTION_ABORTABLE: Self = Self(120);
    /// Kafka's `INVALID_RECORD_STATE`.
    pub const INVALID_RECORD_STATE: Self = Self(121);
    /// Kafka's `SHARE_SESSION_NOT_FOUND`.
    pub const SHARE_SESSION_NOT_FOUND: Self = Self(122);
    /// Kafka's `INVALID_SHARE_SESSION_EPOCH`.
    pub const INVALID_SHARE_SESSION_EPOCH: Self = Self(123);
    /// Kafka's `FENCED_STATE_EPOCH`.
    pub const FENCED_STATE_EPOCH: Self = Self(124);
    /// Kafka's `INVALID_VOTER_KEY`.
    pub const INVALID_VOTER_KEY: Self = Self(125);
    /// Kafka's `DUPLICATE_VOTER`.
    pub const DUPLICATE_VOTER: Self = Self(126);
    /// Kafka's `VOTER_NOT_FOUND`.
    pub const VOTER_NOT_FOUND: Self = Self(127);
    /// Kafka's `INVALID_REGULAR_EXPRESSION`.
    pub const INVALID_REGULAR_EXPRESSION: Self = Self(128);
    /// Kafka's `REBOOTSTRAP_REQUIRED`.
    pub const REBOOTSTRAP_REQUIRED: Self = Self(129);
    /// Kafka's `STREAMS_INVALID_TOPOLOGY`.
    pub const STREAMS_INVALID_TOPOLOGY: Self = Self(130);
    /// Kafka's `STREAMS_INVALID_TOPOLOGY_EPOCH`.
    pub const STREAMS_INVALID_TOPOLOGY_EPOCH: Self = Self(131);
    /// Kafka's `STREAMS_TOPOLOGY_FENCED`.
    pub const STREAMS_TOPOLOGY_FENCED: Self = Self(132);
    /// Kafka's `SHARE_SESSION_LIMIT_REACHED`.
    pub const SHARE_SESSION_LIMIT_REACHED: Self = Self(133);
    /// Kafka's `GROUP_DELETION_FAILED`.
    pub const GROUP_DELETION_FAILED: Self = Self(134);
    /// Kafka's `STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED`.
    pub const STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED: Self = Self(135);
    /// Kafka's `CONTROLLER_ID_NOT_REGISTERED`.
    pub const CONTROLLER_ID_NOT_REGISTERED: Self = Self(136);

    /// Kafka's name of the code.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            -1 => "UNKNOWN_SERVER_ERROR",
            0 => "NONE",
            1 => "OFFSET_OUT_OF_RANGE",
            2 => "CORRUPT_MESSAGE",
            3 => "UNKNOWN_TOPIC_OR_PARTITION",
            4 => "INVALID_FETCH_SIZE",
            5 => "LEADER_NOT_AVAILABLE",
            6 => "NOT_LEADER_OR_FOLLOWER",
            7 => "REQUEST_TIMED_OUT",
            8 => "BROKER_NOT_AVAILABLE",
            9 => "REPLICA_NOT_AVAILABLE",
            10 => "MESSAGE_TOO_LARGE",
            11 => "STALE_CONTROLLER_EPOCH",
            12 => "OFFSET_METADATA_TOO_LARGE",
            13 => "NETWORK_EXCEPTION",
            14 => "COORDINATOR_LOAD_IN_PROGRESS",
            15 => "COORDINATOR_NOT_AVAILABLE",
            16 => "NOT_COORDINATOR",
            17 => "INVALID_TOPIC_EXCEPTION",
            18 => "RECORD_LIST_TOO_LARGE",
            19 => "NOT_ENOUGH_REPLICAS",
            20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            21 => "INVALID_REQUIRED_ACKS",
            22 => "ILLEGAL_GENERATION",
            23 => "INCONSISTENT_GROUP_PROTOCOL",
            24 => "INVALID_GROUP_ID",
            25 => "UNKNOWN_MEMBER_ID",
            26 => "INVALID_SESSION_TIMEOUT",
            27 => "REBALANCE_IN_PROGRESS",
            28 => "INVALID_COMMIT_OFFSET_SIZE",
            29 => "TOPIC_AUTHORIZATION_FAILED",
            30 => "GROUP_AUTHORIZATION_FAILED",
            31 => "CLUSTER_AUTHORIZATION_FAILED",
            32 => "INVALID_TIMESTAMP",
            33 => "UNSUPPORTED_SASL_MECHANISM",
            34 => "ILLEGAL_SASL_STATE",
            35 => "UNSUPPORTED_VERSION",
            36 => "TOPIC_ALREADY_EXISTS",
            37 => "INVALID_PARTITIONS",
            38 => "INVALID_REPLICATION_FACTOR",
            39 => "INVALID_REPLICA_ASSIGNMENT",
            40 => "INVALID_CONFIG",
            41 => "NOT_CONTROLLER",
            42 => "INVALID_REQUEST",
            43 => "UNSUPPORTED_FOR_MESSAGE_FORMAT",
            44 => "POLICY_VIOLATION",
            45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
            46 => "DUPLICATE_SEQUENCE_NUMBER",
            47 => "INVALID_PRODUCER_EPOCH",
            48 => "INVALID_TXN_STATE",
            49 => "INVALID_PRODUCER_ID_MAPPING",
            50 => "INVALID_TRANSACTION_TIMEOUT",
            51 => "CONCURRENT_TRANSACTIONS",
            52 => "TRANSACTION_COORDINATOR_FENCED",
            53 => "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            54 => "SECURITY_DISABLED",
            55 => "OPERATION_NOT_ATTEMPTED",
            56 => "KAFKA_STORAGE_ERROR",
            57 => "LOG_DIR_NOT_FOUND",
            58 => "SASL_AUTHENTICATION_FAILED",
            59 => "UNKNOWN_PRODUCER_ID",
            60 => "REASSIGNMENT_IN_PROGRESS",
            61 => "DELEGATION_TOKEN_AUTH_DISABLED",
            62 => "DELEGATION_TOKEN_NOT_FOUND",
            63 => "DELEGATION_TOKEN_OWNER_MISMATCH",
            64 => "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
            65 => "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
            66 => "DELEGATION_TOKEN_EXPIRED",
            67 => "INVALID_PRINCIPAL_TYPE",
            68 => "NON_EMPTY_GROUP",
            69 => "GROUP_ID_NOT_FOUND",
            70 => "FETCH_SESSION_ID_NOT_FOUND",
            71 => "INVALID_FETCH_SESSION_EPOCH",
            72 => "LISTENER_NOT_FOUND",
            73 => "TOPIC_DELETION_DISABLED",
            74 => "FENCED_LEADER_EPOCH",
            75 => "UNKNOWN_LEADER_EPOCH",
            76 => "UNSUPPORTED_COMPRESSION_TYPE",
            77 => "STALE_BROKER_EPOCH",
            78 => "OFFSET_NOT_AVAILABLE",
            79 => "MEMBER_ID_REQUIRED",
            80 => "PREFERRED_LEADER_NOT_AVAILABLE",
            81 => "GROUP_MAX_SIZE_REACHED",
            82 => "FENCED_INSTANCE_ID",
            83 => "ELIGIBLE_LEADERS_NOT_AVAILABLE",
            84 => "ELECTION_NOT_NEEDED",
            85 => "NO_REASSIGNMENT_IN_PROGRESS",
            86 => "GROUP_SUBSCRIBED_TO_TOPIC",
            87 => "INVALID_RECORD",
            88 => "UNSTABLE_OFFSET_COMMIT",
            89 => "THROTTLING_QUOTA_EXCEEDED",
            90 => "PRODUCER_FENCED",
            91 => "RESOURCE_NOT_FOUND",
            92 => "DUPLICATE_RESOURCE",
            93 => "UNACCEPTABLE_CREDENTIAL",
            94 => "INCONSISTENT_VOTER_SET",
            95 => "INVALID_UPDATE_VERSION",
            96 => "FEATURE_UPDATE_FAILED",
            97 => "PRINCIPAL_DESERIALIZATION_FAILURE",
            98 => "SNAPSHOT_NOT_FOUND",
            99 => "POSITION_OUT_OF_RANGE",
            100 => "UNKNOWN_TOPIC_ID",
            101 => "DUPLICATE_BROKER_REGISTRATION",
            102 => "BROKER_ID_NOT_REGISTERED",
            103 => "INCONSISTENT_TOPIC_ID",
            104 => "INCONSISTENT_CLUSTER_ID",
            105 => "TRANSACTIONAL_ID_NOT_FOUND",
            106 => "FETCH_SESSION_TOPIC_ID_ERROR",
            107 => "INELIGIBLE_REPLICA",
            108 => "NEW_LEADER_ELECTED",
            109 => "OFFSET_MOVED_TO_TIERED_STORAGE",
            110 => "FENCED_MEMBER_EPOCH",
            111 => "UNRELEASED_INSTANCE_ID",
            112 => "UNSUPPORTED_ASSIGNOR",
            113 => "STALE_MEMBER_EPOCH",
            114 => "MISMATCHED_ENDPOINT_TYPE",
            115 => "UNSUPPORTED_ENDPOINT_TYPE",
            116 => "UNKNOWN_CONTROLLER_ID",
            117 => "UNKNOWN_SUBSCRIPTION_ID",
            118 => "TELEMETRY_TOO_LARGE",
            119 => "INVALID_REGISTRATION",
            120 => "TRANSACTION_ABORTABLE",
            121 => "INVALID_RECORD_STATE",
            122 => "SHARE_SESSION_NOT_FOUND",
            123 => "INVALID_SHARE_SESSION_EPOCH",
            124 => "FENCED_STATE_EPOCH",
            125 => "INVALID_VOTER_KEY",
            126 => "DUPLICATE_VOTER",
            127 => "VOTER_NOT_FOUND",
            128 => "INVALID_REGULAR_EXPRESSION",
            129 => "REBOOTSTRAP_REQUIRED",
            130 => "STREAMS_INVALID_TOPOLOGY",
            131 => "STREAMS_INVALID_TOPOLOGY_EPOCH",
            132 => "STREAMS_TOPOLOGY_FENCED",
            133 => "SHARE_SESSION_LIMIT_REACHED",
            134 => "GROUP_DELETION_FAILED",
            135 => "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED",
            136 => "CONTROLLER_ID_NOT_REGISTERED",
            _ => "UNKNOWN",
        }
    }

    /// True for `NONE`.
    #[must_use]
    pub fn is_ok(self) -> bool {
        self == Self::NONE
    }

    /// True when a Java client would try again.
    #[must_use]
    pub fn is_retriable(self) -> bool {
        matches!(
            self.0,
            2 | 3
                | 5
                | 6
                | 7
                | 9
                | 13
                | 14
                | 15
                | 16
                | 19
                | 20
                | 41
                | 51
                | 56
                | 70
                | 71
                | 72
                | 74
                | 75
                | 78
                | 80
                | 83
                | 84
                | 88
                | 89
                | 100
                | 103
                | 106
                | 122
                | 123
                | 133
        )
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A client's request that cannot be met: a value that goes into responses, not a failure of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What the client's code looks at.
    pub code: ErrorCode,
    /// What the client's user reads.
    pub message: Option<Cow<'static, str>>,
}

impl ApiError {
    /// A refusal with a message for the user.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code),
            None => fmt::Display::fmt(&self.code, f),
        }
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_know_their_names() {
        assert_eq!(ErrorCode::NONE.0, 0);
        assert_eq!(format!("{:?}", ErrorCode::OFFSET_OUT_OF_RANGE), "OFFSET_OUT_OF_RANGE(1)");
        assert_eq!(ErrorCode(12_345).name(), "UNKNOWN");
        assert!(ErrorCode::NOT_LEADER_OR_FOLLOWER.is_retriable());
        assert!(!ErrorCode::MESSAGE_TOO_LARGE.is_retriable());
    }
}
