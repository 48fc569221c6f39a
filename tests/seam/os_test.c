/* Goal: both twins keep every sentence of src/os.h.
 *
 * The program is its own child: the greeting names a role and its argument, "exit 3".  XF_START=fork|spawn|server says
 * how children come to be.  Usage: os_test [TEST], where * and ? stand for any characters. */
#include "base/hmac.h"
#include "os/crash.h"
#include "support.h"
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { PATIENCE = 60000, SOON = 10000, PAGE = 65536 };

static os_method method = OS_SPAWN;
static os_server *server;

static void run_role(os_parent *parent);

/* ---- The parent's side ----------------------------------------------------------------------- */

typedef struct test_box {
    os_note note;
    _Atomic int64_t number;
    char text[64];
    _Atomic uint32_t asked; /* to sleep on */
    _Alignas(64) uint8_t record[OS_RECORD_SIZE];
} test_box;

static bool records; /* children leave a record of where they were */

/* A child and its box. */
typedef struct kid {
    os_child *child;
    os_shm box;
} kid;

static os_start role_start(const char *role)
{
    return (os_start){.method = method,
                      .server = server,
                      .entry = run_role,
                      .stdio = {XF_STDIO_NULL, XF_STDIO_NULL, XF_STDIO_INHERIT},
                      .greeting = role,
                      .greeting_size = strlen(role) + 1};
}

static int try_start(kid *kid, os_start *start)
{
    int rc;

    assert_int_equal(os_shm_create(&kid->box, sizeof(test_box), OS_SHM_BELL), 0);
    start->box = &kid->box;
    if (records)
        ((test_box *)kid->box.address)->note.record_at = offsetof(test_box, record);
    rc = os_child_start(&kid->child, start);
    if (rc < 0)
        os_shm_close(&kid->box);
    return rc;
}

static kid start_as(os_start *start)
{
    kid kid = {0};
    int rc = try_start(&kid, start);

    if (rc < 0)
        fail_msg("os_child_start: %s: %s", xf_err_name(rc), xf_error_detail());
    return kid;
}

static kid start_role(const char *role)
{
    os_start start = role_start(role);

    return start_as(&start);
}

static test_box *box_of(const kid *kid)
{
    return kid->box.address;
}

/* Reads exactly size bytes of a stream. */
static void hear_stream(kid *kid, int stream, void *data, size_t size)
{
    char *at = data;
    size_t count;

    while (size > 0) {
        int rc = os_child_read(kid->child, stream, at, size, &count);
        if (rc == XF_EAGAIN) {
            assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_in_range(count, 1, size);
        at += count;
        size -= count;
    }
}

/* Reads the channel up to the end of a line, which is left out. */
static void hear_line(kid *kid, char *line, size_t size)
{
    size_t length = 0;

    for (;;) {
        assert_true(length < size);
        hear_stream(kid, OS_CHANNEL, line + length, 1);
        if (line[length] == '\n')
            break;
        length++;
    }
    line[length] = 0;
}

static void expect_line(kid *kid, const char *expected)
{
    char line[1024];

    hear_line(kid, line, sizeof line);
    assert_string_equal(line, expected);
}

static int64_t hear_number(kid *kid)
{
    char line[64];

    hear_line(kid, line, sizeof line);
    return strtoll(line, NULL, 10);
}

static void send_text(kid *kid, const char *text)
{
    assert_int_equal(os_child_write(kid->child, text, strlen(text)), 0);
}

/* Reads a stream until there is nothing or its end has come, and drops it. */
static int drain(kid *kid, int stream)
{
    char dropped[4096];
    size_t count;
    int rc;

    do
        rc = os_child_read(kid->child, stream, dropped, sizeof dropped, &count);
    while (rc == 0);
    return rc;
}

static os_end wait_end(kid *kid)
{
    os_end end;
    int rc;

    for (;;) {
        for (int stream = 0; stream < OS_STREAMS; stream++)
            drain(kid, stream);
        rc = os_child_end(kid->child, &end);
        if (rc == 0)
            return end;
        assert_int_equal(rc, XF_EAGAIN);
        assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
    }
}

/* Waits until the end without reading. */
static os_end wait_end_unread(kid *kid)
{
    os_end end;

    assert_true(support_sentinel_ready(os_child_sentinel(kid->child), PATIENCE));
    while (os_child_end(kid->child, &end) == XF_EAGAIN)
        assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
    return end;
}

static void close_kid(kid *kid)
{
    os_child_close(kid->child);
    os_shm_close(&kid->box);
}

static os_end finish(kid *kid)
{
    os_end end = wait_end(kid);

    close_kid(kid);
    return end;
}

static void finish_well(kid *kid)
{
    os_end end = finish(kid);

    assert_int_equal(end.kind, OS_EXITED);
    assert_int_equal(end.code, 0);
}

static void kill_and_finish(kid *kid)
{
    os_child_kill(kid->child);
    finish(kid);
}

/* ---- The child's side: roles ----------------------------------------------------------------- */

static os_parent *above;
static char greeting[OS_GREETING_MAX];
static size_t greeting_begin, greeting_end;

static void require(bool condition)
{
    if (!condition)
        os_self_exit(98);
}

static void hear_parent(void *data, size_t size)
{
    char *at = data;
    size_t count;

    while (size > 0) {
        count = greeting_end - greeting_begin;
        if (count > size)
            count = size;
        if (count > 0) {
            memcpy(at, greeting + greeting_begin, count);
            greeting_begin += count;
        } else {
            require(os_parent_read(above, at, size, -1, &count) == 0);
        }
        at += count;
        size -= count;
    }
}

static void say(const char *text)
{
    require(os_parent_write(above, text, strlen(text), -1) == 0);
}

static void say_number(int64_t number)
{
    char line[32];

    snprintf(line, sizeof line, "%lld\n", (long long)number);
    say(line);
}

static void be_hello(const char *argument)
{
    (void)argument;
    say("hello\n");
}

static void be_say(const char *argument)
{
    say(argument);
    say("\n");
}

static void be_pid(const char *argument)
{
    (void)argument;
    say_number(uv_os_getpid());
    say_number(uv_os_getppid());
}

static void be_exit(const char *argument)
{
    exit(atoi(argument));
}

static void be_self_exit(const char *argument)
{
    os_self_exit(atoi(argument));
}

static void exit_in_thread(void *argument)
{
    exit(atoi(argument));
}

static void in_thread(void (*run)(void *), void *argument)
{
    uv_thread_t thread;

    require(uv_thread_create(&thread, run, argument) == 0);
    uv_thread_join(&thread);
}

static void be_thread_exit(const char *argument)
{
    in_thread(exit_in_thread, (void *)argument);
}

/* The faults are meant: sanitizers must let them happen. */
#define FAULTY __attribute__((noinline, no_sanitize("undefined", "address")))

static volatile int zero, hundred = 100;

FAULTY static int overflow_stack(volatile char *below)
{
    volatile char block[4096];

    block[0] = below[0];
    return hundred == 0 ? 0 : overflow_stack(block) + block[0];
}

FAULTY static void crash(void *how)
{
    if (strcmp(how, "access") == 0)
        *(volatile int *)(intptr_t)zero = 1;
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "stack") == 0)
        overflow_stack((volatile char[]){0});
#if defined(__x86_64__) || defined(__i386__)
    if (strcmp(how, "divide") == 0)
        hundred /= zero;
    if (strcmp(how, "illegal") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "trap") == 0)
        __asm__ volatile("int3");
#endif
}

static void be_crash(const char *argument)
{
    crash((void *)argument);
}

static void be_thread_crash(const char *argument)
{
    in_thread(crash, (void *)argument);
}

static void be_kill_self(const char *argument)
{
    (void)argument;
    support_kill_self();
}

/* Makes no system call once it has said so. */
static void be_spin(const char *argument)
{
    (void)argument;
    say("spinning\n");
    for (volatile unsigned turns = 0;; turns++)
        continue;
}

/* Ends when told so. */
static void be_wait(const char *argument)
{
    char byte;

    (void)argument;
    say("waiting\n");
    hear_parent(&byte, 1);
}

static void be_echo(const char *argument)
{
    size_t left = (size_t)atoll(argument);
    char part[1000];

    while (left > 0) {
        size_t count = left < sizeof part ? left : sizeof part;
        hear_parent(part, count);
        require(os_parent_write(above, part, count, -1) == 0);
        left -= count;
    }
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / 251);
}

static void fill_pattern(uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size; at++)
        data[at] = pattern(at);
}

static bool is_pattern(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size; at++)
        if (data[at] != pattern(at))
            return false;
    return true;
}

/* What follows the role in the greeting is a pattern of so many bytes. */
static void be_greeted(const char *argument)
{
    static uint8_t rest[OS_GREETING_MAX];
    size_t size = (size_t)atoll(argument);

    require(size <= sizeof rest);
    hear_parent(rest, size);
    say(is_pattern(rest, size) ? "whole\n" : "broken\n");
}

/* Writes so many bytes at once. */
static void be_flood(const char *argument)
{
    size_t size = (size_t)atoll(argument);
    uint8_t *data = malloc(size);

    require(data != NULL);
    fill_pattern(data, size);
    require(os_parent_write(above, data, size, -1) == 0);
}

/* Reads nothing until the box says how much there is. */
static void be_gather(const char *argument)
{
    test_box *box = os_parent_given(above)->box.address;
    uint8_t *data;
    size_t size;

    (void)argument;
    say("waiting\n");
    while ((size = (size_t)atomic_load(&box->number)) == 0)
        continue;
    data = malloc(size);
    require(data != NULL);
    hear_parent(data, size);
    say(is_pattern(data, size) ? "whole\n" : "broken\n");
}

static void be_impatient(const char *argument)
{
    char byte;
    size_t count;

    (void)argument;
    require(os_parent_read(above, &byte, 1, 0, &count) == XF_ETIMEDOUT);
    require(os_parent_read(above, &byte, 1, 30, &count) == XF_ETIMEDOUT);
    say("timed out\n");
    require(os_parent_read(above, &byte, 1, PATIENCE, &count) == 0);
    require(byte == '!' && count == 1);
    say("heard\n");
}

/* A frame as os_child_take wants it. */
typedef struct claim {
    uint64_t token;
    uint64_t size;
} claim;

static void attach(size_t size, size_t claimed)
{
    os_shm shm;
    claim frame = {.size = claimed};

    require(os_shm_create(&shm, size, 0) == 0);
    fill_pattern(shm.address, size);
    frame.token = (uint64_t)shm.handle;
    require(os_parent_write(above, &frame, sizeof frame, shm.handle) == 0);
    shm.handle = -1; /* the parent's */
    os_shm_close(&shm);
}

/* Attaches segments of each of these sizes, and waits until it is told that all have been taken. */
static void be_attach(const char *argument)
{
    char byte;

    for (char *end; *argument; argument = end + (*end == ' ')) {
        size_t size = (size_t)strtoull(argument, &end, 10);
        attach(size, size);
    }
    hear_parent(&byte, 1);
}

static void be_attach_smaller(const char *argument)
{
    char byte;

    (void)argument;
    attach(PAGE, PAGE + 1);
    hear_parent(&byte, 1);
}

static void be_attach_and_end(const char *argument)
{
    (void)argument;
    attach(PAGE, PAGE);
}

static void be_box(const char *argument)
{
    test_box *box = os_parent_given(above)->box.address;

    snprintf(box->text, sizeof box->text, "%s", argument);
    say_number(atomic_load(&box->number));
    for (;;)
        continue;
}

/* Answers each time the word in the box has changed, on a word of the input. */
static void be_answering(const char *argument)
{
    const os_given *given = os_parent_given(above);
    test_box *box = given->box.address;
    _Atomic uint32_t *answered = given->input.address;

    for (uint32_t seen = 0; seen < (uint32_t)atoi(argument); seen++) {
        while (atomic_load(&box->asked) == seen)
            os_shm_wait(&given->box, &box->asked, seen, -1);
        atomic_store(answered, seen + 1);
        os_shm_ring(&given->input, answered, 1);
    }
}

/* Sleeps until a word of the input has changed. */
static void be_sleeping(const char *argument)
{
    const os_shm *input = &os_parent_given(above)->input;
    _Atomic uint32_t *word = (_Atomic uint32_t *)input->address + atoi(argument);

    say("asleep\n");
    while (atomic_load(word) == 0)
        os_shm_wait(input, word, 0, -1);
}

