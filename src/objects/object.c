#include "objects/object.h"

#include "base/error.h"
#include "base/per_process.h"
#include "protocol/channel.h"
#include "protocol/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* At the start of the segment.  It says again what whoever opens the object has been told, as a check. */
typedef struct head {
    uint32_t magic;
    uint32_t version;
    xf_ref ref;
    uint64_t size; /* of the body */
} head;

enum { MAGIC = 0x786f626a };

_Static_assert(sizeof(head) <= OBJECT_HEAD, "the head fits before the body");

/* An object in the table. */
typedef struct entry {
    object object; /* first: the object is the entry.  Of a handle only shm.handle is used, -1 when it is above */
    uint32_t version;
    struct entry *next;       /* in its row of the table */
    uint32_t opens;           /* by this process */
    bool kept;                /* a handle that this process has made: one of the opens */
    uint32_t told;            /* how often the parent counts this process among those that have it open */
    struct holding *holdings; /* of children */
} entry;

/* That a child has an object open. */
typedef struct holding {
    entry *entry;
    object_child *child;
    uint32_t times; /* it asked for it or offered it */
    bool brought;   /* it made it, as far as can be told */
    struct holding *next_of_entry;
    struct holding *previous, *next; /* of the child */
} holding;

/* A question to the parent. */
typedef struct request {
    uint32_t number;
    bool answered;
    int code;
    int flags;
    uint64_t size;
    intptr_t handle; /* -1: none came */
    struct request *next;
} request;

enum { ROWS = 256 };

static struct table {
    uv_mutex_t lock;
    entry *rows[ROWS];
    channel *above; /* NULL: this process is nobody's child */
    request *requests;
    uint32_t last_request;
} table;

static struct table parents; /* in a forked child: what it cannot free stays in sight of leak checkers */

static void initialize(void)
{
    parents = table;
    memset(&table, 0, sizeof table);
    if (uv_mutex_init(&table.lock))
        abort(); /* it has no reason to fail */
}

static void enter(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, initialize);
}

static void lock(void)
{
    enter();
    uv_mutex_lock(&table.lock);
}

static void unlock(void)
{
    uv_mutex_unlock(&table.lock);
}

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"nothing",   "handle",    "shared memory", "lock",    "rwlock",
                                        "semaphore", "condition", "event",         "barrier", "once",
                                        "queue",     "pipe",      "heap"};

    return kind < sizeof names / sizeof *names ? names[kind] : "unknown kind";
}

/* ---- The table, with the lock held ----------------------------------------------------------- */

static entry **row_of(const xf_ref *ref)
{
    return &table.rows[ref->id[0] % ROWS];
}

static bool is_same(const xf_ref *left, const xf_ref *right)
{
    return memcmp(left->id, right->id, sizeof left->id) == 0;
}

static entry *find(const xf_ref *ref)
{
    entry *entry = *row_of(ref);

    while (entry && !is_same(&entry->object.ref, ref))
        entry = entry->next;
    return entry;
}

static void put_in(entry *entry)
{
    struct entry **row = row_of(&entry->object.ref);

    entry->next = *row;
    *row = entry;
}

/* Takes an entry out that nobody has open any more; false when somebody has. */
static bool take_out_unused(entry *entry)
{
    struct entry **at = row_of(&entry->object.ref);

    if (entry->opens > 0 || entry->holdings)
        return false;
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    return true;
}

/* Without the lock: ends an entry that was taken out of the table, or never was in it. */
static void destroy(entry *entry)
{
    wire_fields fields = {.size = 0};

    if (entry->told > 0) {
        wire_put(&fields, &entry->object.ref, sizeof entry->object.ref);
        wire_put_u32(&fields, entry->told);
        (void)channel_send(table.above, WIRE_DROP, &fields, NULL, 0, true); /* it fails when the parent has gone */
    }
    os_shm_close(&entry->object.shm);
    free(entry);
}

