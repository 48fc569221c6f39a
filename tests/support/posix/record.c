/* Records of a stack on POSIX. */
#include "record.h"

#include "posix/os_private.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

os_record *record_new(void)
{
    os_record *record = calloc(1, sizeof *record);

    assert_non_null(record);
    return record;
}

size_t record_size(void)
{
    return sizeof(os_record);
}

/* The lines of executable mappings of files. */
static void take_maps(os_record *record)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");

    assert_non_null(maps);
    record->maps_size = 0;
    while (fgets(line, sizeof line, maps)) {
        size_t length = strlen(line);
        if (!strchr(line, '/') || !strstr(line, "-xp ") || record->maps_size + length > sizeof record->maps)
            continue;
        memcpy(record->maps + record->maps_size, line, length);
        record->maps_size += (uint32_t)length;
    }
    fclose(maps);
}

/* Copies words, also those that a sanitizer has reserved. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void take_stack(os_record *record, uintptr_t from,
                                                                                      uintptr_t to)
{
    const volatile uint8_t *at = (const volatile uint8_t *)from;

    record->stack_at = from;
    record->stack_size = 0;
    while (from + record->stack_size < to && record->stack_size < sizeof record->stack) {
        record->stack[record->stack_size] = at[record->stack_size];
        record->stack_size++;
    }
}

static uintptr_t stack_end(void)
{
    pthread_attr_t attributes;
    void *start;
    size_t size;

    assert_int_equal(pthread_getattr_np(pthread_self(), &attributes), 0);
    assert_int_equal(pthread_attr_getstack(&attributes, &start, &size), 0);
    pthread_attr_destroy(&attributes);
    return (uintptr_t)start + size;
}

void record_take(void *arg)
{
    os_record *record = arg;

    take_stack(record, record_registers_here(&record->head, record_pc()), stack_end());
    take_maps(record);
    atomic_store(&record->head.state, 2);
}

void record_truncate(os_record *record)
{
    record->stack_size = record->stack_size > 2048 ? 2048 : record->stack_size;
}

void record_smash(os_record *record)
{
    for (uint32_t i = 0; i < record->head.register_count; i++)
        if (record->head.registers[i] == record->stack_at)
            record->head.registers[i] = 0x1234;
}

/* The inode is the fifth word of a line; a digit more makes it another. */
void record_replace(os_record *record)
{
    static char maps[sizeof record->maps];
    size_t size = 0;
    int word = 0;

    for (uint32_t i = 0; i < record->maps_size && size + 1 < sizeof maps; i++) {
        char letter = record->maps[i];
        word = letter == '\n' ? 0 : word + (letter == ' ' && word < 5);
        if (letter == ' ' && word == 5 && maps[size - 1] != ' ')
            maps[size++] = '7';
        maps[size++] = letter;
    }
    memcpy(record->maps, maps, size);
    record->maps_size = (uint32_t)size;
}

/* ---- Modules that are not what they seem ----------------------------------------------------- */

/* The line of the system's own list about a mapping; "" when there is none. */
static void find_mapping(const void *address, char *line, int size)
{
    FILE *maps = fopen("/proc/self/maps", "r");

    assert_non_null(maps);
    do
        line[0] = 0;
    while (fgets(line, size, maps) && strtoull(line, NULL, 16) != (uintptr_t)address);
    fclose(maps);
}

/* Where the code of a file begins in it; 0 where it has none. */
static off_t find_code(const char *path)
{
    module_file file;
    off_t code = 0;

    if (!module_open(&file, path))
        return 0;
    for (size_t i = 0; i < file.count && code == 0; i++)
        if (file.parts[i].p_type == PT_LOAD && file.parts[i].p_flags & PF_X)
            code = (off_t)(file.parts[i].p_offset / OS_PAGE * OS_PAGE);
    close(file.fd);
    return code;
}

void record_point_to(os_record *record, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, OS_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, find_code(path));
    char line[4096] = "";

    if (page != MAP_FAILED)
        find_mapping(page, line, sizeof line);
    if (!*line)
        snprintf(line, sizeof line, "7f0000000000-7f0000100000 r-xp 00000000 00:01 1 %s\n", path);
    memset(record, 0, sizeof *record);
    strcpy(record->maps, line);
    record->maps_size = (uint32_t)strlen(line);
    record->head.register_count = OS_REGISTERS_MAX;
    for (int i = 0; i < OS_REGISTERS_MAX; i++)
        record->head.registers[i] = strtoull(line, NULL, 16) + 0x800;
    atomic_store(&record->head.state, OS_RECORD_WHOLE);
    if (page != MAP_FAILED)
        munmap(page, OS_PAGE);
    fd_close(&fd);
}

