/* Goal: a helper that was taken over by the file that it reads can send any bytes: they become frames with sound
 * texts, or the parent does without it. */
#include "fuzz.h"
#include "process/stack_answer.h"

int channel_send(channel *channel, frame_type type, const frame_fields *fields, const void *data, size_t size,
                 bool flush)
{
    (void)channel, (void)type, (void)fields, (void)data, (void)size, (void)flush;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *payload = malloc(size ? size : 1); /* no more, so that a sanitizer knows its end */
    frame from = {.type = FRAME_MESSAGE, .payload = payload, .size = size};
    xf_frame answer;

    CHECK(payload);
    if (size > 0)
        memcpy(payload, data, size);
    if (stack_answer_read(&from, &answer)) {
        CHECK(fuzz_text(answer.module) + fuzz_text(answer.build_id) + fuzz_text(answer.function) +
                  fuzz_text(answer.file) <
              size);
        CHECK(answer.line >= 0);
    }
    free(payload);
    return 0;
}
