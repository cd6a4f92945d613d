//! What the variants differ in, as replacements of text. What is replaced is chosen to survive that functions are
//! added to the tables: the last function of each is where variants append theirs.

/// One replacement.
#[derive(Clone)]
pub(super) struct Patch {
    /// The file, by its path in the workspace.
    pub(super) file: &'static str,
    /// What is replaced. Stands exactly once in the file.
    pub(super) at: &'static str,
    pub(super) with: String,
}

const ABI: &str = "plugin-api/src/abi.rs";
const GREET: &str = "plugins/greet/Cargo.toml";
const GREET_CODE: &str = "plugins/greet/src/lib.rs";
const HOST: &str = "host/Cargo.toml";
const EXPORT: &str = "plugin-api/src/glue/export.rs";
const GLUE: &str = "plugin-api/src/glue/mod.rs";
const GLUE_LOG: &str = "plugin-api/src/glue/log.rs";
const LIBRARY: &str = "host/src/load/library.rs";
const TABLE: &str = "host/src/load/mailbox/table.rs";

fn replace(file: &'static str, at: &'static str, with: impl Into<String>) -> Patch {
    Patch { file, at, with: with.into() }
}

fn before(file: &'static str, at: &'static str, text: impl AsRef<str>) -> Patch {
    replace(file, at, format!("{}{at}", text.as_ref()))
}

fn after(file: &'static str, at: &'static str, text: impl AsRef<str>) -> Patch {
    replace(file, at, format!("{at}{}", text.as_ref()))
}

/// What every copy of the workspace needs: it has fewer members, all in a folder `target`, and its product is called
/// that.
pub(super) fn names(package: &str, target: &str) -> Vec<Patch> {
    let gateway = format!("name = \"{target}\"\n");
    let (member, up, manifest, product) = match package {
        "host" => ("host", "..", HOST, replace(HOST, "name = \"gateway\"\n", gateway)),
        _ => ("plugins/greet", "../..", GREET, after(GREET, "[lib]\n", gateway)),
    };
    let members =
        ["plugin-api", member, "features"].map(|member| format!("\"{target}/{member}\"")).join(", ");
    vec![
        product,
        after(manifest, "\n[dependencies]\n", format!("features = {{ path = \"{up}/features\" }}\n")),
        replace(
            "Cargo.toml",
            "members = [\"host\", \"plugin-api\", \"plugins/*\", \"tests\", \"tests/fixtures/*\", \"xtask\"]\n\
             default-members = [\"host\"]\n",
            format!("members = [{members}]\n"),
        ),
        replace("Cargo.toml", "path = \"plugin-api\"", format!("path = \"{target}/plugin-api\"")),
    ]
}

/// A package without code that depends on `crates`. Who depends on it has cargo choose the features that the workspace
/// has of these crates, so that they need not be compiled again with fewer.
pub(super) fn features(crates: &str) -> String {
    format!(
        "[package]\nname = \"features\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{crates}"
    )
}

/// plugin-api calls itself `version`.
pub(super) fn version(version: &str) -> Vec<Patch> {
    let named = "name = \"plugin-api\"\nversion = \"1.0.0\"\n";
    vec![replace("plugin-api/Cargo.toml", named, named.replace("1.0.0", version))]
}

/// A line for each function that versions up to 1.`minor` append to a table, made from its name and number.
fn appended(minor: u32, line: impl Fn(&str, u32) -> String) -> String {
    (1..=minor).map(|number| line(&format!("since_1_{number}"), number)).collect()
}

/// plugin-api 1.`minor`: each minor version appends a function to the host's table and one to the module. The glue
/// asks the gateway for its functions, where they are there, and logs what they answered.
pub(super) fn minor(minor: u32) -> Vec<Patch> {
    let field = |name: &str, parameters: &str| {
        format!(
            "    /// Answers a number of its own.\n    #[sabi(missing_field(option))]\n    \
             pub {name}: extern \"C\" fn({parameters}) -> u32,\n"
        )
    };
    let patches = vec![
        after(
            ABI,
            "    pub mapping: extern \"C\" fn(context: *const c_void, at: usize, len: usize, made: bool),\n",
            appended(minor, |name, _| field(name, "context: *const c_void")),
        ),
        after(
            ABI,
            "    pub reclaim: extern \"C\" fn() -> usize,\n",
            appended(minor, |name, _| field(name, "")),
        ),
        after(
            EXPORT,
            "                    reclaim: glue::hooks::reclaim,\n",
            appended(minor, |name, _| format!("                    {name}: glue::{name},\n")),
        ),
        before(
            GLUE,
            "/// Makes the host known: to the hooks first",
            appended(minor, |name, number| {
                format!(
                    "/// See the module.\npub extern \"C\" fn {name}() -> u32 {{\n    {}\n}}\n\n",
                    200 + number
                )
            }),
        ),
        before(
            GLUE,
            "    (host.table.ready())(host.context, RSlice::from_slice(&manifest));\n",
            appended(minor, |name, _| {
                format!(
                    "    let answer = host.table.{name}().map(|ask| ask(host.context));\n    \
                     tracing::info!(function = \"{name}\", ?answer, \"asked the gateway\");\n"
                )
            }),
        ),
    ];
    [version(&format!("1.{minor}.0")), patches].concat()
}

