use super::*;

/// Appends a packet of one repeated byte and returns where it begins.
#[track_caller]
fn push(log: &mut OutboundLog, byte: u8, len: usize) -> LogOffset {
    let at = log.tail();
    log.reserve(len).unwrap().fill(byte);
    at
}

#[test]
fn packets_lie_one_after_the_other() {
    let mut log = OutboundLog::new(LOG_BYTES_MIN);
    assert_eq!((log.capacity(), log.len()), (0, 0));
    let a = push(&mut log, b'a', 3);
    let b = push(&mut log, b'b', 2);
    assert_eq!(
        (a, b, log.tail()),
        (LogOffset(0), LogOffset(3), LogOffset(5))
    );
    assert_eq!(log.from(a), b"aaabb");
    assert_eq!(log.from(b), b"bb");
    assert_eq!(log.slice(a, b), b"aaa");
    assert_eq!((log.len(), log.capacity()), (5, LOG_FIRST_BYTES));
    *log.first_byte_mut(b) |= 8;
    assert_eq!(log.from(a), b"aaajb");
}

#[test]
fn an_empty_log_begins_at_index_zero_again() {
    let mut log = OutboundLog::new(LOG_BYTES_MIN);
    for round in 0..10_u64 {
        let at = push(&mut log, b'x', 100);
        assert_eq!(at, LogOffset(round * 100), "offsets go on");
        assert_eq!(log.index(at.0), 0);
        log.release(log.tail());
        assert!(log.is_empty());
    }
    assert_eq!(log.capacity(), LOG_FIRST_BYTES);
}

#[test]
fn few_kept_bytes_move_down_and_keep_their_offsets() {
    let mut log = OutboundLog::default();
    push(&mut log, b'x', 10_000);
    let kept = push(&mut log, b'k', 6_000);
    log.release(kept);
    let next = push(&mut log, b'n', 5_000);
    assert_eq!((log.capacity(), log.index(kept.0)), (LOG_BYTES_MIN, 0));
    assert_eq!(log.slice(kept, next), [b'k'; 6_000]);
    assert_eq!(log.from(next), [b'n'; 5_000]);
}

#[test]
fn many_kept_bytes_make_it_grow_and_keep_their_offsets() {
    let mut log = OutboundLog::default();
    push(&mut log, b'x', 6_000);
    let kept = push(&mut log, b'k', 10_000);
    log.release(kept);
    let next = push(&mut log, b'n', 5_000);
    assert_eq!((log.capacity(), log.index(kept.0)), (2 * LOG_BYTES_MIN, 0));
    assert_eq!(log.slice(kept, next), [b'k'; 10_000]);
    assert_eq!(log.from(next), [b'n'; 5_000]);
}

#[test]
fn one_packet_may_take_the_whole_bound_and_not_a_byte_more() {
    let mut log = OutboundLog::new(3 << 20);
    let full = LogFull {
        kept: 0,
        wanted: (3 << 20) + 1,
        bound: 3 << 20,
    };
    assert_eq!(log.reserve((3 << 20) + 1).map(|_| ()), Err(full));
    assert_eq!(log.capacity(), 0);
    push(&mut log, b'x', 3 << 20);
    assert_eq!((log.capacity(), log.bound()), (3 << 20, 3 << 20));
    let full = LogFull {
        kept: 3 << 20,
        wanted: 1,
        bound: 3 << 20,
    };
    assert_eq!(log.reserve(1).map(|_| ()), Err(full));
    log.release(log.tail());
    push(&mut log, b'x', 3 << 20);
}

#[test]
fn a_megabyte_fits_into_the_default_bound_beside_others() {
    let mut log = OutboundLog::default();
    let a = push(&mut log, b'a', 100);
    let large = push(&mut log, b'l', 1 << 20);
    let b = push(&mut log, b'b', 100);
    assert_eq!(log.capacity(), 2 << 20);
    assert_eq!(log.slice(a, large), [b'a'; 100]);
    assert!(log.slice(large, b).iter().all(|byte| *byte == b'l'));
}

#[test]
fn a_log_at_its_bound_is_not_moved_for_little() {
    let mut log = OutboundLog::new(LOG_BYTES_MIN);
    let small = push(&mut log, b'x', 1_000);
    push(&mut log, b'k', 15_000);
    log.release(small.plus(1_000));
    // There would be room after a move of 15 000 bytes for the sake of 1 000.
    let full = LogFull {
        kept: 15_000,
        wanted: 1_000,
        bound: LOG_BYTES_MIN,
    };
    assert_eq!(log.reserve(1_000).map(|_| ()), Err(full));
    log.release(small.plus(3_000));
    let next = push(&mut log, b'n', 1_000);
    assert_eq!(log.from(small.plus(3_000)).len(), 14_000);
    assert_eq!(log.from(next), [b'n'; 1_000]);
}

#[test]
fn live_packets_are_shifted_together_in_front_of_the_cut() {
    let mut log = OutboundLog::default();
    let a = push(&mut log, b'a', 10);
    push(&mut log, b'-', 50);
    let b = push(&mut log, b'b', 20);
    push(&mut log, b'-', 15);
    let cut = push(&mut log, b'u', 7);

    let b = log.shift_up(b, 20, cut);
    let a = log.shift_up(a, 10, b);
    log.release(a);
    assert_eq!((a, b, cut), (LogOffset(65), LogOffset(75), LogOffset(95)));
    assert_eq!(log.from(a), b"aaaaaaaaaabbbbbbbbbbbbbbbbbbbbuuuuuuu");
    // Once together, they stay where they are.
    assert_eq!(log.shift_up(b, 20, cut), b);
    assert_eq!(log.shift_up(a, 10, b), a);
    assert_eq!(log.from(a), b"aaaaaaaaaabbbbbbbbbbbbbbbbbbbbuuuuuuu");
}

