#include "base/codec.h"

#include "base/error.h"

int codec_encode(const xf_codec *codec, const char *owner, const void *object, xf_writer *writer)
{
    int rc = codec->encode(writer, object);

    return rc < 0 ? error_detail(XF_ECODEC, "encoding for %s failed with %d", owner, rc) : 0;
}

int codec_decode(const xf_codec *codec, const char *owner, const void *data, size_t size, void **object)
{
    int rc = codec->decode(data, size, object);

    return rc < 0 ? error_detail(XF_ECODEC, "decoding for %s failed with %d", owner, rc) : 0;
}

int codec_encode_for(const xf_task *task, const xf_codec *codec, const void *object, xf_writer *writer)
{
    int rc = codec->encode(writer, object);

    return rc < 0 ? error_detail(XF_ECODEC, "encoding for task %s failed with %d", task->name, rc) : 0;
}

int codec_decode_for(const xf_task *task, const xf_codec *codec, const void *data, size_t size, void **object)
{
    int rc = codec->decode(data, size, object);

    return rc < 0 ? error_detail(XF_ECODEC, "decoding for task %s failed with %d", task->name, rc) : 0;
}
