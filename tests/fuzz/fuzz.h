/* What the targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, taken from its front. */
typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

/* Copies size bytes, zeros behind the end. */
static inline void fuzz_take(fuzz_input *input, void *to, size_t size)
{
    size_t there = size < input->left ? size : input->left;

    memset(to, 0, size);
    if (there > 0)
        memcpy(to, input->at, there);
    input->at += there;
    input->left -= there;
}

static inline uint32_t fuzz_number(fuzz_input *input, size_t bytes)
{
    uint8_t taken[4];
    uint32_t number = 0;

    fuzz_take(input, taken, bytes);
    for (size_t i = 0; i < bytes; i++)
        number |= (uint32_t)taken[i] << 8 * i;
    return number;
}

/* Changes what is there already: each piece has an offset, a length and so many bytes. */
static inline void fuzz_patch(fuzz_input *input, void *memory, size_t size)
{
    while (input->left > 4 && size > 0) {
        size_t at = fuzz_number(input, 3) % size, length = fuzz_number(input, 1);
        if (length > size - at)
            length = size - at;
        if (length > input->left)
            length = input->left;
        fuzz_take(input, (char *)memory + at, length);
    }
}

/* Reads all bytes, so that a sanitizer can check each of them. */
static inline unsigned fuzz_sum(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    unsigned total = 0;

    for (size_t i = 0; i < size; i++)
        total += bytes[i];
    return total;
}

/* The same of a text: its length. */
static inline size_t fuzz_text(const char *text)
{
    size_t length = strlen(text);

    CHECK(fuzz_sum(text, length) <= 255U * (unsigned)length);
    return length;
}

#endif