/* A frame as os_child_give wants it. */
typedef struct gift {
    uint64_t size;
    uint64_t unused;
    uint8_t token[OS_TOKEN_SIZE];
} gift;

/* Takes as many segments as it is said to, and one that does not come. */
static void be_taking(const char *argument)
{
    gift frame;
    intptr_t handle;
    os_shm shm;

    for (int left = atoi(argument); left > 0; left--) {
        uint64_t token = 0;
        hear_parent(&frame, sizeof frame);
        for (int i = 0; i < OS_TOKEN_SIZE; i++)
            token |= (uint64_t)frame.token[i] << (8 * i);
        require(os_parent_take(above, token, &handle) == 0);
        require(os_shm_open(&shm, handle, (size_t)frame.size, OS_SHM_BELL) == 0);
        say(is_pattern(shm.address, (size_t)frame.size) ? "whole\n" : "broken\n");
        os_shm_close(&shm);
    }
    require(os_parent_take(above, 0, &handle) == XF_EPROTO);
}

static void be_thread(const char *argument)
{
    char byte;

    (void)argument;
    say_number((int64_t)os_self_thread());
    hear_parent(&byte, 1);
}

static void be_process(const char *argument)
{
    char byte;

    (void)argument;
    say_number((int64_t)os_self_process());
    hear_parent(&byte, 1);
}

/* Says how many processors the calling thread may run on, and the first. */
static void say_processors(void *unused)
{
    os_machine machine;

    (void)unused;
    require(os_machine_read(&machine) == 0);
    say_number(machine.count);
    say_number(machine.cpus[0].number);
}

/* Binds itself to the processor of that number, and says what it may run on then, itself and a new thread. */
static void be_bound(const char *argument)
{
    uint32_t number = (uint32_t)atoi(argument);
    os_cpu_set set = {{0}};

    set.words[number / 64] = UINT64_C(1) << number % 64;
    say_number(os_self_bind(&set));
    say_processors(NULL);
    in_thread(say_processors, NULL);
}

/* Writes behind what the parent has committed, once it has committed that itself. */
static void be_committing(const char *argument)
{
    const os_shm *input = &os_parent_given(above)->input;
    size_t at = (size_t)atoll(argument);

    require(os_shm_commit(input, at, OS_PAGE) == 0);
    fill_pattern((uint8_t *)input->address + at, OS_PAGE);
    say(is_pattern(input->address, OS_PAGE) ? "whole\n" : "broken\n");
}

static void be_input(const char *argument)
{
    const uint8_t *input = os_parent_given(above)->input.address;

    if (!input)
        say("none\n");
    else
        say(is_pattern(input, (size_t)atoll(argument)) ? "whole\n" : "broken\n");
}

static void be_handles(const char *argument)
{
    char byte;

    (void)argument;
    say_number((int64_t)support_handles());
    hear_parent(&byte, 1);
}

static void be_stdout(const char *argument)
{
    fprintf(stdout, "out %s", argument);
    fflush(stdout);
    fprintf(stderr, "err %s", argument);
    fflush(stderr);
}

static void be_stdout_flood(const char *argument)
{
    size_t size = (size_t)atoll(argument);

    for (size_t at = 0; at < size; at++)
        putc('a' + (int)(at % 26), stdout);
    fflush(stdout);
}

static void be_stdin(const char *argument)
{
    (void)argument;
    say(getc(stdin) == EOF ? "end\n" : "something\n");
    say(printf("dropped") == 7 && fflush(stdout) == 0 ? "written\n" : "refused\n");
}

static void be_environment(const char *argument)
{
    static char value[65536];
    size_t size = sizeof value;

    say(uv_os_getenv(argument, value, &size) == 0 ? value : "(none)");
    say("\n");
}

static void be_directory(const char *argument)
{
    char path[4096];
    size_t size = sizeof path;

    (void)argument;
    require(uv_cwd(path, &size) == 0);
    say(path);
    say("\n");
}

static void be_signal(const char *argument)
{
    (void)argument;
    say(signal(SIGTERM, SIG_DFL) == SIG_DFL ? "default\n" : "changed\n");
}

static void be_build(const char *argument)
{
    uint8_t build[OS_BUILD_ID_SIZE];

    (void)argument;
    os_self_build(build);
    require(os_parent_write(above, build, sizeof build, -1) == 0);
}

/* A child of this child in that role, with this process's own output. */
static os_child *start_below(const char *role)
{
    static os_shm box;
    os_start start = role_start(role);
    os_child *child;

    require(os_shm_create(&box, sizeof(test_box), 0) == 0);
    start.box = &box;
    start.stdio[1] = XF_STDIO_INHERIT;
    if (method == OS_SERVER)
        require(os_server_open(&start.server) == 0);
    if (os_child_start(&child, &start) < 0) {
        fprintf(stderr, "os_child_start: %s\n", xf_error_detail());
        os_self_exit(97);
    }
    return child;
}

/* Waits until the child of this child has said something. */
static void hear_below(os_child *child)
{
    char byte;
    size_t count;

    while (os_child_read(child, OS_CHANNEL, &byte, 1, &count) == XF_EAGAIN)
        require(os_child_wait(child, PATIENCE) == 0);
}

static int64_t pid_below(os_child *child)
{
    os_end end;

    while (os_child_pid(child) == 0)
        require(os_child_end(child, &end) == XF_EAGAIN && os_child_wait(child, PATIENCE) == 0);
    return os_child_pid(child);
}

/* Has a child of its own that spins, tells its pid, and waits. */
static void be_middle(const char *argument)
{
    os_child *child = start_below("spin");
    char byte;

    (void)argument;
    hear_below(child);
    say_number(pid_below(child));
    hear_parent(&byte, 1);
}

static void be_pass_on(const char *argument)
{
    os_child *child = start_below(argument);
    os_end end;

    while (os_child_end(child, &end) == XF_EAGAIN) {
        require(os_child_wait(child, PATIENCE) == 0);
        hear_below(child);
    }
    require(end.kind == OS_EXITED && end.code == 0);
}

static const struct {
    const char *name;
    void (*be)(const char *argument);
} roles[] = {
    {"hello", be_hello},
    {"say", be_say},
    {"pid", be_pid},
    {"exit", be_exit},
    {"self_exit", be_self_exit},
    {"thread_exit", be_thread_exit},
    {"crash", be_crash},
    {"thread_crash", be_thread_crash},
    {"kill_self", be_kill_self},
    {"spin", be_spin},
    {"wait", be_wait},
    {"echo", be_echo},
    {"greeted", be_greeted},
    {"flood", be_flood},
    {"gather", be_gather},
    {"impatient", be_impatient},
    {"attach", be_attach},
    {"attach_smaller", be_attach_smaller},
    {"attach_and_end", be_attach_and_end},
    {"box", be_box},
    {"input", be_input},
    {"answering", be_answering},
    {"sleeping", be_sleeping},
    {"taking", be_taking},
    {"thread", be_thread},
    {"process", be_process},
    {"bound", be_bound},
    {"committing", be_committing},
    {"handles", be_handles},
    {"stdout", be_stdout},
    {"stdout_flood", be_stdout_flood},
    {"stdin", be_stdin},
    {"environment", be_environment},
    {"directory", be_directory},
    {"signal", be_signal},
    {"build", be_build},
    {"middle", be_middle},
    {"pass_on", be_pass_on},
};

/* Reads the role, which ends with a 0; what follows it is for the role. */
static void run_role(os_parent *parent)
{
    static char none[1];
    char *argument, *end;
    size_t count;

    above = parent;
    greeting_end = 0;
    do {
        if (os_parent_read(parent, greeting + greeting_end, sizeof greeting - greeting_end, -1, &count) < 0)
            os_self_exit(97);
        greeting_end += count;
        end = memchr(greeting, 0, greeting_end);
    } while (!end);
    greeting_begin = (size_t)(end - greeting) + 1;
    argument = strchr(greeting, ' ');
    if (argument)
        *argument++ = 0;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(greeting, roles[i].name) == 0) {
            roles[i].be(argument ? argument : none);
            os_self_exit(0);
        }
    os_self_exit(96);
}

/* ---- Shared memory --------------------------------------------------------------------------- */

static void a_segment_is_zero_filled_and_writable(void **state)
{
    os_shm shm;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(os_shm_create(&shm, 3 * PAGE, 0), 0);
    assert_int_equal(shm.size, 3 * PAGE);
    assert_int_not_equal(shm.handle, -1);
    bytes = shm.address;
    for (size_t at = 0; at < shm.size; at++)
        assert_int_equal(bytes[at], 0);
    fill_pattern(bytes, shm.size);
    assert_true(is_pattern(bytes, shm.size));
    os_shm_close(&shm);
}

static void a_segment_may_have_one_byte(void **state)
{
    os_shm shm;

    (void)state;
    assert_int_equal(os_shm_create(&shm, 1, 0), 0);
    assert_int_equal(shm.size, 1);
    *(char *)shm.address = 1;
    os_shm_close(&shm);
}

static void a_segment_larger_than_the_address_space_is_no_memory(void **state)
{
    os_shm shm = {0};

    (void)state;
    assert_int_equal(os_shm_create(&shm, sizeof(void *) > 4 ? SIZE_MAX >> 14 : SIZE_MAX - 0x10000000, 0), XF_ENOMEM);
    assert_true(*xf_error_detail() != 0);
    assert_null(shm.address);
}

static void a_forgotten_segment_stays_mapped(void **state)
{
    size_t handles = support_handles(), mappings = support_mappings();
    os_shm shm;

    (void)state;
    assert_int_equal(os_shm_create(&shm, PAGE, 0), 0);
    assert_int_equal(support_handles(), handles + 1);
    assert_int_equal(support_mappings(), mappings + 1);
    os_shm_forget(&shm);
    assert_int_equal(shm.handle, -1);
    assert_int_equal(support_handles(), handles);
    fill_pattern(shm.address, PAGE);
    assert_true(is_pattern(shm.address, PAGE));
    os_shm_close(&shm);
    assert_int_equal(support_mappings(), mappings);
}

static void a_reserved_segment_is_usable_where_it_was_committed(void **state)
{
    const size_t reserved = sizeof(size_t) > 4 ? (size_t)1 << 34 : (size_t)1 << 26;
    size_t mappings = support_mappings(), memory = support_memory();
    os_shm shm;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(os_shm_create(&shm, reserved, OS_SHM_RESERVED), 0);
    assert_int_equal(shm.size, reserved);
    assert_true(support_memory() < memory + (64 << 20));
    assert_int_equal(os_shm_commit(&shm, 16 * OS_PAGE, 4 * OS_PAGE), 0);
    bytes = (uint8_t *)shm.address + 16 * OS_PAGE;
    for (size_t at = 0; at < 4 * OS_PAGE; at++)
        assert_int_equal(bytes[at], 0);
    fill_pattern(bytes, 4 * OS_PAGE);
    assert_int_equal(os_shm_commit(&shm, 16 * OS_PAGE, 8 * OS_PAGE), 0);
    assert_true(is_pattern(bytes, 4 * OS_PAGE));
    assert_int_equal(os_shm_commit(&shm, reserved, OS_PAGE), XF_ENOMEM);
    assert_int_equal(os_shm_commit(&shm, reserved - OS_PAGE, 2 * OS_PAGE), XF_ENOMEM);
    os_shm_close(&shm);
    assert_int_equal(support_mappings(), mappings);
}

static void parent_and_child_commit_for_each_other(void **state)
{
    os_start start = role_start("committing 65536");
    os_shm input;
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&input, 1 << 20, OS_SHM_RESERVED), 0);
    assert_int_equal(os_shm_commit(&input, 0, OS_PAGE), 0);
    fill_pattern(input.address, OS_PAGE);
    start.input = &input;
    kid = start_as(&start);
    expect_line(&kid, "whole");
    finish_well(&kid);
    assert_true(is_pattern((uint8_t *)input.address + 65536, OS_PAGE));
    os_shm_close(&input);
}

static void a_wait_ends_when_the_word_is_another_or_time_has_passed(void **state)
{
    os_shm shm;
    _Atomic uint32_t *word;
    uint64_t before = uv_hrtime();

    (void)state;
    assert_int_equal(os_shm_create(&shm, PAGE, OS_SHM_BELL), 0);
    word = shm.address;
    os_shm_wait(&shm, word, 1, -1); /* it is 0 */
    while (uv_hrtime() < before + 30 * UINT64_C(1000000))
        os_shm_wait(&shm, word, 0, 30); /* which may return before, but not never */
    os_shm_ring(&shm, word, OS_ALL);    /* for nobody */
    os_shm_close(&shm);
}

