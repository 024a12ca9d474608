//! Work on other threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use super::{MILLISECOND, go, paused, real, timed};
use crate::world::offload::{Lane, offload_on};
use crate::{
    Elapsed, JoinHandle, OFFLOAD_QUEUE_MAX, OffloadError, Stopped, offload, resolve, sleep, spawn,
    timeout, yield_now,
};

#[test]
fn the_value_comes_back_and_others_run_meanwhile() {
    paused(|| {
        let (finish, held) = mpsc::channel::<u8>();
        go(move || {
            for _ in 0..10 {
                yield_now().unwrap();
            }
            finish.send(7).unwrap();
        });
        assert_eq!(offload(move || held.recv().unwrap()).unwrap(), 7);
    });
}

#[test]
fn a_panic_of_the_work_arrives_with_its_payload() {
    real(|| {
        let Err(OffloadError::Panicked(payload)) = offload(|| panic!("work")) else {
            panic!("the panic arrives");
        };
        assert_eq!(*payload.downcast::<&str>().unwrap(), "work");
        assert_eq!(offload(|| 7).unwrap(), 7);
    });
}

#[test]
fn work_abandoned_by_a_deadline_is_finished_and_its_result_dropped() {
    struct Result(mpsc::Sender<()>);
    impl Drop for Result {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    real(|| {
        let (finish, held) = mpsc::channel::<()>();
        let (dropped, seen) = mpsc::channel();
        let ended = timeout(5 * MILLISECOND, || {
            offload(move || {
                let _ = held.recv();
                Result(dropped)
            })
            .map(|_| ())
        });
        assert!(matches!(
            ended,
            Err(Elapsed(Err(OffloadError::Stopped(Stopped::TimedOut))))
        ));
        drop(finish);
        seen.recv().unwrap();
        // The late end wakes nobody out of a later wait.
        let ((), took) = timed(|| sleep(10 * MILLISECOND).unwrap());
        assert!(took >= 10 * MILLISECOND);
    });
}

#[test]
fn results_that_panic_when_dropped_do_not_use_up_the_threads() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("bomb");
        }
    }
    real(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let (finish, held) = mpsc::channel::<()>();
            let bomb = Arc::clone(&dropped);
            let abandoned = timeout(MILLISECOND, || {
                offload_on(Lane::Files, move || {
                    let _ = held.recv();
                    Bomb(bomb)
                })
                .map(std::mem::forget)
            });
            assert!(abandoned.is_err());
            drop(finish);
        }
        // One thread serves this lane: it answers after ten bombs.
        let limit = Duration::from_secs(20);
        let answer = timeout(limit, || offload_on(Lane::Files, || 7).unwrap());
        assert_eq!(answer.unwrap(), 7);
        assert_eq!(dropped.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn lanes_do_not_starve_each_other() {
    real(|| {
        let (finish, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        // Many more jobs than threads in two of the lanes, none of which ends.
        let mut stuck = Vec::new();
        for lane in [Lane::Names, Lane::Work] {
            for _ in 0..10 {
                let held = Arc::clone(&held);
                let job = move || offload_on(lane, move || held.lock().unwrap().recv().is_ok());
                stuck.push(spawn(job).unwrap());
            }
        }
        yield_now().unwrap();
        let limit = Duration::from_secs(20);
        let value = timeout(limit, || offload_on(Lane::Files, || 7).unwrap());
        assert_eq!(value.unwrap(), 7);
        drop(finish);
        for fiber in &mut stuck {
            fiber.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_lane_uses_all_its_threads_and_no_more() {
    real(|| {
        // Four jobs that only end together.
        let barrier = Arc::new(Barrier::new(4));
        let mut jobs: Vec<_> = (0..4)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                spawn(move || offload(move || barrier.wait().is_leader())).unwrap()
            })
            .collect();
        for job in &mut jobs {
            job.join().unwrap().unwrap();
        }
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut jobs: Vec<_> = (0..50)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                spawn(move || {
                    offload(move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    })
                })
                .unwrap()
            })
            .collect();
        for job in &mut jobs {
            job.join().unwrap().unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 4);
    });
}

#[test]
fn one_job_too_many_is_refused() {
    real(|| {
        let (started, has_started) = mpsc::channel();
        let (finish, held) = mpsc::channel::<()>();
        let mut first = spawn(move || {
            offload_on(Lane::Files, move || {
                started.send(()).unwrap();
                let _ = held.recv();
            })
        })
        .unwrap();
        yield_now().unwrap();
        has_started.recv().unwrap();
        let mut queued: Vec<_> = (0..OFFLOAD_QUEUE_MAX)
            .map(|_| spawn(|| offload_on(Lane::Files, || ())).unwrap())
            .collect();
        for _ in 0..(OFFLOAD_QUEUE_MAX / 32) {
            yield_now().unwrap();
        }
        assert!(matches!(
            offload_on(Lane::Files, || ()),
            Err(OffloadError::Full)
        ));
        drop(finish);
        first.join().unwrap().unwrap();
        for fiber in &mut queued {
            fiber.join().unwrap().unwrap();
        }
        offload_on(Lane::Files, || ()).unwrap();
    });
}

/// Has both threads of the lane for names wait; they go on when what is returned is dropped.
fn stick_names() -> (mpsc::Sender<()>, Vec<JoinHandle<()>>) {
    let (finish, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let (started, has_started) = mpsc::channel();
    let stuck = (0..2).map(|_| {
        let (held, started) = (Arc::clone(&held), started.clone());
        spawn(move || {
            let stick = move || {
                started.send(()).unwrap();
                let _ = held.lock().unwrap().recv();
            };
            offload_on(Lane::Names, stick).unwrap();
        })
        .unwrap()
    });
    let stuck = stuck.collect();
    yield_now().unwrap();
    for _ in 0..2 {
        has_started.recv().unwrap();
    }
    (finish, stuck)
}

#[test]
fn a_look_up_that_nobody_waits_for_never_begins_and_leaves_its_place() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            // What nobody waits for panics for nobody.
            assert!(self.0.load(Ordering::SeqCst) != 1, "dropped");
        }
    }
    real(|| {
        let (finish, mut stuck) = stick_names();
        let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut others: Vec<_> = (0..3)
            .map(|n| {
                let begun = Arc::clone(&begun);
                let dropped = Dropped(Arc::clone(&dropped));
                spawn(move || {
                    let look_up = move || {
                        begun.fetch_add(1, Ordering::SeqCst);
                        std::mem::forget(dropped);
                        n
                    };
                    let waited = timeout(MILLISECOND, || offload_on(Lane::Names, look_up));
                    assert!(matches!(
                        waited,
                        Err(Elapsed(Err(OffloadError::Stopped(Stopped::TimedOut))))
                    ));
                })
                .unwrap()
            })
            .collect();
        // Those around them keep their order.
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        for n in 0..2 {
            let order = Arc::clone(&order);
            others.push(
                spawn(move || {
                    offload_on(Lane::Names, move || order.lock().unwrap().push(n)).unwrap();
                })
                .unwrap(),
            );
        }
        sleep(20 * MILLISECOND).unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
        drop(finish);
        for fiber in others.iter_mut().chain(&mut stuck) {
            fiber.join().unwrap();
        }
        assert_eq!(begun.load(Ordering::SeqCst), 0);
        let mut order = order.lock().unwrap().clone();
        order.sort_unstable();
        assert_eq!(order, [0, 1]);
    });
}

