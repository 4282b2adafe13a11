//! The storage tool on real directories: format, info, and what a start accepts.

use super::*;
use crate::{
    cli::{FormatArgs, Quorum},
    quorum::founding,
};
use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

struct Node {
    dir: TempDir,
    rng: StdRng,
}

impl Node {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), rng: StdRng::seed_from_u64(1) }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn write(&self, file: &str, dirs: &[&str], more: &str) -> String {
        let dirs: Vec<String> = dirs.iter().map(|dir| self.path(dir)).collect();
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\nlog.dirs={}\n{more}\n",
            dirs.join(",")
        );
        std::fs::write(self.path(file), text).unwrap();
        self.path(file)
    }

    fn format(&mut self, config: &str, change: impl FnOnce(&mut FormatArgs)) -> Outcome {
        let mut args = FormatArgs {
            config: config.into(),
            cluster_id: "abc".into(),
            ignore_formatted: false,
            release_version: None,
            features: Vec::new(),
            scram: Vec::new(),
            quorum: Quorum::Unsaid,
        };
        change(&mut args);
        self.run(&StorageCommand::Format(args))
    }

    /// Runs a command; the temporary directory's path is shown as `@`.
    fn run(&mut self, command: &StorageCommand) -> Outcome {
        let outcome = run(command, &[], &mut self.rng);
        let here = self.dir.path().to_string_lossy().into_owned();
        let shorten = |text: &str| text.replace(&here, "@");
        Outcome { out: shorten(&outcome.out), err: shorten(&outcome.err), code: outcome.code }
    }

    fn info(&mut self, config: &str) -> Outcome {
        self.run(&StorageCommand::Info { config: config.into() })
    }
}

fn load(path: &str) -> BrokerConfig {
    load_config(Some(Path::new(path)), &[], &[]).unwrap().broker
}

fn said(out: &str) -> Outcome {
    Outcome { out: format!("{out}\n"), ..Outcome::default() }
}

const VOTERS: &str = "controller.quorum.voters=1@127.0.0.1:9093";
const SERVERS: &str = "controller.quorum.bootstrap.servers=127.0.0.1:9093";

/// The words are kafka-storage.sh's of Kafka 4.4.0, compared by hand.
#[test]
fn formats_once_and_shows_what_it_did() {
    let mut node = Node::new();
    let config = node.write("p", &["a"], VOTERS);
    let missing = node.info(&config);
    assert_eq!((missing.out.as_str(), missing.code), ("Found problem:\n  @/a does not exist\n\n", 1));
    let formatted = node.format(&config, |_| ());
    assert_eq!(formatted, said("Formatting metadata directory @/a with metadata.version 4.4-IV2."));
    let info = node.info(&config);
    let (before, after) = info.out.split_once("directory.id=").unwrap();
    assert_eq!(before, "Found log directory:\n  @/a\n\nFound metadata: {cluster.id=abc, ");
    assert_eq!(&after[22..], ", node.id=1, version=1}\n\n");
    assert_eq!(info.code, 0);
    let again = node.format(&config, |_| ());
    let words = "Log directory @/a is already formatted. Use --ignore-formatted to ignore this directory and format \
                 the others.";
    assert_eq!(again, Outcome::failed(words));
    let ignored = node.format(&config, |args| args.ignore_formatted = true);
    assert_eq!(ignored, said("All of the log directories are already formatted."));
    let other = node.format(&config, |args| {
        args.ignore_formatted = true;
        args.cluster_id = "other".into();
    });
    assert_eq!(
        other,
        Outcome::failed("Invalid cluster.id in: @/a/meta.properties. Expected other, but read abc")
    );
}

