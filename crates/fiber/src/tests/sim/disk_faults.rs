//! What goes wrong with the disk of a machine: each knob, and what a power cut leaves of names.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::run;
use crate::fs::{self, File};
use crate::sim::Host;
use crate::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a program on the machine `meter` to its end.
fn on<T: 'static>(host: &Host, program: impl FnOnce() -> io::Result<T> + 'static) -> T {
    host.start(program).unwrap().join().unwrap().unwrap()
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_read_only_disk_is_read_and_takes_no_change() {
    run(1, |world| {
        let meter = world.host("meter");
        let file = on(&meter, || {
            fs::create_dir("/state")?;
            let file = File::create("/log")?;
            file.append(*b"kept")?;
            Ok(file)
        });
        meter.set_disk_read_only(true);
        on(&meter, move || {
            let refused = ErrorKind::ReadOnlyFilesystem;
            assert_eq!(kind(file.append(*b"x")), refused);
            assert_eq!(kind(file.write_at(0, *b"x")), refused);
            assert_eq!(kind(file.set_size(0)), refused);
            assert_eq!(kind(File::open("/log")), refused);
            assert_eq!(kind(File::create("/new")), refused);
            assert_eq!(kind(fs::remove("/log")), refused);
            assert_eq!(kind(fs::rename("/log", "/new")), refused);
            assert_eq!(kind(fs::create_dir("/more")), refused);
            assert_eq!(kind(fs::create_dir_all("/a/b")), refused);
            assert_eq!(kind(fs::remove_dir("/state")), refused);
            assert_eq!(file.read_at(0, 9)?, b"kept");
            assert_eq!(fs::read("/log")?, b"kept");
            assert_eq!(kind(File::open("/none")), ErrorKind::NotFound);
            fs::list("/").map(|names| assert_eq!(names, ["log", "state"]))
        });
        meter.set_disk_read_only(false);
        on(&meter, || fs::remove("/log"));
    });
}

#[test]
fn writes_fail_as_often_as_asked_for_after_any_part_of_them() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_failing_writes(250_000);
        let parts = on(&meter, || {
            let mut parts = Vec::new();
            for n in 0..400 {
                let file = File::create(format!("/log{n}"))?;
                if let Err(error) = file.append([7; 100]) {
                    assert_eq!(error.raw_os_error(), Some(libc::EIO));
                    parts.push(file.size()?);
                }
            }
            Ok(parts)
        });
        assert!((70..=130).contains(&parts.len()), "{} of 400", parts.len());
        let lengths: BTreeSet<u64> = parts.into_iter().collect();
        assert!(lengths.len() > 30 && lengths.iter().all(|&len| len <= 100));
    });
}

#[test]
fn reads_fail_as_often_as_asked_for() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_failing_reads(250_000);
        let failed = on(&meter, || {
            let file = File::create("/log")?;
            file.append([7; 100])?;
            let whole = (0..200).filter(|_| fs::read("/log").is_err()).count();
            let part = (0..200).filter(|_| file.read_at(3, 4).is_err()).count();
            Ok([whole, part])
        });
        assert!(failed.iter().all(|n| (30..=70).contains(n)), "{failed:?}");
    });
}

#[test]
fn a_slow_sync_takes_its_time_and_nothing_else_does() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_sync_latency(SECOND * 2..=SECOND * 3);
        on(&meter, || {
            let file = File::create("/log")?;
            let began = Instant::now();
            file.append([7; 100])?;
            fs::rename("/log", "/moved")?;
            assert!(began.elapsed() < SECOND);
            for sync in [
                (|_| fs::sync_dir("/")) as fn(&File) -> io::Result<()>,
                File::sync,
                File::sync_all,
            ] {
                let began = Instant::now();
                sync(&file)?;
                let took = began.elapsed();
                assert!(took > SECOND * 2 && took < SECOND * 4, "{took:?}");
            }
            Ok(())
        });
    });
}

#[test]
fn failing_syncs_of_folders_are_told() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_failing_syncs(250_000);
        let failed = on(&meter, || {
            Ok((0..400).filter(|_| fs::sync_dir("/").is_err()).count())
        });
        assert!((70..=130).contains(&failed), "{failed} of 400");
    });
}

#[test]
fn what_is_removed_makes_room_once_nobody_has_it_open() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_disk_capacity(Some(1_000));
        on(&meter, || {
            let log = File::create("/log")?;
            log.append([1; 900])?;
            assert_eq!(fs::free_space("/")?, 100);
            log.write_at(0, [2; 900])?;
            let full = kind(File::create("/new")?.write_at(50, [3; 200]));
            assert_eq!(full, ErrorKind::StorageFull);
            assert_eq!(fs::read("/new")?.len(), 150);
            fs::remove("/log")?;
            assert_eq!(fs::free_space("/")?, 0);
            drop(log);
            assert_eq!(fs::free_space("/")?, 850);
            let too_large = File::open("/new")?.set_size(1 << 40);
            assert_eq!(kind(too_large), ErrorKind::FileTooLarge);
            Ok(())
        });
    });
}

