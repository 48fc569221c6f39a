/* Start-up and clean-up. */
#include "crossfork.h"
#include "os/cancel.h"
#include "process/child.h"
#include "process/replay_run.h"
#include "process/stack_helper.h"
#include "process/supervisor.h"
#include "protocol/task_table.h"

#include <stdio.h>

void xf_main(int argc, char **argv)
{
    const os_inherited *inherited;

    task_table_close();
    if (os_self_child(argc, argv, child_run, &inherited) < 0) {
        fprintf(stderr, "crossfork: %s\n", xf_error_detail()); /* a user typed that argument */
        os_self_exit(2);
    }
    if (inherited)
        child_run(inherited);
    replay_run_from_environment();
}

int xf_cleanup(void)
{
    OS_HOLD_CANCEL;

    stack_helper_end();
    return supervisor_end();
}

const char *xf_version(void)
{
#define VERSION_PART(number) #number
#define VERSION(major, minor, patch) VERSION_PART(major) "." VERSION_PART(minor) "." VERSION_PART(patch)
    return VERSION(XF_VERSION_MAJOR, XF_VERSION_MINOR, XF_VERSION_PATCH);
}
