//! What is to be done about one server: pure, once the file has been looked at.
//!
//! In:   its entry in gateway.toml, what serves in its name, what is known of its file.
//! Out:  whether to load it, and what it would mean if that failed.

use crate::{config::ServerEntry, mount::Mounted};

/// What is known of a server's library without loading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// It is the one that was looked at last.
    Same,
    /// It is another, with the content that is loaded.
    SameContent,
    /// It is another.
    Changed,
    /// Somebody may be writing it.
    Unsettled,
}

/// What is to be done about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// It is to be loaded; if that fails, nothing that gateway.toml says is done.
    Load,
    /// Its library is to be loaded again; if that fails, what serves goes on, or what does not serve does not.
    Renew,
    /// Nothing yet, and so nothing at all: gateway.toml wants a library that is being written.
    PutOff,
}

/// How a server is that has an entry already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It serves, or will again: the breaker has its own ways.
    Serves,
    /// It does not, and nothing but another start can help.
    Dead,
}

impl State {
    pub(super) fn of(mounted: &Mounted) -> Self {
        let is_dead = match mounted {
            Mounted::Serving(mount) => mount.instance.ended_by_itself(),
            Mounted::Failed(_) | Mounted::Refused { .. } => true,
        };
        if is_dead { Self::Dead } else { Self::Serves }
    }
}

/// `current`: what serves in its name, and whether its entry says the same. `is_refused`: whether its library, as it is on
/// the disk, was refused before. `is_asked`: whether somebody wants what failed to be tried again.
pub(super) fn step(
    entry: &ServerEntry,
    current: Option<(State, bool)>,
    file: File,
    is_refused: bool,
    is_asked: bool,
) -> Step {
    let (state, says_the_same) = match current {
        // A discovered plugin has no place in gateway.toml that its failure could make wrong.
        None if entry.discovered => return if file == File::Unsettled { Step::Keep } else { Step::Renew },
        None => return if file == File::Unsettled { Step::PutOff } else { Step::Load },
        Some(current) => current,
    };
    if !says_the_same {
        return match (file, entry.discovered) {
            (File::Unsettled, true) => Step::Keep,
            (File::Unsettled, false) => Step::PutOff,
            (_, true) => Step::Renew,
            (_, false) => Step::Load,
        };
    }
    match (file, state) {
        (File::Unsettled, _) => Step::Keep,
        (File::Changed, _) => Step::Renew,
        (File::Same, State::Serves) if is_refused && is_asked => Step::Renew,
        (File::Same | File::SameContent, State::Serves) => Step::Keep,
        (File::SameContent, State::Dead) => Step::Renew,
        (File::Same, State::Dead) if is_asked => Step::Renew,
        (File::Same, State::Dead) => Step::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Prefix, ServerName};

    fn entry() -> ServerEntry {
        let prefix = Prefix::parse("/greet").expect("a prefix");
        ServerEntry::new(ServerName::parse("greet").expect("a name"), "greet.so".into(), prefix)
    }

    const FILES: [File; 4] = [File::Same, File::SameContent, File::Changed, File::Unsettled];

    #[test]
    fn what_gateway_toml_says_anew_is_loaded_and_waits_for_its_library() {
        let steps = |current| FILES.map(|file| step(&entry(), current, file, false, false));
        let all = [Step::Load, Step::Load, Step::Load, Step::PutOff];
        assert_eq!(steps(None), all);
        assert_eq!(steps(Some((State::Serves, false))), all);
        assert_eq!(steps(Some((State::Dead, false))), all);
    }

    #[test]
    fn a_server_that_serves_is_renewed_for_another_library_only() {
        let steps = |is_refused, is_asked| {
            FILES.map(|file| step(&entry(), Some((State::Serves, true)), file, is_refused, is_asked))
        };
        let usual = [Step::Keep, Step::Keep, Step::Renew, Step::Keep];
        assert_eq!((steps(false, false), steps(false, true), steps(true, false)), (usual, usual, usual));
        assert_eq!(steps(true, true), [Step::Renew, Step::Keep, Step::Renew, Step::Keep]);
    }

    #[test]
    fn a_server_that_does_not_serve_is_tried_again_for_another_file_or_if_somebody_asks() {
        let steps =
            |is_asked| FILES.map(|file| step(&entry(), Some((State::Dead, true)), file, false, is_asked));
        assert_eq!(steps(false), [Step::Keep, Step::Renew, Step::Renew, Step::Keep]);
        assert_eq!(steps(true), [Step::Renew, Step::Renew, Step::Renew, Step::Keep]);
    }

    #[test]
    fn a_discovered_plugin_holds_nothing_up() {
        let discovered = ServerEntry { discovered: true, ..entry() };
        let steps = |current| FILES.map(|file| step(&discovered, current, file, false, false));
        let all = [Step::Renew, Step::Renew, Step::Renew, Step::Keep];
        assert_eq!((steps(None), steps(Some((State::Serves, false)))), (all, all));
    }
}
