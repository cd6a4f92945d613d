//! How gateways are set up that are compared.

use std::{fs, path::Path};

use crate::{
    failure::{Failure, Result},
    issuer::Issuer,
};

/// A key and its digest, as `gateway key new` would print them.
const KEY: &str = "mgw_bench000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const KEY_SHA256: &str = "2c7e6511b652ea48d288cbc103853448036c6c837cd36c03738a6ed58403d3f8";

/// One of them.
pub(super) struct Setting {
    /// For tables and files.
    pub(super) name: &'static str,
    callers: Callers,
    parts: &'static [Part],
}

/// How callers say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callers {
    Unasked,
    ByKey,
    /// By a JWT, signed by RS256.
    ByToken,
}

/// What is done for every call beside that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Two rates, neither of which is ever used up.
    Limits,
    /// A line in a file.
    Audit,
    /// The usual line in the log.
    Log,
    /// Counted and timed, by server and tool.
    Metrics,
    /// A span and a duration of OpenTelemetry, sent to where they are thrown away.
    Traces(Sampled),
}

/// Which calls are traced to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sampled {
    All,
    /// One in a hundred, unless the caller says that it traces.
    Few,
}

/// The first that is asked for is what the others are compared with.
pub(super) const SETTINGS: [Setting; 14] = [
    setting("off", Callers::Unasked, &[]),
    setting("metrics", Callers::Unasked, &[Part::Metrics]),
    setting("log", Callers::Unasked, &[Part::Log]),
    setting("traces", Callers::Unasked, &[Part::Traces(Sampled::All)]),
    setting("traces-few", Callers::Unasked, &[Part::Traces(Sampled::Few)]),
    setting("metrics+log", Callers::Unasked, &[Part::Metrics, Part::Log]),
    setting("metrics+log+traces", Callers::Unasked, &[Part::Metrics, Part::Log, Part::Traces(Sampled::All)]),
    setting("key", Callers::ByKey, &[]),
    setting("token", Callers::ByToken, &[]),
    setting("key+limits", Callers::ByKey, &[Part::Limits]),
    setting("key+audit", Callers::ByKey, &[Part::Audit]),
    setting("key+limits+audit", Callers::ByKey, &[Part::Limits, Part::Audit]),
    setting("key+limits+audit+log", Callers::ByKey, &[Part::Limits, Part::Audit, Part::Log]),
    setting(
        "all",
        Callers::ByKey,
        &[Part::Limits, Part::Audit, Part::Log, Part::Metrics, Part::Traces(Sampled::All)],
    ),
];

const fn setting(name: &'static str, callers: Callers, parts: &'static [Part]) -> Setting {
    Setting { name, callers, parts }
}

impl Setting {
    /// Whether there is a line in the log for every call.
    pub(super) fn logs_calls(&self) -> bool {
        self.parts.contains(&Part::Log)
    }

    /// The variables of OpenTelemetry, for what goes to `sink`.
    pub(super) fn variables<'a>(&self, sink: &'a str) -> Vec<(&'static str, &'a str)> {
        let traces = self.parts.iter().find_map(|part| match part {
            Part::Traces(sampled) => Some(sampled),
            _ => None,
        });
        let sampler = match traces {
            None => return Vec::new(),
            Some(Sampled::All) => vec![("OTEL_TRACES_SAMPLER", "always_on")],
            Some(Sampled::Few) => {
                vec![("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.01")]
            }
        };
        [sampler, vec![("OTEL_EXPORTER_OTLP_ENDPOINT", sink)]].concat()
    }

    /// Writes its gateway.toml into `folder`; returns the file's name.
    pub(super) fn write_config(&self, folder: &Path, issuer: &str) -> Result<String> {
        let name = format!("{}.toml", self.name);
        let path = folder.join(&name);
        fs::write(&path, self.config(issuer)).map_err(|e| Failure::at("cannot write", &path, e))?;
        Ok(name)
    }

    fn config(&self, issuer: &str) -> String {
        let filter = if self.logs_calls() { "info" } else { "warn" };
        let counted = self.parts.contains(&Part::Metrics);
        let server = "[[server]]\nname = \"greet\"\nplugin = \"plugins/greet.so\"\nprefix = \"/greet\"\n";
        let mut text = format!(
            "[log]\nformat = \"json\"\nfilter = \"{filter}\"\n[metrics]\ncalls = {counted}\n{server}"
        );
        // Under valgrind the gateway cannot start itself again to try a plugin.
        text += "[plugins]\ncache_dir = \"cache\"\n";
        text += &match self.callers {
            Callers::Unasked => String::new(),
            Callers::ByKey => format!(
                "[[auth.key]]\nname = \"bench\"\nid = \"bench000\"\nsha256 = \"{KEY_SHA256}\"\nscopes = [\"greet\"]\n"
            ),
            Callers::ByToken => format!(
                "[http]\npublic_url = \"http://${{GATEWAY_ADDRESS}}\"\n[[auth.issuer]]\nurl = \"{issuer}\"\n"
            ),
        };
        for part in self.parts {
            text += &match part {
                Part::Limits => ["principal", "tool"]
                    .map(|key| {
                        format!(
                            "[[limits.rate]]\nname = \"per-{key}\"\nkey = \"{key}\"\nrate = \"1000000/s\"\n"
                        )
                    })
                    .concat(),
                Part::Audit => format!("[audit]\npath = \"{}.audit\"\n", self.name),
                Part::Log | Part::Metrics | Part::Traces(_) => String::new(),
            };
        }
        text
    }

    /// What callers show, for a server at `url`.
    pub(super) fn header(&self, issuer: &mut Issuer, url: &str) -> Result<Option<String>> {
        Ok(match self.callers {
            Callers::Unasked => None,
            Callers::ByKey => Some(format!("authorization: Bearer {KEY}")),
            Callers::ByToken => Some(format!("authorization: Bearer {}", issuer.token(url)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_setting_has_nothing_and_the_last_has_all() {
        let [first, .., last] = &SETTINGS;
        let config = first.config("");
        assert!(!config.contains("auth") && !config.contains("limits") && config.contains("calls = false"));
        assert!(first.variables("sink").is_empty());
        for table in ["[[auth.key]]", "[[limits.rate]]", "[audit]", "filter = \"info\"", "calls = true"] {
            assert!(last.config("").contains(table), "{table}");
        }
        assert!(last.variables("sink").contains(&("OTEL_EXPORTER_OTLP_ENDPOINT", "sink")));
    }
}
