//! The shape of the house: which crate may use which, what pure crates must not touch, and what every source
//! file must have. Every failure names the file and says what to do.

mod house;

use std::fmt::Write as _;
use std::path::Path;

use house::{Crate, Source, code, crates, lines_without_tests, sources};

/// Crates by layer: an edge goes from a higher layer to a lower one.
const LAYERS: &[&[&str]] = &[
    &["types"],
    &["machine", "protocol", "records", "config"],
    &["metadata", "partition"],
    &["controller", "groups"],
    &["storage", "raft", "net"],
    &["replica"],
    &["coordinator"],
    &["router"],
    &["broker"],
];

/// Edges within a layer, each with its reason.
const BESIDE: &[(&str, &str)] = &[
    // The raft log and the metadata log lie in a log dir.
    ("raft", "storage"),
];

/// Tools, outside of the layers: they may use everything, nothing may use them.
const TOOLS: &[&str] = &["xtask", "bench", "fuzz", "sim"];

/// The layers up to here are pure: bytes and events in, values out.
const PURE: usize = 3;

/// What brings a runtime, a file, a socket or a peer.
const IMPURE_DEPENDENCIES: &[&str] =
    &["tokio", "rocksdb", "raft", "rustls", "rustix", "socket2", "mio", "tokio-rustls", "libc", "nix"];

/// Standard modules a pure crate's sources must not mention.
const IMPURE_MODULES: &[&str] = &["std::fs", "std::net", "std::thread"];

/// The most lines a source file may have before its tests.
const MAX_LINES: usize = 800;

/// Files that are longer. May only shrink: do not add, split instead.
const LONG_FILES: &[&str] = &[];

/// Fails with the rule and everything that breaks it.
fn verdict(rule: &str, wrong: &[String]) {
    let mut text = String::new();
    for line in wrong {
        writeln!(text, "  {line}").expect("a string takes all");
    }
    assert!(wrong.is_empty(), "{rule}\n{text}");
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn is_pure(name: &str) -> bool {
    layer(name).is_some_and(|layer| layer <= PURE)
}

#[test]
fn edges_go_down() {
    let mut wrong = Vec::new();
    for Crate { name, dependencies } in crates() {
        if TOOLS.contains(&name.as_str()) {
            continue;
        }
        let Some(from) = layer(&name) else {
            wrong.push(format!("crate {name} is in no layer: add it to LAYERS (or TOOLS) of this test"));
            continue;
        };
        for used in dependencies.iter().filter_map(|d| d.name.strip_prefix("ottla-")).filter(|d| *d != name) {
            match layer(used) {
                Some(to) if to < from || BESIDE.contains(&(name.as_str(), used)) => {}
                Some(to) => wrong.push(format!("{name} (layer {from}) uses {used} (layer {to})")),
                None => wrong.push(format!("{name} uses {used}, which is in no layer")),
            }
        }
    }
    verdict(
        "An edge goes from a higher layer to a lower one. Move the code down, or invert the edge:",
        &wrong,
    );
}

#[test]
fn pure_crates_use_nothing_impure() {
    let mut wrong = Vec::new();
    for Crate { name, dependencies } in crates().into_iter().filter(|c| is_pure(&c.name)) {
        for used in dependencies.iter().filter(|d| !d.dev && IMPURE_DEPENDENCIES.contains(&d.name.as_str())) {
            wrong.push(format!("crates/{name}/Cargo.toml depends on {}", used.name));
        }
    }
    verdict("A pure crate knows no runtime, files, sockets or peers. Hand the effect to a driver:", &wrong);
}

#[test]
fn pure_sources_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for Source { path, krate, text } in sources().into_iter().filter(|s| is_pure(&s.krate) && !s.is_test()) {
        for (number, line) in lines_without_tests(&text) {
            for module in IMPURE_MODULES.iter().filter(|module| code(line).contains(*module)) {
                wrong.push(format!("{}:{number} mentions {module} ({krate} is pure)", path.display()));
            }
        }
    }
    verdict("A pure crate does not touch files, sockets or threads. Let the caller do it:", &wrong);
}

#[test]
fn every_module_says_what_it_is() {
    let headless = |source: &Source| {
        let mut lines = source.text.lines().map(str::trim).filter(|line| !line.is_empty());
        // Attributes of a crate may stand before its documentation.
        !lines.find(|line| !line.starts_with("#!")).is_some_and(|line| line.starts_with("//!"))
    };
    let wrong: Vec<_> = sources()
        .iter()
        .filter(|s| headless(s))
        .map(|s| format!("{} has no head", s.path.display()))
        .collect();
    verdict("Every file starts with //! and what it is for:", &wrong);
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_generated() && !s.is_test()) {
        let lines = lines_without_tests(&source.text).count();
        let listed = LONG_FILES.iter().any(|path| Path::new(path) == source.path);
        if lines > MAX_LINES && !listed {
            wrong.push(format!("{} has {lines} lines before its tests: split it", source.path.display()));
        } else if lines <= MAX_LINES && listed {
            wrong.push(format!("{} is short enough now: take it off LONG_FILES", source.path.display()));
        }
    }
    for gone in LONG_FILES.iter().filter(|path| !house::root().join(path).exists()) {
        wrong.push(format!("{gone} is gone: take it off LONG_FILES"));
    }
    verdict(&format!("A source file has at most {MAX_LINES} lines before its tests:"), &wrong);
}

