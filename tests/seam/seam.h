/* The common part of the tests of the seam.  A test program is its own child: the first bytes that a child reads name
 * a role and its argument, "exit 3".  XF_START=fork|spawn|server says how children are started.
 * Usage: NAME_test [TEST], where * and ? stand for any characters. */
#ifndef SEAM_H
#define SEAM_H

#include "os/os.h"
#include "support.h"
#include "unit.h"

#include <string.h>

enum { PATIENCE = 60000, SOON = 10000, PAGE = 65536 };

/* ---- The parent's side ----------------------------------------------------------------------- */

extern os_method method;
extern os_server *server;
extern bool records; /* children leave a record of where they were */

typedef struct test_box {
    os_status status;
    _Atomic int64_t number;
    char text[64];
    _Atomic uint32_t asked; /* to sleep on */
    _Alignas(64) uint8_t record[OS_RECORD_SIZE];
} test_box;

/* A child and its box. */
typedef struct kid {
    os_child *child;
    os_shm box;
} kid;

os_start role_start(const char *role);
int try_start(kid *kid, os_start *start);
kid start_as(os_start *start);
kid start_role(const char *role);
test_box *box_of(const kid *kid);

/* Reads exactly size bytes of a stream. */
void hear_stream(kid *kid, int stream, void *data, size_t size);

/* Reads the channel up to the end of a line, which is left out. */
void hear_line(kid *kid, char *line, size_t size);
void expect_line(kid *kid, const char *expected);
int64_t hear_number(kid *kid);
void send_text(kid *kid, const char *text);

/* Reads a stream until there is nothing or its end has come, and drops it. */
int drain(kid *kid, int stream);
os_end wait_end(kid *kid);

/* Waits until the end without reading. */
os_end wait_end_unread(kid *kid);
void close_kid(kid *kid);
os_end finish(kid *kid);
void finish_well(kid *kid);
void kill_and_finish(kid *kid);
void expect_end(const char *role, os_end_kind kind, int code);
int64_t pid_of(kid *kid);
kid start_captured(const char *role);
void expect_stream(kid *kid, int stream, const char *expected);

/* ---- The child's side ------------------------------------------------------------------------ */

extern const os_inherited *above;

void require(bool condition);
void hear_parent(void *data, size_t size);
void say(const char *text);
void say_number(int64_t number);
void in_thread(void (*run)(void *), void *argument);
uint8_t pattern(size_t at);
void fill_pattern(uint8_t *data, size_t size);
bool is_pattern(const uint8_t *data, size_t size);

/* A child of this child in that role, with this process's own output. */
os_child *start_below(const char *role);

/* Waits until the child of this child has said something. */
void hear_below(os_child *child);
int64_t pid_below(os_child *child);

/* What a child does; the program's own roles end with {0}.  Common to all: hello, pid, exit, spin, wait. */
typedef struct seam_role {
    const char *name;
    void (*be)(const char *argument);
} seam_role;

/* An os_entry that runs the role. */
void run_role(const os_inherited *inherited);

/* ---- The program ----------------------------------------------------------------------------- */

/* Uses something again and again, and checks that no handle and no mapping stays behind. */
void expect_nothing_left(void (*use)(void));

/* For cmocka_run_group_tests. */
int open_method(void **state);
int close_method(void **state);

/* The beginning of main: returns in the parent only. */
void seam_start(int argc, char **argv, const seam_role *roles);

#endif