#[test]
fn several_directories() {
    let mut node = Node::new();
    let one = node.write("p", &["a"], VOTERS);
    node.format(&one, |_| ());
    let two = node.write("q", &["a", "b"], VOTERS);
    let formatted = node.format(&two, |args| args.ignore_formatted = true);
    assert_eq!(formatted, said("Formatting data directory @/b with metadata.version 4.4-IV2."));
    let info = node.info(&two);
    assert!(info.out.starts_with("Found log directories:\n  @/a\n  @/b\n\nFound metadata: "), "{}", info.out);
    std::fs::create_dir(node.path("c")).unwrap();
    let three = node.write("r", &["c"], VOTERS);
    assert_eq!(
        node.info(&three).out,
        "Found log directory:\n  @/c\n\nFound problem:\n  @/c is not formatted.\n\n"
    );
    std::fs::write(node.path("f"), "").unwrap();
    let file = node.write("s", &["f"], VOTERS);
    assert_eq!(node.info(&file).out, "Found problem:\n  @/f is not a directory\n\n");
    let refused = node.format(&file, |_| ());
    assert_eq!(refused.out, "I/O error trying to read log directory @/f. Ignoring...\n");
    assert!(refused.err.ends_with("No available log directories to format.\n"), "{}", refused.err);
    assert_eq!(refused.code, 1);
}

#[test]
fn how_a_quorum_begins() {
    let mut node = Node::new();
    let dynamic = node.write("p", &["a"], SERVERS);
    let unsaid = node.format(&dynamic, |_| ());
    assert!(unsaid.err.contains("you must specify one of the following: --standalone"), "{}", unsaid.err);
    let standalone = node.format(&dynamic, |args| args.quorum = Quorum::Standalone);
    let words = "Formatting dynamic metadata voter directory @/a with metadata.version 4.4-IV2.";
    assert_eq!(standalone, said(words));
    let fixed = node.write("q", &["b"], VOTERS);
    let refused = node.format(&fixed, |args| args.quorum = Quorum::Standalone);
    assert!(
        refused.err.starts_with("You cannot specify controller.quorum.voters and format"),
        "{}",
        refused.err
    );
    let neither = node.write("r", &["c"], "");
    assert_eq!(node.format(&neither, |_| ()).code, 0, "a quorum of its own");
    let named = node.write("s", &["d"], SERVERS);
    let initial = |text: &str| {
        let text = text.to_owned();
        move |args: &mut FormatArgs| args.quorum = Quorum::InitialControllers(text)
    };
    assert_eq!(node.format(&named, initial("bad")), Outcome::failed("No @ found in dynamic voter string."));
    let formatted = node.format(&named, initial("1@127.0.0.1:9093:3Db5QLSqSZieL3rJBUUegA"));
    assert_eq!(formatted.code, 0, "{}", formatted.err);
    assert!(node.info(&named).out.contains("directory.id=3Db5QLSqSZieL3rJBUUegA"));
}

#[test]
fn features_and_credentials() {
    let mut node = Node::new();
    let config = node.write("p", &["a"], VOTERS);
    let mut error = |change: &dyn Fn(&mut FormatArgs)| {
        let outcome = node.format(&config, change);
        assert_eq!(outcome.code, 1);
        outcome.err
    };
    let unknown = error(&|args| args.release_version = Some("2.8".into()));
    let words = "Unknown metadata.version '2.8'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, ";
    assert!(unknown.starts_with(words) && unknown.ends_with(", 4.4-IV1, 4.4-IV2\n"), "{unknown}");
    let twice = error(&|args| {
        args.release_version = Some("4.3".into());
        args.features = vec!["metadata.version=30".into()];
    });
    assert!(twice.starts_with("Use --release-version instead of"), "{twice}");
    assert!(error(&|args| args.features = vec!["foo=1".into()]).starts_with("Unsupported feature: foo."));
    let no_sign = "Can't parse feature=level string transaction.version: equals sign not found.\n";
    assert_eq!(error(&|args| args.features = vec!["transaction.version".into()]), no_sign);
    let no_level = "No feature:transaction.version with feature level 99\n";
    assert_eq!(error(&|args| args.features = vec!["transaction.version=99".into()]), no_level);
    let words = "No MetadataVersion with feature level 6. Valid feature levels are from 7 to 33.\n";
    assert_eq!(error(&|args| args.features = vec!["metadata.version=6".into()]), words);
    let needs = error(&|args| {
        args.release_version = Some("3.9".into());
        args.features = vec!["eligible.leader.replicas.version=1".into()];
    });
    let words = "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23\n";
    assert_eq!(needs, words);
    let scram = error(&|args| args.scram = vec!["SCRAM-SHA-256=[name=a,password=b]".into()]);
    assert!(scram.contains("--add-scram is not supported yet"), "{scram}");
    assert!(
        error(&|args| args.config = "/nowhere".into())
            .starts_with("cannot read the configuration file /nowhere:")
    );
    let by_id = error(&|args| args.features = vec!["kraft.version=1".into()]);
    assert!(
        by_id.starts_with("Cannot set kraft.version to 1 unless controller.quorum.voters is empty and"),
        "{by_id}"
    );
    let dynamic = node.write("q", &["b"], SERVERS);
    for (level, code) in [("kraft.version=0", 1), ("kraft.version=1", 0)] {
        let formatted = node.format(&dynamic, |args| {
            args.quorum = Quorum::Standalone;
            args.features = vec![level.into()];
        });
        assert_eq!(formatted.code, code, "{level}: {}", formatted.err);
        assert_eq!(
            formatted.err.starts_with("Cannot set kraft.version to 0 if"),
            code == 1,
            "{}",
            formatted.err
        );
    }
    let fine = node.format(&config, |args| {
        args.release_version = Some("4.4".into());
        args.features = vec!["transaction.version=1".into(), "kraft.version=0".into()];
    });
    assert_eq!(fine.code, 0, "{}", fine.err);
    let levels = founding::features(&node.dir.path().join("a/__cluster_metadata-0")).unwrap();
    let expected = [
        ("metadata.version", 33),
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("transaction.version", 1),
    ];
    assert_eq!(levels, expected.map(|(name, level)| (name.to_owned(), level)));
}

