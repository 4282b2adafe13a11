//! Two hundred seeds, each a cluster in trouble.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ottla_sim::{Options, run};

/// Seeds in CI.
const SEEDS: u64 = 200;

#[test]
fn two_hundred_clusters_survive() {
    let (next, committed, tainted) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let live = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= SEEDS {
                    return failures;
                }
                match run(seed, &Options::default()) {
                    Ok(report) => {
                        committed.fetch_add(report.committed, Ordering::Relaxed);
                        tainted.fetch_add(report.tainted, Ordering::Relaxed);
                    }
                    Err(failure) => failures.push(failure.to_string()),
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("panics are failures of seeds")).collect()
    });
    assert!(failures.is_empty(), "{} of {SEEDS} seeds failed:\n{}", failures.len(), failures.join("\n"));
    // Clusters that do nothing lose nothing, and of what may be lost nothing is asked.
    let (committed, tainted) = (committed.into_inner(), tainted.into_inner());
    assert!(committed > 50_000, "only {committed} records were committed");
    assert!(tainted < 60, "{tainted} partitions lost records that may be lost");
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
