//! What a process says, line by line, and that it has ended.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use super::PATIENCE;

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// Of its two streams.
    ended: u8,
}

/// Standard output and standard error of a process.
#[derive(Default)]
pub struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

impl Log {
    pub fn of(out: impl Read + Send + 'static, err: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let streams: [Box<dyn Read + Send>; 2] = [Box::new(out), Box::new(err)];
        for stream in streams {
            let log = log.clone();
            thread::spawn(move || log.follow(stream));
        }
        log
    }

    fn follow(&self, stream: Box<dyn Read + Send>) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            self.said().lines.push(line);
            self.more.notify_all();
        }
        self.said().ended += 1;
        self.more.notify_all();
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no follower panics")
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.said().lines.join("\n")
    }

    /// The first line with `what` in it, as soon as it is there.
    ///
    /// # Panics
    /// When the process ends without saying it.
    pub fn wait_for(&self, what: &str) -> String {
        let mut said = self.said();
        loop {
            if let Some(line) = said.lines.iter().find(|line| line.contains(what)) {
                return line.clone();
            }
            assert!(said.ended < 2, "ended without {what:?}:\n{}", said.lines.join("\n"));
            said = self.wait(said);
        }
    }

    /// Both streams are closed once the process is gone.
    pub fn wait_for_the_end(&self) {
        let mut said = self.said();
        while said.ended < 2 {
            said = self.wait(said);
        }
    }

    pub fn has_ended(&self) -> bool {
        self.said().ended == 2
    }

    fn wait<'a>(&'a self, said: MutexGuard<'a, Said>) -> MutexGuard<'a, Said> {
        let (said, timeout) = self.more.wait_timeout(said, PATIENCE).expect("no follower panics");
        assert!(!timeout.timed_out(), "nothing for {PATIENCE:?} after:\n{}", said.lines.join("\n"));
        said
    }
}
