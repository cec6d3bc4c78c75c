//! How much memory queries may use: what the operator says, else a share of what the machine or its container has.

use std::path::Path;

use crate::config::Config;
use whimbrel_proto::units::Bytes;

/// What is taken for granted where the system tells nothing.
const UNKNOWN: Bytes = Bytes::gib(4);

/// The bound of the pool that all tasks of one executor share.
pub(crate) fn query_memory(config: &Config) -> Bytes {
    if config.memory_limit > Bytes::default() {
        return config.memory_limit;
    }
    let there = machine_memory(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max"));
    share(there.unwrap_or(UNKNOWN), config.memory_fraction)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(path)).unwrap_or_default()
}

/// The smaller of the machine's memory and its container's limit.
fn machine_memory(meminfo: &str, cgroup_max: &str) -> Option<Bytes> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map(|kib| Bytes::new(kib << 10));
    let limit = cgroup_max.trim().parse().ok().map(Bytes::new);
    match (total, limit) {
        (Some(total), Some(limit)) => Some(total.min(limit)),
        (total, limit) => total.or(limit),
    }
}

fn share(whole: Bytes, fraction: f64) -> Bytes {
    Bytes::new((whole.get() as f64 * fraction) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_limit_counts_where_it_is_the_smaller_one() {
        let meminfo = "MemTotal:       8388608 kB\nMemFree: 1 kB\n";
        assert_eq!(machine_memory(meminfo, "max\n"), Some(Bytes::gib(8)));
        assert_eq!(machine_memory(meminfo, "1073741824\n"), Some(Bytes::gib(1)));
        assert_eq!(machine_memory("", ""), None);
        assert_eq!(share(Bytes::gib(8), 0.25), Bytes::gib(2));
    }
}
