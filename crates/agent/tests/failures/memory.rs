//! Little memory, as the control group tells it.

use agent::HealthCode;

use crate::machines::{MINUTE, SECOND, live};

const GROUP: &str = "/proc/self/cgroup";
const LIMIT: &str = "/sys/fs/cgroup/system.slice/agent.service/memory.max";
const USED: &str = "/sys/fs/cgroup/system.slice/agent.service/memory.stat";

#[test]
fn memory_that_runs_short_is_told_of_until_there_is_more() {
    live(SECOND, |day| {
        day.put(GROUP, "0::/system.slice/agent.service\n");
        day.put("/sys/fs/cgroup/system.slice/memory.max", "max\n");
        day.put(LIMIT, "33554432\n");
        // Pages of files do not count: the kernel takes them back.
        day.put(USED, "anon 8388608\nfile 25165824\nkernel_stack 49152\n");
        let _device = day.boot();
        day.pass(MINUTE);
        assert!(!day.said.is_ill.get());
        day.put(USED, "anon 31457280\nfile 1048576\nkernel_stack 49152\n");
        day.pass(MINUTE);
        day.had(HealthCode::Memory);
        assert!(day.said.is_ill.get() && day.said.is_online.get());
        day.put(USED, "anon 8388608\nfile 25165824\nkernel_stack 49152\n");
        day.pass(MINUTE);
        day.all_is_well();
    });
}
