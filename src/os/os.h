/* THE SEAM, all of it: traits.h has its rules. */
#ifndef OS_H
#define OS_H

#include "os/cancel.h"
#include "os/channel.h"
#include "os/child.h"
#include "os/crash.h"
#include "os/endpoint.h"
#include "os/identity.h"
#include "os/machine.h"
#include "os/memory.h"
#include "os/server.h"
#include "os/traits.h"

#endif
