//! The command line: what it takes, what it refuses, and what it says then.

use super::*;

fn cli(line: &str) -> Result<Cli, String> {
    parse(line.split(' ').map(OsString::from)).map_err(|error| error.message)
}

#[test]
fn the_broker_takes_kafkas_arguments() {
    assert_eq!(cli("ottla"), Ok(Cli::Serve(ServeArgs::default())));
    let full = cli("ottla --override a=b server.properties --override c=d=e --auto-format --check-config");
    let expected = ServeArgs {
        file: Some("server.properties".into()),
        overrides: vec!["a=b".into(), "c=d=e".into()],
        auto_format: true,
        check_config: true,
    };
    assert_eq!(full, Ok(Cli::Serve(expected)));
    assert_eq!(cli("ottla --override=a=b"), cli("ottla --override a=b"));
    assert_eq!(cli("ottla x --version"), Ok(Cli::Version));
    assert!(matches!(cli("ottla -h"), Ok(Cli::Help(_))));
}

#[test]
fn a_file_means_no_formatting_on_the_way() {
    assert!(ServeArgs::default().formats_on_the_way());
    let with_file = ServeArgs { file: Some("f".into()), ..ServeArgs::default() };
    assert!(!with_file.formats_on_the_way());
    assert!(ServeArgs { auto_format: true, ..with_file }.formats_on_the_way());
}

#[test]
fn what_makes_no_sense_is_named() {
    let cases = [
        ("ottla --overide a=b", "unrecognized arguments: '--overide'"),
        ("ottla --override", "argument --override: expected KEY=VALUE"),
        ("ottla --override a", "argument --override: expected KEY=VALUE, but read 'a'"),
        ("ottla a b", "unrecognized arguments: 'b'"),
        ("ottla -x", "unrecognized arguments: '-x'"),
        ("ottla storage", "too few arguments"),
        ("ottla storage foo", "invalid choice: 'foo' (choose from 'info', 'format', 'random-uuid')"),
        ("ottla storage format", "argument --cluster-id/-t is required"),
        ("ottla storage format -t x", "argument --config/-c is required"),
        ("ottla storage format -c", "argument --config/-c: expected one argument"),
        (
            "ottla storage format -t a -c b -s -N",
            "argument --no-initial-controllers/-N: not allowed with argument --standalone/-s",
        ),
        ("ottla storage format -t a -c b -x", "unrecognized arguments: '-x'"),
        ("ottla storage random-uuid x", "unrecognized arguments: 'x'"),
        ("ottla storage info", "argument --config/-c is required"),
    ];
    for (line, message) in cases {
        assert_eq!(cli(line), Err(message.into()), "{line}");
    }
}

#[test]
fn the_storage_tool_takes_kafkas_arguments() {
    let format = |line: &str| match cli(line) {
        Ok(Cli::Storage(StorageCommand::Format(args))) => args,
        other => panic!("{line}: {other:?}"),
    };
    let args = format("kafka-storage.sh format -t=-abc -c f -g -s -r 4.4 -f a=1 --feature b=2 -S x");
    assert_eq!(args.cluster_id, "-abc");
    assert_eq!(args.config, PathBuf::from("f"));
    assert!(args.ignore_formatted);
    assert_eq!(args.quorum, Quorum::Standalone);
    assert_eq!(args.release_version.as_deref(), Some("4.4"));
    assert_eq!(args.features, ["a=1", "b=2"]);
    assert_eq!(args.scram, ["x"]);
    assert_eq!(format("ottla storage format --config f --cluster-id -x").cluster_id, "-x");
    assert_eq!(format("ottla storage format -c f -t x").quorum, Quorum::Unsaid);
    assert_eq!(format("ottla storage format -c f -t x -N").quorum, Quorum::NoInitialControllers);
    assert_eq!(
        format("ottla storage format -c f -t x -I 1@h:2:d").quorum,
        Quorum::InitialControllers("1@h:2:d".into())
    );
    assert_eq!(cli("kafka-storage random-uuid"), Ok(Cli::Storage(StorageCommand::RandomUuid)));
    let info = StorageCommand::Info { config: "f".into() };
    assert_eq!(cli("ottla storage info -c f"), Ok(Cli::Storage(info)));
    for line in [
        "ottla storage -h",
        "ottla storage format --help",
        "ottla storage info -h",
        "ottla storage random-uuid -h",
    ] {
        assert!(matches!(cli(line), Ok(Cli::Help(_))), "{line}");
    }
}