#[test]
fn a_packet_longer_than_its_shift_is_moved_whole() {
    let mut log = OutboundLog::default();
    log.reserve(8).unwrap().copy_from_slice(b"abcdefgh");
    log.reserve(3).unwrap().copy_from_slice(b"---");
    let cut = push(&mut log, b'u', 1);
    let moved = log.shift_up(LogOffset(0), 8, cut);
    assert_eq!(log.from(moved), b"abcdefghu");
}

#[test]
fn one_live_packet_does_not_make_it_grow() {
    let mut log = OutboundLog::default();
    let mut live = push(&mut log, b'L', 256);
    for _ in 0..10_000 {
        if !log.fits(300) {
            live = log.shift_up(live, 256, log.tail());
            log.release(live);
        }
        push(&mut log, b'-', 300);
    }
    assert_eq!(log.slice(live, live.plus(256)), [b'L'; 256]);
    assert!(log.capacity() <= LOG_BYTES_MIN);
}

#[test]
fn a_grown_buffer_is_given_back_when_it_is_empty() {
    let mut log = OutboundLog::default();
    push(&mut log, b'x', 100_000);
    assert!(log.has_grown());
    log.trim();
    assert_eq!(log.capacity(), 131_072, "not while something is kept");
    log.release(log.tail());
    log.trim();
    assert_eq!((log.capacity(), log.tail()), (0, LogOffset(100_000)));
    let at = push(&mut log, b'y', 10);
    assert_eq!((at, log.capacity()), (LogOffset(100_000), LOG_FIRST_BYTES));
    assert_eq!(log.from(at), [b'y'; 10]);
    log.release(log.tail());
    log.trim();
    assert_eq!(log.capacity(), LOG_FIRST_BYTES, "the first size is kept");
}

#[test]
fn releasing_less_than_before_changes_nothing() {
    let mut log = OutboundLog::default();
    push(&mut log, b'x', 10);
    log.release(LogOffset(6));
    log.release(LogOffset(2));
    assert_eq!((log.head(), log.len()), (LogOffset(6), 4));
}

#[test]
#[should_panic(expected = "released more than was written")]
fn releasing_more_than_was_written_is_a_fault_of_ours() {
    OutboundLog::default().release(LogOffset(1));
}

#[test]
#[should_panic(expected = "bytes not in the log")]
fn released_bytes_cannot_be_read() {
    let mut log = OutboundLog::default();
    push(&mut log, b'x', 10);
    log.release(LogOffset(5));
    let _ = log.from(LogOffset(4));
}

#[test]
fn the_bound_is_at_least_the_first_size() {
    assert_eq!(OutboundLog::new(1).bound(), LOG_BYTES_MIN);
    assert_eq!(OutboundLog::default().bound(), LOG_BYTES_MAX);
}

#[test]
fn errors_and_logs_are_described() {
    let full = LogFull {
        kept: 5,
        wanted: 7,
        bound: 10,
    };
    assert_eq!(
        full.to_string(),
        "expected room for 7 bytes in the outbound log, found 5 of 10 in use"
    );
    let mut log = OutboundLog::default();
    push(&mut log, b'x', 3);
    assert_eq!(
        format!("{log:?}"),
        "OutboundLog { base: 0, head: 0, tail: 3, capacity: 1024, bound: 4194304 }"
    );
}

#[test]
fn offsets_measure_distances() {
    let a = LogOffset(5);
    assert_eq!(a.plus(3), LogOffset(8));
    assert_eq!((LogOffset(8).since(a), a.since(LogOffset(8))), (3, 0));
}

#[test]
fn spare_room_is_there_without_moving_or_growing() {
    let mut log = OutboundLog::sized(64, 64);
    log.reserve_sparing(40, 20).unwrap().fill(b'a');
    let full = LogFull {
        kept: 40,
        wanted: 25,
        bound: 64,
    };
    assert_eq!(log.reserve_sparing(5, 20).map(|_| ()), Err(full));
    log.reserve_sparing(4, 20).unwrap().fill(b'b');
    for _ in 0..5 {
        log.reserve_beyond(4).fill(b'c');
    }
    assert_eq!((log.len(), log.capacity()), (64, 64));
}

#[test]
fn what_cannot_wait_moves_kept_bytes_or_goes_beyond_the_bound() {
    let mut log = OutboundLog::sized(64, 64);
    log.reserve(64).unwrap().fill(b'a');
    log.release(LogOffset(4));
    // Too little for moving to pay, but there is no other way.
    log.reserve_beyond(4).fill(b'b');
    assert_eq!((log.len(), log.capacity()), (64, 64));
    log.reserve_beyond(4).fill(b'c');
    assert_eq!((log.len(), log.capacity()), (68, 64 + BEYOND_STEP));
    let kept = [[b'a'; 60].as_slice(), b"bbbbcccc"].concat();
    assert_eq!(log.from(log.head()), kept);
    // The room beyond the bound is for nothing else.
    assert!(!log.fits(1) && log.reserve(1).is_err());
    log.release(log.tail());
    assert!(log.fits(64) && !log.fits(65));
    log.trim();
    assert_eq!(log.capacity(), 0);
    log.reserve(64).unwrap();
    assert_eq!(log.capacity(), 64);
}

#[test]
fn bytes_can_be_changed_in_place() {
    let mut log = OutboundLog::default();
    log.reserve(4).unwrap().fill(b'a');
    log.reserve(4).unwrap().fill(b'b');
    log.release(LogOffset(4));
    log.slice_mut(LogOffset(5), LogOffset(7)).fill(b'c');
    assert_eq!(log.from(LogOffset(4)), b"bccb");
}
