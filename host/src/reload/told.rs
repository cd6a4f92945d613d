//! What a reload says of gateway.toml and of servers, in the words of [`Reload`](crate::serve::Reload).

use std::{io, path::Path};

use crate::{
    config::{Config, ConfigError, Limits, LogFormat, ServerEntry, ServerName},
    load::{Ignored, chain},
    mount::{Failure, Mounted},
    serve::{Change, Refused, Waiting, What},
};

/// Each server with the generation that serves for it, if one does.
pub(super) struct Generations(Vec<(ServerName, Option<u64>)>);

impl Generations {
    pub(super) fn of(mounted: &[Mounted]) -> Self {
        let row = |mounted: &Mounted| {
            let serving = match mounted {
                Mounted::Serving(mount) => Some(mount.instance.generation()),
                _ => None,
            };
            (mounted.entry().name.clone(), serving)
        };
        Self(mounted.iter().map(row).collect())
    }

    /// Whether there is such a server, serving or not.
    pub(super) fn has(&self, name: &ServerName) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    pub(super) fn serves(&self, name: &ServerName) -> bool {
        self.generation(name).is_some()
    }

    fn generation(&self, name: &ServerName) -> Option<u64> {
        self.0.iter().find(|(other, _)| other == name)?.1
    }
}

/// Which servers are served otherwise than before.
pub(super) fn changes(before: &Generations, now: &Generations) -> Vec<Change> {
    let change = |name: &ServerName, what, generation| Change { server: name.to_string(), what, generation };
    let serving =
        now.0.iter().filter_map(|(name, generation)| match (before.generation(name), *generation) {
            (None, Some(generation)) => Some(change(name, What::Added, Some(generation))),
            (Some(old), Some(new)) if old != new => Some(change(name, What::Swapped, Some(new))),
            _ => None,
        });
    let gone = before.0.iter().filter(|(name, _)| !now.has(name));
    serving.chain(gone.map(|(name, _)| change(name, What::Removed, None))).collect()
}

/// Why a server on the disk is not served.
pub(super) fn refusal(entry: &ServerEntry, failure: &Failure) -> Refused {
    let server = Some(entry.name.to_string());
    Refused { server, code: failure.code, reason: failure.reason.clone(), place: None }
}

/// Why gateway.toml is not taken, one for each mistake.
pub(super) fn refusals_of_config(error: &ConfigError) -> Vec<Refused> {
    let refused = |reason, place| Refused { server: None, code: "bad_config", reason, place };
    let ConfigError::Problems(problems) = error else { return vec![refused(chain(error), None)] };
    let told = problems.told_to_all().into_iter();
    told.map(|(place, reason)| refused(reason, Some(place))).collect()
}

/// That there is no telling which plugins are there.
pub(super) fn unreadable(folder: &Path, error: &io::Error) -> Ignored {
    let reason = format!(
        "`[plugins] autoload` looks there, and cannot: {error}; make the folder, or set `autoload = false`"
    );
    Ignored { path: folder.to_owned(), reason }
}

/// That gateway.toml, or a library that it wants, is not whole yet.
pub(super) fn being_written(file: &Path) -> Refused {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let reason = format!("`{name}` is being written; what gateway.toml says is followed once that is over");
    Refused { server: None, code: "being_written", reason, place: None }
}

/// The tables, beside those of servers, that say something else, apart from what takes a restart.
pub(super) fn settings_changed(holds: &Config, written: &Config) -> Vec<&'static str> {
    let tables = [
        ("http", holds.http != written.http),
        ("shutdown", holds.shutdown != written.shutdown),
        ("log", holds.log.filter != written.log.filter),
        ("metrics", holds.metrics != written.metrics),
        ("plugins", holds.plugins != written.plugins),
        ("tls", holds.tls.is_some() && written.tls.is_some() && holds.tls != written.tls),
        ("auth", holds.auth != written.auth),
        (
            "limits",
            holds.limits != Limits { head_timeout: holds.limits.head_timeout, ..written.limits.clone() },
        ),
        ("audit", holds.audit != written.audit),
        ("server", holds.guards != written.guards),
    ];
    tables.into_iter().filter_map(|(table, differs)| differs.then_some(table)).collect()
}

/// What `written` says that takes a restart.
pub(super) fn waiting(holds: &Config, written: &Config) -> Vec<Waiting> {
    let own = |address: Option<std::net::SocketAddr>| match address {
        Some(address) => address.to_string(),
        None => "the main listener".to_owned(),
    };
    let format = |format: LogFormat| match format {
        LogFormat::Auto => "auto".to_owned(),
        LogFormat::Text => "text".to_owned(),
        LogFormat::Json => "json".to_owned(),
    };
    let tls = |config: &Config| if config.tls.is_some() { "on" } else { "off" }.to_owned();
    let head_timeout = |config: &Config| format!("{:?}", config.limits.head_timeout);
    let keys = [
        ("[tls]", tls(holds), tls(written)),
        ("[limits] head_timeout", head_timeout(holds), head_timeout(written)),
        ("listen", holds.listen.to_string(), written.listen.to_string()),
        ("[admin] listen", own(holds.admin.listen), own(written.admin.listen)),
        ("[log] format", format(holds.log.format), format(written.log.format)),
    ];
    let differing = keys.into_iter().filter(|(_, holds, written)| holds != written);
    differing.map(|(key, holds, written)| Waiting { key, holds, written }).collect()
}
