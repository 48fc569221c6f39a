/* Handles of the system that a reference hands over once. */
#ifndef HANDLE_H
#define HANDLE_H

#include "crossfork/ref.h"

/* Does what xf_handle_take does, for a reference whose kind has been checked. */
int handle_take(const xf_ref *ref, intptr_t *handle);

#endif
