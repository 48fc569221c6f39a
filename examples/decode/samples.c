/* Makes pictures for decode, good and hostile ones: `samples DIRECTORY`, which has to exist.
 * The hostile ones are good ones in which something was changed. */
#include "careless.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { WIDTH = 64, HEIGHT = 48, FILE_MAX = 65536, HEADER_AT = 12, HEADER_SIZE = 17, MUTANTS = 20 };

typedef struct sample {
    uint8_t bytes[FILE_MAX];
    size_t size;
} sample;

static const char *directory;

static void write_sample(const char *name, const sample *sample)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s.png", directory, name);
    file = fopen(path, "wb");
    if (!file || fwrite(sample->bytes, 1, sample->size, file) != sample->size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void make_good(sample *sample)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_GRAY};
    png_alloc_size_t size = FILE_MAX;
    uint8_t pixels[WIDTH * HEIGHT];

    for (int i = 0; i < WIDTH * HEIGHT; i++)
        pixels[i] = (uint8_t)(i * i / 7);
    if (!png_image_write_to_memory(&image, sample->bytes, &size, 0, pixels, 0, NULL)) {
        fprintf(stderr, "samples: %s\n", image.message);
        exit(1);
    }
    sample->size = size;
}

static void put_number(uint8_t *bytes, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* Appends what the careless part of decode believes in. */
static void write_focus(const char *name, const sample *good, const uint32_t *numbers)
{
    sample sample = *good;

    memcpy(sample.bytes + sample.size, "FOCS", 4);
    for (int i = 0; i < 4; i++)
        put_number(sample.bytes + sample.size + 4 + 4 * i, numbers[i]);
    sample.size += FOCUS_SIZE;
    write_sample(name, &sample);
}

/* Says in the header that it is 100,000 pixels wide and high, with a checksum that agrees. */
static void write_huge(const sample *good)
{
    sample sample = *good;
    uint8_t *header = sample.bytes + HEADER_AT;

    put_number(header + 4, 100000);
    put_number(header + 8, 100000);
    put_number(header + HEADER_SIZE, (uint32_t)crc32(0, header, HEADER_SIZE));
    write_sample("huge", &sample);
}

/* Changes some bytes anywhere. */
static void write_mutants(const sample *good)
{
    char name[32];

    srand(1);
    for (int i = 0; i < MUTANTS; i++) {
        sample sample = *good;
        for (int change = 0; change <= i; change++)
            sample.bytes[(size_t)rand() % sample.size] ^= (uint8_t)(1 << rand() % 8);
        snprintf(name, sizeof name, "mutant%02d", i);
        write_sample(name, &sample);
    }
}

int main(int argc, char **argv)
{
    static sample good, changed;

    if (argc != 2) {
        fprintf(stderr, "usage: samples DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    make_good(&good);
    write_sample("good", &good);
    write_sample("empty", &changed);
    changed = good;
    changed.size /= 2;
    write_sample("cut", &changed);
    changed = good;
    changed.bytes[changed.size - 20] ^= 1; /* in the last bytes of the pixels, or their checksum */
    write_sample("flipped", &changed);
    changed.size = 1000;
    for (size_t i = 0; i < changed.size; i++)
        changed.bytes[i] = (uint8_t)(i * 37);
    write_sample("noise", &changed);
    write_huge(&good);
    write_mutants(&good);
    write_focus("focus", &good, (uint32_t[]){8, 8, 16, 2});
    write_focus("outside", &good, (uint32_t[]){0, 0x30000000, 16, 2});
    write_focus("pointless", &good, (uint32_t[]){8, 8, 0, 2});
    write_focus("standstill", &good, (uint32_t[]){8, 8, 16, 0});
    return 0;
}
