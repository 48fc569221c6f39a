/* Sorts an array in shared memory: `quicksort [COUNT]`.  A task parts its piece, gives one half to a child of its
 * own, and sorts the other half itself; children have children, down to a depth. No number is copied: what goes to a
 * child is a reference to the array, and where the piece begins and ends. */
#include <crossfork.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEPTH = 3, SMALL = 1000 }; /* 2^DEPTH processes at most; smaller pieces are not worth a process */

typedef struct piece {
    xf_ref array;
    size_t first, end;
    int depth;
} piece;

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

static void swap(int64_t *one, int64_t *other)
{
    int64_t kept = *one;

    *one = *other;
    *other = kept;
}

/* Puts the numbers below the one in the middle before it, and returns where that is then. */
static size_t part(int64_t *numbers, size_t first, size_t end)
{
    size_t at = first;

    swap(&numbers[first + (end - first) / 2], &numbers[end - 1]);
    for (size_t i = first; i < end - 1; i++)
        if (numbers[i] < numbers[end - 1])
            swap(&numbers[i], &numbers[at++]);
    swap(&numbers[at], &numbers[end - 1]);
    return at;
}

XF_DECLARE(sort_piece); /* it starts itself */

/* Sorts a piece of the open array.  A child that ends badly fails this task, too, with the child's own words. */
static int sort(xf_call *call, int64_t *numbers, piece whole)
{
    piece lower = whole, upper = whole;
    xf_process *child;
    xf_status status;
    int rc;

    if (whole.depth == 0 || whole.end - whole.first < SMALL) {
        qsort(numbers + whole.first, whole.end - whole.first, sizeof *numbers, compare);
        return 0;
    }
    lower.end = part(numbers, whole.first, whole.end);
    upper.first = lower.end + 1;
    lower.depth = upper.depth = whole.depth - 1;
    rc = xf_process_start(&child, &sort_piece, &lower, sizeof lower, NULL);
    if (rc < 0)
        return xf_fail(call, rc, "no child: %s", xf_error_detail());
    rc = sort(call, numbers, upper);
    xf_process_join(child, &status, XF_FOREVER);
    if (rc == 0 && status.kind != XF_END_DONE)
        rc = xf_fail(call, 1, "a child: %s", xf_process_report(child)->message);
    xf_process_free(child);
    return rc;
}

XF_TASK_IN(sort_piece, const piece *in)
{
    xf_array *array;
    int rc = xf_array_open(&array, &in->array, sizeof(int64_t));

    if (rc < 0)
        return xf_fail(call, rc, "no array: %s", xf_error_detail());
    rc = sort(call, xf_array_data(array), *in);
    xf_array_free(array);
    return rc;
}

static int sort_all(xf_array *array, size_t count)
{
    piece whole = {.end = count, .depth = DEPTH};
    xf_process *process;
    int rc = xf_array_ref(array, &whole.array);

    if (rc == 0)
        rc = xf_process_start(&process, &sort_piece, &whole, sizeof whole, NULL);
    if (rc < 0)
        return rc;
    xf_process_join(process, NULL, XF_FOREVER);
    if (!xf_process_result(process, NULL)) {
        xf_report_print(xf_process_report(process), stderr);
        rc = XF_EFAILED;
    }
    xf_process_free(process);
    return rc;
}

int main(int argc, char **argv)
{
    size_t count, wrong = 0;
    uint64_t random = 1;
    int64_t *numbers;
    xf_array *array;
    int rc;

    xf_main(argc, argv);
    count = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 1000000;
    rc = xf_array_create(&array, count, sizeof(int64_t));
    if (rc < 0)
        goto say;
    numbers = xf_array_data(array);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int64_t)((random = random * 6364136223846793005U + 1442695040888963407U) >> 16);
    rc = sort_all(array, count);
    for (size_t i = 1; i < count; i++)
        wrong += numbers[i - 1] > numbers[i];
    if (rc == 0)
        printf("%zu numbers, %zu in the wrong order\n", count, wrong);
    xf_array_free(array);
say:
    if (rc < 0)
        fprintf(stderr, "quicksort: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    return rc < 0 || wrong > 0;
}
