/* Hashes every regular file below a directory, in child processes: a file that crashes its child costs its own line and
 * nothing else. */
#include "farm.h"
#include "print.h"
#include "tree.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { ALL_HASHED = 0, SOME_FAILED = 1, NOT_DONE = 2, MAX_JOBS = 1024 };

typedef struct options {
    farm_options farm;
    bool quiet;
    const char *directory;
} options;

static int usage(void)
{
    fprintf(stderr, "usage: checktree [--jobs N] [--crash-on PATTERN] [--quiet] DIR\n"
                    "  --jobs N            children at a time, 1 to 1024; default: one for each usable core\n"
                    "  --crash-on PATTERN  a child crashes when it comes to a file with PATTERN in its path\n"
                    "  --quiet             only the hashes: no progress, no summary\n"
                    "Exit code: 0 all files hashed, 1 some failed, 2 not done.\n");
    return NOT_DONE;
}

static bool parse_jobs(const char *text, int *jobs)
{
    char *end;
    long value = text ? strtol(text, &end, 10) : 0;

    if (value < 1 || value > MAX_JOBS || *end)
        return false;
    *jobs = (int)value;
    return true;
}

static bool parse(char **arguments, options *options)
{
    char **next = arguments + 1;

    for (; *next && (*next)[0] == '-'; next++) {
        if (strcmp(*next, "--") == 0) {
            next++;
            break;
        }
        if (strcmp(*next, "--quiet") == 0)
            options->quiet = true;
        else if (strcmp(*next, "--jobs") == 0 && parse_jobs(next[1], &options->farm.jobs))
            next++;
        else if (strcmp(*next, "--crash-on") == 0 && next[1])
            options->farm.crash_on = *++next;
        else
            return false;
    }
    options->directory = *next;
    return next[0] && !next[1];
}

static int complain(const char *what, int error)
{
    fprintf(stderr, "checktree: %s: %s\n", what, uv_strerror(error));
    return NOT_DONE;
}

/* When the reader has closed the pipe, write returns an error; by default the system would end the program. */
static void ignore_closed_pipe(void)
{
#ifdef SIGPIPE
    signal(SIGPIPE, SIG_IGN);
#endif
}

static int check(tree *tree, const options *options, uint64_t started)
{
    farm_totals totals;
    int rc;

    if (farm_run(tree, &options->farm, &totals) < 0)
        return NOT_DONE;
    ignore_closed_pipe();
    rc = print_hashes(tree, options->quiet ? NULL : &totals, (double)(uv_hrtime() - started) / 1e9);
    if (rc < 0)
        return complain("cannot write the hashes", rc);
    return print_failures(tree) > 0 ? SOME_FAILED : ALL_HASHED;
}

int main(int argc, char **argv)
{
    options options = {.farm = {.jobs = (int)uv_available_parallelism(), .crash_on = ""}};
    uint64_t started = uv_hrtime();
    tree tree;
    int rc;

    xf_main(argc, argv);
    if (argc < 1 || !parse(argv, &options))
        return usage();
    /* Otherwise something else would be opened in its place, and written to. */
    if (uv_guess_handle(1) == UV_UNKNOWN_HANDLE)
        return complain("standard output", UV_EBADF);
    options.farm.progress = !options.quiet && uv_guess_handle(2) == UV_TTY;
    rc = tree_list(&tree, options.directory);
    if (rc < 0)
        return complain(options.directory, rc);
    rc = check(&tree, &options, started);
    tree_free(&tree);
    return rc;
}
