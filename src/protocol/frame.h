/* Frames: the messages between parent and child.
 *
 * A frame is a header of FRAME_HEADER bytes and up to FRAME_PAYLOAD_MAX bytes of payload.  Larger data travels in a
 * shared segment that is attached to the frame.  Numbers are little-endian.
 *
 *     u32 payload size | u16 type | u16 zero | u64 size of the attached segment, 0: none | u64 its token
 *
 * The decoder reads bytes of a process that may be broken or hostile: it holds at most one frame, and checks every
 * length before it uses it. */
#ifndef FRAME_H
#define FRAME_H

#include "os/child.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_VERSION = 2,
    FRAME_HEADER = 24,
    FRAME_BUFFER = OS_FIRST_MAX, /* the largest frame */
    FRAME_PAYLOAD_MAX = FRAME_BUFFER - FRAME_HEADER,
    FRAME_INLINE_MAX = 32768 /* larger data travels in a segment */
};

/* The types of frames, and the fields of their payloads. */
typedef enum frame_type {
    FRAME_TASK = 1, /* to the child: version, build, depth and its limit, declared sizes, name, input */
    FRAME_STOP,     /* to the child: the task is asked to stop */
    FRAME_ACK,      /* to the child: the parent has taken every attached segment */
    FRAME_HELLO,    /* from the child, first: version, build, hash of the task table, pid */
    FRAME_LOG,      /* level, time, item, task, text */
    FRAME_MESSAGE,  /* bytes */
    FRAME_PROGRESS, /* from a pool's worker: shared memory has news for the parent */
    FRAME_RESULT,   /* bytes */
    FRAME_FAIL,     /* text: why the task failed */
    FRAME_BYE,      /* from the child, last: outcome, code */
    FRAME_ASK,      /* from the child: number of the request, reference of an object that it opens */
    FRAME_OFFER,    /* from the child: number of the request, reference, flags; attached: an object that it shares */
    FRAME_DROP,   /* from the child: reference of an object that it has closed, how often it sent ASK or OFFER for it */
    FRAME_ANSWER, /* to the child: number of the request, code, flags; attached: the requested object */
    FRAME_NAMES,  /* to the helper of stack_helper.h: build; the stack to name is in the box */
    FRAME_READY,  /* from a pool's worker: its initializer is done */
    FRAME_TYPES
} frame_type;

/* How a task ended, in BYE. */
typedef enum frame_outcome {
    FRAME_OUTCOME_DONE = 1,
    FRAME_OUTCOME_FAILED,
    FRAME_OUTCOME_STOPPED,
    FRAME_OUTCOME_FAILED_BY_US, /* crossfork itself found it: the code is one of XF_ERRORS */
    FRAME_OUTCOME_UNSTARTED
} frame_outcome;

typedef struct frame {
    frame_type type;
    const uint8_t *payload;
    size_t size;
    uint64_t attached; /* size of the segment; 0: none */
    uint64_t token;
} frame;

void frame_put_header(uint8_t header[FRAME_HEADER], const frame *frame);

/* Collects bytes and cuts them into frames. */
typedef struct frame_decoder {
    uint8_t *bytes;
    size_t begin; /* the first byte that is not decoded */
    size_t end;
} frame_decoder;

int frame_decoder_open(frame_decoder *decoder);
void frame_decoder_close(frame_decoder *decoder);

/* Opens a decoder in memory of the caller; frame_decoder_close must not be called for it. */
void frame_decoder_open_in(frame_decoder *decoder, uint8_t buffer[FRAME_BUFFER]);

/* Returns where the caller puts further bytes.
 *   room  Set to how many fit: at least one after frame_decoder_next returned XF_EAGAIN. */
uint8_t *frame_decoder_space(frame_decoder *decoder, size_t *room);

/* Counts the bytes that the caller has put there. */
void frame_decoder_filled(frame_decoder *decoder, size_t count);

/* Cuts off the next frame, whose payload is valid until frame_decoder_space.
 * XF_EAGAIN when it is not complete; XF_EPROTO when the bytes are not a frame, and in every later call. */
int frame_decoder_next(frame_decoder *decoder, frame *frame);

/* The fields at the start of a payload, with room for those of the largest frame, TASK.  Starts as {0}. */
typedef struct frame_fields {
    uint8_t bytes[512];
    size_t size;
} frame_fields;

void frame_put(frame_fields *fields, const void *bytes, size_t size);
void frame_put_u32(frame_fields *fields, uint32_t value);
void frame_put_u64(frame_fields *fields, uint64_t value);
void frame_put_text(frame_fields *fields, const char *text);

/* Reads the fields of a payload.  A field behind its end reads as zero and sets bad. */
typedef struct frame_reader {
    const uint8_t *at;
    size_t left;
    bool bad;
} frame_reader;

frame_reader frame_read(const frame *frame);
void frame_get(frame_reader *reader, void *bytes, size_t size);
uint32_t frame_get_u32(frame_reader *reader);
uint64_t frame_get_u64(frame_reader *reader);

/* Copies a text of at most size - 1 bytes without zeros in it. */
void frame_get_text(frame_reader *reader, char *text, size_t size);

/* Seconds since 1970 as a field, and back. */
uint64_t frame_from_double(double value);
double frame_to_double(uint64_t field);

#endif
