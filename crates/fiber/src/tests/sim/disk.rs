//! The disk of a machine: what it does, and what a power cut leaves of it.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::run;
use crate::fs::{self, File};
use crate::sim::{Host, World};
use crate::{Instant, sleep};

/// Runs a program on the machine `meter` to its end.
fn on<T: 'static>(host: &Host, program: impl FnOnce() -> io::Result<T> + 'static) -> T {
    host.start(program).unwrap().join().unwrap().unwrap()
}

#[test]
fn files_of_a_machine_are_its_own_and_behave_as_files() {
    run(1, |world| {
        let (meter, cloud) = (world.host("meter"), world.host("cloud"));
        on(&meter, || {
            assert_eq!(File::open("/log").unwrap_err().kind(), ErrorKind::NotFound);
            let no_folder = File::create("/no/log").unwrap_err();
            assert_eq!(no_folder.kind(), ErrorKind::NotFound);
            let file = File::create("/log")?;
            assert_eq!(file.append(*b"hello ")?, 0);
            assert_eq!(file.append(*b"world")?, 6);
            assert_eq!(file.read_at(4, 3)?, b"o w");
            assert_eq!(file.read_at(9, 100)?, b"ld");
            assert_eq!(file.read_at(100, 1)?, b"");
            file.set_size(5)?;
            assert_eq!(file.size()?, 5);
            file.sync()?;
            fs::create_dir("/state")?;
            fs::rename("/log", "/state/log")?;
            fs::sync_dir("/state")?;
            assert_eq!(fs::read("/state/log")?, b"hello");
            assert_eq!(fs::permissions("/state/log")?, 0o600);
            assert_eq!(fs::list("/")?, ["state"]);
            assert_eq!(fs::list("/state")?, ["log"]);
            fs::remove("/state/log")?;
            assert_eq!(
                fs::read("/state/log").unwrap_err().kind(),
                ErrorKind::NotFound
            );
            File::create("/kept")?.append(*b"x")
        });
        let elsewhere = on(&cloud, || Ok(fs::read("/kept").is_err()));
        assert!(elsewhere);
    });
}

/// What is left of a file after a cut: `synced` bytes of 1 were synced, `more` bytes of 2 follow.
fn after_cut(seed: u64, synced: usize, more: usize) -> Option<Vec<u8>> {
    run(seed, move |world: &World| {
        let meter = world.host("meter");
        on(&meter, move || {
            let file = File::create("/log")?;
            file.append(vec![1; synced])?;
            file.sync()?;
            fs::sync_dir("/")?;
            file.append(vec![2; more])?;
            file.append(vec![2; more])
        });
        meter.power_cut();
        on(&meter, || Ok(fs::read("/log").ok()))
    })
    .value
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_anything_of_the_rest() {
    let mut lengths = BTreeSet::new();
    let mut holes = 0;
    for seed in 0..500 {
        let left = after_cut(seed, 700, 900).expect("the name was synced");
        assert_eq!(left[..700], [1; 700]);
        assert!(left.len() <= 2_500);
        let rest = &left[700..];
        assert!(rest.iter().all(|&byte| byte == 2 || byte == 0));
        holes += usize::from(rest.contains(&0));
        lengths.insert(left.len());
    }
    assert!(lengths.contains(&700) && lengths.contains(&2_500));
    assert!(lengths.len() > 50, "torn in {} places", lengths.len());
    assert!(holes > 50, "{holes} of 500 lost a sector in the middle");
}

#[test]
fn a_killed_program_loses_nothing_that_was_written() {
    run(1, |world| {
        let meter = world.host("meter");
        on(&meter, || File::create("/log")?.append(*b"unsynced"));
        meter.kill();
        assert_eq!(on(&meter, || fs::read("/log")), b"unsynced");
    });
}

#[test]
fn a_rename_is_whole_and_may_vanish_until_its_folder_is_synced() {
    let read_after = |seed, sync: bool| {
        run(seed, move |world| {
            let meter = world.host("meter");
            on(&meter, move || {
                for (name, content) in [("/state", b"old"), ("/new", b"new")] {
                    let file = File::create(name)?;
                    file.append(*content)?;
                    file.sync()?;
                }
                fs::sync_dir("/")?;
                fs::rename("/new", "/state")?;
                if sync { fs::sync_dir("/") } else { Ok(()) }
            });
            meter.power_cut();
            on(&meter, || fs::read("/state"))
        })
        .value
    };
    let unsynced: BTreeSet<_> = (0..50).map(|seed| read_after(seed, false)).collect();
    assert_eq!(unsynced, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
    let synced: BTreeSet<_> = (0..50).map(|seed| read_after(seed, true)).collect();
    assert_eq!(synced, BTreeSet::from([b"new".to_vec()]));
}

#[test]
fn a_new_file_may_vanish_until_its_folder_is_synced() {
    let is_there: BTreeSet<_> = (0..50)
        .map(|seed| {
            run(seed, |world| {
                let meter = world.host("meter");
                on(&meter, || File::create("/log")?.sync());
                meter.power_cut();
                on(&meter, || Ok(File::open("/log").is_ok()))
            })
            .value
        })
        .collect();
    assert_eq!(is_there.len(), 2);
}

#[test]
fn after_a_failed_sync_no_later_one_makes_the_data_sure() {
    let lost = (0..100).filter(|&seed| {
        let left = run(seed, |world| {
            let meter = world.host("meter");
            meter.set_failing_syncs(1_000_000);
            let failed = on(&meter, || {
                let file = File::create("/log")?;
                file.append(*b"data")?;
                Ok(file.sync().is_err())
            });
            assert!(failed);
            meter.set_failing_syncs(0);
            on(&meter, || {
                let file = File::open("/log")?;
                assert_eq!(file.read_at(0, 4)?, b"data");
                file.sync()?;
                fs::sync_dir("/")
            });
            meter.power_cut();
            on(&meter, || fs::read("/log"))
        });
        left.value.is_empty()
    });
    let lost = lost.count();
    assert!((25..=75).contains(&lost), "{lost} of 100");
}

#[test]
fn a_full_disk_takes_what_fits_and_a_slow_one_takes_its_time() {
    run(1, |world| {
        let meter = world.host("meter");
        meter.set_disk_capacity(Some(10));
        on(&meter, || {
            let file = File::create("/log")?;
            let full = file.append(vec![1; 25]).unwrap_err();
            assert_eq!(full.kind(), ErrorKind::StorageFull);
            assert_eq!(file.size()?, 10);
            assert_eq!(
                file.set_size(11).unwrap_err().kind(),
                ErrorKind::StorageFull
            );
            file.set_size(3)?;
            file.append(vec![2; 7])
        });
        let slow = Duration::from_secs(3);
        meter.set_disk_latency(slow..=slow);
        let began = Instant::now();
        on(&meter, || fs::read("/log"));
        assert!(began.elapsed() >= slow);
        // An operation that nobody waits for any more is done all the same.
        on(&meter, move || {
            assert!(crate::timeout(slow / 2, || fs::remove("/log")).is_err());
            sleep(slow * 2)?;
            assert_eq!(File::open("/log").unwrap_err().kind(), ErrorKind::NotFound);
            Ok(())
        });
    });
}
