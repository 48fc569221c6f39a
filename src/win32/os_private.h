/* What the files of src/win32 share. */
#ifndef OS_PRIVATE_H
#define OS_PRIVATE_H

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif

#include "os/os.h"
#include "os/twins.h"

#include <windows.h>

/* Translates GetLastError of a failed call, keeps "call: text" as the error detail, and returns the XF_E* code. */
int os_error(DWORD system, const char *call);

/* ---- os_handle.c ----------------------------------------------------------------------------- */

/* Closes *handle, if there is one, and sets it to NULL. */
void handle_close(HANDLE *handle);

/* Waits until one of the handles is signalled, and returns which; XF_ETIMEDOUT after the deadline, or another error. */
int handles_wait(const HANDLE *handles, DWORD count, uint64_t deadline);

/* Opens a pipe to a child.
 *   duplex  true: for both directions, and the child reads with timeouts; false: the child only writes, as to a plain
 *           pipe.
 *   ours    Overlapped, not inherited.
 *   theirs  Inheritable, for a handle list. */
int pipe_open(bool duplex, HANDLE *ours, HANDLE *theirs);

/* ---- os_shm.c -------------------------------------------------------------------------------- */

/* Maps a section; on success the section belongs to the segment. */
int shm_map(os_shm *shm, HANDLE section, size_t size, int flags);

/* The page behind an OS_SHM_WAITABLE segment, which has the list of those that sleep on its words. */
void *shm_sleepers(const os_shm *shm);

/* ---- os_file.c ------------------------------------------------------------------------------- */

/* Converts text to the form that the system takes; the caller frees it.  XF_EINVAL when it is not UTF-8. */
int wide_text(const char *text, wchar_t **wide);

/* Converts the path of a file, of any length; the caller frees it. */
int wide_path(const char *text, wchar_t **path);

/* Puts the prefix for long paths before an absolute path, whose memory has room for 7 characters more. */
void path_add_prefix(wchar_t *path);

/* ---- os_environment.c ------------------------------------------------------------------------ */

/* Makes this process's environment with the changes, as CreateProcessW takes it; the caller frees it.
 * XF_EINVAL for a change that is not UTF-8; XF_ELIMIT for a variable that is too long, which the detail names. */
int merge_environment(const char *const *changes, wchar_t **block);

/* ---- os_channel.c ---------------------------------------------------------------------------- */

typedef enum stream_kind {
    STREAM_OUTPUT,   /* what a child prints */
    STREAM_TO_CHILD, /* to the process of the channel */
    STREAM_TO_PARENT,
    STREAM_ACCEPTED, /* to an unrelated process, which has connected to an endpoint */
    STREAM_CONNECTED /* to an unrelated process, which has the endpoint */
} stream_kind;

/* Our end of a pipe, which is read one buffer ahead: the event is set while there is something to read or an end to
 * return. */
struct os_channel {
    stream_kind kind;
    HANDLE pipe; /* NULL: there is no such stream */
    HANDLE port; /* keeps reads and writes running when the thread that began them ends */
    HANDLE event;
    OVERLAPPED io;
    enum { STREAM_IDLE, STREAM_READING, STREAM_FILLED, STREAM_FAILED, STREAM_ENDED } state;
    bool ended;            /* os_channel_read has returned the end */
    bool writer_has_ended; /* the writer is dead: bytes that are not in the pipe now will not come */
    DWORD system;          /* the error; for STREAM_FAILED */
    DWORD from;            /* the bytes of data from here up to "to" are unread */
    DWORD to;
    uint8_t *data;
    struct {
        HANDLE event;
        OVERLAPPED io;
        bool pending;
        uint8_t data[OS_CHANNEL_WRITE_MAX];
    } outbox;       /* the write that is under way */
    HANDLE process; /* STREAM_TO_CHILD: the child's, which the channel does not own */
    HANDLE *sent;   /* copies that an unrelated process may still take */
    size_t sent_count;
};

/* Opens a channel, which is all zero, on a pipe.  The pipe belongs to the channel even on failure, and is closed
 * then. */
int stream_open(os_channel *channel, HANDLE pipe, stream_kind kind);

/* Ends reads and writes that are under way, and closes everything; harmless on a channel that is all zero. */
void stream_release(os_channel *channel);

/* Whether os_channel_read has something new to return.  If not, the event will be set when it has, or just before. */
bool stream_ready(os_channel *channel);

/* Prepares overlapped input or output with that event, for which no completion port gets a packet. */
OVERLAPPED overlapped(HANDLE event);

/* ---- os_quota.c ------------------------------------------------------------------------------ */

/* Fills in the quota and the memory limit. */
void quota_describe(os_machine *machine);

/* ---- os_child.c ------------------------------------------------------------------------------ */

/* A watch: the system's thread pool waits for each event separately. */
typedef struct child_watch {
    os_watcher *watcher; /* NULL: none */
    uint64_t key;
    HANDLE waits[OS_STREAMS + 2];        /* the streams, the process, dump_asked */
    struct child_watch *previous, *next; /* in the ring of watches whose key is to be reported; NULL: not in it */
} child_watch;

