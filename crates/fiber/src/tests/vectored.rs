//! Reads and writes of several buffers: one call of the system, and nothing lost at its bounds.

use std::io::{IoSlice, IoSliceMut, Read, Write};

use super::{patiently, paused, tcp_pair};
use crate::net::{PipeStream, TcpStream, UnixStream, VECTORED_BUFFERS_MAX, pipe};
use crate::{spawn, stats};

/// Writes three buffers and reads them into two, by one call each.
fn three_into_two<S: Read + Write>(mut near: S, mut far: S) {
    let before = stats();
    let parts = [b"one".as_slice(), b"", b"three"].map(IoSlice::new);
    assert_eq!(near.write_vectored(&parts).unwrap(), 8);
    let (mut first, mut second) = ([0; 5], [0; 100]);
    let mut buffers = [&mut first[..], &mut [], &mut second[..]].map(IoSliceMut::new);
    assert_eq!(far.read_vectored(&mut buffers).unwrap(), 8);
    assert_eq!((&first, &second[..3]), (b"oneth", &b"ree"[..]));
    let after = stats();
    assert_eq!(after.writes - before.writes, 1);
    assert_eq!(after.reads - before.reads, 1);
    assert_eq!(after.bytes_written - before.bytes_written, 8);
    assert_eq!(after.bytes_read - before.bytes_read, 8);
}

#[test]
fn several_buffers_are_one_call_of_the_system() {
    patiently(|| {
        let (near, far) = tcp_pair();
        three_into_two(&near, &far);
        three_into_two(far, near);
        let (near, far) = UnixStream::pair().unwrap();
        three_into_two(&near, &far);
        three_into_two(near, far);
        let (near, far) = pipe(64);
        three_into_two(&near, &far);
        three_into_two(near, far);
    });
}

/// What a stream answers to more buffers than one call takes.
macro_rules! more_than_one_call {
    ($near:expr, $far:expr, $expected:expr) => {{
        let (near, far) = ($near, $far);
        let count = 2 * VECTORED_BUFFERS_MAX + 7;
        let bytes = vec![1; count];
        let parts: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
        // Parked, and so watched, before anything comes: a bit that is cleared for want of more
        // is set by no further event.
        let mut reader = spawn(move || {
            let (mut total, mut calls) = (0, Vec::new());
            while total < count {
                let mut bytes = vec![0; count];
                let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
                let n = (&far).read_vectored(&mut buffers).unwrap();
                total += n;
                calls.push(n);
            }
            calls
        })
        .unwrap();
        super::turns(2);
        let mut left = &parts[..];
        while !left.is_empty() {
            let n = near.try_write_vectored(left).unwrap();
            left = &left[n.expect("there is room")..];
        }
        assert_eq!(reader.join().unwrap(), $expected);
    }};
}

#[test]
fn buffers_beyond_those_that_one_call_takes_are_for_the_next_call() {
    patiently(|| {
        let max = VECTORED_BUFFERS_MAX;
        let (near, far): (TcpStream, TcpStream) = tcp_pair();
        more_than_one_call!(near, far, [max, max, 7]);
        let (near, far): (UnixStream, UnixStream) = UnixStream::pair().unwrap();
        more_than_one_call!(near, far, [max, max, 7]);
        let (near, far): (PipeStream, PipeStream) = pipe(3 * max);
        more_than_one_call!(near, far, [2 * max + 7]);
    });
}

#[test]
fn no_buffer_with_room_is_neither_a_wait_nor_the_end() {
    patiently(|| {
        let (mut near, mut far) = tcp_pair();
        assert_eq!(near.write_vectored(&[]).unwrap(), 0);
        assert_eq!(near.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
        assert_eq!(far.read_vectored(&mut []).unwrap(), 0);
        let mut none = [IoSliceMut::new(&mut [])];
        assert_eq!(far.read_vectored(&mut none).unwrap(), 0);
        near.write_all(&[1]).unwrap();
        far.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_pipe_moves_as_much_as_fits_across_the_end_of_its_memory() {
    paused(|| {
        let (mut near, mut far) = pipe(8);
        for round in 0..20_u8 {
            let data = [round; 5];
            let parts = [&data[..2], &data[2..], &data].map(IoSlice::new);
            assert_eq!(near.try_write_vectored(&parts).unwrap(), Some(8));
            assert_eq!(near.try_write_vectored(&parts).unwrap(), None);
            let mut bytes = [0; 3];
            far.read_exact(&mut bytes).unwrap();
            let mut rest = [0; 10];
            let (one, two) = rest.split_at_mut(1);
            let mut buffers = [one, two].map(IoSliceMut::new);
            assert_eq!(far.try_read_vectored(&mut buffers).unwrap(), Some(5));
            assert_eq!((bytes, &rest[..5]), ([round; 3], &[round; 5][..]));
        }
        assert_eq!(near.write(&[1]).unwrap(), 1);
        drop(near);
        let mut bytes = [0; 4];
        assert_eq!(
            far.read_vectored(&mut [IoSliceMut::new(&mut bytes)])
                .unwrap(),
            1
        );
        assert_eq!(
            far.read_vectored(&mut [IoSliceMut::new(&mut bytes)])
                .unwrap(),
            0
        );
    });
}