#[test]
fn the_lane_for_names_is_bounded_and_those_who_leave_make_room() {
    real(|| {
        let (finish, mut stuck) = stick_names();
        let waiting: Vec<_> = (0..OFFLOAD_QUEUE_MAX)
            .map(|_| spawn(|| drop(resolve("localhost", 1))).unwrap())
            .collect();
        for _ in 0..(OFFLOAD_QUEUE_MAX / 32) {
            yield_now().unwrap();
        }
        let refused = resolve("localhost", 1).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ResourceBusy);
        for fiber in &waiting {
            fiber.cancel();
        }
        sleep(MILLISECOND).unwrap();
        drop(finish);
        assert!(!resolve("localhost", 1).unwrap().is_empty());
        for fiber in &mut stuck {
            fiber.join().unwrap();
        }
    });
}

#[test]
fn an_end_that_comes_at_once_is_not_lost() {
    // The thread may end before the runtime waits, while it is about to, or after.
    real(|| {
        for n in 0..2_000_u32 {
            assert_eq!(offload(move || n).unwrap(), n);
        }
    });
}

#[test]
fn a_name_is_looked_up_off_the_thread() {
    real(|| {
        let found = resolve("localhost", 1883).unwrap();
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|address| address.port() == 1883 && address.ip().is_loopback())
        );
        assert!(resolve("no such name", 1).is_err());
    });
}

#[test]
fn a_file_is_read_off_the_thread() {
    real(|| {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let text = crate::fs::read(here).unwrap();
        assert!(
            String::from_utf8(text)
                .unwrap()
                .contains("name = \"fiber\"")
        );
        let missing = crate::fs::read("/no/such/file").unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn a_file_is_read_into_one_place() {
    real(|| {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/offload.rs");
        let text = crate::fs::read(here).unwrap();
        // What had grown would have left its beginning elsewhere, and have room to grow on.
        assert!(text.len() > 4096);
        assert_eq!(text.capacity(), text.len() + 1);
    });
}

#[test]
fn who_may_use_a_file_is_told_without_its_type() {
    real(|| {
        assert_eq!(crate::fs::permissions("/dev/null").unwrap(), 0o666);
        let missing = crate::fs::permissions("/no/such/file").unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn a_file_without_an_end_is_an_error_and_not_all_of_the_memory() {
    real(|| {
        let name = format!("fiber-too-large-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(crate::fs::FILE_BYTES_MAX + 1).unwrap();
        let error = crate::fs::read(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
        assert_eq!(
            error.to_string(),
            "expected a file of at most 67108864 bytes, found more"
        );
    });
}

#[test]
fn random_bytes_differ() {
    let mut buffers = [[0; 700]; 2];
    for buffer in &mut buffers {
        crate::random::fill(buffer).unwrap();
    }
    assert_ne!(buffers[0], buffers[1]);
    assert!(buffers[0][600..].iter().any(|&byte| byte != 0));
}