static void those_who_sleep_on_a_word_are_woken(void **state)
{
    enum { TURNS = 200 };
    os_start start = role_start("answering 200");
    _Atomic uint32_t *answered;
    os_shm input;
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&input, PAGE, OS_SHM_BELL), 0);
    answered = input.address;
    start.input = &input;
    kid = start_as(&start);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        atomic_store(&box_of(&kid)->asked, turn + 1);
        os_shm_ring(&kid.box, &box_of(&kid)->asked, 1);
        while (atomic_load(answered) == turn)
            os_shm_wait(&input, answered, turn, -1);
    }
    finish_well(&kid);
    os_shm_close(&input);
}

/* The words are told apart, the dead do not count, and each of the living is woken. */
static void a_ring_wakes_the_living_who_sleep_on_its_word(void **state)
{
    const char *roles[] = {"sleeping 1", "sleeping 2", "sleeping 1", "sleeping 1"};
    _Atomic uint32_t *words;
    os_shm input;
    kid kids[4];

    (void)state;
    assert_int_equal(os_shm_create(&input, PAGE, OS_SHM_BELL), 0);
    words = input.address;
    for (int i = 0; i < 4; i++) {
        os_start start = role_start(roles[i]);
        start.input = &input;
        kids[i] = start_as(&start);
        expect_line(&kids[i], "asleep");
    }
    assert_int_equal(os_child_wait(kids[0].child, 30), XF_ETIMEDOUT); /* which lets them fall asleep, as it should */
    kill_and_finish(&kids[0]);
    atomic_store(&words[1], 1);
    os_shm_ring(&input, &words[1], OS_ALL);
    finish_well(&kids[2]);
    finish_well(&kids[3]);
    atomic_store(&words[2], 1);
    os_shm_ring(&input, &words[2], 1);
    finish_well(&kids[1]);
    os_shm_close(&input);
}

/* More words than Windows waits for handles at once, than a segment's list of sleepers has room for there, and than one
 * futex_waitv takes. */
enum { MANY = 300, SEGMENTS = 2 };

typedef struct many {
    os_shm shm[SEGMENTS];
    os_word words[MANY];
    _Atomic bool over;
} many;

static _Atomic uint32_t *word_of(many *many, int number)
{
    return (_Atomic uint32_t *)many->shm[number % SEGMENTS].address + number / SEGMENTS;
}

static void make_many(many *many)
{
    atomic_store(&many->over, false);
    for (int i = 0; i < SEGMENTS; i++)
        assert_int_equal(os_shm_create(&many->shm[i], PAGE, OS_SHM_BELL), 0);
    for (int i = 0; i < MANY; i++)
        many->words[i] = (os_word){&many->shm[i % SEGMENTS], word_of(many, i), 0, NULL};
}

static void close_many(many *many)
{
    for (int i = 0; i < SEGMENTS; i++)
        os_shm_close(&many->shm[i]);
}

static void a_wait_for_any_word_ends_as_one_for_a_word_does(void **state)
{
    uint64_t before = uv_hrtime();
    many many;

    (void)state;
    make_many(&many);
    for (size_t count = 1; count <= MANY; count += MANY - 1) {
        many.words[count - 1].seen = 1; /* it is 0 */
        os_shm_wait_any(many.words, count, -1);
        many.words[count - 1].seen = 0;
        before = uv_hrtime();
        while (uv_hrtime() < before + 30 * UINT64_C(1000000))
            os_shm_wait_any(many.words, count, 30);
    }
    close_many(&many);
}

static void wait_for_many(void *arg)
{
    many *many = arg;

    os_shm_wait_any(many->words, MANY, -1);
    atomic_store(&many->over, true);
}

/* And not by looking at them again and again: it would have returned for that. */
static void each_of_many_words_wakes_a_sleeper(void **state)
{
    const int rung[] = {0, 126, 127, 128, 253, 254, MANY - 1};
    uv_thread_t sleeper;
    many many;

    (void)state;
    make_many(&many);
    for (size_t i = 0; i < sizeof rung / sizeof *rung; i++) {
        _Atomic uint32_t *word = word_of(&many, rung[i]);
        atomic_store(&many.over, false);
        assert_int_equal(uv_thread_create(&sleeper, wait_for_many, &many), 0);
        uv_sleep(20);
        assert_false(atomic_load(&many.over));
        atomic_store(word, 1);
        os_shm_ring(many.words[rung[i]].shm, word, OS_ALL);
        uv_thread_join(&sleeper);
        atomic_store(word, 0);
    }
    close_many(&many);
}

static void another_process_wakes_one_who_sleeps_on_many_words(void **state)
{
    enum { TURNS = 50 };
    os_start start = role_start("answering 50");
    os_word *word;
    many many;
    kid kid;

    (void)state;
    make_many(&many);
    word = &many.words[MANY - SEGMENTS];
    start.input = word->shm;
    *word = many.words[0]; /* where the child answers, among the last */
    kid = start_as(&start);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        atomic_store(&box_of(&kid)->asked, turn + 1);
        os_shm_ring(&kid.box, &box_of(&kid)->asked, 1);
        many.words[0].seen = word->seen = turn;
        while (atomic_load(word->word) == turn)
            os_shm_wait_any(many.words + 1, MANY - 1, -1);
    }
    finish_well(&kid);
    close_many(&many);
}

static void closing_nothing_is_harmless(void **state)
{
    os_shm shm = OS_SHM_NONE;

    (void)state;
    os_shm_close(&shm);
    os_shm_close(&shm);
    assert_null(shm.address);
}

static void a_child_maps_the_box(void **state)
{
    os_start start = role_start("box written");
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&kid.box, sizeof(test_box), 0), 0);
    box_of(&kid)->number = 42;
    start.box = &kid.box;
    assert_int_equal(os_child_start(&kid.child, &start), 0);
    assert_int_equal(hear_number(&kid), 42);
    os_child_kill(kid.child);
    wait_end(&kid);
    assert_string_equal(box_of(&kid)->text, "written");
    close_kid(&kid);
}

static void a_child_maps_the_input(void **state)
{
    os_start start = role_start("input 1000000");
    os_shm input;
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&input, 1000000, 0), 0);
    fill_pattern(input.address, input.size);
    start.input = &input;
    kid = start_as(&start);
    os_shm_close(&input);
    expect_line(&kid, "whole");
    finish_well(&kid);
}

static void a_child_without_input_has_none(void **state)
{
    kid kid = start_role("input");

    (void)state;
    expect_line(&kid, "none");
    finish_well(&kid);
}

/* ---- Talking --------------------------------------------------------------------------------- */

static void the_largest_greeting_arrives(void **state)
{
    static uint8_t whole[OS_GREETING_MAX];
    size_t role = (size_t)snprintf((char *)whole, sizeof whole, "greeted %d", OS_GREETING_MAX - 14) + 1;
    os_start start = role_start("");
    kid kid;

    (void)state;
    assert_int_equal(role, 14);
    fill_pattern(whole + role, sizeof whole - role);
    start.greeting = whole;
    start.greeting_size = sizeof whole;
    kid = start_as(&start);
    expect_line(&kid, "whole");
    finish_well(&kid);
}

static void reading_gives_bytes_then_nothing_then_the_end(void **state)
{
    kid kid = start_role("wait");
    char byte;
    size_t count;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_child_read(kid.child, OS_CHANNEL, &byte, 1, &count), XF_EAGAIN);
    send_text(&kid, "!");
    wait_end_unread(&kid);
    assert_int_equal(os_child_read(kid.child, OS_CHANNEL, &byte, 1, &count), XF_EEND);
    assert_int_equal(os_child_read(kid.child, OS_CHANNEL, &byte, 1, &count), XF_EEND);
    close_kid(&kid);
}

static void a_stream_that_is_not_captured_is_at_its_end(void **state)
{
    kid kid = start_role("hello");
    char byte;
    size_t count;

    (void)state;
    assert_int_equal(os_child_read(kid.child, OS_STDOUT, &byte, 1, &count), XF_EEND);
    assert_int_equal(os_child_read(kid.child, OS_STDERR, &byte, 1, &count), XF_EEND);
    finish_well(&kid);
}

static void what_was_sent_can_be_read_after_the_end(void **state)
{
    kid kid = start_role("hello");

    (void)state;
    wait_end_unread(&kid);
    expect_line(&kid, "hello");
    assert_int_equal(drain(&kid, OS_CHANNEL), XF_EEND);
    close_kid(&kid);
}

typedef struct busy_reader {
    os_child *child;
    uv_sem_t looked;
    _Atomic bool stop;
} busy_reader;

static void look_and_be_busy(void *arg)
{
    busy_reader *reader = arg;
    char byte;
    size_t count;

    if (os_child_read(reader->child, OS_CHANNEL, &byte, 1, &count) == XF_EAGAIN)
        uv_sem_post(&reader->looked);
    while (!atomic_load(&reader->stop))
        continue;
}

/* The thread that looked before has other things to do when the last bytes come. */
static void the_last_bytes_are_there_at_once_after_the_end(void **state)
{
    (void)state;
    for (int turn = 0; turn < 20; turn++) {
        kid kid = start_role("echo 5");
        busy_reader reader = {.child = kid.child};
        uv_thread_t thread;
        char heard[8];
        size_t count;
        assert_int_equal(uv_sem_init(&reader.looked, 0), 0);
        assert_int_equal(uv_thread_create(&thread, look_and_be_busy, &reader), 0);
        uv_sem_wait(&reader.looked);
        send_text(&kid, "12345");
        wait_end_unread(&kid);
        assert_int_equal(os_child_read(kid.child, OS_CHANNEL, heard, sizeof heard, &count), 0);
        assert_int_equal(count, 5);
        assert_memory_equal(heard, "12345", 5);
        assert_int_equal(os_child_read(kid.child, OS_CHANNEL, heard, sizeof heard, &count), XF_EEND);
        atomic_store(&reader.stop, true);
        uv_thread_join(&thread);
        uv_sem_destroy(&reader.looked);
        close_kid(&kid);
    }
}

static void bytes_go_both_ways(void **state)
{
    kid kid = start_role("echo 300000");
    uint8_t sent[100], heard[100];

    (void)state;
    for (int turn = 0; turn < 3000; turn++) {
        memset(sent, turn, sizeof sent);
        assert_int_equal(os_child_write(kid.child, sent, sizeof sent), 0);
        if (turn % 10 == 9) /* a thousand bytes are a part of the echo */
            for (int part = turn - 9; part <= turn; part++) {
                hear_stream(&kid, OS_CHANNEL, heard, sizeof heard);
                memset(sent, part, sizeof sent);
                assert_memory_equal(heard, sent, sizeof sent);
            }
    }
    finish_well(&kid);
}

static void a_large_write_waits_until_it_is_read(void **state)
{
    enum { SIZE = 8 << 20 };
    kid kid = start_role("flood 8388608");
    uint8_t *heard = malloc(SIZE);

    (void)state;
    assert_non_null(heard);
    hear_stream(&kid, OS_CHANNEL, heard, SIZE);
    assert_true(is_pattern(heard, SIZE));
    free(heard);
    finish_well(&kid);
}

/* A child that does not read: writing never waits, and of a write that was refused nothing arrives. */
static void a_full_channel_refuses_whole_writes(void **state)
{
    enum { PART = 500, LIMIT = 64 << 20 };
    kid kid = start_role("gather");
    uint8_t part[PART];
    size_t total = 0;
    int rc;

    (void)state;
    expect_line(&kid, "waiting");
    for (;;) {
        for (size_t at = 0; at < PART; at++)
            part[at] = pattern(total + at);
        rc = os_child_write(kid.child, part, PART);
        if (rc < 0)
            break;
        total += PART;
        assert_true(total < LIMIT);
    }
    assert_int_equal(rc, XF_EAGAIN);
    atomic_store(&box_of(&kid)->number, (int64_t)total);
    expect_line(&kid, "whole");
    finish_well(&kid);
}

static void writing_to_a_child_that_has_gone_is_the_end(void **state)
{
    kid kid = start_role("hello");

    (void)state;
    wait_end(&kid);
    assert_int_equal(os_child_write(kid.child, "!", 1), XF_EEND);
    close_kid(&kid);
}

