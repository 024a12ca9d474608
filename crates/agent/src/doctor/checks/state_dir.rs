//! `state-dir`: whether what is kept can be written, lasts and has room.

use std::io;
use std::path::Path;

use fiber::Instant;
use fiber::fs::{self, File};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

/// Free space below which it is told, in bytes.
const FREE_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// The file that is written, and removed again.
const PROBE: &str = ".doctor";

pub(super) fn run(case: &Case) -> Finding {
    let Some(folder) = &case.state_dir() else {
        return Finding::skip("there is no configuration that names it");
    };
    let shown = folder.display();
    if let Err(error) = fs::list(folder) {
        if error.kind() == io::ErrorKind::NotFound {
            return Finding::note(format!("{shown} is not there yet: the agent makes it"));
        }
        return Finding::fail(format!("{shown}: {error}"))
            .remedy("Make it a folder, and give it to the user that the agent runs as.");
    }
    let took = match probe(folder) {
        Ok(took) => took,
        Err(error) => {
            return Finding::warn(format!("{shown} cannot be written: {error}"))
                .evidence("an identity in it is used; a queue is kept in memory alone")
                .remedy("Mount it writable, and give it to the user that the agent runs as.");
        }
    };
    let kind = mount_of(folder);
    if let Some((point, kind)) = &kind
        && matches!(kind.as_str(), "tmpfs" | "ramfs")
    {
        return Finding::warn(format!("{shown} is in memory: it is lost at power-off"))
            .evidence(format!("{point} is a {kind}"))
            .remedy("Keep it on a disk: choose another folder, or mount one there.");
    }
    match fs::free_space(folder) {
        Ok(free) if free < FREE_BYTES_MIN => {
            Finding::warn(format!("{shown}: {} KiB are free", free / 1024))
                .remedy("Make room on that disk.")
        }
        Ok(free) => {
            let kind = kind.map_or(String::new(), |(_, kind)| format!(" on {kind}"));
            let mib = free / (1024 * 1024);
            Finding::ok(format!(
                "{shown}{kind}: {mib} MiB free, a write is safe after {took} ms"
            ))
        }
        Err(error) => Finding::note(format!("{shown}: how much is free is not told: {error}")),
    }
}

/// Writes a file as what is kept is written; returns how many milliseconds that took.
fn probe(folder: &Path) -> io::Result<u128> {
    let began = Instant::now();
    let path = folder.join(PROBE);
    let written = (|| {
        let file = File::create(&path)?;
        file.write_at(0, b"x".to_vec())?;
        file.sync_all()
    })();
    let removed = fs::remove(&path);
    written.and(removed)?;
    Ok(began.elapsed().as_millis())
}

/// The mount that a folder is on, and its kind, where the system tells.
fn mount_of(folder: &Path) -> Option<(String, String)> {
    let text = String::from_utf8(fs::read("/proc/self/mounts").ok()?).ok()?;
    let mut best: Option<(String, String)> = None;
    for line in text.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_longer = best
            .as_ref()
            .is_none_or(|(other, _)| point.len() >= other.len());
        if folder.starts_with(point) && is_longer {
            best = Some((point.to_owned(), kind.to_owned()));
        }
    }
    best
}
