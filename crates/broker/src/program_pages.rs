//! Gives back the pages of the program that only the start needed.
//!
//! The kernel maps a program's code in blocks around each place that is touched, and the start touches nearly all of it:
//! parsing, recovery, the store. Those pages stay in the process's resident memory for ever, many times what serving
//! needs. They are the file's, unchanged, so letting go of them loses nothing: what is used again is mapped again, from
//! the page cache.

use std::time::Duration;

use rustix::mm::{Advice, madvise};
use tracing::debug;

/// When the start is surely over, and the first clients have been served.
const AFTER: Duration = Duration::from_secs(10);

/// Waits until the node has served for a while, then lets the pages go, once.
pub(crate) async fn give_back_later() {
    tokio::time::sleep(AFTER).await;
    let bytes = give_back();
    debug!("Gave back the pages of {bytes} bytes of program code");
}

/// Lets go of all code of the program and its libraries. Gives how many bytes of code there are.
fn give_back() -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    untouched(&maps).into_iter().map(|(start, len)| if let_go(start, len) { len } else { 0 }).sum()
}

/// Start and length of the mappings that are code of a file, and of which no page is a copy: probes and debuggers write
/// to copies, which must stay. `smaps` is a line for each mapping, and below it a line for each of its figures.
fn untouched(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        match line.strip_prefix("Anonymous:") {
            Some(size) if size.trim() == "0 kB" => found.extend(mapping.take()),
            Some(_) => mapping = None,
            // Figures have a colon where a mapping has its range.
            None if line.split(' ').next().is_some_and(|first| first.contains('-')) => mapping = code(line),
            None => {}
        }
    }
    found
}

/// Start and length of a mapping that is code of a file: not writable.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, access) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if access != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[expect(unsafe_code, reason = "advice about memory by address; see SAFETY")]
fn let_go(start: usize, len: usize) -> bool {
    // SAFETY: the range is a private mapping of a file that this process cannot write to and never unmaps (nothing here
    // unloads a library), and none of its pages is a copy. With this advice the kernel forgets the pages and reads the
    // same bytes from the file at the next access.
    unsafe { madvise(std::ptr::without_provenance_mut(start), len, Advice::LinuxDontNeed) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go() {
        let at = |access: &str, path: &str| code(&format!("7f00-8f00 {access} 00001000 fe:00 12 {path}"));
        assert_eq!(at("r-xp", "/usr/bin/ottla"), Some((0x7f00, 0x1000)));
        for access in ["r--p", "rw-p", "rwxp", "r-xs", "---p"] {
            assert_eq!(at(access, "/usr/bin/ottla"), None, "{access}");
        }
        assert_eq!(at("r-xp", "[vdso]"), None);
        assert_eq!(at("r-xp", ""), None);
        assert_eq!(code("not a mapping"), None);
    }

    #[test]
    fn what_somebody_has_written_to_stays() {
        let smaps = "\
            1000-2000 r-xp 00000000 fe:00 12 /bin/ottla\nSize: 4 kB\nAnonymous:             0 kB\nVmFlags: rd ex\n\
            2000-4000 r-xp 00001000 fe:00 12 /bin/ottla\nSize: 8 kB\nAnonymous:             4 kB\n\
            4000-5000 rw-p 00003000 fe:00 12 /bin/ottla\nAnonymous:             0 kB\n\
            5000-8000 r-xp 00000000 fe:00 13 /lib/libc.so\nAnonymous:             0 kB\n";
        assert_eq!(untouched(smaps), [(0x1000, 0x1000), (0x5000, 0x3000)]);
    }

    #[test]
    fn the_program_runs_on() {
        assert!(give_back() > 1 << 20, "a test program has more than a megabyte of code");
        let unwound = std::panic::catch_unwind(|| assert!(format!("{:?}", vec![1.5; 3]).is_empty()));
        assert!(unwound.is_err());
    }
}
