/* THE SEAM, second part: where a child was when it crashed, or is.  The rules of os.h hold here too.
 *
 * A child cannot find out much about itself when it crashes, as its heap and locks may be in any state.  So it leaves a
 * record in memory that it shares with its parent (os_note.record_at), with the least that tells the rest, and the
 * parent makes sense of it.  Nothing in a record is trusted: it comes from a process that was out of its mind. */
#ifndef OS_CRASH_H
#define OS_CRASH_H

#include "os/os.h"

enum { OS_RECORD_SIZE = 131072, OS_REGISTERS_MAX = 40, OS_FRAMES_MAX = 64 };

/* What is kept of a fault, for the parent to read: registers, the top of the stack, where the program was mapped. */
typedef struct os_record os_record;

/* How a record begins, on every system. */
typedef struct os_record_head {
    _Atomic uint32_t state;  /* an os_record_state */
    int32_t system;          /* signal number or exception code */
    int32_t detail;          /* si_code; 0 on Windows */
    int32_t error;           /* errno of the thread */
    int64_t thread;          /* the system's id */
    uint64_t fault_address;  /* that an access violation is about */
    uint32_t register_count; /* of os_register_names */
    uint32_t unused;
    uint64_t registers[OS_REGISTERS_MAX];
} os_record_head;

typedef enum os_record_state {
    OS_RECORD_NONE,
    OS_RECORD_BEGUN,
    OS_RECORD_WHOLE,
    OS_RECORD_STALE /* whole, but a handler of the program's own returned after it: the next one may replace it */
} os_record_state;

/* Records where the child's main thread is, in the box: it is stopped for that moment, whatever it does.
 * XF_ESTATE when the box has no record, or it is in use; XF_EACCESS, XF_ETIMEDOUT, XF_EEND when it has ended.
 * Windows: a thread of our own in the child, which suspends the main one.  POSIX: ptrace. */
int os_child_stack(os_child *child);

/* Takes what a crash of the child has left for a debugger, where note.dump_at asks for that.
 *   name  Of the file, without its ending: an absolute path.
 *   path  Set to the file's path, of size bytes at most.
 * XF_EAGAIN when there is nothing to take, or not yet; XF_ENOENT when the system left no core file where it can be
 * found; XF_EACCESS, XF_ENOSPACE.  Called again, it says XF_EAGAIN.
 * Windows: writes a minidump; to be tried whenever os_child_wait returns, for the child waits for it, 10 s at most.
 * POSIX: moves a core file, once os_child_end has returned 0. */
int os_child_dump(os_child *child, const char *name, char *path, size_t size);

/* ---- What a record says ---------------------------------------------------------------------- */

typedef struct os_frame {
    uint64_t address;          /* in the child: of the call, or of the faulting instruction itself for the first */
    uint64_t offset;           /* what addr2line takes for the module; address when the module is not known */
    char module[1024];         /* path, UTF-8; "" when not known */
    char build_id[2 * 20 + 1]; /* hexadecimal; "" when there is none */
} os_frame;

/* The frames of a recorded stack, innermost first: how many.  The record is not trusted. */
size_t os_record_frames(const os_record *record, os_frame *frames, size_t room);

/* ---- Programs and shared libraries ----------------------------------------------------------- */

/* Where libbacktrace finds a place in a module. */
typedef struct os_place {
    char file[1024];      /* the module's file as the C library's open takes it */
    uint64_t identity[4]; /* differs from that of every other file, also of one that was put in its place */
    uintptr_t address;    /* of the place, to a state of libbacktrace that is made for this file */
} os_place;

/* Looks for a place in a program or shared library.
 *   module  The path of its file, UTF-8.
 *   offset  The address as it was linked; on Windows the preferred image base is in it.
 * Windows: libbacktrace is built not to ask where the running program is, so the two are the same.
 * POSIX: libbacktrace supposes a position-independent file where this process's own program is.
 * Returns false when it is no file of this machine's kind, or has no code there. */
bool os_module_place(const char *module, uint64_t offset, os_place *place);

#endif
