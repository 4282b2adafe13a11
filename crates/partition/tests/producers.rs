//! Golden scripts for the producer table: a small log that checks and records batches one by one.

use std::{error::Error, fmt::Write as _, path::Path};

use goldenscript::{Command, Context, Runner};
use ottla_partition::{BatchFacts, Marker, Origin, ProducerTable, TransactionEnd, Verdict, next_sequence};
use ottla_types::Millis;
use test_each_file::test_each_path;

test_each_path! { in "crates/partition/tests/golden/producers" => run }

fn run(path: &Path) {
    goldenscript::run(&mut Log { table: ProducerTable::default(), end: 0 }, path).expect("golden script");
}

/// A log of batches without the batches.
struct Log {
    table: ProducerTable,
    end: i64,
}

impl Runner for Log {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut out = String::new();
        match command.name.as_str() {
            // append <pid> <epoch> <first sequence> [count=1] [at=ms] [txn=true] [origin=client]
            "append" => {
                let mut number = || -> Result<i64, Box<dyn Error>> {
                    Ok(args.next_pos().ok_or("pid, epoch and first sequence")?.parse()?)
                };
                let (pid, epoch, first) = (number()?, i16::try_from(number()?)?, i32::try_from(number()?)?);
                let count = args.take_key("count").map_or(Ok(1), str::parse)?;
                let at = Millis(args.take_key("at").map_or(Ok(0), str::parse)?);
                let facts = BatchFacts {
                    producer_id: pid,
                    epoch,
                    first_sequence: first,
                    last_sequence: next_sequence(first, count - 1),
                    base_offset: self.end,
                    last_offset: self.end + i64::from(count) - 1,
                    max_timestamp: at,
                    transactional: args.take_key("txn").map_or(Ok(false), str::parse)?,
                    control: false,
                };
                let origin = match args.take_key("origin").unwrap_or("client") {
                    "client" => Origin::Client,
                    "client-from-zero" => Origin::ClientFromZero,
                    "coordinator" => Origin::Coordinator,
                    "replication" => Origin::Replication,
                    other => return Err(format!("unknown origin {other}").into()),
                };
                match self.table.check(&facts, origin) {
                    Ok(Verdict::Append) => {
                        self.table.record(&facts, at);
                        self.end = facts.last_offset + 1;
                        write!(out, "appended {}..={}", facts.base_offset, facts.last_offset)?;
                    }
                    Ok(Verdict::Duplicate { base_offset, last_offset, timestamp }) => {
                        write!(out, "duplicate of {base_offset}..={last_offset} at={}", timestamp.0)?;
                    }
                    Err(refusal) => write!(out, "{} {refusal}", refusal.code())?,
                }
            }
            // end <pid> <epoch> commit|abort [coordinator=epoch]
            "end" => {
                let pid = args.next_pos().ok_or("pid")?.parse()?;
                let epoch = args.next_pos().ok_or("epoch")?.parse()?;
                let marker = match args.next_pos().ok_or("marker")? {
                    "commit" => Marker::Commit,
                    "abort" => Marker::Abort,
                    other => return Err(format!("unknown marker {other}").into()),
                };
                let end = TransactionEnd {
                    marker,
                    coordinator_epoch: args.take_key("coordinator").map_or(Ok(0), str::parse)?,
                };
                let facts = BatchFacts {
                    producer_id: pid,
                    epoch,
                    first_sequence: -1,
                    last_sequence: -1,
                    base_offset: self.end,
                    last_offset: self.end,
                    max_timestamp: Millis(0),
                    transactional: true,
                    control: true,
                };
                match self.table.check(&facts, Origin::Coordinator) {
                    Ok(_) => {
                        let ended = self.table.record_end(&facts, end, Millis(0));
                        self.end += 1;
                        match ended {
                            Some(ended) => write!(
                                out,
                                "ended {}..={} stable to {}",
                                ended.first_offset, ended.last_offset, ended.last_stable_offset
                            )?,
                            None => write!(out, "nothing was open")?,
                        }
                    }
                    Err(refusal) => write!(out, "{} {refusal}", refusal.code())?,
                }
            }
            "unstable" => write!(out, "{:?}", self.table.first_unstable())?,
            "replicated" => self.table.high_watermark_moved(args.next_pos().ok_or("offset")?.parse()?),
            "start" => self.table.log_start_moved(args.next_pos().ok_or("offset")?.parse()?),
            // aborted <from> <to>
            "aborted" => {
                let from = args.next_pos().ok_or("from")?.parse()?;
                let to = args.next_pos().ok_or("to")?.parse()?;
                for ended in self.table.aborted(from, to) {
                    writeln!(
                        out,
                        "pid {} first {} last {}",
                        ended.producer_id, ended.first_offset, ended.last_offset
                    )?;
                }
            }
            // expire <now> <after>
            "expire" => {
                let now = args.next_pos().ok_or("now")?.parse()?;
                let after = args.next_pos().ok_or("after")?.parse()?;
                write!(
                    out,
                    "{} forgotten, {} kept",
                    self.table.expire(Millis(now), after),
                    self.table.len()
                )?;
            }
            "reload" => {
                let bytes = self.table.snapshot();
                let read = ProducerTable::from_snapshot(&bytes)?;
                assert_eq!(read, self.table, "a snapshot holds everything");
                self.table = read;
                write!(out, "{} bytes", bytes.len())?;
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        args.reject_next()?;
        Ok(out)
    }
}
