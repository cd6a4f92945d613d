//! Tests in a process of their own: what opens a library may crash, and then one test is to fail, not the run.

use std::process::Command;

/// Set in the child to the test's name.
const CHILD: &str = "GATEWAY_TEST_CHILD";

/// Runs `body` in a child process; fails if that does. `test` is the calling test's name as `cargo test` lists it.
pub fn in_child(test: &str, body: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        return body();
    }
    // Libraries are copied there before they are opened, and a child that crashes cannot remove the copies.
    let temporary = tempfile::tempdir().expect("a folder");
    let output = Command::new(std::env::current_exe().expect("this test's own file"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env("TMPDIR", temporary.path())
        .output()
        .expect("a child can be started");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A name that no test has would pass without this.
    let ran = stdout.contains("1 passed");
    assert!(output.status.success() && ran, "{}\n{stdout}\n{stderr}", output.status);
}
