/* Goal: a peer that is silent, broken, hostile or killed does not keep a listener from the others, nor a program from
 * the end of its call.  Messages that no honest program sends go over a link of the seam. */
#include "base/clock.h"
#include "listener_peers.h"

/* ---- Guests that do not say what they should ------------------------------------------------- */

static const handshake_key no_key;
static const handshake_key right_key = {.size = sizeof secret, .bytes = "0123456789abcdef0123456789abcde"};

static void arrive(handshake_session *session, const char *name, const handshake_key *key)
{
    *session = (handshake_session){.key = key, .name = name};
    assert_int_equal(os_endpoint_connect(&session->channel, name, PATIENCE_MS), 0);
}

static void say(handshake_session *session, handshake_kind kind)
{
    handshake_message message = {.kind = kind, .argument = XF_KIND_PIPE, .size = MIB};

    assert_int_equal(handshake_send(session, &message, -1), 0);
}

/* Waits for the next message, which the other side has sent or sends by itself. */
static int hear(handshake_session *session, handshake_kind kind, handshake_message *message)
{
    int rc;

    while ((rc = handshake_receive(session, kind, message)) == XF_EAGAIN)
        assert_int_equal(os_endpoint_wait(NULL, &session->channel, 1, PATIENCE_MS), 0);
    return rc;
}

/* Lets the listener process what its peers have sent; none of them gets a pipe. */
static void let_look(xf_listener *listener)
{
    xf_pipe *pipe;

    assert_int_equal(xf_listener_accept(listener, &pipe, 1), XF_ETIMEDOUT);
}

/* Lets the listener process what its peers have sent until it has answered. */
static int hear_from(xf_listener *listener, handshake_session *session, handshake_kind kind, handshake_message *message)
{
    int rc;

    while ((rc = handshake_receive(session, kind, message)) == XF_EAGAIN)
        let_look(listener);
    return rc;
}

/* Sends the messages of a handshake in order, up to so many. */
static void shake_hands_up_to(xf_listener *listener, handshake_session *session, int steps)
{
    handshake_message heard;
    intptr_t handle;

    if (steps >= 1)
        say(session, HANDSHAKE_ASK);
    if (steps >= 2) {
        assert_int_equal(hear_from(listener, session, HANDSHAKE_CHALLENGE, &heard), 0);
        say(session, HANDSHAKE_PROOF);
    }
    if (steps >= 3) {
        assert_int_equal(hear_from(listener, session, HANDSHAKE_GRANT, &heard), 0);
        assert_int_equal(os_channel_take(session->channel, heard.token, &handle), 0);
        os_handle_close(handle);
    }
}

/* A peer that stops in the middle of the handshake delays no other one, and leaves nothing when it disconnects. */
static void a_peer_that_stops_delays_nobody(void **state)
{
    xf_listener_options options = {WITH_KEY};
    xf_connect_options with_key = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    size_t handles, mappings;
    handshake_session session;

    (void)state;
    expect_service(listener, name, &with_key);
    assert_int_equal(xf_cleanup(), 0); /* the supervisor of earlier tests may end at any moment */
    handles = support_handles();
    mappings = support_mappings();
    for (int steps = 0; steps <= 3; steps++) {
        arrive(&session, name, &right_key);
        shake_hands_up_to(listener, &session, steps);
        expect_service(listener, name, &with_key);
        os_channel_close(session.channel);
        while (support_handles() != handles || support_mappings() != mappings)
            let_look(listener);
        expect_service(listener, name, &with_key);
    }
    xf_listener_free(listener);
}

static void a_silent_peer_is_rejected(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &(xf_listener_options){.handshake_ms = 20});
    handshake_message heard;
    handshake_session session;

    (void)state;
    arrive(&session, name, &no_key);
    assert_int_equal(hear_from(listener, &session, HANDSHAKE_CHALLENGE, &heard), XF_ETIMEDOUT);
    assert_int_equal(hear_from(listener, &session, HANDSHAKE_CHALLENGE, &heard), XF_EEND);
    os_channel_close(session.channel);
    xf_listener_free(listener);
}

/* Only so many silent peers are pending at a time; the next one waits until one of them is dropped. */
static void the_number_of_pending_peers_is_limited(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    os_channel *links[OS_CHANNELS_MAX];
    connector connector;
    xf_pipe *mine;

    (void)state;
    for (int i = 0; i < OS_CHANNELS_MAX; i++) {
        assert_int_equal(os_endpoint_connect(&links[i], name, PATIENCE_MS), 0);
        let_look(listener);
    }
    begin_connecting(&connector, name, NULL);
    for (int i = 0; i < 20; i++)
        let_look(listener);
    for (int i = 0; i < OS_CHANNELS_MAX; i++)
        os_channel_close(links[i]);
    mine = accept_one(listener);
    xf_pipe_free(end_connecting(&connector));
    expect_closed(mine);
    xf_listener_free(listener);
}

