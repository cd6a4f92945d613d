//! What loads where: the compatibility rule of plugin-api/ABI.md. `cargo xtask artifacts` builds `greet` and the
//! gateway once more for each row and column here, with plugin-apis that kept the rule and some that broke it.

use std::{fs, path::Path};

use insta::assert_snapshot;
use serde_json::Value;
use tests::{Gateway, artifacts, command_of, config, server};

/// Gateways by the plugin-api they speak, and their files.
const GATEWAYS: [(&str, &str); 2] = [("1.0", "gateway"), ("1.1", "versions/gateway_1_1")];

/// Plugins by the plugin-api they were built with, and their files.
const PLUGINS: [(&str, &str); 9] = [
    ("1.0", "greet"),
    ("1.1: a function appended to each table", "versions/greet_1_1"),
    ("1.2: one more appended to each", "versions/greet_1_2"),
    ("1.1, but a function of `HostTable` removed", "versions/greet_removed"),
    ("1.1, but a function of `PluginModule` removed", "versions/greet_module_removed"),
    ("1.1, but a function of `HostTable` changed", "versions/greet_changed"),
    ("1.1, but a member appended to `Event`", "versions/greet_struct_appended"),
    ("1.1, but a member of `LogRecord` changed", "versions/greet_struct_changed"),
    ("2.0", "versions/greet_next_major"),
];

/// Plugins built with the plugin-api of this gateway, but otherwise.
const BUILDS: [(&str, &str); 4] = [
    ("`opt-level = 3`, without debug assertions", "versions/greet_optimised"),
    ("`opt-level = \"s\"`, fat LTO, one codegen unit, stripped", "versions/greet_small"),
    ("older releases of tokio, serde and serde_json inside", "versions/greet_other_crates"),
    ("`panic = \"abort\"`", "versions/greet_panic_abort"),
];

/// What became of a plugin in a gateway.
enum Outcome {
    /// It answered a call and is gone again. What either side found of the other's appended functions.
    Loads(Vec<String>),
    /// In the words of `gateway check`.
    Refused(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Loads(_) => "loads",
            Self::Refused(_) => "refused",
        }
    }
}

/// Checks `plugin` with `gateway`; if it loads, has it serve and be unloaded.
async fn outcome(gateway: &str, plugin: &str) -> Outcome {
    let config = config(&[]) + &server("greet", plugin);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("gateway.toml"), &config).expect("a file");
    let output =
        command_of(gateway, folder.path()).arg("check").output().expect("the gateway can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    if let Some((_, why)) = said.split_once("failed: ") {
        assert_eq!(output.status.code(), Some(1), "{said}");
        let place = format!("{}/", artifacts().display());
        return Outcome::Refused(why.trim_end().replace(&place, ""));
    }
    assert_eq!(output.status.code(), Some(0), "{gateway} with {plugin}: {said}");

    let gateway = Gateway::of_program(gateway, &config).await;
    let answer = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"result":"Hello, Ada!"}"#));
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0), "{log:?}");
    let unloaded = log.iter().find(|event| event["message"] == "server unloaded").expect("it was loaded");
    assert_eq!(unloaded["library"], "gone");
    Outcome::Loads(log.iter().filter_map(asked).collect())
}

/// What a patched side says of the other's functions, in one line.
fn asked(event: &Value) -> Option<String> {
    let message = event["message"].as_str().filter(|message| message.starts_with("asked the "))?;
    // What a plugin logs has its fields in an object of their own.
    let fields = if event["fields"].is_object() { &event["fields"] } else { event };
    let (function, answer) = (fields["function"].as_str()?, fields["answer"].as_str()?);
    Some(format!("{message} for {function}: {answer}"))
}

/// Fails if plugin-api/ABI.md does not hold `table`.
fn check_abi_md(table: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/ABI.md");
    let page = fs::read_to_string(page).expect("the page is there");
    assert!(
        page.contains(table),
        "plugin-api/ABI.md differs from what was found; put this there:\n\n{table}"
    );
}

