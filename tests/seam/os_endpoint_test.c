/* Goal: both twins keep every sentence of src/os/endpoint.h, and of src/os/channel.h for channels of endpoints. */
#include "seam.h"

#include <stdio.h>
#include <uv.h>

static const seam_role roles[] = {
    {0},
};

/* ---- Endpoints and channels ------------------------------------------------------------------ */

/* An endpoint to which a process has connected. */
typedef struct connection {
    char name[OS_NAME_MAX + 1];
    os_endpoint *endpoint;
    os_channel *accepted, *connected;
} connection;

static const char *endpoint_name(void)
{
    static char name[OS_NAME_MAX + 1];
    static int number;

    snprintf(name, sizeof name, "os-test.%lld_%d", (long long)uv_os_getpid(), number++);
    return name;
}

static os_endpoint *open_endpoint(const char *name)
{
    os_endpoint *endpoint = NULL;

    assert_int_equal(os_endpoint_open(&endpoint, name), 0);
    return endpoint;
}

static os_channel *accept_one(os_endpoint *endpoint)
{
    os_channel *channel = NULL;
    int rc;

    while ((rc = os_endpoint_accept(endpoint, &channel)) == XF_EAGAIN)
        assert_int_equal(os_endpoint_wait(endpoint, NULL, 0, PATIENCE), 0);
    assert_int_equal(rc, 0);
    return channel;
}

static connection begin_connection(void)
{
    connection connection;

    strcpy(connection.name, endpoint_name());
    connection.endpoint = open_endpoint(connection.name);
    assert_int_equal(os_endpoint_connect(&connection.connected, connection.name, PATIENCE), 0);
    connection.accepted = accept_one(connection.endpoint);
    return connection;
}

static void end_connection(connection connection)
{
    os_channel_close(connection.accepted);
    os_channel_close(connection.connected);
    os_endpoint_close(connection.endpoint);
}

static void expect_bytes(os_channel *channel, const char *expected)
{
    char bytes[OS_CHANNEL_WRITE_MAX];
    size_t have = 0, count, size = strlen(expected);
    int rc;

    while (have < size) {
        rc = os_channel_read(channel, bytes + have, size - have, &count, 0);
        if (rc == XF_EAGAIN)
            assert_int_equal(os_endpoint_wait(NULL, &channel, 1, PATIENCE), 0);
        else
            assert_int_equal(rc, 0);
        have += rc == 0 ? count : 0;
    }
    assert_memory_equal(bytes, expected, size);
}

static void expect_end_of(os_channel *channel)
{
    size_t count;
    char byte;
    int rc;

    while ((rc = os_channel_read(channel, &byte, 1, &count, 0)) == XF_EAGAIN)
        assert_int_equal(os_endpoint_wait(NULL, &channel, 1, PATIENCE), 0);
    assert_int_equal(rc, XF_EEND);
    assert_int_equal(os_channel_read(channel, &byte, 1, &count, 0), XF_EEND);
    os_channel_close(channel);
}

static void a_name_has_one_endpoint(void **state)
{
    const char *name = endpoint_name();
    os_endpoint *endpoint = open_endpoint(name), *second;
    os_channel *channel;

    (void)state;
    assert_int_equal(os_endpoint_open(&second, name), XF_EEXIST);
    os_endpoint_close(open_endpoint(endpoint_name()));
    os_endpoint_close(endpoint);
    assert_int_equal(os_endpoint_connect(&channel, name, PATIENCE), XF_ENOENT);
    os_endpoint_close(open_endpoint(name));
}

static bool lets_go_of_an_endpoint(void *arg)
{
    size_t handles = support_handles();

    os_endpoint_let_go(arg);
    return support_handles() < handles;
}

static void a_copy_lets_go_of_an_endpoint(void **state)
{
    const char *name = endpoint_name();
    os_endpoint *endpoint = open_endpoint(name), *second;
    os_channel *connected;

    (void)state;
    assert_true(support_holds_in_copy(lets_go_of_an_endpoint, endpoint));
    assert_int_equal(os_endpoint_open(&second, name), XF_EEXIST);
    assert_int_equal(os_endpoint_connect(&connected, name, PATIENCE), 0);
    assert_int_equal(os_endpoint_wait(endpoint, NULL, 0, PATIENCE), 0);
    os_channel_close(connected);
    os_endpoint_close(endpoint);
}

static void a_channel_carries_bytes_both_ways(void **state)
{
    connection connection = begin_connection();
    char out[] = "to the outside", in[] = "to the inside";
    size_t count;

    (void)state;
    assert_int_equal(os_channel_read(connection.connected, out, sizeof out, &count, 0), XF_EAGAIN);
    assert_int_equal(os_endpoint_wait(connection.endpoint, &connection.connected, 1, 10), XF_ETIMEDOUT);
    assert_int_equal(os_channel_write(connection.accepted, out, strlen(out), -1, 0), 0);
    assert_int_equal(os_channel_write(connection.connected, in, strlen(in), -1, 0), 0);
    expect_bytes(connection.accepted, "to the inside");
    expect_bytes(connection.connected, "to the outside");
    assert_int_equal(os_channel_write(connection.accepted, out, strlen(out), -1, 0), 0);
    os_channel_close(connection.accepted);
    expect_bytes(connection.connected, "to the outside"); /* which was written before the end */
    assert_int_equal(os_channel_write(connection.connected, in, strlen(in), -1, 0), XF_EEND);
    expect_end_of(connection.connected);
    os_endpoint_close(connection.endpoint);
}

