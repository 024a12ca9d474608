//! Work on other threads, in virtual time: as many threads per lane and machine as outside, and
//! each job takes a time that is drawn. The work itself is done when that has passed.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::core::Core;
use crate::sim::state::State;
use crate::world::offload::{Lane, OFFLOAD_QUEUE_MAX, threads_max};

/// One lane of one machine.
#[derive(Default)]
struct Thread {
    /// Until when each thread is busy.
    busy_until: Vec<u64>,
    /// When the jobs that wait begin.
    begin: VecDeque<u64>,
}

/// The lanes of all machines.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: RefCell<BTreeMap<(u32, Lane), Thread>>,
}

impl State {
    /// Does `job` once a thread of the lane had time for it and `nanos` passed. Never, if the
    /// machine crashes before. False when too many wait.
    pub(crate) fn offload(
        &self,
        core: &Core,
        lane: Lane,
        nanos: u64,
        job: impl FnOnce(&Rc<Self>, &Core) + 'static,
    ) -> bool {
        let host = self.current_host(core);
        let now = core.clock.now();
        let mut lanes = self.lanes.lanes.borrow_mut();
        let lane = lanes.entry((host, lane)).or_insert_with(|| Thread {
            busy_until: vec![0; threads_max(lane)],
            begin: VecDeque::new(),
        });
        while lane.begin.front().is_some_and(|&begin| begin <= now) {
            lane.begin.pop_front();
        }
        if lane.begin.len() >= OFFLOAD_QUEUE_MAX {
            return false;
        }
        let free = lane.busy_until.iter_mut().min();
        let free = free.expect("a lane has a thread");
        let begin = now.max(*free);
        let end = begin.saturating_add(nanos);
        *free = end;
        if begin > now {
            lane.begin.push_back(begin);
        }
        drop(lanes);
        let crashes = self.machines.get(host).crashes.get();
        self.schedule_at(end, move |state, core| {
            if state.machines.get(host).crashes.get() == crashes {
                job(state, core);
            }
        });
        true
    }

    /// A crash leaves the threads idle.
    pub(crate) fn forget_jobs(&self, host: u32) {
        self.lanes
            .lanes
            .borrow_mut()
            .retain(|&(of, _), _| of != host);
    }
}
