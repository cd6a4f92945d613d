//! What a reload says of gateway.toml and of servers, in the words of [`Reload`](crate::serve::Reload).

use std::{io, path::Path};

use crate::{
    config::{Config, ConfigError, LogFormat, ServerEntry},
    load::{Ignored, chain},
    mount::Failure,
    serve::{Refused, Waiting},
};

/// Why a server on the disk is not served.
pub(super) fn refusal(entry: &ServerEntry, failure: &Failure) -> Refused {
    let server = Some(entry.name.to_string());
    Refused { server, code: failure.code, reason: failure.reason.clone(), place: None }
}

/// Why gateway.toml is not taken, one for each mistake.
pub(super) fn refusals_of_config(error: &ConfigError) -> Vec<Refused> {
    let refused = |reason, place| Refused { server: None, code: "bad_config", reason, place };
    let ConfigError::Problems(problems) = error else { return vec![refused(chain(error), None)] };
    let each = problems.iter().zip(problems.places()).map(|(problem, place)| {
        let reason = match problem.remedy.as_str() {
            "" => problem.message.clone(),
            remedy => format!("{}; {remedy}", problem.message),
        };
        refused(reason, Some(place))
    });
    each.collect()
}

/// That there is no telling which plugins are there.
pub(super) fn unreadable(folder: &Path, error: &io::Error) -> Ignored {
    let reason = format!(
        "`[plugins] autoload` looks there, and cannot: {error}; make the folder, or set `autoload = false`"
    );
    Ignored { path: folder.to_owned(), reason }
}

/// The tables, beside those of servers, that say something else, apart from what takes a restart.
pub(super) fn settings_changed(holds: &Config, written: &Config) -> Vec<&'static str> {
    let tables = [
        ("http", holds.http != written.http),
        ("shutdown", holds.shutdown != written.shutdown),
        ("log", holds.log.filter != written.log.filter),
        ("admin", holds.admin.token != written.admin.token),
        ("plugins", holds.plugins != written.plugins),
    ];
    tables.into_iter().filter_map(|(table, differs)| differs.then_some(table)).collect()
}

/// What `written` says that takes a restart.
pub(super) fn waiting(holds: &Config, written: &Config, listens_elsewhere: bool) -> Vec<Waiting> {
    let own = |address: Option<std::net::SocketAddr>| match address {
        Some(address) => address.to_string(),
        None => "the main listener".to_owned(),
    };
    let format = |format: LogFormat| match format {
        LogFormat::Auto => "auto".to_owned(),
        LogFormat::Text => "text".to_owned(),
        LogFormat::Json => "json".to_owned(),
    };
    let keys = [
        ("listen", holds.listen.to_string(), written.listen.to_string()),
        ("[admin] listen", own(holds.admin.listen), own(written.admin.listen)),
        ("[log] format", format(holds.log.format), format(written.log.format)),
    ];
    let differing = keys.into_iter().filter(|(_, holds, written)| holds != written);
    let differing = differing.filter(|(key, ..)| *key != "listen" || !listens_elsewhere);
    differing.map(|(key, holds, written)| Waiting { key, holds, written }).collect()
}
