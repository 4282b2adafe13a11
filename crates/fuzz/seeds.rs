//! Writes the inputs fuzzing starts from to `corpus`: a body of every request and response in every version, heads,
//! and batches of every codec.

use std::{fs, path::Path};

use ottla_protocol::{
    api,
    samples::{self, Fill},
};
use ottla_records::{BatchBuilder, Codec, Header};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for (index, api) in api::APIS.iter().enumerate() {
        for version in api.min..=api.max {
            for (name, fill) in [("some", Fill::Some), ("all", Fill::All)] {
                let chosen = [index as u8, (version - api.min) as u8];
                if let Some(body) = samples::request(api.key, version, fill, &mut random) {
                    put(
                        "request",
                        &format!("{}-{version}-{name}", api.name),
                        &[&chosen, &body[..]].concat(),
                    )?;
                }
                if let Some(body) = samples::response(api.key, version, fill, &mut random) {
                    let chosen = [chosen[0], chosen[1] | 0x80];
                    put(
                        "request",
                        &format!("{}-{version}-{name}-r", api.name),
                        &[&chosen, &body[..]].concat(),
                    )?;
                }
            }
            let head =
                [&api.key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0, 1, b'c', 0]].concat();
            put("frame", &format!("{}-{version}", api.name), &head)?;
        }
    }
    for code in 0..5u8 {
        let codec = Codec::from_code(code).unwrap_or_default();
        let mut builder = BatchBuilder::new(0).compression(codec, None);
        for i in 0..3 {
            let headers =
                [Header { key: b"name", value: Some(b"value") }, Header { key: b"none", value: None }];
            builder.append(1_700_000_000_000 + i, Some(b"key"), Some(b"value value value"), &headers);
        }
        let batch = builder.build();
        for choice in [0, code, code << 3, 0x40 | code << 3] {
            put("batch", &format!("{codec}-{choice}"), &[&[choice], &batch[..]].concat())?;
        }
    }
    Ok(())
}
