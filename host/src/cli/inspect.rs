//! `gateway inspect`: what a library is and whether it would load, from the file alone or from a trial in a child.
//!
//! In:   a path, and how far to go.
//! Out:  what is known, as text or JSON. Exit code 1: it would not load.
//! Never: runs code of the file in this process.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{InspectArgs, Outcome};
use crate::{
    config::{Plugins, ServerEntry},
    load::{Facts, Loader, Manifest, PluginFile, Purpose, Rejection, Tried, chain, vet},
};

/// What is known about a file. Members that are not known are left out.
struct Report {
    facts: Map<String, Value>,
    /// Why it would not load.
    obstacle: Option<String>,
    tried: bool,
}

/// Tells about the library that `args` names; what keeps it from being read goes to `err`.
pub fn inspect(args: &InspectArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Outcome> {
    let file = match PluginFile::read(&args.file) {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(rejection)) => Err(rejection),
        Err(error) => {
            writeln!(err, "error: cannot read `{}`: {error}", args.file.display())?;
            return Ok(Outcome::BadFile);
        }
    };
    let mut report = match &file {
        Ok(file) => Report::of_file(file),
        Err(rejection) => Report { facts: Map::new(), obstacle: Some(rejection.to_string()), tried: false },
    };
    if let (Ok(file), None, true) = (&file, &report.obstacle, args.load) {
        report.try_out(file, args);
    }
    if args.json {
        writeln!(out, "{:#}", report.to_json(&args.file))?;
    } else {
        report.write(&args.file, out)?;
    }
    Ok(if report.obstacle.is_none() { Outcome::Fine } else { Outcome::Failed })
}

impl Report {
    fn of_file(file: &PluginFile) -> Self {
        let mut facts = Map::new();
        let obstacle = match vet(&file.bytes) {
            Ok(read) => {
                tell_facts(&mut facts, &read);
                file.trust.clone().and_then(|()| read.judge(&[])).err()
            }
            Err(rejection) => Some(rejection),
        };
        facts.insert("size".into(), file.bytes.len().into());
        facts.insert("sha256".into(), file.digest.to_string().into());
        Self { facts, obstacle: obstacle.map(|rejection: Rejection| rejection.to_string()), tried: false }
    }

    /// Adds what the plugin says of itself in a child process.
    fn try_out(&mut self, file: &PluginFile, args: &InspectArgs) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Said {
            settings_schema: Option<Value>,
            tools: Option<Value>,
        }
        self.tried = true;
        let loader = Loader::new(&Plugins::default());
        let tried = match loader.try_out(file, ServerEntry::START_TIMEOUT, Purpose::Describe) {
            Ok(tried) => tried,
            Err(error) => {
                self.obstacle = Some(error.to_string());
                return;
            }
        };
        self.facts.insert("unload".into(), tried.library.into());
        let said: Said = match serde_json::from_str(&tried.description) {
            Ok(said) => said,
            Err(error) => {
                self.obstacle = Some(format!("what it says of itself is not of the expected form: {error}"));
                return;
            }
        };
        self.facts.extend(said.settings_schema.map(|schema| ("settings_schema".into(), schema)));
        match said.tools.filter(|tools| args.settings.is_none() && tools.is_array()) {
            Some(_) => self.tell_offer(&tried.description),
            None => self.start(&loader, file, args),
        }
    }

    /// Adds the tools of a plugin that has them only once it has its settings.
    fn start(&mut self, loader: &Loader, file: &PluginFile, args: &InspectArgs) {
        let settings = args.settings.clone().unwrap_or_default();
        match loader.try_out(file, ServerEntry::START_TIMEOUT, Purpose::Start(settings)) {
            Err(error) => self.obstacle = Some(error.to_string()),
            Ok(Tried { manifest: Some(manifest), library, .. }) => {
                self.facts.insert("unload".into(), library.into());
                self.tell_offer(&manifest);
            }
            Ok(Tried { start_failure, .. }) => {
                let mut why = start_failure.unwrap_or_else(|| "it returned without serving".into());
                if args.settings.is_none() {
                    why += "; give it settings with `--settings JSON`";
                }
                self.facts.insert("tools_unknown".into(), format!("it did not start: {why}").into());
            }
        }
    }

    /// Adds what a manifest offers, if it could be served.
    fn tell_offer(&mut self, json: &str) {
        match Manifest::parse(json.as_bytes()) {
            Err(error) => self.obstacle = Some(format!("its manifest cannot be used: {}", chain(&error))),
            Ok(manifest) => {
                self.facts.extend(manifest.title.map(|title| ("title".into(), title.into())));
                let tools = manifest.tools.into_iter().map(|tool| tool.wire.into()).collect();
                self.facts.insert("tools".into(), Value::Array(tools));
            }
        }
    }

    fn to_json(&self, path: &Path) -> Value {
        let mut json = json!({ "file": path, "loads": self.obstacle.is_none(), "tried": self.tried });
        let members = json.as_object_mut().expect("just made one");
        members.extend(self.obstacle.clone().map(|reason| ("reason".into(), reason.into())));
        members.extend(self.facts.clone());
        json
    }

    fn write(&self, path: &Path, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", path.display())?;
        for (name, value) in &self.facts {
            match (name.as_str(), value) {
                ("tools" | "settings_schema", _) => {}
                (_, Value::String(text)) => line(out, name, text)?,
                (_, Value::Array(list)) => {
                    let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                    line(out, name, &texts.join(", "))?;
                }
                (_, value) => line(out, name, &value.to_string())?,
            }
        }
        let loads = match (&self.obstacle, self.tried) {
            (Some(reason), _) => format!("no: {reason}"),
            (None, true) => "yes, tried in a child process".into(),
            (None, false) => "yes, as far as the file tells; `--load` tries it in a child process".into(),
        };
        line(out, "loads", &loads)?;
        if let Some(schema) = self.facts.get("settings_schema") {
            writeln!(out, "\nsettings\n{}", indented(schema))?;
        }
        for tool in self.facts.get("tools").and_then(Value::as_array).into_iter().flatten() {
            let text = |member: &str| tool[member].as_str().unwrap_or_default().to_owned();
            writeln!(out, "\ntool {}\n  {}", plain(&text("name")), plain(&text("description")))?;
            for (member, title) in [("inputSchema", "arguments"), ("outputSchema", "result")] {
                if let Some(schema) = tool.get(member) {
                    writeln!(out, "  {title}\n{}", indented(schema))?;
                }
            }
        }
        Ok(())
    }
}

fn tell_facts(facts: &mut Map<String, Value>, read: &Facts) {
    facts.insert("name".into(), read.name.clone().into());
    facts.insert("version".into(), read.version.clone().into());
    facts.insert("plugin_api".into(), read.plugin_api.clone().into());
    facts.insert("panic".into(), read.panic.clone().into());
    facts.insert("needs".into(), read.needs.clone().into());
    facts.extend(read.search.clone().map(|folders| ("search".into(), folders.into())));
    if read.asks_to_stay() {
        let text = "it asks never to be unloaded; the gateway's copy of it does not";
        facts.insert("nodelete".into(), text.into());
    }
}

fn line(out: &mut dyn Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {:13} {}", name.replace('_', "-"), plain(text))
}

/// Text of a file nobody trusts yet, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn indented(json: &Value) -> String {
    format!("{json:#}").lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
