//! What a test may set about the disk of a machine.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Disk;
use crate::sim::host::Host;

impl Host {
    fn set_disk(&self, set: impl FnOnce(&mut Disk)) {
        self.state.disks.with(self.number, set);
    }

    /// Sets how long each operation of the machine's disk takes, drawn from this range (default
    /// 20 µs to 10 ms). There is one at a time.
    pub fn set_disk_latency(&self, latency: RangeInclusive<Duration>) {
        self.set_disk(|disk| disk.latency = latency);
    }

    /// Sets how much longer each sync of a file or folder takes, drawn from this range (default
    /// not at all).
    pub fn set_sync_latency(&self, latency: RangeInclusive<Duration>) {
        self.set_disk(|disk| disk.sync_latency = latency);
    }

    /// Sets how many bytes the files of the machine may hold together (default no limit). What
    /// does not fit fails with [`std::io::ErrorKind::StorageFull`], after as much of it as did fit.
    pub fn set_disk_capacity(&self, bytes: Option<u64>) {
        self.set_disk(|disk| disk.capacity = bytes);
    }

    /// Sets whether the disk takes no change (default it does): what would change it fails with
    /// [`std::io::ErrorKind::ReadOnlyFilesystem`], opening a [`crate::fs::File`] included, which is
    /// for writing too.
    pub fn set_disk_read_only(&self, is_read_only: bool) {
        self.set_disk(|disk| disk.is_read_only = is_read_only);
    }

    /// Sets how many syncs of files and folders fail, per million. Of what such a sync of a file
    /// was about nothing is sure, and no later sync makes it so.
    pub fn set_failing_syncs(&self, per_million: u32) {
        self.set_disk(|disk| disk.failing_syncs = per_million);
    }

    /// Sets how many writes fail, per million, after the disk took a part of them, which may be
    /// none or all.
    pub fn set_failing_writes(&self, per_million: u32) {
        self.set_disk(|disk| disk.failing_writes = per_million);
    }

    /// Sets how many reads fail, per million.
    pub fn set_failing_reads(&self, per_million: u32) {
        self.set_disk(|disk| disk.failing_reads = per_million);
    }
}
