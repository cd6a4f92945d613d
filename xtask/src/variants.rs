//! Plugins and gateways as other people build them, for the tests of the compatibility rule in `plugin-api/ABI.md`:
//! with an older or newer plugin-api, with one that broke the rule, and with other compilers' options and crates. And the next
//! builds of a plugin, for the tests that swap one for another.
//!
//! Each is a patched copy of the part of the workspace it needs, in `<target>/variants/<name>`, built into the target
//! folder of the workspace itself, so that what comes from the registry is compiled once for all of them.

mod patch;
mod stamp;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    artifacts,
    cargo::{Workspace, cargo, product_of},
    failure::{Failure, Result},
};
use patch::Patch;
use tree::Tree;

/// A build of `greet`, or of the gateway, that is not the workspace's own.
struct Variant {
    /// Names its folder and, with `_` for `.`, the file that the tests open.
    name: &'static str,
    patches: Vec<Patch>,
    how: How,
}

/// How a variant is built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// As the tests' plugins are.
    Plugin,
    /// As the tests' gateway is.
    Gateway,
    /// As plugins are that are released.
    Released,
    /// As small as cargo can make it, from the release profile.
    Small,
    /// With crates that Cargo.lock does not have, and so with the registry if cargo has not seen them yet.
    OtherCrates,
    /// The last crate is compiled with `panic = "abort"`.
    PanicAborts,
}

/// What [`How::Small`] changes in the release profile.
const SMALL: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

fn all() -> Vec<Variant> {
    let variant = |name, patches, how| Variant { name, patches, how };
    let broken = |name, with: Vec<Patch>| variant(name, [patch::minor(1), with].concat(), How::Plugin);
    vec![
        variant("1.1", patch::minor(1), How::Plugin),
        variant("1.2", patch::minor(2), How::Plugin),
        broken("removed", patch::function_removed()),
        broken("module_removed", patch::module_function_removed()),
        broken("changed", patch::function_changed()),
        broken("struct_appended", patch::struct_appended()),
        broken("struct_changed", patch::struct_changed()),
        variant("next_major", patch::version("2.0.0"), How::Plugin),
        variant("1.1", [patch::minor(1), patch::gateway_minor(1)].concat(), How::Gateway),
        variant("optimised", patch::optimised(), How::Plugin),
        variant("small", vec![], How::Small),
        variant("other_crates", patch::other_crates(), How::OtherCrates),
        variant("panic_abort", vec![], How::PanicAborts),
        variant("other_words", patch::other_words(), How::Plugin),
        variant("other_table", patch::other_table(), How::Plugin),
    ]
}

/// Another build of `greet`, released, to be swapped for the first.
pub(crate) fn build_other_greet(workspace: &Workspace) -> Result<PathBuf> {
    let variant = Variant { name: "other_released", patches: patch::other_words(), how: How::Released };
    let tree = variant.tree(workspace, Tree::read(&workspace.root, &["plugin-api", "plugins/greet"])?)?;
    variant.build(workspace, &tree)
}

/// Builds every variant and installs it in `folder`. The caller holds the lock.
pub(crate) fn install(workspace: &Workspace, folder: &Path) -> Result<()> {
    let plugin = Tree::read(&workspace.root, &["plugin-api", "plugins/greet"])?;
    let gateway = Tree::read(&workspace.root, &["plugin-api", "host"])?;
    let compiler = stamp::compiler()?;
    for variant in all() {
        let tree = if variant.how == How::Gateway { &gateway } else { &plugin };
        let tree = variant.tree(workspace, tree.clone())?;
        let installed = folder.join(variant.file());
        let stamp = stamp::of(&tree, &variant.command(workspace), &compiler);
        if stamp.is_on(&installed) {
            continue;
        }
        let built = variant.build(workspace, &tree)?;
        artifacts::install(&built, &installed)?;
        stamp.put_on(&installed)?;
    }
    Ok(())
}

impl Variant {
    /// The package that is built.
    fn package(&self) -> &'static str {
        if self.how == How::Gateway { "host" } else { "greet" }
    }

    /// What the tests open, and with the extension taken off what cargo is to call it. No other crate of the target
    /// folder may have the name: cargo would take one for the other.
    fn target(&self) -> String {
        let kind = if self.how == How::Gateway { "gateway" } else { "greet" };
        format!("{kind}_{}", self.name.replace('.', "_"))
    }

    fn file(&self) -> String {
        if self.how == How::Gateway { self.target() } else { format!("{}.so", self.target()) }
    }

    /// Where its copy of the workspace lies.
    fn folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.target.join("variants").join(self.target())
    }

    /// Its copy of the workspace.
    fn tree(&self, workspace: &Workspace, base: Tree) -> Result<Tree> {
        let mut tree = base;
        let target = self.target();
        for patch in self.patches.iter().chain(&patch::names(self.package(), &target)) {
            tree.patch(patch).map_err(|error| Failure::Work(format!("variant `{target}`: {error}")))?;
        }
        // Cargo tells packages apart by name, version and place in the workspace: with equal places it would take
        // what it compiled for one variant for another's.
        tree.move_members_to(&target);
        let features = match self.how {
            How::Plugin | How::PanicAborts => workspace.crates_of_plugins(),
            How::Gateway => workspace.crates_of_all(),
            How::Released | How::Small | How::OtherCrates => String::new(),
        };
        tree.add(&format!("{target}/features/Cargo.toml"), patch::features(&features));
        tree.add(&format!("{target}/features/src/lib.rs"), String::new());
        Ok(tree)
    }

    /// The command that builds it, but for the registry.
    fn command(&self, workspace: &Workspace) -> std::process::Command {
        let mut command = cargo();
        command.current_dir(self.folder(workspace)).env("CARGO_TARGET_DIR", &workspace.target);
        // Built once: what a second build could reuse is not worth its place on the disk.
        command.env("CARGO_INCREMENTAL", "0");
        command
            .arg(if self.how == How::PanicAborts { "rustc" } else { "build" })
            .args(["-p", self.package()]);
        if matches!(self.how, How::Released | How::Small) {
            command.arg("--release");
        }
        if self.how == How::Small {
            command.envs(SMALL);
        }
        command
    }

    fn build(&self, workspace: &Workspace, tree: &Tree) -> Result<PathBuf> {
        tree.write(&self.folder(workspace))?;
        let build = |extra: &[&str], errors: Stdio| {
            let mut command = self.command(workspace);
            command.args(extra).stderr(errors);
            let rustc: &[&str] = if self.how == How::PanicAborts { &["--", "-Cpanic=abort"] } else { &[] };
            product_of(&mut command, rustc, &self.target())
        };
        // Not `--locked`: the copied Cargo.lock has packages that the copy lacks.
        if self.how == How::OtherCrates {
            return build(&["--offline"], Stdio::null()).or_else(|_| build(&[], Stdio::inherit()));
        }
        build(&["--offline"], Stdio::inherit())
    }
}