/// For clusters that older brokers, or Kafka's, are to be members of.
#[test]
fn a_cluster_begins_with_the_features_of_the_release_that_is_asked_for() {
    type Change = fn(&mut FormatArgs);
    type Levels = &'static [(&'static str, i16)];
    let cases: [(&str, Change, &str, Levels); 3] = [
        (
            "a",
            |args| args.release_version = Some("4.3".into()),
            "4.3-IV0",
            &[
                ("metadata.version", 30),
                ("eligible.leader.replicas.version", 1),
                ("group.version", 1),
                ("transaction.version", 2),
            ],
        ),
        (
            "b",
            |args| args.features = vec!["metadata.version=30".into(), "group.version=0".into()],
            "4.3-IV0",
            &[("metadata.version", 30), ("eligible.leader.replicas.version", 1), ("transaction.version", 2)],
        ),
        ("c", |args| args.release_version = Some("3.9".into()), "3.9-IV0", &[("metadata.version", 21)]),
    ];
    let mut node = Node::new();
    for (dir, change, name, expected) in cases {
        let config = node.write("p", &[dir], VOTERS);
        let formatted = node.format(&config, change);
        assert_eq!(
            formatted,
            said(&format!("Formatting metadata directory @/{dir} with metadata.version {name}."))
        );
        let levels = founding::features(&node.dir.path().join(dir).join("__cluster_metadata-0")).unwrap();
        let expected: Vec<_> = expected.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        assert_eq!(levels, expected);
    }
}

