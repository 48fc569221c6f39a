/* Calls of a user's codec, with an error detail when it fails. */
#ifndef CODEC_H
#define CODEC_H

#include "crossfork/task.h"

/* Encodes an object into writer, or decodes one from data.
 *   owner  "a queue", for the detail.
 * XF_ECODEC when the codec returns a negative number. */
int codec_encode(const xf_codec *codec, const char *owner, const void *object, xf_writer *writer);
int codec_decode(const xf_codec *codec, const char *owner, const void *data, size_t size, void **object);

/* Do the same, with a detail that names a task. */
int codec_encode_for(const xf_task *task, const xf_codec *codec, const void *object, xf_writer *writer);
int codec_decode_for(const xf_task *task, const xf_codec *codec, const void *data, size_t size, void **object);

#endif