/// The gateway's part of 1.`minor`: it has the functions, and asks the plugin for those of its module.
pub(super) fn gateway_minor(minor: u32) -> Vec<Patch> {
    vec![
        before(
            TABLE,
            "pub(super) const TABLE: HostTableRef = {\n",
            appended(minor, |name, number| {
                format!("extern \"C\" fn {name}(_: *const c_void) -> u32 {{\n    {}\n}}\n\n", 100 + number)
            }),
        ),
        after(TABLE, "        mapping,\n", appended(minor, |name, _| format!("        {name},\n"))),
        before(
            LIBRARY,
            "        let served = (self.module.main())(host, &start, &mut error);\n",
            appended(minor, |name, _| {
                format!(
                    "        let answer = self.module.{name}().map(|ask| ask());\n        \
                     tracing::info!(function = \"{name}\", ?answer, \"asked the plugin\");\n"
                )
            }),
        ),
    ]
}

/// `HostTable` without `max_level`.
pub(super) fn function_removed() -> Vec<Patch> {
    vec![
        replace(ABI, "    pub max_level: extern \"C\" fn(context: *const c_void) -> u32,\n", ""),
        replace(GLUE_LOG, "(host.table.max_level())(host.context)", "5"),
    ]
}

/// `PluginModule` without `describe`.
pub(super) fn module_function_removed() -> Vec<Patch> {
    vec![
        replace(ABI, "    pub describe: extern \"C\" fn(host: &Host, out: &mut RVec<u8>) -> bool,\n", ""),
        replace(EXPORT, "                    describe,\n", ""),
        before(EXPORT, "            extern \"C\" fn describe(", "            #[allow(dead_code)]\n"),
    ]
}

/// `HostTable::dropped` takes a call of another type.
pub(super) fn function_changed() -> Vec<Patch> {
    vec![
        replace(
            ABI,
            "    pub dropped: extern \"C\" fn(context: *const c_void, call: u64),\n",
            "    pub dropped: extern \"C\" fn(context: *const c_void, call: u32),\n",
        ),
        replace(
            GLUE,
            "(self.host.table.dropped())(self.host.context, self.call.id)",
            "(self.host.table.dropped())(self.host.context, self.call.id as u32)",
        ),
    ]
}

/// `Event` has one member more.
pub(super) fn struct_appended() -> Vec<Patch> {
    vec![
        after(
            ABI,
            "    pub out: RVec<u8>,\n    /// Zero.\n    pub reserved: [u64; 4],\n",
            "    /// What this variant adds.\n    pub priority: u64,\n",
        ),
        after(
            ABI,
            "            out: RVec::new(),\n            reserved: [0; 4],\n",
            "            priority: 0,\n",
        ),
    ]
}

/// The `level` of a `LogRecord` has another type of the same size.
pub(super) fn struct_changed() -> Vec<Patch> {
    vec![
        replace(
            ABI,
            "    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.\n    pub level: u32,\n",
            "    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.\n    pub level: i32,\n",
        ),
        replace(
            GLUE_LOG,
            "        level,\n        line: 0,\n",
            "        level: level as i32,\n        line: 0,\n",
        ),
    ]
}

/// Plugin and plugin-api are optimised as in a release; the crates of the registry are those of the tests' other
/// plugins, because to compile all of them once more takes a minute.
pub(super) fn optimised() -> Vec<Patch> {
    let settings = |level: u32, checks: bool| {
        format!("opt-level = {level}\ndebug-assertions = {checks}\noverflow-checks = {checks}\n")
    };
    vec![
        after("Cargo.toml", "[profile.dev]\n", settings(3, false)),
        after("Cargo.toml", "[profile.dev.package.\"*\"]\n", settings(0, true)),
    ]
}

/// Older releases of crates that end up in every plugin.
pub(super) fn other_crates() -> Vec<Patch> {
    let exact = |at: &'static str, version: &str| {
        replace("Cargo.toml", at, at.replace("version = \"1\"", &format!("version = \"={version}\"")))
    };
    vec![
        exact("\nserde = { version = \"1\"", "1.0.219"),
        exact("\nserde_json = { version = \"1\"", "1.0.140"),
        exact("\ntokio = { version = \"1.53.3\"", "1.53.3"),
    ]
}

/// `greet` says something else.
pub(super) fn other_words() -> Vec<Patch> {
    let words = "Ok(format!(\"Hello, {}!\", args.user_name))";
    vec![replace(GREET_CODE, words, words.replace("Hello", "Good day"))]
}

/// `greet` says something else, and has a tool more.
pub(super) fn other_table() -> Vec<Patch> {
    let tool = "Ok(Plugin::new().tool(\"alsoHai\", \"Greets once more.\", crate::echo_hai)";
    [other_words(), vec![replace(GREET_CODE, "Ok(Plugin::new()", tool)]].concat()
}
