//! The machine a run was made on, and what else it did meanwhile.

use std::fs;
use std::process::Command;

/// Two lines about the machine: what it is and who built.
#[must_use]
pub fn describe() -> String {
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "machine: {model}, {processors} processors, {:.0} GiB, Linux {}\nbuilt with: {}",
        memory("MemTotal:") as f64 / 1024.0 / 1024.0,
        kernel.trim(),
        rustc(),
    )
}

/// How busy it is: the load of the last one, five and fifteen minutes.
#[must_use]
pub fn load() -> String {
    let load = read("/proc/loadavg");
    let three: Vec<&str> = load.split_whitespace().take(3).collect();
    three.join(" ")
}

/// Memory that can be had without swapping, in KiB.
#[must_use]
pub fn available() -> usize {
    memory("MemAvailable:")
}

/// What the compiler says of itself.
#[must_use]
pub fn rustc() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "an unknown compiler".to_owned(),
    }
}

fn memory(name: &str) -> usize {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
