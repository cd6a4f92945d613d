//! What can be known about a plugin without running any of it. Pure: looks at bytes.
//!
//! In:   the content of a file, whoever wrote it.
//! Out:  [`Facts`], if the dynamic linker may have it at all; whether this gateway takes it is [`Facts::judge`]'s.
//! Never: maps, opens or trusts anything in it. Any bytes give an answer (pinned by the fuzz target `vet`).

mod elf;

use plugin_api::abi::{self, Descriptor};

use crate::config::Digest;

/// What every process of a gateway has loaded anyway, or loads for any Rust code: glibc and GCC's unwinder.
const RUNTIME: [&str; 8] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// Why a file is no plugin for this gateway.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an error are what its message says they are")]
pub enum Rejection {
    /// A directory, a fifo, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// No bytes at all.
    #[error("the file is empty; copy it again")]
    Empty,
    /// Beyond what this gateway reads into memory.
    #[error("the file has {bytes} bytes, more than the {most} that are read")]
    TooLarge { bytes: u64, most: u64 },
    /// Anybody may put other code there.
    #[error("every user of this machine may write {what}; `chmod o-w` it, or pin the file with `sha256`")]
    Exposed { what: &'static str },
    /// Who owns it may put other code there.
    #[error(
        "it belongs to user {owner}, neither to root nor to the gateway's user {ours}; `chown` it, or pin it with `sha256`"
    )]
    Foreign { owner: u32, ours: u32 },
    /// Not the content that gateway.toml asks for.
    #[error(
        "its SHA-256 is {found}, but `sha256` pins it to {pinned}; put the pinned file back, or pin this one if you trust it"
    )]
    OtherContent { found: Digest, pinned: Digest },
    /// Text, an archive, a 32-bit library, half a header.
    #[error("it is not a 64-bit ELF shared library; name the `.so` that cargo makes of a `cdylib` crate")]
    NotElf,
    /// An ELF file of another type.
    #[error("it is an ELF {what}, not a shared library; name the `.so` that cargo makes of a `cdylib` crate")]
    NotShared { what: &'static str },
    /// Built for another processor.
    #[error("it was built for {found}, this gateway runs on {ours}; rebuild it for this machine")]
    WrongMachine { found: String, ours: &'static str },
    /// The headers speak of bytes that the file does not have.
    #[error("the file is cut short: its headers speak of {needed} bytes, it has {has}; copy it again")]
    Truncated { needed: u64, has: u64 },
    /// The headers contradict themselves.
    #[error("its ELF headers are damaged: {reason}; copy it again")]
    Damaged { reason: String },
    /// Loading it would make every stack of the process executable.
    #[error("it asks for an executable stack, for the whole process; link it with `-z noexecstack`")]
    ExecutableStack,
    /// A shared library, but not one of ours.
    #[error(
        "it is not a gateway plugin: it does not export `{}`; write `export_plugin!(..)` in it",
        abi::ROOT_SYMBOL
    )]
    NoRoot,
    /// Ours, but it does not say what it is.
    #[error(
        "it says nothing about itself in section `{}`; rebuild it with plugin-api {}",
        abi::DESCRIPTOR_SECTION,
        abi::VERSION
    )]
    NoDescriptor,
    /// Built with an interface of another major version.
    #[error(
        "it was built with plugin-api {found}, this gateway speaks {ours}; rebuild it with plugin-api {ours}"
    )]
    WrongVersion { found: String, ours: &'static str },
    /// A panic in it would end the gateway.
    #[error(
        "it was built with panic = \"abort\", so a panic in a tool would end the gateway; build it with \
         panic = \"unwind\""
    )]
    PanicAborts,
    /// It would bring in libraries that nobody has looked at.
    #[error(
        "it would bring {} into the process, which the gateway cannot check; link statically, or allow it with \
         `needs = [{}]`",
        .libraries.join(" and "),
        .libraries.iter().map(|library| format!("{library:?}")).collect::<Vec<_>>().join(", ")
    )]
    Needs { libraries: Vec<String> },
    /// It would bring in other libraries under the names of the system's.
    #[error(
        "it has the dynamic linker look for libraries in `{folders}` first, which the gateway cannot check; link it \
         without `-rpath`, or take that out with `patchelf --remove-rpath`"
    )]
    Searches { folders: String },
}

/// What the file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Package name of the plugin.
    pub name: String,
    /// Package version of the plugin.
    pub version: String,
    /// The plugin-api it was built with.
    pub plugin_api: String,
    /// What a panic in it does: `unwind`, or `abort`.
    pub panic: String,
    /// The shared libraries it needs, in its own order.
    pub needs: Vec<String>,
    /// Where it has the dynamic linker look for them first.
    pub search: Option<String>,
    /// Where the file asks never to be unloaded (`-z nodelete`), if it does: the offset of the byte with the flag.
    pub(super) nodelete_at: Option<usize>,
}

impl Facts {
    /// Whether it asks never to be unloaded. The gateway's copy of it does not.
    pub fn asks_to_stay(&self) -> bool {
        self.nodelete_at.is_some()
    }

    /// Decides whether this gateway takes it; `allowed`: libraries beside the C runtime that it may need.
    pub fn judge(&self, allowed: &[String]) -> Result<(), Rejection> {
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        if major(&self.plugin_api) != major(abi::VERSION) {
            return Err(Rejection::WrongVersion { found: self.plugin_api.clone(), ours: abi::VERSION });
        }
        if self.panic != "unwind" {
            return Err(Rejection::PanicAborts);
        }
        let unknown = |library: &&String| !RUNTIME.contains(&library.as_str()) && !allowed.contains(library);
        let libraries: Vec<String> = self.needs.iter().filter(unknown).cloned().collect();
        if !libraries.is_empty() {
            return Err(Rejection::Needs { libraries });
        }
        // Who allows libraries takes them unseen, wherever they are found.
        match &self.search {
            Some(folders) if allowed.is_empty() => Err(Rejection::Searches { folders: folders.clone() }),
            _ => Ok(()),
        }
    }
}

/// Reads what `bytes` say of themselves, if they may be handed to the dynamic linker.
pub fn vet(bytes: &[u8]) -> Result<Facts, Rejection> {
    let library = elf::read(bytes)?;
    let said = str::from_utf8(library.descriptor).ok().and_then(Descriptor::parse);
    let said = said.ok_or(Rejection::NoDescriptor)?;
    Ok(Facts {
        name: said.name.into(),
        version: said.version.into(),
        plugin_api: said.plugin_api.into(),
        panic: said.panic.into(),
        needs: library.needs,
        search: library.search,
        nodelete_at: library.nodelete_at,
    })
}
