//! Libraries that are replaced in each of the ways in which that is done.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::symlink,
    path::Path,
    process::Stdio,
    time::SystemTime,
};

use insta::assert_snapshot;
use tests::{Folder, Gateway, built, command, until};

use super::{
    HEAD, fate, follow_edit, generations, greet_that_says, greeting, metric, servers, start, table, toml,
};

/// Points the link at `path` elsewhere at one stroke, as Kubernetes and `ln -sfn` through a rename do.
fn point(path: &Path, target: &str) {
    let temporary = path.with_file_name("link.tmp");
    symlink(target, &temporary).expect("a link");
    fs::rename(temporary, path).expect("they are in one folder");
}

#[tokio::test]
async fn a_library_is_followed_however_it_is_replaced() {
    let gateway = start(&["greet", "bye"]).await;
    let bye = generations(&gateway).await[1].clone();
    let check = async |word: &str, edit: &dyn Fn(&Folder, &[u8])| {
        let library = greet_that_says(word);
        let mark = gateway.mark();
        let event = follow_edit(&gateway, |folder| edit(folder, &library)).await;
        assert_eq!(event["changes"], "greet swapped", "{word}");
        assert_eq!(greeting(&gateway, "/greet").await, format!("{word}, Ada!"));
        assert_eq!(fate(&gateway, mark, "greet").await, "gone", "{word}");
    };
    check("Renam", &|folder, library| _ = folder.install("greet", library)).await;
    check("Overw", &|folder, library| {
        fs::write(folder.path().join("plugins/greet.so"), library).expect("a file")
    })
    .await;
    check("Piece", &|folder, library| {
        let mut file = File::create(folder.path().join("plugins/greet.so")).expect("a file");
        library.chunks(1 << 20).for_each(|piece| file.write_all(piece).expect("room"));
    })
    .await;
    check("Anew!", &|folder, library| {
        fs::remove_file(folder.path().join("plugins/greet.so")).expect("it is there");
        fs::write(folder.path().join("plugins/greet.so"), library).expect("a file");
    })
    .await;
    check("Link1", &|folder, library| {
        folder.replace("builds/1", library);
        point(&folder.path().join("plugins/greet.so"), "../builds/1");
    })
    .await;
    check("Link2", &|folder, library| {
        folder.replace("builds/2", library);
        point(&folder.path().join("plugins/greet.so"), "../builds/2");
    })
    .await;
    check("Behin", &|folder, library| _ = folder.replace("builds/2", library)).await;
    // As old as the epoch, and of the same length as the one before.
    check("Stamp", &|folder, library| {
        fs::write(folder.path().join("builds/2"), library).expect("a file");
        let file = OpenOptions::new().write(true).open(folder.path().join("builds/2")).expect("it is there");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("the file is ours");
    })
    .await;
    assert_eq!(generations(&gateway).await[1], bye);
}

#[tokio::test]
async fn kubernetes_swaps_gateway_toml_and_a_library_by_one_link_two_levels_up() {
    let folder = Folder::empty();
    let version = |number: usize, names: &[&str], word: &str| {
        folder.replace(&format!("..v{number}/gateway.toml"), toml(names));
        folder.replace(&format!("..v{number}/greet.so"), greet_that_says(word));
        point(&folder.path().join("..data"), &format!("..v{number}"));
    };
    version(1, &["greet"], "First");
    folder.built(&["bye"]);
    symlink("..data/gateway.toml", folder.path().join("gateway.toml")).expect("a link");
    symlink("../..data/greet.so", folder.path().join("plugins/greet.so")).expect("a link");
    let gateway = Gateway::in_folder(&folder).await;
    assert_eq!(greeting(&gateway, "/greet").await, "First, Ada!");

    let event = follow_edit(&gateway, |folder| {
        version(2, &["greet", "bye"], "Again");
        fs::remove_dir_all(folder.path().join("..v1")).expect("it is there");
    })
    .await;
    assert_eq!(event["changes"], "greet swapped, bye added");
    assert_eq!(greeting(&gateway, "/greet").await, "Again, Ada!");
    // It was found by the link's own name, not by the target's.
    assert!(folder.run(&["servers"]).starts_with("exit 0\n"));
}

