/* Codecs: how objects that hold pointers become bytes, for tasks and queues, and objects again.
 *
 *     static int encode_name(xf_writer *writer, const void *object)
 *     {
 *         const char *name = object;
 *         return xf_writer_put(writer, name, strlen(name) + 1);
 *     }
 *
 *     static int decode_name(const void *data, size_t size, void **object)
 *     {
 *         *object = malloc(size);
 *         if (!*object)
 *             return -1;
 *         memcpy(*object, data, size);
 *         return 0;
 *     }
 *
 *     static const xf_codec name_codec = {encode_name, decode_name, free}; */
#ifndef CROSSFORK_CODEC_H
#define CROSSFORK_CODEC_H

#include "export.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where an encoder writes. */
typedef struct xf_writer xf_writer;

/* Appends size bytes to what is being encoded.  Returns 0; XF_EINVAL when data is NULL and size is not 0; XF_ENOMEM. */
XF_API int xf_writer_put(xf_writer *writer, const void *data, size_t size);

/* Turns an object into bytes and back.  The functions return 0 or a negative number, which the caller sees as
 * XF_ECODEC with that number in the detail. */
typedef struct xf_codec {
    int (*encode)(xf_writer *writer, const void *object);        /* writes the object as bytes */
    int (*decode)(const void *data, size_t size, void **object); /* makes an object from bytes */
    void (*destroy)(void *object);                               /* ends an object that decode made */
} xf_codec;

#ifdef __cplusplus
}
#endif

#endif
