//! The printer against sinks that are slow, closed or broken.

use super::*;
use std::sync::Mutex;
use std::sync::mpsc;

type Written = Arc<Mutex<Vec<Vec<u8>>>>;

fn collector() -> (Printer, Written) {
    let written = Written::default();
    let sink = Arc::clone(&written);
    let printer = Printer::over(move |piece| {
        sink.lock().unwrap().push(piece.to_vec());
        Ok(())
    });
    (printer, written)
}

#[test]
fn everything_is_written_in_order() {
    let (printer, written) = collector();
    fiber::run(move || {
        for n in 0..100_u32 {
            printer.print(&[n.to_string().as_bytes(), b"\n"]).unwrap();
        }
        printer.flush().unwrap();
    })
    .unwrap();
    let expected: String = (0..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(written.lock().unwrap().concat(), expected.as_bytes());
}

#[test]
fn what_comes_during_a_write_leaves_in_one_piece() {
    let (printer, written) = collector();
    fiber::run(move || {
        let end = printer.print(&[b"first"]).unwrap();
        printer.printed(end).unwrap();
        for part in [b"a", b"b", b"c"] {
            printer.print(&[part]).unwrap();
        }
        printer.flush().unwrap();
    })
    .unwrap();
    assert_eq!(
        *written.lock().unwrap(),
        [b"first".to_vec(), b"abc".to_vec()]
    );
}

#[test]
fn who_has_more_than_may_wait_waits_for_the_reader() {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let printer = Printer::over(move |_| gate.lock().unwrap().recv().map_err(io::Error::other));
    fiber::run(move || {
        let full = vec![b'x'; PENDING_BYTES_MAX];
        printer.print(&[&full]).unwrap();
        // The writer takes all of it, and the next piece may wait.
        fiber::yield_now().unwrap();
        printer.print(&[&full]).unwrap();
        let waiting = fiber::timeout(std::time::Duration::from_millis(50), || {
            printer.print(&[b"y"])
        });
        let stopped = PrintError::Stopped(Stopped::TimedOut).to_string();
        assert_eq!(waiting.unwrap_err().0.unwrap_err().to_string(), stopped);
        go.send(()).unwrap();
        printer.print(&[b"z"]).unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        printer.flush().unwrap();
    })
    .unwrap();
}

#[test]
fn a_closed_output_is_told_from_a_broken_one() {
    let outcome = |kind: io::ErrorKind| {
        let printer = Printer::over(move |_| Err(io::Error::from(kind)));
        fiber::run(move || {
            let end = printer.print(&[b"x"]).unwrap();
            let first = printer.printed(end).unwrap_err();
            let later = printer.print(&[b"y"]).unwrap_err();
            assert_eq!(first.to_string(), later.to_string());
            first
        })
        .unwrap()
    };
    assert!(matches!(
        outcome(io::ErrorKind::BrokenPipe),
        PrintError::Closed
    ));
    let error = outcome(io::ErrorKind::StorageFull);
    assert!(matches!(&error, PrintError::Io(io) if io.kind() == io::ErrorKind::StorageFull));
}
