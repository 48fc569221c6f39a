/* Draws the Mandelbrot set: `mandelbrot FILE.png`.  Each row is one item; rows through the middle take a hundred times
 * as long as those at the edge, and workers that are done with theirs take over from the others.
 * The picture lies in memory of the pool, so the rows are computed where they are needed, and never copied. */
#include <crossfork.h>

#include <png.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 400, TURNS = 1000 };

typedef struct row {
    uint8_t grey[WIDTH];
} row;

/* How many turns a point takes to leave the circle of radius 2; TURNS when it does not. */
static int turns(double re, double im)
{
    double x = 0, y = 0;
    int n;

    for (n = 0; n < TURNS && x * x + y * y <= 4; n++) {
        double next = x * x - y * y + re;
        y = 2 * x * y + im;
        x = next;
    }
    return n;
}

XF_TASK(draw_row, const int *in, row *out)
{
    for (int i = 0; i < WIDTH; i++) {
        int n = turns(-2.2 + 3.2 * i / WIDTH, -1 + 2.0 * *in / HEIGHT);
        out->grey[i] = n == TURNS ? 0 : (uint8_t)(255 - n % 32 * 6);
    }
    return 0;
}

/* Returns 0 when the picture is written; libpng tells its errors itself. */
static int write_png(const char *path, const row *rows)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_GRAY};

    if (!png_image_write_to_file(&image, path, 0, rows, 0, NULL)) {
        fprintf(stderr, "mandelbrot: %s: %s\n", path, image.message);
        return -1;
    }
    return 0;
}

static void print_summary(const char *path, const row *rows)
{
    size_t inside = 0;

    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            inside += rows[y].grey[x] == 0;
    printf("%s: %d x %d, %zu points of the set\n", path, WIDTH, HEIGHT, inside);
}

static int draw(xf_pool *pool, const char *path)
{
    int numbers[HEIGHT], rc;
    row *rows = xf_pool_buffer_alloc(pool, HEIGHT * sizeof *rows);

    if (!rows)
        return XF_ENOMEM;
    for (int i = 0; i < HEIGHT; i++)
        numbers[i] = i;
    rc = xf_pool_map(pool, &(xf_map){.task = &draw_row, .in = numbers, .out = rows, .count = HEIGHT, .chunk = 4});
    if (rc == 0)
        rc = write_png(path, rows) < 0 ? XF_EIO : 0;
    if (rc == 0)
        print_summary(path, rows);
    xf_pool_buffer_free(pool, rows);
    return rc;
}

int main(int argc, char **argv)
{
    xf_pool *pool;
    int rc;

    xf_main(argc, argv);
    if (argc != 2) {
        fprintf(stderr, "usage: mandelbrot FILE.png\n");
        return 2;
    }
    rc = xf_pool_create(&pool, NULL);
    if (rc == 0) {
        rc = draw(pool, argv[1]);
        xf_pool_free(pool);
    }
    if (rc < 0)
        fprintf(stderr, "mandelbrot: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    return rc < 0;
}
