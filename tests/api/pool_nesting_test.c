/* Goal: pools, processes and queues inside of each other do at any depth what they do alone, whatever way children are
 * made: no item sees an output, a failure, a task or an initializer of another pool. */
#include "pool_tasks.h"

enum { DEPTH = 6, KIDS = 2, BUSHY = 3, NODES_MAX = 1 << (DEPTH + 1) };

/* An item of a pool, or the task of a process.  The children of node n are 2n and 2n + 1. */
typedef struct node {
    int depth; /* levels below it */
    int id;
    size_t bytes; /* of the output of an entry; the fixed-size task gives one int */
    bool by_process;
    xf_ref visits;
} node;

static int prepared_for; /* set by the initializer of the pool that this worker is of */

XF_TASK(prepare, const int *in, int *out)
{
    *out = 0;
    prepared_for = *in;
    return 0;
}

static void fill_with(int *at, size_t bytes, int id)
{
    for (size_t i = 0; i < bytes / sizeof *at; i++)
        at[i] = id;
}

static bool is_full_of(const int *at, size_t bytes, int id)
{
    for (size_t i = 0; i < bytes / sizeof *at; i++)
        if (at[i] != id)
            return false;
    return true;
}

static int run_kids(xf_call *call, const node *in);

/* One message from each node. */
static int note_visit(const node *in)
{
    xf_queue *visits;
    int rc = xf_queue_open(&visits, &in->visits);

    if (rc == 0) {
        rc = xf_queue_put(visits, &in->id, sizeof in->id, 0);
        xf_queue_free(visits);
    }
    return rc;
}

static int visit_node(xf_call *call, const node *in, int *out, size_t bytes)
{
    int rc = note_visit(in);

    fill_with(out, bytes, in->id);
    if (rc < 0)
        return xf_fail(call, rc, "node %d: %s", in->id, xf_error_detail());
    rc = in->depth > 0 ? run_kids(call, in) : 0;
    if (rc == 0 && !is_full_of(out, bytes, in->id))
        rc = xf_fail(call, 78, "the output of node %d changed meanwhile", in->id);
    return rc;
}

/* Its output is of another size than its input says, so it is kept in memory that grows. */
XF_ENTRY(visit_entry)
{
    const node *in = xf_call_input(call, NULL);
    int *out = xf_call_output(call, in->bytes);

    return out ? visit_node(call, in, out, in->bytes) : XF_TASK_NO_MEMORY;
}

XF_TASK(visit_fixed, const node *in, int *out)
{
    return visit_node(call, in, out, sizeof *out);
}

XF_TASK(fail_with_id, const node *in, int *out)
{
    *out = 0;
    if (prepared_for != in->id / KIDS)
        return xf_fail(call, 79, "the worker was prepared for node %d", prepared_for);
    return xf_fail(call, in->id, "node %d fails", in->id);
}

static void make_kids(const node *in, node kids[KIDS])
{
    int level = DEPTH - in->depth;

    for (int i = 0; i < KIDS; i++) {
        kids[i] = *in;
        kids[i].id = in->id * KIDS + i;
        kids[i].depth = i == 0 || level < BUSHY ? in->depth - 1 : 0;
    }
}

/* How many nodes there are at and below one. */
static int count_nodes(const node *in)
{
    node kids[KIDS];
    int count = 1;

    if (in->depth == 0)
        return count;
    make_kids(in, kids);
    for (int i = 0; i < KIDS; i++)
        count += count_nodes(&kids[i]);
    return count;
}

static int expect_report(xf_call *call, const xf_report *report, int code, int id)
{
    char text[40];

    snprintf(text, sizeof text, "node %d fails", id);
    if (report && report->status.code == code && strcmp(report->message, text) == 0)
        return 0;
    return xf_fail(call, 80, "node %d failed with \"%s\"", id, report ? report->message : "");
}

/* Failures are kept in the same memory as outputs. */
static int run_failing(xf_call *call, xf_pool *pool, const node kids[KIDS])
{
    int out[KIDS], bad = 0;
    xf_future *future = NULL;
    xf_map map = {.task = &fail_with_id, .in = kids, .out = out, .count = KIDS, .results = &future};
    int rc = xf_pool_map(pool, &map);

    if (rc != XF_EFAILED)
        return xf_fail(call, 81, "items that fail ended as %s", xf_err_name(rc));
    for (size_t i = 0; i < KIDS && bad == 0; i++)
        bad = expect_report(call, xf_future_report(future, i), kids[i].id, kids[i].id);
    xf_future_free(future);
    return bad;
}

static int check_kids(xf_call *call, xf_future *future, int rc, const node kids[KIDS])
{
    size_t size;

    if (rc == XF_EFAILED)
        return xf_fail(call, 82, "%s", xf_future_report(future, xf_future_failure(future, 0))->message);
    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    for (size_t i = 0; i < KIDS; i++) {
        const int *result = xf_future_result(future, i, &size);
        if (!result || size < sizeof *result || !is_full_of(result, size, kids[i].id))
            return xf_fail(call, 77, "node %d returned %zu bytes of %d", kids[i].id, size, result ? *result : -1);
    }
    return 0;
}

/* The task is one with fixed sizes at every other level, so that pools inside of each other number theirs
 * differently. */
static int map_kids(xf_call *call, xf_pool *pool, const node kids[KIDS])
{
    xf_bytes bytes[KIDS];
    xf_future *future = NULL;
    xf_map map = {.task = &visit_fixed, .in = kids, .count = KIDS, .chunk = 1};
    int rc;

    for (int i = 0; i < KIDS; i++)
        bytes[i] = (xf_bytes){&kids[i], sizeof kids[i]};
    if (kids[0].depth % 2 == 0)
        map = (xf_map){.task = &visit_entry, .bytes = bytes, .count = KIDS};
    rc = xf_pool_map_async(&future, pool, &map);
    if (rc == 0)
        rc = xf_future_wait(future, XF_FOREVER);
    rc = check_kids(call, future, rc, kids);
    xf_future_free(future);
    return rc;
}

