/* THE SEAM: processors, limits of the machine, and the terminal.  A new system may leave it out; rules: traits.h. */
#ifndef OS_MACHINE_H
#define OS_MACHINE_H

#include "os/traits.h"

enum { OS_CPUS_MAX = 1024 }; /* processors beyond that are not used */

/* A processor, as the system schedules on it: a core's second thread is one, too. */
typedef struct os_cpu {
    uint32_t number; /* the system's.  Windows: 64 times its group, and its place there */
    uint32_t core;   /* the same for all processors of a core, */
    uint32_t cache;  /* for all that share the last cache, and 0 where that is not known, */
    uint32_t node;   /* and for all that the same memory is near to; 0 where that is not known */
} os_cpu;

typedef struct os_machine {
    os_cpu cpus[OS_CPUS_MAX]; /* that the calling thread may run on, by number */
    uint32_t count;           /* at least 1 */
    uint64_t cache;           /* bytes of one last cache; 0: not known */
    uint64_t core_cache;      /* of the cache before it; 0: not known, or there is none */
    double quota;             /* how many processors this process's group may keep busy in the long run; 0: all */
    uint64_t memory_limit;    /* bytes of memory that the group may have; 0: all */
} os_machine;

/* Reads what this process may use of the machine.  A fact that cannot be read counts as not known, or as no limit.
 * Windows: GetLogicalProcessorInformationEx, the affinity of the process, and its job.
 * Linux: sched_getaffinity, /sys/devices/system, and the cgroups that the process is in, of version 2 or 1.
 * Left out: uv_available_parallelism processors, each a core of its own, and nothing else known.
 * XF_ENOMEM, XF_ESYSTEM. */
int os_machine_read(os_machine *machine);

/* Processors: that of number n is bit n % 64 of word n / 64. */
typedef struct os_cpu_set {
    uint64_t words[OS_CPUS_MAX / 64];
} os_cpu_set;

/* Lets this process, which has no other threads yet, run on those processors only, and the threads that it starts
 * later, too.
 * XF_EINVAL when it may run on none of them; XF_EACCESS, XF_ESYSTEM.
 * Windows: SetProcessAffinityMask; in another group of processors than its own SetThreadGroupAffinity, and threads that
 * it makes may run in all of the group then.  Linux: sched_setaffinity.  Left out: XF_ENOTSUP. */
int os_self_bind(const os_cpu_set *set);

/* Bytes of memory with which a child of this process begins at most, as xf_limits.memory counts them.
 * Windows: 0, as a child begins with nothing of its parent's.  Linux: those of this process.  Left out: 0. */
size_t os_self_memory(void);

/* Bytes of memory that this process and its children can take before the system, or their group, is short of it; 0: not
 * known.
 *   limited  os_machine_read has found a memory_limit, so the group is looked at, too.
 * Windows: GlobalMemoryStatusEx, and the job's limit.  Linux: MemAvailable, and what the cgroups have not used yet;
 * files that they can drop count as unused.  Left out: 0. */
uint64_t os_machine_spare(bool limited);

/* Bytes of address space for shared segments of this process, with as much left for all else; UINT64_MAX: no limit.
 * Windows: no limit.  POSIX: half of what RLIMIT_AS leaves; RLIMIT_FSIZE; and where mlockall locks each new mapping,
 * half of RLIMIT_MEMLOCK, unless this process may exceed it.  Left out: no limit. */
uint64_t os_self_room(void);

/* Whether this process may make a file, or on POSIX a shared segment, of that size: XF_ELIMIT when it may not.
 * Windows: always.  POSIX: RLIMIT_FSIZE; without this question the kernel would answer the attempt with SIGXFSZ, which
 * ends the program.  Left out: 0. */
int os_self_check_file_size(uint64_t size);

/* Whether text for descriptor 1 or 2 may contain the escapes of ECMA-48 for colours.
 * Windows: a console that understands them, which it is asked to.  POSIX: a terminal that is not TERM=dumb.
 * Left out: false. */
bool os_terminal_colours(int descriptor);

#endif
