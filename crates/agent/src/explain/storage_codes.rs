//! From what the store of the queue reports to its code.

use std::io::ErrorKind;

use mqtt::StoreFailure;
use mqtt::store::Report;

/// Returns the code of what a store found; none for what is no fault.
#[must_use]
pub const fn code_of_report(report: &Report) -> Option<&'static str> {
    Some(match report {
        Report::DiskHasRoom => return None,
        Report::DiskFull => "S001",
        Report::SyncFailed(kind) | Report::WriteFailed(kind) => code_of_disk(*kind),
        Report::TornTail { .. } => "S003",
        Report::Damaged { .. } | Report::Unreadable { .. } => "S004",
        Report::Newer { .. } => "S005",
        Report::Skipped { .. } => "S006",
        Report::OtherIdentity => "S007",
        Report::MessageDamaged { .. } => "S008",
        Report::ReadFailed(_) => "S009",
        Report::CleanUpFailed(_) => "S010",
        _ => return None,
    })
}

/// Returns the code of why a store takes nothing.
#[must_use]
pub const fn code_of_store_failure(failure: &StoreFailure) -> &'static str {
    match failure {
        StoreFailure::Disk(kind) => code_of_disk(*kind),
        StoreFailure::Panicked => "S011",
        _ => "S002",
    }
}

const fn code_of_disk(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "S001",
        _ => "S002",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::explain::Kind;

    #[test]
    fn every_report_of_a_store_is_explained_and_nothing_else() {
        let kind = ErrorKind::Other;
        let segment = 1;
        let reports = [
            Report::TornTail { segment, bytes: 1 },
            Report::Damaged { segment, bytes: 1 },
            Report::Unreadable { segment },
            Report::Newer { segment, major: 9 },
            Report::Skipped { records: 1 },
            Report::OtherIdentity,
            Report::SyncFailed(kind),
            Report::WriteFailed(kind),
            Report::ReadFailed(kind),
            Report::MessageDamaged {
                message: mqtt::store::StorePos(1),
            },
            Report::CleanUpFailed(kind),
            Report::DiskFull,
        ];
        let reported = reports.iter().map(|report| code_of_report(report).unwrap());
        let failed = [
            StoreFailure::Disk(ErrorKind::StorageFull),
            StoreFailure::Disk(kind),
            StoreFailure::Panicked,
        ];
        let failed = failed.iter().map(code_of_store_failure);
        let known: BTreeSet<&str> = reported.chain(failed).collect();
        let explained = Kind::Storage.explanations().map(|entry| entry.code);
        assert_eq!(known, explained.collect());
        assert_eq!(code_of_report(&Report::DiskHasRoom), None);
    }
}
