/* Squares ten numbers in child processes.  Three things make a crossfork program: a task, xf_main at the top of main,
 * and somebody who hands work in. */
#include <crossfork.h>

#include <stdio.h>

/* Runs in a child.  It sees *in and nothing else of the program. */
XF_TASK(square, const double *in, double *out)
{
    *out = *in * *in;
    return 0;
}

int main(int argc, char **argv)
{
    double in[10], out[10];
    xf_pool *pool;
    int rc;

    xf_main(argc, argv); /* a child runs its tasks in here, and never returns */
    for (int i = 0; i < 10; i++)
        in[i] = i;
    if (xf_pool_create(&pool, NULL) < 0) {
        fprintf(stderr, "hello: %s\n", xf_error_detail());
        return 1;
    }
    rc = xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = 10});
    for (int i = 0; i < 10 && rc == 0; i++)
        printf("%g squared is %g\n", in[i], out[i]);
    if (rc < 0)
        fprintf(stderr, "hello: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    return rc < 0;
}
