/* A task's name as a part of a file's name. */
#ifndef TASK_FILE_NAME_H
#define TASK_FILE_NAME_H

enum { TASK_FILE_NAME_SIZE = 65 };

/* Sets name to the first 64 bytes of the task's name.  Letters, digits, _ and a . that is not the first byte stay;
 * all other bytes become _. */
void task_file_name(char name[TASK_FILE_NAME_SIZE], const char *task);

#endif
