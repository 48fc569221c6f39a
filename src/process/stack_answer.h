/* Frames of a stack with their names, on their way from the helper (stack_helper.h) to its parent. */
#ifndef STACK_ANSWER_H
#define STACK_ANSWER_H

#include "crossfork/report.h"
#include "protocol/channel.h"

enum { STACK_ANSWERS_MAX = 128 }; /* of a stack: inlined functions have frames of their own */

/* Sends a frame; long texts are cut.  As channel_send, without flushing. */
int stack_answer_send(channel *channel, const xf_frame *answer);

/* Reads a frame, whose texts stay in the payload.  It is not trusted; false when it is none. */
bool stack_answer_read(const frame *from, xf_frame *answer);

#endif
