/* Names for places in programs, by libbacktrace.
 *
 * libbacktrace explains addresses of the process that it runs in.  A state that is made for some file takes that
 * file for the running program; os_module_locate computes the address that a place has then.  States cannot be freed,
 * so there is one for each module, and their number is limited. */
#include "process/symbol.h"

#include "base/per_process.h"
#include "os/crash.h"

#include <backtrace.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MODULES_MAX = 64, FUNCTIONS_MAX = 16 };

typedef struct module {
    struct backtrace_state *state;
    os_location place; /* the first that was looked up, with its file, to which state points */
} module;

static struct {
    uv_mutex_t lock; /* of the rest, and of what the states hold */
    module *modules[MODULES_MAX];
    size_t count;
} self;

/* The functions at a place. */
typedef struct place {
    struct {
        const char *function, *file; /* NULL: not known */
        int line;
    } at[FUNCTIONS_MAX];
    size_t count;
} place;

/* ---- Modules --------------------------------------------------------------------------------- */

/* A forked child starts anew: another thread of its parent may have been in the middle of a change to what the child
 * inherits. */
static void forget_modules(void)
{
    memset(&self, 0, sizeof self);
    if (uv_mutex_init(&self.lock))
        abort(); /* no system has a reason to let it fail */
}

/* An unknown place is not an error here. */
static void ignore(void *arg, const char *message, int number)
{
    (void)arg, (void)message, (void)number;
}

static module *add_module(const os_location *place)
{
    module *added = self.count < MODULES_MAX ? malloc(sizeof *added) : NULL;

    if (!added)
        return NULL;
    added->place = *place;
    added->state = backtrace_create_state(added->place.file, 0, ignore, NULL);
    if (!added->state) {
        free(added);
        return NULL;
    }
    self.modules[self.count++] = added;
    return added;
}

/* A file that was replaced counts as another module. */
static module *find_symbol_module(const os_location *place)
{
    for (size_t i = 0; i < self.count; i++) {
        if (memcmp(self.modules[i]->place.identity, place->identity, sizeof place->identity) == 0)
            return self.modules[i];
    }
    return add_module(place);
}

/* ---- Places ---------------------------------------------------------------------------------- */

/* The innermost function comes first.  Of too many, the middle ones are left out: the last is the function into which
 * they were inlined. */
static int on_function(void *arg, uintptr_t address, const char *file, int line, const char *function)
{
    place *place = arg;
    size_t last = place->count < FUNCTIONS_MAX ? place->count : FUNCTIONS_MAX - 1;

    (void)address;
    if (!file && !function)
        return 0;
    place->at[last].function = function;
    place->at[last].file = file;
    place->at[last].line = file ? line : 0;
    place->count = last + 1;
    return 0;
}

static void on_symbol(void *arg, uintptr_t address, const char *name, uintptr_t start, uintptr_t size)
{
    place *place = arg;

    (void)start, (void)size;
    if (place->count == 0)
        on_function(place, address, NULL, 0, name);
    else
        place->at[place->count - 1].function = name;
}

static void look_up_symbol(module *module, uintptr_t address, place *place)
{
    backtrace_pcinfo(module->state, address, on_function, ignore, place);
    if (place->count == 0 || !place->at[place->count - 1].function)
        backtrace_syminfo(module->state, address, on_symbol, ignore, place);
}

int symbol_find(const char *path, uint64_t offset, symbol_found found, void *arg)
{
    static _Atomic int64_t ready_in;
    place place = {.count = 0};
    os_location where;
    module *module;

    if (!os_module_locate(path, offset, &where))
        return 0;
    per_process_set_up(&ready_in, forget_modules);
    uv_mutex_lock(&self.lock);
    module = find_symbol_module(&where);
    if (module)
        look_up_symbol(module, where.address, &place);
    uv_mutex_unlock(&self.lock);
    os_handle_close(where.handle); /* libbacktrace opens a file once, when it first looks something up in it */
    for (size_t i = 0; i < place.count; i++)
        found(arg, place.at[i].function ? place.at[i].function : "", place.at[i].file ? place.at[i].file : "",
              place.at[i].line, i + 1 < place.count);
    return (int)place.count;
}
