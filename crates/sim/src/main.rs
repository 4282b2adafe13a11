//! `ottla-sim`: lives seeds, shows how far it is, and says how to replay the first that fails.
#![expect(clippy::disallowed_methods, reason = "a tool that shows how long it took")]

use std::{
    io::{IsTerminal, Write},
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

use lexopt::prelude::*;
use ottla_sim::{Failure, Fault, Options, Report, run};

const USAGE: &str = "\
Lives simulated clusters, one per seed, and checks at every step that nothing is lost, duplicated or torn apart.

Usage: cargo run -p ottla-sim -- [OPTIONS]

  --seeds A..B    live these seeds (A included, B not); 0..200 when nothing is said
  --seed N        live this one
  --steps N       events during which things go wrong (6000)
  --threads N     seeds lived at a time (as many as there are processors)
  --trace [N]     with a failure print the last N events (200)
  --fault NAME    plant a fault, to see it found; NAME `list` prints their names
  --keep-going    live all seeds, also after one has failed
  -h, --help      this text

Exit code: 0 when every seed is well, 1 when one failed, 2 when the arguments make no sense.";

struct Arguments {
    seeds: Range<u64>,
    options: Options,
    threads: usize,
    keep_going: bool,
}

enum Asked {
    Help,
    ListFaults,
    Run(Arguments),
}

fn main() -> ExitCode {
    match parse() {
        Ok(Asked::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Asked::ListFaults) => {
            Fault::ALL.iter().for_each(|fault| println!("{}", fault.name()));
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(arguments)) => live(&arguments),
        Err(error) => {
            eprintln!("ottla-sim: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Asked, lexopt::Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments { seeds: 0..200, options: Options::default(), threads, keep_going: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => arguments.seeds = range(&parser.value()?.string()?)?,
            Long("seed") => {
                let seed: u64 = parser.value()?.parse()?;
                arguments.seeds = seed..seed.saturating_add(1);
            }
            Long("steps") => arguments.options.steps = parser.value()?.parse()?,
            Long("threads") => arguments.threads = parser.value()?.parse::<usize>()?.max(1),
            Long("trace") => {
                let given = parser.optional_value();
                let given = match given {
                    Some(value) => Some(value),
                    None => parser.values().ok().and_then(|mut values| values.next()),
                };
                arguments.options.trace = given.map_or(Ok(200), |value| value.parse())?;
            }
            Long("fault") => {
                let name = parser.value()?.string()?;
                if name == "list" {
                    return Ok(Asked::ListFaults);
                }
                let fault = Fault::by_name(&name).ok_or(format!("there is no fault called {name}"))?;
                arguments.options.fault = Some(fault);
            }
            Long("keep-going") => arguments.keep_going = true,
            Short('h') | Long("help") => return Ok(Asked::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Asked::Run(arguments))
}

fn range(text: &str) -> Result<Range<u64>, lexopt::Error> {
    let wrong = || format!("--seeds wants A..B, as in 0..200, not {text}");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if first < end { Ok(first..end) } else { Err(wrong().into()) }
}

#[derive(Default)]
struct Sums {
    lived: AtomicU64,
    steps: AtomicU64,
    millis: AtomicU64,
    committed: AtomicUsize,
    tainted: AtomicUsize,
}

impl Sums {
    fn add(&self, report: &Report) {
        self.steps.fetch_add(report.steps, Ordering::Relaxed);
        self.millis.fetch_add(report.millis, Ordering::Relaxed);
        self.committed.fetch_add(report.committed, Ordering::Relaxed);
        self.tainted.fetch_add(report.tainted, Ordering::Relaxed);
    }
}

fn live(arguments: &Arguments) -> ExitCode {
    // What panics is reported as the failure of its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, failed, sums) = (AtomicU64::new(arguments.seeds.start), AtomicUsize::new(0), Sums::default());
    let total = arguments.seeds.end - arguments.seeds.start;
    let started = Instant::now();
    let shows = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.seeds.end
                        || (!arguments.keep_going && failed.load(Ordering::Relaxed) > 0)
                    {
                        return;
                    }
                    match run(seed, &arguments.options) {
                        Ok(report) => sums.add(&report),
                        Err(failure) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            report(&failure);
                        }
                    }
                    let lived = sums.lived.fetch_add(1, Ordering::Relaxed) + 1;
                    if shows {
                        eprint!("\r{lived} of {total} seeds, {} failed ", failed.load(Ordering::Relaxed));
                        // Progress is of no account.
                        let _ = std::io::stderr().flush();
                    }
                }
            });
        }
    });
    if shows {
        eprintln!();
    }
    let failed = failed.into_inner();
    println!(
        "{} seeds lived in {:.1} s, {failed} failed: {} events, {} s of virtual time, {} records committed, {} partitions \
         that lost what they were allowed to lose",
        sums.lived.into_inner(),
        started.elapsed().as_secs_f64(),
        sums.steps.into_inner(),
        sums.millis.into_inner() / 1000,
        sums.committed.into_inner(),
        sums.tainted.into_inner(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(failure: &Failure) {
    println!("{failure}");
}
