/* Goal: a listener and a program that connects refuse each other unless both have the same key. */
#include "listener_peers.h"

static void expect_both_refuse(const xf_key *here, const xf_key *there, const char *detail_here,
                               const char *detail_there)
{
    const char *name = fresh_name();
    xf_listener_options options = {.key = *here};
    xf_connect_options theirs = {.key = *there}, right = {.key = *here};
    xf_listener *listener = listen_as(name, &options);
    connector connector;
    xf_pipe *pipe;

    begin_connecting(&connector, name, &theirs);
    assert_int_equal(xf_listener_accept(listener, &pipe, PATIENCE_MS), XF_EACCESS);
    assert_non_null(strstr(xf_error_detail(), detail_here));
    expect_refusal(&connector, XF_EACCESS, detail_there);
    expect_service(listener, name, &right);
    xf_listener_free(listener);
}

static void a_side_with_another_key_is_refused(void **state)
{
    xf_key key = {.bytes = secret, .size = sizeof secret}, none = {0};
    xf_key other = {.bytes = other_secret, .size = sizeof other_secret};

    (void)state;
    expect_both_refuse(&key, &other, "same key", "another key");
    expect_both_refuse(&key, &none, "no key", "requires a key");
    expect_both_refuse(&none, &key, "has a key", "has no key");
}

static void keys_are_checked(void **state)
{
    static const uint8_t much[1025];
    const xf_key bad[] = {{.bytes = secret, .size = 15},
                          {.bytes = secret},
                          {.size = 16},
                          {.bytes = much, .size = sizeof much},
                          {.bytes = secret, .size = 32, .file = "file"}};
    xf_listener *listener;
    xf_pipe *pipe;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(xf_listener_create(&listener, "x", &(xf_listener_options){.key = bad[i]}), XF_EINVAL);
        assert_int_equal(xf_connect(&pipe, "x", &(xf_connect_options){.key = bad[i]}, 0), XF_EINVAL);
    }
    listener = listen_as(fresh_name(), &(xf_listener_options){.key = {.bytes = much, .size = 1024}});
    xf_listener_free(listener);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void set_mode(const char *path, int mode)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_chmod(NULL, &request, path, mode, NULL), 0);
    uv_fs_req_cleanup(&request);
}

/* The same program may run for several start methods at a time, so each process has a file of its own. */
static char key_file[64];

static int name_key_file(void **state)
{
    (void)state;
    snprintf(key_file, sizeof key_file, "listener_key_test.%d.key", (int)uv_os_getpid());
    return 0;
}

static int remove_key_file(void **state)
{
    (void)state;
    remove(key_file); /* it is there only if the test has failed */
    return 0;
}

static void a_key_is_read_from_a_private_file(void **state)
{
    xf_listener_options from_file = {.key.file = key_file};
    const char *name = fresh_name();
    xf_listener *listener;
    static const uint8_t much[1025];
    int code = os.has_fork ? XF_EACCESS : 0; /* Windows does not check it */

    (void)state;
    write_file(key_file, secret, sizeof secret);
    set_mode(key_file, 0600);
    listener = listen_as(name, &from_file);
    expect_service(listener, name, &(xf_connect_options){WITH_KEY});
    expect_service(listener, name, &(xf_connect_options){.key.file = key_file});
    xf_listener_free(listener);
    set_mode(key_file, 0640);
    listener = NULL;
    assert_int_equal(xf_listener_create(&listener, name, &from_file), code);
    xf_listener_free(listener);
    set_mode(key_file, 0600);
    write_file(key_file, much, sizeof much);
    assert_int_equal(xf_listener_create(&listener, name, &from_file), XF_ELIMIT);
    write_file(key_file, much, 15);
    assert_int_equal(xf_listener_create(&listener, name, &from_file), XF_EINVAL);
    assert_int_equal(remove(key_file), 0);
    assert_int_equal(xf_listener_create(&listener, name, &from_file), XF_ENOENT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_side_with_another_key_is_refused),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test_setup_teardown(a_key_is_read_from_a_private_file, name_key_file, remove_key_file),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
