//! A cluster on one thread: the real cores (raft with the controller, partitions, groups) under a virtual clock, with
//! networks that lose, disks that forget, processes that die and clocks that drift, all drawn from one seed.
//!
//! [`run`] lives one seed: topics are made, producers, group members and an operator work while things go wrong; at every
//! step the checks in `oracle` look at what has changed; at the end everything is healed and has to come back to life.
//! The drivers in here (`replica`, `broker`, `shard`, `quorum`) stand for the real ones in `ottla-replica`,
//! `ottla-coordinator` and the broker, without threads and sockets; of fetch sessions they know nothing. [`Fault`] plants
//! a fault in them, to show that the checks would find it.

mod broker;
mod chance;
mod client;
mod env;
mod fault;
mod log;
mod machine;
mod message;
mod nemesis;
mod network;
mod oracle;
mod quorum;
mod replica;
mod shard;
mod temper;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use fault::Fault;
pub use oracle::Violation;

use broker::OFFSETS_TOPIC;
use client::{Client, Member, Operator, Producer, Wanted};
use world::World;

/// How a seed is lived.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Events while things go wrong.
    pub steps: u64,
    /// Events that are kept for whoever wants to understand a failure.
    pub trace: usize,
    /// A fault to plant.
    pub fault: Option<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 6_000, trace: 0, fault: None }
    }
}

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events.
    pub steps: u64,
    /// Virtual time, in milliseconds.
    pub millis: u64,
    /// Records that were committed.
    pub committed: usize,
    /// Partitions that lost records in a way that is allowed.
    pub tainted: usize,
    /// A sum over all that happened: equal runs have equal sums.
    pub sum: u64,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The event it failed at.
    pub step: u64,
    /// Virtual time, in milliseconds.
    pub millis: u64,
    /// What is wrong.
    pub violation: Violation,
    /// The last events, oldest first, as many as were asked for.
    pub trace: Vec<String>,
    /// How it was lived.
    pub options: Options,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, step, millis, violation, options, trace } = self;
        for line in trace {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "seed {seed} failed at step {step}, {millis} ms: {}: {}",
            violation.check, violation.what
        )?;
        let fault = options.fault.map(|fault| format!(" --fault {}", fault.name())).unwrap_or_default();
        write!(
            f,
            "replay it: cargo run -p ottla-sim -- --seed {seed} --steps {}{fault} --trace 200",
            options.steps
        )
    }
}

/// Where clients are.
const OPERATOR: i32 = 1000;

/// Lives one seed.
///
/// # Errors
/// The first check that failed; also a core that panics.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Failure>> {
    machine::plant(options.fault);
    let mut world = World::new(seed, options.fault, options.trace);
    let lived = catch_unwind(AssertUnwindSafe(|| live(&mut world, options)));
    let violation = match lived {
        Ok(Ok(())) => {
            return Ok(Report {
                steps: world.steps,
                millis: world.now / 1000,
                committed: world.oracle.committed(),
                tainted: world.oracle.tainted(),
                sum: world.trace.sum(),
            });
        }
        Ok(Err(violation)) => violation,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Violation { check: "no-panic", what: text.unwrap_or_default() }
        }
    };
    let (step, millis, trace) = (world.steps, world.now / 1000, world.trace.take());
    Err(Box::new(Failure { seed, step, millis, violation, trace, options: *options }))
}

/// Virtual time that the founding may take, and that may pass until all is well again: microseconds.
const FOUNDING_US: u64 = 20_000_000;
const HEALING_US: u64 = 40_000_000;

fn live(world: &mut World, options: &Options) -> Result<(), Violation> {
    populate(world);
    world.network.calm();
    let stuck = |world: &World, why: &str| Violation {
        check: "comes-to-life",
        what: format!("{why}: {:?}, {:?}", world.complaint(), world.oracle.unlike(&world.disks())),
    };
    while !is_founded(world) {
        world.step()?;
        if world.now > FOUNDING_US {
            return Err(stuck(world, "the cluster was not founded"));
        }
    }
    let end = world.steps + options.steps;
    world.nemesis_after(100_000);
    while world.steps < end {
        world.step()?;
    }
    world.heal();
    let deadline = world.now + HEALING_US;
    loop {
        let until = world.now + 200_000;
        while world.now < until {
            world.step()?;
        }
        if world.complaint().is_none() && world.oracle.unlike(&world.disks()).is_none() {
            return Ok(());
        }
        if world.now > deadline {
            return Err(stuck(world, "healed, and not well again"));
        }
    }
}

fn is_founded(world: &World) -> bool {
    matches!(world.client(OPERATOR), Some(Client::Operator(operator)) if operator.is_ready())
}

/// Who lives in this world.
fn populate(world: &mut World) {
    let layout = world.rng.below(5);
    let brokers = match layout {
        0 | 1 => 3,
        2 => 4,
        _ => 3 + world.rng.below(2),
    };
    let brokers = i32::try_from(brokers).expect("few");
    if layout < 3 {
        (1..=brokers).for_each(|id| world.add_node(id, id <= 3, true));
    } else {
        (1..=3).for_each(|id| world.add_node(id, true, false));
        (11..11 + brokers).for_each(|id| world.add_node(id, false, true));
    }
    let min_isr = |world: &mut World| i32::try_from(world.rng.between(1, 2)).expect("few");
    (21..21 + world.temper.joiners).for_each(|id| world.add_node(id, true, false));
    let unclean = world.temper.unclean;
    let mut topic = |name: &str, partitions| {
        let min_isr = min_isr(world);
        Wanted { name: name.to_owned(), partitions, min_isr, unclean: unclean.contains(&name) }
    };
    let plan = vec![topic(OFFSETS_TOPIC, 1), topic("orders", 3), topic("events", 2)];
    let hint = world.known.controllers[0];
    world.add_client(OPERATOR, Client::Operator(Operator::new(hint, 3, plan, world.temper)));
    for number in 0..2 {
        let pace = world.rng.between(10, 60);
        world.add_client(1100 + number, Client::Producer(Producer::new(pace)));
    }
    for number in 0..3 {
        let member = Member::new("group", "orders", format!("member-{number}"));
        world.add_client(1200 + number, Client::Member(member));
    }
}