/// Whether `/a/b` is there after a cut, when `sync` was done to some folders.
fn folders_after_cut(seed: u64, synced: &'static [&'static str]) -> bool {
    run(seed, move |world| {
        let meter = world.host("meter");
        on(&meter, move || {
            fs::create_dir_all("/a/b")?;
            synced.iter().try_for_each(|path| fs::sync_dir(*path))
        });
        meter.power_cut();
        on(&meter, || Ok(fs::list("/a/b").is_ok()))
    })
    .value
}

#[test]
fn a_new_folder_may_vanish_until_the_one_above_is_synced() {
    let left = |synced| (0..60).filter(|&s| folders_after_cut(s, synced)).count();
    assert_eq!(left(&["/a", "/"]), 60);
    // The inner one alone is sure, in a folder that is not.
    let some = left(&["/a"]);
    assert!((20..=55).contains(&some), "{some} of 60");
    let fewer = left(&[]);
    assert!((5..=45).contains(&fewer), "{fewer} of 60");
}

#[test]
fn a_removal_may_be_undone_until_its_folder_is_synced() {
    let left = |sync: bool| {
        (0..60)
            .filter(|&seed| {
                run(seed, move |world| {
                    let meter = world.host("meter");
                    on(&meter, move || {
                        let file = File::create("/log")?;
                        file.append(*b"data")?;
                        file.sync()?;
                        fs::sync_dir("/")?;
                        fs::remove("/log")?;
                        if sync { fs::sync_dir("/") } else { Ok(()) }
                    });
                    meter.power_cut();
                    let data = on(&meter, || Ok(fs::read("/log").ok()));
                    assert!(data.as_ref().is_none_or(|data| data == b"data"));
                    data.is_some()
                })
                .value
            })
            .count()
    };
    let some = left(false);
    assert!((5..=55).contains(&some), "{some} of 60");
    assert_eq!(left(true), 0);
}

#[test]
fn a_file_that_moves_between_folders_is_in_one_of_them_after_a_cut() {
    let mut places = BTreeSet::new();
    for seed in 0..100 {
        let at = run(seed, move |world| {
            let meter = world.host("meter");
            on(&meter, || {
                fs::create_dir("/from")?;
                fs::create_dir("/to")?;
                fs::sync_dir("/")?;
                let file = File::create("/from/x")?;
                file.sync()?;
                fs::sync_dir("/from")?;
                fs::rename("/from/x", "/to/x")
            });
            meter.power_cut();
            on(&meter, || {
                Ok((fs::list("/from")?.len(), fs::list("/to")?.len()))
            })
        })
        .value;
        places.insert(at);
    }
    assert_eq!(places, BTreeSet::from([(0, 1), (1, 0)]));
    // To sync the folder it came to is enough, also for what made it.
    for seed in 0..40 {
        run(seed, |world| {
            let meter = world.host("meter");
            on(&meter, || {
                fs::create_dir("/from")?;
                fs::create_dir("/to")?;
                fs::sync_dir("/")?;
                File::create("/from/x")?.sync()?;
                fs::rename("/from/x", "/to/y")?;
                fs::sync_dir("/to")
            });
            meter.power_cut();
            on(&meter, || {
                assert!(fs::list("/from")?.is_empty());
                fs::list("/to").map(|names| assert_eq!(names, ["y"]))
            });
        });
    }
}

#[test]
fn a_crash_frees_locks_and_handles_of_before_lead_nowhere() {
    for crash in [Host::kill, Host::power_cut] {
        run(1, move |world| {
            let meter = world.host("meter");
            let kept = on(&meter, || {
                let file = File::create("/lock")?;
                file.sync()?;
                fs::sync_dir("/")?;
                assert!(file.try_lock()?);
                Ok(file)
            });
            let other = on(&meter, || File::open("/lock")?.try_lock());
            assert!(!other);
            crash(&meter);
            let other = on(&meter, || {
                let file = File::open("/lock")?;
                Ok((file.try_lock()?, file))
            });
            assert!(other.0);
            let refused = kept.append(*b"from the past").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
            drop(kept);
            let again = on(&meter, || File::open("/lock")?.try_lock());
            assert!(!again, "the handle of before held no lock of now");
        });
    }
}

#[test]
fn a_file_whose_opening_nobody_waited_for_is_closed() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_disk_latency(SECOND..=SECOND);
        meter.set_disk_capacity(Some(100));
        on(&meter, || {
            let opening = || File::create("/log")?.append([1; 60]);
            let late = crate::timeout(SECOND + SECOND / 2, opening);
            assert!(late.is_err());
            sleep(SECOND * 3)?;
            fs::remove("/log")?;
            assert_eq!(fs::free_space("/")?, 100);
            Ok(())
        });
    });
}