/* A child, as its parent sees it. */
struct os_child {
    os_channel stream[OS_STREAMS];
    HANDLE process;
    HANDLE job;
    HANDLE dump_asked; /* an event; NULL: no dump is wanted, or it was written */
    int64_t pid;
    child_watch watch;
    bool ended;
    os_end end;
    os_status *status;      /* the child writes to it */
    os_record_head *record; /* in the box; NULL: none */
    xf_limits limits;
};

/* Frees a child that was not started, or has ended. */
void child_free(os_child *child);

/* ---- os_exec.c ------------------------------------------------------------------------------- */

/* The handles that a child inherits.  Each is inheritable, made for this child alone, and closed once the child runs.
 * Another child could inherit one meanwhile only if its creator passed no list of handles; crossfork always passes
 * one. */
enum {
    INHERITED_STDIN,
    INHERITED_STDOUT,
    INHERITED_STDERR,
    INHERITED_CHANNEL,
    INHERITED_BOX,
    INHERITED_INPUT,
    INHERITED_DUMP = INHERITED_INPUT + OS_INPUTS,
    INHERITED
};

/* Executes the running image anew, as that child. */
int exec_again(os_child *child, const os_start *start, HANDLE inherited[INHERITED]);

#define CHILD_ARGUMENT "--crossfork-child="

/* ---- os_limit.c ------------------------------------------------------------------------------ */

/* Puts limits on a new job that a child will be in. */
int limit_job(HANDLE job, const xf_limits *limits);

/* In a child that crashes or exits with that errno: notes whether it is short of memory.  Takes no lock of its own. */
void limit_mark_refused(os_status *status, int error);

/* Sees whether a child with that end has exceeded one of its limits, and adds what the child has used. */
void limit_judge(const os_child *child, os_end *end);

/* ---- os_newborn.c ---------------------------------------------------------------------------- */

/* The start of the program or DLL that this code is in; the linker defines it. */
extern IMAGE_DOS_HEADER __ImageBase;

/* In a child, before main: remembers the status block, which it shares with its parent. */
void child_take_status(os_status *status, size_t size);
os_status *child_status(void); /* NULL: this process is not a child */

/* Notes that this process ends by its own will. */
void child_mark_leaving(void);

/* In a child that has come to xf_main: turns dialogs off, keeps Ctrl-C from ending the child, and makes ends readable
 * from the status block. */
void child_get_ready(void);

/* ---- os_crash.c ------------------------------------------------------------------------------ */

/* In a child, before main: remembers where to record what happens. */
void crash_take_status(os_status *status, size_t size);

/* In a child that has come to xf_main: installs the handlers that fill in the status block. */
void child_catch_faults(void);

/* Keeps enough of the stack free for a handler to run after a stack overflow. */
void crash_guarantee_stack(void);

/* Records where this process is, which is about to end by exit(). */
void crash_record_exit(void);

/* Runs in a thread that the parent starts in this process: records where the main thread is.  Returns 0 when it could
 * not. */
DWORD WINAPI crash_record_main(void *unused);

/* ---- os_module.c ----------------------------------------------------------------------------- */

/* The file of a program or shared library.  Its contents are not trusted. */
typedef struct module_file {
    HANDLE handle;
    BY_HANDLE_FILE_INFORMATION facts;
    IMAGE_NT_HEADERS headers;
} module_file;

/* Opens a file that is of this machine's kind. */
bool module_open(module_file *file, const wchar_t *path);

/* Writes the build id of a file in hexadecimal; if it has none, facts of its headers stand in for it. */
void module_build_id(const module_file *file, char *text, size_t size);

/* ---- os_record.c ----------------------------------------------------------------------------- */

enum { RECORD_MODULES = 32, RECORD_PATH = 300 };

#define NO_MODULE UINT32_MAX

/* A module that was loaded in a child. */
typedef struct record_module {
    uint64_t base;
    uint64_t preferred_base; /* the base in its header in memory, which the system may have changed */
    uint32_t size;
    uint32_t timestamp;
    uint32_t checksum;
    wchar_t path[RECORD_PATH]; /* the system's internal path; "" when not known */
} record_module;

/* What a child has recorded of a thread: where the thread is, and where its functions return to. */
struct os_record {
    os_record_head head;
    uint64_t frames[OS_FRAMES_MAX];
    uint32_t module_of[OS_FRAMES_MAX]; /* a number in modules, or NO_MODULE */
    uint32_t frame_count;
    uint32_t module_count;
    record_module modules[RECORD_MODULES];
};

_Static_assert(sizeof(struct os_record) <= OS_RECORD_SIZE, "a record is as large as everybody thinks");

/* Records the stack from a context on; for an exception handler in the child that crashed.  Allocates nothing and takes
 * no lock of its own; the system's unwinder does what it does for every exception.  Where the stack is so broken that
 * walking it faults again, the record holds what was found before.
 *   context  Of this thread, or of one that is suspended. */
void record_stack(os_record *record, const CONTEXT *context);

/* Goes from a function's context to that of its caller. */
void record_step(CONTEXT *context);

/* Copies the registers, in the order of os.register_names. */
void record_registers(os_record_head *head, const CONTEXT *context);

#endif
