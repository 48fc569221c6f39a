/* Goal: a program that is built as a user would build it runs a pool and reads a report, with the version of the
 * library that it was built for. */
#include <crossfork.h>

#include <stdio.h>
#include <string.h>

XF_TASK(square, const double *in, double *out)
{
    if (*in < 0)
        return xf_fail(call, 1, "%g is negative", *in);
    *out = *in * *in;
    return 0;
}

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, xf_error_detail());
    return 1;
}

static int map_squares(void)
{
    enum { COUNT = 1000 };
    double in[COUNT], out[COUNT];
    xf_pool *pool;

    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    if (xf_pool_create(&pool, NULL) < 0)
        return fail("xf_pool_create");
    if (xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = COUNT}) < 0)
        return fail("xf_pool_map");
    xf_pool_free(pool);
    for (int i = 0; i < COUNT; i++)
        if (out[i] != (double)i * i)
            return fail("a wrong square");
    return 0;
}

static int read_report(void)
{
    const double wrong = -1;
    xf_process *process;
    int rc;

    if (xf_process_start(&process, &square, &wrong, sizeof wrong, NULL) < 0)
        return fail("xf_process_start");
    xf_process_join(process, NULL, XF_FOREVER);
    rc = strcmp(xf_process_report(process)->message, "-1 is negative") ? fail("a wrong report") : 0;
    xf_process_free(process);
    return rc;
}

int main(int argc, char **argv)
{
    xf_main(argc, argv);
    if (strcmp(xf_version(), VERSION) != 0) {
        fprintf(stderr, "version %s runs, %s was asked for\n", xf_version(), VERSION);
        return 1;
    }
    if (map_squares() != 0 || read_report() != 0)
        return 1;
    puts("hello from a pool");
    return 0;
}
