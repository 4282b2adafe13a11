//! Golden scripts for one replica: node 1 of a partition, told what happens to it.

use std::{error::Error, fmt::Write as _, path::Path};

use goldenscript::{Command, Context, Runner};
use ottla_partition::{
    Admitted, BatchFacts, BrokerStanding, Brokers, Effects, EpochEnd, Event, FollowerFetch, IsrAnswer,
    IsrProposal, LeaderEpochs, LeaderTerm, Origin, Partition, ProducerTable, Role, Rules,
};
use ottla_types::Millis;
use test_each_file::test_each_path;

test_each_path! { in "crates/partition/tests/golden/partition" => run }

fn run(path: &Path) {
    let rules = Rules { min_insync_replicas: 1, replica_lag_time_max_ms: 1000 };
    let partition = Partition::new(1, rules, (0, 0), 0, LeaderEpochs::default(), ProducerTable::default());
    goldenscript::run(
        &mut Node { partition, now: Millis(0), asked: None, brokers: Brokers::default(), rules },
        path,
    )
    .expect("golden script");
}

struct Node {
    partition: Partition,
    now: Millis,
    /// The last proposal.
    asked: Option<IsrProposal>,
    brokers: Brokers,
    rules: Rules,
}

fn list(text: &str) -> Result<Vec<i32>, Box<dyn Error>> {
    Ok(text.split('/').filter(|part| !part.is_empty()).map(str::parse).collect::<Result<_, _>>()?)
}

impl Node {
    fn on(&mut self, event: Event) -> String {
        let mut effects = Effects::default();
        self.partition.on(self.now, event, &mut effects);
        self.show(&effects)
    }

    fn show(&mut self, effects: &Effects) -> String {
        if effects.propose_isr.is_some() {
            self.asked.clone_from(&effects.propose_isr);
        }
        show(effects)
    }

    /// One batch of `count` records that the leader wrote in `epoch`.
    fn replicate(&mut self, count: i64, epoch: i32) -> String {
        let base_offset = self.partition.log_end();
        let facts = BatchFacts { base_offset, last_offset: base_offset + count - 1, ..self.facts(count) };
        let mut effects = Effects::default();
        self.partition.replicated(self.now, &facts, epoch, None, &mut effects);
        self.show(&effects)
    }

    /// The rules with this `min.insync.replicas`; the last ones if it is not said.
    fn rules(&mut self, min_isr: Option<&str>) -> Result<Rules, Box<dyn Error>> {
        if let Some(min_isr) = min_isr {
            self.rules.min_insync_replicas = min_isr.parse()?;
        }
        Ok(self.rules)
    }

    fn facts(&self, count: i64) -> BatchFacts {
        BatchFacts {
            producer_id: -1,
            epoch: -1,
            first_sequence: -1,
            last_sequence: -1,
            base_offset: 0,
            last_offset: count - 1,
            max_timestamp: self.now,
            transactional: false,
            control: false,
        }
    }

    fn append(&mut self, mut facts: BatchFacts, all: bool) -> String {
        match self.partition.admit(&facts, Origin::ClientFromZero, all) {
            Ok(Admitted::Append { base_offset, leader_epoch }) => {
                facts.base_offset += base_offset;
                facts.last_offset += base_offset;
                let mut effects = Effects::default();
                self.partition.appended((self.now, self.now), &facts, None, &mut effects);
                format!("at {base_offset} epoch {leader_epoch}{}", show(&effects))
            }
            Ok(duplicate) => format!("{duplicate:?}"),
            Err(refusal) => format!("{} {refusal}", refusal.code()),
        }
    }
}

fn show(effects: &Effects) -> String {
    let mut out = String::new();
    let Effects { truncate_to, start_over_at, assign_epoch, advance_log_start, propose_isr, moved, resigned } =
        effects;
    if let Some(to) = truncate_to {
        out += &format!(" truncate={to}");
    }
    if let Some(at) = start_over_at {
        out += &format!(" start_over={at}");
    }
    if let Some((epoch, start)) = assign_epoch {
        out += &format!(" epoch={epoch}@{start}");
    }
    if let Some(to) = advance_log_start {
        out += &format!(" start={to}");
    }
    if let Some(asked) = propose_isr {
        out += &format!(" propose isr={:?} partition_epoch={}", asked.isr, asked.partition_epoch);
    }
    if *moved {
        out += " moved";
    }
    if *resigned {
        out += " resigned";
    }
    out
}

