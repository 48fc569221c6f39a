#include "process/stack_answer.h"

#include <string.h>

enum { TEXTS = 4, TEXT_MAX = 8000 };

_Static_assert(TEXTS *(TEXT_MAX + 1) <= FRAME_INLINE_MAX, "all texts fit a frame");

/* Appends a text and its 0. */
static size_t put_answer_text(char *texts, size_t at, const char *text)
{
    size_t size = strlen(text);

    if (size > TEXT_MAX)
        size = TEXT_MAX;
    memcpy(texts + at, text, size);
    texts[at + size] = 0;
    return at + size + 1;
}

int stack_answer_send(channel *channel, const xf_frame *answer)
{
    const char *const from[TEXTS] = {answer->module, answer->build_id, answer->function, answer->file};
    char texts[TEXTS * (TEXT_MAX + 1)];
    frame_fields fields = {.size = 0};
    size_t size = 0;

    frame_put_u64(&fields, answer->address);
    frame_put_u64(&fields, answer->offset);
    frame_put_u32(&fields, (uint32_t)answer->line);
    frame_put_u32(&fields, answer->inlined);
    for (int i = 0; i < TEXTS; i++)
        size = put_answer_text(texts, size, from[i]);
    return channel_send(channel, FRAME_MESSAGE, &fields, texts, size, false);
}

static const char *get_answer_text(frame_reader *reader)
{
    const char *text = (const char *)reader->at;
    const char *end = reader->left > 0 ? memchr(text, 0, reader->left) : NULL;

    if (!end) {
        reader->bad = true;
        return "";
    }
    reader->at += end - text + 1;
    reader->left -= (size_t)(end - text) + 1;
    return text;
}

bool stack_answer_read(const frame *from, xf_frame *answer)
{
    frame_reader reader = frame_read(from);
    uint32_t line;

    *answer = (xf_frame){.address = frame_get_u64(&reader), .module = ""};
    answer->offset = frame_get_u64(&reader);
    line = frame_get_u32(&reader);
    answer->line = line <= INT32_MAX ? (int)line : 0;
    answer->inlined = frame_get_u32(&reader) == 1;
    answer->module = get_answer_text(&reader);
    answer->build_id = get_answer_text(&reader);
    answer->function = get_answer_text(&reader);
    answer->file = get_answer_text(&reader);
    return !reader.bad && reader.left == 0 && from->attached == 0;
}
