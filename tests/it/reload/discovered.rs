//! `[plugins] autoload`: plugins that appear, change and go without a word about them in gateway.toml.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Folder, Gateway, built, until};

use super::{
    HEAD, fate, follow, follow_edit, generations, greet_that_says, greeting, metric, servers, steady, table,
    text,
};

const AUTOLOAD: &str = "[plugins]\nautoload = true\n";

/// A gateway that mounts what is in its `plugins/`, in which these are, and what `more` says.
async fn start(plugins: &[&str], more: &str) -> Gateway {
    let folder = Folder::empty();
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    folder.built(plugins).replace("gateway.toml", HEAD.to_owned() + AUTOLOAD + more);
    Gateway::in_folder(&folder).await
}

/// Waits until it has looked at everything once more.
async fn look(gateway: &Gateway) {
    assert!(gateway.files().run(&["reload"]).starts_with("exit "));
}

/// The files that are no servers, each with the reason.
async fn ignored(gateway: &Gateway) -> String {
    let told = servers(gateway).await;
    let line = |row: &Value| format!("{}: {}", text(&row["file"]), text(&row["reason"]));
    let lines = told["reload"]["ignored"].as_array().expect("a list").iter().map(line);
    steady(gateway, &lines.collect::<Vec<_>>().join("\n"))
}

