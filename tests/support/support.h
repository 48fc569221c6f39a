/* Functions that tests need of a system; the twins are posix/support.c and win32/support.c. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns how many files or handles this process has open. */
size_t support_handles(void);

/* Returns how many shared segments (mappings) this process has. */
size_t support_mappings(void);

/* Tries to make pages writable that this process has mapped for reading; false if the system does not let it. */
bool support_make_writable(void *address, size_t size);

/* Returns whether a process of that id runs (a zombie does not). */
bool support_alive(int64_t pid);

/* Waits up to timeout_ms until no process of that id runs (a zombie does not); it need not be a child. */
bool support_has_ended(int64_t pid, int timeout_ms);

/* Finds the processes besides this one that run the same executable, whichever process started them.
 * Returns how many there are, and puts up to room of them into pids. */
size_t support_same_program(int64_t *pids, size_t room);

/* Calls found for each name of an object that the whole system, or the session, can find.
 * Windows: named objects and pipes.  POSIX: /dev/shm, the memory and semaphores of System V, and abstract names of
 * sockets. */
void support_names(void (*found)(void *arg, const char *name), void *arg);

/* Make such a name, and remove it. */
void *support_make_name(void);
void support_drop_name(void *made);

/* Gives this process and its children a namespace of their own for such names, if the system can. */
void support_own_names(void);

/* Kills a process from outside: SIGKILL, or TerminateProcess with exit code 1. */
void support_kill(int64_t pid);

/* Ends this process at once, without exit handlers: SIGKILL or TerminateProcess on itself. */
_Noreturn void support_kill_self(void);

/* Starts a process with all the memory of this one, in a session of its own, so that it escapes who kills this one's
 * group; run never returns, and after a minute the process ends anyway.  Returns its id; 0 if the system cannot. */
int64_t support_escape(void (*run)(void *arg), void *arg);

/* Changes what every descriptor above the standard streams does, to nothing, and then closes it if that is wanted. */
void support_let_go(bool close_all);

/* Becomes another program, which is this one with that argument, and keeps nothing open but the standard streams; where
 * the system has no exec, starts it, and waits for it. */
_Noreturn void support_become(const char *argument);

/* Waits up to timeout_ms for a sentinel to become ready. */
bool support_sentinel_ready(intptr_t sentinel, int timeout_ms);

/* Runs a program with one argument, and waits for it.  The path may be of any length, which uv_spawn's may not on
 * Windows.  Returns its exit code; -1 when it cannot be started. */
int support_run(const char *path, const char *argument);

/* Makes this process the leader of a group, so that a Ctrl-C for it does not reach the program that runs the tests. */
void support_lead_group(void);

/* Sends Ctrl-C to the group of this process as a console does; false if the system cannot (Wine). */
bool support_interrupt_group(void);

/* Returns whether the system puts the dump of a crash where a test can find it. */
bool support_can_dump(void);

/* Returns the peak or current private memory of this process, in bytes. */
size_t support_memory(void);

/* Return whether the system enforces limits of a child (Wine does not), and whether memory can be limited to some MiB
 * too (not under a sanitizer, which maps terabytes). */
bool support_limits(void);
bool support_limits_memory(void);

/* Ignores the signal for used up CPU time, if there is one. */
void support_ignore_cpu_signal(void);

/* Makes the calls that older systems do not have fail, in this thread and those it makes; false if the system cannot.
 */
bool support_be_older(void);

/* Changes to a user for whom all limits hold, if the system exempts this one. */
void support_leave_root(void);

/* Make a group of processes that may use so much memory together, with this process in it, and remove it again; false
 * if the system cannot. */
bool support_join_small_group(const char *name, size_t memory);
void support_remove_small_group(const char *name);

/* Mount a disk with hardly any room at that directory, and unmount it again; false if the system cannot. */
bool support_mount_small_disk(const char *path);
void support_unmount_small_disk(const char *path);

/* Whether the condition holds in a copy of this process that is forked for it.  Where nothing copies a process
 * (Windows), true without asking. */
bool support_holds_in_copy(bool (*holds)(void *arg), void *arg);

/* Interrupts the system calls of this process some hundred times a second, and does not have the system start them
 * again; milliseconds of 0 end that.  Windows has nothing like it. */
void support_interrupt_calls(int milliseconds);

#endif