#[tokio::test]
async fn a_file_that_is_touched_or_replaced_by_itself_swaps_nothing() {
    let gateway = start(&["greet", "bye"]).await;
    let before = generations(&gateway).await;
    let mark = gateway.mark();
    let unchanged = async || {
        let series = "gateway_reloads_total{outcome=\"unchanged\"}";
        metric(&gateway, series).await.expect("it is told").parse::<u32>().expect("a number")
    };
    let touch = |path: &str| {
        let file = OpenOptions::new().write(true).open(gateway.folder().join(path)).expect("it is there");
        file.set_modified(SystemTime::now()).expect("the file is ours");
    };
    let edits: [(&str, &dyn Fn()); 5] = [
        ("touched", &|| touch("plugins/greet.so")),
        ("renamed", &|| _ = gateway.files().install("greet", &built("greet"))),
        ("written", &|| _ = gateway.files().file("greet", &built("greet"))),
        ("gateway.toml touched", &|| touch("gateway.toml")),
        ("gateway.toml renamed", &|| _ = gateway.files().replace("gateway.toml", toml(&["greet", "bye"]))),
    ];
    for (kind, edit) in edits {
        let seen = unchanged().await;
        edit();
        until("it has looked", async || unchanged().await > seen).await;
        assert_eq!(generations(&gateway).await, before, "{kind}");
    }
    assert_eq!(gateway.logged_since(mark), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn ten_edits_and_ten_requests_at_once_end_in_the_last_state() {
    let gateway = start(&["greet", "bye"]).await;
    let bye = generations(&gateway).await[1].clone();
    let folder = gateway.files().clone();
    let asking: Vec<_> = (0..10)
        .map(|number| {
            let moved = HEAD.to_owned()
                + &table("greet").replace("\"/greet\"", &format!("\"/g{number}\""))
                + &table("bye");
            folder.replace("gateway.toml", moved);
            folder.install("greet", &greet_that_says(&format!("Word{number}")));
            let mut command = command(folder.path());
            command.arg("reload").stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("the gateway can be started")
        })
        .collect();
    for mut asking in asking {
        let status = tokio::task::spawn_blocking(move || asking.wait()).await.expect("no panic");
        assert_eq!(status.expect("it was started").code(), Some(0));
    }
    // Each was answered after a look that began after it was asked for.
    assert_eq!(greeting(&gateway, "/g9").await, "Word9, Ada!");
    assert_eq!(generations(&gateway).await[1], bye);
    assert_eq!(gateway.get("/g8/tools").await.status.as_u16(), 404);
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let count = |message: &str| log.iter().filter(|event| event["message"] == message).count();
    assert_eq!(count("server loaded"), count("server unloaded"));
    assert!(!crate::unload::unloaded(&log).contains("kept"), "{}", crate::unload::unloaded(&log));
}

#[tokio::test]
async fn sighup_asks_for_a_look_and_what_came_of_it_is_in_the_log() {
    let gateway = start(&["greet"]).await;
    gateway.signal("HUP");
    assert_eq!(gateway.event("nothing to reload").await["trigger"], "signal");
    let mark = gateway.mark();
    gateway.files().replace("gateway.toml", "lisen = 1\n");
    gateway.signal("HUP");
    let event = gateway.event_since(mark, "reload refused", |_| true).await;
    assert_snapshot!(event["reason"].as_str().expect("a text"), @"line 1, column 1: unknown key `lisen`; did you mean `listen`?");
    gateway.files().replace("gateway.toml", toml(&[]));
    gateway.signal("HUP");
    assert_eq!(gateway.event_since(mark, "reloaded", |_| true).await["changes"], "greet removed");
    assert_eq!(servers(&gateway).await["servers"], serde_json::json!([]));
}