static void a_peer_that_is_killed_early_is_dropped(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    program *program = start_role("ask", name);

    (void)state;
    assert_int_equal(program_number(program), 0);
    let_look(listener);
    kill_program(program);
    expect_service(listener, name, NULL);
    xf_listener_free(listener);
}

static void a_killed_peer_is_reported(void **state)
{
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    program *program = start_role("die", name);
    xf_pipe *pipe = accept_one(listener);

    (void)state;
    expect_text(pipe, "I was here");
    expect_closed(pipe);
    program_end(program, NULL);
    xf_listener_free(listener);
}

static void write_bytes(os_channel *link, const void *data, size_t size)
{
    uint8_t bytes[OS_CHANNEL_WRITE_MAX];

    memcpy(bytes, data, size);
    assert_int_equal(os_channel_write(link, bytes, size, -1, 0), 0);
}

static void garbage_is_let_go(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    uint8_t noise[OS_CHANNEL_WRITE_MAX];
    uint64_t number = 88172645463325252;
    size_t count;
    os_channel *link;

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            number ^= number << 13, number ^= number >> 7, number ^= number << 17;
            noise[i] = (uint8_t)number;
        }
        if (round % 2)
            memcpy(noise, "xfh\1\1\0\0\0", 8); /* looks like a message at first */
        assert_int_equal(os_endpoint_connect(&link, name, PATIENCE_MS), 0);
        write_bytes(link, noise, round < 10 ? sizeof noise : HANDSHAKE_SIZE);
        expect_service(listener, name, NULL);
        while (os_channel_read(link, noise, sizeof noise, &count, 0) != XF_EEND)
            let_look(listener);
        os_channel_close(link);
    }
    xf_listener_free(listener);
}

/* Sends a PROOF unchanged: its bytes follow the first HANDSHAKE_SIZE - sizeof proof->bytes - sizeof proof->ref
 * bytes. */
static void write_proof(handshake_session *session, const handshake_message *proof)
{
    uint8_t bytes[HANDSHAKE_SIZE] = {'x', 'f', 'h', 1, HANDSHAKE_PROOF};

    memcpy(bytes + HANDSHAKE_SIZE - sizeof proof->bytes - sizeof proof->ref, proof->bytes, sizeof proof->bytes);
    write_bytes(session->channel, bytes, sizeof bytes);
}

/* A peer that has seen a proof of another one cannot use it again. */
static void a_proof_is_good_once(void **state)
{
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    handshake_message proof = {.kind = HANDSHAKE_PROOF}, heard;
    uint8_t ask[HANDSHAKE_SIZE];
    handshake_session session;
    xf_pipe *pipe;

    (void)state;
    arrive(&session, name, &right_key);
    say(&session, HANDSHAKE_ASK);
    memcpy(ask, session.ask, sizeof ask);
    assert_int_equal(hear_from(listener, &session, HANDSHAKE_CHALLENGE, &heard), 0);
    assert_int_equal(handshake_send(&session, &proof, -1), 0);
    os_channel_close(session.channel);
    arrive(&session, name, &right_key);
    write_bytes(session.channel, ask, sizeof ask);
    memcpy(session.ask, ask, sizeof ask);
    assert_int_equal(hear_from(listener, &session, HANDSHAKE_CHALLENGE, &heard), 0);
    write_proof(&session, &proof);
    assert_int_equal(xf_listener_accept(listener, &pipe, PATIENCE_MS), XF_EACCESS);
    assert_int_equal(hear(&session, HANDSHAKE_GRANT, &heard), XF_EACCESS);
    os_channel_close(session.channel);
    xf_listener_free(listener);
}

/* ---- Hosts that do not say what they should -------------------------------------------------- */

/* An endpoint, and a thread that connects to it. */
typedef struct trap {
    char name[OS_NAME_MAX + 1];
    os_endpoint *door;
    connector connector;
    handshake_session session;
    uint8_t said[HANDSHAKE_SIZE];
} trap;

static void read_whole(handshake_session *session, uint8_t said[HANDSHAKE_SIZE])
{
    size_t have = 0, count;
    int rc;

    while (have < HANDSHAKE_SIZE) {
        rc = os_channel_read(session->channel, said + have, HANDSHAKE_SIZE - have, &count, 0);
        if (rc == XF_EAGAIN)
            assert_int_equal(os_endpoint_wait(NULL, &session->channel, 1, PATIENCE_MS), 0);
        else
            assert_int_equal(rc, 0);
        have += rc == 0 ? count : 0;
    }
}