#[test]
fn the_first_controllers_are_in_the_bootstrap_snapshot() {
    let mut node = Node::new();
    let quorum = |node: &Node, dir: &str| {
        let dir = node.dir.path().join(dir).join("__cluster_metadata-0");
        ottla_raft::Membership::bootstrap(&dir).unwrap()
    };
    let config = node.write("p", &["a"], SERVERS);
    let several = "2@[::1]:9094:4Db5QLSqSZieL3rJBUUegB,1@127.0.0.1:9093:3Db5QLSqSZieL3rJBUUegA";
    let formatted = node.format(&config, |args| args.quorum = Quorum::InitialControllers(several.into()));
    assert_eq!(formatted.code, 0, "{}", formatted.err);
    let found = quorum(&node, "a").expect("it names voters");
    let voter = |id: i32, directory: &str, host: &str, port| ottla_raft::Voter {
        id,
        directory_id: parse_id(directory).unwrap(),
        endpoints: vec![ottla_raft::VoterEndpoint { name: "CONTROLLER".into(), host: host.into(), port }],
    };
    let expected = [
        voter(1, "3Db5QLSqSZieL3rJBUUegA", "127.0.0.1", 9093),
        voter(2, "4Db5QLSqSZieL3rJBUUegB", "::1", 9094),
    ];
    assert_eq!((found.kraft_version, found.voters), (1, expected.to_vec()));

    let alone = node.write("q", &["b"], SERVERS);
    assert_eq!(node.format(&alone, |args| args.quorum = Quorum::Standalone).code, 0);
    let found = quorum(&node, "b").expect("it names one");
    assert!(
        node.info(&alone).out.contains(&format!("directory.id={}", show_id(found.voters[0].directory_id)))
    );
    let joining = node.write("r", &["c"], SERVERS);
    assert_eq!(node.format(&joining, |args| args.quorum = Quorum::NoInitialControllers).code, 0);
    assert_eq!(quorum(&node, "c"), None);

    let fails = |node: &mut Node, text: &str| {
        let config = node.write("s", &["d"], SERVERS);
        let outcome = node.format(&config, |args| args.quorum = Quorum::InitialControllers(text.into()));
        assert_eq!(outcome.code, 1, "{text}");
        outcome.err
    };
    let others = fails(&mut node, "7@h:1:3Db5QLSqSZieL3rJBUUegA");
    assert_eq!(others, "--initial-controllers does not name this node, 1\n");
    let twice = "1@h:1:3Db5QLSqSZieL3rJBUUegA,1@h:2:4Db5QLSqSZieL3rJBUUegB";
    assert_eq!(fails(&mut node, twice), "Node id 1 is given twice in --initial-controllers\n");
    assert!(fails(&mut node, "1@h:x:3Db5QLSqSZieL3rJBUUegA").starts_with("Failed to parse port"));
    assert!(!Path::new(&node.path("d")).exists(), "what fails leaves nothing");
}

#[test]
fn ids_are_22_characters_and_no_option() {
    let mut node = Node::new();
    for _ in 0..300 {
        let id = random_id(&mut node.rng);
        let text = show_id(id);
        assert_eq!((text.len(), text.starts_with('-'), parse_id(&text)), (22, false, Some(id)));
        assert_eq!(id.get_version_num(), 4);
    }
    let printed = node.run(&StorageCommand::RandomUuid);
    assert_eq!((printed.out.len(), printed.code), (23, 0));
}

#[test]
fn the_broker_formats_on_the_way_only_when_it_may() {
    let mut node = Node::new();
    let one = load(&node.write("p", &["a"], ""));
    let refused = ensure_formatted(&one, false, None, &mut node.rng).unwrap_err();
    assert!(refused.contains("is not formatted: run ottla storage format"), "{refused}");
    let identity = ensure_formatted(&one, true, Some("given"), &mut node.rng).unwrap();
    assert_eq!(identity.cluster_id, "given");
    assert_eq!(identity.formatted, [node.path("a")]);
    let again = ensure_formatted(&one, false, None, &mut node.rng).unwrap();
    let other = ensure_formatted(&one, true, Some("another"), &mut node.rng).unwrap_err();
    assert!(
        other.contains("CLUSTER_ID is another") && other.contains("formatted for cluster given"),
        "{other}"
    );
    assert_eq!((again.cluster_id.as_str(), again.formatted.len()), ("given", 0));
    assert_eq!(again.directory_ids, identity.directory_ids);
    assert_eq!(again.metadata_directory_id, again.directory_ids[0]);
    let two = load(&node.write("q", &["a", "b"], ""));
    let added = ensure_formatted(&two, false, None, &mut node.rng).unwrap();
    assert_eq!(added.formatted, [node.path("b")], "a disk that was added");
    std::fs::remove_dir_all(node.path("a")).unwrap();
    let beside_nothing = ensure_formatted(&two, true, None, &mut node.rng).unwrap();
    assert_eq!(
        (beside_nothing.cluster_id.as_str(), beside_nothing.formatted),
        ("given", vec![node.path("a")])
    );
    std::fs::remove_dir_all(node.path("a")).unwrap();
    std::fs::create_dir(Path::new(&node.path("b")).join("topic-0")).unwrap();
    for on_the_way in [true, false] {
        let refused = ensure_formatted(&two, on_the_way, None, &mut node.rng).unwrap_err();
        assert!(refused.contains("metadata is lost or not mounted"), "{refused}");
        assert!(refused.contains(&node.path("b")) && refused.contains("-t given"), "{refused}");
        assert!(!Path::new(&node.path("a")).exists(), "it stays as it is");
    }
    let by_hand = load(&node.write("s", &["a"], ""));
    ensure_formatted(&by_hand, true, Some("given"), &mut node.rng).unwrap();
    let other = load(&node.write("r", &["a"], ""));
    let stranger = BrokerConfig { node_id: 2, ..other };
    let refused = ensure_formatted(&stranger, true, None, &mut node.rng).unwrap_err();
    assert!(refused.ends_with("meta.properties. Expected 2, but read 1"), "{refused}");
}

