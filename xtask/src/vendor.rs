//! `vendor-ui`: puts Swagger UI and ReDoc into host/assets, from the npm packages with the hashes below.
//! A maintainer's verb: building and running the gateway never fetches anything.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cargo::workspace,
    failure::{Failure, Result, output_of, succeed},
};

/// One npm package and what is kept of it.
struct Package {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
    /// Files that the gateway serves, path in the package. Stored compressed.
    scripts: &'static [&'static str],
    /// A text that each of them must contain, and what is put in its place.
    edit: Option<(&'static str, &'static str)>,
    /// Files that have to travel with them.
    notices: &'static [&'static str],
}

// A new version also changes the paths in host/src/serve/docs.rs, which carry it.
const PACKAGES: [Package; 2] = [
    Package {
        name: "swagger-ui-dist",
        version: "5.35.0",
        sha256: "1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6",
        scripts: &["swagger-ui-bundle.js", "swagger-ui.css"],
        edit: None,
        notices: &["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"],
    },
    Package {
        name: "redoc",
        version: "2.5.4",
        sha256: "44922df4d0eb45c1b066c09ec251e6bd9bd7ded16bc69e87613337b9d911a56e",
        scripts: &["bundles/redoc.standalone.js"],
        // Its only request to another host: a logo beside its own name. Without a picture it shows the name alone.
        edit: Some(("https://cdn.redoc.ly/redoc/logo-mini.svg", "data:,")),
        notices: &["LICENSE", "bundles/redoc.standalone.js.LICENSE.txt"],
    },
];

/// Fetches, verifies and stores both packages.
pub(crate) fn vendor_ui(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(Failure::Usage("`vendor-ui` takes no arguments".into()));
    }
    let workspace = workspace()?;
    let scratch = workspace.target.join("vendor-ui");
    for package in &PACKAGES {
        let unpacked = fetch(package, &scratch)?;
        let folder = workspace.root.join("host/assets").join(format!("{}-{}", package.name, package.version));
        fs::create_dir_all(&folder).map_err(|e| Failure::at("cannot create", &folder, e))?;
        for script in package.scripts {
            store_script(package, &unpacked.join(script), &folder)?;
        }
        for notice in package.notices {
            let from = unpacked.join(notice);
            let to = folder.join(from.file_name().unwrap_or_default());
            fs::copy(&from, &to).map_err(|e| Failure::at("cannot copy", &from, e))?;
        }
        println!("{}", folder.display());
    }
    Ok(())
}

/// The folder that the verified package was unpacked to.
fn fetch(package: &Package, scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join(package.name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| Failure::at("cannot create", &folder, e))?;
    let tarball = folder.join(format!("{}-{}.tgz", package.name, package.version));
    succeed(
        Command::new("npm")
            .current_dir(&folder)
            .args(["pack", "--silent", &format!("{}@{}", package.name, package.version)])
            .stdout(Stdio::null()),
    )?;
    let sum = output_of(Command::new("sha256sum").arg(&tarball))?;
    if !sum.starts_with(package.sha256) {
        return Err(Failure::at("unexpected sha256 of", &tarball, sum.trim_end()));
    }
    succeed(Command::new("tar").current_dir(&folder).arg("-xzf").arg(&tarball))?;
    Ok(folder.join("package"))
}

fn store_script(package: &Package, from: &Path, folder: &Path) -> Result<()> {
    let mut text = fs::read_to_string(from).map_err(|e| Failure::at("cannot read", from, e))?;
    if let Some((theirs, ours)) = package.edit {
        if !text.contains(theirs) {
            return Err(Failure::at("nothing to edit in", from, format!("it does not contain `{theirs}`")));
        }
        text = text.replace(theirs, ours);
    }
    // The maps are not served, and a browser's tools would ask for them. The same words also occur inside of the
    // scripts, in strings: only a line that begins with them is the comment.
    let is_comment =
        |line: &&str| line.starts_with("//# sourceMapping") || line.starts_with("/*# sourceMapping");
    let text = text.split('\n').filter(|line| !is_comment(line)).collect::<Vec<_>>().join("\n");
    let to = folder.join(from.file_name().unwrap_or_default());
    fs::write(&to, text).map_err(|e| Failure::at("cannot write", &to, e))?;
    // No name and no time in the header: the same input gives the same bytes.
    succeed(Command::new("gzip").args(["--force", "--best", "--no-name"]).arg(&to))
}
