//! kill -9 of a process that appends: everything it reported is there.

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use common::{TestDir, partition, read_all, simple, topic_id};
use ottla_records::Stamped;
use ottla_storage::{Collect, DirOptions, LogConfig, LogDir, WriteMode};
use ottla_types::{Offset, SystemClock};

/// Names the dir the child appends to. Absent in an ordinary test run.
const CHILD: &str = "OTTLA_STORAGE_CHILD";

fn config() -> LogConfig {
    LogConfig { segment_bytes: 100_000, ..LogConfig::default() }
}

fn nth(offset: Offset) -> Stamped {
    simple(offset, usize::try_from(offset % 700).expect("small") + 1)
}

/// The child's part: appends until it is killed, and says how far it got.
#[test]
fn child_appends() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let options = DirOptions { write_mode: WriteMode::DontCache, ..DirOptions::default() };
    let dir = LogDir::open(Path::new(&path), options, Arc::new(SystemClock::new())).expect("opens");
    let collect = Collect::new(config());
    dir.load(&collect).expect("loads");
    let mut log = collect
        .into_logs()
        .pop()
        .unwrap_or_else(|| dir.create_log(&partition(), topic_id(), Arc::new(config())).expect("creates"));
    let mut out = std::io::stderr();
    loop {
        let from = log.log_end();
        let batches: Vec<Stamped> = (from..from + 1 + from % 5).map(nth).collect();
        log.append(&batches).expect("appends");
        writeln!(out, "end {}", log.log_end()).expect("reports");
        if from % 37 == 0 {
            dir.checkpoint().expect("checkpoints");
        }
    }
}

#[test]
fn nothing_reported_is_lost_by_a_kill() {
    let files = TestDir::new();
    let mut least = 0;
    for round in 1..=6 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_appends", "--nocapture"])
            .env(CHILD, files.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut killed = false;
        for (count, line) in lines.enumerate() {
            let line = line.expect("reads");
            if let Some(end) = line.strip_prefix("end ").and_then(|end| end.parse().ok()) {
                least = end;
            }
            if count > 150 * round && !killed {
                child.kill().expect("kills");
                killed = true;
            }
        }
        child.wait().expect("ends");
        assert!(killed, "the child ended by itself");

        let (dir, log, report) = files.reopen(DirOptions::default(), &config());
        assert!(log.log_end() >= least, "{} < {least}", log.log_end());
        let expected: Vec<u8> =
            (0..log.log_end()).flat_map(|offset| nth(offset).to_bytes().to_vec()).collect();
        assert!(read_all(&log.reader(), 0, 1 << 20) == expected, "what is there is what was appended");
        assert!(report.checked_bytes < expected.len() as u64 || round == 1, "only the tail is checked");
        drop((log, dir));
    }
    assert!(least > 1000);
}
