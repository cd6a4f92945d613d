//! The parts of an ELF file that decide whether it may be mapped. What the dynamic linker reads is read from where it
//! reads it, the program headers; sections, which it never looks at, say where symbols and the descriptor are, and what
//! both describe has to be the same.

use std::collections::HashSet;

use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, elf,
    read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _},
};
use plugin_api::abi;

use super::Rejection;

#[cfg(target_arch = "x86_64")]
const MACHINE: (elf::Machine, &str) = (elf::EM_X86_64, "x86_64");
#[cfg(target_arch = "aarch64")]
const MACHINE: (elf::Machine, &str) = (elf::EM_AARCH64, "aarch64");

/// Each segment is compared with every other.
const SEGMENTS_MAX: usize = 256;
/// More needed libraries than anybody links.
const NEEDS_MAX: usize = 256;
/// Longest name of a needed library.
const NAME_MAX: usize = 255;
/// Longest list of folders to look for libraries in.
const SEARCH_MAX: usize = 4096;

type Header = elf::FileHeader64<Endianness>;
type Segment = elf::ProgramHeader64<Endianness>;

/// What a shared library with our root symbol says.
pub(super) struct Library<'a> {
    pub(super) descriptor: &'a [u8],
    pub(super) needs: Vec<String>,
    pub(super) search: Option<String>,
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
    let sections = header.section_headers(endian, bytes).map_err(damaged)?;
    let dynamic = Dynamic::find(segments, endian, bytes)?;
    check_tables(&dynamic, segments, sections, endian)?;
    let strings = dynamic.strings(segments, endian, bytes)?;
    let (needs, search) = (dynamic.needs(strings, endian)?, dynamic.search(strings, endian)?);
    let nodelete_at = dynamic.nodelete_at(endian);
    Ok(Library { descriptor, needs, search, nodelete_at })
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
    if segments.len() > SEGMENTS_MAX {
        return Err(broken("it has more segments than any linker makes"));
    }
    for segment in segments {
        let end = segment.p_offset(endian).saturating_add(segment.p_filesz(endian));
        let kind = segment.p_type(endian);
        if kind == elf::PT_LOAD && end > has {
            return Err(Rejection::Truncated { needed: end, has });
        }
        check_place(segment, segments, endian)?;
        if kind == elf::PT_INTERP {
            return Err(Rejection::NotShared { what: "program" });
        }
    }
    // Without the header the linker assumes the worst.
    let stack = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_GNU_STACK);
    if stack.is_none_or(|stack| stack.p_flags(endian).0 & elf::PF_X.0 != 0) {
        return Err(Rejection::ExecutableStack);
    }
    Ok(segments)
}

/// The linker takes some segments by their address, others by their place in the file: a header in which the two do not
/// agree makes it read thread-locals or its own tables from anywhere.
fn check_place(segment: &Segment, segments: &[Segment], endian: Endianness) -> Result<(), Rejection> {
    let (size, address) = (segment.p_filesz(endian), segment.p_vaddr(endian));
    if size > segment.p_memsz(endian) {
        return Err(broken("a segment has more bytes in the file than in memory"));
    }
    let align = segment.p_align(endian);
    if align > 1 && !align.is_power_of_two() {
        return Err(broken("the alignment of a segment is no power of two"));
    }
    if segment.p_type(endian) == elf::PT_LOAD {
        let differs = align > 1 && address % align != segment.p_offset(endian) % align;
        return if differs { Err(broken("a segment cannot be mapped where it should be")) } else { Ok(()) };
    }
    if size == 0 || file_offset(segments, endian, address) == Some(segment.p_offset(endian)) {
        return Ok(());
    }
    Err(broken("the address of a segment does not agree with its place in the file"))
}

/// What the dynamic linker goes by: the entries of the dynamic segment.
struct Dynamic<'a> {
    entries: &'a [elf::Dyn64<Endianness>],
    /// Where the first entry stands in the file.
    offset: usize,
}

