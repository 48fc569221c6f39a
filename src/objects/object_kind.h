/* The names of kinds of objects, for error details. */
#ifndef OBJECT_KIND_H
#define OBJECT_KIND_H

#include <stdint.h>

/* "queue"; "unknown kind" for a number that is not an xf_object_kind. */
const char *object_kind_name(uint32_t kind);

#endif
