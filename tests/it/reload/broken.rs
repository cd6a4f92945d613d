//! Edits that cannot be followed: what served before serves on, and the reason is to be seen everywhere.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use insta::assert_snapshot;
use serde_json::Value;
use tests::{Folder, Gateway, artifacts, built};

use super::{
    HEAD, generations, greet_that_says, greeting, metric, servers, start, steady, table, text, toml,
};

/// A kind of edit that cannot be followed.
type Kind = (&'static str, Box<dyn Fn(&Folder)>);

const SERVERS: [&str; 3] = ["greet", "bye", "math"];

/// gateway.toml becomes this.
fn written(name: &'static str, toml: impl Into<Vec<u8>>) -> Kind {
    let toml = toml.into();
    (name, Box::new(move |folder| _ = folder.replace("gateway.toml", &toml)))
}

/// A good gateway.toml with `from` written as `to`.
fn edited(name: &'static str, from: &str, to: &str) -> Kind {
    let good = toml(&SERVERS);
    assert!(good.contains(from), "{from}");
    written(name, good.replacen(from, to, 1))
}

/// A good gateway.toml, with one more server: this fixture.
fn with_server(name: &'static str, fixture: &str, more: &str) -> Kind {
    let file = artifacts().join(format!("{fixture}.so"));
    let table = format!("[[server]]\nname = \"new\"\nplugin = {file:?}\nprefix = \"/new\"\n{more}\n");
    written(name, toml(&SERVERS) + &table)
}

/// This is done to the library of greet.
fn library(name: &'static str, edit: impl Fn(&Path) + 'static) -> Kind {
    (name, Box::new(move |folder| edit(&folder.path().join("plugins/greet.so"))))
}

/// Something else is put in the place of the library of greet.
fn replaced(name: &'static str, bytes: Vec<u8>) -> Kind {
    (name, Box::new(move |folder| _ = folder.install("greet", &bytes)))
}

/// All three answer, by the generations that did so before.
async fn check_serves_on(gateway: &Gateway, kind: &str, word: &str, before: &[(String, u64)]) {
    assert_eq!(generations(gateway).await, before, "{kind}");
    assert_eq!(greeting(gateway, "/greet").await, format!("{word}, Ada!"), "{kind}");
    let bye = gateway.post("/bye/tools/echoBye", r#"{"userName":"Ada"}"#).await;
    assert_eq!(bye.body, r#"{"result":"Bye, Ada!"}"#, "{kind}");
    let sum = gateway.post("/math/tools/add", r#"{"a":2,"b":3}"#).await;
    assert_eq!(sum.body, r#"{"result":5.0}"#, "{kind}");
}

/// What `/servers`, the log and the metrics say of the last edit, which is the same.
async fn reasons(gateway: &Gateway, kind: &str, logged: &[Value]) -> String {
    let told = servers(gateway).await;
    let reload = &told["reload"];
    assert_eq!(reload["outcome"], "refused", "{kind}");
    assert_eq!(metric(gateway, "gateway_reload_in_effect").await.as_deref(), Some("0"), "{kind}");
    let mut lines = String::new();
    for refused in reload["refused"].as_array().expect("a list") {
        let (code, reason) = (text(&refused["code"]), text(&refused["reason"]));
        let in_log = |event: &&Value| {
            event["message"] == "reload refused"
                && event["code"] == *code
                && event["server"] == refused["server"]
                && text(&event["reason"]).ends_with(&reason)
        };
        assert_eq!(logged.iter().filter(in_log).count(), 1, "{kind}: {reason}: {logged:#?}");
        let series = format!("gateway_reload_refused{{code=\"{code}\"}}");
        assert!(metric(gateway, &series).await.is_some(), "{kind}: {series}");
        if let Some(server) = refused["server"].as_str().filter(|server| SERVERS.contains(server)) {
            let all = told["servers"].as_array().expect("a list");
            let row = all.iter().find(|row| row["name"] == server).expect("it serves");
            assert_eq!(row["refused"]["reason"], *reason, "{kind}");
        }
        let line = refused["line"].as_u64().map(|line| format!("line {line}: ")).unwrap_or_default();
        lines += &format!("\n    {code}: {line}{}", steady(gateway, &reason));
    }
    lines
}

/// How an edit comes to the gateway's notice.
enum Noticed {
    /// It looks.
    ByItself,
    /// `gateway reload`, which ends with this exit code.
    OnRequest(i32),
}

/// Breaks something in each of these ways, and repairs it again by `repair`, which is told how many there were and says how
/// greet greets from then on. A line for each, with the reasons.
async fn refusals(kinds: Vec<Kind>, noticed: Noticed, repair: impl Fn(&Folder, usize) -> String) -> String {
    let gateway = start(&SERVERS).await;
    let (mut lines, mut word) = (String::new(), "Hello".to_owned());
    for (at, (kind, edit)) in kinds.into_iter().enumerate() {
        let (before, mark) = (generations(&gateway).await, gateway.mark());
        edit(gateway.files());
        if let Noticed::OnRequest(code) = noticed {
            let told = gateway.files().run_and_talk(&["reload"]);
            assert!(told.starts_with(&format!("exit {code}\n")), "{kind}: {told}");
        }
        gateway.event_since(mark, "reload refused", |_| true).await;
        check_serves_on(&gateway, kind, &word, &before).await;
        lines += &format!("{kind}{}\n", reasons(&gateway, kind, &gateway.logged_since(mark)).await);

        let mark = gateway.mark();
        word = repair(gateway.files(), at);
        let told = gateway.files().run_and_talk(&["reload"]);
        assert!(told.starts_with("exit 0\n") && !told.contains('!'), "{kind}: {told}");
        let event = gateway.event_since(mark, "reloaded", |_| true).await;
        assert_eq!(event["trigger"], "request", "{kind}");
        assert_eq!(metric(&gateway, "gateway_reload_in_effect").await.as_deref(), Some("1"), "{kind}");
        assert_ne!(generations(&gateway).await, before, "{kind}");
        assert_eq!(greeting(&gateway, "/greet").await, format!("{word}, Ada!"), "{kind}");
    }
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.0, Some(0));
    lines
}

/// A good gateway.toml, each time another one.
fn with_another_timeout(folder: &Folder, at: usize) -> String {
    folder.replace("gateway.toml", toml(&SERVERS) + &format!("call_timeout = \"{}s\"\n", at + 1));
    "Hello".into()
}

/// A good library, each time another one.
fn with_another_greet(folder: &Folder, at: usize) -> String {
    let word = format!("Ahoy{}", char::from(b'a' + u8::try_from(at).expect("there are not so many")));
    folder.install("greet", &greet_that_says(&word));
    word
}

#[tokio::test]
async fn a_gateway_toml_that_is_wrong_is_refused_as_a_whole() {
    let toml_is = |edit: fn(&Path)| -> Box<dyn Fn(&Folder)> {
        Box::new(move |folder| edit(&folder.path().join("gateway.toml")))
    };
    let kinds = vec![
        edited("it does not parse", "listen = \"127.0.0.1:0\"", "listen = 127.0.0.1:0"),
        edited("it breaks off in the middle of a word", "prefix = \"/math\"\n", "pref"),
        edited("an unknown key", "prefix = \"/bye\"", "prefix = \"/bye\"\ntimeout = \"5s\""),
        edited("a value of the wrong kind", "name = \"bye\"", "name = 7"),
        edited("a variable that is not set", "\"/bye\"", "\"/${GATEWAY_TEST_IS_NOT_SET}\""),
        edited("a name that is taken", "name = \"bye\"", "name = \"greet\""),
        edited("a prefix that is taken", "\"/bye\"", "\"/greet\""),
        edited("a prefix within another", "\"/bye\"", "\"/greet/bye\""),
        edited("a prefix of the gateway itself", "\"/bye\"", "\"/docs\""),
        edited("a duration without a unit", "prefix = \"/bye\"", "prefix = \"/bye\"\ncall_timeout = \"5\""),
        edited("an address to listen on that is none", "127.0.0.1:0", "localhost"),
        edited("a secret that is too short", "[log]", "[http]\nstate_secret = \"short\"\n[log]"),
        edited("two mistakes at once", "\"/bye\"", "\"/greet\"\nthreads = 0"),
        written("it is not UTF-8", b"listen = \"\xff\"\n"),
        written("it is larger than any", vec![b'#'; 5 << 20]),
        written("it is empty", ""),
        ("it is deleted", toml_is(|path| fs::remove_file(path).expect("it is there"))),
        (
            "a directory is in its place",
            toml_is(|path| {
                fs::remove_file(path).expect("it is there");
                fs::create_dir(path).expect("a folder");
            }),
        ),
        (
            "a fifo is in its place",
            toml_is(|path| {
                fs::remove_file(path).expect("it is there");
                make_fifo(path);
            }),
        ),
        (
            "a link to nothing is in its place",
            toml_is(|path| {
                fs::remove_file(path).expect("it is there");
                symlink("nothing", path).expect("a link");
            }),
        ),
    ];
    assert_snapshot!(refusals(kinds, Noticed::OnRequest(2), with_another_timeout).await);
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo makes a fifo");
}

#[tokio::test]
async fn a_server_that_does_not_start_takes_the_whole_edit_back() {
    let other = "0".repeat(64);
    let settings = "prefix = \"/greet\"\nsettings = { greeting = \"secret\" }";
    let pinned = format!("prefix = \"/greet\"\nsha256 = \"{other}\"");
    let (math, broken) = (table("math"), table("math").replace("plugins/math.so", "plugins/nowhere.so"));
    let kinds = vec![
        edited("a path with nothing at it", "plugins/bye.so", "plugins/nowhere.so"),
        edited("settings that the plugin does not know", "prefix = \"/greet\"", settings),
        edited("a checksum that does not fit", "prefix = \"/greet\"", &pinned),
        with_server("it declines to start", "declines_start", "settings.reason = \"it is Sunday\""),
        with_server("it never gets ready", "never_ready", "start_timeout = \"2s\""),
        with_server("it hangs while it is opened", "hangs_in_constructor", "start_timeout = \"1s\""),
        with_server("it crashes while it is opened", "crashes_in_constructor", ""),
        with_server("it exits while it is opened", "exits_in_constructor", ""),
        with_server("it panics while it is made", "panics_at_creation", ""),
        with_server("it is no plugin", "no_root_module", ""),
        with_server("it has another layout", "other_layout", ""),
        with_server("it has a bad schema", "bad_schema", ""),
        with_server("it needs a library that nobody allowed", "needs_another_library", ""),
        written(
            "one is moved and one is gone, and a third does not start",
            HEAD.to_owned() + &table("greet").replace("\"/greet\"", "\"/hi\"") + &broken,
        ),
        edited("two do not start", &math, &(broken.clone() + &broken.replace("math", "more"))),
    ];
    assert_snapshot!(refusals(kinds, Noticed::OnRequest(1), with_another_timeout).await);
}

#[tokio::test]
async fn a_library_that_is_broken_does_not_replace_the_one_that_serves() {
    let greet = built("greet");
    let kinds = vec![
        library("it is overwritten in place by something else", |path| {
            fs::write(path, "no library".repeat(1000)).expect("a file");
        }),
        library("it is overwritten in place by noise that begins as a library does", |path| {
            let mut bytes = built("greet");
            bytes[64..].iter_mut().for_each(|byte| *byte ^= 0x5a);
            fs::write(path, bytes).expect("a file");
        }),
        library("it is truncated in place", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("it is there");
            file.set_len(1 << 20).expect("it can be truncated");
        }),
        library("it is truncated to nothing", |path| drop(fs::File::create(path).expect("a file"))),
        library("it is deleted", |path| fs::remove_file(path).expect("it is there")),
        library("a directory is in its place", |path| {
            fs::remove_file(path).expect("it is there");
            fs::create_dir(path).expect("a folder");
        }),
        library("a fifo is in its place", |path| {
            fs::remove_file(path).expect("it is there");
            make_fifo(path);
        }),
        library("a link to nothing is in its place", |path| {
            fs::remove_file(path).expect("it is there");
            symlink("nothing.so", path).expect("a link");
        }),
        library("everybody may write it", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("the file is ours");
        }),
        replaced("an empty one is in its place", Vec::new()),
        replaced("the first half of one is in its place", greet[..greet.len() / 2].to_vec()),
        replaced("a plugin that is not ours is in its place", built("no_root_module")),
        replaced("one with another layout is in its place", built("other_layout")),
        replaced("one with a bad schema is in its place", built("bad_schema")),
        replaced("one that crashes while it is opened is in its place", built("crashes_in_constructor")),
        replaced("one that panics while it is made is in its place", built("panics_at_creation")),
        replaced("one that wants settings is in its place", built("declines_start")),
    ];
    assert_snapshot!(refusals(kinds, Noticed::ByItself, with_another_greet).await);
}
