//! What a process holds of the machine's memory, as the kernel counts it.

use super::Node;

pub const MIB: u64 = 1 << 20;

impl Node {
    /// Bytes that are resident now.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most bytes that were resident at once since [`reset_peak`](Self::reset_peak).
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Makes the peak what is resident now.
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("it is our child");
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib << 10
    }
}