/* Ends a use of this process's. */
static void let_go(entry *entry)
{
    bool unused;

    lock();
    assert(entry->opens > 0);
    entry->opens--;
    unused = take_out_unused(entry);
    unlock();
    if (unused)
        destroy(entry);
}

/* ---- What children have open, with the lock held --------------------------------------------- */

static holding *find_holding(const entry *entry, const object_child *child)
{
    holding *holding = entry->holdings;

    while (holding && holding->child != child)
        holding = holding->next_of_entry;
    return holding;
}

static int add_holding(entry *entry, object_child *child, bool brought)
{
    holding *holding = find_holding(entry, child);

    if (holding) {
        holding->times++;
        return 0;
    }
    if (child->count >= OBJECT_OPEN_MAX || (brought && child->brought >= OBJECT_BROUGHT_MAX))
        return error_detail(XF_ELIMIT, "a child has too many objects open");
    holding = malloc(sizeof *holding);
    if (!holding)
        return error_detail(XF_ENOMEM, "an object of a child");
    *holding = (struct holding){entry, child, 1, brought, entry->holdings, NULL, child->first};
    entry->holdings = holding;
    if (child->first)
        child->first->previous = holding;
    child->first = holding;
    child->count++;
    child->brought += brought;
    return 0;
}

static void remove_holding(holding *holding)
{
    object_child *child = holding->child;
    struct holding **at = &holding->entry->holdings;

    while (*at != holding)
        at = &(*at)->next_of_entry;
    *at = holding->next_of_entry;
    if (holding->previous)
        holding->previous->next = holding->next;
    else
        child->first = holding->next;
    if (holding->next)
        holding->next->previous = holding->previous;
    child->count--;
    child->brought -= holding->brought;
    free(holding);
}

/* That child has it open so many times less. */
static void release(entry *entry, const object_child *child, uint32_t times)
{
    holding *holding = find_holding(entry, child);

    if (holding && holding->times > times)
        holding->times -= times;
    else if (holding)
        remove_holding(holding);
}

/* ---- Asking the parent ----------------------------------------------------------------------- */

static bool is_answered(const void *arg)
{
    return ((const request *)arg)->answered;
}

static void add_request(request *request)
{
    lock();
    request->number = ++table.last_request;
    request->next = table.requests;
    table.requests = request;
    unlock();
}

static void remove_request(request *request)
{
    struct request **at = &table.requests;

    lock();
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    unlock();
}

static request *find_request(uint32_t number)
{
    request *request = table.requests;

    while (request && request->number != number)
        request = request->next;
    return request;
}

/* Called with the channel's lock held, which comes before the table's. */
static void on_answer(channel *channel, const wire_frame *frame)
{
    wire_reader reader = wire_read(frame);
    uint32_t number = wire_get_u32(&reader);
    int code = (int)wire_get_u32(&reader), flags = (int)wire_get_u32(&reader);
    intptr_t handle = -1;
    request *request;

    if (frame->attached && os_parent_take(channel->parent, frame->token, &handle) < 0)
        code = XF_EHANDLES;
    lock();
    request = find_request(number);
    if (request) {
        request->code = code;
        request->flags = flags;
        request->size = frame->attached;
        request->handle = handle;
        request->answered = true;
    }
    unlock();
    if (!request && handle != -1)
        os_handle_close(handle);
}

void object_begin(channel *above)
{
    lock();
    table.above = above;
    above->on_answer = on_answer;
    unlock();
}

/* Sends a question and waits for the answer.
 *   offered  What goes with it, and is the parent's on success; -1: nothing. */