impl<'a> Dynamic<'a> {
    fn find(segments: &[Segment], endian: Endianness, bytes: &'a [u8]) -> Result<Self, Rejection> {
        let mut all = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_DYNAMIC);
        // With two, the linker and this might look at different ones.
        let (Some(segment), None) = (all.next(), all.next()) else {
            return Err(broken("it has not exactly one dynamic segment"));
        };
        let entries = segment.dynamic(endian, bytes).map_err(damaged)?.unwrap_or_default();
        let ends = entries.iter().position(|entry| entry.tag(endian) == elf::DT_NULL);
        let entries = &entries[..ends.ok_or_else(|| broken("its dynamic segment has no end"))?];
        let offset = usize::try_from(segment.p_offset(endian)).map_err(|_| broken("it is nowhere"))?;
        let mut seen = HashSet::new();
        let is_single = |tag: elf::DynamicTag| tag != elf::DT_NEEDED;
        let mut tags = entries.iter().map(|entry| entry.tag(endian));
        if tags.any(|tag| is_single(tag) && !seen.insert(tag.0)) {
            return Err(broken("an entry of its dynamic segment stands there twice"));
        }
        Ok(Self { entries, offset })
    }

    fn value(&self, tag: elf::DynamicTag, endian: Endianness) -> Option<u64> {
        self.entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.val(endian))
    }

    /// Where names begin, to the end of the file.
    fn strings<'b>(
        &self,
        segments: &[Segment],
        endian: Endianness,
        bytes: &'b [u8],
    ) -> Result<&'b [u8], Rejection> {
        let at = self.value(elf::DT_STRTAB, endian).and_then(|at| file_offset(segments, endian, at));
        let at = at.and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| bytes.get(at..)).ok_or_else(|| broken("it has no dynamic strings"))
    }

    /// The names of the needed libraries.
    fn needs(&self, strings: &[u8], endian: Endianness) -> Result<Vec<String>, Rejection> {
        // The linker takes filters for libraries that are needed as well.
        let brings = [elf::DT_NEEDED, elf::DT_FILTER, elf::DT_AUXILIARY];
        let needed: Vec<_> =
            self.entries.iter().filter(|entry| brings.contains(&entry.tag(endian))).collect();
        if needed.len() > NEEDS_MAX {
            return Err(broken("it needs more libraries than anybody links"));
        }
        let names = needed.into_iter().map(|entry| {
            let name = text_at(strings, entry.val(endian), NAME_MAX).filter(|name| !name.is_empty());
            name.ok_or_else(|| broken("the name of a needed library cannot be read"))
        });
        names.collect()
    }

    /// The folders in which the linker is to look for those, before it looks where the system has them.
    fn search(&self, strings: &[u8], endian: Endianness) -> Result<Option<String>, Rejection> {
        let Some(at) = self.value(elf::DT_RUNPATH, endian).or_else(|| self.value(elf::DT_RPATH, endian))
        else {
            return Ok(None);
        };
        let search = text_at(strings, at, SEARCH_MAX);
        search.map(Some).ok_or_else(|| broken("where it looks for libraries cannot be read"))
    }

    /// Where the flag stands that forbids unloading, if it is set.
    fn nodelete_at(&self, endian: Endianness) -> Option<usize> {
        let flags = self.entries.iter().position(|entry| entry.tag(endian) == elf::DT_FLAGS_1)?;
        if self.entries[flags].val(endian) & elf::DF_1_NODELETE.0 == 0 {
            return None;
        }
        // An entry is a tag and a value of eight bytes each; the flag is in the value's first byte, its lowest.
        Some(self.offset + flags * size_of::<elf::Dyn64<Endianness>>() + size_of::<u64>())
    }
}

/// Tables that the dynamic linker walks, by the entries with their address and their size in bytes.
const TABLES: [(elf::DynamicTag, elf::DynamicTag); 6] = [
    (elf::DT_STRTAB, elf::DT_STRSZ),
    (elf::DT_RELA, elf::DT_RELASZ),
    (elf::DT_RELR, elf::DT_RELRSZ),
    (elf::DT_JMPREL, elf::DT_PLTRELSZ),
    (elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ),
    (elf::DT_FINI_ARRAY, elf::DT_FINI_ARRAYSZ),
];
/// Tables that say themselves how long they are.
const OPEN_TABLES: [elf::DynamicTag; 5] =
    [elf::DT_SYMTAB, elf::DT_HASH, elf::DT_GNU_HASH, elf::DT_VERSYM, elf::DT_VERNEED];

/// Every table begins and ends where a section does, and thread-locals as well. The linker needs no sections and a wrong
/// entry would have it relocate the wrong words; the sections say the same once more, so one flipped bit shows.
fn check_tables(
    dynamic: &Dynamic<'_>,
    segments: &[Segment],
    sections: &[elf::SectionHeader64<Endianness>],
    endian: Endianness,
) -> Result<(), Rejection> {
    // Others are not mapped, and all lie at address 0.
    let is_mapped =
        |section: &&elf::SectionHeader64<Endianness>| section.sh_flags(endian).0 & elf::SHF_ALLOC.0 != 0;
    let begins = |at: u64| sections.iter().filter(is_mapped).any(|section| section.sh_addr(endian) == at);
    let end = |section: &elf::SectionHeader64<Endianness>| {
        section.sh_addr(endian).saturating_add(section.sh_size(endian))
    };
    let ends = |at: u64| sections.iter().filter(is_mapped).any(|section| end(section) == at);
    let value = |tag| dynamic.value(tag, endian);
    for (address, size) in TABLES {
        let (Some(address), size) = (value(address), value(size)) else { continue };
        let size = size.ok_or_else(|| broken("a table of the dynamic linker has no size"))?;
        if !begins(address) || !ends(address.saturating_add(size)) {
            return Err(broken("a table of the dynamic linker is not where its section is"));
        }
    }
    if OPEN_TABLES.into_iter().filter_map(value).any(|address| !begins(address)) {
        return Err(broken("a table of the dynamic linker is not where its section is"));
    }
    let is_initial = |section: &&elf::SectionHeader64<Endianness>| {
        section.sh_flags(endian).0 & elf::SHF_TLS.0 != 0 && section.sh_type(endian) != elf::SHT_NOBITS
    };
    let initial = sections.iter().filter(is_initial).map(end).max();
    let locals = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_TLS);
    let locals = locals.map(|segment| segment.p_vaddr(endian).saturating_add(segment.p_filesz(endian)));
    match (initial, locals) {
        (Some(end), locals) if locals.is_none_or(|locals| locals < end) => {
            Err(broken("its thread-locals are cut short"))
        }
        _ => Ok(()),
    }
}

/// The text of at most `most` bytes that begins at `at` and ends with a zero.
fn text_at(strings: &[u8], at: u64, most: usize) -> Option<String> {
    let rest = usize::try_from(at).ok().and_then(|at| strings.get(at..))?;
    let len = rest.iter().take(most + 1).position(|byte| *byte == 0)?;
    str::from_utf8(&rest[..len]).ok().map(str::to_owned)
}

/// Where in the file the byte lies that will be mapped at `address`.
fn file_offset(segments: &[Segment], endian: Endianness, address: u64) -> Option<u64> {
    let mut loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    loaded.find_map(|segment| {
        let into = address.checked_sub(segment.p_vaddr(endian))?;
        (into < segment.p_filesz(endian)).then(|| segment.p_offset(endian).checked_add(into))?
    })
}
