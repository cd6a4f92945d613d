//! gateway.toml: what an operator reads when it is wrong, and that the files we ship are right.

use std::path::Path;

use host::config::{self, Config, Outside, Problems};
use insta::assert_snapshot;
use proptest::prelude::*;

const SHIPPED: [(&str, &str); 2] = [
    ("gateway.toml", include_str!("../../gateway.toml")),
    ("gateway.example.toml", include_str!("../../gateway.example.toml")),
];

fn parse(text: &str) -> Result<Config, Problems> {
    let env = |name: &str| match name {
        "PORT" => Some("9000".to_owned()),
        "GREETING" => Some("Hai".to_owned()),
        "WRONG" => Some("no such address".to_owned()),
        _ => None,
    };
    let outside = Outside { variable: &env, ..Outside::NOTHING };
    config::parse(text, Path::new("gateway.toml"), outside)
}

/// What the operator reads.
fn problems(text: &str) -> String {
    parse(text).expect_err("the text has a mistake").to_string()
}

/// A server table with good values, apart from `change`, a line that replaces the one with the same key.
fn server(change: &str) -> String {
    let key = |line: &str| line.split('=').next().map(|key| key.trim().to_owned());
    let lines = ["name = \"greet\"", "plugin = \"plugins/greet.so\"", "prefix = \"/greet\""];
    let lines = lines.map(|line| if key(line) == key(change) { change } else { line });
    let extra = if lines.contains(&change) { "" } else { change };
    format!("[[server]]\n{}\n{extra}\n", lines.join("\n"))
}