/* Lets the thread connect, and reads what it asks for. */
static void set_trap(trap *trap, const xf_connect_options *options)
{
    int rc;

    strcpy(trap->name, fresh_name());
    assert_int_equal(os_endpoint_open(&trap->door, trap->name), 0);
    begin_connecting(&trap->connector, trap->name, options);
    trap->session = (handshake_session){.key = &no_key, .name = trap->name};
    while ((rc = os_endpoint_accept(trap->door, &trap->session.channel)) == XF_EAGAIN)
        assert_int_equal(os_endpoint_wait(trap->door, NULL, 0, PATIENCE_MS), 0);
    assert_int_equal(rc, 0);
    read_whole(&trap->session, trap->said);
}

static void spring_trap(trap *trap, int code, const char *why)
{
    expect_refusal(&trap->connector, code, why);
    os_channel_close(trap->session.channel);
    os_endpoint_close(trap->door);
}

/* The same, and continues to the message that grants an object. */
static void set_grant_trap(trap *trap, const xf_connect_options *options)
{
    handshake_message challenge = {.kind = HANDSHAKE_CHALLENGE}, heard;

    set_trap(trap, options);
    memcpy(trap->session.ask, trap->said, HANDSHAKE_SIZE);
    assert_int_equal(handshake_send(&trap->session, &challenge, -1), 0);
    assert_int_equal(hear(&trap->session, HANDSHAKE_PROOF, &heard), 0);
}

static void a_host_of_another_kind_is_seen(void **state)
{
    uint8_t noise[HANDSHAKE_SIZE] = {'x', 'f', 'h', 99};
    handshake_message refusal = {.kind = HANDSHAKE_REFUSE, .code = 7};
    trap trap;

    (void)state;
    set_trap(&trap, NULL);
    write_bytes(trap.session.channel, noise, sizeof noise);
    spring_trap(&trap, XF_EPROTO, "version 99");
    set_trap(&trap, NULL);
    memset(noise, 'z', sizeof noise);
    write_bytes(trap.session.channel, noise, sizeof noise);
    spring_trap(&trap, XF_EPROTO, "does not speak the protocol");
    set_trap(&trap, NULL);
    assert_int_equal(handshake_send(&trap.session, &refusal, -1), 0);
    spring_trap(&trap, XF_EPROTO, "code 7");
}

static void a_host_that_goes_is_seen(void **state)
{
    trap trap;

    (void)state;
    set_trap(&trap, NULL);
    os_channel_close(trap.session.channel);
    expect_refusal(&trap.connector, XF_EEND, "closed the connection");
    os_endpoint_close(trap.door);
}

/* The listener does not have the key, and sends back what it receives. */
static void a_mirror_is_no_host(void **state)
{
    xf_connect_options with_key = {WITH_KEY};
    trap trap;

    (void)state;
    set_trap(&trap, &with_key);
    trap.said[4] = HANDSHAKE_CHALLENGE;
    write_bytes(trap.session.channel, trap.said, HANDSHAKE_SIZE);
    read_whole(&trap.session, trap.said);
    trap.said[4] = HANDSHAKE_GRANT;
    write_bytes(trap.session.channel, trap.said, HANDSHAKE_SIZE);
    spring_trap(&trap, XF_EACCESS, "same key");
}

