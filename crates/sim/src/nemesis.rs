//! What goes wrong, and when: drawn from the seed. A run has a temper of its own: some are all crashes, some all networks.

use ottla_types::NodeId;

use crate::{
    chance::Rng,
    env::Addr,
    world::{End, World},
};

/// How likely each misfortune is, in parts of their sum.
#[derive(Debug)]
pub(crate) struct Nemesis {
    kill: u64,
    power: u64,
    pause: u64,
    cut: u64,
    weather: u64,
    shutdown: u64,
    /// Between misfortunes, in milliseconds.
    every_ms: i64,
    /// Power is cut also where the last copy of something is lost.
    reckless: bool,
    pub(crate) is_over: bool,
}

impl Nemesis {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut weight = |often: u64| if rng.permille(700) { rng.below(often) + 1 } else { 0 };
        let (kill, power, pause) = (weight(10), weight(8), weight(8));
        let (cut, weather, shutdown) = (weight(10), weight(6), weight(5));
        let every_ms = rng.between(120, 1_500);
        Self {
            kill,
            power,
            pause,
            cut,
            weather,
            shutdown,
            every_ms,
            reckless: rng.permille(60),
            is_over: false,
        }
    }
}

/// One misfortune, or the end of some.
pub(crate) fn strike(world: &mut World) {
    if world.nemesis.is_over {
        return;
    }
    let every = world.nemesis.every_ms;
    let pause = world.rng.between(every / 4, every * 2).unsigned_abs() * 1000;
    world.nemesis_after(pause);
    let kinds = [
        world.nemesis.kill,
        world.nemesis.power,
        world.nemesis.pause,
        world.nemesis.cut,
        world.nemesis.weather,
        world.nemesis.shutdown,
    ];
    let mut drawn = world.rng.below(kinds.iter().sum::<u64>() + 2);
    let kind = kinds.iter().position(|weight| {
        let hit = drawn < *weight;
        drawn = drawn.saturating_sub(*weight);
        hit
    });
    let nodes: Vec<NodeId> = world.nodes.keys().copied().collect();
    let node = nodes[world.rng.index(nodes.len())];
    match kind {
        Some(0) => crash(world, node, End::Killed),
        Some(1) => crash(world, node, End::PowerCut),
        Some(2) => {
            let us = world.rng.between(50_000, 3_000_000).unsigned_abs();
            world.pause(node, us);
        }
        Some(3) => cut(world, node, &nodes),
        Some(4) => weather(world),
        Some(5) => {
            // What a shutdown notes is checked with the node's next event, too.
            let _ = world.shut_down(node);
        }
        _ => {
            world.network.mend();
            world.say(0, "the cables are plugged in again");
        }
    }
}

fn crash(world: &mut World, node: NodeId, how: End) {
    if !world.is_up(node) {
        return;
    }
    let loses = how == End::PowerCut && world.oracle.would_lose(node, &world.disks());
    let how = if loses && !world.nemesis.reckless { End::Killed } else { how };
    world.end(node, how);
    let rest =
        if world.rng.permille(500) { world.rng.between(5, 300) } else { world.rng.between(300, 4_000) };
    world.restart_after(rest.unsigned_abs() * 1000, node);
}

fn cut(world: &mut World, node: NodeId, nodes: &[NodeId]) {
    if world.rng.permille(350) {
        world.network.mend();
        return world.say(0, "the cables are plugged in again");
    }
    let others: Vec<Addr> = nodes.iter().copied().filter(|other| *other != node).collect();
    match world.rng.below(4) {
        // From the other nodes, both ways.
        0 => {
            for other in others {
                world.network.cut(node, other);
                world.network.cut(other, node);
            }
            world.say(node, "is cut off from the other nodes");
        }
        // One way.
        1 => {
            let out = world.rng.permille(500);
            for other in others {
                if out { world.network.cut(node, other) } else { world.network.cut(other, node) }
            }
            world.say(
                node,
                if out { "is not heard by the other nodes" } else { "does not hear the other nodes" },
            );
        }
        // From one other.
        2 => {
            if let Some(other) = world.rng.pick(&others) {
                world.network.cut(node, other);
                world.network.cut(other, node);
                world.say(node, &format!("is cut off from {other}"));
            }
        }
        // In two halves.
        _ => {
            let half: Vec<NodeId> = nodes.iter().copied().filter(|_| world.rng.permille(500)).collect();
            for one in &half {
                for other in nodes.iter().filter(|other| !half.contains(other)) {
                    world.network.cut(*one, *other);
                    world.network.cut(*other, *one);
                }
            }
            world.say(0, &format!("{half:?} are cut off"));
        }
    }
}

fn weather(world: &mut World) {
    let rng = &mut world.rng;
    let bad = rng.permille(600);
    let network = &mut world.network;
    network.loss = if bad { rng.below(150) } else { 0 };
    network.duplicates = if bad { rng.below(100) } else { 0 };
    network.stragglers = if bad { rng.below(150) } else { 10 };
    let slow = if rng.permille(300) { rng.between(2_000, 60_000) } else { 3_000 };
    network.delay = (200, 200 + slow);
    let text = format!("weather: {network:?}");
    world.say(0, &text.chars().take(150).collect::<String>());
}
