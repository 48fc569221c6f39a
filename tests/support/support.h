/* What tests need of a system; the twins are posix/support.c and win32/support.c. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many files or handles this process has open. */
size_t support_handles(void);

/* How many shared segments (mappings) this process has. */
size_t support_mappings(void);

/* Whether a process of that id runs (a zombie does not). */
bool support_alive(int64_t pid);

/* Waits up to timeout_ms until no process of that id runs (a zombie does not); it need not be a child. */
bool support_gone(int64_t pid, int timeout_ms);

/* Processes besides this one that run the same executable, whoever started them.
 * Returns how many there are; up to room of them are put into pids. */
size_t support_same_program(int64_t *pids, size_t room);

/* Calls found for each name by which what a process has made can be found in the whole system, or its session.
 * Windows: named objects and pipes.  POSIX: /dev/shm, the memory and semaphores of System V, and abstract names of
 * sockets. */
void support_names(void (*found)(void *arg, const char *name), void *arg);

/* Makes such a name, or lets it go. */
void *support_make_name(void);
void support_drop_name(void *made);

/* Gives this process, and what it starts, such names of its own, where that can be had. */
void support_own_names(void);

/* Kills a process from outside: SIGKILL, or TerminateProcess with exit code 1. */
void support_kill(int64_t pid);

/* Ends this process at once, without exit handlers: SIGKILL or TerminateProcess on itself. */
_Noreturn void support_kill_self(void);

/* Waits up to timeout_ms for a sentinel to become ready. */
bool support_sentinel_ready(intptr_t sentinel, int timeout_ms);

/* Runs a program with one argument, and waits for it.  The path may be of any length, which uv_spawn's may not on
 * Windows.  Returns its exit code; -1 when it cannot be started. */
int support_run(const char *path, const char *argument);

/* Makes this process the leader of a group, so that a Ctrl-C meant for it does not reach whoever runs the tests. */
void support_lead_group(void);

/* Sends Ctrl-C to the group of this process as a console does; false where that cannot be had (Wine). */
bool support_interrupt_group(void);

/* Whether the system leaves a dump of a crash where it can be found. */
bool support_can_dump(void);

/* Peak or current private memory of this process, in bytes. */
size_t support_memory(void);

/* Whether limits of a child are enforced here (not by Wine), and whether memory can be limited to some MiB too (not
 * under a sanitizer, which has terabytes). */
bool support_limits(void);
bool support_limits_memory(void);

/* Goes on with the signal for used up time ignored, where there is one. */
void support_ignore_cpu_signal(void);

/* Goes on without calls that older systems do not have, in this thread and those it makes; false where that cannot be
 * had. */
bool support_be_older(void);

/* Goes on as a user that limits hold for, where some do not for others. */
void support_leave_root(void);

/* Makes a group of processes that may use so much memory together, with this process in it, or takes it away again;
 * false where that cannot be had. */
bool support_join_small_group(const char *name, size_t memory);
void support_remove_small_group(const char *name);

/* Puts a disk with hardly any room where that directory is, or takes it away again; false where that cannot be had. */
bool support_mount_small_disk(const char *path);
void support_unmount_small_disk(const char *path);

#endif
