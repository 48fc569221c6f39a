/* A farm that decodes untrusted pictures: `decode DIRECTORY` prints one line for each file in it.
 * The decoder runs in child processes, so a file that makes it crash, or never end, costs a line that says so.  The
 * program itself reads the files, a few ahead of what is decoded, and looks at nothing in them. */
#include "../files.h"
#include "careless.h"

#include <crossfork.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS_MAX = 16 << 20, TIME_LIMIT_MS = 2000 };

/* ---- The child's side ------------------------------------------------------------------------ */

typedef struct picture {
    uint32_t width, height;
    int focus; /* brightness, or -1 */
} picture;

/* Decodes what png_image_begin_read_from_memory has begun. */
static int decode_pixels(xf_call *call, png_image *image, const uint8_t *file, size_t size, picture *picture)
{
    uint8_t *pixels;
    int rc = 0;

    if ((uint64_t)image->width * image->height > PIXELS_MAX)
        return xf_fail(call, 1, "%u x %u pixels are too many", image->width, image->height);
    image->format = PNG_FORMAT_GRAY;
    pixels = malloc(PNG_IMAGE_SIZE(*image));
    if (!pixels)
        return XF_TASK_NO_MEMORY;
    if (png_image_finish_read(image, NULL, pixels, 0, NULL)) {
        picture->width = image->width;
        picture->height = image->height;
        picture->focus = focus_brightness(file, size, pixels, image->width);
    } else {
        rc = xf_fail(call, 1, "%s", image->message);
    }
    free(pixels);
    return rc;
}

/* Input: a whole file.  Output: a picture. */
XF_ENTRY(decode)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    picture *picture = xf_call_output(call, sizeof *picture);
    size_t size;
    const uint8_t *file = xf_call_input(call, &size);
    int rc;

    if (!picture)
        return XF_TASK_NO_MEMORY;
    if (!png_image_begin_read_from_memory(&image, file, size))
        return xf_fail(call, 1, "%s", image.message);
    rc = decode_pixels(call, &image, file, size, picture);
    png_image_free(&image);
    return rc;
}

/* ---- The parent's side ----------------------------------------------------------------------- */

/* What gives the pool its input, file after file. */
typedef struct source {
    files files;
    size_t next;
    char *text; /* of the last file that was read */
} source;

/* A file that cannot be read is empty for the decoder, which tells. */
static int next_file(void *arg, xf_bytes *input)
{
    source *source = arg;

    free(source->text);
    source->text = NULL;
    *input = (xf_bytes){"", 0};
    if (source->next == source->files.count)
        return 0;
    if (file_read(source->files.paths[source->next++], &source->text, &input->size) == 0)
        input->data = source->text;
    return 1;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void print_picture(const char *name, const picture *picture)
{
    printf("%s: %u x %u", name, picture->width, picture->height);
    if (picture->focus >= 0)
        printf(", brightness %d", picture->focus);
    printf("\n");
}

static void print_failure(const char *name, const xf_report *report)
{
    printf("%s: %s", name, report->kind_name);
    if (report->status.kind == XF_END_FAILED)
        printf(": %s", report->message);
    else if (*report->code_name)
        printf(": %s", report->code_name);
    for (size_t i = 0; i < report->stack_count; i++)
        if (strcmp(report->stack[i].function, "focus_brightness") == 0)
            printf(", in focus_brightness");
    printf("\n");
}

static int print_all(xf_imap *imap, const files *files)
{
    int good = 0, refused = 0, deaths = 0, rc;
    xf_future *future;
    size_t index;

    while ((rc = xf_imap_next(imap, &future, &index, XF_FOREVER)) == 1) {
        const char *name = base_name(files->paths[index]);
        const picture *picture = xf_future_result(future, 0, NULL);
        if (picture)
            print_picture(name, picture);
        else
            print_failure(name, xf_future_report(future, 0));
        good += picture != NULL;
        refused += xf_future_status(future, 0).kind == XF_END_FAILED;
        deaths += !picture && xf_future_status(future, 0).kind != XF_END_FAILED;
        xf_future_free(future);
    }
    if (rc == 0)
        printf("%d decoded, %d refused, %d deaths\n", good, refused, deaths);
    return rc;
}

static int run(xf_pool *pool, source *source)
{
    const xf_imap_options options = {.task = &decode, .next = next_file, .arg = source, .timeout_ms = TIME_LIMIT_MS};
    xf_imap *imap;
    int rc = xf_imap_create(&imap, pool, &options);

    if (rc < 0)
        return rc;
    rc = print_all(imap, &source->files);
    xf_imap_free(imap);
    return rc;
}

int main(int argc, char **argv)
{
    const xf_process_options process = {.grace_ms = -1}; /* a decoder does not listen to xf_stop_requested */
    source source = {.next = 0};
    xf_pool *pool = NULL;
    int rc;

    xf_main(argc, argv);
    if (argc != 2) {
        fprintf(stderr, "usage: decode DIRECTORY\n");
        return 2;
    }
    rc = files_list(&source.files, argv[1]);
    if (rc < 0) {
        fprintf(stderr, "decode: %s: %s\n", argv[1], file_error(rc));
        return 2;
    }
    rc = xf_pool_create(&pool, &(xf_pool_options){.process = &process});
    if (rc == 0)
        rc = run(pool, &source);
    if (rc < 0)
        fprintf(stderr, "decode: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    free(source.text);
    files_free(&source.files);
    return rc < 0;
}
