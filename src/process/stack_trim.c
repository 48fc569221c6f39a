#include "process/stack_trim.h"

#include "base/path.h"
#include "os/traits.h"

#include <stdbool.h>
#include <string.h>

/* A function's name without what C libraries and sanitizers put before it: "exit" for "__GI_exit", "_exit" and
 * "MSVCRT_exit". */
static const char *plain_name(const char *function)
{
    static const char *const prefixes[] = {"__GI_",   "MSVCRT_",         "__real_",
                                           "__wrap_", "___interceptor_", "__interceptor_"};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(function, prefixes[i], strlen(prefixes[i])) == 0)
            function += strlen(prefixes[i]);
    return function + strspn(function, "_");
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* ---- exit ------------------------------------------------------------------------------------ */

static size_t skip_exit(const xf_frame *frames, size_t count)
{
    static const char *const names[] = {"exit", "Exit", "quick_exit", NULL};
    enum { DEPTH = 16 };
    size_t skip = 0;

    for (size_t i = 0; i < count && i < DEPTH; i++)
        if (is_one_of(plain_name(frames[i].function), names))
            skip = i + 1;
    return skip;
}

/* ---- abort ----------------------------------------------------------------------------------- */

/* Whether text begins so, in letters of either case. */
static bool begins_with(const char *text, const char *start)
{
    for (; *start; text++, start++)
        if ((*text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text) != *start)
            return false;
    return true;
}

static bool is_in_runtime(const xf_frame *frame)
{
    const char *file = path_base(frame->module);

    for (const char *const *start = os.runtime_modules; *start; start++)
        if (begins_with(file, *start))
            return true;
    return false;
}

/* The functions of the C and C++ libraries that abort, for programs that have these libraries inside of them. */
static bool is_abort_function(const char *function)
{
    static const char *const names[] = {"abort",
                                        "raise",
                                        "gsignal",
                                        "pthread_kill",
                                        "pthread_kill_internal",
                                        "pthread_kill_implementation",
                                        "assert",
                                        "wassert",
                                        "assert_fail",
                                        "assert_fail_base",
                                        "assert_perror_fail",
                                        "libc_message",
                                        "fortify_fail",
                                        "chk_fail",
                                        "stack_chk_fail",
                                        "malloc_printerr",
                                        "int_free",
                                        "int_malloc",
                                        "libc_free",
                                        "libc_malloc",
                                        "ZN9__gnu_cxx27__verbose_terminate_handlerEv",
                                        "ZN10__cxxabiv111__terminateEPFvvE",
                                        "ZSt9terminatev",
                                        "cxa_throw",
                                        "cxa_rethrow",
                                        NULL};

    return is_one_of(plain_name(function), names);
}

static size_t skip_abort(const xf_frame *frames, size_t count)
{
    size_t skip = 0;

    while (skip < count && (is_in_runtime(&frames[skip]) || is_abort_function(frames[skip].function)))
        skip++;
    return skip;
}

size_t stack_trim(xf_status status, const xf_frame *frames, size_t count)
{
    size_t skip = 0;

    if (status.kind == XF_END_EXITED)
        skip = skip_exit(frames, count);
    else if (status.kind == XF_END_CRASHED && status.code == XF_CRASH_ABORT)
        skip = skip_abort(frames, count);
    return skip < count ? skip : 0;
}
