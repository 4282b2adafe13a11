//! Golden scripts for fetch sessions.

use std::{error::Error, fmt::Write as _, path::Path};

use goldenscript::{Command, Context, Runner};
use ottla_protocol::StrBytes;
use ottla_types::TopicPartitionId;
use test_each_file::test_each_path;

use super::*;

test_each_path! { in "crates/router/tests/golden/fetch_session" => run }

fn run(path: &Path) {
    let mut client = Client {
        sessions: FetchSessions::new(2, 1, 1_000),
        now: Millis(0),
        last: 0,
        high: HashMap::new(),
        generation: 0,
    };
    goldenscript::run(&mut client, path).expect("golden script");
}

/// Sends requests and shows what would be told. `last` is the session that was made last, written as `s`.
struct Client {
    sessions: FetchSessions,
    now: Millis,
    last: i32,
    /// What is in the log: (high watermark, error) by partition of topic `t`.
    high: HashMap<i32, (Offset, bool)>,
    /// Of what no replica reports by itself.
    generation: u64,
}

fn key(partition: i32, ids: bool) -> PartitionKey {
    PartitionKey {
        topic_id: if ids { TopicId::METADATA } else { TopicId::ZERO },
        topic: TopicName(StrBytes::from_static_str(if ids { "" } else { "t" })),
        partition,
    }
}

impl Client {
    fn news(&self, wanted: &Wanted) -> News {
        let (high_watermark, error) = self.high.get(&wanted.key.partition).copied().unwrap_or((0, false));
        let bytes =
            if error { 0 } else { high_watermark.saturating_sub(wanted.fetch_offset).max(0) as usize };
        News { bytes, high_watermark, log_start: 0, exceptional: error, error, settled: !error && bytes == 0 }
    }

    fn fetch(
        &mut self,
        request: SessionRequest,
        wanted: Vec<Wanted>,
        forgotten: Vec<PartitionKey>,
    ) -> String {
        let begun = self.sessions.begin(request, wanted, forgotten, self.now);
        let (mode, wanted) = match begun {
            Ok(begun) => (begun.mode, begun.wanted),
            Err(code) => return code.to_string(),
        };
        let told: Vec<_> = wanted.iter().map(|one| (one.clone(), self.news(one))).collect();
        let (id, chosen) = match mode {
            Mode::Sessionless => (0, vec![true; told.len()]),
            Mode::Full => {
                let chosen = vec![true; told.len()];
                let id = self.sessions.create(request, told.clone().into_iter(), self.now);
                self.last = id;
                (id, chosen)
            }
            Mode::Incremental { id, epoch } => {
                let news = told.iter().map(|(wanted, news)| (&wanted.key, *news));
                match self.sessions.select(id, epoch, news) {
                    Ok(chosen) => (id, chosen),
                    Err(code) => return code.to_string(),
                }
            }
        };
        let mut out = String::from(match id {
            0 => "no session",
            id if id == self.last => "session s",
            _ => "another session",
        });
        if request.follower {
            let read: Vec<_> = wanted.iter().map(|one| one.key.partition.to_string()).collect();
            write!(out, "; reads [{}]", read.join(" ")).expect("strings take everything");
        }
        for ((wanted, news), _) in told.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            let error = if news.error { " error" } else { "" };
            write!(out, "; {} hw={} bytes={}{error}", wanted.key.partition, news.high_watermark, news.bytes)
                .expect("strings take everything");
        }
        out
    }
}

impl Runner for Client {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut out = String::new();
        match command.name.as_str() {
            // fetch <session id> <epoch> [partition@offset ...] [forget=partition] [ids=true] [follower=true]
            "fetch" => {
                let id = match args.next_pos().ok_or("session")? {
                    "s" => self.last,
                    id => id.parse()?,
                };
                let epoch = args.next_pos().ok_or("epoch")?.parse()?;
                let uses_ids = args.take_key("ids").map_or(Ok(false), str::parse)?;
                let follower = args.take_key("follower").map_or(Ok(false), str::parse)?;
                let forget = args.take_key("forget").map(str::parse).transpose()?;
                let mut wanted = Vec::new();
                while let Some(one) = args.next_pos() {
                    let (partition, offset) = one.split_once('@').ok_or("partition@offset")?;
                    wanted.push(Wanted {
                        key: key(partition.parse()?, uses_ids),
                        fetch_offset: offset.parse()?,
                        max_bytes: 100,
                        current_leader_epoch: -1,
                        last_fetched_epoch: -1,
                        log_start: -1,
                    });
                }
                let request = SessionRequest { id, epoch, uses_ids, follower, generation: self.generation };
                out = self.fetch(
                    request,
                    wanted,
                    forget.map(|partition| key(partition, uses_ids)).into_iter().collect(),
                );
            }
            "log" => {
                let partition = args.next_pos().ok_or("partition")?.parse()?;
                let high_watermark = args.next_pos().ok_or("high watermark")?.parse()?;
                self.high.insert(partition, (high_watermark, false));
            }
            "fail" => {
                self.high.insert(args.next_pos().ok_or("partition")?.parse()?, (-1, true));
            }
            // A replica reports to the session made last.
            "change" => {
                let partition = args.next_pos().ok_or("partition")?.parse()?;
                let hot = self.sessions.sessions[&self.last].hot.as_ref().ok_or("it is no follower's")?;
                hot.changes.add(TopicPartitionId { topic: TopicId::METADATA, partition }, None);
            }
            "generation" => self.generation = args.next_pos().ok_or("number")?.parse()?,
            "at" => self.now = Millis(args.next_pos().ok_or("time")?.parse()?),
            "count" => write!(out, "{}", self.sessions.sessions.len())?,
            other => return Err(format!("unknown command {other}").into()),
        }
        args.reject_next()?;
        Ok(out)
    }
}
