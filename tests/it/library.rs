//! What a load maps, an unload unmaps. Each test opens libraries, so each runs in a child process.

use std::{fs, sync::Barrier, thread};

use host::{
    load::{Answer, Instance, PluginFile, Unloaded, prepare_process},
    unload::unload_all,
};
use serde_json::json;
use tests::{
    artifacts, built, in_child,
    loaded::{call, entry_of, load, load_entries, outcome, runtime},
    process::{open_files, resident_kib, staged_mappings, thread_count},
};

#[test]
fn a_loaded_library_is_mapped_and_an_unloaded_one_is_not() {
    in_child("library::a_loaded_library_is_mapped_and_an_unloaded_one_is_not", || {
        let running = load(&["greet", "bye"]);
        for name in ["greet", "bye"] {
            let maps = fs::read_to_string("/proc/self/maps").expect("Linux has it");
            assert!(maps.lines().any(|line| line.ends_with(&format!("/{name}.so"))), "{name} in {maps}");
        }
        let unloaded = unload_all(&running);
        let names: Vec<&str> = unloaded.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bye", "greet"], "last to first");
        assert!(unloaded.iter().all(|(_, became)| *became == Unloaded::Gone), "{unloaded:?}");
        assert_eq!(staged_mappings(), 0);
    });
}

#[test]
fn a_hundred_loadings_leave_no_mapping_no_thread_and_no_file() {
    in_child("library::a_hundred_loadings_leave_no_mapping_no_thread_and_no_file", || {
        let runtime = runtime();
        let round = || {
            let running = load(&["greet", "math"]);
            let greeted = runtime.block_on(call(&running[0], "echoHai", json!({ "userName": "Ada" })));
            assert_eq!(greeted["structuredContent"], json!({ "result": "Hello, Ada!" }));
            assert!(unload_all(&running).iter().all(|(_, became)| *became == Unloaded::Gone));
            assert_eq!(staged_mappings(), 0);
        };
        round();
        let before = (thread_count(), open_files());
        (0..50).for_each(|_| round());
        assert_eq!((thread_count(), open_files()), before);
    });
}

#[test]
fn a_library_goes_although_calls_are_under_way_and_none_is_left_open() {
    in_child("library::a_library_goes_although_calls_are_under_way_and_none_is_left_open", || {
        let running = load(&["holds_calls"]);
        let folder = tempfile::tempdir().expect("a folder");
        let held = outcome(&running[0], "hold", json!({ "directory": folder.path() }));
        let unloaded = async {
            while !folder.path().join("started").exists() {
                tokio::task::yield_now().await;
            }
            assert_eq!(running[0].calls_open(), 1);
            unload_all(&running)
        };
        let (held, unloaded) = runtime().block_on(async { tokio::join!(held, unloaded) });
        assert!(matches!(held, Answer::Gone), "{held:?}");
        assert_eq!(unloaded[0].1, Unloaded::Gone);
        assert_eq!((running[0].calls_open(), staged_mappings()), (0, 0));
    });
}

#[test]
fn what_is_loaded_is_not_what_comes_to_lie_at_its_path() {
    in_child("library::what_is_loaded_is_not_what_comes_to_lie_at_its_path", || {
        let runtime = runtime();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugin.so");
        let load = || load_entries(&[entry_of("server", path.clone())]).remove(0);
        let says = |instance: &Instance, tool: &str| {
            let answer = runtime.block_on(call(instance, tool, json!({ "userName": "Ada" })));
            answer["structuredContent"]["result"].clone()
        };
        // In place: the same file, by name and by inode, with less in it, then with something else.
        fs::write(&path, built("greet")).expect("a file");
        let first = load();
        fs::write(&path, "").expect("a file");
        assert_eq!(says(&first, "echoHai"), "Hello, Ada!");
        fs::write(&path, built("bye")).expect("a file");
        let second = load();
        let third = load();
        assert_eq!(says(&first, "echoHai"), "Hello, Ada!");
        assert_eq!([says(&second, "echoBye"), says(&third, "echoBye")], ["Bye, Ada!", "Bye, Ada!"]);
        let unloaded = unload_all(&[first, second, third]);
        assert!(unloaded.iter().all(|(_, became)| *became == Unloaded::Gone), "{unloaded:?}");
        assert_eq!(staged_mappings(), 0);
    });
}

#[test]
fn a_file_that_was_read_leaves_no_memory_behind() {
    const READERS: usize = 4;
    in_child("library::a_file_that_was_read_leaves_no_memory_behind", || {
        prepare_process();
        let path = artifacts().join("greet.so");
        let read = || PluginFile::read(&path).expect("it can be read").map(|file| file.bytes.len());
        let file_kib = read().expect("it is a file") >> 10;
        let before = resident_kib();
        // All of them still there when it is counted: what a thread has is given back when it ends.
        let (have_read, counted) = (Barrier::new(READERS + 1), Barrier::new(READERS + 1));
        let kept = thread::scope(|scope| {
            let reader = || {
                // The second time is the one that would find the first one's size remembered.
                (0..2).for_each(|_| drop(read()));
                have_read.wait();
                counted.wait();
            };
            (0..READERS).for_each(|_| drop(scope.spawn(reader)));
            have_read.wait();
            let kept = resident_kib().saturating_sub(before);
            counted.wait();
            kept
        });
        assert!(kept < file_kib / 4, "{kept} KiB are kept after {READERS} threads read {file_kib} KiB");
    });
}

#[test]
fn a_plugin_serves_many_calls_at_once() {
    in_child("library::a_plugin_serves_many_calls_at_once", || {
        let running = load(&["holds_calls"]);
        let folder = tempfile::tempdir().expect("a folder");
        runtime().block_on(async {
            let held = call(&running[0], "hold", json!({ "directory": folder.path() }));
            let counted = async {
                while !folder.path().join("started").exists() {
                    tokio::task::yield_now().await;
                }
                let calls = (0..500).map(|to| call(&running[0], "count", json!({ "to": to })));
                let counted = futures_util::future::join_all(calls).await;
                fs::write(folder.path().join("release"), "").expect("a file");
                counted
            };
            let (held, counted) = tokio::join!(held, counted);
            assert_eq!(held["structuredContent"]["result"], "released");
            for (to, answer) in counted.iter().enumerate() {
                assert_eq!(answer["structuredContent"]["result"], to);
            }
        });
        assert_eq!(running[0].calls_open(), 0);
        assert!(unload_all(&running).iter().all(|(_, became)| *became == Unloaded::Gone));
    });
}
