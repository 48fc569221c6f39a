/* Goal: a file may have anything in the place of an ELF file's headers: what the library itself reads of it is inside
 * of the file, and text that it makes of it ends. */
#include "fuzz.h"
#include "posix/os_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void look_at_module(const char *path, uint64_t offset)
{
    module_file file;
    uint64_t address, start, end;
    char build_id[41];

    if (!module_open(&file, path))
        return;
    CHECK(file.count <= MODULE_PARTS_MAX);
    if (module_span(&file, &start, &end))
        CHECK(start < end);
    (void)module_linked(&file, offset, &address);
    module_build_id(&file, build_id, sizeof build_id);
    CHECK(strlen(build_id) <= 40 && strspn(build_id, "0123456789abcdef") == strlen(build_id));
    close(file.fd);
}

static void look_at_notes(const uint8_t *data, size_t size)
{
    uint8_t *notes = aligned_alloc(8, (size + 8) & ~(size_t)7);
    const uint8_t *id;
    size_t id_size = 0;

    CHECK(notes);
    memcpy(notes + ((size + 8) & ~(size_t)7) - size / 4 * 4, data,
           size / 4 * 4); /* up to the end, where a sanitizer is */
    id = find_build_id(notes + ((size + 8) & ~(size_t)7) - size / 4 * 4, size / 4 * 4, &id_size);
    if (id)
        CHECK(fuzz_sum(id, id_size) <= 255U * (unsigned)id_size);
    free(notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    fuzz_input input = {data, size};
    uint64_t offset = (uint64_t)fuzz_number(&input, 4) << (fuzz_number(&input, 1) % 32);
    os_location place;

    if (fd < 0) {
        fd = memfd_create("module", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, input.at, input.left, 0) == (ssize_t)input.left);
    look_at_module(path, offset);
    if (os_module_locate(path, offset, &place))
        close((int)place.handle);
    look_at_notes(input.at, input.left);
    return 0;
}
