//! What can be known about a plugin without running any of it. Pure: looks at bytes.

use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, elf,
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _},
};
use plugin_api::abi::{self, Descriptor};

/// Why a file is no plugin for this gateway.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
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
}

#[cfg(target_arch = "x86_64")]
const MACHINE: (elf::Machine, &str) = (elf::EM_X86_64, "x86_64");
#[cfg(target_arch = "aarch64")]
const MACHINE: (elf::Machine, &str) = (elf::EM_AARCH64, "aarch64");

/// Decides whether `bytes` may be handed to the dynamic linker.
pub(super) fn vet(bytes: &[u8]) -> Result<Facts, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::Empty);
    }
    let damaged = |e: object::Error| Rejection::Damaged { reason: e.to_string() };
    let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(|_| Rejection::NotElf)?;
    let endian = header.endian().map_err(|_| Rejection::NotElf)?;
    check_machine(header, endian)?;
    check_length(header, endian, bytes)?;
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(damaged)?;
    if !exports_root(&file) {
        return Err(Rejection::NoRoot);
    }
    let section = file.section_by_name(abi::DESCRIPTOR_SECTION).ok_or(Rejection::NoDescriptor)?;
    let text = section.data().map_err(damaged)?;
    let said = str::from_utf8(text).ok().and_then(Descriptor::parse).ok_or(Rejection::NoDescriptor)?;
    check_descriptor(&said)?;
    Ok(Facts { name: said.name.into(), version: said.version.into(), plugin_api: said.plugin_api.into() })
}

fn exports_root(file: &ElfFile64<'_, Endianness>) -> bool {
    file.dynamic_symbols().any(|s| s.is_definition() && s.name_bytes() == Ok(abi::ROOT_SYMBOL.as_bytes()))
}

fn check_machine(header: &elf::FileHeader64<Endianness>, endian: Endianness) -> Result<(), Rejection> {
    let (machine, ours) = MACHINE;
    let found = header.e_machine(endian);
    if found != machine {
        let name = match found {
            elf::EM_X86_64 => "x86_64".into(),
            elf::EM_AARCH64 => "aarch64".into(),
            elf::EM_RISCV => "riscv".into(),
            elf::EM_S390 => "s390x".into(),
            elf::EM_PPC64 => "powerpc64".into(),
            other => format!("ELF machine {}", other.0),
        };
        return Err(Rejection::WrongMachine { found: name, ours });
    }
    match header.e_type(endian) {
        elf::ET_DYN => Ok(()),
        elf::ET_EXEC => Err(Rejection::NotShared { what: "program" }),
        elf::ET_REL => Err(Rejection::NotShared { what: "object file" }),
        elf::ET_CORE => Err(Rejection::NotShared { what: "core dump" }),
        _ => Err(Rejection::NotElf),
    }
}

/// A file shorter than its headers say would end the process with SIGBUS once mapped.
fn check_length(
    header: &elf::FileHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
) -> Result<(), Rejection> {
    let has = bytes.len() as u64;
    let table_end =
        |offset: u64, count: u16, size: u16| offset.saturating_add(u64::from(count) * u64::from(size));
    let programs = table_end(header.e_phoff(endian), header.e_phnum(endian), header.e_phentsize(endian));
    let sections = table_end(header.e_shoff(endian), header.e_shnum(endian), header.e_shentsize(endian));
    let needed = programs.max(sections);
    if needed > has {
        return Err(Rejection::Truncated { needed, has });
    }
    let damaged = |e: object::Error| Rejection::Damaged { reason: e.to_string() };
    for segment in header.program_headers(endian, bytes).map_err(damaged)? {
        let end = segment.p_offset(endian).saturating_add(segment.p_filesz(endian));
        if segment.p_type(endian) == elf::PT_LOAD && end > has {
            return Err(Rejection::Truncated { needed: end, has });
        }
        if segment.p_type(endian) == elf::PT_INTERP {
            return Err(Rejection::NotShared { what: "program" });
        }
    }
    Ok(())
}

fn check_descriptor(said: &Descriptor<'_>) -> Result<(), Rejection> {
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if major(said.plugin_api) != major(abi::VERSION) {
        return Err(Rejection::WrongVersion { found: said.plugin_api.into(), ours: abi::VERSION });
    }
    if said.panic != "unwind" {
        return Err(Rejection::PanicAborts);
    }
    Ok(())
}