static int ask(request *request, wire_type type, const xf_ref *ref, int flags, intptr_t offered, uint64_t size)
{
    wire_fields fields = {.size = 0};
    int rc;

    request->handle = -1;
    add_request(request);
    wire_put_u32(&fields, request->number);
    wire_put(&fields, ref, sizeof *ref);
    wire_put_u32(&fields, (uint32_t)flags);
    rc = offered == -1 ? channel_send(table.above, type, &fields, NULL, 0, true)
                       : channel_send_handle(table.above, type, &fields, offered, size);
    if (rc < 0 && offered != -1)
        os_handle_close(offered);
    if (rc == 0)
        rc = channel_await(table.above, is_answered, request, -1);
    remove_request(request);
    if (rc == 0 && request->code == XF_ENOENT)
        return error_detail(XF_ENOENT, "no process has the %s open", kind_name(ref->kind));
    if (rc == 0 && request->code < 0)
        return error_detail(request->code, "the parent said so when it was asked for a %s", kind_name(ref->kind));
    return rc == XF_EEND ? error_detail(rc, "the parent has gone") : rc;
}

/* Gets a handle and what belongs to it from the parent. */
static int ask_for(const xf_ref *ref, request *answer)
{
    if (!table.above)
        return error_detail(XF_ENOENT, "no process has the %s open", kind_name(ref->kind));
    return ask(answer, WIRE_ASK, ref, 0, -1, 0);
}

/* Tells the parent of an object, so that others can open it; nothing to do in the program itself. */
static int offer(entry *entry)
{
    os_shm *shm = &entry->object.shm;
    request answer = {0};
    intptr_t copy;
    int rc;

    if (!table.above)
        return 0;
    rc = os_handle_copy(shm->handle, &copy);
    if (rc == 0)
        rc = ask(&answer, WIRE_OFFER, &entry->object.ref, shm->flags, copy, shm->address ? shm->size : 1);
    if (rc < 0)
        return rc;
    lock();
    entry->told++;
    unlock();
    if (!shm->address)
        os_shm_forget(shm); /* the one above can be taken */
    return 0;
}

/* ---- Entries --------------------------------------------------------------------------------- */

/* An entry for a segment, which is its own from then on, also on failure. */
static int make_entry(entry **out, const xf_ref *ref, os_shm *shm)
{
    entry *entry = calloc(1, sizeof *entry);

    if (!entry) {
        os_shm_close(shm);
        return error_detail(XF_ENOMEM, "a shared object");
    }
    entry->object = (object){.shm = *shm, .ref = *ref};
    if (shm->address) {
        const head *head = shm->address;
        entry->object.body = (char *)shm->address + OBJECT_HEAD;
        entry->object.size = (size_t)head->size;
        entry->version = head->version;
    }
    *out = entry;
    return 0;
}

/* Whether a segment is the object that it is said to be. */
static bool is_object(const os_shm *shm, const xf_ref *ref)
{
    const head *head = shm->address;

    return head->magic == MAGIC && memcmp(&head->ref, ref, sizeof *ref) == 0 && head->size <= shm->size - OBJECT_HEAD;
}

/* Opens a segment that came from another process, which may be broken or hostile. */
static int open_segment(os_shm *shm, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    enum { ALLOWED = OS_SHM_RESERVED | OS_SHM_BELL | OS_SHM_PRIVATE | OS_SHM_HUGE };
    int rc;

    if (size <= OBJECT_HEAD || size > SIZE_MAX / 2 || flags & ~ALLOWED) {
        os_handle_close(handle);
        return error_detail(XF_EPROTO, "an object of %llu bytes", (unsigned long long)size);
    }
    rc = os_shm_open(shm, handle, (size_t)size, flags);
    if (rc < 0)
        return rc;
    if (flags & OS_SHM_RESERVED)
        rc = os_shm_commit(shm, 0, OS_PAGE);
    if (rc == 0 && !is_object(shm, ref))
        rc = error_detail(XF_EPROTO, "the segment is not the %s it is said to be", kind_name(ref->kind));
    if (rc < 0)
        os_shm_close(shm);
    return rc;
}

/* An entry for a handle that came from another process. */
static int receive_entry(entry **out, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    os_shm shm = {NULL, 0, handle, 0};
    int rc = ref->kind == XF_KIND_HANDLE ? 0 : open_segment(&shm, ref, handle, size, flags);

    return rc < 0 ? rc : make_entry(out, ref, &shm);
}

