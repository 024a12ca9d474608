//! How much memory the agent may have and has, by its control group (cgroup v2): what is kept in memory is
//! bounded by it, and the health tells when little is left.
//!
//! Only memory that the kernel cannot take back counts as used: pages of files, such as the queue's, come
//! and go.

use std::path::{Path, PathBuf};

use fiber::fs;

/// Where the groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// Which group this process is in.
const OWN_GROUP: &str = "/proc/self/cgroup";
/// Which part of its memory one thing that is bounded may take: a quarter.
const SHARE: u64 = 4;
/// Memory for one message that waits on the disk.
const MESSAGE_BYTES: u64 = 64;
/// Used per cent of the memory from which on the health tells of it.
pub(crate) const MEMORY_USED_MAX: u64 = 90;

/// A limit of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The group that it is of.
    group: PathBuf,
    limit: u64,
}

impl Memory {
    /// Returns the least limit, of the group of this process or one around, if there is one. Yields
    /// while files are read.
    pub(crate) fn find() -> Option<Self> {
        let text = read(Path::new(OWN_GROUP))?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let own = Path::new(GROUPS).join(own);
        let groups = own.ancestors().take_while(|at| at.starts_with(GROUPS));
        let limits = groups.filter_map(|group| {
            let limit = read(&group.join("memory.max"))?.trim().parse().ok()?;
            let group = group.to_owned();
            Some(Self { group, limit })
        });
        limits.min_by_key(|memory| memory.limit)
    }

    /// Returns the limit, in bytes.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns how many messages of a queue on the disk fit, of those that are asked for.
    pub(crate) fn messages(&self, asked: usize) -> usize {
        let fits = self.limit / SHARE / MESSAGE_BYTES;
        asked.min(usize::try_from(fits).unwrap_or(usize::MAX))
    }

    /// Returns how large a packet fits, of a size that is asked for.
    pub(crate) fn packet(&self, asked: usize) -> usize {
        asked.min(usize::try_from(self.limit / SHARE).unwrap_or(usize::MAX))
    }

    /// Returns what is used, in bytes, where the system tells. Yields while a file is read.
    fn used(&self) -> Option<u64> {
        let stat = read(&self.group.join("memory.stat"))?;
        let used = stat.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            // What programs have, and what the kernel has for them.
            matches!(name, "anon" | "kernel_stack" | "pagetables" | "sock")
                .then(|| value.parse::<u64>().ok())?
        });
        Some(used.sum())
    }

    /// Says in one line that little is left, if so. Yields while a file is read.
    pub(crate) fn shortage(&self) -> Option<String> {
        let used = self.used()?;
        (used >= self.limit / 100 * MEMORY_USED_MAX).then(|| {
            let (used, limit) = (used / 1024 / 1024, self.limit / 1024 / 1024);
            format!("{used} MiB of {limit} MiB of memory are in use")
        })
    }
}

fn read(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_is_received_fit_into_a_quarter_each() {
        let memory = Memory {
            group: PathBuf::new(),
            limit: 32 * 1024 * 1024,
        };
        assert_eq!(memory.messages(100_000), 100_000);
        assert_eq!(memory.messages(10_000_000), 131_072);
        assert_eq!(memory.packet(16 * 1024 * 1024), 8 * 1024 * 1024);
        assert_eq!(memory.packet(1_024), 1_024);
    }
}
