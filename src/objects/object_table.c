#include "objects/object_table.h"

#include "base/error.h"
#include "base/per_process.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { ROWS = 256 };

static struct table {
    uv_mutex_t lock;
    object_entry *rows[ROWS];
} table;

static struct table parents; /* in a forked child: keeps the parent's entries in sight of leak checkers */

static void forget_parents_table(void)
{
    parents = table;
    memset(&table, 0, sizeof table);
    if (uv_mutex_init(&table.lock))
        abort(); /* it has no reason to fail */
}

void object_table_lock(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, forget_parents_table);
    uv_mutex_lock(&table.lock);
}

void object_table_unlock(void)
{
    uv_mutex_unlock(&table.lock);
}

/* ---- Entries --------------------------------------------------------------------------------- */

static object_entry **row_of(const xf_ref *ref)
{
    return &table.rows[ref->id[0] % ROWS];
}

object_entry *object_table_find(const xf_ref *ref)
{
    object_entry *entry = *row_of(ref);

    while (entry && memcmp(entry->object.ref.id, ref->id, sizeof ref->id) != 0)
        entry = entry->next;
    return entry;
}

void object_table_insert(object_entry *entry)
{
    object_entry **row = row_of(&entry->object.ref);

    entry->next = *row;
    *row = entry;
}

bool object_table_remove_unused(object_entry *entry)
{
    object_entry **at = row_of(&entry->object.ref);

    if (entry->opens > 0 || entry->holders)
        return false;
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    return true;
}

/* ---- Holders --------------------------------------------------------------------------------- */

static object_holder *find_holder(const object_entry *entry, const object_child *child)
{
    object_holder *holder = entry->holders;

    while (holder && holder->child != child)
        holder = holder->next_of_entry;
    return holder;
}

int object_table_add_holder(object_entry *entry, object_child *child, bool offered)
{
    object_holder *holder = find_holder(entry, child);

    if (holder) {
        holder->times++;
        return 0;
    }
    if (child->count >= OBJECT_CHILD_OPEN_MAX || (offered && child->offered >= OBJECT_CHILD_OFFERED_MAX))
        return error_detail(XF_ELIMIT, "a child has too many objects open");
    holder = malloc(sizeof *holder);
    if (!holder)
        return error_detail(XF_ENOMEM, "an object of a child");
    *holder = (object_holder){entry, child, 1, offered, entry->holders, NULL, child->first};
    entry->holders = holder;
    if (child->first)
        child->first->previous = holder;
    child->first = holder;
    child->count++;
    child->offered += offered;
    return 0;
}

void object_table_remove_holder(object_holder *holder)
{
    object_child *child = holder->child;
    object_holder **at = &holder->entry->holders;

    while (*at != holder)
        at = &(*at)->next_of_entry;
    *at = holder->next_of_entry;
    if (holder->previous)
        holder->previous->next = holder->next;
    else
        child->first = holder->next;
    if (holder->next)
        holder->next->previous = holder->previous;
    child->count--;
    child->offered -= holder->offered;
    free(holder);
}

void object_table_release_holder(object_entry *entry, const object_child *child, uint32_t times)
{
    object_holder *holder = find_holder(entry, child);

    if (holder && holder->times > times)
        holder->times -= times;
    else if (holder)
        object_table_remove_holder(holder);
}
