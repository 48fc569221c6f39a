#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* ---- Progress and reports -------------------------------------------------------------------- */

enum { PROGRESS_WIDTH = 60 };

static bool progress_shown;

void print_progress(uint64_t done, size_t count, uint64_t lost)
{
    char text[PROGRESS_WIDTH];

    progress_shown = true;
    snprintf(text, sizeof text, "%" PRIu64 " of %zu files, %" PRIu64 " lost", done, count, lost);
    fprintf(stderr, "\r%-*s", PROGRESS_WIDTH, text);
    fflush(stderr);
}

void print_progress_clear(void)
{
    if (progress_shown)
        fprintf(stderr, "\r%*s\r", PROGRESS_WIDTH, "");
    progress_shown = false;
}

void print_report(const xf_report *report, const char *what, const char *path)
{
    fprintf(stderr, "checktree: %s %s\n", what, path);
    xf_report_print(report, stderr);
}

/* ---- Failures -------------------------------------------------------------------------------- */

static void print_failure(const file *file)
{
    const xf_status *end = &file->end;

    fprintf(stderr, "%s: ", file->path);
    if (file->error)
        fprintf(stderr, "%s\n", uv_strerror(file->error));
    else if (end->kind == XF_END_CRASHED)
        fprintf(stderr, "the child crashed: %s\n", xf_crash_name((xf_crash)end->code));
    else if (end->kind == XF_END_EXITED)
        fprintf(stderr, "the child exited with code %d\n", end->code);
    else if (end->code < 0)
        fprintf(stderr, "the child ended: %s, %s\n", xf_end_name(end->kind), xf_strerror(end->code));
    else
        fprintf(stderr, "the child ended: %s\n", xf_end_name(end->kind));
}

size_t print_failures(const tree *tree)
{
    size_t count = 0;

    for (size_t i = 0; i < tree->count; i++) {
        if (!file_failed(&tree->files[i]))
            continue;
        print_failure(&tree->files[i]);
        count++;
    }
    return count;
}

/* ---- Hashes ---------------------------------------------------------------------------------- */

/* The standard output, without stdio: so the bytes are the same on every system, and so are the errors. */
typedef struct output {
    size_t used;
    int error; /* the first one; nothing is written after it */
    char data[65536];
} output;

static void flush(output *output)
{
    size_t written = 0;

    while (output->error == 0 && written < output->used) {
        uv_buf_t buffer = uv_buf_init(output->data + written, (unsigned)(output->used - written));
        uv_fs_t request;
        int count = uv_fs_write(NULL, &request, 1, &buffer, 1, -1, NULL);
        uv_fs_req_cleanup(&request);
        if (count < 0)
            output->error = count;
        else
            written += (size_t)count;
    }
    output->used = 0;
}

static void put(output *output, const char *text, size_t size)
{
    while (size > 0) {
        size_t room = sizeof output->data - output->used;
        size_t count = size < room ? size : room;
        memcpy(output->data + output->used, text, count);
        output->used += count;
        text += count;
        size -= count;
        if (output->used == sizeof output->data)
            flush(output);
    }
}

static void put_hash(output *output, const file *file)
{
    char digits[20];

    snprintf(digits, sizeof digits, "%016" PRIx64 "  ", file->hash);
    put(output, digits, strlen(digits));
    put(output, file->path, strlen(file->path));
    put(output, "\n", 1);
}

static void put_summary(output *output, size_t hashed, size_t failed, const farm_totals *totals, double seconds)
{
    char text[200];

    snprintf(text, sizeof text,
             "%zu files hashed, %zu failed\n"
             "%" PRIu64 " bytes, %.3f s, %" PRIu64 " children\n",
             hashed, failed, totals->bytes, seconds, totals->children);
    put(output, text, strlen(text));
}

int print_hashes(const tree *tree, const farm_totals *totals, double seconds)
{
    output output = {.used = 0};
    size_t hashed = 0;

    for (size_t i = 0; i < tree->count; i++) {
        if (file_failed(&tree->files[i]))
            continue;
        put_hash(&output, &tree->files[i]);
        hashed++;
    }
    if (totals)
        put_summary(&output, hashed, tree->count - hashed, totals, seconds);
    flush(&output);
    return output.error;
}
