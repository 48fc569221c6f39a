/* Text that somebody else has chosen, as it may be shown or handed on. */
#ifndef PRINTABLE_H
#define PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A character of a text that may be anything. */
typedef struct printable_char {
    size_t length; /* in bytes, at least 1 */
    uint32_t code; /* Unicode's, or the byte itself where is_text is false */
    bool is_text;  /* false: a byte that belongs to no UTF-8 character */
} printable_char;

/* Reads the character at text, of which left bytes, at least 1, remain. */
printable_char printable_read(const char *text, size_t left);

/* Whether a character does something to what stands around it instead of being shown: controls, the ends of lines, and
 * those that turn the direction of text. */
bool printable_is_control(uint32_t code);

/* Writes text for a person.  Controls but tabs, and what is not UTF-8, become escapes: \x1b, \u202e. */
void printable_write(FILE *stream, const char *text, size_t size);

#endif
