//! Tells what a command has to say, to whoever is there to hear it: standard output may be closed or full.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Writes to standard output and standard error, and ends with `code`; with 1 when standard output could not be
/// written, which standard error is told.
pub fn print(out: &str, err: &str, code: u8) -> ExitCode {
    let written = write(&mut io::stdout().lock(), out);
    complain(err);
    match written {
        Ok(()) => ExitCode::from(code),
        Err(fault) => {
            complain(&format!("cannot write to standard output: {fault}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error. There is nobody left to tell when that fails.
fn complain(text: &str) {
    let _ = write(&mut io::stderr().lock(), text);
}

/// Writes all of it. A reader that went away (`| head -1`) has what it wanted.
fn write(to: &mut dyn Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes bytes and loses them when they are to be flushed.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_went_away_is_no_fault() {
        let fault = |kind| write(&mut Failing(kind), "text").err().map(|fault| fault.kind());
        assert_eq!(fault(io::ErrorKind::BrokenPipe), None);
        assert_eq!(fault(io::ErrorKind::StorageFull), Some(io::ErrorKind::StorageFull));
    }
}
