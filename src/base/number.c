#include "base/number.h"

#include <stdio.h>
#include <string.h>

/* What the locale puts there may have several bytes.  Its localeconv is not asked: another thread may change it. */
void number_put_point(char *text)
{
    static const char own[] = "0123456789+-e";
    char *begin = text + strspn(text, own), *end = begin + strcspn(begin, own);

    if (begin == end)
        return;
    *begin = '.';
    memmove(begin + 1, end, strlen(end) + 1);
}

const char *number_write(char text[NUMBER_SIZE], double value, int places)
{
    snprintf(text, NUMBER_SIZE, "%.*f", places, value);
    number_put_point(text);
    return text;
}