/// Directories of Kafka before 3.7, or whose file somebody wrote by hand.
#[test]
fn a_directory_without_an_id_gets_one_and_keeps_it() {
    let mut node = Node::new();
    let config = load(&node.write("p", &["a", "b"], VOTERS));
    for dir in ["a", "b"] {
        std::fs::create_dir(node.path(dir)).unwrap();
        let text = "version=1\nnode.id=1\ncluster.id=given\n";
        std::fs::write(Path::new(&node.path(dir)).join("meta.properties"), text).unwrap();
    }
    let identity = ensure_formatted(&config, false, None, &mut node.rng).unwrap();
    let [Some(a), Some(b)] = identity.directory_ids[..] else { panic!("{identity:?}") };
    assert_ne!(a, b);
    assert_eq!((identity.formatted.len(), identity.cluster_id.as_str()), (0, "given"));
    let again = ensure_formatted(&config, false, None, &mut node.rng).unwrap();
    assert_eq!(again.directory_ids, [Some(a), Some(b)]);
    assert!(node.info(&node.path("p")).out.contains(&show_id(a)));
}

#[test]
fn a_directory_is_not_taken_for_two() {
    let mut node = Node::new();
    let one = load(&node.write("p", &["a"], &format!("{VOTERS}\nmetadata.log.dir={}/", node.path("a"))));
    let identity = ensure_formatted(&one, true, Some("given"), &mut node.rng).unwrap();
    assert_eq!(identity.formatted.len(), 1, "a slash makes no other directory");
    assert_eq!(identity.directory_ids, [identity.metadata_directory_id]);

    // A disk that was cloned.
    let file = |dir: &str| Path::new(&node.path(dir)).join("meta.properties");
    std::fs::create_dir(node.path("b")).unwrap();
    std::fs::copy(file("a"), file("b")).unwrap();
    let path = node.write("q", &["a", "b"], VOTERS);
    let refused = ensure_formatted(&load(&path), true, None, &mut node.rng).unwrap_err();
    let words = format!("It was the ID of {}, but also of {}", node.path("a"), node.path("b"));
    assert!(refused.starts_with("Duplicate directory ID") && refused.contains(&words), "{refused}");
    let info = node.info(&path);
    assert!(info.code == 1 && info.out.contains("It was the ID of @/a, but also of @/b"), "{}", info.out);

    // Two names of one, be it there or not.
    std::os::unix::fs::symlink(node.path("a"), node.path("link")).unwrap();
    for dirs in [["a", "link"], ["a", "a/"], ["new", "./new"]] {
        let path = node.write("r", &dirs, VOTERS);
        let refused = ensure_formatted(&load(&path), true, None, &mut node.rng).unwrap_err();
        assert!(refused.contains("are one directory") && refused.contains(&node.path(dirs[1])), "{refused}");
        let info = node.info(&path);
        assert!(info.out.contains("are one directory"), "{}", info.out);
        let formatted = node.format(&path, |args| args.ignore_formatted = true);
        assert!(formatted.err.contains("are one directory"), "{}", formatted.err);
    }
    assert!(!Path::new(&node.path("new")).exists());
}
