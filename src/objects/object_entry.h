/* Entries of the table: made of segments, fetched from the parent, and given up.  Called without the table's lock. */
#ifndef OBJECT_ENTRY_H
#define OBJECT_ENTRY_H

#include "objects/object_table.h"

/* The start of an object's segment.  It repeats what the process that opens the object knows from elsewhere, as a
 * check. */
typedef struct object_head {
    uint32_t magic;
    uint32_t version;
    xf_ref ref;
    uint64_t size; /* of the body */
} object_head;

enum { OBJECT_MAGIC = 0x786f626a };

/* Makes a reference with a new random id.  XF_ESYSTEM. */
int object_entry_make_ref(xf_ref *ref, xf_object_kind kind);

/* Makes an entry for a segment, which then belongs to the entry, also on failure.  XF_ENOMEM. */
int object_entry_make(object_entry **out, const xf_ref *ref, os_shm *shm);

/* Makes an entry of the segment or handle that another process has sent, and that may not be what that process says.
 * The handle then belongs to the entry, also on failure.  XF_EPROTO, XF_ENOMEM, XF_EHANDLES. */
int object_entry_receive(object_entry **out, const xf_ref *ref, intptr_t handle, uint64_t size, int flags);

/* Inserts a new entry into the table, or destroys it when the table has one of the same object.  Returns the entry that
 * is in the table, opened once more. */
object_entry *object_entry_insert(object_entry *fresh);

/* Opens the entry of an object, which is fetched from the parent when the table does not have it.
 * As object_client_ask and object_entry_receive. */
int object_entry_open(object_entry **out, const xf_ref *ref);

/* Closes an entry once, for this process. */
void object_entry_close(object_entry *entry);

/* The same in a forked copy of this process, which has a table of its own, without this entry. */
void object_entry_let_go(object_entry *entry);

/* Destroys an entry that is not in the table: removed from it, or never inserted. */
void object_entry_destroy(object_entry *entry);

#endif
