/* Makes small pictures of large ones: `thumbnails FROM TO` reads each PNG in the directory FROM and writes it to the
 * directory TO, with no side longer than 64 points.  Only paths go to the workers, which read and write the files
 * themselves. A file that is no picture, or is damaged, costs one line. */
#include "files.h"

#include <crossfork.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, TIME_LIMIT_MS = 30000 };

typedef struct job {
    char from[512], to[512];
} job;

typedef struct size {
    unsigned width, height;
} size;

/* ---- In a worker ----------------------------------------------------------------------------- */

/* Takes the point in the middle of what one of the new points stands for. */
static void shrink(const png_image *image, const png_byte *points, png_image *small, png_byte *out)
{
    for (unsigned y = 0; y < small->height; y++)
        for (unsigned x = 0; x < small->width; x++) {
            size_t row = (2 * (size_t)y + 1) * image->height / (2 * small->height);
            size_t column = (2 * (size_t)x + 1) * image->width / (2 * small->width);
            memcpy(out + 3 * ((size_t)y * small->width + x), points + 3 * (row * image->width + column), 3);
        }
}

static void set_size(png_image *small, const png_image *image)
{
    unsigned longest = image->width > image->height ? image->width : image->height;
    unsigned part = longest > SIDE ? (longest + SIDE - 1) / SIDE : 1;

    small->width = (image->width + part - 1) / part;
    small->height = (image->height + part - 1) / part;
}

XF_TASK(make_thumbnail, const job *in, size *out)
{
    png_image image = {.version = PNG_IMAGE_VERSION}, small = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB};
    png_byte *points = NULL, *room = NULL;
    int rc = 0;

    if (!png_image_begin_read_from_file(&image, in->from))
        return xf_fail(call, 1, "%s", image.message);
    image.format = PNG_FORMAT_RGB;
    set_size(&small, &image);
    points = malloc(PNG_IMAGE_SIZE(image));
    room = malloc(PNG_IMAGE_SIZE(small));
    if (!points || !room)
        rc = xf_fail(call, XF_ENOMEM, "%u x %u points are too many", image.width, image.height);
    else if (!png_image_finish_read(&image, &(png_color){0, 0, 0}, points, 0, NULL))
        rc = xf_fail(call, 1, "%s", image.message);
    if (rc == 0) {
        shrink(&image, points, &small, room);
        if (!png_image_write_to_file(&small, in->to, 0, room, 0, NULL))
            rc = xf_fail(call, 2, "%s", small.message);
    }
    *out = (size){small.width, small.height};
    png_image_free(&image);
    free(points);
    free(room);
    return rc;
}

/* ---- In the program -------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int print_all(xf_future *future, const files *files)
{
    size_t good = 0;

    for (size_t i = 0; i < files->count; i++) {
        const size *size = xf_future_result(future, i, NULL);
        const xf_report *report = size ? NULL : xf_future_report(future, i);
        good += size != NULL;
        if (size)
            printf("%s: %u x %u\n", base_name(files->paths[i]), size->width, size->height);
        else
            printf("%s: %s\n", base_name(files->paths[i]), report ? report->message : "not done");
    }
    printf("%zu of %zu\n", good, files->count);
    return 0;
}

static int run(const files *files, const char *to)
{
    job *jobs = calloc(files->count + 1, sizeof *jobs);
    xf_map map = {.task = &make_thumbnail, .in = jobs, .count = files->count, .timeout_ms = TIME_LIMIT_MS};
    xf_future *future;
    xf_pool *pool = NULL;
    int rc = jobs ? xf_pool_create(&pool, NULL) : XF_ENOMEM;

    for (size_t i = 0; i < files->count && jobs; i++) {
        snprintf(jobs[i].from, sizeof jobs[i].from, "%s", files->paths[i]);
        snprintf(jobs[i].to, sizeof jobs[i].to, "%s/%s", to, base_name(files->paths[i]));
    }
    if (rc == 0)
        rc = xf_pool_map_async(&future, pool, &map);
    if (rc == 0) {
        rc = xf_future_wait(future, XF_FOREVER);
        if (rc == 0 || rc == XF_EFAILED)
            rc = print_all(future, files);
        xf_future_free(future);
    }
    xf_pool_free(pool);
    free(jobs);
    return rc;
}

int main(int argc, char **argv)
{
    files files = {.count = 0};
    int rc;

    xf_main(argc, argv);
    if (argc != 3) {
        fprintf(stderr, "usage: thumbnails FROM TO\n");
        return 2;
    }
    rc = files_list(&files, argv[1]);
    if (rc < 0) {
        fprintf(stderr, "thumbnails: %s: %s\n", argv[1], file_error(rc));
        return 2;
    }
    rc = run(&files, argv[2]);
    if (rc < 0)
        fprintf(stderr, "thumbnails: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    files_free(&files);
    return rc < 0;
}
