//! Work on other threads, in virtual time: as many threads per lane and machine as outside, and
//! each job takes a time that is drawn. The work itself is done when that has passed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::core::Core;
use crate::sim::state::State;
use crate::world::offload::{Lane, OFFLOAD_QUEUE_MAX, threads_max};

/// A job that waits for a thread.
struct Waiting {
    number: u64,
    /// Which thread will do it, from when on, and for how long.
    thread: usize,
    begin: u64,
    nanos: u64,
    job: Rc<Planned>,
}

type Job = Box<dyn FnOnce(&Rc<State>, &Core)>;

/// A job, and when it ends. That may come to be earlier than was planned at first.
struct Planned {
    end: Cell<u64>,
    job: RefCell<Option<Job>>,
}

/// One lane of one machine.
struct Threads {
    /// Until when each thread is busy.
    busy_until: Vec<u64>,
    waiting: VecDeque<Waiting>,
    next_number: u64,
}

impl Threads {
    /// Gives a job to the thread that is free first; returns which and from when on.
    fn plan(&mut self, now: u64, nanos: u64) -> (usize, u64) {
        let free = self.busy_until.iter_mut().enumerate();
        let (thread, free) = free
            .min_by_key(|(_, free)| **free)
            .expect("a lane has a thread");
        let begin = now.max(*free);
        *free = begin.saturating_add(nanos);
        (thread, begin)
    }
}

/// The lanes of all machines.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: RefCell<BTreeMap<(u32, Lane), Threads>>,
}

impl State {
    /// Does `job` once a thread of the lane had time for it and `nanos` passed. Never, if the
    /// machine crashes before. Returns its number; `None` when too many wait.
    pub(crate) fn offload(
        &self,
        core: &Core,
        lane: Lane,
        nanos: u64,
        job: impl FnOnce(&Rc<Self>, &Core) + 'static,
    ) -> Option<u64> {
        let host = self.current_host(core);
        let now = core.clock.now();
        let mut lanes = self.lanes.lanes.borrow_mut();
        let lane = lanes.entry((host, lane)).or_insert_with(|| Threads {
            busy_until: vec![0; threads_max(lane)],
            waiting: VecDeque::new(),
            next_number: 0,
        });
        while lane.waiting.front().is_some_and(|job| job.begin <= now) {
            lane.waiting.pop_front();
        }
        if lane.waiting.len() >= OFFLOAD_QUEUE_MAX {
            return None;
        }
        let (thread, begin) = lane.plan(now, nanos);
        let end = begin.saturating_add(nanos);
        let number = lane.next_number;
        lane.next_number += 1;
        let planned = Rc::new(Planned {
            end: Cell::new(end),
            job: RefCell::new(Some(Box::new(job))),
        });
        if begin > now {
            lane.waiting.push_back(Waiting {
                number,
                thread,
                begin,
                nanos,
                job: Rc::clone(&planned),
            });
        }
        drop(lanes);
        self.finish_at(end, host, planned);
        Some(number)
    }

    /// Takes back a job of the running fiber's machine, unless it has begun: those behind it begin
    /// as though it had never been.
    pub(crate) fn withdraw(&self, core: &Core, lane: Lane, number: u64) {
        let host = self.current_host(core);
        let now = core.clock.now();
        let mut earlier = Vec::new();
        {
            let mut lanes = self.lanes.lanes.borrow_mut();
            let Some(lane) = lanes.get_mut(&(host, lane)) else {
                return;
            };
            let at = lane.waiting.iter().position(|job| job.number == number);
            let Some(at) = at.filter(|&at| lane.waiting[at].begin > now) else {
                return;
            };
            let mut behind = lane.waiting.split_off(at);
            for job in behind.iter().rev() {
                // It was given to this thread for being free then.
                lane.busy_until[job.thread] = job.begin;
            }
            let withdrawn = behind.pop_front().expect("the one that was found");
            withdrawn.job.job.take();
            for mut job in behind {
                (job.thread, job.begin) = lane.plan(now, job.nanos);
                let end = job.begin.saturating_add(job.nanos);
                if job.job.end.replace(end) != end {
                    earlier.push((end, Rc::clone(&job.job)));
                }
                if job.begin > now {
                    lane.waiting.push_back(job);
                }
            }
        }
        for (end, job) in earlier {
            self.finish_at(end, host, job);
        }
    }

    /// Does a job at `end`, if that is when it ends.
    fn finish_at(&self, end: u64, host: u32, planned: Rc<Planned>) {
        let crashes = self.machines.get(host).crashes.get();
        self.schedule_at(end, move |state, core| {
            if state.machines.get(host).crashes.get() != crashes || planned.end.get() != end {
                return;
            }
            let job = planned.job.take();
            if let Some(job) = job {
                job(state, core);
            }
        });
    }

    /// A crash leaves the threads idle.
    pub(crate) fn forget_jobs(&self, host: u32) {
        self.lanes
            .lanes
            .borrow_mut()
            .retain(|&(of, _), _| of != host);
    }
}
