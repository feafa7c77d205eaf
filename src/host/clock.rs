//! Reads both clocks.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use keystore::Now;
use rustix::time::{ClockId, clock_gettime};

/// The clocks of this machine, in this boot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    boot: [u8; 16],
}

impl Clock {
    /// Learns which boot this is. Where the kernel does not say, every run counts as a boot of its
    /// own, so that only the wall clock is compared across runs.
    pub fn new() -> Self {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let mut boot = [0; 16];
        match data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) {
            Ok(bytes) if bytes.len() == boot.len() => boot.copy_from_slice(&bytes),
            // Zeros on failure, too: then only the wall clock speaks.
            _ => drop(getrandom::fill(&mut boot)),
        }
        Self { boot }
    }

    /// The time by both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let boot = clock_gettime(ClockId::Boottime);
        let boot_ms = boot.tv_sec.unsigned_abs() * 1000 + boot.tv_nsec.unsigned_abs() / 1_000_000;
        Now {
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            boot_ms,
            boot: self.boot,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