static void a_childs_reading_times_out(void **state)
{
    kid kid = start_role("impatient");

    (void)state;
    expect_line(&kid, "timed out");
    send_text(&kid, "!");
    expect_line(&kid, "heard");
    finish_well(&kid);
}

/* ---- Attached segments ----------------------------------------------------------------------- */

static int take(kid *kid, uint64_t token, size_t size, os_shm *shm)
{
    intptr_t handle;
    int rc = os_child_take(kid->child, token, &handle);

    return rc < 0 ? rc : os_shm_open(shm, handle, size, 0);
}

static void take_one(kid *kid, size_t size)
{
    claim frame;
    os_shm shm;

    hear_stream(kid, OS_CHANNEL, &frame, sizeof frame);
    assert_int_equal(frame.size, size);
    assert_int_equal(take(kid, frame.token, size, &shm), 0);
    assert_int_equal(shm.size, size);
    assert_true(is_pattern(shm.address, size));
    os_shm_close(&shm);
}

static void attached_segments_are_taken(void **state)
{
    size_t mappings = support_mappings();
    kid kid = start_role("attach 1 65536 5000000");

    (void)state;
    take_one(&kid, 1);
    take_one(&kid, 65536);
    take_one(&kid, 5000000);
    send_text(&kid, "!");
    finish_well(&kid);
    assert_int_equal(support_mappings(), mappings);
}

static void a_taken_segment_outlives_the_child(void **state)
{
    kid kid = start_role("attach 65536");
    claim frame;
    os_shm shm;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    assert_int_equal(take(&kid, frame.token, PAGE, &shm), 0);
    kill_and_finish(&kid);
    assert_true(is_pattern(shm.address, PAGE));
    os_shm_close(&shm);
}

static void a_segment_smaller_than_said_is_refused(void **state)
{
    kid kid = start_role("attach_smaller");
    size_t handles, mappings = support_mappings();
    claim frame;
    os_shm shm;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    handles = support_handles();
    assert_int_equal(take(&kid, frame.token, (size_t)frame.size, &shm), XF_EPROTO);
    assert_true(support_handles() <= handles);
    assert_int_equal(support_mappings(), mappings);
    send_text(&kid, "!");
    finish_well(&kid);
}

static void what_is_not_attached_is_refused(void **state)
{
    static const uint64_t tokens[] = {0, 1, 3, 0x7ffffff0, 0xffffffff, (uint64_t)1 << 40, UINT64_MAX - 1, UINT64_MAX};
    kid kid = start_role("wait");
    os_shm shm;

    (void)state;
    expect_line(&kid, "waiting");
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        assert_int_equal(take(&kid, tokens[i], PAGE, &shm), XF_EPROTO);
    send_text(&kid, "!");
    finish_well(&kid);
}

static void a_segment_cannot_be_taken_twice(void **state)
{
    kid kid = start_role("attach 65536");
    claim frame;
    os_shm shm;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    assert_int_equal(take(&kid, frame.token, PAGE, &shm), 0);
    os_shm_close(&shm);
    assert_int_equal(take(&kid, frame.token, PAGE, &shm), XF_EPROTO);
    send_text(&kid, "!");
    finish_well(&kid);
}

static void a_child_takes_what_it_is_given(void **state)
{
    const size_t sizes[] = {1, 65536, 5000000};
    size_t handles = support_handles();
    kid kid = start_role("taking 3");

    (void)state;
    for (int i = 0; i < 3; i++) {
        gift frame = {.size = sizes[i]};
        os_shm shm;
        assert_int_equal(os_shm_create(&shm, sizes[i], OS_SHM_BELL), 0);
        fill_pattern(shm.address, sizes[i]);
        assert_int_equal(os_child_give(kid.child, (uint8_t *)&frame, sizeof frame, shm.handle), 0);
        os_shm_close(&shm); /* what is given is a copy */
        expect_line(&kid, "whole");
    }
    finish_well(&kid);
    assert_int_equal(support_handles(), handles);
}

static void nothing_is_given_to_the_dead(void **state)
{
    kid kid = start_role("exit 0");
    size_t handles;
    gift frame = {.size = PAGE};
    os_shm shm;

    (void)state;
    wait_end(&kid);
    assert_int_equal(os_shm_create(&shm, PAGE, 0), 0);
    handles = support_handles();
    assert_int_equal(os_child_give(kid.child, (uint8_t *)&frame, sizeof frame, shm.handle), XF_EEND);
    assert_int_equal(support_handles(), handles);
    os_shm_close(&shm);
    close_kid(&kid);
}

static void a_segment_is_opened_as_what_it_is(void **state)
{
    os_shm shm, other;
    intptr_t copy;

    (void)state;
    assert_int_equal(os_shm_create(&shm, 5 * OS_PAGE, OS_SHM_RESERVED | OS_SHM_BELL), 0);
    assert_int_equal(os_shm_commit(&shm, 0, OS_PAGE), 0);
    fill_pattern(shm.address, OS_PAGE);
    assert_int_equal(os_handle_copy(shm.handle, &copy), 0);
    assert_int_equal(os_shm_open(&other, copy, shm.size, shm.flags), 0);
    assert_int_equal(other.size, shm.size);
    assert_true(is_pattern(other.address, OS_PAGE));
    assert_int_equal(os_shm_commit(&other, 4 * OS_PAGE, OS_PAGE), 0);
    fill_pattern((uint8_t *)other.address + 4 * OS_PAGE, OS_PAGE);
    assert_true(is_pattern((uint8_t *)shm.address + 4 * OS_PAGE, OS_PAGE));
    os_shm_close(&other);
    assert_int_equal(os_handle_copy(shm.handle, &copy), 0);
    assert_int_equal(os_shm_open(&other, copy, 6 * OS_PAGE, shm.flags), XF_EPROTO);
    assert_int_equal(os_handle_copy(shm.handle, &copy), 0);
    assert_int_equal(os_shm_open(&other, copy, 0, shm.flags), XF_EPROTO);
    os_shm_close(&shm);
    assert_int_equal(os_handle_copy(0x7ffffff0, &copy), XF_EINVAL);
    assert_int_equal(os_handle_copy(-1, &copy), XF_EINVAL);
}

static void attaching_needs_an_acknowledgement_where_it_says_so(void **state)
{
    kid kid = start_role("attach_and_end");
    claim frame;
    os_shm shm;
    int rc;

    (void)state;
    wait_end_unread(&kid);
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    rc = take(&kid, frame.token, PAGE, &shm);
    assert_int_equal(rc, os.attach_needs_ack ? XF_EPROTO : 0);
    if (rc == 0)
        os_shm_close(&shm);
    close_kid(&kid);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void waiting_for_nothing_times_out(void **state)
{
    kid kid = start_role("wait");
    uint64_t begun;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_child_wait(kid.child, 0), XF_ETIMEDOUT);
    begun = uv_hrtime();
    assert_int_equal(os_child_wait(kid.child, 50), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - begun >= 30 * 1000000); /* the system's clock may tick in steps of 16 */
    kill_and_finish(&kid);
}

static void waiting_ends_when_there_is_something_to_read(void **state)
{
    kid kid = start_role("wait");

    (void)state;
    assert_int_equal(os_child_wait(kid.child, -1), 0);
    expect_line(&kid, "waiting");
    kill_and_finish(&kid);
}

static void waiting_goes_on_to_tell_of_what_is_left_unread(void **state)
{
    kid kid = start_role("wait");
    char byte;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &byte, 1);
    for (int turn = 0; turn < 3; turn++)
        assert_int_equal(os_child_wait(kid.child, 0), 0);
    kill_and_finish(&kid);
}

static void waiting_ends_with_the_child(void **state)
{
    kid kid = start_role("wait");
    os_end end;

    (void)state;
    expect_line(&kid, "waiting");
    send_text(&kid, "!");
    while (os_child_end(kid.child, &end) == XF_EAGAIN) {
        assert_int_equal(os_child_wait(kid.child, -1), 0);
        drain(&kid, OS_CHANNEL);
    }
    assert_int_equal(end.kind, OS_EXITED);
    close_kid(&kid);
}

static void kill_from_thread(void *child)
{
    os_child_kill(child);
}

static void a_kill_from_another_thread_ends_the_wait(void **state)
{
    kid kid = start_role("wait");
    uv_thread_t thread;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(uv_thread_create(&thread, kill_from_thread, kid.child), 0);
    assert_int_equal(os_child_wait(kid.child, -1), 0);
    uv_thread_join(&thread);
    assert_int_equal(finish(&kid).kind, OS_KILLED);
}

typedef struct brief_wait {
    os_child *child;
    int rc;
} brief_wait;

static void wait_briefly(void *arg)
{
    brief_wait *wait = arg;

    wait->rc = os_child_wait(wait->child, 0);
}

/* A thread may wait, see nothing and end; the next one still hears of everything. */
static void the_thread_that_waited_may_end(void **state)
{
    kid kid = start_role("wait");
    brief_wait wait = {.child = kid.child};
    uv_thread_t thread;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(uv_thread_create(&thread, wait_briefly, &wait), 0);
    uv_thread_join(&thread);
    assert_int_equal(wait.rc, XF_ETIMEDOUT);
    assert_int_equal(os_child_wait(kid.child, 30), XF_ETIMEDOUT);
    send_text(&kid, "!");
    finish_well(&kid);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void expect_end(const char *role, os_end_kind kind, int code)
{
    kid kid = start_role(role);
    os_end end = wait_end(&kid), again;

    if (end.kind != kind || end.code != code)
        fail_msg("%s: kind %d code %d system %lld", role, end.kind, end.code, (long long)end.system);
    if (kind == OS_EXITED)
        assert_int_equal(end.system, code);
    assert_int_equal(os_child_end(kid.child, &again), 0);
    assert_true(again.kind == end.kind && again.code == end.code && again.system == end.system);
    close_kid(&kid);
}

static void exit_codes_are_the_same(void **state)
{
    (void)state;
    expect_end("exit 0", OS_EXITED, 0);
    expect_end("exit 1", OS_EXITED, 1);
    expect_end("exit 3", OS_EXITED, 3);
    expect_end("exit 127", OS_EXITED, 127);
    expect_end("exit 255", OS_EXITED, 255);
    expect_end("thread_exit 5", OS_EXITED, 5);
}

/* A forked child does not come through main, and exits from its role. */
static void a_main_that_ends_early_is_an_exit(void **state)
{
    static const char *const additions[] = {"XF_TEST_END_EARLY=3", NULL};
    os_start start = role_start("exit 3");
    kid kid;
    os_end end;

    (void)state;
    start.environment = additions;
    kid = start_as(&start);
    end = finish(&kid);
    assert_int_equal(end.kind, OS_EXITED);
    assert_int_equal(end.code, 3);
}

static void os_self_exit_gives_its_code(void **state)
{
    (void)state;
    expect_end("self_exit 0", OS_EXITED, 0);
    expect_end("self_exit 1", OS_EXITED, 1);
    expect_end("self_exit 255", OS_EXITED, 255);
}

/* A forked child keeps what its parent does about faults, and cmocka's handlers go on with the next test. */
static void let_faults_end_the_process(void)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
    signal(SIGILL, SIG_DFL);
}

static void crashes_are_told_apart(void **state)
{
    (void)state;
    let_faults_end_the_process();
    expect_end("crash access", OS_CRASHED, XF_CRASH_ACCESS);
    expect_end("crash abort", OS_CRASHED, XF_CRASH_ABORT);
    expect_end("crash stack", OS_CRASHED, XF_CRASH_STACK_OVERFLOW);
#if defined(__x86_64__) || defined(__i386__)
    expect_end("crash divide", OS_CRASHED, XF_CRASH_DIVIDE);
    expect_end("crash illegal", OS_CRASHED, XF_CRASH_ILLEGAL);
    expect_end("crash trap", OS_CRASHED, XF_CRASH_TRAP);
#endif
    expect_end("thread_crash access", OS_CRASHED, XF_CRASH_ACCESS);
    expect_end("thread_crash abort", OS_CRASHED, XF_CRASH_ABORT);
}

/* ---- Records --------------------------------------------------------------------------------- */

static int switch_records_on(void **state)
{
    (void)state;
    records = true;
    return 0;
}

static int switch_records_off(void **state)
{
    (void)state;
    records = false;
    return 0;
}

