//! Hostile bodies: whatever the bytes say, guard and decoder neither panic nor allocate more than a small
//! multiple of what was received.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use common::numbers;
use ottla_protocol::guard::{self, Fault, Limits};
use ottla_protocol::messages::*;
use ottla_protocol::samples::{self, Fill};
use ottla_protocol::{DecodeError, api, for_each_api, for_each_record};

/// Counts what this thread allocates: the sum of all that was asked for, freed or not.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged; counting touches a thread-local integer
// that needs neither allocation nor destructor.
#[expect(
    unsafe_code,
    reason = "the allocator interface is unsafe, and counting allocations has no other way"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + size.saturating_sub(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `run` asked for.
fn allocated<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.get();
    let result = run();
    (ALLOCATED.get() - before, result)
}

/// What a body of `len` bytes may cost: the largest structure of any message is 240 bytes and has at least four
/// on the wire, a map of unknown tags is some 500 bytes and has at least three; and a constant for errors.
const fn budget(len: usize) -> usize {
    4_096 + 256 * len
}

macro_rules! decoders {
    ($($key:literal => $request:ident, $response:ident;)*) => {
        fn decode_request(key: i16, version: i16, mut body: Bytes) -> Result<(), DecodeError> {
            match key {
                $($key => ottla_protocol::decode::<$request>(key, version, &mut body).map(drop),)*
                _ => panic!("unknown key {key}"),
            }
        }

        fn decode_response(key: i16, version: i16, mut body: Bytes) -> Result<(), DecodeError> {
            match key {
                $($key => ottla_protocol::decode_response::<$response>(key, version, &mut body).map(drop),)*
                _ => panic!("unknown key {key}"),
            }
        }
    };
}
for_each_api!(decoders);

type Decode = fn(i16, i16, Bytes) -> Result<(), DecodeError>;

/// Decodes and holds the cost against the budget.
fn bounded(what: &str, decode: Decode, key: i16, version: i16, body: Vec<u8>) -> Result<(), DecodeError> {
    let len = body.len();
    let body = Bytes::from(body);
    let (cost, result) = allocated(|| decode(key, version, body.clone()));
    assert!(cost <= budget(len), "{what} {key} v{version}: {cost} bytes allocated for {len} in {body:02x?}");
    result
}

fn all_versions() -> impl Iterator<Item = (i16, i16)> {
    api::APIS.iter().flat_map(|api| (api.min..=api.max).map(|version| (api.key, version)))
}

/// Every prefix of `body`, and `body` with every byte changed to each of a few values that matter to lengths.
fn disturb(body: &[u8], mut check: impl FnMut(Vec<u8>)) {
    for end in 0..body.len() {
        check(body[..end].to_vec());
    }
    for at in 0..body.len() {
        for value in
            [0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff, body[at] ^ 0x01, body[at] ^ 0x40, body[at] ^ 0x80]
        {
            let mut changed = body.to_vec();
            changed[at] = value;
            check(changed);
        }
    }
}

#[test]
fn whole_samples_pass() {
    for (key, version) in all_versions() {
        for fill in [Fill::Some, Fill::All] {
            let body = samples::request(key, version, fill, &mut numbers(7)).expect("a sample");
            bounded("request", decode_request, key, version, body).expect("a good request");
            let body = samples::response(key, version, fill, &mut numbers(7)).expect("a sample");
            bounded("response", decode_response, key, version, body).expect("a good response");
        }
    }
}

/// Every one of the 255 other values of every byte, in the newest version of every request.
#[test]
fn no_changed_byte_of_a_request_costs_more_than_it_weighs() {
    for api in api::APIS {
        let body = samples::request(api.key, api.max, Fill::All, &mut numbers(11)).expect("a sample");
        for at in 0..body.len() {
            for change in 1..=u8::MAX {
                let mut changed = body.clone();
                changed[at] ^= change;
                drop(bounded("request", decode_request, api.key, api.max, changed));
            }
        }
    }
}

#[test]
fn no_truncation_and_no_changed_byte_of_a_response_costs_more_than_it_weighs() {
    for (key, version) in all_versions() {
        let body = samples::response(key, version, Fill::Some, &mut numbers(13)).expect("a sample");
        disturb(&body, |changed| drop(bounded("response", decode_response, key, version, changed)));
    }
}

/// Every truncation and a choice of changed bytes in every version: it costs no more than it weighs, nothing cut
/// decodes, and what the guard lets pass the decoder refuses only for text that is not UTF-8.
#[test]
fn guard_and_decoder_see_the_same_shape() {
    for (key, version) in all_versions() {
        let body = samples::request(key, version, Fill::All, &mut numbers(19)).expect("a sample");
        disturb(&body, |changed| {
            let passes = guard::check(key, version, &changed, &Limits::KAFKA).is_ok();
            assert!(!passes || changed.len() == body.len(), "{key} v{version} passes cut to {changed:02x?}");
            match bounded("request", decode_request, key, version, changed) {
                Err(DecodeError::Body(e)) if passes => {
                    assert!(e.to_string().contains("utf-8"), "{key} v{version}: {e:#}");
                }
                result => assert_eq!(result.is_ok(), passes, "{key} v{version}: {result:?}"),
            }
        });
    }
}

