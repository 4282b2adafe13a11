//! The command line: what is printed where, and what is refused before anything is touched.

mod support;

use std::{fs::File, process::Stdio};

use support::Home;

#[test]
fn standard_output_that_is_gone_is_no_reason_to_complain_and_one_that_is_full_is() {
    let home = Home::new();
    let file = home.properties("");
    let file = file.to_str().expect("text");
    let commands: [&[&str]; 4] =
        [&["--help"], &["--version"], &["storage", "random-uuid"], &["--check-config", file]];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let gone = home.command(arguments).stdout(writer).output().expect("it runs");
        let said = String::from_utf8_lossy(&gone.stderr).into_owned();
        assert_eq!((gone.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");

        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let full = home.command(arguments).stdout(full).output().expect("it runs");
        let said = String::from_utf8_lossy(&full.stderr).into_owned();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("cannot write to standard output: No space left"), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn standard_error_that_is_full_changes_nothing() {
    let home = Home::new();
    for arguments in [&["--nonsense"][..], &["nowhere.properties"], &["storage", "format"]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let refused = home.command(arguments).stdout(Stdio::null()).stderr(full).status().expect("it runs");
        assert_eq!(refused.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_protocol_that_is_not_spoken_is_refused_with_its_place_before_anything_is_formatted() {
    let home = Home::new();
    let map = "listener.security.protocol.map=";
    for (lines, listener, protocol) in [
        (format!("{map}PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"), "PLAINTEXT", "SASL_PLAINTEXT"),
        (format!("{map}PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_SSL"), "CONTROLLER", "SASL_SSL"),
        // A broker has no listener of the controllers, but connects to theirs.
        (
            format!(
                "process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:0\n\
                 controller.quorum.voters=2@127.0.0.1:1\n{map}PLAINTEXT:PLAINTEXT,CONTROLLER:SSL"
            ),
            "CONTROLLER",
            "SSL",
        ),
    ] {
        let properties = home.properties(&lines);
        let file = properties.to_str().expect("text");
        let text = std::fs::read_to_string(&properties).expect("just written");
        let line = text.lines().position(|line| line.starts_with(map)).expect("it is in it") + 1;
        for option in ["--check-config", "--auto-format"] {
            let said = home.refused(&[file, option]);
            let place = format!("server.properties:{line}: {map}");
            let fault = format!("listener {listener}: {protocol} is not supported yet");
            assert!(said.contains(&place) && said.contains(&fault), "{said}");
            assert!(said.contains("unencrypted"), "{said}");
            assert!(!home.data().exists(), "nothing was touched");
        }
    }
}
