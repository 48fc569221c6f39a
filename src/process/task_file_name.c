#include "process/task_file_name.h"

#include <stdbool.h>
#include <stddef.h>

void task_file_name(char name[TASK_FILE_NAME_SIZE], const char *task)
{
    size_t length = 0;

    for (; task[length] && length < TASK_FILE_NAME_SIZE - 1; length++) {
        char letter = task[length];
        bool plain = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                     (letter >= '0' && letter <= '9') || letter == '_' || (letter == '.' && length > 0);
        name[length] = plain ? letter : '_';
    }
    name[length] = 0;
}
