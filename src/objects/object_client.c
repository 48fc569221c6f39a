#include "objects/object_client.h"

#include "base/error.h"
#include "base/per_process.h"
#include "objects/object_kind.h"
#include "protocol/channel.h"
#include "protocol/frame.h"

/* A request that waits for its answer, on the stack of its thread. */
typedef struct request {
    uint32_t number;
    bool answered;
    object_answer answer;
    struct request *next;
} request;

/* The lock of the table protects the requests. */
static struct {
    channel *parent; /* NULL: this process is not a child */
    request *requests;
    uint32_t last_number;
} client;

/* Called in a forked child: the channel leads to its parent's parent, which is not its own, and the requests are on
 * stacks of its parent's threads. */
static void forget_parents_channel(void)
{
    client.parent = NULL;
    client.requests = NULL;
}

static channel *parents_channel(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, forget_parents_channel);
    return client.parent;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static bool is_answered(const void *arg)
{
    return ((const request *)arg)->answered;
}

static void add_request(request *request)
{
    object_table_lock();
    request->number = ++client.last_number;
    request->next = client.requests;
    client.requests = request;
    object_table_unlock();
}

static void remove_request(request *request)
{
    struct request **at = &client.requests;

    object_table_lock();
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    object_table_unlock();
}

static request *find_request(uint32_t number)
{
    request *request = client.requests;

    while (request && request->number != number)
        request = request->next;
    return request;
}

/* Called with the channel's reading lock held.  A thread takes that lock before the lock of the table. */
static void on_answer(channel *channel, const frame *frame)
{
    frame_reader reader = frame_read(frame);
    uint32_t number = frame_get_u32(&reader);
    object_answer answer = {.handle = -1, .size = frame->attached};
    request *request;

    answer.code = (int)frame_get_u32(&reader);
    answer.flags = (int)frame_get_u32(&reader);
    if (frame->attached && os_channel_take(channel->inherited->channel, frame->token, &answer.handle) < 0)
        answer.code = XF_EHANDLES;
    object_table_lock();
    request = find_request(number);
    if (request) {
        request->answer = answer;
        request->answered = true;
    }
    object_table_unlock();
    if (!request && answer.handle != -1)
        os_handle_close(answer.handle);
}

void object_client_open(channel *parent)
{
    (void)parents_channel();
    object_table_lock();
    client.parent = parent;
    parent->on_answer = on_answer;
    object_table_unlock();
}

/* Sends a request, and waits for the answer.
 *   offered  A handle that travels with it, and then belongs to the parent; closed on failure; -1: none. */
static int ask_parent(request *request, frame_type type, const xf_ref *ref, int flags, intptr_t offered, uint64_t size)
{
    channel *parent = parents_channel();
    frame_fields fields = {.size = 0};
    int rc;

    request->answer.handle = -1;
    add_request(request);
    frame_put_u32(&fields, request->number);
    frame_put(&fields, ref, sizeof *ref);
    frame_put_u32(&fields, (uint32_t)flags);
    rc = offered == -1 ? channel_send(parent, type, &fields, NULL, 0, true)
                       : channel_send_handle(parent, type, &fields, offered, size);
    if (rc < 0 && offered != -1)
        os_handle_close(offered);
    if (rc == 0)
        rc = channel_wait(parent, is_answered, request, -1);
    remove_request(request);
    if (rc == 0 && request->answer.code == XF_ENOENT)
        return error_detail(XF_ENOENT, "no process has the %s open", object_kind_name(ref->kind));
    if (rc == 0 && request->answer.code < 0)
        return error_detail(request->answer.code, "the parent refused to %s the %s",
                            type == FRAME_ASK ? "open" : "share", object_kind_name(ref->kind));
    return rc == XF_EEND ? error_detail(rc, "the parent has exited") : rc;
}

/* ---- The kinds of requests ------------------------------------------------------------------- */

int object_client_ask(const xf_ref *ref, object_answer *answer)
{
    request request = {.number = 0};
    int rc;

    if (!parents_channel())
        return error_detail(XF_ENOENT, "no process has the %s open", object_kind_name(ref->kind));
    rc = ask_parent(&request, FRAME_ASK, ref, 0, -1, 0);
    *answer = request.answer;
    return rc;
}

int object_client_offer(object_entry *entry)
{
    os_shm *shm = &entry->object.shm;
    request request = {.number = 0};
    intptr_t copy;
    int rc;

    if (!parents_channel())
        return 0;
    rc = os_handle_copy(shm->handle, &copy);
    if (rc == 0)
        rc = ask_parent(&request, FRAME_OFFER, &entry->object.ref, shm->flags, copy, shm->address ? shm->size : 1);
    if (rc < 0)
        return rc;
    object_table_lock();
    entry->reported++;
    object_table_unlock();
    if (!shm->address)
        os_shm_forget(shm); /* the parent has a handle, which can be taken once, from there */
    return 0;
}

void object_client_drop(const xf_ref *ref, uint32_t times)
{
    frame_fields fields = {.size = 0};

    frame_put(&fields, ref, sizeof *ref);
    frame_put_u32(&fields, times);
    (void)channel_send(parents_channel(), FRAME_DROP, &fields, NULL, 0, true); /* it fails when the parent has exited */
}
