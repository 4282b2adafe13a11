//! Two hundred seeds, each a cluster in trouble.

use std::sync::atomic::{AtomicU64, Ordering};

use ottla_sim::{Options, run};

/// Seeds in CI.
const SEEDS: u64 = 200;

#[test]
fn two_hundred_clusters_survive() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let live = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= SEEDS {
                    return failures;
                }
                failures.extend(run(seed, &Options::default()).err().map(|failure| failure.to_string()));
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("panics are failures of seeds")).collect()
    });
    assert!(failures.is_empty(), "{} of {SEEDS} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_seed_replays() {
    for seed in [3, 17, 42] {
        let options = Options { steps: 2_000, ..Options::default() };
        let (first, second) = (run(seed, &options), run(seed, &options));
        match (first, second) {
            (Ok(first), Ok(second)) => assert_eq!(first, second, "seed {seed}"),
            (first, second) => panic!("seed {seed}: {first:?}, {second:?}"),
        }
    }
}
