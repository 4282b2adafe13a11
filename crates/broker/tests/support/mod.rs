//! What the tests of the process share: the binary started on a temporary dir, its log, its end, and a client that
//! speaks bytes.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, reason = "each test file uses a part")]

mod client;
pub mod cluster;
mod log;
mod memory;
pub mod requests;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

pub use client::Client;
pub use log::Log;
pub use memory::MIB;
pub use rustix::process::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, setrlimit};

/// Bounds what would hang; never what is measured.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A temporary dir with room for one node.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The log dir of its node.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// True when the last process marked the log dir clean.
    pub fn is_clean(&self) -> bool {
        self.data().join(".kafka_cleanshutdown").exists()
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("the temporary directory takes a file");
        path
    }

    /// A property file of a node on a port of the system's choice, with these lines at its end.
    pub fn properties(&self, lines: &str) -> PathBuf {
        let data = self.data();
        let text = format!(
            "node.id=1\nprocess.roles=broker,controller\n{LISTENERS}\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@localhost:9093\nlog.dirs={}\n{lines}\n",
            data.display()
        );
        self.write("server.properties", &text)
    }

    /// The binary with these arguments, without the environment of the test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.env_clear().current_dir(self.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the binary with these arguments.
    pub fn spawn(&self, arguments: &[&str]) -> Process {
        Process::of(self.command(arguments))
    }

    /// As [`spawn`](Self::spawn), and the process may have this many files open.
    pub fn spawn_with_files(&self, files: u32, arguments: &[&str]) -> Process {
        self.spawn_after(&format!("ulimit -n {files}"), arguments)
    }

    /// As [`spawn`](Self::spawn), by a shell that does something before.
    pub fn spawn_after(&self, first: &str, arguments: &[&str]) -> Process {
        let bare = self.command(arguments);
        let mut command = Command::new("/bin/sh");
        command.env_clear().current_dir(self.path());
        command.arg("-c").arg(format!("{first} && exec \"$0\" \"$@\""));
        command.arg(bare.get_program()).args(bare.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::of(command)
    }

    /// Starts a node without a property file, on a port of the system's choice, and waits until it serves.
    pub fn start(&self, overrides: &[&str]) -> Node {
        let log_dirs = format!("log.dirs={}", self.data().display());
        let mut arguments = vec!["--override", &log_dirs, "--override", LISTENERS];
        // Groups form as soon as their first member is there.
        arguments.extend(["--override", "group.initial.rebalance.delay.ms=0"]);
        arguments.extend(overrides.iter().flat_map(|pair| ["--override", pair]));
        Node::of(self.spawn(&arguments))
    }

    /// Starts the binary with these arguments, which it must refuse: exit code 1 without a panic. Returns what it said.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let mut process = self.spawn(arguments);
        let status = process.end();
        let said = process.log.text();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(!said.contains("panicked") && !said.contains(STARTED), "{said}");
        said
    }
}

const LISTENERS: &str = "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
const STARTED: &str = "Kafka Server started";
const AWAITING: &str = "Awaiting socket connections on ";

/// The binary, running or not any more. Killed when it is dropped.
pub struct Process {
    child: Child,
    pub log: Arc<Log>,
}

impl Process {
    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary was built for this test");
        let log = Log::of(child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        Self { child, log }
    }

    /// Waits until it has ended.
    pub fn end(&mut self) -> ExitStatus {
        self.log.wait_for_the_end();
        self.child.wait().expect("it is our child")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is our child, and not waited for yet");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; waits for the end, which must be a good one.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let status = self.end();
        assert_eq!(status.code(), Some(0), "{}", self.log.text());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that serves.
pub struct Node {
    process: Process,
    pub address: SocketAddr,
}

impl Node {
    /// Waits until the process serves.
    pub fn of(process: Process) -> Self {
        let line = process.log.wait_for(AWAITING);
        let address = line.split(AWAITING).nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.and_then(|address| address.parse().ok()).expect("the line names the address");
        process.log.wait_for(STARTED);
        Self { process, address }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.process.log.text()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until it says that.
    pub fn wait_for(&self, what: &str) {
        self.process.log.wait_for(what);
    }

    pub fn has_ended(&self) -> bool {
        self.process.log.has_ended()
    }

    /// kill -9; it is gone when this returns.
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.end();
    }

    /// Waits until it has ended of itself. Returns how, and what it said.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.process.end();
        (status, self.said())
    }

    /// SIGTERM; waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.stop().0
    }

    /// The same; returns also what it said.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.process.signal(Signal::TERM);
        let status = self.process.end();
        let said = self.said();
        assert!(!said.contains("panicked"), "{said}");
        (status, said)
    }

    /// Fails unless the process runs, has not panicked, and serves a new client.
    pub fn assert_well(&self) {
        let said = self.said();
        assert!(!said.contains("panicked") && !said.contains("FATAL"), "{said}");
        assert!(!self.process.log.has_ended(), "the process ended:\n{said}");
        assert_eq!(requests::api_versions(&mut self.connect()).error_code, 0);
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Lets this process, and those it starts, open as many files as the system allows.
pub fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, all).expect("up to the hard limit everyone may");
}
