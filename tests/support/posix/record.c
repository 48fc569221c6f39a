/* Records of a stack on POSIX. */
#include "record.h"

#include "posix/os_private.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

os_record *record_new(void)
{
    os_record *record = calloc(1, sizeof *record);

    assert_non_null(record);
    return record;
}

size_t record_size(void)
{
    return sizeof(os_record);
}

/* The lines of executable mappings of files. */
static void take_maps(os_record *record)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");

    assert_non_null(maps);
    record->maps_size = 0;
    while (fgets(line, sizeof line, maps)) {
        size_t length = strlen(line);
        if (!strchr(line, '/') || !strstr(line, "-xp ") || record->maps_size + length > sizeof record->maps)
            continue;
        memcpy(record->maps + record->maps_size, line, length);
        record->maps_size += (uint32_t)length;
    }
    fclose(maps);
}

/* Copies words, also those that a sanitizer has reserved. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void take_stack(os_record *record, uintptr_t from,
                                                                                      uintptr_t to)
{
    const volatile uint8_t *at = (const volatile uint8_t *)from;

    record->stack_at = from;
    record->stack_size = 0;
    while (from + record->stack_size < to && record->stack_size < sizeof record->stack) {
        record->stack[record->stack_size] = at[record->stack_size];
        record->stack_size++;
    }
}

static uintptr_t stack_end(void)
{
    pthread_attr_t attributes;
    void *start;
    size_t size;

    assert_int_equal(pthread_getattr_np(pthread_self(), &attributes), 0);
    assert_int_equal(pthread_attr_getstack(&attributes, &start, &size), 0);
    pthread_attr_destroy(&attributes);
    return (uintptr_t)start + size;
}

void record_take(void *arg)
{
    os_record *record = arg;

    take_stack(record, record_registers_here(&record->head, record_pc()), stack_end());
    take_maps(record);
    atomic_store(&record->head.state, 2);
}

void record_truncate(os_record *record)
{
    record->stack_size = record->stack_size > 2048 ? 2048 : record->stack_size;
}

void record_smash(os_record *record)
{
    for (uint32_t i = 0; i < record->head.register_count; i++)
        if (record->head.registers[i] == record->stack_at)
            record->head.registers[i] = 0x1234;
}

/* The inode is the fifth word of a line; a digit more makes it another. */
void record_replace(os_record *record)
{
    static char maps[sizeof record->maps];
    size_t size = 0;
    int word = 0;

    for (uint32_t i = 0; i < record->maps_size && size + 1 < sizeof maps; i++) {
        char letter = record->maps[i];
        word = letter == '\n' ? 0 : word + (letter == ' ' && word < 5);
        if (letter == ' ' && word == 5 && maps[size - 1] != ' ')
            maps[size++] = '7';
        maps[size++] = letter;
    }
    memcpy(record->maps, maps, size);
    record->maps_size = (uint32_t)size;
}