#[tokio::test]
async fn a_plugin_is_mounted_when_it_appears_swapped_when_it_changes_and_unmounted_when_it_goes() {
    let gateway = start(&["greet"], "").await;
    let told = servers(&gateway).await;
    assert_eq!(
        (&told["servers"][0]["name"], &told["servers"][0]["discovered"]),
        (&json!("greet"), &json!(true))
    );

    // It is called as the plugin calls itself, not as the file is called.
    let event = follow_edit(&gateway, |folder| _ = folder.install("something-else", &built("bye"))).await;
    assert_eq!(event["changes"], "bye added");
    assert_eq!(gateway.get("/bye/tools").await.status.as_u16(), 200);
    assert_eq!(generations(&gateway).await, [("greet".to_owned(), 1), ("bye".to_owned(), 2)]);

    let event = follow_edit(&gateway, |folder| _ = folder.install("greet", &greet_that_says("Howdy"))).await;
    assert_eq!(event["changes"], "greet swapped");
    assert_eq!(greeting(&gateway, "/greet").await, "Howdy, Ada!");

    let mark = gateway.mark();
    let remove =
        |folder: &Folder| fs::remove_file(folder.path().join("plugins/greet.so")).expect("it is there");
    assert_eq!(follow_edit(&gateway, remove).await["changes"], "greet removed");
    assert_eq!(fate(&gateway, mark, "greet").await, "gone");
    assert_eq!(gateway.get("/greet/tools").await.status.as_u16(), 404);
    assert_eq!(generations(&gateway).await, [("bye".to_owned(), 2)]);
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_name_that_is_taken_is_said_to_be_and_a_table_comes_first() {
    let mine = table("greet").replace("plugins/", "mine/");
    let folder = Folder::empty();
    folder.replace("mine/greet.so", built("greet")).install("greet", &greet_that_says("Other"));
    folder
        .install("copy-of-bye", &built("bye"))
        .install("bye", &built("bye"))
        .file(".hidden", &built("math"));
    folder.replace("gateway.toml", HEAD.to_owned() + AUTOLOAD + &mine);
    let gateway = Gateway::in_folder(&folder).await;
    assert_eq!(generations(&gateway).await, [("greet".to_owned(), 1), ("bye".to_owned(), 2)]);
    assert_eq!(greeting(&gateway, "/greet").await, "Hello, Ada!");
    look(&gateway).await;
    assert_snapshot!(ignored(&gateway).await, @r"
    plugins/copy-of-bye.so: the plugin calls itself `bye`: server `bye` (`plugins/bye.so`) has that name or prefix; give it a `[[server]]` table with a name and prefix of its own
    plugins/greet.so: the plugin calls itself `greet`: server `greet` (`mine/greet.so`) has that name or prefix; give it a `[[server]]` table with a name and prefix of its own
    ");

    // With a table of its own it is a server of that name.
    let other = table("greet").replace("\"greet\"", "\"other\"").replace("\"/greet\"", "\"/other\"");
    let event = follow(&gateway, &(HEAD.to_owned() + AUTOLOAD + &mine + &other)).await;
    assert_eq!(
        (&event["changes"], greeting(&gateway, "/other").await),
        (&json!("other added"), "Other, Ada!".into())
    );
    assert_eq!(ignored(&gateway).await.lines().count(), 1);

    let event = follow(&gateway, &(HEAD.to_owned() + &mine + &other)).await;
    assert_eq!((&event["changes"], &event["settings"]), (&json!("bye removed"), &json!("plugins")));
}

#[tokio::test]
async fn a_file_that_becomes_garbage_leaves_the_old_generation_and_one_that_always_was_holds_up_nobody() {
    let gateway = start(&["greet"], "").await;
    let mark = gateway.mark();
    gateway.files().file("greet", b"no library");
    gateway.event_since(mark, "reload refused", |_| true).await;
    assert_eq!(
        (greeting(&gateway, "/greet").await, generations(&gateway).await),
        ("Hello, Ada!".into(), vec![("greet".to_owned(), 1)])
    );
    assert_snapshot!(text(&servers(&gateway).await["servers"][0]["refused"]["reason"]), @"server `greet`: cannot use `plugins/greet.so`: it is not a 64-bit ELF shared library; name the `.so` that cargo makes of a `cdylib` crate");

    let mark = gateway.mark();
    fs::create_dir(gateway.folder().join("plugins/directory.so")).expect("a folder");
    symlink("nowhere", gateway.folder().join("plugins/link.so")).expect("a link");
    gateway.files().file("noise", b"noise").install("declines", &built("declines_start"));
    gateway.event_since(mark, "server failed", |event| event["server"] == "noise").await;
    let event = follow_edit(&gateway, |folder| _ = folder.install("bye", &built("bye"))).await;
    assert!(text(&event["changes"]).contains("bye added"), "{event}");
    let said = gateway.files().run_and_talk(&["servers"]);
    // They may have been found one after the other.
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_snapshot!(lines.join("\n"), @r#"
      bye             /bye             generation 2  1 tool  running
      declines_start  /declines_start                        failed: server `declines_start`: `[server.settings]` does not fit the plugin: "reason" is a required property; give it a `[[server]]` table with settings
      directory       /directory                             failed: server `directory`: cannot use `plugins/directory.so`: it is not a regular file
      greet           /greet           generation 1  1 tool  running; what is on the disk is refused: server `greet`: cannot use `plugins/greet.so`: it is not a 64-bit ELF shared library; name the `.so` that cargo makes of a `cdylib` crate
      link            /link                                  failed: server `link`: cannot read `plugins/link.so`: No such file or directory (os error 2)
      noise           /noise                                 failed: server `noise`: cannot use `plugins/noise.so`: it is not a 64-bit ELF shared library; name the `.so` that cargo makes of a `cdylib` crate
    exit 1
    "#);
    assert_eq!(metric(&gateway, "gateway_reload_in_effect").await.as_deref(), Some("0"));

    let mark = gateway.mark();
    gateway.files().install("greet", &greet_that_says("Howdy"));
    gateway.event_since(mark, "reloaded", |event| text(&event["changes"]).contains("greet swapped")).await;
    assert_eq!(greeting(&gateway, "/greet").await, "Howdy, Ada!");
}

#[tokio::test]
async fn a_file_that_becomes_another_plugin_that_does_not_serve_leaves_the_one_that_does() {
    let gateway = start(&["bye", "greet", "math"], "").await;
    let before = generations(&gateway).await;
    let mark = gateway.mark();
    // One that does not start, and one whose name is taken.
    gateway.files().install("math", &built("declines_start"));
    gateway.event_since(mark, "reload refused", |event| event["server"] == "math").await;
    gateway.files().install("bye", &greet_that_says("Howdy"));
    gateway.event_since(mark, "reload refused", |event| event["server"] == "bye").await;
    let now: std::collections::BTreeMap<_, _> = generations(&gateway).await.into_iter().collect();
    assert_eq!(
        (greeting(&gateway, "/greet").await, now),
        ("Hello, Ada!".into(), before.into_iter().collect())
    );
    let told = servers(&gateway).await;
    let refused = told["reload"]["refused"].as_array().expect("a list");
    let rows: std::collections::BTreeSet<_> =
        refused.iter().map(|row| (text(&row["server"]), text(&row["code"]))).collect();
    assert_eq!(rows, ["bye", "math"].map(|server| (server.to_owned(), "other_plugin".to_owned())).into());

    gateway.files().install("math", &built("changes_its_mind"));
    let event = gateway.event_since(mark, "reloaded", |_| true).await;
    assert_eq!(event["changes"], "changes_its_mind added, math removed");
}

#[tokio::test]
async fn a_table_takes_the_place_of_a_discovered_server() {
    let gateway = start(&["bye"], "").await;
    let event = follow_edit(&gateway, |folder| {
        let table = "[[server]]\nname = \"other\"\nplugin = \"plugins/greet.so\"\nprefix = \"/bye\"\n";
        folder.install("greet", &built("greet")).replace("gateway.toml", HEAD.to_owned() + AUTOLOAD + table);
    })
    .await;
    assert_eq!(event["changes"], "other added, bye removed");
    assert_eq!(greeting(&gateway, "/bye").await, "Hello, Ada!");
}

#[tokio::test]
async fn a_file_is_not_loaded_while_it_is_being_written() {
    let gateway = start(&["greet"], "").await;
    let library = built("bye");
    let (first, rest) = library.split_at(library.len() / 2);
    let path = gateway.folder().join("plugins/bye.so");
    let mut file = File::create(&path).expect("a file");
    file.write_all(first).expect("room");
    let mark = gateway.mark();
    gateway.files().install("math", &built("math"));
    let (mut pieces, mut longest, mut last) = (rest.chunks(64), Duration::ZERO, Instant::now());
    until("it has looked, and mounted another", async || {
        file.write_all(pieces.next().expect("there is more")).expect("room");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        let is_it = |event: &Value| text(&event["changes"]).contains("math added");
        gateway.logged_since(mark).iter().any(is_it)
    })
    .await;
    assert_eq!(gateway.get("/bye/tools").await.status.as_u16(), 404);
    pieces.for_each(|piece| file.write_all(piece).expect("room"));
    gateway.event_since(mark, "reloaded", |event| text(&event["changes"]).contains("bye added")).await;
    let refused = gateway.logged_since(mark).iter().any(|event| event["message"] == "reload refused");
    // After a longer pause half of it may well be taken for all there is to come.
    assert!(!refused || longest > Duration::from_millis(100), "half of it was looked at");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_no_reason_to_unmount_anything() {
    let gateway = start(&["greet"], "").await;
    let folder = |name: &str| gateway.folder().join(name);
    let mark = gateway.mark();
    fs::rename(folder("plugins"), folder("away")).expect("it is there");
    gateway.event_since(mark, "reload refused", |_| true).await;
    look(&gateway).await;
    assert_eq!(
        (greeting(&gateway, "/greet").await, generations(&gateway).await),
        ("Hello, Ada!".into(), vec![("greet".to_owned(), 1)])
    );
    let told = servers(&gateway).await;
    let said: String = told["reload"]["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| text(&row["reason"]) + "\n")
        .collect();
    assert_snapshot!(steady(&gateway, &said), @r"
    `plugins`: `[plugins] autoload` looks there, and cannot: No such file or directory (os error 2); make the folder, or set `autoload = false`
    server `greet`: cannot read `plugins/greet.so`: No such file or directory (os error 2)
    ");
    fs::rename(folder("away"), folder("plugins")).expect("it is there");
    look(&gateway).await;
    assert_eq!(servers(&gateway).await["reload"]["outcome"], "unchanged");
    assert_eq!(generations(&gateway).await, [("greet".to_owned(), 1)]);
}

#[tokio::test]
async fn a_gateway_starts_without_the_folder_and_finds_it_later() {
    let folder = Folder::empty();
    folder.replace("gateway.toml", HEAD.to_owned() + AUTOLOAD);
    let gateway = Gateway::in_folder(&folder).await;
    let warned = gateway.event("file in the plugins folder ignored").await;
    assert_snapshot!(format!("{} {}", text(&warned["file"]), text(&warned["reason"])), @"plugins `[plugins] autoload` looks there, and cannot: No such file or directory (os error 2); make the folder, or set `autoload = false`");
    let event = follow_edit(&gateway, |folder| _ = folder.install("greet", &built("greet"))).await;
    assert_eq!(
        (&event["changes"], greeting(&gateway, "/greet").await),
        (&json!("greet added"), "Hello, Ada!".into())
    );
}