static void what_is_granted_is_checked(void **state)
{
    handshake_message grant = {.kind = HANDSHAKE_GRANT, .ref = {{1, 2}, XF_KIND_PIPE, 0}, .size = OS_PAGE};
    xf_pipe_options large = {.memory_limit = 2 * MIB};
    xf_connect_options small = {.memory_limit = MIB};
    xf_pipe *one, *other;
    object *object;
    os_shm shm;
    trap trap;

    (void)state;
    assert_int_equal(os_shm_create(&shm, OS_PAGE, 0), 0);
    set_grant_trap(&trap, NULL);
    assert_int_equal(handshake_send(&trap.session, &grant, shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "not the pipe");
    set_grant_trap(&trap, NULL);
    grant.size = (uint64_t)1 << 40;
    assert_int_equal(handshake_send(&trap.session, &grant, shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "segment");
    set_grant_trap(&trap, NULL);
    assert_int_equal(handshake_send(&trap.session, &grant, -1), 0);
    spring_trap(&trap, XF_EPROTO, "came with");
    set_grant_trap(&trap, NULL);
    grant.ref.kind = XF_KIND_SHM;
    assert_int_equal(handshake_send(&trap.session, &grant, shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "another kind");
    os_shm_close(&shm);

    assert_int_equal(xf_pipe_create(&one, &other, &large), 0);
    assert_int_equal(xf_pipe_ref(other, &grant.ref), 0);
    grant.argument = grant.ref.reserved;
    assert_int_equal(object_open_any(&object, &grant.ref), 0);
    grant.ref = object->ref;
    grant.size = object->shm.size;
    grant.flags = (uint32_t)object->shm.flags;
    set_grant_trap(&trap, &small);
    assert_int_equal(handshake_send(&trap.session, &grant, object->shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "more memory");
    object_close(object);
    xf_pipe_free(one);
    xf_pipe_free(other);
}

/* ---- A flood --------------------------------------------------------------------------------- */

enum { FLOODERS = 8, FLOOD_MS = 20000 };

typedef struct flood {
    const char *name;
    const uint8_t *ask; /* a message that the listener has to think about, made once */
    _Atomic bool over;
    uint64_t until; /* of uv_hrtime, so that a listener that never returns does not hang the test */
} flood;

/* Connects, asks, and leaves before the answer; again and again. */
static void run_flooder(void *arg)
{
    flood *flood = arg;
    os_channel *link;

    while (!atomic_load(&flood->over) && uv_hrtime() < flood->until) {
        if (os_endpoint_connect(&link, flood->name, 100) < 0)
            continue;
        (void)os_channel_write(link, flood->ask, HANDSHAKE_SIZE, -1, 0);
        os_channel_close(link);
    }
}

static void a_flood_does_not_prolong_a_wait(void **state)
{
    enum { WAIT_MS = 300, LATE_MS = FLOOD_MS / 4 };
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    handshake_session session;
    flood flood = {.name = name, .ask = session.ask, .until = clock_deadline(FLOOD_MS)};
    uv_thread_t flooders[FLOODERS];
    uint64_t longest = 0;
    xf_pipe *pipe;
    int rc = XF_ETIMEDOUT;

    (void)state;
    arrive(&session, name, &no_key);
    say(&session, HANDSHAKE_ASK);
    os_channel_close(session.channel);
    for (int i = 0; i < FLOODERS; i++)
        assert_int_equal(uv_thread_create(&flooders[i], run_flooder, &flood), 0);
    for (int i = 0; i < 3 && rc == XF_ETIMEDOUT; i++) {
        uint64_t begun = uv_hrtime();
        rc = xf_listener_accept(listener, &pipe, WAIT_MS);
        longest = uv_hrtime() - begun > longest ? uv_hrtime() - begun : longest;
    }
    atomic_store(&flood.over, true);
    for (int i = 0; i < FLOODERS; i++)
        uv_thread_join(&flooders[i]);
    assert_int_equal(rc, XF_ETIMEDOUT);
    assert_true(longest < LATE_MS * CLOCK_NS_PER_MS);
    expect_service(listener, name, NULL);
    xf_listener_free(listener);
}

/* A silent one costs no time either: the wait is as long as it was to be. */
static void silence_does_not_prolong_a_wait(void **state)
{
    enum { WAIT_MS = 50, LATE_MS = 3000 };
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL); /* which gives each 5 s for a message */
    uint64_t begun = uv_hrtime();
    os_channel *link;
    xf_pipe *pipe;

    (void)state;
    assert_int_equal(os_endpoint_connect(&link, name, PATIENCE_MS), 0);
    assert_int_equal(xf_listener_accept(listener, &pipe, WAIT_MS), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - begun < LATE_MS * CLOCK_NS_PER_MS);
    os_channel_close(link);
    xf_listener_free(listener);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_does_not_prolong_a_wait),
        cmocka_unit_test(silence_does_not_prolong_a_wait),
        cmocka_unit_test(a_peer_that_stops_delays_nobody),
        cmocka_unit_test(a_silent_peer_is_rejected),
        cmocka_unit_test(the_number_of_pending_peers_is_limited),
        cmocka_unit_test(a_peer_that_is_killed_early_is_dropped),
        cmocka_unit_test(a_killed_peer_is_reported),
        cmocka_unit_test(garbage_is_let_go),
        cmocka_unit_test(a_proof_is_good_once),
        cmocka_unit_test(a_host_of_another_kind_is_seen),
        cmocka_unit_test(a_host_that_goes_is_seen),
        cmocka_unit_test(a_mirror_is_no_host),
        cmocka_unit_test(what_is_granted_is_checked),
    };

    if (argc > 3 && strcmp(argv[1], "as") == 0)
        return run_role(argv[2], argv[3]);
    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
