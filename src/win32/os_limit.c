/* Limits of a child, and how the parent recognizes that a child has ended by one of them. */
#include "base/error.h"
#include "os_private.h"

#include <psapi.h>

/* ---- This process ---------------------------------------------------------------------------- */

int os_self_check_file_size(uint64_t size)
{
    (void)size;
    return 0;
}

/* ---- The job --------------------------------------------------------------------------------- */

/* Gives the job a port.  The job reports there when it refuses memory; its messages wait until they are read. */
static int open_job_port(HANDLE job, HANDLE *news)
{
    JOBOBJECT_ASSOCIATE_COMPLETION_PORT port = {job, CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1)};

    if (!port.CompletionPort)
        return os_error(GetLastError(), "CreateIoCompletionPort");
    *news = port.CompletionPort;
    return SetInformationJobObject(job, JobObjectAssociateCompletionPortInformation, &port, sizeof port)
               ? 0
               : os_error(GetLastError(), "SetInformationJobObject with a completion port");
}

int limit_job(HANDLE job, const xf_limits *limits, HANDLE *news)
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
    if (!SetInformationJobObject(job, JobObjectExtendedLimitInformation, &job_limits, sizeof job_limits))
        return os_error(GetLastError(), "SetInformationJobObject");
    return limits->memory ? open_job_port(job, news) : 0;
}

/* ---- The end --------------------------------------------------------------------------------- */

static bool memory_was_refused(const os_child *child)
{
    DWORD message;
    ULONG_PTR job;
    OVERLAPPED *pid;
    bool refused = false;

    while (child->news && GetQueuedCompletionStatus(child->news, &message, &job, &pid, 0))
        refused |= message == JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT;
    return refused;
}

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
    end->refused = memory_was_refused(child);
    if (child->limits.cpu_ms && end->kind == OS_KILLED && end->system == ERROR_NOT_ENOUGH_QUOTA)
        end->kind = OS_CPU_LIMIT; /* the job's own exit code for it: JOBOBJECT_BASIC_LIMIT_INFORMATION */
}
