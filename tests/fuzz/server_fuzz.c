/* Goal: a datagram to the fork server is a whole request or none; the environment of one that is whole becomes strings
 * that are all there. */
#include "fuzz.h"
#include "posix/os_private.h"

/* The first byte is the number of descriptors; the second makes what follows fit together, or not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    size_t descriptors = fuzz_number(&input, 1) % 16, whole;
    unsigned mend = fuzz_number(&input, 1);
    server_request head;
    char *flat, **strings, *inside;

    whole = input.left;
    fuzz_take(&input, &head, sizeof head);
    head.environment_apart = *(const uint8_t *)&head.environment_apart & 1;
    if (mend & 1)
        head.environment_size = input.left;
    if (mend & 2)
        head.box_size = 1 << 16;
    inside = malloc(input.left ? input.left : 1);
    CHECK(inside);
    memcpy(inside, input.at, input.left);
    if (server_is_whole(&head, whole, descriptors, inside) && !head.environment_apart) {
        strings = server_unflatten(inside, head.environment_size, &flat);
        CHECK(strings);
        for (size_t i = 0; strings[i]; i++)
            CHECK(strings[i] >= flat && strings[i] + fuzz_text(strings[i]) < flat + head.environment_size);
        free(strings);
        free(flat);
    }
    free(inside);
    return 0;
}
