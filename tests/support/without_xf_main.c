/* A program that misuses xf_main in one of several modes.  The program has the mode in its first argument; a child,
 * whose first argument is crossfork's, has it in the environment.  xf_main_test.c runs it. */
#include "crossfork.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

XF_ENTRY(nothing)
{
    (void)call;
    return 0;
}

/* On Windows getenv does not see the variables that uv_os_setenv sets. */
static bool get_mode(char *mode, size_t size)
{
    return uv_os_getenv("WITHOUT_XF_MAIN_MODE", mode, &size) == 0;
}

/* A mode with this in front concerns the fork server. */
#define SERVER "server "

static const char *without_server(const char *mode)
{
    return strncmp(mode, SERVER, strlen(SERVER)) == 0 ? mode + strlen(SERVER) : mode;
}

static int start_child(xf_process **process)
{
    /* not fork: a forked child never comes through main */
    xf_process_options options = {.start = XF_START_SPAWN, .start_timeout_ms = 60000};
    char mode[32];

    if (!get_mode(mode, sizeof mode))
        return xf_process_start(process, &nothing, NULL, 0, &options);
    if (without_server(mode) != mode)
        options.start = XF_START_FORKSERVER;
    if (strcmp(without_server(mode), "hangs") == 0)
        options.start_timeout_ms = 300;
    return xf_process_start(process, &nothing, NULL, 0, &options);
}

static int run_program(void)
{
    xf_process *process;
    xf_status status;
    int rc = start_child(&process);

    if (rc < 0) {
        printf("%s: %s\n", xf_err_name(rc), xf_error_detail());
        return 0;
    }
    printf("one child of one\n");
    xf_process_join(process, &status, XF_FOREVER);
    printf("%s %s\n", xf_end_name(status.kind), xf_err_name(status.code));
    if (*xf_process_report(process)->message)
        printf("%s\n", xf_process_report(process)->message);
    xf_process_free(process);
    return 0;
}

/* Runs in a child that should have called xf_main. */
static int run_child(const char *mode)
{
    xf_process *process;

    mode = without_server(mode);
    if (strcmp(mode, "hangs") == 0)
        for (;;)
            ;
    if (strcmp(mode, "bomb") == 0)
        return start_child(&process) == XF_EMAIN ? 3 : 4;
    return 3;
}

int main(int argc, char **argv)
{
    char mode[32];
    bool is_child = get_mode(mode, sizeof mode);

    if (!is_child && argc > 1 && strncmp(argv[1], "--crossfork", 11) == 0)
        xf_main(argc, argv);
    if (is_child && strcmp(without_server(mode), "blind") == 0)
        xf_main(0, NULL);
    if (is_child)
        return run_child(mode);
    snprintf(mode, sizeof mode, "%s", argc > 1 ? argv[1] : "never");
    uv_os_setenv("WITHOUT_XF_MAIN_MODE", mode);
    if (strcmp(without_server(mode), "blind") == 0)
        xf_main(0, NULL);
    else if (strcmp(mode, "never") != 0)
        xf_main(argc, argv);
    return run_program();
}