static const os_record_head *record_of(const kid *kid)
{
    return (const os_record_head *)(const void *)box_of(kid)->record;
}

/* Whether there are frames, the first of which is in a module. */
static void expect_frames(const kid *kid)
{
    os_frame *frames = malloc(OS_FRAMES_MAX * sizeof *frames);

    assert_int_equal(atomic_load(&record_of(kid)->state), OS_RECORD_WHOLE);
    assert_true(record_of(kid)->register_count > 0 && record_of(kid)->register_count <= OS_REGISTERS_MAX);
    assert_non_null(os.register_names[record_of(kid)->register_count - 1]);
    assert_true(os_record_frames((const os_record *)(const void *)record_of(kid), frames, OS_FRAMES_MAX) > 1);
    assert_true(*frames[0].module);
    free(frames);
}

static void a_crash_is_recorded(void **state)
{
    kid kid = start_role("crash access");
    os_end end;

    (void)state;
    end = wait_end(&kid);
    assert_int_equal(end.kind, OS_CRASHED);
    assert_int_equal((int32_t)end.system, record_of(&kid)->system);
    assert_int_equal(record_of(&kid)->fault_address, 0);
    expect_frames(&kid);
    close_kid(&kid);
}

static void a_running_child_can_be_recorded(void **state)
{
    static const char *const roles[] = {"spin", "wait"}, *const said[] = {"spinning", "waiting"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        kid kid = start_role(roles[i]);
        expect_line(&kid, said[i]);
        assert_int_equal(os_child_stack(kid.child), 0);
        expect_frames(&kid);
        assert_int_equal(os_child_stack(kid.child), XF_ESTATE); /* the record is in use */
        kill_and_finish(&kid);
    }
}

static void a_child_that_has_ended_is_not_recorded(void **state)
{
    kid kid = start_role("exit 0");

    (void)state;
    (void)wait_end(&kid);
    assert_int_equal(os_child_stack(kid.child), XF_EEND);
    close_kid(&kid);
}

static void without_room_for_it_nothing_is_recorded(void **state)
{
    kid kid = start_role("wait");

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_child_stack(kid.child), XF_ESTATE);
    assert_int_equal(atomic_load(&record_of(&kid)->state), OS_RECORD_NONE);
    kill_and_finish(&kid);
}

static void without_a_crash_there_is_no_dump(void **state)
{
    char path[64];
    kid kid = start_role("exit 0");

    (void)state;
    (void)wait_end(&kid);
    assert_int_equal(os_child_dump(kid.child, "name", path, sizeof path), XF_EAGAIN);
    close_kid(&kid);
}

static void a_threads_stack_overflow_ends_the_child(void **state)
{
    kid kid;

    (void)state;
    let_faults_end_the_process();
    kid = start_role("thread_crash stack");
    assert_int_equal(finish(&kid).kind, OS_CRASHED);
}

static void a_kill_is_no_exit(void **state)
{
    kid kid = start_role("spin");
    os_end end;

    (void)state;
    expect_line(&kid, "spinning");
    assert_int_equal(os_child_end(kid.child, &end), XF_EAGAIN);
    os_child_kill(kid.child);
    end = wait_end(&kid);
    assert_int_equal(end.kind, OS_KILLED);
    assert_int_equal(end.code, 0);
    os_child_kill(kid.child);
    close_kid(&kid);
}

static int64_t pid_of(kid *kid)
{
    os_end end;

    while (os_child_pid(kid->child) == 0) {
        assert_int_equal(os_child_end(kid->child, &end), XF_EAGAIN);
        assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
    }
    return os_child_pid(kid->child);
}

static void a_kill_by_somebody_else_is_no_exit(void **state)
{
    kid kid = start_role("wait");
    os_end end;

    (void)state;
    expect_line(&kid, "waiting");
    support_kill(pid_of(&kid));
    end = finish(&kid);
    assert_int_equal(end.kind, OS_KILLED);
    assert_int_equal(end.code, 0);
    expect_end("kill_self", OS_KILLED, 0);
}

static void a_child_killed_at_once_is_killed(void **state)
{
    kid kid = start_role("spin");

    (void)state;
    os_child_kill(kid.child);
    assert_int_equal(finish(&kid).kind, OS_KILLED);
}

static void the_pid_is_the_childs(void **state)
{
    kid kid = start_role("pid");
    int64_t pid = hear_number(&kid);

    (void)state;
    hear_number(&kid);
    assert_int_equal(pid_of(&kid), pid);
    wait_end(&kid);
    assert_int_equal(os_child_pid(kid.child), pid);
    close_kid(&kid);
}

static void the_sentinel_becomes_ready_at_the_end(void **state)
{
    kid kid = start_role("wait");

    (void)state;
    expect_line(&kid, "waiting");
    assert_false(support_sentinel_ready(os_child_sentinel(kid.child), 0));
    send_text(&kid, "!");
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    finish_well(&kid);
}

/* ---- Descendants ----------------------------------------------------------------------------- */

static void a_kill_takes_descendants(void **state)
{
    kid kid = start_role("middle");
    int64_t below = hear_number(&kid);

    (void)state;
    assert_true(support_alive(below));
    kill_and_finish(&kid);
    assert_true(support_gone(below, SOON));
}

static void descendants_end_with_the_child(void **state)
{
    kid kid = start_role("middle");
    int64_t below = hear_number(&kid);

    (void)state;
    send_text(&kid, "!");
    finish_well(&kid);
    assert_true(support_gone(below, SOON));
}

static void children_end_when_their_parent_is_killed(void **state)
{
    kid kid = start_role("middle");
    int64_t below = hear_number(&kid);

    (void)state;
    support_kill(pid_of(&kid));
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    assert_true(support_gone(below, SOON)); /* before os_child_end takes it */
    finish(&kid);
}

static void an_interrupt_of_this_group_does_not_reach_a_child(void **state)
{
    kid kid = start_role("wait");
    void (*before)(int) = signal(SIGINT, SIG_IGN);
    bool sent;

    (void)state;
    expect_line(&kid, "waiting");
    sent = support_interrupt_group();
    signal(SIGINT, before);
    send_text(&kid, "!");
    finish_well(&kid);
    if (!sent)
        skip();
}

static void signals_are_back_at_their_default(void **state)
{
    void (*before)(int) = signal(SIGTERM, SIG_IGN);
    kid kid = start_role("signal");

    (void)state;
    signal(SIGTERM, before);
    expect_line(&kid, "default");
    finish_well(&kid);
}

/* ---- Starting -------------------------------------------------------------------------------- */

static void fork_is_refused_where_there_is_none(void **state)
{
    os_start start = role_start("hello");
    kid kid;

    (void)state;
    if (os.has_fork)
        skip();
    start.method = OS_FORK;
    assert_int_equal(try_start(&kid, &start), XF_ENOTSUP);
}

/* As programs do whose main is not given them. */
static void a_child_finds_its_own_command_line(void **state)
{
    static const char *const additions[] = {"XF_TEST_NO_ARGUMENTS=1", NULL};
    os_start start = role_start("hello");
    kid kid;

    (void)state;
    start.environment = additions;
    kid = start_as(&start);
    expect_line(&kid, "hello");
    finish_well(&kid);
}

static void siblings_have_the_same_handles(void **state)
{
    enum { SIBLINGS = 5 };
    kid kids[SIBLINGS];
    int64_t handles[SIBLINGS];

    (void)state;
    for (int i = 0; i < SIBLINGS; i++) {
        kids[i] = start_role("handles");
        handles[i] = hear_number(&kids[i]);
    }
    for (int i = 0; i < SIBLINGS; i++) {
        assert_int_equal(handles[i], handles[0]);
        send_text(&kids[i], "!");
        finish_well(&kids[i]);
    }
}

static void start_many(void *first)
{
    enum { MANY = 50 };
    char role[32], line[32];

    for (int i = 0; i < MANY; i++) {
        int number = *(int *)first + i;
        kid kid;
        snprintf(role, sizeof role, "say %d", number);
        kid = start_role(role);
        hear_line(&kid, line, sizeof line);
        assert_int_equal(atoi(line), number);
        finish_well(&kid);
    }
}

static void two_threads_start_children_at_the_same_time(void **state)
{
    int first[2] = {1000, 2000};
    uv_thread_t thread;

    (void)state;
    if (method == OS_FORK)
        skip();
    assert_int_equal(uv_thread_create(&thread, start_many, &first[0]), 0);
    start_many(&first[1]);
    uv_thread_join(&thread);
}

/* ---- Standard streams ------------------------------------------------------------------------ */

static kid start_captured(const char *role)
{
    os_start start = role_start(role);

    start.stdio[1] = start.stdio[2] = XF_STDIO_CAPTURE;
    return start_as(&start);
}

static void expect_stream(kid *kid, int stream, const char *expected)
{
    char heard[100] = "";

    hear_stream(kid, stream, heard, strlen(expected));
    assert_string_equal(heard, expected);
}

static void captured_streams_are_kept_apart(void **state)
{
    kid kid = start_captured("stdout text");

    (void)state;
    expect_stream(&kid, OS_STDERR, "err text");
    expect_stream(&kid, OS_STDOUT, "out text");
    wait_end(&kid);
    assert_int_equal(drain(&kid, OS_STDOUT), XF_EEND);
    assert_int_equal(drain(&kid, OS_STDERR), XF_EEND);
    close_kid(&kid);
}

static void captured_streams_can_be_read_after_the_end(void **state)
{
    kid kid = start_captured("stdout text");

    (void)state;
    wait_end_unread(&kid);
    expect_stream(&kid, OS_STDOUT, "out text");
    expect_stream(&kid, OS_STDERR, "err text");
    close_kid(&kid);
}

/* Output is appended; one file may serve for both, and is opened by this process. */
static void a_stream_can_be_a_file(void **state)
{
    char path[64], text[64] = "";
    os_start start = role_start("stdout text");
    FILE *file;
    kid kid;

    (void)state;
    snprintf(path, sizeof path, "os_test.%d", (int)uv_os_getpid());
    start.stdio[1] = start.stdio[2] = XF_STDIO_FILE;
    start.stdio_path[1] = start.stdio_path[2] = path;
    for (int i = 0; i < 2; i++) {
        start.directory = i ? ".." : NULL;
        kid = start_as(&start);
        finish_well(&kid);
    }
    file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof text - 1, file), 4 * 8);
    fclose(file);
    assert_string_equal(text, "out texterr textout texterr text");
    start = role_start("stdin");
    start.stdio[0] = XF_STDIO_FILE;
    start.stdio_path[0] = path;
    kid = start_as(&start);
    hear_line(&kid, text, sizeof text);
    assert_string_equal(text, "something");
    finish_well(&kid);
    remove(path);
    assert_int_equal(try_start(&kid, &start), XF_ENOENT);
    assert_non_null(strstr(xf_error_detail(), path));
}

static void what_a_child_used_is_told(void **state)
{
    kid kid = start_role("hello");
    char line[64];
    os_end end;

    (void)state;
    hear_line(&kid, line, sizeof line);
    end = finish(&kid);
    assert_true(!end.refused && end.cpu_time >= 0 && end.cpu_time < 60);
    if (support_limits())
        assert_in_range(end.memory_peak, 65536, (uint64_t)1 << 36);
}

/* A child that cannot be given its limits does not start. */
static void limits_are_put_on_or_refused(void **state)
{
    const xf_limits cpu = {.cpu_ms = 500}, files = {.files = 64};
    os_start start = role_start("spin");
    char line[64];
    kid kid;
    int rc;

    (void)state;
    start.limits = &files;
    rc = try_start(&kid, &start);
    assert_true(rc == 0 || rc == XF_ENOTSUP);
    if (rc == 0)
        kill_and_finish(&kid);
    start.limits = &cpu;
    if (!support_limits())
        skip();
    kid = start_as(&start);
    hear_line(&kid, line, sizeof line);
    assert_int_equal(finish(&kid).kind, OS_CPU_LIMIT);
}

static void a_captured_stream_may_be_large(void **state)
{
    enum { SIZE = 1 << 20 };
    kid kid = start_captured("stdout_flood 1048576");
    char *heard = malloc(SIZE);

    (void)state;
    assert_non_null(heard);
    hear_stream(&kid, OS_STDOUT, heard, SIZE);
    for (size_t at = 0; at < SIZE; at++)
        assert_int_equal(heard[at], 'a' + (int)(at % 26));
    free(heard);
    finish_well(&kid);
}

