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

/* Waits until one of these is signalled, and returns which; XF_ETIMEDOUT after the deadline, or another error. */
int handles_wait(const HANDLE *handles, DWORD count, uint64_t deadline);

/* Opens a pipe to a child.
 *   duplex  Both ways, and the child reads with timeouts; else the child writes only, as to a plain pipe.
 *   ours    Overlapped, not inherited.
 *   theirs  Inheritable, for a handle list. */
int pipe_open(bool duplex, HANDLE *ours, HANDLE *theirs);

/* ---- os_shm.c -------------------------------------------------------------------------------- */

/* Maps a section, which is the segment's on success. */
int shm_map(os_shm *shm, HANDLE section, size_t size, int flags);

/* ---- os_file.c ------------------------------------------------------------------------------- */

/* Text as the system wants it; freed by the caller.  XF_EINVAL when it is not UTF-8. */
int wide_text(const char *text, wchar_t **wide);

/* The path of a file, however long; freed by the caller. */
int wide_path(const char *text, wchar_t **path);

/* Puts the prefix for long paths before one that is absolute, and has room for 7 characters more. */
void path_add_prefix(wchar_t *path);

/* ---- os_environment.c ------------------------------------------------------------------------ */

/* This process's environment with the additions, as CreateProcessW takes it; freed by the caller.
 * XF_EINVAL for an addition that is not UTF-8, or has no name. */
int merge_environment(const char *const *additions, wchar_t **block);

/* ---- os_channel.c ---------------------------------------------------------------------------- */

typedef enum stream_kind {
    STREAM_OUTPUT,   /* what a child prints */
    STREAM_TO_CHILD, /* of the channel's process */
    STREAM_TO_PARENT,
    STREAM_ACCEPTED, /* to an unrelated process, which has connected to an endpoint */
    STREAM_CONNECTED /* to an unrelated process, which has the endpoint */
} stream_kind;

/* Our end of a pipe, read one buffer ahead: its event is set while there is something to read or an end to return. */
struct os_channel {
    stream_kind kind;
    HANDLE pipe; /* NULL: there is no such stream */
    HANDLE port; /* keeps reads and writes going when the thread that began them ends */
    HANDLE event;
    OVERLAPPED io;
    enum { STREAM_IDLE, STREAM_READING, STREAM_FILLED, STREAM_FAILED, STREAM_ENDED } state;
    bool ended;            /* the end was returned */
    bool writer_has_ended; /* what is not there now is not under way either */
    DWORD system;          /* STREAM_FAILED: the error */
    DWORD from;            /* what is left in data */
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

/* Opens a channel, which is all zero, on a pipe, which belongs to it from then on, also on failure. */
int stream_open(os_channel *channel, HANDLE pipe, stream_kind kind);

/* Ends what is under way and closes everything; harmless on a channel that is all zero. */
void stream_release(os_channel *channel);

/* Whether os_channel_read has something new to return.  If not, the event will be set when it has, or just
 * before. */
bool stream_ready(os_channel *channel);

/* Prepares overlapped input or output with that event, for which no completion port gets a packet. */
OVERLAPPED overlapped(HANDLE event);

/* ---- os_quota.c ------------------------------------------------------------------------------ */

/* Fills in quota and group. */
void quota_describe(os_machine *machine);

/* ---- os_child.c ------------------------------------------------------------------------------ */

/* A watch: every event is waited for on its own, by the system's thread pool. */
typedef struct child_watch {
    os_watcher *watcher; /* NULL: none */
    uint64_t key;
    HANDLE waits[OS_STREAMS + 2];        /* the streams, the process, dump_asked */
    struct child_watch *previous, *next; /* among those whose key is to be reported; NULL: not among them */
} child_watch;

/* A child, in its parent. */
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
    HANDLE news; /* the job's completion port, where it says that it refused memory; NULL: none */
};

/* Frees a child that was not started, or has ended. */
void child_free(os_child *child);

/* ---- os_exec.c ------------------------------------------------------------------------------- */

/* What a child is made with: handles that are inheritable, each made for this child alone and closed once it runs.
 * Only children whose creator names no handles in a list could inherit one meanwhile; ours all have such a list. */
