#include "protocol/frame.h"

#include "base/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void put_little_endian(uint8_t *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_little_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

void frame_put_header(uint8_t header[FRAME_HEADER], const frame *frame)
{
    put_little_endian(header, frame->size, 4);
    put_little_endian(header + 4, frame->type, 4);
    put_little_endian(header + 8, frame->attached, 8);
    put_little_endian(header + 16, frame->token, 8);
}

int frame_decoder_open(frame_decoder *decoder)
{
    frame_decoder_open_in(decoder, malloc(FRAME_BUFFER));
    return decoder->bytes ? 0 : error_detail(XF_ENOMEM, "the buffer of a channel");
}

void frame_decoder_open_in(frame_decoder *decoder, uint8_t buffer[FRAME_BUFFER])
{
    *decoder = (frame_decoder){buffer, 0, 0};
}

void frame_decoder_close(frame_decoder *decoder)
{
    free(decoder->bytes);
    decoder->bytes = NULL;
}

uint8_t *frame_decoder_space(frame_decoder *decoder, size_t *room)
{
    if (decoder->begin > 0) {
        memmove(decoder->bytes, decoder->bytes + decoder->begin, decoder->end - decoder->begin);
        decoder->end -= decoder->begin;
        decoder->begin = 0;
    }
    *room = FRAME_BUFFER - decoder->end;
    return decoder->bytes + decoder->end;
}

void frame_decoder_filled(frame_decoder *decoder, size_t count)
{
    decoder->end += count;
}

int frame_decoder_next(frame_decoder *decoder, frame *frame)
{
    const uint8_t *header = decoder->bytes + decoder->begin;
    size_t have = decoder->end - decoder->begin;
    uint64_t size, type;

    if (have < FRAME_HEADER)
        return XF_EAGAIN;
    size = get_little_endian(header, 4);
    type = get_little_endian(header + 4, 4);
    if (size > FRAME_PAYLOAD_MAX)
        return error_detail(XF_EPROTO, "a frame of %llu bytes; at most %d are allowed", (unsigned long long)size,
                            FRAME_PAYLOAD_MAX);
    if (type < FRAME_TASK || type >= FRAME_TYPES)
        return error_detail(XF_EPROTO, "a frame of the unknown type %llu", (unsigned long long)type);
    if (have < FRAME_HEADER + size)
        return XF_EAGAIN;
    *frame = (struct frame){.type = (frame_type)type,
                            .payload = header + FRAME_HEADER,
                            .size = (size_t)size,
                            .attached = get_little_endian(header + 8, 8),
                            .token = get_little_endian(header + 16, 8)};
    decoder->begin += FRAME_HEADER + (size_t)size;
    return 0;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

void frame_put(frame_fields *fields, const void *bytes, size_t size)
{
    assert(size <= sizeof fields->bytes - fields->size);
    memcpy(fields->bytes + fields->size, bytes, size);
    fields->size += size;
}

void frame_put_u32(frame_fields *fields, uint32_t value)
{
    uint8_t bytes[4];

    put_little_endian(bytes, value, sizeof bytes);
    frame_put(fields, bytes, sizeof bytes);
}

void frame_put_u64(frame_fields *fields, uint64_t value)
{
    uint8_t bytes[8];

    put_little_endian(bytes, value, sizeof bytes);
    frame_put(fields, bytes, sizeof bytes);
}

void frame_put_text(frame_fields *fields, const char *text)
{
    size_t size = strlen(text);

    frame_put_u32(fields, (uint32_t)size);
    frame_put(fields, text, size);
}

frame_reader frame_read(const frame *frame)
{
    return (frame_reader){frame->payload, frame->size, false};
}

void frame_get(frame_reader *reader, void *bytes, size_t size)
{
    if (size > reader->left) {
        reader->bad = true;
        memset(bytes, 0, size);
        return;
    }
    memcpy(bytes, reader->at, size);
    reader->at += size;
    reader->left -= size;
}

uint32_t frame_get_u32(frame_reader *reader)
{
    uint8_t bytes[4];

    frame_get(reader, bytes, sizeof bytes);
    return (uint32_t)get_little_endian(bytes, sizeof bytes);
}

uint64_t frame_get_u64(frame_reader *reader)
{
    uint8_t bytes[8];

    frame_get(reader, bytes, sizeof bytes);
    return get_little_endian(bytes, sizeof bytes);
}

void frame_get_text(frame_reader *reader, char *text, size_t size)
{
    uint32_t length = frame_get_u32(reader);

    text[0] = 0;
    if (reader->bad || length >= size || length > reader->left || memchr(reader->at, 0, length)) {
        reader->bad = true;
        return;
    }
    frame_get(reader, text, length);
    text[length] = 0;
}

uint64_t frame_from_double(double value)
{
    uint64_t field;

    memcpy(&field, &value, sizeof field);
    return field;
}

double frame_to_double(uint64_t field)
{
    double value;

    memcpy(&value, &field, sizeof value);
    return value;
}
