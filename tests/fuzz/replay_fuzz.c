/* Goal: a replay file may hold anything: it is refused, or its parts are inside of it.
 *
 * The first byte says whether the header, with its checksum, is put before the rest of the input, or is the input's. */
#include "fuzz.h"
#include "os/machine.h"
#include "process/replay_file.h"

enum { HEAD = 72 }; /* bytes of a file before its body: docs/replay.md */

/* The parts of the seam that are reached. */
void os_self_build(uint8_t build[OS_BUILD_ID_SIZE])
{
    memset(build, 'b', OS_BUILD_ID_SIZE);
}

int os_self_check_file_size(uint64_t size)
{
    (void)size;
    return 0;
}

static void look_at_case(const replay_case *what, const xf_writer *file)
{
    fuzz_text(what->task);
    fuzz_text(what->directory);
    fuzz_text(what->initializer);
    for (size_t i = 0; what->environment[i]; i++)
        fuzz_text(what->environment[i]);
    CHECK(what->size <= file->size && what->initializer_size <= file->size);
    CHECK(fuzz_sum(what->input, what->size) <= 255U * (unsigned)what->size);
    CHECK(fuzz_sum(what->initializer_input, what->initializer_size) <= 255U * (unsigned)what->initializer_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[HEAD];
    xf_writer file = {0};
    replay_file opened = {0};

    if (size < 1)
        return 0;
    if (data[0] & 1)
        CHECK(xf_writer_put(&file, nothing, HEAD) == 0);
    CHECK(xf_writer_put(&file, data + 1, size - 1) == 0);
    if (data[0] & 1)
        replay_file_seal(&file, (xf_status){XF_END_FAILED, 1, 0});
    opened.bytes = malloc(file.size ? file.size : 1); /* no more, so that a sanitizer knows its end */
    CHECK(opened.bytes);
    memcpy(opened.bytes, file.data, file.size);
    if (replay_file_check(&opened, file.size, "a file") == 0)
        look_at_case(&opened.what, &file);
    replay_file_close(&opened);
    writer_free(&file);
    return 0;
}
