/* Numbers as text that reads the same in every locale. */
#ifndef NUMBER_H
#define NUMBER_H

enum { NUMBER_SIZE = 352 }; /* the largest double has 309 digits before its point */

/* Writes a finite number with that many places, 32 at most, and a point, whatever the locale has. */
const char *number_write(char text[NUMBER_SIZE], double value, int places);

/* Puts a point in the place of what printf has put between the digits of a number. */
void number_put_point(char *text);

#endif
