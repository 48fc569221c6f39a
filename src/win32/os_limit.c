/* Limits of a child, and how the parent recognizes that a child has ended by one of them. */
#include "base/error.h"
#include "os_private.h"

#include <psapi.h>

/* ---- This process ---------------------------------------------------------------------------- */

uint64_t os_self_room(void)
{
    return UINT64_MAX;
}

int os_self_check_file_size(uint64_t size)
{
    (void)size;
    return 0;
}

/* ---- The job --------------------------------------------------------------------------------- */

int limit_job(HANDLE job, const xf_limits *limits)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION job_limits = {.ProcessMemoryLimit = limits->memory};
    JOBOBJECT_BASIC_LIMIT_INFORMATION *basic = &job_limits.BasicLimitInformation;

    if (limits->files)
        return error_detail(XF_ENOTSUP, "limits.files is %d, and Windows does not limit files", limits->files);
    basic->LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
    if (limits->memory)
        basic->LimitFlags |= JOB_OBJECT_LIMIT_PROCESS_MEMORY;
    if (limits->cpu_ms) {
        basic->LimitFlags |= JOB_OBJECT_LIMIT_PROCESS_TIME;
        basic->PerProcessUserTimeLimit.QuadPart = (LONGLONG)limits->cpu_ms * 10000;
    }
    if (limits->processes) {
        basic->LimitFlags |= JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
        basic->ActiveProcessLimit = (DWORD)limits->processes + 1;
    }
    return SetInformationJobObject(job, JobObjectExtendedLimitInformation, &job_limits, sizeof job_limits)
               ? 0
               : os_error(GetLastError(), "SetInformationJobObject");
}

/* ---- In the child ---------------------------------------------------------------------------- */

/* Whether so much can still be committed. */
static bool has_memory_left(size_t part)
{
    void *probe = VirtualAlloc(NULL, part, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);

    if (probe)
        VirtualFree(probe, 0, MEM_RELEASE);
    return probe;
}

void limit_mark_refused(os_status *status, int error)
{
    if (status && status->limits.memory)
        atomic_store(&status->refused, !has_memory_left(twins_memory_of_sign(status, error)));
}

/* ---- The end --------------------------------------------------------------------------------- */

static double limit_seconds(FILETIME time)
{
    return (double)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) / 1e7;
}

void limit_judge(const os_child *child, os_end *end)
{
    PROCESS_MEMORY_COUNTERS memory = {.cb = sizeof memory};
    FILETIME created, exited, system, user;

    if (GetProcessTimes(child->process, &created, &exited, &system, &user))
        end->cpu_time = limit_seconds(system) + limit_seconds(user);
    if (GetProcessMemoryInfo(child->process, &memory, sizeof memory))
        end->memory_peak = memory.PeakWorkingSetSize;
    end->refused = child->limits.memory && atomic_load(&child->status->refused);
    if (child->limits.cpu_ms && end->kind == OS_KILLED && end->system == ERROR_NOT_ENOUGH_QUOTA)
        end->kind = OS_CPU_LIMIT; /* the job's own exit code for it: JOBOBJECT_BASIC_LIMIT_INFORMATION */
}