static int run_kids_in_pool(xf_call *call, const node kids[KIDS])
{
    int parent = kids[0].id / KIDS;
    xf_pool *pool;
    xf_pool_options options = {
        .workers = KIDS, .initializer = &prepare, .initializer_input = &parent, .initializer_size = sizeof parent};
    int rc = xf_pool_create(&pool, &options);

    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    rc = run_failing(call, pool, kids);
    if (rc == 0)
        rc = map_kids(call, pool, kids);
    xf_pool_free(pool);
    return rc;
}

static int join_kid(xf_call *call, xf_process *process, const node *kid)
{
    size_t size;
    xf_status status;
    int rc = xf_process_join(process, &status, XF_FOREVER);
    const int *result = xf_process_result(process, &size);

    if (rc == 0 && (!result || size != kid->bytes || !is_full_of(result, size, kid->id)))
        rc = xf_fail(call, 83, "node %d: %s", kid->id, xf_process_report(process)->message);
    xf_process_free(process);
    return rc;
}

static int run_kids_in_processes(xf_call *call, const node kids[KIDS])
{
    xf_process *processes[KIDS];
    int started = 0, rc = 0;

    while (started < KIDS && rc == 0) {
        rc = xf_process_start(&processes[started], &visit_entry, &kids[started], sizeof *kids, NULL);
        if (rc == 0)
            started++;
    }
    if (rc < 0)
        (void)xf_fail(call, rc, "%s", xf_error_detail());
    for (int i = 0; i < started; i++) {
        int bad = join_kid(call, processes[i], &kids[i]);
        rc = rc ? rc : bad;
    }
    return rc;
}

static int run_kids(xf_call *call, const node *in)
{
    node kids[KIDS];

    make_kids(in, kids);
    return in->by_process && in->depth % 2 == 0 ? run_kids_in_processes(call, kids) : run_kids_in_pool(call, kids);
}

/* ---- The tests ------------------------------------------------------------------------------- */

/* Each node at and below the root has been there once. */
static void expect_visits(xf_queue *visits, const node *root)
{
    static bool seen[NODES_MAX];
    int id, count = 0;
    size_t size;

    memset(seen, 0, sizeof seen);
    while (xf_queue_get_into(visits, &id, sizeof id, &size, 0) == 0) {
        assert_in_range(id, 1, NODES_MAX - 1);
        assert_false(seen[id]);
        seen[id] = true;
        count++;
    }
    assert_int_equal(count, count_nodes(root));
}

static void visit_tree(size_t bytes, bool by_process)
{
    node root = {.depth = DEPTH, .id = 1, .bytes = bytes, .by_process = by_process};
    xf_process *process = NULL;
    xf_status status;
    xf_queue *visits;

    assert_int_equal(xf_queue_create(&visits, NULL), 0);
    assert_int_equal(xf_queue_ref(visits, &root.visits), 0);
    assert_int_equal(xf_process_start(&process, &visit_entry, &root, sizeof root, NULL), 0);
    assert_int_equal(xf_process_join(process, &status, XF_FOREVER), 0);
    if (status.kind != XF_END_DONE)
        xf_report_print(xf_process_report(process), stderr);
    assert_int_equal(status.kind, XF_END_DONE);
    assert_true(is_full_of(xf_process_result(process, NULL), bytes, 1));
    expect_visits(visits, &root);
    xf_process_free(process);
    xf_queue_free(visits);
}

static void pools_inside_of_pools(void **state)
{
    (void)state;
    visit_tree(8, false);
}

static void pools_inside_of_pools_with_large_outputs(void **state)
{
    (void)state;
    visit_tree(100000, false);
}

static void pools_and_processes_in_turn(void **state)
{
    (void)state;
    visit_tree(5000, true);
}

/* A process counts as a level, whoever starts it. */
XF_TASK(open_pool_below, const int *in, int *out)
{
    xf_process *process;
    xf_status status;
    xf_pool *pool;
    int less = *in - 1, rc;

    *out = 0;
    if (*in == 0) {
        rc = xf_pool_create(&pool, &(xf_pool_options){.workers = 1});
        if (rc == 0)
            xf_pool_free(pool);
        return rc;
    }
    rc = xf_process_start(&process, &open_pool_below, &less, sizeof less, NULL);
    if (rc < 0)
        return rc;
    rc = xf_process_join(process, &status, XF_FOREVER);
    xf_process_free(process);
    return rc < 0 ? rc : status.kind == XF_END_DONE ? 0 : status.code;
}

static void a_process_keeps_to_the_nesting_of_the_pool_above(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .nesting = 2});

    (void)state;
    for (int below = 0; below <= 2; below++) {
        int out;
        xf_future *future = NULL;
        xf_map map = {.task = &open_pool_below, .in = &below, .out = &out, .count = 1, .results = &future};
        assert_int_equal(xf_pool_map(pool, &map), below < 2 ? 0 : XF_EFAILED);
        if (below == 2)
            assert_int_equal(xf_future_status(future, 0).code, XF_EDEPTH);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools_inside_of_pools),
        cmocka_unit_test(pools_inside_of_pools_with_large_outputs),
        cmocka_unit_test(pools_and_processes_in_turn),
        cmocka_unit_test(a_process_keeps_to_the_nesting_of_the_pool_above),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
