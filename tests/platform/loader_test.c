/* Goal: a program that was started through the system's loader ("ld.so program") starts children as others do. */
#include "program.h"
#include "tasks.h"

#include <link.h>
#include <unistd.h>

XF_TASK(square, const int *in, int *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

/* Returns how many of the ways to start a child have failed. */
static int role_loaded(void)
{
    static const xf_start_method methods[] = {XF_START_FORK, XF_START_SPAWN, XF_START_FORKSERVER};
    int failures = 0, in = 7;

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        xf_process *process;
        xf_status status = {XF_END_NONE, 0, 0};
        if (xf_process_start(&process, &square, &in, sizeof in, &(xf_process_options){.start = methods[i]}) < 0)
            return 100;
        xf_process_join(process, &status, LONGEST_MS);
        failures += status.kind != XF_END_DONE || *(const int *)xf_process_result(process, NULL) != 49;
        xf_process_free(process);
    }
    return failures;
}

/* The program names its loader. */
static int find_loader(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_INTERP)
            *(const char **)arg = (const char *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    return 1;
}

static void children_are_the_program_and_not_the_loader(void **state)
{
    char own[4096] = "";
    const char *loader = NULL, *const arguments[] = {own, "loaded", NULL};

    (void)state;
    dl_iterate_phdr(find_loader, &loader);
    if (!loader || readlink("/proc/self/exe", own, sizeof own - 1) < 0)
        skip(); /* it is linked statically */
    assert_int_equal(program_end(program_start(loader, arguments, NULL), NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_are_the_program_and_not_the_loader),
    };

    xf_main(argc, argv);
    return argc > 1 ? role_loaded() : cmocka_run_group_tests(tests, NULL, NULL);
}
