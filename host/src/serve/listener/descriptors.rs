//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::connections::SHED_MAX;

/// What the gateway may need beside its connections: plugins and their own sockets, logs, files being read.
const BESIDE: u64 = 256;

/// Raises the limit of open files as far as the process may, and tells the log if that is too little for so many `listeners` of
/// so many `connections` each. Processes that plugins start inherit it.
pub fn raise_descriptor_limit(listeners: usize, connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // `None`: there is no limit.
    let limit = if raised.is_ok() { maximum } else { current };
    if let Some((limit, needed)) = limit.zip(missing(limit, listeners, connections)) {
        tracing::warn!(
            limit,
            needed,
            "too few open files are allowed for `[limits] connections_max`; raise `LimitNOFILE` or `ulimit -Hn`"
        );
    }
}

/// How many open files are needed, if more than `limit`.
fn missing(limit: Option<u64>, listeners: usize, connections: usize) -> Option<u64> {
    // With those that are only told that there is no place.
    let open = connections.saturating_add(SHED_MAX).saturating_mul(listeners);
    let needed = u64::try_from(open).unwrap_or(u64::MAX).saturating_add(BESIDE);
    limit.is_some_and(|limit| limit < needed).then_some(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_need_some_files_beside_them() {
        let check = |limit, listeners, connections, expected| {
            assert_eq!(missing(limit, listeners, connections), expected);
        };
        check(None, 1, 1 << 20, None);
        check(Some(1024), 1, 512, None);
        check(Some(1024), 1, 513, Some(1025));
        check(Some(1024), 2, 128, None);
        check(Some(1024), 2, 129, Some(1026));
        check(Some(1024), 2, usize::MAX, Some(u64::MAX));
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        raise_descriptor_limit(1, 1);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
