//! docs/API-SUPPORT.md says what the router's table says. `UPDATE_DOCS=1 cargo test -p ottla-router --test api_support`
//! writes it anew.

use std::{
    fmt::Write as _,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use ottla_protocol::api::{self, Api};
use ottla_router::{Served, controller_served, served};

const HEAD: &str = "\
# APIs

<!-- Generated from crates/router/src/table.rs and controller_table.rs; do not edit.
     `UPDATE_DOCS=1 cargo test -p ottla-router --test api_support` writes it. -->

What Ottla serves, beside what Apache Kafka 4.4 serves. Ottla tells clients of nothing else (ApiVersions).
*Kafka 4.4* leaves out versions that Kafka itself hides because they are not stable. *not yet* means that such a
request closes the connection, as Kafka does with keys and versions it does not have.
";

fn range(versions: &RangeInclusive<i16>) -> String {
    let (from, to) = (versions.start(), versions.end());
    if from == to { from.to_string() } else { format!("{from}–{to}") }
}

/// The versions that Kafka serves; none where the only version is not stable.
fn kafka(api: &Api) -> String {
    if api.has(api.max_stable()) { range(&(api.min..=api.max_stable())) } else { "none".to_owned() }
}

fn ours(api: &Api, served: &[Served]) -> String {
    let Some(served) = served.iter().find(|served| served.key == api.key) else {
        return "not yet".to_owned();
    };
    let mut text = range(&served.versions);
    if served.advertised != served.versions {
        write!(text, " (advertised: {})", range(&served.advertised)).expect("strings take everything");
    }
    text
}

fn section(page: &mut String, title: &str, says: &str, apis: &[&Api], served: &[Served]) {
    let done = apis.iter().filter(|api| served.iter().any(|served| served.key == api.key)).count();
    write!(page, "\n## {title}\n\n{says} {done} of {} are served.\n\n", apis.len())
        .expect("strings take everything");
    page.push_str("| Key | API | Kafka 4.4 | Ottla |\n|---|---|---|---|\n");
    for api in apis {
        writeln!(page, "| {} | {} | {} | {} |", api.key, api.name, kafka(api), ours(api, served))
            .expect("strings take everything");
    }
}

/// `DescribeTopicPartitions` to `describe_topic_partitions`.
fn file_name(api: &str) -> String {
    let mut name = String::new();
    for c in api.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// The file of an API: of its own where a controller answers otherwise than a broker.
fn file(api: &str, on_controller: bool) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let own = dir.join("controller").join(file_name(api) + ".rs");
    if on_controller && own.exists() { own } else { dir.join(file_name(api) + ".rs") }
}

/// What the head of an API's file says is missing.
fn missing(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let head = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let said = head.skip_while(|line| !line.starts_with("Not done:")).take_while(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join(" ");
    said.strip_prefix("Not done:").map(|said| said.trim().to_owned())
}

fn render() -> String {
    let (served, on_controllers) = (served(), controller_served());
    let mut page = HEAD.to_owned();
    let of = |listed: fn(&Api) -> bool| api::APIS.iter().filter(move |api| listed(api)).collect::<Vec<_>>();
    section(
        &mut page,
        "On listeners of brokers",
        "What clients, tools and other brokers ask.",
        &of(|api| api.broker),
        &served,
    );
    let between = "What brokers ask controllers, for themselves or in an Envelope for their clients, and what tools ask \
                   controllers directly. Vote, BeginQuorumEpoch and EndQuorumEpoch are what Kafka's controllers say to \
                   each other; Ottla's speak raft of their own.";
    section(&mut page, "On listeners of controllers", between, &of(|api| api.controller), &on_controllers);
    page.push_str("\n## Not done within what is served\n\n");
    for api in &served {
        if let Some(missing) = missing(&file(api.name, false)) {
            writeln!(page, "- **{}**: {missing}", api.name).expect("strings take everything");
        }
    }
    for api in &on_controllers {
        let path = file(api.name, true);
        let told = served.iter().any(|served| served.key == api.key) && path == file(api.name, false);
        if !told && let Some(missing) = missing(&path) {
            writeln!(page, "- **{}** on a controller: {missing}", api.name).expect("strings take everything");
        }
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/API-SUPPORT.md");
    let text = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, &text).expect("the page can be written");
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == text,
        "docs/API-SUPPORT.md is out of date: UPDATE_DOCS=1 cargo test -p ottla-router --test api_support"
    );
}

#[test]
fn every_api_that_is_served_is_on_the_page() {
    let page = render();
    for api in served().into_iter().chain(controller_served()) {
        assert!(page.contains(&format!("\n| {} | {} |", api.key, api.name)), "{}", api.name);
    }
}
