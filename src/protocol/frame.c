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

void wire_put_header(uint8_t header[WIRE_HEADER], const wire_frame *frame)
{
    put_little_endian(header, frame->size, 4);
    put_little_endian(header + 4, frame->type, 4);
    put_little_endian(header + 8, frame->attached, 8);
    put_little_endian(header + 16, frame->token, 8);
}

int wire_open(wire_decoder *decoder)
{
    wire_open_in(decoder, malloc(WIRE_BUFFER));
    return decoder->bytes ? 0 : error_detail(XF_ENOMEM, "buffer of a channel");
}

void wire_open_in(wire_decoder *decoder, uint8_t buffer[WIRE_BUFFER])
{
    *decoder = (wire_decoder){buffer, 0, 0};
}

void wire_close(wire_decoder *decoder)
{
    free(decoder->bytes);
    decoder->bytes = NULL;
}

uint8_t *wire_space(wire_decoder *decoder, size_t *room)
{
    if (decoder->begin > 0) {
        memmove(decoder->bytes, decoder->bytes + decoder->begin, decoder->end - decoder->begin);
        decoder->end -= decoder->begin;
        decoder->begin = 0;
    }
    *room = WIRE_BUFFER - decoder->end;
    return decoder->bytes + decoder->end;
}

void wire_filled(wire_decoder *decoder, size_t count)
{
    decoder->end += count;
}

int wire_next(wire_decoder *decoder, wire_frame *frame)
{
    const uint8_t *header = decoder->bytes + decoder->begin;
    size_t have = decoder->end - decoder->begin;
    uint64_t size, type;

    if (have < WIRE_HEADER)
        return XF_EAGAIN;
    size = get_little_endian(header, 4);
    type = get_little_endian(header + 4, 4);
    if (size > WIRE_PAYLOAD_MAX)
        return error_detail(XF_EPROTO, "a frame of %llu bytes; at most %d are allowed", (unsigned long long)size,
                            WIRE_PAYLOAD_MAX);
    if (type < WIRE_TASK || type >= WIRE_TYPES)
        return error_detail(XF_EPROTO, "a frame of the unknown type %llu", (unsigned long long)type);
    if (have < WIRE_HEADER + size)
        return XF_EAGAIN;
    *frame = (wire_frame){.type = (wire_type)type,
                          .payload = header + WIRE_HEADER,
                          .size = (size_t)size,
                          .attached = get_little_endian(header + 8, 8),
                          .token = get_little_endian(header + 16, 8)};
    decoder->begin += WIRE_HEADER + (size_t)size;
    return 0;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

void wire_put(wire_fields *fields, const void *bytes, size_t size)
{
    assert(size <= sizeof fields->bytes - fields->size);
    memcpy(fields->bytes + fields->size, bytes, size);
    fields->size += size;
}

void wire_put_u32(wire_fields *fields, uint32_t value)
{
    uint8_t bytes[4];

    put_little_endian(bytes, value, sizeof bytes);
    wire_put(fields, bytes, sizeof bytes);
}

void wire_put_u64(wire_fields *fields, uint64_t value)
{
    uint8_t bytes[8];

    put_little_endian(bytes, value, sizeof bytes);
    wire_put(fields, bytes, sizeof bytes);
}

void wire_put_text(wire_fields *fields, const char *text)
{
    size_t size = strlen(text);

    wire_put_u32(fields, (uint32_t)size);
    wire_put(fields, text, size);
}

wire_reader wire_read(const wire_frame *frame)
{
    return (wire_reader){frame->payload, frame->size, false};
}

void wire_get(wire_reader *reader, void *bytes, size_t size)
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

uint32_t wire_get_u32(wire_reader *reader)
{
    uint8_t bytes[4];

    wire_get(reader, bytes, sizeof bytes);
    return (uint32_t)get_little_endian(bytes, sizeof bytes);
}

uint64_t wire_get_u64(wire_reader *reader)
{
    uint8_t bytes[8];

    wire_get(reader, bytes, sizeof bytes);
    return get_little_endian(bytes, sizeof bytes);
}

void wire_get_text(wire_reader *reader, char *text, size_t size)
{
    uint32_t length = wire_get_u32(reader);

    text[0] = 0;
    if (reader->bad || length >= size || length > reader->left || memchr(reader->at, 0, length)) {
        reader->bad = true;
        return;
    }
    wire_get(reader, text, length);
    text[length] = 0;
}

uint64_t wire_from_double(double value)
{
    uint64_t field;

    memcpy(&field, &value, sizeof field);
    return field;
}

double wire_to_double(uint64_t field)
{
    double value;

    memcpy(&value, &field, sizeof value);
    return value;
}