impl Runner for Node {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut out = String::new();
        match command.name.as_str() {
            "lead" => {
                let term = LeaderTerm {
                    leader_epoch: args.take_key("epoch").ok_or("epoch")?.parse()?,
                    partition_epoch: args.take_key("partition_epoch").map_or(Ok(0), str::parse)?,
                    replicas: list(args.take_key("replicas").ok_or("replicas")?)?,
                    isr: list(args.take_key("isr").ok_or("isr")?)?,
                    recovering: args.take_key("recovering").map_or(Ok(false), str::parse)?,
                    brokers: self.brokers.clone(),
                    rules: self.rules(args.take_key("min_isr"))?,
                };
                out = self.on(Event::Lead(term));
            }
            "follow" => {
                let leader = args.next_pos().ok_or("leader")?.parse()?;
                out = self.on(Event::Follow {
                    leader,
                    leader_epoch: args.take_key("epoch").ok_or("epoch")?.parse()?,
                });
            }
            "rules" => {
                let rules = self.rules(args.take_key("min_isr"))?;
                out = self.on(Event::RulesChanged(rules));
            }
            "append" => {
                let count = args.next_pos().map_or(Ok(1), |arg| arg.parse())?;
                let mut facts = self.facts(count);
                // producer=ID sequence=FIRST: by an idempotent producer
                if let Some(id) = args.take_key("producer") {
                    facts.producer_id = id.parse()?;
                    facts.epoch = 0;
                    facts.first_sequence = args.take_key("sequence").ok_or("sequence")?.parse()?;
                    facts.last_sequence = facts.first_sequence + i32::try_from(count)? - 1;
                }
                out = self.append(facts, args.take_key("all").map_or(Ok(false), str::parse)?);
            }
            "inherited" => {
                let epoch = self.partition.inherited(args.next_pos().ok_or("producer")?.parse()?);
                out = epoch.map_or("no".to_owned(), |epoch| format!("in epoch {epoch}"));
            }
            "fetched" => {
                let broker = args.next_pos().ok_or("broker")?.parse()?;
                let offset = args.next_pos().ok_or("offset")?.parse()?;
                let broker_epoch = args.take_key("epoch").map_or(Ok(-1), str::parse)?;
                if let Err(code) = self.partition.check_follower(broker, broker_epoch, true) {
                    out = format!("{code} ");
                }
                out += &self.on(Event::FollowerFetched(FollowerFetch {
                    broker,
                    broker_epoch,
                    offset,
                    log_start: 0,
                }));
            }
            // Registered brokers as id@epoch, those that are fenced with a word.
            "brokers" => {
                let mut registered = Vec::new();
                while let Some(arg) = args.next_pos() {
                    let active = !arg.ends_with("-fenced");
                    let (id, epoch) = arg.trim_end_matches("-fenced").split_once('@').ok_or("id@epoch")?;
                    registered.push((id.parse()?, BrokerStanding { epoch: epoch.parse()?, active }));
                }
                self.brokers = Brokers::new(registered);
                out = self.on(Event::Brokers(self.brokers.clone()));
            }
            "replicate" => {
                let count = args.next_pos().map_or(Ok(1), |arg| arg.parse())?;
                out = self.replicate(count, args.take_key("epoch").ok_or("epoch")?.parse()?);
            }
            "out_of_range" => {
                let leader_start = args.next_pos().ok_or("start")?.parse()?;
                let leader_end = args.next_pos().ok_or("end")?.parse()?;
                out = self.on(Event::OutOfRange { leader_start, leader_end });
            }
            "started_over" => {
                out = self.on(Event::StartedOver { at: args.next_pos().ok_or("offset")?.parse()? })
            }
            "isr" => {
                let answer = match args.next_pos().ok_or("isr or refused")? {
                    "refused" => IsrAnswer::Refused,
                    isr => IsrAnswer::Decided {
                        leader_epoch: args.take_key("leader_epoch").map_or(Ok(0), str::parse)?,
                        isr: list(isr)?,
                        partition_epoch: args
                            .take_key("partition_epoch")
                            .ok_or("partition_epoch")?
                            .parse()?,
                    },
                };
                let asked = self.asked.clone().ok_or("nothing was asked")?;
                out = self.on(Event::IsrAnswered { asked, answer });
            }
            "leader_said" => {
                let high_watermark = args.next_pos().ok_or("high watermark")?.parse()?;
                let log_start = args.next_pos().map_or(Ok(0), |arg| arg.parse())?;
                out = self.on(Event::LeaderSaid { high_watermark, log_start });
            }
            "diverged" => {
                let epoch = args.next_pos().ok_or("epoch")?.parse()?;
                let end_offset = args.next_pos().ok_or("end offset")?.parse()?;
                out = self.on(Event::Diverged(EpochEnd { epoch, end_offset }));
            }
            "truncated" => {
                let end = args.next_pos().ok_or("offset")?.parse()?;
                out = self.on(Event::Truncated { end, producers: Box::default() });
            }
            "log_start" => {
                out = self.on(Event::LogStartMoved { to: args.next_pos().ok_or("offset")?.parse()? })
            }
            "at" => {
                self.now = Millis(args.next_pos().ok_or("time")?.parse()?);
                let mut effects = Effects::default();
                self.partition.on_deadline(self.now, &mut effects);
                out = self.show(&effects);
            }
            "show" => {
                let p = &self.partition;
                match p.role() {
                    Role::Leader(epoch) => {
                        write!(out, "leader epoch={epoch} isr={:?} alone={}", p.isr(), p.is_alone())?
                    }
                    Role::Follower { leader, leader_epoch } => {
                        write!(out, "follower of {leader} epoch={leader_epoch}")?
                    }
                }
                let (start, end) = (p.log_start(), p.log_end());
                write!(out, " log={start}..{end} hw={} lso={}", p.high_watermark(), p.last_stable_offset())?;
                write!(out, " epochs={:?} deadline={:?}", p.epochs().entries(), p.deadline().map(|at| at.0))?;
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        args.reject_next()?;
        Ok(out.trim().to_owned())
    }
}
