/* Settings: environment variables that crossfork itself obeys.  Every XF_ variable is read here and nowhere else. */
#ifndef SETTING_H
#define SETTING_H

#include <stddef.h>

/* Reads one.
 *   value  Of size bytes.
 * XF_ENOENT when it is not set, is empty, or this process has more rights than who started it (os_self_is_privileged);
 * XF_EINVAL when it is longer, or is not text. */
int setting_get(const char *name, char *value, size_t size);

#endif