#[tokio::test]
async fn plugins_of_every_minor_version_load_in_gateways_of_every_other() {
    let mut table = String::from("| plugin built with plugin-api |");
    GATEWAYS.iter().for_each(|(speaks, _)| table += &format!(" gateway {speaks} |"));
    table += "\n|---|---|---|\n";
    let (mut found, mut refusals) = (String::new(), String::new());
    for (built_with, plugin) in PLUGINS {
        table += &format!("| {built_with} |");
        for (speaks, gateway) in GATEWAYS {
            let pair = format!("{} in {speaks}", plugin.trim_start_matches("versions/"));
            let outcome = outcome(gateway, plugin).await;
            table += &format!(" {} |", outcome.word());
            match outcome {
                Outcome::Loads(asked) => found += &format!("{pair}\n{}", indented(&asked)),
                Outcome::Refused(why) => refusals += &format!("{pair}\n{}", indented(&[why])),
            }
        }
        table += "\n";
    }
    assert_snapshot!(table, @r"
    | plugin built with plugin-api | gateway 1.0 | gateway 1.1 |
    |---|---|---|
    | 1.0 | loads | loads |
    | 1.1: a function appended to each table | loads | loads |
    | 1.2: one more appended to each | loads | loads |
    | 1.1, but a function of `HostTable` removed | refused | refused |
    | 1.1, but a function of `PluginModule` removed | refused | refused |
    | 1.1, but a function of `HostTable` changed | refused | refused |
    | 1.1, but a member appended to `Event` | refused | refused |
    | 1.1, but a member of `LogRecord` changed | refused | refused |
    | 2.0 | refused | refused |
    ");
    // Each version of plugin-api has its own function on either side: none is called that is not there.
    assert_snapshot!(found, @r"
    greet in 1.0
    greet in 1.1
      asked the plugin for since_1_1: None
    greet_1_1 in 1.0
      asked the gateway for since_1_1: None
    greet_1_1 in 1.1
      asked the plugin for since_1_1: Some(201)
      asked the gateway for since_1_1: Some(101)
    greet_1_2 in 1.0
      asked the gateway for since_1_1: None
      asked the gateway for since_1_2: None
    greet_1_2 in 1.1
      asked the plugin for since_1_1: Some(201)
      asked the gateway for since_1_1: Some(101)
      asked the gateway for since_1_2: None
    ");
    assert_snapshot!(refusals, @r"
    greet_removed in 1.0
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.0.0, and they differ: its `HostTable` lacks `max_level`; rebuild it with plugin-api 1.0.0
    greet_removed in 1.1
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.1.0, and they differ: its `HostTable` lacks `max_level`; rebuild it with plugin-api 1.1.0
    greet_module_removed in 1.0
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.0.0, and they differ: its `PluginModule` lacks `describe`; rebuild it with plugin-api 1.0.0
    greet_module_removed in 1.1
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.1.0, and they differ: its `PluginModule` lacks `describe`; rebuild it with plugin-api 1.1.0
    greet_changed in 1.0
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.0.0, and they differ: `call` of `HostTable.dropped` is `u32`, the gateway's `u64`; rebuild it with plugin-api 1.0.0
    greet_changed in 1.1
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.1.0, and they differ: `call` of `HostTable.dropped` is `u32`, the gateway's `u64`; rebuild it with plugin-api 1.1.0
    greet_struct_appended in 1.0
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.0.0, and they differ: its `Event` has `priority`, the gateway's has not; rebuild it with plugin-api 1.0.0
    greet_struct_appended in 1.1
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.1.0, and they differ: its `Event` has `priority`, the gateway's has not; rebuild it with plugin-api 1.1.0
    greet_struct_changed in 1.0
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.0.0, and they differ: `LogRecord.level` is `i32`, the gateway's `u32`; rebuild it with plugin-api 1.0.0
    greet_struct_changed in 1.1
      server `greet`: the plugin was built with plugin-api 1.1.0, this gateway speaks 1.1.0, and they differ: `LogRecord.level` is `i32`, the gateway's `u32`; rebuild it with plugin-api 1.1.0
    greet_next_major in 1.0
      server `greet`: cannot use `versions/greet_next_major.so`: it was built with plugin-api 2.0.0, this gateway speaks 1.0.0; rebuild it with plugin-api 1.0.0
    greet_next_major in 1.1
      server `greet`: cannot use `versions/greet_next_major.so`: it was built with plugin-api 2.0.0, this gateway speaks 1.1.0; rebuild it with plugin-api 1.1.0
    ");
    check_abi_md(&table);
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

#[tokio::test]
async fn how_a_plugin_was_compiled_does_not_matter_unless_its_panics_abort() {
    let mut table = String::from("| plugin built with | |\n|---|---|\n");
    let mut refusals = Vec::new();
    for (how, plugin) in BUILDS {
        let outcome = outcome("gateway", plugin).await;
        table += &format!("| {how} | {} |\n", outcome.word());
        if let Outcome::Refused(why) = outcome {
            refusals.push(why);
        }
    }
    assert_snapshot!(table, @r#"
    | plugin built with | |
    |---|---|
    | `opt-level = 3`, without debug assertions | loads |
    | `opt-level = "s"`, fat LTO, one codegen unit, stripped | loads |
    | older releases of tokio, serde and serde_json inside | loads |
    | `panic = "abort"` | refused |
    "#);
    assert_snapshot!(refusals.join("\n"), @r#"server `greet`: cannot use `versions/greet_panic_abort.so`: it was built with panic = "abort", so a panic in a tool would end the gateway; build it with panic = "unwind""#);
    check_abi_md(&table);
}
