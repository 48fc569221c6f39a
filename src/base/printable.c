#include "base/printable.h"

/* The number of bytes of the UTF-8 character at text; 0 when there is none (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *text, size_t left)
{
    unsigned char first = text[0], low = 0x80, high = 0xBF;
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;

    if (first == 0xE0)
        low = 0xA0;
    if (first == 0xED)
        high = 0x9F;
    if (first == 0xF0)
        low = 0x90;
    if (first == 0xF4)
        high = 0x8F;
    if (length > left || (length > 1 && (text[1] < low || text[1] > high)))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

printable_char printable_read(const char *text, size_t left)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = utf8_length(at, left);
    uint32_t code = length < 2 ? at[0] : at[0] & (0x7FU >> length);

    for (size_t i = 1; i < length; i++)
        code = code << 6 | (at[i] & 0x3FU);
    return (printable_char){length ? length : 1, code, length > 0};
}

/* C0, DEL and C1; Unicode 15, 23.2 (line and paragraph separator), and Unicode Standard Annex 9, table 4, with those
 * that table left for older texts (U+206A to U+206F). */
bool printable_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x206F);
}

void printable_write(FILE *stream, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        printable_char next = printable_read(text + at, size - at);
        if (!next.is_text || (next.code < 0x80 && next.code != '\t' && printable_is_control(next.code)))
            fprintf(stream, "\\x%02x", (unsigned)next.code);
        else if (next.code >= 0x80 && printable_is_control(next.code))
            fprintf(stream, "\\u%04x", (unsigned)next.code);
        else
            fwrite(text + at, 1, next.length, stream);
        at += next.length;
    }
}