/// Arrays of the smallest elements there are, at every depth: the bodies that cost most per byte.
#[test]
fn the_widest_bodies_cost_a_small_multiple() {
    let mut worst = (0, String::new());
    for (key, version) in all_versions() {
        for depth in 0..5 {
            let fill = Fill::Wide { depth, count: 2_000 };
            let request = samples::request(key, version, fill, &mut numbers(31)).expect("a sample");
            let response = samples::response(key, version, fill, &mut numbers(31)).expect("a sample");
            for (what, decode, body) in
                [("request", decode_request as Decode, request), ("response", decode_response, response)]
            {
                let len = body.len();
                let body = Bytes::from(body);
                let (cost, result) = allocated(|| decode(key, version, body.clone()));
                result.unwrap_or_else(|e| panic!("{what} {key} v{version}: {e}"));
                if cost > 4_096 {
                    worst = worst.max((
                        cost / len,
                        format!("{what} {key} v{version} depth {depth}: {cost} for {len}"),
                    ));
                }
            }
        }
    }
    println!("{worst:?}");
    assert!(worst.0 <= 64, "{worst:?}");
}

#[test]
fn random_bytes_cost_no_more_than_they_weigh() {
    let mut random = numbers(23);
    for (key, version) in all_versions() {
        for len in [1, 5, 17, 64, 257] {
            for _ in 0..8 {
                let body = (0..len)
                    .map(|_| if random() < u32::MAX / 3 { 0 } else { random() as u8 >> (random() % 8) });
                drop(bounded("request", decode_request, key, version, body.collect()));
            }
        }
    }
}

macro_rules! records {
    ($($module:ident::$record:ident;)*) => {
        #[test]
        fn no_changed_byte_of_a_record_costs_more_than_it_weighs() {
            use ottla_protocol::{Decodable, Message};
            $({
                use ottla_protocol::persisted::$module::$record as Record;
                for version in Record::VERSIONS.min..=Record::VERSIONS.max {
                    let body = samples::record(stringify!($record), version, Fill::All, &mut numbers(29))
                        .expect("a sample");
                    disturb(&body, |changed| {
                        let len = changed.len();
                        let mut changed = Bytes::from(changed);
                        let (cost, _) = allocated(|| Record::decode(&mut changed, version).is_ok());
                        // A vector of a thousand elements is what a count may ask for in advance.
                        assert!(cost <= budget(len), "{} v{version}: {cost} for {len}", stringify!($record));
                    });
                }
            })*
        }
    };
}
for_each_record!(records);

#[test]
fn five_bytes_of_metadata_are_refused() {
    for body in [&[0x7f, 0xff, 0xff, 0xff, 1][..], &[0x7f, 0xff, 0xff, 0xff], &[0x00, 0x0f, 0x42, 0x41, 0]] {
        let result = bounded("metadata", decode_request, api::METADATA, 1, body.to_vec());
        assert!(matches!(result, Err(DecodeError::Guard(_))), "{result:?}");
    }
    let flexible = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    let result = bounded("metadata", decode_request, api::METADATA, 12, flexible.to_vec());
    assert!(matches!(result, Err(DecodeError::Guard(_))), "{result:?}");
}

fn fault(key: i16, version: i16, body: &[u8]) -> Option<Fault> {
    guard::check(key, version, body, &Limits::KAFKA).err().map(|e| e.fault)
}

/// Metadata v1: an array of topic names.
fn topics(count: u32) -> Vec<u8> {
    let mut body = count.to_be_bytes().to_vec();
    body.resize(4 + 2 * count as usize, 0);
    body
}

#[test]
fn a_million_elements_pass_and_one_more_does_not() {
    assert_eq!(fault(api::METADATA, 1, &topics(1_000_000)), None);
    assert_eq!(fault(api::METADATA, 1, &topics(1_000_001)), Some(Fault::TooManyElements(1_000_001)));
}

/// CreatePartitions v0 with five topics of 900,000 empty assignments each.
#[test]
fn elements_are_counted_over_the_whole_body() {
    let topic = |out: &mut Vec<u8>| {
        out.extend([0, 0, 0, 0, 0, 1]); // empty name, count 1
        out.extend(900_000_u32.to_be_bytes());
        out.resize(out.len() + 4 * 900_000, 0); // each an empty array of broker ids
    };
    let mut body = 5_u32.to_be_bytes().to_vec();
    (0..5).for_each(|_| topic(&mut body));
    body.extend([0; 5]);
    assert_eq!(fault(api::CREATE_PARTITIONS, 0, &body), Some(Fault::TooManyElements(4_500_005)));
}

