/* The helper's side of stack_helper.h. */
#ifndef STACK_SERVICE_H
#define STACK_SERVICE_H

#include "protocol/black_box.h"
#include "protocol/channel.h"

/* Sends the frames of each stack whose record the parent puts into the box, until the parent closes the channel.
 *   first  The first request. */
_Noreturn void stack_service_run(channel *channel, black_box *box, const frame *first);

#endif