static void inherited_output_is_the_parents_own(void **state)
{
    kid kid = start_captured("pass_on stdout text");

    (void)state;
    expect_stream(&kid, OS_STDOUT, "out text");
    expect_stream(&kid, OS_STDERR, "err text");
    finish_well(&kid);
}

static void null_gives_nothing_and_takes_everything(void **state)
{
    kid kid = start_role("stdin");

    (void)state;
    expect_line(&kid, "end");
    expect_line(&kid, "written");
    finish_well(&kid);
}

/* ---- Directory and environment --------------------------------------------------------------- */

/* A new directory whose name has letters of many alphabets. */
static void make_directory(char *outer, char *inner, size_t size)
{
    char base[2048];
    size_t length = sizeof base;
    uv_fs_t request;

    assert_int_equal(uv_os_tmpdir(base, &length), 0);
    snprintf(outer, size, "%s/crossfork-XXXXXX", base);
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, outer, NULL), 0);
    snprintf(outer, size, "%s", request.path);
    uv_fs_req_cleanup(&request);
    snprintf(inner, size, "%.2000s/a b'\xc3\xa4\xe6\x97\xa5", outer);
    assert_int_equal(uv_fs_mkdir(NULL, &request, inner, 0700, NULL), 0);
    uv_fs_req_cleanup(&request);
}

static void remove_directory(const char *path)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_rmdir(NULL, &request, path, NULL), 0);
    uv_fs_req_cleanup(&request);
}

static void a_child_has_the_directory_it_was_given(void **state)
{
    char outer[4096], inner[4096], line[4096];
    os_start start = role_start("directory");
    kid kid;

    (void)state;
    make_directory(outer, inner, sizeof inner);
    start.directory = inner;
    kid = start_as(&start);
    hear_line(&kid, line, sizeof line);
    finish_well(&kid);
    assert_true(strlen(line) > 12);
    assert_string_equal(line + strlen(line) - 7, "b'\xc3\xa4\xe6\x97\xa5");
    remove_directory(inner);
    remove_directory(outer);
}

static void a_child_has_this_process_directory(void **state)
{
    char own[4096], line[4096];
    size_t size = sizeof own;
    kid kid = start_role("directory");

    (void)state;
    assert_int_equal(uv_cwd(own, &size), 0);
    hear_line(&kid, line, sizeof line);
    assert_string_equal(line, own);
    finish_well(&kid);
}

static void expect_refused_directory(const char *directory, int code)
{
    os_start start = role_start("hello");
    size_t handles = support_handles(), mappings = support_mappings();
    kid kid;

    start.directory = directory;
    assert_int_equal(try_start(&kid, &start), code);
    assert_non_null(strstr(xf_error_detail(), directory));
    assert_true(support_handles() <= handles);
    assert_int_equal(support_mappings(), mappings);
}

static void a_directory_that_is_none_is_refused(void **state)
{
    char file[4096];
    size_t size = sizeof file;

    (void)state;
    assert_int_equal(uv_exepath(file, &size), 0);
    expect_refused_directory("no/such/directory", XF_ENOENT);
    expect_refused_directory(file, XF_ENOTDIR);
}

static void expect_variable(const char *const *environment, const char *name, const char *value)
{
    static char role[64], line[65536];
    os_start start;
    kid kid;

    snprintf(role, sizeof role, "environment %s", name);
    start = role_start(role);
    start.environment = environment;
    kid = start_as(&start);
    hear_line(&kid, line, sizeof line);
    assert_string_equal(line, value);
    finish_well(&kid);
}

static void the_environment_is_added_to(void **state)
{
    static const char *const additions[] = {"XF_TEST_NEW=\xc3\xa4 = \xe6\x97\xa5", "XF_TEST_CHANGED=after",
                                            "XF_TEST_EMPTY=", NULL};
    char own[64];
    size_t size = sizeof own;

    (void)state;
    uv_os_setenv("XF_TEST_OWN", "\xe6\x97\xa5");
    uv_os_setenv("XF_TEST_CHANGED", "before");
    expect_variable(additions, "XF_TEST_NEW", "\xc3\xa4 = \xe6\x97\xa5");
    expect_variable(additions, "XF_TEST_CHANGED", "after");
    expect_variable(additions, "XF_TEST_EMPTY", "");
    expect_variable(additions, "XF_TEST_OWN", "\xe6\x97\xa5");
    expect_variable(NULL, "XF_TEST_CHANGED", "before");
    assert_int_equal(uv_os_getenv("XF_TEST_CHANGED", own, &size), 0);
    assert_string_equal(own, "before");
    assert_int_equal(uv_os_getenv("XF_TEST_NEW", own, &size), UV_ENOENT);
    uv_os_unsetenv("XF_TEST_OWN");
    uv_os_unsetenv("XF_TEST_CHANGED");
}

static void a_large_environment_arrives(void **state)
{
    enum { VARIABLES = 8, LENGTH = 30000 };
    static char text[VARIABLES][LENGTH + 1];
    const char *additions[VARIABLES + 1] = {0};

    (void)state;
    for (int i = 0; i < VARIABLES; i++) {
        int length = snprintf(text[i], LENGTH, "XF_TEST_%d=", i);
        memset(text[i] + length, 'a' + i, (size_t)(LENGTH - length));
        additions[i] = text[i];
    }
    expect_variable(additions, "XF_TEST_0", text[0] + strlen("XF_TEST_0="));
    expect_variable(additions, "XF_TEST_7", text[7] + strlen("XF_TEST_0="));
}

/* ---- Watching -------------------------------------------------------------------------------- */

/* Children that are watched; the lock, because one of them at a time is another thread's. */
typedef struct crowd {
    uv_loop_t loop;
    uv_mutex_t lock;
    os_watcher *watcher;
    kid kids[100];
    size_t heard[100];
    bool ended[100];
    int left;
} crowd;

static void hear_some(crowd *crowd, uint64_t key)
{
    char part[100];
    size_t count;

    while (os_child_read(crowd->kids[key].child, OS_CHANNEL, part, sizeof part, &count) == 0)
        crowd->heard[key] += count;
}

/* Watches the child again until it has ended. */
static void on_ready(uint64_t key, void *arg)
{
    crowd *crowd = arg;
    os_end end;

    uv_mutex_lock(&crowd->lock);
    if (crowd->ended[key])
        goto unlock;
    os_child_unwatch(crowd->kids[key].child);
    hear_some(crowd, key);
    if (os_child_end(crowd->kids[key].child, &end) < 0) {
        assert_int_equal(os_child_watch(crowd->kids[key].child, crowd->watcher, key), 0);
        goto unlock;
    }
    assert_int_equal(end.kind, OS_EXITED);
    hear_some(crowd, key);
    crowd->ended[key] = true;
    if (--crowd->left == 0)
        uv_stop(&crowd->loop);

unlock:
    uv_mutex_unlock(&crowd->lock);
}

static crowd *open_crowd(int size)
{
    crowd *crowd = calloc(1, sizeof *crowd);

    assert_non_null(crowd);
    crowd->left = size;
    assert_int_equal(uv_loop_init(&crowd->loop), 0);
    assert_int_equal(uv_mutex_init(&crowd->lock), 0);
    assert_int_equal(os_watcher_open(&crowd->watcher, &crowd->loop, on_ready, crowd), 0);
    return crowd;
}

static void close_crowd(crowd *crowd)
{
    os_watcher_close(crowd->watcher);
    assert_int_equal(uv_run(&crowd->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&crowd->loop), 0);
    uv_mutex_destroy(&crowd->lock);
    free(crowd);
}

static void a_hundred_children_are_watched(void **state)
{
    crowd *crowd = open_crowd(100);

    (void)state;
    for (uint64_t key = 0; key < 100; key++) {
        crowd->kids[key] = start_role("hello");
        assert_int_equal(os_child_watch(crowd->kids[key].child, crowd->watcher, key), 0);
    }
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    assert_int_equal(crowd->left, 0);
    for (uint64_t key = 0; key < 100; key++) {
        assert_int_equal(crowd->heard[key], strlen("hello\n"));
        close_kid(&crowd->kids[key]);
    }
    close_crowd(crowd);
}

static void watch_from_thread(void *arg)
{
    crowd *crowd = arg;

    uv_mutex_lock(&crowd->lock);
    crowd->kids[0] = start_role("hello");
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    uv_mutex_unlock(&crowd->lock);
}

static void another_thread_may_begin_a_watch(void **state)
{
    crowd *crowd = open_crowd(1);
    uv_thread_t thread;

    (void)state;
    assert_int_equal(uv_thread_create(&thread, watch_from_thread, crowd), 0);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    uv_thread_join(&thread);
    assert_int_equal(crowd->heard[0], strlen("hello\n"));
    close_kid(&crowd->kids[0]);
    close_crowd(crowd);
}

static void a_watch_hears_of_what_was_there_before(void **state)
{
    crowd *crowd = open_crowd(1);

    (void)state;
    crowd->kids[0] = start_role("hello");
    assert_true(support_sentinel_ready(os_child_sentinel(crowd->kids[0].child), PATIENCE));
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    assert_int_equal(crowd->heard[0], strlen("hello\n"));
    close_kid(&crowd->kids[0]);
    close_crowd(crowd);
}

static void unwatching_is_harmless(void **state)
{
    crowd *crowd = open_crowd(1);

    (void)state;
    crowd->kids[0] = start_role("wait");
    os_child_unwatch(crowd->kids[0].child);
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    os_child_unwatch(crowd->kids[0].child);
    os_child_unwatch(crowd->kids[0].child);
    crowd->ended[0] = true; /* a call that was under way may still come */
    kill_and_finish(&crowd->kids[0]);
    close_crowd(crowd);
}

/* A watch that ends as soon as the first of several reasons for it is told, and begins again. */
typedef struct restless {
    uv_thread_t thread;
    uv_loop_t loop;
    os_watcher *watcher;
    kid kid;
    int rounds;
} restless;

static void watch_once_more(uint64_t key, void *arg)
{
    restless *restless = arg;

    if (restless->rounds == 0)
        return; /* a call that was under way */
    os_child_unwatch(restless->kid.child);
    if (--restless->rounds > 0)
        assert_int_equal(os_child_watch(restless->kid.child, restless->watcher, key), 0);
    else
        uv_stop(&restless->loop);
}

/* The child has closed its channel and has ended, so there are two reasons at the same time. */
static void be_restless(void *arg)
{
    restless *restless = arg;

    assert_int_equal(uv_loop_init(&restless->loop), 0);
    assert_int_equal(os_watcher_open(&restless->watcher, &restless->loop, watch_once_more, restless), 0);
    restless->kid = start_role("hello");
    assert_true(support_sentinel_ready(os_child_sentinel(restless->kid.child), PATIENCE));
    assert_int_equal(os_child_watch(restless->kid.child, restless->watcher, 0), 0);
    uv_run(&restless->loop, UV_RUN_DEFAULT);
    finish_well(&restless->kid);
    os_watcher_close(restless->watcher);
    assert_int_equal(uv_run(&restless->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&restless->loop), 0);
}

