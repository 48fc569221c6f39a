/* Frames: what parent and child say to each other.
 *
 * A frame is a header of WIRE_HEADER bytes and up to WIRE_PAYLOAD_MAX bytes of payload; what is larger travels in a
 * shared segment attached to the frame.  Numbers are little-endian.
 *
 *     u32 payload size | u16 type | u16 zero | u64 size of the attached segment, 0: none | u64 its token
 *
 * The decoder takes bytes from a process that may be broken or hostile: it holds one frame at most, and every length is
 * checked before it is used. */
#ifndef WIRE_H
#define WIRE_H

#include "os/os.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_VERSION = 2,
    WIRE_HEADER = 24,
    WIRE_BUFFER = OS_FIRST_MAX, /* the largest frame */
    WIRE_PAYLOAD_MAX = WIRE_BUFFER - WIRE_HEADER,
    WIRE_INLINE_MAX = 32768 /* data above this goes into a segment */
};

/* What a frame says, and the fields of its payload. */
typedef enum wire_type {
    WIRE_TASK = 1, /* to the child: version, build, depth, declared sizes, name, input */
    WIRE_STOP,     /* to the child: the task should stop */
    WIRE_ACK,      /* to the child: everything that was attached has been taken */
    WIRE_HELLO,    /* from the child, first: version, build, hash of the task table, pid */
    WIRE_LOG,      /* level, time, item, task, text */
    WIRE_MESSAGE,  /* bytes */
    WIRE_PROGRESS, /* from a pool's worker: there is something to look at in shared memory */
    WIRE_RESULT,   /* bytes */
    WIRE_FAIL,     /* text of why the task failed */
    WIRE_BYE,      /* from the child, last: outcome, code */
    WIRE_ASK,      /* from the child: request, reference of an object that it opens */
    WIRE_OFFER,    /* from the child: request, reference, flags; attached: an object that it gives out a reference of */
    WIRE_DROP,   /* from the child: reference of an object that it has closed, how often it was asked for or offered */
    WIRE_ANSWER, /* to the child: request, code, flags; attached: what was asked for */
    WIRE_TYPES
} wire_type;

/* How a task came to its end, in BYE. */
typedef enum wire_outcome { WIRE_DONE = 1, WIRE_FAILED, WIRE_STOPPED, WIRE_UNSTARTED } wire_outcome;

typedef struct wire_frame {
    wire_type type;
    const uint8_t *payload;
    size_t size;
    uint64_t attached; /* size of the segment; 0: none */
    uint64_t token;
} wire_frame;

void wire_put_header(uint8_t header[WIRE_HEADER], const wire_frame *frame);

/* Collects bytes and cuts them into frames. */
typedef struct wire_decoder {
    uint8_t *bytes;
    size_t begin; /* the first byte that is not decoded */
    size_t end;
} wire_decoder;

int wire_open(wire_decoder *decoder);
void wire_close(wire_decoder *decoder);

/* The same in memory of the caller's, which wire_close must not see. */
void wire_open_in(wire_decoder *decoder, uint8_t buffer[WIRE_BUFFER]);

/* Where to put further bytes, and how many at most: always at least one after wire_next said XF_EAGAIN. */
uint8_t *wire_space(wire_decoder *decoder, size_t *room);

/* Says that count bytes were put there. */
void wire_filled(wire_decoder *decoder, size_t count);

/* Cuts off the next frame, whose payload is valid until wire_space.
 * XF_EAGAIN when it is not complete; XF_EPROTO when it cannot be one, and ever after. */
int wire_next(wire_decoder *decoder, wire_frame *frame);

/* The fields at the start of a payload: enough for the largest, a task's.  Starts as {0}. */
typedef struct wire_fields {
    uint8_t bytes[512];
    size_t size;
} wire_fields;

void wire_put(wire_fields *fields, const void *bytes, size_t size);
void wire_put_u32(wire_fields *fields, uint32_t value);
void wire_put_u64(wire_fields *fields, uint64_t value);
void wire_put_text(wire_fields *fields, const char *text);

/* Reads fields of a payload; what is not there reads as zero and sets bad. */
typedef struct wire_reader {
    const uint8_t *at;
    size_t left;
    bool bad;
} wire_reader;

wire_reader wire_read(const wire_frame *frame);
void wire_get(wire_reader *reader, void *bytes, size_t size);
uint32_t wire_get_u32(wire_reader *reader);
uint64_t wire_get_u64(wire_reader *reader);

/* Copies a text of at most size - 1 bytes without zeros in it. */
void wire_get_text(wire_reader *reader, char *text, size_t size);

/* Seconds since 1970 as a field, and back. */
uint64_t wire_from_double(double value);
double wire_to_double(uint64_t field);

#endif