#[test]
fn bad_toml_is_shown_where_it_breaks() {
    assert_snapshot!(problems("listen = 127.0.0.1:8000\n"), @r#"
    gateway.toml:1:10: not valid TOML: `127.0.0.1:8000` is not a value
    1 | listen = 127.0.0.1:8000
      |          ^^^^^^^^^^^^^^ put text in double quotes
    "#);
    assert_snapshot!(problems("listen = \"127.0.0.1:8000\n[http]\nbody_max_bytes =\n[log\n"), @r#"
    gateway.toml:1:25: not valid TOML: the string is not closed
    1 | listen = "127.0.0.1:8000
      |                         ^ add the closing quotation mark

    gateway.toml:3:17: not valid TOML: the key has no value
    3 | body_max_bytes =
      |                 ^ write one: a "string", a number, true or false

    gateway.toml:4:5: not valid TOML: the table's header is not closed
    4 | [log
      |     ^ add `]`
    "#);
    assert_snapshot!(problems("[http]\nallowed_hosts = [\"a\",\n[log]\nfilter = \"info\"\n"), @r#"
    gateway.toml:2:17: not valid TOML: the array is never closed
    2 | allowed_hosts = ["a",
      |                 ^ close it with `]`
    "#);
    assert_snapshot!(problems("listen = \"a\"\nlisten = \"b\"\n[log]\n[log]\n"), @r#"
    gateway.toml:2:1: not valid TOML: `listen` is already there
    2 | listen = "b"
      | ^^^^^^ delete one of the two

    gateway.toml:4:2: not valid TOML: `log` is already there
    4 | [log]
      |  ^^^ join the two tables
    "#);
    assert_snapshot!(problems("[[server]]\nname greet\n[log\nplugin = \"C:\\plugins\\greet.so\"\n"), @r#"
    gateway.toml:2:6: not valid TOML: the key has no value
    2 | name greet
      |      ^ write `key = value`

    gateway.toml:3:5: not valid TOML: the table's header is not closed
    3 | [log
      |     ^ add `]`

    gateway.toml:4:14: not valid TOML: no escape begins with this backslash
    4 | plugin = "C:\plugins\greet.so"
      |              ^ write `\\` for a backslash, or use 'single quotes'
    "#);
    assert_snapshot!(problems("log = { filter = \"info\", , format = \"text\" }\n"), @r#"
    gateway.toml:1:26: not valid TOML: extra comma in inline table
    1 | log = { filter = "info", , format = "text" }
      |                          ^ delete it
    "#);
    assert_snapshot!(problems("[[server]]\nprefix = /greet\nplugin = \"\"\"a.so\n"), @r#"
    gateway.toml:2:10: not valid TOML: `/greet` is not a value
    2 | prefix = /greet
      |          ^^^^^^ put text in double quotes

    gateway.toml:3:17: not valid TOML: the string is not closed
    3 | plugin = """a.so
      |                 ^ add the closing quotation mark
    "#);
    assert_snapshot!(problems("server = [{ name = 'greet' },\n\n[http]\nbody_max_bytes = 1\n"), @r#"
    gateway.toml:1:10: not valid TOML: the array is never closed
    1 | server = [{ name = 'greet' },
      |          ^ close it with `]`
    "#);
}

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    assert_snapshot!(problems(&server("prefx = \"/greet\"").replace("prefix = \"/greet\"\n", "")), @r#"
    gateway.toml:4:1: unknown key `prefx`
    4 | prefx = "/greet"
      | ^^^^^ did you mean `prefix`?
    "#);
    assert_snapshot!(problems(&server("callTimeout = \"5s\"")), @r#"
    gateway.toml:5:1: unknown key `callTimeout`
    5 | callTimeout = "5s"
      | ^^^^^^^^^^^ did you mean `call_timeout`?
    "#);
    assert_snapshot!(problems("[servers]\nname = \"greet\"\n"), @r#"
    gateway.toml:1:2: unknown key `servers`
    1 | [servers]
      |  ^^^^^^^ did you mean `server`?
    "#);
    assert_snapshot!(problems("[http]\ntimeout = \"5s\"\n"), @r#"
    gateway.toml:2:1: unknown key `timeout`
    2 | timeout = "5s"
      | ^^^^^^^ known here: `body_max_bytes`, `allowed_hosts`, `public_url`, `allowed_origins`, `state_secret`, `state_secret_file`, `trusted_proxies`
    "#);
    assert_snapshot!(problems(&server("listen = \"127.0.0.1:1\"")), @r#"
    gateway.toml:5:1: unknown key `listen`
    5 | listen = "127.0.0.1:1"
      | ^^^^^^ move it to the top of the file, above the first table
    "#);
    assert_snapshot!(problems("drain = \"5s\"\nthreads = 2\n[settings]\n"), @r#"
    gateway.toml:1:1: unknown key `drain`
    1 | drain = "5s"
      | ^^^^^ it belongs in `[shutdown]`

    gateway.toml:2:1: unknown key `threads`
    2 | threads = 2
      | ^^^^^^^ it belongs in `[[server]]`

    gateway.toml:3:2: unknown key `settings`
    3 | [settings]
      |  ^^^^^^^^ it belongs in `[[server]]`
    "#);
}

#[test]
fn a_missing_key_is_shown_at_its_table() {
    assert_snapshot!(problems("[[server]]\nname = \"greet\"\nplugin = \"a.so\"\n"), @r#"
    gateway.toml:1:1: server `greet` has no `prefix`
    1 | [[server]]
      | ^^^^^^^^^^ add e.g. `prefix = "/greet"`
    "#);
    assert_snapshot!(problems("# All of it.\n[[server]]\n"), @r#"
    gateway.toml:2:1: this `[[server]]` has no `name`, no `plugin`, no `prefix`
    2 | [[server]]
      | ^^^^^^^^^^ add e.g. `name = "greet"`, `plugin = "plugins/greet.so"`, `prefix = "/greet"`
    "#);
    assert_snapshot!(problems("server = [{ name = \"greet\", plugin = \"a.so\" }]\n"), @r#"
    gateway.toml:1:11: server `greet` has no `prefix`
    1 | server = [{ name = "greet", plugin = "a.so" }]
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ add e.g. `prefix = "/greet"`
    "#);
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    assert_snapshot!(problems("listen = 8000\n"), @r#"
    gateway.toml:1:10: `listen` must be a string, not a number
    1 | listen = 8000
      |          ^^^^ write e.g. `"127.0.0.1:8000"`
    "#);
    assert_snapshot!(problems(&server("threads = \"two\"")), @r#"
    gateway.toml:5:11: `threads` must be a whole number, not a string
    5 | threads = "two"
      |           ^^^^^ write a number from 1 to 64, without quotation marks
    "#);
    assert_snapshot!(problems(&server("threads = 0")), @r#"
    gateway.toml:5:11: `threads` cannot be 0
    5 | threads = 0
      |           ^ write a number from 1 to 64, without quotation marks
    "#);
    assert_snapshot!(problems(&server("threads = 1.5")), @r#"
    gateway.toml:5:11: `threads` must be a whole number, not a fraction
    5 | threads = 1.5
      |           ^^^ write a number from 1 to 64, without quotation marks
    "#);
    assert_snapshot!(problems(&server("required = \"yes\"")), @r#"
    gateway.toml:5:12: `required` must be true or false, not a string
    5 | required = "yes"
      |            ^^^^^ write `true` or `false`, without quotation marks
    "#);
    assert_snapshot!(problems(&server("call_timeout = 30")), @r#"
    gateway.toml:5:16: `call_timeout` must be a string, not a number
    5 | call_timeout = 30
      |                ^^ write e.g. `"30s"`
    "#);
    assert_snapshot!(problems("http = 1\nlog = []\n"), @r#"
    gateway.toml:1:8: `http` must be a table, not a number
    1 | http = 1
      |        ^ write it as a table, `[http]`

    gateway.toml:2:7: `log` must be a table, not an array
    2 | log = []
      |       ^^ write it as a table, `[log]`
    "#);
    assert_snapshot!(problems("[server]\nname = \"greet\"\n"), @r#"
    gateway.toml:1:1: `server` must be an array, not a table
    1 | [server]
      | ^^^^^^^^ write its header with two brackets, `[[server]]`
    "#);
    assert_snapshot!(problems("server = [1]\n"), @r#"
    gateway.toml:1:11: an entry of `server` must be a table, not a number
    1 | server = [1]
      |           ^ write each as a table, `[[server]]`
    "#);
    assert_snapshot!(problems("[log]\nformat = \"jsn\"\n"), @r#"
    gateway.toml:2:10: `jsn` is not a choice for `format`
    2 | format = "jsn"
      |          ^^^^^ write one of "auto", "text", "json"
    "#);
    assert_snapshot!(problems("[http]\nbody_max_bytes = 99999999999999999999\nallowed_hosts = [\"a\", 1]\n"), @r#"
    gateway.toml:2:18: `99999999999999999999` does not fit into 64 bits
    2 | body_max_bytes = 99999999999999999999
      |                  ^^^^^^^^^^^^^^^^^^^^ write a smaller number, or a string

    gateway.toml:3:23: an entry of `allowed_hosts` must be a string, not a number
    3 | allowed_hosts = ["a", 1]
      |                       ^ write a string, in quotation marks
    "#);
}

#[test]
fn two_servers_cannot_share_a_name_or_a_prefix() {
    let second = |name: &str, prefix: &str| {
        let table = format!("\n[[server]]\nname = \"{name}\"\nplugin = \"b.so\"\nprefix = \"{prefix}\"\n");
        problems(&(server("") + &table))
    };
    assert_snapshot!(second("other", "/greet"), @r#"
    gateway.toml:10:10: prefix `/greet` is already used by server `greet` (line 4)
    10 | prefix = "/greet"
       |          ^^^^^^^^ choose another prefix or delete one of the two tables
    "#);
    assert_snapshot!(second("greet", "/other"), @r#"
    gateway.toml:8:8: the name `greet` is already used by another server (line 2)
    8 | name = "greet"
      |        ^^^^^^^ choose another name or delete one of the two tables
    "#);
    assert_snapshot!(second("other", "/greet/v2"), @r#"
    gateway.toml:10:10: prefix `/greet/v2` lies below prefix `/greet` of server `greet` (line 4)
    10 | prefix = "/greet/v2"
       |          ^^^^^^^^^^^ choose prefixes of which none begins with the segments of another
    "#);
    let badly_named = server("prefix = \"/team\"").replace("name = \"greet\"", "name = \"bad name\"");
    assert_snapshot!(problems(&(server("prefix = \"/team/greet\"") + &badly_named)), @r#"
    gateway.toml:7:8: `bad name` is not a name for a server
    7 | name = "bad name"
      |        ^^^^^^^^^^ use 1 to 64 letters, digits, `_` or `-`, and start with a letter or digit

    gateway.toml:9:10: prefix `/team` contains prefix `/team/greet` of server `greet` (line 4)
    9 | prefix = "/team"
      |          ^^^^^^^ choose prefixes of which none begins with the segments of another
    "#);
    assert_snapshot!(problems(&server("").repeat(3)), @r#"
    gateway.toml:7:8: the name `greet` is already used by another server (line 2)
    7 | name = "greet"
      |        ^^^^^^^ choose another name or delete one of the two tables

    gateway.toml:9:10: prefix `/greet` is already used by server `greet` (line 4)
    9 | prefix = "/greet"
      |          ^^^^^^^^ choose another prefix or delete one of the two tables

    gateway.toml:12:8: the name `greet` is already used by another server (line 2)
    12 | name = "greet"
       |        ^^^^^^^ choose another name or delete one of the two tables

    gateway.toml:14:10: prefix `/greet` is already used by server `greet` (line 4)
    14 | prefix = "/greet"
       |          ^^^^^^^^ choose another prefix or delete one of the two tables
    "#);
}

#[test]
fn a_prefix_stays_out_of_the_gateways_own_paths() {
    assert_snapshot!(problems(&server("prefix = \"/docs\"")), @r#"
    gateway.toml:4:10: `/docs` belongs to the gateway itself
    4 | prefix = "/docs"
      |          ^^^^^^^ choose another first segment
    "#);
    assert_snapshot!(problems(&server("prefix = \"/mcp/greet\"")), @r#"
    gateway.toml:4:10: `/mcp/greet` begins with `/mcp`, which belongs to the gateway itself
    4 | prefix = "/mcp/greet"
      |          ^^^^^^^^^^^^ choose another first segment
    "#);
    assert_snapshot!(problems(&server("prefix = \"/\"")), @r#"
    gateway.toml:4:10: `/` belongs to the gateway itself
    4 | prefix = "/"
      |          ^^^ choose a prefix such as "/greet"
    "#);
    assert_snapshot!(problems(&server("prefix = \"greet/\"")), @r#"
    gateway.toml:4:10: `greet/` is not a prefix
    4 | prefix = "greet/"
      |          ^^^^^^^^ start it with a slash, e.g. "/greet"
    "#);
    assert_snapshot!(problems(&server("prefix = \"/greet/\"")), @r#"
    gateway.toml:4:10: `/greet/` has an empty segment
    4 | prefix = "/greet/"
      |          ^^^^^^^^^ write one slash before each segment and none at the end
    "#);
}

#[test]
fn a_bad_duration_address_filter_host_or_origin_is_refused() {
    assert_snapshot!(problems(&server("call_timeout = \"30 parsecs\"")), @r#"
    gateway.toml:5:16: `30 parsecs` is not a duration
    5 | call_timeout = "30 parsecs"
      |                ^^^^^^^^^^^^ write a whole number and a unit: "250ms", "30s", "5m", "1h"
    "#);
    assert_snapshot!(problems("[shutdown]\ndrain = \"0s\"\n"), @r#"
    gateway.toml:2:9: `0s` is no time at all
    2 | drain = "0s"
      |         ^^^^ write at least "1ms"
    "#);
    assert_snapshot!(problems(&server("start_timeout = \"1000h\"")), @r#"
    gateway.toml:5:17: `1000h` is longer than a day
    5 | start_timeout = "1000h"
      |                 ^^^^^^^ write at most "24h"
    "#);
    assert_snapshot!(problems(&server("quarantine = \"0s\"\nquarantine_after = -1")), @r#"
    gateway.toml:5:14: `0s` is no time at all
    5 | quarantine = "0s"
      |              ^^^^ write at least "1ms"

    gateway.toml:6:20: `quarantine_after` cannot be -1
    6 | quarantine_after = -1
      |                    ^^ write a number from 0 to 1000000, without quotation marks
    "#);
    assert_snapshot!(problems("listen = \"localhost:8000\"\n"), @r#"
    gateway.toml:1:10: `localhost:8000` is not an address to listen on
    1 | listen = "localhost:8000"
      |          ^^^^^^^^^^^^^^^^ write "127.0.0.1:8000"
    "#);
    assert_snapshot!(problems("[log]\nfilter = \"inof\"\n"), @r#"
    gateway.toml:2:10: `inof` is not a log level
    2 | filter = "inof"
      |          ^^^^^^ did you mean "info"?
    "#);
    let text = "[http]\n\
                allowed_hosts = [\"https://box/\"]\n\
                allowed_origins = [\"https://a.example\", \"https://b.example/app\", \"*\"]\n";
    assert_snapshot!(problems(text), @r#"
    gateway.toml:2:18: `https://box/` is not a host
    2 | allowed_hosts = ["https://box/"]
      |                  ^^^^^^^^^^^^^^ leave out the scheme and the path, e.g. "gateway.example.com"

    gateway.toml:3:41: `https://b.example/app` is not an origin
    3 | allowed_origins = ["https://a.example", "https://b.example/app", "*"]
      |                                         ^^^^^^^^^^^^^^^^^^^^^^^ leave out the path: "https://b.example"

    gateway.toml:3:66: `*` is not an origin
    3 | allowed_origins = ["https://a.example", "https://b.example/app", "*"]
      |                                                                  ^^^ write each origin in full, e.g. "https://app.example.com"
    "#);
}

#[test]
fn an_unset_variable_is_shown_inside_its_string() {
    assert_snapshot!(problems("listen = \"127.0.0.1:${PROT}\"\n"), @r#"
    gateway.toml:1:21: the variable `PROT` is not set
    1 | listen = "127.0.0.1:${PROT}"
      |                     ^^^^^^^ set it, or write `${PROT:-default}`
    "#);
    assert_snapshot!(problems(&server("settings = { key = \"a ${ONE} b ${TWO}\", deep = [\"${\"] }")), @r#"
    gateway.toml:5:23: the variable `ONE` is not set
    5 | settings = { key = "a ${ONE} b ${TWO}", deep = ["${"] }
      |                       ^^^^^^ set it, or write `${ONE:-default}`

    gateway.toml:5:32: the variable `TWO` is not set
    5 | settings = { key = "a ${ONE} b ${TWO}", deep = ["${"] }
      |                                ^^^^^^ set it, or write `${TWO:-default}`

    gateway.toml:5:50: `${` without its `}`
    5 | settings = { key = "a ${ONE} b ${TWO}", deep = ["${"] }
      |                                                  ^^ close it, or write `$${` for a plain `${`
    "#);
    assert_snapshot!(problems("listen = \"${WRONG}\"\n"), @r#"
    gateway.toml:1:10: `no such address` is not an address to listen on
    1 | listen = "${WRONG}"
      |          ^^^^^^^^^^ write an IP address and a port, e.g. "127.0.0.1:8000"
    "#);
}

#[test]
fn every_problem_is_told_at_once_in_file_order() {
    let text = "\
listen = \"localhost:8000\"
lissen = 1

[[server]]
name   = \"greet\"
plugin = \"${PLUGINS}/greet.so\"
prefix = \"/docs\"

[[server]]
name    = \"greet\"
prefix  = \"/a b\"
threads = 65
call_timeout = \"soon\"

[log]
format = \"xml\"
filter = \"loud\"
";
    assert_snapshot!(problems(text), @r#"
    gateway.toml:1:10: `localhost:8000` is not an address to listen on
    1 | listen = "localhost:8000"
      |          ^^^^^^^^^^^^^^^^ write "127.0.0.1:8000"

    gateway.toml:2:1: unknown key `lissen`
    2 | lissen = 1
      | ^^^^^^ did you mean `listen`?

    gateway.toml:6:11: the variable `PLUGINS` is not set
    6 | plugin = "${PLUGINS}/greet.so"
      |           ^^^^^^^^^^ set it, or write `${PLUGINS:-default}`

    gateway.toml:7:10: `/docs` belongs to the gateway itself
    7 | prefix = "/docs"
      |          ^^^^^^^ choose another first segment

    gateway.toml:9:1: server `greet` has no `plugin`
    9 | [[server]]
      | ^^^^^^^^^^ add e.g. `plugin = "plugins/greet.so"`

    gateway.toml:10:11: the name `greet` is already used by another server (line 5)
    10 | name    = "greet"
       |           ^^^^^^^ choose another name or delete one of the two tables

    gateway.toml:11:11: `/a b` is not a prefix: the segment `a b` cannot stand in a path
    11 | prefix  = "/a b"
       |           ^^^^^^ use only letters, digits, `-`, `.`, `_` and `~`

    gateway.toml:12:11: `threads` cannot be 65
    12 | threads = 65
       |           ^^ write a number from 1 to 64, without quotation marks

    gateway.toml:13:16: `soon` is not a duration
    13 | call_timeout = "soon"
       |                ^^^^^^ write a whole number and a unit: "250ms", "30s", "5m", "1h"

    gateway.toml:16:10: `xml` is not a choice for `format`
    16 | format = "xml"
       |          ^^^^^ write one of "auto", "text", "json"

    gateway.toml:17:10: `loud` is not a log level
    17 | filter = "loud"
       |          ^^^^^^ write "loud=trace" if it is a target; levels are off, error, warn, info, debug, trace
    "#);
}

#[test]
fn carets_line_up_under_tabs_wide_characters_and_long_lines() {
    assert_snapshot!(problems("\tlisten\t=\t\"名前:80\"\t# 後\n"), @r#"
    gateway.toml:1:11: `名前:80` is not an address to listen on
    1 |     listen    =    "名前:80"    # 後
      |                    ^^^^^^^^^ write an IP address and a port, e.g. "127.0.0.1:8000"
    "#);
    assert_snapshot!(problems("[\"日本\"]\n"), @r#"
    gateway.toml:1:2: unknown key `日本`
    1 | ["日本"]
      |  ^^^^^^ known here: `listen`, `http`, `tls`, `auth`, `limits`, `audit`, `shutdown`, `log`, `admin`, `metrics`, `plugins`, `server`
    "#);
    let long = format!(
        "server = [{{ name = \"{}\", plugin = \"a.so\", prefix = \"x\", threads = 1 }}]",
        "n".repeat(64)
    );
    assert_snapshot!(problems(&format!("{long} # {}", "long ".repeat(40))), @r#"
    gateway.toml:1:114: `x` is not a prefix
    1 | …nnnnnnnnnn", plugin = "a.so", prefix = "x", threads = 1 }] # long long long long long long long long long long long lo…
      |                                         ^^^ start it with a slash, e.g. "/greet"
    "#);
    assert_snapshot!(problems("listen = \"\u{1b}[31mred\"\r\n"), @r#"
    gateway.toml:1:11: not valid TOML: a character that a string cannot hold
    1 | listen = "�[31mred"
      |           ^ write it as an escape, e.g. `\u001B`
    "#);
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let folder = tempfile::tempdir().expect("the system has room for a folder");
    let refused = |name: &str, content: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("the folder is ours");
        }
        let error = config::read(&path, None).expect_err("the file is wrong").to_string();
        error.replace(&folder.path().display().to_string(), "etc")
    };
    assert_snapshot!(refused("none.toml", None), @r#"
    there is no file `etc/none.toml`; write one (gateway.example.toml shows every key) or name another with --config
    "#);
    assert_snapshot!(refused("", None), @r#"
    `etc/` is a directory; name the file in it, e.g. `etc/gateway.toml`
    "#);
    assert_snapshot!(refused("latin1.toml", Some(b"# one\n# caf\xe9\n")), @r#"
    `etc/latin1.toml` is not UTF-8 text (line 2); save it as UTF-8
    "#);
    assert_snapshot!(refused("huge.toml", Some(&vec![b'#'; 4 * 1024 * 1024 + 1])), @r#"
    `etc/huge.toml` is larger than 4 MiB; it cannot be a gateway.toml
    "#);
    assert_snapshot!(refused("gateway.toml", Some(b"\xef\xbb\xbflisten = 1\n")), @r#"
    etc/gateway.toml:1:10: `listen` must be a string, not a number
    1 | listen = 1
      |          ^ write e.g. `"127.0.0.1:8000"`
    "#);
}

#[test]
fn variables_are_replaced_in_values_and_settings_keep_their_lines() {
    let text = "listen = \"127.0.0.1:${PORT}\"\n[[server]]\nname = \"${NAME:-greet}\"\nplugin = \"greet.so\"\n\
                prefix = \"/greet\"\n[server.settings]\ngreeting = \"${GREETING} $${x}\"\n[server.settings.deep]\n\
                list = [\n  1,\n  2]\n";
    let variable = |name: &str| match name {
        "PORT" => Some("9000".to_owned()),
        "GREETING" => Some("Hai".to_owned()),
        _ => None,
    };
    let outside = Outside { variable: &variable, ..Outside::NOTHING };
    let config = config::parse(text, Path::new("/etc/gateway/gateway.toml"), outside);
    let config = config.expect("the text is good");
    let [server] = &config.servers[..] else { panic!("the text has one server") };
    assert_eq!(config.listen.port(), 9000);
    assert_eq!(server.name.as_str(), "greet");
    assert_eq!(server.plugin, Path::new("/etc/gateway/greet.so"));
    assert_eq!(server.settings["greeting"], "Hai ${x}");
    assert_eq!(server.line, 2);
    let lines =
        ["/greeting", "/deep/list/1", "/deep/missing", "/missing", ""].map(|at| server.settings_line(at));
    assert_eq!(lines, [7, 11, 8, 6, 6]);
}

#[test]
fn an_empty_file_serves_nothing_with_the_defaults() {
    let config = parse("").expect("nothing is wrong with an empty file");
    assert_eq!(config.listen, Config::LISTEN);
    assert_eq!((config.http, config.shutdown, config.log), Default::default());
    assert!(config.servers.is_empty());
}

#[test]
fn the_shipped_gateway_toml_serves_greet_and_bye() {
    let config = parse(SHIPPED[0].1).expect("the shipped file is good");
    let servers =
        config.servers.iter().map(|server| format!("{} {}", server.prefix, server.plugin.display()));
    assert_eq!(servers.collect::<Vec<_>>(), ["/greet plugins/greet.so", "/bye plugins/bye.so"]);
}

/// The example shows each key with its default, so leaving all of them out must make no difference.
#[test]
fn the_example_documents_every_key_with_its_real_default() {
    let bare = parse(&server("")).expect("the text is good");
    let example = parse(SHIPPED[1].1).expect("the example is good");
    let unplaced = |mut config: Config| {
        for server in &mut config.servers {
            (server.line, server.settings_lines) = Default::default();
        }
        config
    };
    assert_eq!(unplaced(example), unplaced(bare));

    // Tables of which there need be none stand there as comments.
    let whole =
        SHIPPED[1].1.replace("#| ", "").replace("public_url = \"\"", "public_url = \"https://a.example\"");
    let told = parse(&whole).expect_err("there is no file for client certificates").to_string();
    assert_eq!(told.matches("gateway.toml:").count(), 1, "{told}");
    let written: toml::Table = whole.parse().expect("the example is TOML");
    let mut missing = Vec::new();
    missing_keys(config::schema(), &toml::Value::Table(written), "", &mut missing);
    assert!(missing.is_empty(), "gateway.example.toml does not document {missing:?}");
}

fn missing_keys(schema: &serde_json::Value, written: &toml::Value, at: &str, missing: &mut Vec<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        match written.get(key) {
            None => missing.push(at),
            Some(toml::Value::Array(entries)) if schema["items"]["properties"].is_object() => {
                missing_keys(&schema["items"], &entries[0], &at, missing);
            }
            Some(value) => missing_keys(schema, value, &at, missing),
        }
    }
}

/// Editors show the defaults that the schema names.
#[test]
fn the_schema_for_editors_is_current_and_names_the_real_defaults() {
    let mut printed = Vec::new();
    host::cli::schema::print(&mut printed).expect("a Vec takes every byte");
    let printed = String::from_utf8(printed).expect("JSON is UTF-8");
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway.schema.json"));
    assert!(
        committed.unwrap_or_default() == printed,
        "gateway.schema.json is out of date; refresh it: cargo run -p host -- schema > gateway.schema.json"
    );

    let example: toml::Table = SHIPPED[1].1.parse().expect("the example is TOML");
    let example = serde_json::to_value(example).expect("TOML without dates is JSON");
    let server = &config::schema()["properties"]["server"]["items"];
    for (key, property) in server["properties"].as_object().into_iter().flatten() {
        // Of tables of which there need be none there is no default to write down.
        if let Some(default) =
            property.get("default").filter(|_| !property["items"]["properties"].is_object())
        {
            assert_eq!(default, &example["server"][0][key], "server.{key}");
        }
    }
    for table in ["http", "shutdown", "log", "plugins"] {
        assert_eq!(config::schema()["properties"][table]["default"], example[table], "{table}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}|[\\[\\]{}=\",.#\\n\\\\a-c0-9$\t'-]{0,80}") {
        if let Err(problems) = parse(&text) {
            prop_assert!(problems.len() > 0);
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_change_to_a_good_file_makes_the_parser_panic(
        file in 0..SHIPPED.len(),
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        insert in "[\\[\\]{}=\",.#\\n\\\\a-z0-9$\t'é名-]{0,6}|true|-1|\\$\\{X\\}|0\\.5|\\[server\\]|\\[\\[server\\]\\]\n|1979-05-27",
    ) {
        let mut text: Vec<char> = SHIPPED[file].1.chars().collect();
        let at = at.index(text.len());
        text.splice(at..(at + length).min(text.len()), insert.chars());
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse(&text) {
            let starts: Vec<usize> = problems.iter().map(|problem| problem.span.start).collect();
            prop_assert!(starts.is_sorted());
            prop_assert!(!problems.to_string().contains("not what the types accept"));
        }
    }
}
