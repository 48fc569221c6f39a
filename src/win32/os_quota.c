/* Limits of the group of processes that this process is in: its job. */
#include "os_private.h"

/* Reads a hard cap, which is given in hundredths of a percent of all processors of the machine. */
static double read_quota(void)
{
    JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate = {0};
    const DWORD capped = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;

    if (!QueryInformationJobObject(NULL, JobObjectCpuRateControlInformation, &rate, sizeof rate, NULL) ||
        (rate.ControlFlags & capped) != capped)
        return 0;
    return (double)rate.CpuRate / 10000 * (double)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
}

static uint64_t quota_read_memory(void)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};

    if (!QueryInformationJobObject(NULL, JobObjectExtendedLimitInformation, &limits, sizeof limits, NULL) ||
        !(limits.BasicLimitInformation.LimitFlags & JOB_OBJECT_LIMIT_JOB_MEMORY))
        return 0;
    return limits.JobMemoryLimit;
}

/* Knows the limits of the innermost job only, because Windows does not report those of the jobs around it. */
void quota_describe(os_machine *machine)
{
    machine->quota = read_quota();
    machine->memory_limit = quota_read_memory();
}
