/* Goal: a stream's file that is a named pipe or a device never makes the start wait (POSIX). */
#include "tasks.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char fifo[64], link_to_fifo[80], named_socket[80];

XF_ENTRY(print)
{
    (void)call;
    printf("printed\n");
    fprintf(stderr, "complained\n");
    return fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK; /* a stream of the child is as any other */
}

static void make_names(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(fifo, sizeof fifo, "stream_fifo_test.%d", (int)getpid());
    snprintf(link_to_fifo, sizeof link_to_fifo, "%s.link", fifo);
    snprintf(named_socket, sizeof named_socket, "%s.socket", fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink(fifo, link_to_fifo), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", named_socket);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static int remove_names(void **state)
{
    (void)state;
    unlink(fifo);
    unlink(link_to_fifo);
    unlink(named_socket);
    return 0;
}

static void expect_refusal(const xf_process_options *options, const char *path)
{
    xf_process *process;
    xf_pool *pool;
    xf_pool_options with = {.workers = 1, .eager = true, .process = options};
    int rc = xf_process_start(&process, &print, NULL, 0, options);

    assert_true(rc == XF_EINVAL || strcmp(path, named_socket) == 0);
    assert_true(rc < 0);
    assert_non_null(strstr(xf_error_detail(), path));
    assert_int_equal(xf_pool_create(&pool, &with), rc);
}

static void expect_all_refused(const char *path)
{
    expect_refusal(&(xf_process_options){.stdin_from = XF_STDIO_FILE, .stdin_path = path}, path);
    expect_refusal(&(xf_process_options){.stdout_to = XF_STDIO_FILE, .stdout_path = path}, path);
    expect_refusal(&(xf_process_options){.stderr_to = XF_STDIO_FILE, .stderr_path = path}, path);
    expect_refusal(
        &(xf_process_options){
            .stdout_to = XF_STDIO_FILE, .stdout_path = path, .stderr_to = XF_STDIO_FILE, .stderr_path = path},
        path);
}

static void a_named_pipe_without_another_end_is_refused(void **state)
{
    size_t handles;

    (void)state;
    make_names();
    expect_all_refused(fifo);
    assert_int_equal(xf_cleanup(), 0);
    handles = support_handles();
    expect_all_refused(fifo);
    expect_all_refused(link_to_fifo);
    expect_all_refused(named_socket);
    assert_int_equal(xf_cleanup(), 0);
    assert_int_equal(support_handles(), handles);
}

static void a_named_pipe_that_is_read_takes_output(void **state)
{
    char text[64] = "";
    const xf_process_options options = {.stdout_to = XF_STDIO_FILE, .stdout_path = fifo, .stderr_to = XF_STDIO_NULL};
    int reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    (void)state;
    assert_true(reader >= 0);
    expect_end(start(&print, NULL, 0, &options), XF_END_DONE, 0);
    assert_int_equal(read(reader, text, sizeof text - 1), 8);
    assert_string_equal(text, "printed\n");
    close(reader);
}

static void devices_are_files(void **state)
{
    const xf_process_options options = {.stdin_from = XF_STDIO_FILE,
                                        .stdin_path = "/dev/zero",
                                        .stdout_to = XF_STDIO_FILE,
                                        .stdout_path = "/dev/null",
                                        .stderr_to = XF_STDIO_FILE,
                                        .stderr_path = "/dev/full"};

    (void)state;
    expect_end(start(&print, NULL, 0, &options), XF_END_DONE, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_named_pipe_without_another_end_is_refused),
        cmocka_unit_test(a_named_pipe_that_is_read_takes_output),
        cmocka_unit_test(devices_are_files),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, remove_names);
}
