//! The basic moves of the scheduler.

use std::time::Instant;

use bench::program::report_share;

use crate::Done;

pub(crate) fn yields(fibers: usize, count: usize) -> Done {
    let body = move || {
        for _ in 0..count {
            fiber::yield_now()?;
        }
        Ok::<_, fiber::Stopped>(())
    };
    let mut children = Vec::with_capacity(fibers);
    for _ in 0..fibers {
        children.push(fiber::spawn(body)?);
    }
    // Everyone has started, and so has a stack page, before the time is taken.
    fiber::yield_now()?;
    let began = Instant::now();
    for child in &mut children {
        child.join()??;
    }
    report_share(began, fibers * count);
    Ok(())
}

pub(crate) fn spawns(count: usize) -> Done {
    let began = Instant::now();
    for _ in 0..count {
        fiber::spawn(|| ())?.join()?;
    }
    report_share(began, count);
    Ok(())
}

pub(crate) fn hops(count: usize) -> Done {
    let (to, from_main) = fiber::channel::<usize>(1);
    let (back, from_child) = fiber::channel(1);
    fiber::spawn(move || {
        while let Ok(Some(value)) = from_main.recv() {
            if back.send(value).is_err() {
                break;
            }
        }
    })?;
    let began = Instant::now();
    for round in 0..count / 2 {
        to.send(round)?;
        from_child.recv()?;
    }
    report_share(began, count);
    Ok(())
}

pub(crate) fn events(count: usize) -> Done {
    let (ping, pong) = (fiber::Event::new(), fiber::Event::new());
    let (heard, answer) = (ping.clone(), pong.clone());
    fiber::spawn(move || {
        while heard.wait().is_ok() {
            heard.clear();
            answer.set();
        }
    })?;
    let began = Instant::now();
    for _ in 0..count / 2 {
        ping.set();
        pong.wait()?;
        pong.clear();
    }
    report_share(began, count);
    Ok(())
}