#[test]
fn nothing_is_left_undone() {
    // In parts, so that this file does not find itself.
    let marks = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X:"),
        concat!("dbg", "!("),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !s.is_generated()) {
        for (number, line) in source.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(*mark)) {
                wrong.push(format!("{}:{} has {mark}", source.path.display(), number + 1));
            }
        }
    }
    verdict("Finish it, or write down in an issue what is left:", &wrong);
}

/// What handles an API below `router/src/api` has a line in a table, and every line has its file.
#[test]
fn every_handler_is_in_the_table() {
    let router = house::root().join("crates/router/src");
    let read = |name: &str| std::fs::read_to_string(router.join(name)).expect("a table of crates/router/src");
    let table = read("table.rs") + &read("controller_table.rs");
    let table: String = table.lines().map(|line| format!("{}\n", code(line))).collect();
    let mut wrong = Vec::new();
    let mut found = false;
    for source in sources().iter().filter(|s| s.path.starts_with("crates/router/src/api") && !s.is_test()) {
        let code = lines_without_tests(&source.text).map(|(_, line)| code(line));
        for handler in code.filter_map(|line| line.split_once(" Handler for ").map(|it| it.1)) {
            let handler = handler.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            found = true;
            let made = [format!("::{handler}::"), format!("::{handler}(")];
            if !made.iter().any(|made| table.contains(made)) {
                wrong.push(format!(
                    "{}: {handler} has no line in table.rs or controller_table.rs",
                    source.path.display()
                ));
            }
        }
    }
    for path in table.lines().filter_map(|line| line.split_once("apis::").map(|it| it.1)) {
        let module = path.split("::").next().unwrap_or_default();
        let file = [format!("api/{module}.rs"), format!("api/{module}/mod.rs")];
        if !file.iter().any(|file| router.join(file).exists()) {
            wrong.push(format!("a table names apis::{module}, which has no file"));
        }
    }
    assert!(found, "no `impl Handler for` below crates/router/src/api, where this test looks for them");
    verdict("An API is served through its line in a table of crates/router/src:", &wrong);
}

/// The pages a newcomer reads first.
const PAGES: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "compat-tests/README.md"];

/// The page that names files and functions of the code.
const MAP: &str = "ARCHITECTURE.md";

/// Every `page` of [`PAGES`] and of the decisions, with its text.
fn pages() -> Vec<(String, String)> {
    let root = house::root();
    let mut paths: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    for entry in std::fs::read_dir(root.join("docs/adr")).expect("docs/adr") {
        paths.push(format!("docs/adr/{}", entry.expect("an entry").file_name().to_string_lossy()));
    }
    paths.sort();
    let text =
        |path: &String| std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    paths.iter().map(|path| (path.clone(), text(path))).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let beside = Path::new(&page).parent().expect("a file is in a directory").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or_default();
            let outside = link.contains("://") || file.is_empty();
            if !outside && !house::root().join(&beside).join(file).exists() {
                wrong.push(format!("{page} links to {link}, which is not there"));
            }
        }
    }
    verdict("Correct the link, or write the page:", &wrong);
}

/// Files with a directory in their name are below `crates/`; functions and types are anywhere in the code.
#[test]
fn the_map_names_what_is_there() {
    let text = std::fs::read_to_string(house::root().join(MAP)).expect("the map");
    let sources = sources();
    let mut wrong = Vec::new();
    for name in text.split('`').skip(1).step_by(2).filter(|name| !name.contains(['<', ' ', '('])) {
        if let Some((directory, _)) = name.rsplit_once('/')
            && name.ends_with(".rs")
        {
            let found = sources.iter().any(|s| s.path.ends_with(Path::new(name)));
            if !found {
                wrong.push(format!("no {name} in {directory}"));
            }
        } else if name.ends_with(".rs") {
            if !sources.iter().any(|s| s.path.file_name().is_some_and(|file| file == name)) {
                wrong.push(format!("no file is called {name}"));
            }
        } else if let Some((_, last)) = name.rsplit_once("::") {
            let declared =
                if last.starts_with(char::is_uppercase) { last.to_owned() } else { format!("fn {last}") };
            if !sources.iter().any(|s| s.text.contains(&declared)) {
                wrong.push(format!("nothing is called {name}"));
            }
        }
    }
    verdict(&format!("{MAP} names what was moved or renamed: correct it:"), &wrong);
}
