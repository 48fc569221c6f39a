/* The table of the objects that this process or one of its children has open.
 *
 * One lock protects the table and the entries in it.  Each function but object_table_lock is called with it held. */
#ifndef OBJECT_TABLE_H
#define OBJECT_TABLE_H

#include "objects/object.h"

/* An object in the table. */
typedef struct object_entry {
    object
        object; /* first: a pointer to the object is one to its entry.  A handle has no segment, only shm.handle, which
                      is -1 while the parent has the handle */
    uint32_t version;
    uint32_t generation;           /* of the process that has it open: os_self_generation */
    struct object_entry *next;     /* in its row of the table */
    uint32_t opens;                /* by this process */
    bool has_handle;               /* xf_handle_ref has made the entry, which counts as one of the opens */
    uint32_t reported;             /* how often the parent counts this process as one that has the object open */
    struct object_holder *holders; /* the children that have it open */
} object_entry;

/* Records that a child has an object open. */
typedef struct object_holder {
    object_entry *entry;
    struct object_child *child;
    uint32_t times;                        /* the child has asked for it or offered it */
    bool offered;                          /* the child offered it first, so it is taken for the creator */
    struct object_holder *next_of_entry;   /* in the entry's list */
    struct object_holder *previous, *next; /* in the child's list */
} object_holder;

/* The objects that a child of this process has open, as this process counts them.  Starts as {NULL}. */
typedef struct object_child {
    object_holder *first;
    uint32_t count;   /* of the list */
    uint32_t offered; /* those of the list that the child has created */
} object_child;

enum {
    OBJECT_CHILD_OPEN_MAX = 65536,  /* objects that a child may have open */
    OBJECT_CHILD_OFFERED_MAX = 1024 /* of these, objects that the child has created and shared */
};

void object_table_lock(void);
void object_table_unlock(void);

/* NULL when the table has no such object. */
object_entry *object_table_find(const xf_ref *ref);

void object_table_insert(object_entry *entry);

/* Removes an entry that neither this process nor a child has open.  Returns whether it did. */
bool object_table_remove_unused(object_entry *entry);

/* Counts that the child has the object open once more.  XF_ELIMIT, XF_ENOMEM. */
int object_table_add_holder(object_entry *entry, object_child *child, bool offered);

/* Counts that the child has closed the object, which it had opened so many times. */
void object_table_release_holder(object_entry *entry, const object_child *child, uint32_t times);

void object_table_remove_holder(object_holder *holder);

#endif
