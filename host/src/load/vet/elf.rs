//! The parts of an ELF file that decide whether it may be mapped. What the dynamic linker reads is read from where it
//! reads it, the program headers; sections, which it never looks at, only say where symbols and the descriptor are.

use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, elf,
    read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _},
};
use plugin_api::abi;

use super::Rejection;

#[cfg(target_arch = "x86_64")]
const MACHINE: (elf::Machine, &str) = (elf::EM_X86_64, "x86_64");
#[cfg(target_arch = "aarch64")]
const MACHINE: (elf::Machine, &str) = (elf::EM_AARCH64, "aarch64");

/// More needed libraries than anybody links.
const NEEDS_MAX: usize = 256;
/// Longest name of a needed library.
const NAME_MAX: usize = 255;

type Header = elf::FileHeader64<Endianness>;
type Segment = elf::ProgramHeader64<Endianness>;

/// What a shared library with our root symbol says.
pub(super) struct Library<'a> {
    pub(super) descriptor: &'a [u8],
    pub(super) needs: Vec<String>,
    pub(super) nodelete_at: Option<usize>,
}

fn damaged(error: object::Error) -> Rejection {
    Rejection::Damaged { reason: error.to_string() }
}

fn broken(reason: &str) -> Rejection {
    Rejection::Damaged { reason: reason.into() }
}

pub(super) fn read(bytes: &[u8]) -> Result<Library<'_>, Rejection> {
    let header = Header::parse(bytes).map_err(|_| Rejection::NotElf)?;
    let endian = header.endian().map_err(|_| Rejection::NotElf)?;
    check_machine(header, endian)?;
    let segments = check_segments(header, endian, bytes)?;
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(damaged)?;
    let is_root = |name: &[u8]| name == abi::ROOT_SYMBOL.as_bytes();
    if !file.dynamic_symbols().any(|s| s.is_definition() && s.name_bytes().is_ok_and(is_root)) {
        return Err(Rejection::NoRoot);
    }
    let section = file.section_by_name(abi::DESCRIPTOR_SECTION).ok_or(Rejection::NoDescriptor)?;
    let descriptor = section.data().map_err(damaged)?;
    let (needs, nodelete_at) = read_dynamic(segments, endian, bytes)?;
    Ok(Library { descriptor, needs, nodelete_at })
}

fn check_machine(header: &Header, endian: Endianness) -> Result<(), Rejection> {
    let (machine, ours) = MACHINE;
    if endian != Endianness::default() {
        return Err(Rejection::WrongMachine { found: "a machine of the other byte order".into(), ours });
    }
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
fn check_segments<'a>(
    header: &Header,
    endian: Endianness,
    bytes: &'a [u8],
) -> Result<&'a [Segment], Rejection> {
    let has = bytes.len() as u64;
    let table_end =
        |offset: u64, count: u16, size: u16| offset.saturating_add(u64::from(count) * u64::from(size));
    let programs = table_end(header.e_phoff(endian), header.e_phnum(endian), header.e_phentsize(endian));
    let sections = table_end(header.e_shoff(endian), header.e_shnum(endian), header.e_shentsize(endian));
    let needed = programs.max(sections);
    if needed > has {
        return Err(Rejection::Truncated { needed, has });
    }
    let segments = header.program_headers(endian, bytes).map_err(damaged)?;
    for segment in segments {
        let end = segment.p_offset(endian).saturating_add(segment.p_filesz(endian));
        let kind = segment.p_type(endian);
        if kind == elf::PT_LOAD && end > has {
            return Err(Rejection::Truncated { needed: end, has });
        }
        if kind == elf::PT_LOAD && segment.p_filesz(endian) > segment.p_memsz(endian) {
            return Err(broken("a segment has more bytes in the file than in memory"));
        }
        if kind == elf::PT_INTERP {
            return Err(Rejection::NotShared { what: "program" });
        }
        if kind == elf::PT_GNU_STACK && segment.p_flags(endian).0 & elf::PF_X.0 != 0 {
            return Err(Rejection::ExecutableStack);
        }
    }
    Ok(segments)
}

/// The names of the needed libraries, and where the flag stands that forbids unloading.
fn read_dynamic(
    segments: &[Segment],
    endian: Endianness,
    bytes: &[u8],
) -> Result<(Vec<String>, Option<usize>), Rejection> {
    let dynamic = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC);
    let dynamic = dynamic.ok_or_else(|| broken("it has no dynamic segment"))?;
    let entries = dynamic.dynamic(endian, bytes).map_err(damaged)?.unwrap_or_default();
    let ends = entries.iter().position(|entry| entry.tag(endian) == elf::DT_NULL);
    let entries = &entries[..ends.ok_or_else(|| broken("its dynamic segment has no end"))?];

    let strings = entries.iter().find(|entry| entry.tag(endian) == elf::DT_STRTAB);
    let strings = strings.ok_or_else(|| broken("it has no dynamic strings"))?.val(endian);
    let strings =
        file_offset(segments, endian, strings).ok_or_else(|| broken("its dynamic strings are nowhere"))?;
    let needed = entries.iter().filter(|entry| entry.tag(endian) == elf::DT_NEEDED);
    let needs = needed.take(NEEDS_MAX).map(|entry| {
        let at = usize::try_from(strings.saturating_add(entry.val(endian))).ok();
        let rest = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
        let name = rest.iter().take(NAME_MAX + 1).position(|byte| *byte == 0).map(|len| &rest[..len]);
        let name = name.and_then(|name| str::from_utf8(name).ok()).filter(|name| !name.is_empty());
        name.map(str::to_owned).ok_or_else(|| broken("the name of a needed library cannot be read"))
    });
    let needs = needs.collect::<Result<Vec<_>, _>>()?;

    let flags = entries.iter().position(|entry| entry.tag(endian) == elf::DT_FLAGS_1);
    let forbids = |at: &usize| entries[*at].val(endian) & elf::DF_1_NODELETE.0 != 0;
    let offset = |at: usize| {
        let start = usize::try_from(dynamic.p_offset(endian)).ok()?;
        // An entry is a tag and a value of eight bytes each; the flag is in the value's first byte, its lowest.
        Some(start + at * size_of::<elf::Dyn64<Endianness>>() + size_of::<u64>())
    };
    Ok((needs, flags.filter(forbids).and_then(offset)))
}

/// Where in the file the byte lies that will be mapped at `address`.
fn file_offset(segments: &[Segment], endian: Endianness, address: u64) -> Option<u64> {
    let mut loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    loaded.find_map(|segment| {
        let into = address.checked_sub(segment.p_vaddr(endian))?;
        (into < segment.p_filesz(endian)).then(|| segment.p_offset(endian).checked_add(into))?
    })
}
