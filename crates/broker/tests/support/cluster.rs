//! Several nodes as one cluster.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Home, Node, PATIENCE};

pub const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Where [`ports`] looks: below those that the system gives to connections, of which other tests open thousands.
const FIRST_PORT: u16 = 12_000;
const PORTS: u32 = 12_000;

/// Ports that were free a moment ago, each given once by this process.
pub fn ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(101);
    let mut candidates = std::iter::repeat_with(|| {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        FIRST_PORT + u16::try_from(at).expect("a port")
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::array::from_fn(|_| candidates.find(is_free).expect("they do not end"))
}

/// A node's home, which outlives its process.
pub struct Place {
    pub home: Home,
    file: PathBuf,
}

impl Place {
    pub fn new(id: i32, cluster_id: &str, lines: &str) -> Self {
        let home = Home::new();
        let text = format!(
            "node.id={id}\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             broker.heartbeat.interval.ms=500\n{lines}\n",
            home.data().display()
        );
        let file = home.write("server.properties", &text);
        let format = ["storage", "format", "-t", cluster_id, "-c", file.to_str().expect("text")];
        assert!(home.command(&format).output().expect("it runs").status.success());
        Self { home, file }
    }

    pub fn file(&self) -> &str {
        self.file.to_str().expect("text")
    }

    /// Where its controller listens.
    pub fn controller(&self) -> SocketAddr {
        let text = std::fs::read_to_string(self.file()).expect("read");
        let (_, at) = text.split_once("CONTROLLER://").expect("it has one");
        at.lines().next().and_then(|at| at.parse().ok()).expect("an address")
    }
}

/// Three combined nodes.
pub struct Three {
    pub places: BTreeMap<i32, Place>,
    pub nodes: BTreeMap<i32, Node>,
}

impl Three {
    pub fn start(lines: &str) -> Self {
        let controllers: [u16; 3] = ports();
        let brokers: [u16; 3] = ports();
        let voters: Vec<String> =
            controllers.iter().zip(1..).map(|(port, id)| format!("{id}@127.0.0.1:{port}")).collect();
        let places: BTreeMap<i32, Place> = (1..=3)
            .zip(controllers.iter().zip(brokers))
            .map(|(id, (controller, broker))| {
                let lines = format!(
                    "process.roles=broker,controller\n\
                     listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
                     controller.quorum.voters={}\n{lines}",
                    voters.join(",")
                );
                (id, Place::new(id, CLUSTER_ID, &lines))
            })
            .collect();
        let processes: Vec<_> =
            places.iter().map(|(id, place)| (*id, place.home.spawn(&[place.file()]))).collect();
        let nodes = processes.into_iter().map(|(id, process)| (id, Node::of(process))).collect();
        Self { places, nodes }
    }

    pub fn restart(&mut self, id: i32) {
        let place = &self.places[&id];
        self.nodes.insert(id, Node::of(place.home.spawn(&[place.file()])));
    }

    pub fn anyone(&self) -> &Node {
        self.nodes.values().next().expect("somebody runs")
    }
}

/// Tries a while, with a moment between two.
pub fn attempts() -> impl Iterator<Item = ()> {
    let between = Duration::from_millis(10);
    let count = PATIENCE.as_millis() / between.as_millis();
    (0..count).map(move |n| {
        if n > 0 {
            std::thread::sleep(between)
        }
    })
}