typedef struct image {
    char *bytes;
    size_t size;
    ElfW(Ehdr) * header;
    ElfW(Phdr) * parts;
    ElfW(Shdr) * sections;
    int part_count, section_count;
} image;

static void fill_section(const image *image, const ElfW(Shdr) * section, int byte)
{
    if (section->sh_type != SHT_NOBITS && section->sh_offset <= image->size &&
        section->sh_size <= image->size - section->sh_offset)
        memset(image->bytes + section->sh_offset, byte, section->sh_size);
}

static void spoil_note(const image *image, const ElfW(Phdr) * part, int number)
{
    ElfW(Nhdr) *note = (void *)(image->bytes + part->p_offset);

    if (number == 0)
        note->n_descsz = UINT32_MAX;
    else if (number == 1)
        note->n_namesz = UINT32_MAX;
    else
        note->n_descsz = 1 << 26; /* for which libbacktrace reads as much behind the section: elf.c, buildid_size */
}

static void spoil_part(const image *image, ElfW(Phdr) * part, int number)
{
    if (number <= 2 && part->p_type == PT_NOTE)
        spoil_note(image, part, number);
    if (number == 3 && part->p_type != PT_LOAD)
        part->p_filesz = part->p_memsz = UINT64_C(1) << 40;
    if (number == 4 && part->p_type != PT_LOAD)
        part->p_offset = UINT64_MAX - 4096;
    if (number == 5 && part->p_type == PT_LOAD)
        part->p_memsz = UINT64_MAX / 2;
    if (number == 6)
        part->p_align = 0;
}

static void spoil_section(const image *image, ElfW(Shdr) * section, int number)
{
    if (number == 7)
        section->sh_offset = image->size + 4096;
    if (number == 8)
        section->sh_size = UINT64_MAX;
    if (number == 9)
        section->sh_link = UINT32_MAX;
    if (number == 10)
        section->sh_entsize = 0;
    if (number == 11)
        section->sh_flags |= SHF_COMPRESSED;
    if (number >= 12 && number <= 13 && section->sh_type == SHT_PROGBITS)
        fill_section(image, section, number == 12 ? 0xFF : 0x01);
}

bool record_spoil(char *bytes, size_t size, int number)
{
    ElfW(Ehdr) *header = (void *)bytes;
    image image = {
        bytes,           size,           header, (void *)(bytes + header->e_phoff), (void *)(bytes + header->e_shoff),
        header->e_phnum, header->e_shnum};

    for (int i = 0; i < image.part_count; i++)
        spoil_part(&image, &image.parts[i], number);
    for (int i = 0; i < image.section_count; i++)
        spoil_section(&image, &image.sections[i], number);
    if (number == 14)
        header->e_shnum = header->e_shstrndx = UINT16_MAX - 1;
    if (number == 15)
        header->e_phnum = UINT16_MAX;
    if (number == 16)
        header->e_shoff = UINT64_MAX - 63;
    return number <= 16;
}

static bool make_sparse(const char *path, const char *program, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool made = fd >= 0 && write(fd, program, size) == (ssize_t)size && ftruncate(fd, (off_t)100 << 30) == 0;

    fd_close(&fd);
    return made;
}

bool record_make_path(char *path, size_t room, const char *scratch, int number, const char *program, size_t size)
{
    static const char *const paths[] = {"/dev/zero", "/dev/tty", "/proc/self/mem", "/proc/kmsg", "/", "/dev/stdin"};
    enum { PATHS = sizeof paths / sizeof *paths };
    bool made = true;

    snprintf(path, room, "%s", number < PATHS ? paths[number] : "");
    if (number >= PATHS)
        snprintf(path, room, "%s/path%d", scratch, number);
    if (number == PATHS)
        made = mkfifo(path, 0600) == 0;
    if (number == PATHS + 1)
        made = symlink(path, path) == 0;
    if (number == PATHS + 2)
        made = make_sparse(path, program, size);
    if (!made)
        *path = 0;
    return number < PATHS + 3;
}

void record_drop_path(const char *path, const char *scratch)
{
    if (strncmp(path, scratch, strlen(scratch)) == 0)
        unlink(path);
}
