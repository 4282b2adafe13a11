//! Every rule of the classic protocol as a conversation: commands in, facts and answers out.
//!
//! A script lives in `tests/golden/`; `UPDATE_GOLDENFILES=1` writes what comes out back into it. Commands:
//!
//! - `config KEY=VALUE...`: before anything else.
//! - `join TOKEN GROUP [member=] [client=] [instance=] [type=] [protocols=NAME[:METADATA],...] [session=] [rebalance=] [v=]`
//! - `sync TOKEN GROUP member= generation= [instance=] [type=] [protocol=] [give=MEMBER:ASSIGNMENT,...]`
//! - `heartbeat TOKEN GROUP member= generation= [instance=]`
//! - `leave TOKEN GROUP [members=ID,...] [instances=ID,...]`
//! - `commit TOKEN GROUP [member=] [generation=] [instance=] [v=] [retention=] [id=] TOPIC:PARTITION:OFFSET[:METADATA]...`
//! - `fetch TOKEN GROUP [stable=true] [id=] [TOPIC:PARTITION...]`
//! - `describe TOKEN GROUP`, `list TOKEN [states=...] [types=...]`, `delete-topics TOKEN TOPIC...`
//! - `tick MS`: time passes; what is due happens at its time.
//! - `restart`: another coordinator reads the log and takes over. `txn PRODUCER GROUP TOPIC:PARTITION:OFFSET` and
//!   `marker PRODUCER commit|abort` add to the log what transactions do, for the next restart to read;
//!   `delete-offset GROUP TOPIC:PARTITION` a tombstone.
//! - `refuse CODE`: the log does not take the next facts.
//! - `deadline`, `log`: what the core waits for; what the log holds.
//!
//! Member ids are shown, and may be named, as `m1`, `m2`... in the order in which they are handed out.

mod runner;

use std::path::Path;

test_each_file::test_each_path! { in "./crates/groups/tests/golden" => golden }

fn golden(path: &Path) {
    goldenscript::run(&mut runner::Conversation::default(), path).expect("the script runs as it says");
}
