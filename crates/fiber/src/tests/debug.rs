//! What is formatted may be written to somebody who waits: others use it meanwhile.

use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;
use std::rc::Rc;
use std::sync::mpsc;

use super::{PATIENCE, paused, turns};
use crate::net::pipe;
use crate::{JoinHandle, Mutex, Remote, channel, spawn, yield_now};

/// A writer that gives up its turn for each piece, as one to a slow connection would.
struct Slow(String);

impl fmt::Write for Slow {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        yield_now().map_err(|_| fmt::Error)
    }
}

/// A fiber that formats `value`.
fn formatting(value: impl Debug + 'static) -> JoinHandle<String> {
    let format = move || {
        let mut slow = Slow(String::new());
        write!(slow, "{value:?}").unwrap();
        slow.0
    };
    spawn(format).unwrap()
}

/// Calls `meanwhile` in each turn of the formatting. Returns the text.
fn while_formatting(value: impl Debug + 'static, mut meanwhile: impl FnMut()) -> String {
    let mut text = formatting(value);
    while !text.is_finished() {
        meanwhile();
        turns(1);
    }
    text.join().unwrap()
}

#[test]
fn a_channel_is_used_while_its_ends_are_formatted() {
    paused(|| {
        let (sender, receiver) = channel(1);
        let exchange = || {
            sender.try_send(1).unwrap();
            receiver.try_recv().unwrap();
        };
        let text = while_formatting(sender.clone(), exchange);
        assert_eq!(text, "Sender { queued: 0 }");
        let text = while_formatting(receiver.clone(), exchange);
        assert_eq!(text, "Receiver { queued: 0 }");
    });
}

#[test]
fn a_pipe_is_used_while_one_end_is_formatted() {
    paused(|| {
        let (near, mut far) = pipe(100);
        let text = while_formatting(near, || far.write_all(&[1]).unwrap());
        assert!(text.starts_with("PipeStream { unread: "), "{text}");
    });
}

#[test]
fn a_mutex_is_waited_for_while_its_value_is_formatted() {
    paused(|| {
        let mutex = Rc::new(Mutex::new(vec![1, 2]));
        let mut text = formatting(Rc::clone(&mutex));
        turns(2);
        mutex.lock().unwrap().push(3);
        assert_eq!(text.join().unwrap(), "Mutex { value: [1, 2], .. }");
        assert_eq!(*mutex.lock().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn a_runtime_goes_on_while_a_handle_of_it_is_formatted() {
    // Where it does not it hangs, and cannot say so itself.
    let (ended, end) = mpsc::channel();
    let run = move || {
        paused(|| {
            let remote = Remote::current().unwrap();
            let text = while_formatting(remote.clone(), || assert!(remote.spawn(|| ()).is_ok()));
            assert!(text.contains("phase: Open"), "{text}");
        });
        ended.send(()).unwrap();
    };
    #[expect(clippy::disallowed_methods, reason = "to watch over the other one")]
    std::thread::spawn(run);
    end.recv_timeout(PATIENCE).unwrap();
}