static void a_channel_carries_handles(void **state)
{
    uint8_t bytes[32] = "a handle comes with this";
    connection connection = begin_connection();
    uint64_t token = 0;
    intptr_t handle;
    os_shm shm, seen;
    size_t count, have = 0;

    (void)state;
    assert_int_equal(os_shm_create(&shm, PAGE, 0), 0);
    strcpy(shm.address, "shared");
    assert_int_equal(os_channel_take(connection.connected, 0, &handle), XF_EPROTO);
    assert_int_equal(os_channel_write(connection.accepted, bytes, sizeof bytes, shm.handle, 0), 0);
    while (have < sizeof bytes) {
        int rc = os_channel_read(connection.connected, bytes + have, sizeof bytes - have, &count, 0);
        if (rc == XF_EAGAIN)
            assert_int_equal(os_endpoint_wait(NULL, &connection.connected, 1, PATIENCE), 0);
        have += rc == 0 ? count : 0;
    }
    for (int i = 0; i < OS_TOKEN_SIZE; i++)
        token |= (uint64_t)bytes[OS_TOKEN_AT + i] << (8 * i);
    assert_int_equal(os_channel_take(connection.connected, token, &handle), 0);
    assert_int_equal(os_shm_open(&seen, handle, PAGE, 0), 0);
    assert_string_equal(seen.address, "shared");
    os_shm_close(&seen);
    os_shm_close(&shm);
    end_connection(connection);
}

static void an_endpoint_is_waited_at(void **state)
{
    os_endpoint *endpoint;
    os_channel *channel, *first;
    const char *name = endpoint_name();
    int count = 0;

    (void)state;
    endpoint = open_endpoint(name);
    assert_int_equal(os_endpoint_accept(endpoint, &channel), XF_EAGAIN);
    assert_int_equal(os_endpoint_wait(endpoint, NULL, 0, 10), XF_ETIMEDOUT);
    assert_int_equal(os_endpoint_connect(&first, name, 0), 0);
    assert_int_equal(os_endpoint_wait(endpoint, NULL, 0, PATIENCE), 0);
    while (os_endpoint_connect(&channel, name, 0) == 0 && count++ < 1000) /* more than there are places */
        os_channel_close(channel);
    assert_true(count < 1000);
    assert_int_equal(os_endpoint_connect(&channel, name, 10), XF_ETIMEDOUT);
    os_endpoint_close(endpoint);
    expect_end_of(first); /* nobody took it in */
}

static void an_endpoint_can_be_shut_down(void **state)
{
    const char *name = endpoint_name();
    os_endpoint *endpoint = open_endpoint(name), *second;
    os_channel *channel;

    (void)state;
    os_endpoint_shutdown(endpoint);
    assert_int_equal(os_endpoint_wait(endpoint, NULL, 0, PATIENCE), 0);
    assert_int_equal(os_endpoint_accept(endpoint, &channel), XF_EEND);
    assert_int_equal(os_endpoint_open(&second, name), XF_EEXIST);
    os_endpoint_close(endpoint);
}

/* ---- Secrets --------------------------------------------------------------------------------- */

static void a_private_file_is_read_whole(void **state)
{
    char path[64], room[8];
    FILE *file;
    uv_fs_t request;
    size_t size;

    (void)state;
    snprintf(path, sizeof path, "os_endpoint_test.%d", (int)uv_os_getpid());
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite("\0secret", 1, 7, file), 7);
    fclose(file);
    assert_int_equal(uv_fs_chmod(NULL, &request, path, 0600, NULL), 0);
    assert_int_equal(os_file_read_private(path, room, sizeof room, &size), 0);
    assert_int_equal(size, 7);
    assert_memory_equal(room, "\0secret", 7);
    assert_int_equal(os_file_read_private(path, room, 7, &size), 0);
    assert_int_equal(os_file_read_private(path, room, 6, &size), XF_ELIMIT);
    assert_int_equal(uv_fs_chmod(NULL, &request, path, 0604, NULL), 0);
    assert_int_equal(os_file_read_private(path, room, sizeof room, &size), os.has_fork ? XF_EACCESS : 0);
    uv_fs_req_cleanup(&request);
    assert_int_equal(remove(path), 0);
    assert_int_equal(os_file_read_private(path, room, sizeof room, &size), XF_ENOENT);
}

static void use_everything(void)
{
    a_channel_carries_handles(NULL);
    an_endpoint_can_be_shut_down(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_name_has_one_endpoint),           cmocka_unit_test(a_copy_lets_go_of_an_endpoint),
    cmocka_unit_test(a_channel_carries_bytes_both_ways), cmocka_unit_test(a_channel_carries_handles),
    cmocka_unit_test(an_endpoint_is_waited_at),          cmocka_unit_test(an_endpoint_can_be_shut_down),
    cmocka_unit_test(a_private_file_is_read_whole),      cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
