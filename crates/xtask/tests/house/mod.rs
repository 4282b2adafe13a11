//! The workspace as the tests see it: its crates and their sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A crate of the workspace, by its name without the prefix.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a crate depends on.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Needed by tests only.
    pub(crate) dev: bool,
}

/// A Rust file below a crate's directory.
pub(crate) struct Source {
    /// Relative to the root of the repository.
    pub(crate) path: PathBuf,
    /// The crate it belongs to.
    pub(crate) krate: String,
    pub(crate) text: String,
}

impl Source {
    /// Whether the generator wrote it.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "generated")
    }

    /// Whether it holds tests only.
    pub(crate) fn is_test(&self) -> bool {
        let parts: Vec<_> = self.path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        // crates/<name>/src/.. is code, but for modules named for tests.
        parts.get(2).is_none_or(|part| part != "src")
            || parts[3..].iter().any(|p| p == "tests" || p.ends_with("tests.rs"))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two below the root").to_owned()
}

/// Every crate of the workspace.
pub(crate) fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let dependency =
        |value: &Value| Dependency { name: text(value, "name"), dev: text(value, "kind") == "dev" };
    list(&metadata, "packages")
        .iter()
        .map(|package| Crate {
            name: text(package, "name").trim_start_matches("ottla-").to_owned(),
            dependencies: list(package, "dependencies").iter().map(dependency).collect(),
        })
        .collect()
}

/// Every Rust file of every crate.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join("crates")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory that was listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // A crate may have been built in place.
                if path.file_name().is_some_and(|name| name != "target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                // Another process may move a file while this one looks.
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                let path = path.strip_prefix(&root).expect("it is below the root").to_owned();
                let krate = path.components().nth(1).expect("crates/<name>").as_os_str();
                found.push(Source { krate: krate.to_string_lossy().into_owned(), path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources below {}", root.display());
    found
}

/// The lines of a file up to its module of tests, with their numbers.
pub(crate) fn lines_without_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lines = text.lines().zip(1..).map(|(line, number)| (number, line)).peekable();
    std::iter::from_fn(move || {
        let (number, line) = lines.next()?;
        let tests = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|(_, next)| {
                next.trim_start().starts_with("mod ") && next.trim_end().ends_with('{')
            });
        (!tests).then_some((number, line))
    })
    .fuse()
}

/// A line without its comment.
pub(crate) fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}
