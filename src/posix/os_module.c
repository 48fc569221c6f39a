/* Programs and shared libraries: ELF files. */
#include "os_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Files ----------------------------------------------------------------------------------- */

static bool read_at(int fd, void *data, size_t size, uint64_t offset)
{
    return offset <= INT64_MAX && pread(fd, data, size, (off_t)offset) == (ssize_t)size;
}

/* Whether a file has the layout, of 32 or 64 bits, that this code was compiled for. */
static bool is_native(const ElfW(Ehdr) * header)
{
    const unsigned char kind[] = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32};

    return memcmp(header->e_ident, kind, sizeof kind) == 0 && header->e_phentsize == sizeof(ElfW(Phdr)) &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN);
}

static bool read_parts(module_file *file)
{
    ElfW(Ehdr) header;

    if (!read_at(file->fd, &header, sizeof header, 0) || !is_native(&header))
        return false;
    file->type = header.e_type;
    file->count = header.e_phnum < MODULE_PARTS_MAX ? header.e_phnum : MODULE_PARTS_MAX;
    return read_at(file->fd, file->parts, file->count * sizeof *file->parts, header.e_phoff);
}

bool module_open(module_file *file, const char *path)
{
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0)
        return false;
    file->fd = fd_above_stdio(file->fd);
    if (file->fd < 0)
        return false;
    if (fstat(file->fd, &file->facts) == 0 && S_ISREG(file->facts.st_mode) && read_parts(file))
        return true;
    close(file->fd);
    return false;
}

bool module_linked(const module_file *file, uint64_t offset, uint64_t *address)
{
    for (size_t i = 0; i < file->count; i++) {
        const ElfW(Phdr) *part = &file->parts[i];
        uint64_t ahead = part->p_offset % OS_PAGE; /* whole pages are mapped */
        uint64_t start = part->p_offset - ahead;
        if (part->p_type == PT_LOAD && offset >= start && offset - start < ahead + part->p_filesz) {
            *address = part->p_vaddr - ahead + (offset - start);
            return true;
        }
    }
    return false;
}

bool module_span(const module_file *file, uint64_t *start, uint64_t *end)
{
    bool any = false;

    for (size_t i = 0; i < file->count; i++) {
        const ElfW(Phdr) *part = &file->parts[i];
        if (part->p_type != PT_LOAD)
            continue;
        if (!any)
            *start = part->p_vaddr & -part->p_align;
        *end = part->p_vaddr + part->p_memsz;
        any = true;
    }
    return any && *start < *end;
}

/* ---- Build ids ------------------------------------------------------------------------------- */

const uint8_t *find_build_id(const void *notes, size_t size, size_t *id_size)
{
    const uint8_t *at = notes;

    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        uint64_t value = sizeof *note + (((uint64_t)note->n_namesz + 3) & ~UINT64_C(3));
        uint64_t end = value + (((uint64_t)note->n_descsz + 3) & ~UINT64_C(3));
        if (end > size)
            return NULL;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(note + 1, "GNU", 4) == 0) {
            *id_size = note->n_descsz;
            return at + value;
        }
        at += end;
        size -= end;
    }
    return NULL;
}

void module_build_id(const module_file *file, char *text, size_t size)
{
    _Alignas(ElfW(Nhdr)) uint8_t notes[4096];
    const uint8_t *id = NULL;
    size_t id_size = 0;

    *text = 0;
    for (size_t i = 0; i < file->count && !id; i++) {
        const ElfW(Phdr) *part = &file->parts[i];
        if (part->p_type == PT_NOTE && part->p_filesz <= sizeof notes &&
            read_at(file->fd, notes, part->p_filesz, part->p_offset))
            id = find_build_id(notes, part->p_filesz, &id_size);
    }
    for (size_t i = 0; i < id_size && 2 * i + 2 < size; i++)
        sprintf(text + 2 * i, "%02x", id[i]);
}

/* ---- Code and sections ----------------------------------------------------------------------- */

static bool part_holds(const ElfW(Phdr) * part, uint64_t address)
{
    return part->p_type == PT_LOAD && address >= part->p_vaddr && address - part->p_vaddr < part->p_memsz;
}

/* Whether all of a section is in the file; also whether a table of symbols refers to a table of names, and whether a
 * table of names ends with a 0. */
static bool section_is_whole(const module_file *file, const ElfW(Shdr) * section, size_t count)
{
    uint64_t size = (uint64_t)file->facts.st_size;
    char last = 0;

    if (section->sh_type == SHT_NOBITS || section->sh_type == SHT_NULL)
        return true;
    if (section->sh_size > size || section->sh_offset > size - section->sh_size)
        return false;
    if ((section->sh_type == SHT_SYMTAB || section->sh_type == SHT_DYNSYM) &&
        (section->sh_link == 0 || section->sh_link >= count))
        return false;
    return section->sh_type != SHT_STRTAB || section->sh_size == 0 ||
           (read_at(file->fd, &last, 1, section->sh_offset + section->sh_size - 1) && last == 0);
}

/* libbacktrace maps the sections at which the headers point.  If the file did not have all of a section, reading the
 * mapping would end this process. */
static bool has_whole_sections(const module_file *file)
{
    ElfW(Ehdr) header;
    ElfW(Shdr) section;
    bool whole = read_at(file->fd, &header, sizeof header, 0) && header.e_shentsize == sizeof section &&
                 header.e_shstrndx > 0 && header.e_shstrndx < header.e_shnum;

    for (size_t i = 0; whole && i < header.e_shnum; i++)
        whole = read_at(file->fd, &section, sizeof section, header.e_shoff + i * sizeof section) &&
                (i != header.e_shstrndx || section.sh_type == SHT_STRTAB) &&
                section_is_whole(file, &section, header.e_shnum);
    return whole;
}

static bool file_has_code(const module_file *file, uint64_t address)
{
    for (size_t i = 0; i < file->count; i++)
        if (file->parts[i].p_flags & PF_X && part_holds(&file->parts[i], address))
            return true;
    return false;
}

typedef struct search {
    uintptr_t address;
    bool moved; /* by as much as this process's program is */
    size_t seen;
} search;

/* Called for each module of this process, the program first.  A state of libbacktrace has the file in the program's
 * place.  If another module covers the address as well, libbacktrace might take the address for one of that module; and
 * if the program has a name (musl), libbacktrace looks the address up in the program itself.  Returns nonzero in these
 * cases. */
static int visit_module(struct dl_phdr_info *object, size_t size, void *arg)
{
    search *search = arg;

    (void)size;
    if (search->seen++ == 0) {
        search->address += search->moved ? object->dlpi_addr : 0;
        return object->dlpi_name && *object->dlpi_name;
    }
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (part_holds(&object->dlpi_phdr[i], search->address - object->dlpi_addr))
            return 1;
    return 0;
}

bool os_module_locate(const char *module, uint64_t offset, os_location *place)
{
    search search = {.address = (uintptr_t)offset};
    module_file file;
    bool found;

    if (strlen(module) >= sizeof place->file || !module_open(&file, module))
        return false;
    strcpy(place->file, module);
    place->identity[0] = file.facts.st_dev;
    place->identity[1] = file.facts.st_ino;
    place->identity[2] = (uint64_t)file.facts.st_mtim.tv_sec * 1000000000 + (uint64_t)file.facts.st_mtim.tv_nsec;
    place->identity[3] = (uint64_t)file.facts.st_size;
    search.moved = file.type == ET_DYN;
    found = file_has_code(&file, offset) && has_whole_sections(&file) && dl_iterate_phdr(visit_module, &search) == 0;
    place->address = search.address;
    close(file.fd);
    return found;
}
