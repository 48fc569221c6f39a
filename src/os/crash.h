/* THE SEAM: where a child was when it crashed, or is now.  A new system may leave it out; rules: traits.h.
 *
 * A child that crashes cannot find out much about itself, as its heap and locks may be in any state.  So it leaves a
 * record in memory that it shares with its parent (os_status.record_at), with the least from which the rest can be
 * derived, and the parent makes sense of it.  Nothing in a record is trusted: it comes from a broken process. */
#ifndef OS_CRASH_H
#define OS_CRASH_H

#include "os/child.h"

enum { OS_RECORD_SIZE = 131072, OS_REGISTERS_MAX = 40, OS_FRAMES_MAX = 64 };

/* What a fault leaves for the parent to read: registers, the top of the stack, where the program was mapped. */
typedef struct os_record os_record;

/* The beginning of a record, on every system. */
typedef struct os_record_head {
    _Atomic uint32_t state;  /* an os_record_state */
    int32_t system;          /* signal number or exception code */
    int32_t detail;          /* si_code; 0 on Windows */
    int32_t error;           /* errno of the thread */
    int64_t thread;          /* the system's id */
    uint64_t fault_address;  /* the address that an access violation is about */
    uint32_t register_count; /* how many of registers are set; os.register_names names them */
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
 * XF_ESTATE when the box has no record, or it is in use; XF_EACCESS, XF_ETIMEDOUT; XF_EEND when the child has ended.
 * Windows: a thread of our own in the child, which suspends the main one.  POSIX: ptrace.  Left out: XF_ENOTSUP. */
int os_child_snapshot(os_child *child);

/* Takes what a crash of the child has left for a debugger, where status.dump_at asks for that.
 *   name  The absolute path of the file, without its ending.
 *   path  Set to the file's path, of size bytes at most.
 * XF_EAGAIN when there is nothing to take, or not yet; XF_ENOENT when the system left no core file where it can be
 * found; XF_EACCESS, XF_ENOSPACE.  Called again, it returns XF_EAGAIN.
 * Windows: writes a minidump; to be tried whenever os_child_wait returns, because the child waits for it (10 s).
 * POSIX: moves a core file, once os_child_end has returned 0.  Left out: XF_EAGAIN. */
int os_child_dump(os_child *child, const char *name, char *path, size_t size);

/* ---- The content of a record ----------------------------------------------------------------- */

typedef struct os_frame {
    uint64_t address;          /* in the child: of the call, or of the faulting instruction itself for the first */
    uint64_t offset;           /* what addr2line takes for the module; address when the module is not known */
    char module[1024];         /* path, UTF-8; "" when not known */
    char build_id[2 * 20 + 1]; /* hexadecimal; "" when there is none */
} os_frame;

/* Writes the frames of a recorded stack, innermost first, and returns their number.  The record is not trusted.
 * Left out: 0. */
size_t os_record_frames(const os_record *record, os_frame *frames, size_t room);

/* ---- Programs and shared libraries ----------------------------------------------------------- */

/* Where libbacktrace finds an instruction of a module. */
typedef struct os_location {
    char file[1024];      /* the module's file as the C library's open takes it */
    uint64_t identity[4]; /* differs from that of every other file, also of a file that has replaced it */
    uintptr_t address;    /* of the instruction, to a state of libbacktrace that is made for this file */
} os_location;

/* Finds an instruction in a program or shared library.
 *   module  The path of its file, UTF-8.
 *   offset  The address as it was linked; on Windows the preferred image base is part of it.
 * Windows: libbacktrace is built not to ask where the running program is, so offset and address are the same.
 * POSIX: libbacktrace supposes a position-independent file where this process's own program is.
 * Returns false when it is no file of this machine's kind, or has no code there.  Left out: false. */
bool os_module_locate(const char *module, uint64_t offset, os_location *location);

#endif