enum {
    INHERITED_STDIN,
    INHERITED_STDOUT,
    INHERITED_STDERR,
    INHERITED_CHANNEL,
    INHERITED_BOX,
    INHERITED_INPUT,
    INHERITED_DUMP,
    INHERITED
};

/* Executes the running image anew as that child. */
int exec_again(os_child *child, const os_start *start, HANDLE inherited[INHERITED]);

#define CHILD_ARGUMENT "--crossfork-child="

/* ---- os_limit.c ------------------------------------------------------------------------------ */

/* Puts limits on a new job that a child will be in.
 *   news  Set to a completion port that the job reports to, where that is of use. */
int limit_job(HANDLE job, const xf_limits *limits, HANDLE *news);

/* Sees whether a child that ended like that came to one of its limits, and adds what it used up. */
void limit_judge(const os_child *child, os_end *end);

/* ---- os_newborn.c ---------------------------------------------------------------------------- */

/* Where the program or DLL begins that this code is in; the linker defines it. */
extern IMAGE_DOS_HEADER __ImageBase;

/* In a child, before main: what it shares with its parent. */
void child_take_status(os_status *status, size_t size);
os_status *child_status(void); /* NULL: this process is nobody's child */

/* This process ends by its own will. */
void child_mark_leaving(void);

/* In a child that came to xf_main: no dialogs, no ends by Ctrl-C, and an end that can be read from the status block. */
void child_get_ready(void);

/* ---- os_crash.c ------------------------------------------------------------------------------ */

/* In a child, before main: where to record what happens. */
void crash_take_status(os_status *status, size_t size);

/* In a child that came to xf_main: our own handlers for what the status block has to tell. */
void child_catch_faults(void);

/* Leaves a thread enough of its stack for a handler when it has run over the end. */
void crash_guarantee_stack(void);

/* Records where this process is, which is about to end by exit(). */
void crash_record_exit(void);

/* The start of a thread that the parent makes in this process: records where the main one is; 0 when it could not. */
DWORD WINAPI crash_record_main(void *unused);

/* ---- os_module.c ----------------------------------------------------------------------------- */

/* The file of a program or shared library.  What it says of itself is not trusted. */
typedef struct module_file {
    HANDLE handle;
    BY_HANDLE_FILE_INFORMATION facts;
    IMAGE_NT_HEADERS headers;
} module_file;

/* Opens a file of this machine's kind. */
bool module_open(module_file *file, const wchar_t *path);

/* The build id of a file in hexadecimal, or what stands for it. */
void module_build_id(const module_file *file, char *text, size_t size);

/* ---- os_record.c ----------------------------------------------------------------------------- */

enum { RECORD_MODULES = 32, RECORD_PATH = 300 };

#define NO_MODULE UINT32_MAX

/* A module of a child. */
typedef struct record_module {
    uint64_t base;
    uint64_t preferred_base; /* as its header in memory says, where the system may have written another */
    uint32_t size;
    uint32_t timestamp;
    uint32_t checksum;
    wchar_t path[RECORD_PATH]; /* as the system itself calls it; "" when not known */
} record_module;

/* What a child has recorded of a thread: where it is, and where its functions return to. */
struct os_record {
    os_record_head head;
    uint64_t frames[OS_FRAMES_MAX];
    uint32_t module_of[OS_FRAMES_MAX]; /* a number in modules, or NO_MODULE */
    uint32_t frame_count;
    uint32_t module_count;
    record_module modules[RECORD_MODULES];
};

_Static_assert(sizeof(struct os_record) <= OS_RECORD_SIZE, "a record is as large as everybody thinks");

/* In the child that crashed, for an exception handler: records the stack from there on.  Allocates nothing and takes no
 * lock of its own; what the system's unwinder does is what it does for every exception.  Where the stack is so broken
 * that walking it faults again, the record holds what was found before.
 *   context  Of this thread, or of one that is stopped. */
void record_stack(os_record *record, const CONTEXT *context);

/* The registers, in the order of os.register_names. */
void record_registers(os_record_head *head, const CONTEXT *context);

#endif