/* Puts a new entry into the table, or, when there is one already, ends it for the other.  Returns the one that is
 * there, with one use more. */
static entry *put_in_once(entry *fresh)
{
    entry *there;

    lock();
    there = find(&fresh->object.ref);
    if (there)
        there->told += fresh->told;
    else
        put_in(there = fresh);
    there->opens++;
    unlock();
    if (there != fresh) {
        fresh->told = 0;
        destroy(fresh);
    }
    return there;
}

/* Finds an object in the table, or asks the parent: the entry has one use more then. */
static int look_up(entry **out, const xf_ref *ref)
{
    request answer = {0};
    entry *entry;
    int rc;

    lock();
    entry = find(ref);
    if (entry)
        entry->opens++;
    unlock();
    if (!entry) {
        rc = ask_for(ref, &answer);
        if (rc == 0)
            rc = receive_entry(&entry, ref, answer.handle, answer.size, answer.flags);
        if (rc < 0)
            return rc;
        entry->told = 1;
        entry = put_in_once(entry);
    }
    *out = entry;
    return 0;
}

/* ---- In a process that has objects ----------------------------------------------------------- */

static int make_ref(xf_ref *ref, xf_object_kind kind)
{
    int rc;

    *ref = (xf_ref){.kind = kind};
    rc = uv_random(NULL, NULL, ref->id, sizeof ref->id, 0, NULL);
    return rc < 0 ? error_detail(XF_ESYSTEM, "uv_random: %s", uv_strerror(rc)) : 0;
}

