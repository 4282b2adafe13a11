//! What goes in comes out, at every codec; what is cut or changed never panics and stays within its limit.

use proptest::prelude::*;

use super::*;

const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"the same words again and again "[(i * i / 7 + i) % 31]).collect()
}

#[test]
fn whole_and_in_pieces() {
    for codec in ALL {
        for len in [0, 1, 100, 32 << 10, (64 << 10) - 1, 64 << 10, 300_000] {
            let input = text(len);
            let compressed = compress(codec, None, &input);
            assert_eq!(decompress_bounded(codec, &compressed, len), Ok(input.clone()), "{codec} {len}");
            let mut pieces = Encoder::new(codec, None, b"head".to_vec());
            input.chunks(1000).for_each(|piece| pieces.write(piece));
            let pieces = pieces.finish();
            assert_eq!(decompress_bounded(codec, &pieces[4..], len), Ok(input), "{codec} {len}");
        }
    }
}

#[test]
fn levels_are_taken() {
    let input = text(100_000);
    let size = |codec, level| compress(codec, Some(level), &input).len();
    assert!(size(Codec::Gzip, 9) < size(Codec::Gzip, 1));
    assert!(size(Codec::Zstd, 19) < size(Codec::Zstd, -5));
    for (codec, level) in
        [(Codec::Gzip, -1), (Codec::Gzip, 99), (Codec::Zstd, 22), (Codec::Lz4, 17), (Codec::Snappy, 1)]
    {
        let compressed = compress(codec, Some(level), &input);
        assert_eq!(decompress_bounded(codec, &compressed, 100_000).as_deref(), Ok(&input[..]));
    }
}

#[test]
fn bombs_are_stopped_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, None, &zeros);
        assert_eq!(decompress_bounded(codec, &bomb, 1 << 20), Err(DecompressError::TooLarge(1 << 20)));
    }
    // A raw snappy block that claims 4 GiB, and an LZ4 block larger than its frame allows.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(matches!(
        decompress_bounded(Codec::Snappy, &claim, usize::MAX),
        Err(DecompressError::Corrupt(_))
    ));
    let mut frame = compress(Codec::Lz4, None, b"");
    frame.truncate(frame.len() - 4);
    frame.extend_from_slice(&0x7fff_ffffu32.to_le_bytes());
    assert!(matches!(decompress_bounded(Codec::Lz4, &frame, usize::MAX), Err(DecompressError::Corrupt(_))));
}

#[test]
fn zstd_windows() {
    use ::zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};
    let frame = |window_log, input: &[u8]| {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::WindowLog(window_log)).expect("a window");
        let mut out = vec![0; input.len() + 1000];
        let mut target = OutBuffer::around(&mut out[..]);
        // In two steps, so that the size is not known when the header is written.
        let mut source = InBuffer::around(input);
        context.compress_stream(&mut target, &mut source).expect("compresses");
        context.end_stream(&mut target).expect("ends");
        let written = target.pos();
        out.truncate(written);
        out
    };
    let input = text(300_000);
    let frames = [frame(21, &input), frame(27, &input), frame(27, b""), frame(23, &input)];
    let decompressed = decompress_bounded(Codec::Zstd, &frames.concat(), 1 << 20).expect("decompresses");
    assert_eq!(decompressed, [&input[..], &input, &input].concat());
    let cut = &frames[1][..frames[1].len() - 1];
    assert!(decompress_bounded(Codec::Zstd, cut, 1 << 20).is_err());
    let bomb = frame(27, &vec![0; 65 << 20]);
    let stopped = decompress_bounded(Codec::Zstd, &bomb, usize::MAX);
    assert_eq!(stopped, Err(DecompressError::TooLarge(64 << 20)));
}

#[test]
fn snappy_raw_and_glued() {
    let raw = snap::raw::Encoder::new().compress_vec(b"raw block").expect("fits");
    assert_eq!(decompress_bounded(Codec::Snappy, &raw, 100).as_deref(), Ok(&b"raw block"[..]));
    let glued = [compress(Codec::Snappy, None, b"one "), compress(Codec::Snappy, None, b"two")].concat();
    assert_eq!(decompress_bounded(Codec::Snappy, &glued, 100).as_deref(), Ok(&b"one two"[..]));
}

#[test]
fn gzip_members_extra_fields_and_what_follows() {
    let plain = compress(Codec::Gzip, None, b"two");
    // Flags: extra field, name, comment, header checksum.
    let mut first =
        vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, b'x', b'y', b'n', 0, b'c', 0, 0xaa, 0xbb];
    first.extend_from_slice(&compress(Codec::Gzip, None, b"one ")[10..]);
    let glued = [&first[..], &plain, b"rubbish"].concat();
    assert_eq!(decompress_bounded(Codec::Gzip, &glued, 100).as_deref(), Ok(&b"one two"[..]));
    let mut bad = plain.clone();
    bad[plain.len() - 5] ^= 1;
    assert!(matches!(decompress_bounded(Codec::Gzip, &bad, 100), Err(DecompressError::Corrupt(_))));
}

#[test]
fn cut_short_is_an_error() {
    let input = text(200_000);
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let compressed = compress(codec, None, &input);
        for cut in (0..compressed.len()).step_by(97).chain([compressed.len() - 1]) {
            let result = decompress_bounded(codec, &compressed[..cut], input.len());
            assert!(result.is_err() || cut == 0 && codec == Codec::Zstd, "{codec} cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn round_trip(input: Vec<u8>, code in 0u8..5) {
        let codec = Codec::from_code(code).expect("in range");
        let compressed = compress(codec, None, &input);
        prop_assert_eq!(decompress_bounded(codec, &compressed, input.len()), Ok(input));
    }

    #[test]
    fn rubbish_never_panics(input: Vec<u8>, code in 0u8..5) {
        let codec = Codec::from_code(code).expect("in range");
        let _ = decompress_bounded(codec, &input, 1 << 20);
    }

    #[test]
    fn changed_bytes_never_panic(len in 0usize..5000, at: prop::sample::Index, flip in 1u8.., code in 0u8..5) {
        let codec = Codec::from_code(code).expect("in range");
        let mut compressed = compress(codec, None, &text(len));
        if !compressed.is_empty() {
            let at = at.index(compressed.len());
            compressed[at] ^= flip;
        }
        let _ = decompress_bounded(codec, &compressed, 1 << 20);
    }
}
