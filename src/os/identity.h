/* THE SEAM: which program, process and thread this is, and whether others live.  Core port; rules: traits.h. */
#ifndef OS_IDENTITY_H
#define OS_IDENTITY_H

#include "os/traits.h"

#define OS_BUILD_ID_SIZE 20

/* Distinguishes this program's build from every other, without reading a file: the linker's build id, or a substitute
 * for it.  Where crossfork is a shared library or DLL, which may be replaced on its own, its build id counts, too. */
void os_self_build(uint8_t build[OS_BUILD_ID_SIZE]);

/* Finds the program or shared library that a piece of this process's code is in.
 *   path    Its path, UTF-8.
 *   offset  Where the code is in it: as addr2line takes it on POSIX, from the image base on Windows.
 * Returns false when it is in none, or the path does not fit into size bytes. */
bool os_self_locate(uintptr_t code, char *path, size_t size, uint64_t *offset);

/* Whether this process has rights that the process that started it has not, so that neither the environment nor the
 * arguments are to be trusted: os_self_child then refuses to be a child, and os_child_start can only fork.
 * POSIX: AT_SECURE, which the kernel sets for a program that is setuid or setgid or has capabilities by its file, and
 * which stays when it gives them up.  Windows: never, as no program has rights by its file. */
bool os_self_is_privileged(void);

/* Names this process for who lists processes: the program's name and what it runs, each cut where both are too long.
 * POSIX: the name of the calling thread, which is the process's for its first thread; 15 bytes, "program:task".
 * Windows: nothing, as a list of processes shows the name of the image there. */
void os_self_show(const char *task);

/* A number that differs in a copy of this process that fork made, and in copies of copies; costs nothing.
 * Windows: always 0, as nothing copies a process.  POSIX: counts the forks between the program and this process, except
 * those that the C library does not see (a bare system call). */
uint32_t os_self_generation(void);

/* Where that number is, for code that cannot spare a call. */
const volatile uint32_t *os_self_generation_at(void);

/* How many threads this process has; 0 when that is not known. */
int os_self_threads(void);

/* A number of at most OS_THREAD_BITS bits, not 0, that stands for the calling thread and for no other on this machine,
 * even when the system later gives the thread's id to another; costs nothing after the first time.
 * Windows and POSIX: the thread's id, and above it some bits of when it started. */
uint64_t os_self_thread(void);

/* Whether that thread, of whichever process, has not ended.
 * Windows: OpenThread.  Linux: /proc. */
bool os_thread_lives(uint64_t thread);

enum { OS_THREAD_BITS = 56 };

/* Do the same for this process and for others, in OS_PROCESS_BITS; a process lives as long as a thread of it does.
 * Windows: OpenProcess; the id, a multiple of 4 below 2^26 (a table of handles holds no more), is 24 of the bits.
 * Linux: /proc; the id is below 2^22 (PID_MAX_LIMIT). */
uint64_t os_self_process(void);
bool os_process_lives(uint64_t process);

enum { OS_PROCESS_BITS = 40 };

#endif
