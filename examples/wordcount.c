/* Counts words: `wordcount FILE|DIRECTORY...` prints the ten most frequent words of all files.
 * Each file is one item, of which only the path goes to a worker; what comes back is as long as the file's words make
 * it.  A file that cannot be read costs one line on the standard error, and nothing else. */
#include "files.h"

#include <crossfork.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 31, SHOWN = 10 };

/* Plain data, without a pointer: so an array of them is a task's output as it is. */
typedef struct word {
    char text[WORD_MAX + 1];
    uint64_t count;
} word;

typedef struct words {
    word *items;
    size_t count, room;
} words;

/* ---- Lists of words -------------------------------------------------------------------------- */

static int compare_text(const void *left, const void *right)
{
    return strcmp(((const word *)left)->text, ((const word *)right)->text);
}

/* The most frequent first, and those of the same count by text. */
static int compare_count(const void *left, const void *right)
{
    const word *a = left, *b = right;

    return a->count != b->count ? (a->count < b->count ? 1 : -1) : compare_text(a, b);
}

static int append(words *words, const word *word)
{
    size_t room = words->room ? 2 * words->room : 256;

    if (words->count == words->room) {
        void *grown = realloc(words->items, room * sizeof *word);
        if (!grown)
            return XF_ENOMEM;
        words->items = grown;
        words->room = room;
    }
    words->items[words->count++] = *word;
    return 0;
}

/* Makes one of all those that are the same. */
static void merge(words *words)
{
    size_t kept = 0;

    if (words->count == 0)
        return;
    qsort(words->items, words->count, sizeof(word), compare_text);
    for (size_t i = 0; i < words->count; i++) {
        if (kept > 0 && compare_text(&words->items[kept - 1], &words->items[i]) == 0)
            words->items[kept - 1].count += words->items[i].count;
        else
            words->items[kept++] = words->items[i];
    }
    words->count = kept;
}

/* ---- The child's side ------------------------------------------------------------------------ */

/* Appends the words of a text; a word is what is made of letters, and a longer one is cut. */
static int split(words *words, const char *text, size_t size)
{
    word word = {.count = 1};
    size_t length = 0;
    int rc = 0;

    for (size_t i = 0; i <= size && rc == 0; i++) {
        if (i < size && isalpha((unsigned char)text[i])) {
            if (length < WORD_MAX)
                word.text[length++] = (char)tolower((unsigned char)text[i]);
        } else if (length > 0) {
            memset(word.text + length, 0, sizeof word.text - length);
            rc = append(words, &word);
            length = 0;
        }
    }
    return rc;
}

/* Input: a path, with its terminating 0.  Output: an array of words, of whatever length. */
XF_ENTRY(count_words)
{
    const char *path = xf_call_input(call, NULL);
    words words = {NULL, 0, 0};
    char *text = NULL;
    size_t size = 0;
    word *out;
    int rc = file_read(path, &text, &size);

    if (rc < 0)
        return xf_fail(call, rc, "%s", file_error(rc));
    rc = split(&words, text, size);
    if (rc == 0) {
        merge(&words);
        out = xf_call_output(call, words.count * sizeof *out);
        if (out && words.count > 0)
            memcpy(out, words.items, words.count * sizeof *out);
        rc = out ? 0 : XF_TASK_NO_MEMORY;
    }
    free(words.items);
    free(text);
    return rc;
}

/* ---- The parent's side ----------------------------------------------------------------------- */

/* Adds up what the items have found, and tells which of them have failed, and how. */
static int collect(words *words, xf_future *future, const files *files)
{
    for (size_t item = 0; item < files->count; item++) {
        size_t size;
        const word *found = xf_future_result(future, item, &size);
        if (!found) {
            const xf_report *report = xf_future_report(future, item);
            fprintf(stderr, "wordcount: %s: %s: %s\n", files->paths[item], report->kind_name, report->message);
        }
        for (size_t i = 0; found && i < size / sizeof *found; i++)
            if (append(words, &found[i]) < 0)
                return XF_ENOMEM;
    }
    merge(words);
    if (words->count > 0)
        qsort(words->items, words->count, sizeof(word), compare_count);
    return 0;
}

static int run(xf_pool *pool, const files *files)
{
    words words = {NULL, 0, 0};
    xf_bytes *in = malloc((files->count + 1) * sizeof *in);
    xf_future *future;
    uint64_t total = 0;
    int rc;

    if (!in)
        return XF_ENOMEM;
    for (size_t i = 0; i < files->count; i++)
        in[i] = (xf_bytes){files->paths[i], strlen(files->paths[i]) + 1};
    rc = xf_pool_map_async(&future, pool, &(xf_map){.task = &count_words, .bytes = in, .count = files->count});
    free(in);
    if (rc < 0)
        return rc;
    rc = xf_future_wait(future, XF_FOREVER);
    if (rc == 0 || rc == XF_EFAILED)
        rc = collect(&words, future, files);
    for (size_t i = 0; i < words.count; i++)
        total += words.items[i].count;
    if (rc == 0)
        printf("%zu files, %zu not read, %" PRIu64 " words, %zu different\n", files->count, xf_future_failures(future),
               total, words.count);
    for (size_t i = 0; i < words.count && i < SHOWN && rc == 0; i++)
        printf("%8" PRIu64 "  %s\n", words.items[i].count, words.items[i].text);
    xf_future_free(future);
    free(words.items);
    return rc;
}

int main(int argc, char **argv)
{
    files files = {NULL, 0, 0};
    xf_pool *pool = NULL;
    int rc = 0;

    xf_main(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "usage: wordcount FILE|DIRECTORY...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        rc = rc < 0 ? rc : files_list(&files, argv[i]);
    if (rc == 0)
        rc = xf_pool_create(&pool, NULL);
    if (rc == 0)
        rc = run(pool, &files);
    if (rc < 0)
        fprintf(stderr, "wordcount: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    files_free(&files);
    return rc < 0;
}