/* The segment of a new object. */
static int create_segment(os_shm *shm, const head *first, int flags)
{
    size_t whole = OBJECT_HEAD + (size_t)first->size;
    int rc;

    if (flags & OS_SHM_RESERVED)
        whole = (whole + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    rc = os_shm_create(shm, whole, flags | OS_SHM_BELL | OS_SHM_PRIVATE);
    if (rc < 0)
        return rc;
    if (flags & OS_SHM_RESERVED)
        rc = os_shm_commit(shm, 0, OS_PAGE);
    if (rc < 0)
        os_shm_close(shm);
    else
        memcpy(shm->address, first, sizeof *first);
    return rc;
}

int object_create(object **out, xf_object_kind kind, uint32_t version, size_t size, int flags)
{
    head first = {.magic = MAGIC, .version = version, .size = size};
    os_shm shm;
    entry *entry;
    int rc;

    assert(size > 0);
    if (size > SIZE_MAX / 2)
        return error_detail(XF_ENOMEM, "a %s of %zu bytes", kind_name(kind), size);
    rc = make_ref(&first.ref, kind);
    if (rc == 0)
        rc = create_segment(&shm, &first, flags);
    if (rc == 0)
        rc = make_entry(&entry, &first.ref, &shm);
    if (rc < 0)
        return rc;
    entry->opens = 1;
    lock();
    put_in(entry);
    unlock();
    *out = &entry->object;
    return 0;
}

int object_open(object **out, const xf_ref *ref, xf_object_kind kind, uint32_t version)
{
    entry *entry;
    int rc;

    if (ref->kind != (uint32_t)kind)
        return error_detail(XF_EINVAL, "a reference of a %s, not of a %s", kind_name(ref->kind), kind_name(kind));
    rc = look_up(&entry, ref);
    if (rc < 0)
        return rc;
    if (!is_same(&entry->object.ref, ref) || entry->object.ref.kind != ref->kind || entry->version != version) {
        let_go(entry);
        return error_detail(XF_EPROTO, "the object is not the %s it is said to be", kind_name(kind));
    }
    *out = &entry->object;
    return 0;
}

int object_hold(object **out, const xf_ref *ref)
{
    entry *entry;
    int rc = look_up(&entry, ref);

    if (rc == 0)
        *out = &entry->object;
    return rc;
}

int object_adopt(object **out, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    os_shm shm;
    entry *entry;
    int rc = open_segment(&shm, ref, handle, size, flags);

    if (rc == 0)
        rc = make_entry(&entry, ref, &shm);
    if (rc == 0)
        *out = &put_in_once(entry)->object;
    return rc;
}

int object_ref(object *object, xf_ref *ref)
{
    entry *entry = (struct entry *)object;
    bool known;
    int rc = 0;

    lock();
    known = entry->told > 0;
    unlock();
    if (!known)
        rc = offer(entry);
    if (rc == 0)
        *ref = object->ref;
    return rc;
}

void object_close(object *object)
{
    if (object)
        let_go((entry *)object);
}

/* ---- Handles, which are handed over once ----------------------------------------------------- */

/* A handle has been taken: nobody has it here any more. */
static void retire(entry *entry)
{
    entry->opens -= entry->kept;
    entry->kept = false;
    while (entry->holdings)
        remove_holding(entry->holdings);
}

/* Takes a handle out of the table, if it is there, and forgets it in any case: -1 when it is not. */
static intptr_t take_from_table(const xf_ref *ref)
{
    intptr_t handle = -1;
    bool unused = false;
    entry *entry;

    lock();
    entry = find(ref);
    if (entry) {
        handle = entry->object.shm.handle;
        entry->object.shm.handle = -1;
        retire(entry);
        unused = take_out_unused(entry);
    }
    unlock();
    if (unused)
        destroy(entry);
    return handle;
}

static int take_handle(const xf_ref *ref, intptr_t *handle)
{
    request answer = {0};
    intptr_t taken = take_from_table(ref);
    int rc = taken == -1 ? ask_for(ref, &answer) : 0;

    if (rc < 0)
        return rc;
    *handle = taken == -1 ? answer.handle : taken;
    return 0;
}

int xf_handle_ref(intptr_t handle, xf_ref *out)
{
    os_shm shm = OS_SHM_NONE;
    xf_ref ref;
    entry *entry;
    int rc = make_ref(&ref, XF_KIND_HANDLE);

    if (rc == 0)
        rc = os_handle_copy(handle, &shm.handle);
    if (rc == 0)
        rc = make_entry(&entry, &ref, &shm);
    if (rc < 0)
        return rc;
    entry->opens = 1;
    entry->kept = true;
    lock();
    put_in(entry);
    unlock();
    rc = offer(entry);
    if (rc == 0)
        *out = ref;
    else
        let_go(entry);
    return rc;
}

int xf_handle_take(const xf_ref *ref, intptr_t *handle)
{
    if (ref->kind != XF_KIND_HANDLE)
        return error_detail(XF_EINVAL, "a reference of a %s, not of a handle", kind_name(ref->kind));
    return take_handle(ref, handle);
}

/* ---- Serving children ------------------------------------------------------------------------ */

/* Fills in a frame that answers a child's request. */
static size_t build_answer(uint8_t *bytes, uint32_t number, int code, const os_shm *shm)
{
    wire_fields fields = {.size = 0};
    wire_frame frame = {.type = WIRE_ANSWER, .attached = shm ? (shm->size ? shm->size : 1) : 0};

    wire_put_u32(&fields, number);
    wire_put_u32(&fields, (uint32_t)code);
    wire_put_u32(&fields, shm ? (uint32_t)shm->flags : 0);
    frame.size = fields.size;
    wire_put_header(bytes, &frame);
    memcpy(bytes + WIRE_HEADER, fields.bytes, fields.size);
    return WIRE_HEADER + fields.size;
}

static int answer(os_child *process, uint32_t number, int code)
{
    uint8_t bytes[WIRE_HEADER + 16];
    int rc = os_child_write(process, bytes, build_answer(bytes, number, code, NULL));

    if (rc == XF_EAGAIN)
        return error_detail(XF_EPROTO, "a child does not read what it asks for");
    return rc == XF_EEND ? 0 : rc;
}

static int give(os_child *process, uint32_t number, const os_shm *shm)
{
    uint8_t bytes[WIRE_HEADER + 16];

    return os_child_give(process, bytes, build_answer(bytes, number, 0, shm), shm->handle);
}

/* A handle is given once, and has gone then. */
static int serve_handle(os_child *process, uint32_t number, const xf_ref *ref)
{
    os_shm shm = OS_SHM_NONE;
    int rc = take_handle(ref, &shm.handle);

    if (rc == 0)
        rc = give(process, number, &shm);
    os_shm_close(&shm);
    return rc < 0 ? answer(process, number, rc) : 0;
}

static int serve_ask(object_child *child, os_child *process, uint32_t number, const xf_ref *ref)
{
    entry *entry;
    int rc;

    if (ref->kind == XF_KIND_HANDLE)
        return serve_handle(process, number, ref);
    rc = look_up(&entry, ref);
    if (rc < 0)
        return answer(process, number, rc);
    lock();
    rc = add_holding(entry, child, false);
    unlock();
    if (rc == 0) {
        rc = give(process, number, &entry->object.shm);
        if (rc < 0) {
            lock();
            release(entry, child, 1);
            unlock();
        }
    }
    let_go(entry);
    return rc < 0 ? answer(process, number, rc) : 0;
}

/* What a child gives out a reference of is told to this process's own parent as well, before it is acknowledged. */
static int take_offer(object_child *child, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    entry *entry;
    bool known;
    int rc = receive_entry(&entry, ref, handle, size, flags);

    if (rc < 0)
        return rc;
    entry = put_in_once(entry);
    lock();
    known = entry->told > 0;
    rc = add_holding(entry, child, true);
    unlock();
    if (rc == 0 && !known)
        rc = offer(entry);
    if (rc < 0) {
        lock();
        release(entry, child, 1);
        unlock();
    }
    let_go(entry);
    return rc;
}

static int serve_offer(object_child *child, os_child *process, const wire_frame *frame, uint32_t number,
                       const xf_ref *ref, int flags)
{
    intptr_t handle;
    int rc = os_child_take(process, frame->token, &handle);

    if (rc == 0)
        rc = take_offer(child, ref, handle, frame->attached, flags);
    return rc == XF_EPROTO ? rc : answer(process, number, rc);
}

static void serve_drop(object_child *child, const xf_ref *ref, uint32_t times)
{
    bool unused = false;
    entry *entry;

    lock();
    entry = find(ref);
    if (entry) {
        release(entry, child, times);
        unused = take_out_unused(entry);
    }
    unlock();
    if (unused)
        destroy(entry);
}

int object_serve(object_child *child, os_child *process, const wire_frame *frame)
{
    wire_reader reader = wire_read(frame);
    uint32_t number, last;
    xf_ref ref;

    if (frame->type != WIRE_ASK && frame->type != WIRE_OFFER && frame->type != WIRE_DROP)
        return 0;
    number = frame->type == WIRE_DROP ? 0 : wire_get_u32(&reader);
    wire_get(&reader, &ref, sizeof ref);
    last = wire_get_u32(&reader);
    if (reader.bad || reader.left || (frame->type == WIRE_OFFER) != (frame->attached > 0))
        return error_detail(XF_EPROTO, "a frame of %zu bytes about an object", frame->size);
    if (frame->type == WIRE_ASK)
        return serve_ask(child, process, number, &ref);
    if (frame->type == WIRE_OFFER)
        return serve_offer(child, process, frame, number, &ref, (int)last);
    serve_drop(child, &ref, last);
    return 0;
}

void object_forget_child(object_child *child)
{
    entry *entry;
    bool unused;

    while (child->first) {
        lock();
        entry = child->first->entry;
        remove_holding(child->first);
        unused = take_out_unused(entry);
        unlock();
        if (unused)
            destroy(entry);
    }
}