static void watches_may_end_while_they_are_told(void **state)
{
    enum { THREADS = 4, ROUNDS = 250 };
    restless all[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        all[i].rounds = ROUNDS;
        assert_int_equal(uv_thread_create(&all[i].thread, be_restless, &all[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&all[i].thread);
}

/* ---- The server ------------------------------------------------------------------------------ */

static void a_server_that_was_killed_starts_nothing(void **state)
{
    os_start start = role_start("pid");
    int64_t server_pid;
    kid kid;
    int rc;

    (void)state;
    if (!os.has_server)
        skip();
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    hear_number(&kid);
    server_pid = hear_number(&kid);
    finish_well(&kid);
    support_kill(server_pid);
    assert_true(support_gone(server_pid, SOON));
    rc = try_start(&kid, &start);
    assert_int_equal(rc, XF_EEND);
    os_server_close(start.server);
}

static void a_server_takes_its_children_along(void **state)
{
    os_start start = role_start("spin");
    int64_t pid;
    kid kid;
    os_end end;

    (void)state;
    if (!os.has_server)
        skip();
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    expect_line(&kid, "spinning");
    pid = pid_of(&kid);
    os_server_close(start.server);
    assert_true(support_gone(pid, SOON));
    end = finish(&kid);
    assert_true(end.kind == OS_KILLED || end.kind == OS_LOST);
}

static void a_server_can_be_opened_everywhere(void **state)
{
    os_start start = role_start("hello");
    kid kid;

    (void)state;
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    expect_line(&kid, "hello");
    finish_well(&kid);
    os_server_close(start.server);
    os_server_close(NULL);
}

/* ---- This process ---------------------------------------------------------------------------- */

static void this_process_is_nobodys_child(void **state)
{
    char name[] = "os_test", other[] = "--other", *argv[] = {name, other, NULL};
    os_parent *parent = (os_parent *)argv;

    (void)state;
    assert_int_equal(os_self_child(0, NULL, run_role, &parent), 0);
    assert_null(parent);
    parent = (os_parent *)argv;
    assert_int_equal(os_self_child(1, argv, run_role, &parent), 0);
    assert_null(parent);
    assert_int_equal(os_self_child(2, argv, run_role, &parent), 0);
    assert_null(parent);
}

static void a_command_line_without_its_channel_is_refused(void **state)
{
    static const char *const lies[] = {"", "1,1", "x", "1,2,3,4,5,6", "ffffffffffffffff,0"};
    char name[] = "os_test", lie[64], *argv[] = {name, lie, NULL};
    os_parent *parent;

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        snprintf(lie, sizeof lie, "--crossfork-child=%s", lies[i]);
        assert_int_equal(os_self_child(2, argv, run_role, &parent), XF_EPROTO);
        assert_true(*xf_error_detail() != 0);
    }
}

static void the_build_is_the_same_in_a_child(void **state)
{
    static const uint8_t none[OS_BUILD_ID_SIZE];
    uint8_t own[OS_BUILD_ID_SIZE], heard[OS_BUILD_ID_SIZE];
    kid kid = start_role("build");

    (void)state;
    os_self_build(own);
    hear_stream(&kid, OS_CHANNEL, heard, sizeof heard);
    assert_memory_equal(heard, own, sizeof own);
    assert_memory_not_equal(own, none, sizeof own);
    finish_well(&kid);
}

static void wait_for_semaphore(void *semaphore)
{
    uv_sem_wait(semaphore);
}

static void threads_are_counted_where_they_are_known(void **state)
{
    int before = os_self_threads();
    uv_sem_t semaphore;
    uv_thread_t thread;

    (void)state;
    assert_true(before >= 0);
    assert_int_equal(uv_sem_init(&semaphore, 0), 0);
    assert_int_equal(uv_thread_create(&thread, wait_for_semaphore, &semaphore), 0);
    assert_int_equal(os_self_threads(), before ? before + 1 : 0);
    uv_sem_post(&semaphore);
    uv_thread_join(&thread);
    uv_sem_destroy(&semaphore);
}

static void note_number(void *number)
{
    *(uint64_t *)number = os_self_thread();
}

static void a_thread_has_a_number_while_it_lives(void **state)
{
    uint64_t own = os_self_thread(), others = 0;
    uv_thread_t thread;

    (void)state;
    assert_true(own != 0 && own < (UINT64_C(1) << OS_THREAD_BITS));
    assert_true(own == os_self_thread());
    assert_true(os_thread_lives(own));
    assert_int_equal(uv_thread_create(&thread, note_number, &others), 0);
    uv_thread_join(&thread);
    assert_true(others != 0 && others != own);
    assert_false(os_thread_lives(others));
    assert_false(os_thread_lives(own ^ UINT64_C(1) << 33)); /* one that had the same id at another time */
}

/* Also before its parent has learnt of it. */
static void a_childs_thread_is_seen_to_end(void **state)
{
    kid kid = start_role("thread");
    uint64_t thread = (uint64_t)hear_number(&kid);

    (void)state;
    assert_true(os_thread_lives(thread));
    os_child_kill(kid.child);
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    assert_false(os_thread_lives(thread));
    finish(&kid);
    assert_false(os_thread_lives(thread));
}

static void a_process_has_a_number_while_it_lives(void **state)
{
    uint64_t own = os_self_process(), others;
    kid kid = start_role("process");

    (void)state;
    others = (uint64_t)hear_number(&kid);
    assert_true(own != 0 && own < (UINT64_C(1) << OS_PROCESS_BITS));
    assert_true(own == os_self_process());
    assert_true(own != others);
    assert_true(os_process_lives(own));
    assert_true(os_process_lives(others));
    assert_false(os_process_lives(own ^ UINT64_C(1) << 33)); /* its id, at another time */
    os_child_kill(kid.child);
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    assert_false(os_process_lives(others)); /* also before its parent has learnt of it */
    finish(&kid);
    assert_false(os_process_lives(others));
}

/* ---- The machine ----------------------------------------------------------------------------- */

static void the_processors_of_the_machine_are_told(void **state)
{
    os_machine machine, again;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    assert_int_equal(os_machine_read(&again), 0);
    assert_memory_equal(&machine, &again, sizeof machine);
    assert_in_range(machine.count, 1, OS_CPUS_MAX);
    assert_int_equal(machine.count, uv_available_parallelism());
    for (uint32_t i = 0; i < machine.count; i++) {
        assert_true(i == 0 || machine.cpus[i].number > machine.cpus[i - 1].number);
        assert_true(machine.cpus[i].core <= machine.cpus[i].number);
        assert_true(machine.cpus[i].cache <= machine.cpus[i].number);
    }
    assert_true(machine.quota >= 0);
}

static void a_child_can_be_bound_to_any_processor(void **state)
{
    os_machine machine;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    for (uint32_t i = 0; i < machine.count && i < 4; i++) {
        char role[32];
        kid kid;
        snprintf(role, sizeof role, "bound %u", machine.cpus[i].number);
        kid = start_role(role);
        assert_int_equal(hear_number(&kid), 0);
        for (int j = 0; j < 2; j++) {
            assert_int_equal(hear_number(&kid), 1);
            assert_int_equal(hear_number(&kid), machine.cpus[i].number);
        }
        finish_well(&kid);
    }
}

static void a_processor_that_is_not_there_is_refused(void **state)
{
    os_cpu_set none = {{0}};
    os_machine before, after;
    kid kid;

    (void)state;
    assert_int_equal(os_machine_read(&before), 0);
    assert_int_equal(os_self_bind(&none), XF_EINVAL);
    assert_true(strstr(xf_error_detail(), "processor") != NULL);
    assert_int_equal(os_machine_read(&after), 0);
    assert_memory_equal(&before, &after, sizeof before);
    kid = start_role("bound 1023");
    assert_int_equal(hear_number(&kid), XF_EINVAL);
    assert_int_equal(hear_number(&kid), before.count);
    kill_and_finish(&kid);
}

/* ---- Doors and links ------------------------------------------------------------------------- */

/* A door with one who has arrived. */
typedef struct visit {
    char name[OS_NAME_MAX + 1];
    os_door *door;
    os_link *inside, *outside;
} visit;

static const char *door_name(void)
{
    static char name[OS_NAME_MAX + 1];
    static int number;

    snprintf(name, sizeof name, "os-test.%lld_%d", (long long)uv_os_getpid(), number++);
    return name;
}

static os_door *open_door(const char *name)
{
    os_door *door = NULL;

    assert_int_equal(os_door_open(&door, name), 0);
    return door;
}

static os_link *admit(os_door *door)
{
    os_link *link = NULL;
    int rc;

    while ((rc = os_door_admit(door, &link)) == XF_EAGAIN)
        assert_int_equal(os_door_wait(door, NULL, 0, PATIENCE), 0);
    assert_int_equal(rc, 0);
    return link;
}

static visit begin_visit(void)
{
    visit visit;

    strcpy(visit.name, door_name());
    visit.door = open_door(visit.name);
    assert_int_equal(os_link_open(&visit.outside, visit.name, PATIENCE), 0);
    visit.inside = admit(visit.door);
    return visit;
}

static void end_visit(visit visit)
{
    os_link_close(visit.inside);
    os_link_close(visit.outside);
    os_door_close(visit.door);
}

static void expect_bytes(os_link *link, const char *expected)
{
    char bytes[OS_LINK_WRITE_MAX];
    size_t have = 0, count, size = strlen(expected);
    int rc;

    while (have < size) {
        rc = os_link_read(link, bytes + have, size - have, &count);
        if (rc == XF_EAGAIN)
            assert_int_equal(os_door_wait(NULL, &link, 1, PATIENCE), 0);
        else
            assert_int_equal(rc, 0);
        have += rc == 0 ? count : 0;
    }
    assert_memory_equal(bytes, expected, size);
}

static void expect_end_of(os_link *link)
{
    size_t count;
    char byte;
    int rc;

    while ((rc = os_link_read(link, &byte, 1, &count)) == XF_EAGAIN)
        assert_int_equal(os_door_wait(NULL, &link, 1, PATIENCE), 0);
    assert_int_equal(rc, XF_EEND);
    assert_int_equal(os_link_read(link, &byte, 1, &count), XF_EEND);
    os_link_close(link);
}

static void a_name_has_one_door(void **state)
{
    const char *name = door_name();
    os_door *door = open_door(name), *second;
    os_link *link;

    (void)state;
    assert_int_equal(os_door_open(&second, name), XF_EEXIST);
    os_door_close(open_door(door_name()));
    os_door_close(door);
    assert_int_equal(os_link_open(&link, name, PATIENCE), XF_ENOENT);
    os_door_close(open_door(name));
}

static void a_link_carries_bytes_both_ways(void **state)
{
    visit visit = begin_visit();
    char out[] = "to the outside", in[] = "to the inside";
    size_t count;

    (void)state;
    assert_int_equal(os_link_read(visit.outside, out, sizeof out, &count), XF_EAGAIN);
    assert_int_equal(os_door_wait(visit.door, &visit.outside, 1, 10), XF_ETIMEDOUT);
    assert_int_equal(os_link_write(visit.inside, out, strlen(out), -1), 0);
    assert_int_equal(os_link_write(visit.outside, in, strlen(in), -1), 0);
    expect_bytes(visit.inside, "to the inside");
    expect_bytes(visit.outside, "to the outside");
    assert_int_equal(os_link_write(visit.inside, out, strlen(out), -1), 0);
    os_link_close(visit.inside);
    expect_bytes(visit.outside, "to the outside"); /* which was written before the end */
    assert_int_equal(os_link_write(visit.outside, in, strlen(in), -1), XF_EEND);
    expect_end_of(visit.outside);
    os_door_close(visit.door);
}

static void a_link_carries_handles(void **state)
{
    uint8_t bytes[32] = "a handle comes with this";
    visit visit = begin_visit();
    uint64_t token = 0;
    intptr_t handle;
    os_shm shm, seen;
    size_t count, have = 0;

    (void)state;
    assert_int_equal(os_shm_create(&shm, PAGE, 0), 0);
    strcpy(shm.address, "shared");
    assert_int_equal(os_link_take(visit.outside, 0, &handle), XF_EPROTO);
    assert_int_equal(os_link_write(visit.inside, bytes, sizeof bytes, shm.handle), 0);
    while (have < sizeof bytes) {
        int rc = os_link_read(visit.outside, bytes + have, sizeof bytes - have, &count);
        if (rc == XF_EAGAIN)
            assert_int_equal(os_door_wait(NULL, &visit.outside, 1, PATIENCE), 0);
        have += rc == 0 ? count : 0;
    }
    for (int i = 0; i < OS_TOKEN_SIZE; i++)
        token |= (uint64_t)bytes[OS_TOKEN_AT + i] << (8 * i);
    assert_int_equal(os_link_take(visit.outside, token, &handle), 0);
    assert_int_equal(os_shm_open(&seen, handle, PAGE, 0), 0);
    assert_string_equal(seen.address, "shared");
    os_shm_close(&seen);
    os_shm_close(&shm);
    end_visit(visit);
}

static void a_door_is_waited_at(void **state)
{
    os_door *door;
    os_link *link, *first;
    const char *name = door_name();
    int count = 0;

    (void)state;
    door = open_door(name);
    assert_int_equal(os_door_admit(door, &link), XF_EAGAIN);
    assert_int_equal(os_door_wait(door, NULL, 0, 10), XF_ETIMEDOUT);
    assert_int_equal(os_link_open(&first, name, 0), 0);
    assert_int_equal(os_door_wait(door, NULL, 0, PATIENCE), 0);
    while (os_link_open(&link, name, 0) == 0 && count++ < 1000) /* more than there are places */
        os_link_close(link);
    assert_true(count < 1000);
    assert_int_equal(os_link_open(&link, name, 10), XF_ETIMEDOUT);
    os_door_close(door);
    expect_end_of(first); /* nobody took it in */
}

static void a_door_can_be_shut(void **state)
{
    const char *name = door_name();
    os_door *door = open_door(name), *second;
    os_link *link;

    (void)state;
    os_door_shut(door);
    assert_int_equal(os_door_wait(door, NULL, 0, PATIENCE), 0);
    assert_int_equal(os_door_admit(door, &link), XF_EEND);
    assert_int_equal(os_door_open(&second, name), XF_EEXIST);
    os_door_close(door);
}

/* ---- Secrets --------------------------------------------------------------------------------- */

/* Cases 2 and 6 of RFC 4231. */
static void a_digest_is_that_of_the_standard(void **state)
{
    static const uint8_t brief[HMAC_SIZE] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                             0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                             0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const uint8_t large[HMAC_SIZE] = {0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26,
                                             0xaa, 0xcb, 0xf5, 0xb7, 0x7f, 0x8e, 0x0b, 0xc6, 0x21, 0x37, 0x28,
                                             0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f, 0x54};
    const char *text = "what do ya want for nothing?",
               *other = "Test Using Larger Than Block-Size Key - Hash Key First";
    uint8_t key[131], mac[HMAC_SIZE];

    (void)state;
    if (!XF_TEST_AUTH) {
        assert_int_equal(hmac_compute("Jefe", 4, text, strlen(text), mac), XF_ENOTSUP);
        return;
    }
    memset(key, 0xaa, sizeof key);
    assert_int_equal(hmac_compute("Jefe", 4, text, strlen(text), mac), 0);
    assert_memory_equal(mac, brief, sizeof mac);
    assert_int_equal(hmac_compute(key, sizeof key, other, strlen(other), mac), 0);
    assert_memory_equal(mac, large, sizeof mac);
}

static void a_secret_is_read_whole(void **state)
{
    const char *path = "os_test.secret";
    FILE *file = fopen(path, "wb");
    char room[8];
    uv_fs_t request;
    size_t size;

    (void)state;
    assert_non_null(file);
    assert_int_equal(fwrite("\0secret", 1, 7, file), 7);
    fclose(file);
    assert_int_equal(uv_fs_chmod(NULL, &request, path, 0600, NULL), 0);
    assert_int_equal(os_secret_read(path, room, sizeof room, &size), 0);
    assert_int_equal(size, 7);
    assert_memory_equal(room, "\0secret", 7);
    assert_int_equal(os_secret_read(path, room, 7, &size), 0);
    assert_int_equal(os_secret_read(path, room, 6, &size), XF_ELIMIT);
    assert_int_equal(uv_fs_chmod(NULL, &request, path, 0604, NULL), 0);
    assert_int_equal(os_secret_read(path, room, sizeof room, &size), os.has_fork ? XF_EACCESS : 0);
    uv_fs_req_cleanup(&request);
    assert_int_equal(remove(path), 0);
    assert_int_equal(os_secret_read(path, room, sizeof room, &size), XF_ENOENT);
}

/* ---- What is left ---------------------------------------------------------------------------- */

static void use_everything(void)
{
    crowd *crowd = open_crowd(1);

    crowd->kids[0] = start_captured("stdout text");
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    finish(&crowd->kids[0]);
    end_visit(begin_visit());
    close_crowd(crowd);
    a_child_maps_the_input(NULL);
    attached_segments_are_taken(NULL);
    a_segment_smaller_than_said_is_refused(NULL);
    a_kill_is_no_exit(NULL);
    a_full_channel_refuses_whole_writes(NULL);
    a_server_can_be_opened_everywhere(NULL);
    a_directory_that_is_none_is_refused(NULL);
}

/* A thread pool of the system's has handles of its own, now more and now fewer; what is lost each turn adds up. */
static void nothing_is_left_behind(void **state)
{
    enum { TURNS = 8 };
    size_t handles, mappings;

    (void)state;
    use_everything();
    handles = support_handles();
    mappings = support_mappings();
    for (int turn = 0; turn < TURNS; turn++)
        use_everything();
    assert_true(support_handles() < handles + TURNS);
    assert_int_equal(support_mappings(), mappings);
}

/* ---- The program ----------------------------------------------------------------------------- */

static int open_method(void **state)
{
    const char *name = getenv("XF_START");

    (void)state;
    if (!name || strcmp(name, "spawn") == 0)
        method = OS_SPAWN;
    else if (strcmp(name, "fork") == 0)
        method = OS_FORK;
    else if (strcmp(name, "server") == 0)
        method = OS_SERVER;
    else
        return -1;
    return method == OS_SERVER ? os_server_open(&server) : 0;
}

static int close_method(void **state)
{
    (void)state;
    os_server_close(server);
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_segment_is_zero_filled_and_writable),
    cmocka_unit_test(a_segment_may_have_one_byte),
    cmocka_unit_test(a_segment_larger_than_the_address_space_is_no_memory),
    cmocka_unit_test(a_forgotten_segment_stays_mapped),
    cmocka_unit_test(a_reserved_segment_is_usable_where_it_was_committed),
    cmocka_unit_test(parent_and_child_commit_for_each_other),
    cmocka_unit_test(a_wait_ends_when_the_word_is_another_or_time_has_passed),
    cmocka_unit_test(those_who_sleep_on_a_word_are_woken),
    cmocka_unit_test(a_wait_for_any_word_ends_as_one_for_a_word_does),
    cmocka_unit_test(each_of_many_words_wakes_a_sleeper),
    cmocka_unit_test(another_process_wakes_one_who_sleeps_on_many_words),
    cmocka_unit_test(a_ring_wakes_the_living_who_sleep_on_its_word),
    cmocka_unit_test(closing_nothing_is_harmless),
    cmocka_unit_test(a_child_maps_the_box),
    cmocka_unit_test(a_child_maps_the_input),
    cmocka_unit_test(a_child_without_input_has_none),
    cmocka_unit_test(the_largest_greeting_arrives),
    cmocka_unit_test(reading_gives_bytes_then_nothing_then_the_end),
    cmocka_unit_test(a_stream_that_is_not_captured_is_at_its_end),
    cmocka_unit_test(what_was_sent_can_be_read_after_the_end),
    cmocka_unit_test(the_last_bytes_are_there_at_once_after_the_end),
    cmocka_unit_test(bytes_go_both_ways),
    cmocka_unit_test(a_large_write_waits_until_it_is_read),
    cmocka_unit_test(a_full_channel_refuses_whole_writes),
    cmocka_unit_test(writing_to_a_child_that_has_gone_is_the_end),
    cmocka_unit_test(a_childs_reading_times_out),
    cmocka_unit_test(attached_segments_are_taken),
    cmocka_unit_test(a_taken_segment_outlives_the_child),
    cmocka_unit_test(a_segment_smaller_than_said_is_refused),
    cmocka_unit_test(what_is_not_attached_is_refused),
    cmocka_unit_test(a_segment_cannot_be_taken_twice),
    cmocka_unit_test(a_child_takes_what_it_is_given),
    cmocka_unit_test(nothing_is_given_to_the_dead),
    cmocka_unit_test(a_segment_is_opened_as_what_it_is),
    cmocka_unit_test(attaching_needs_an_acknowledgement_where_it_says_so),
    cmocka_unit_test(waiting_for_nothing_times_out),
    cmocka_unit_test(waiting_ends_when_there_is_something_to_read),
    cmocka_unit_test(waiting_goes_on_to_tell_of_what_is_left_unread),
    cmocka_unit_test(waiting_ends_with_the_child),
    cmocka_unit_test(a_kill_from_another_thread_ends_the_wait),
    cmocka_unit_test(the_thread_that_waited_may_end),
    cmocka_unit_test(exit_codes_are_the_same),
    cmocka_unit_test(a_main_that_ends_early_is_an_exit),
    cmocka_unit_test(os_self_exit_gives_its_code),
    cmocka_unit_test(crashes_are_told_apart),
    cmocka_unit_test_setup_teardown(a_crash_is_recorded, switch_records_on, switch_records_off),
    cmocka_unit_test_setup_teardown(a_running_child_can_be_recorded, switch_records_on, switch_records_off),
    cmocka_unit_test_setup_teardown(a_child_that_has_ended_is_not_recorded, switch_records_on, switch_records_off),
    cmocka_unit_test(without_room_for_it_nothing_is_recorded),
    cmocka_unit_test(without_a_crash_there_is_no_dump),
    cmocka_unit_test(a_threads_stack_overflow_ends_the_child),
    cmocka_unit_test(a_kill_is_no_exit),
    cmocka_unit_test(a_kill_by_somebody_else_is_no_exit),
    cmocka_unit_test(a_child_killed_at_once_is_killed),
    cmocka_unit_test(the_pid_is_the_childs),
    cmocka_unit_test(the_sentinel_becomes_ready_at_the_end),
    cmocka_unit_test(a_kill_takes_descendants),
    cmocka_unit_test(descendants_end_with_the_child),
    cmocka_unit_test(children_end_when_their_parent_is_killed),
    cmocka_unit_test(an_interrupt_of_this_group_does_not_reach_a_child),
    cmocka_unit_test(signals_are_back_at_their_default),
    cmocka_unit_test(fork_is_refused_where_there_is_none),
    cmocka_unit_test(a_child_finds_its_own_command_line),
    cmocka_unit_test(siblings_have_the_same_handles),
    cmocka_unit_test(two_threads_start_children_at_the_same_time),
    cmocka_unit_test(captured_streams_are_kept_apart),
    cmocka_unit_test(captured_streams_can_be_read_after_the_end),
    cmocka_unit_test(a_stream_can_be_a_file),
    cmocka_unit_test(what_a_child_used_is_told),
    cmocka_unit_test(limits_are_put_on_or_refused),
    cmocka_unit_test(a_captured_stream_may_be_large),
    cmocka_unit_test(inherited_output_is_the_parents_own),
    cmocka_unit_test(null_gives_nothing_and_takes_everything),
    cmocka_unit_test(a_child_has_the_directory_it_was_given),
    cmocka_unit_test(a_child_has_this_process_directory),
    cmocka_unit_test(a_directory_that_is_none_is_refused),
    cmocka_unit_test(the_environment_is_added_to),
    cmocka_unit_test(a_large_environment_arrives),
    cmocka_unit_test(a_hundred_children_are_watched),
    cmocka_unit_test(another_thread_may_begin_a_watch),
    cmocka_unit_test(a_watch_hears_of_what_was_there_before),
    cmocka_unit_test(unwatching_is_harmless),
    cmocka_unit_test(watches_may_end_while_they_are_told),
    cmocka_unit_test(a_server_that_was_killed_starts_nothing),
    cmocka_unit_test(a_server_takes_its_children_along),
    cmocka_unit_test(a_server_can_be_opened_everywhere),
    cmocka_unit_test(this_process_is_nobodys_child),
    cmocka_unit_test(a_command_line_without_its_channel_is_refused),
    cmocka_unit_test(the_build_is_the_same_in_a_child),
    cmocka_unit_test(threads_are_counted_where_they_are_known),
    cmocka_unit_test(a_thread_has_a_number_while_it_lives),
    cmocka_unit_test(a_childs_thread_is_seen_to_end),
    cmocka_unit_test(a_process_has_a_number_while_it_lives),
    cmocka_unit_test(the_processors_of_the_machine_are_told),
    cmocka_unit_test(a_child_can_be_bound_to_any_processor),
    cmocka_unit_test(a_processor_that_is_not_there_is_refused),
    cmocka_unit_test(a_name_has_one_door),
    cmocka_unit_test(a_link_carries_bytes_both_ways),
    cmocka_unit_test(a_link_carries_handles),
    cmocka_unit_test(a_door_is_waited_at),
    cmocka_unit_test(a_door_can_be_shut),
    cmocka_unit_test(a_digest_is_that_of_the_standard),
    cmocka_unit_test(a_secret_is_read_whole),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    bool alone = getenv("XF_TEST_NO_ARGUMENTS") != NULL;
    const char *early = getenv("XF_TEST_END_EARLY");
    os_parent *parent;

    if (early)
        return atoi(early);
    if (os_self_child(alone ? 0 : argc, alone ? NULL : argv, run_role, &parent) < 0)
        return 95;
    if (parent)
        run_role(parent);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
