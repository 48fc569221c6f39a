/* Goal: system calls that are answered with EPERM, as profiles of containers do that are older than the calls, count as
 * not there. */
#include "program.h"
#include "tasks.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

XF_TASK(square, const int *in, int *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

XF_ENTRY(crash_now)
{
    (void)call;
    abort();
    return 0;
}

XF_ENTRY(spin_on)
{
    (void)call;
    for (;;)
        ;
    return 0;
}

static bool deny(int number)
{
    struct sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool ends_as(xf_task *task, const void *input, size_t size, bool killed, xf_end kind)
{
    xf_process *process;
    xf_status status = {XF_END_NONE, 0, 0};

    if (xf_process_start(&process, task, input, size, NULL) < 0)
        return false;
    if (killed)
        xf_process_kill(process);
    xf_process_join(process, &status, LONGEST_MS);
    xf_process_free(process);
    return status.kind == kind;
}

/* Returns 0; 77: filters are not allowed here; otherwise what did not work. */
static int role_denied(int number)
{
    int in[10] = {1, 2, 3}, out[10];
    xf_pool *pool;
    int rc;

    if (!deny(number))
        return 77;
    if (!ends_as(&square, in, sizeof *in, false, XF_END_DONE))
        return 1;
    if (!ends_as(&crash_now, NULL, 0, false, XF_END_CRASHED))
        return 2;
    if (!ends_as(&spin_on, NULL, 0, true, XF_END_TERMINATED))
        return 3;
    if (xf_pool_create(&pool, NULL) < 0)
        return 4;
    rc = xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = 10});
    xf_pool_free(pool);
    return rc == 0 && out[2] == 9 ? 0 : 5;
}

static void a_call_that_is_denied_is_not_there(void **state)
{
    static const int numbers[] = {SYS_pidfd_open, SYS_waitid, SYS_sched_getaffinity, SYS_close_range, SYS_prctl};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char number[16];
        const char *const arguments[] = {number, NULL};
        int64_t code;
        snprintf(number, sizeof number, "%d", numbers[i]);
        code = program_end(program_start(NULL, arguments, NULL), NULL);
        if (code == 77)
            skip();
        if (code != 0)
            fail_msg("system call %s: step %d", number, (int)code);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_is_denied_is_not_there),
    };

    xf_main(argc, argv);
    return argc > 1 ? role_denied(atoi(argv[1])) : cmocka_run_group_tests(tests, NULL, NULL);
}