/// Metadata v12 without topics, with `count` unknown tags.
fn tags(count: u32) -> Vec<u8> {
    let mut body = vec![1, 1, 0];
    uvarint(&mut body, count);
    for tag in 0..count {
        uvarint(&mut body, tag);
        body.push(0);
    }
    body
}

fn uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[test]
fn ten_thousand_tags_pass_and_one_more_does_not() {
    assert_eq!(fault(api::METADATA, 12, &tags(10_000)), None);
    assert_eq!(fault(api::METADATA, 12, &tags(10_001)), Some(Fault::TooManyTags(10_001)));
    // Claimed only, without bytes behind the claim.
    assert_eq!(fault(api::METADATA, 12, &[1, 1, 0, 0x91, 0x4e]), Some(Fault::TooManyTags(10_001)));
    bounded("tags", decode_request, api::METADATA, 12, tags(10_000)).expect("Kafka takes them too");
}

/// An unknown tag in each of many elements: each section is small, together they are a flood.
#[test]
fn unknown_tags_are_counted_over_the_whole_body() {
    let topics = 10_001;
    let mut body = Vec::new();
    uvarint(&mut body, topics + 1);
    for _ in 0..topics {
        body.extend([0; 16]); // topic id
        body.push(0); // null name
        body.extend([1, 5, 0]); // one tag, number 5, empty
    }
    body.extend([1, 0, 0]);
    assert_eq!(fault(api::METADATA, 12, &body), Some(Fault::TooManyTags(10_001)));
}

#[test]
fn strings_end_where_kafkas_end() {
    let named = |len: u32| {
        let mut body = vec![2];
        uvarint(&mut body, len + 1);
        body.resize(body.len() + len as usize, b'a');
        body.extend([0, 1, 0, 0, 0]);
        body
    };
    assert_eq!(fault(api::METADATA, 9, &named(32_767)), None);
    assert_eq!(fault(api::METADATA, 9, &named(32_768)), Some(Fault::StringTooLong(32_768)));
}

#[test]
fn null_is_refused_where_kafka_refuses_it() {
    // Metadata v9 with one topic whose name is null; v10 may say so.
    assert_eq!(fault(api::METADATA, 9, &[2, 0, 0, 1, 1, 1, 0]), Some(Fault::Null));
    // Metadata v0 asks for all topics by an empty array, not by null.
    assert_eq!(fault(api::METADATA, 0, &[0xff; 4]), Some(Fault::Null));
    assert_eq!(fault(api::METADATA, 1, &[0xff; 4]), None);
    assert_eq!(fault(api::METADATA, 1, &[0xff, 0xff, 0xff, 0xfb]), Some(Fault::NegativeLength(-5)));
}

#[test]
fn varints_end_after_five_bytes() {
    assert_eq!(fault(api::METADATA, 9, &[0x81, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 1, 0]), Some(Fault::Varint));
    // Bits beyond the 32nd are lost in Kafka as well.
    assert_eq!(fault(api::METADATA, 9, &[0x81, 0x80, 0x80, 0x80, 0x10, 1, 1, 1, 0]), None);
}

#[test]
fn bytes_behind_a_body_are_not_looked_at() {
    let body = [1, 1, 1, 1, 0, 9, 9, 9];
    decode_request(api::METADATA, 9, Bytes::copy_from_slice(&body)).expect("as Kafka 4.4");
}

#[test]
fn the_size_of_a_known_tag_is_read_over() {
    // Fetch v12 with its cluster id in tag 0, whose size claims nine bytes and is four.
    let body = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff,
        0xff, 0xff, 1, 1, 1, 1, 0, 9, 4, 0x61, 0x62, 0x63,
    ];
    decode_request(api::FETCH, 12, Bytes::copy_from_slice(&body)).expect("as Kafka 4.4");
}

/// The deepest arrays there are, each with the largest count its bytes allow: no recursion beyond the schema.
#[test]
fn nesting_is_the_schemas() {
    for (key, version) in all_versions() {
        let body = vec![0xff; 4_096];
        drop(bounded("request", decode_request, key, version, body));
        for value in [1, 2, 3, 0x7f] {
            drop(bounded("request", decode_request, key, version, vec![value; 4_096]));
            drop(bounded("response", decode_response, key, version, vec![value; 4_096]));
        }
    }
}

#[test]
fn unknown_keys_and_versions_are_refused() {
    assert_eq!(fault(-1, 0, &[]), Some(Fault::UnknownKey(-1)));
    assert_eq!(fault(i16::MAX, 0, &[]), Some(Fault::UnknownKey(i16::MAX)));
    assert_eq!(fault(4, 0, &[]), Some(Fault::UnknownKey(4)));
    assert_eq!(fault(api::PRODUCE, 2, &[]), Some(Fault::UnsupportedVersion(2)));
    assert_eq!(fault(api::API_VERSIONS, 99, &[]), Some(Fault::UnsupportedVersion(99)));
}
