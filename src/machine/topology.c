/* Caches and memory nodes by hwloc, which asks the processors themselves.  The library is loaded when it is needed: if
 * it were linked, each child would load it, too. */
#include "machine/topology.h"

#include <hwloc.h>
#include <uv.h>

#define HWLOC_FUNCTIONS(X)                                                                                             \
    X(hwloc_get_api_version)                                                                                           \
    X(hwloc_topology_init)                                                                                             \
    X(hwloc_topology_load)                                                                                             \
    X(hwloc_topology_destroy)                                                                                          \
    X(hwloc_get_type_depth)                                                                                            \
    X(hwloc_get_nbobjs_by_depth)                                                                                       \
    X(hwloc_get_obj_by_depth)                                                                                          \
    X(hwloc_bitmap_isset)                                                                                              \
    X(hwloc_bitmap_first)

typedef struct library {
    uv_lib_t handle;
#define HWLOC_MEMBER(name) __typeof__(name) *name;
    HWLOC_FUNCTIONS(HWLOC_MEMBER)
#undef HWLOC_MEMBER
} library;

/* Loads the library whose interface is that of <hwloc.h>. */
static bool load_hwloc(library *hwloc)
{
    bool all = uv_dlopen(XF_TOPOLOGY, &hwloc->handle) == 0;

#define HWLOC_LOAD(name) all = all && uv_dlsym(&hwloc->handle, #name, (void **)&hwloc->name) == 0;
    HWLOC_FUNCTIONS(HWLOC_LOAD)
#undef HWLOC_LOAD
    if (all && hwloc->hwloc_get_api_version() >> 16 == HWLOC_API_VERSION >> 16)
        return true;
    uv_dlclose(&hwloc->handle);
    return false;
}

/* Returns the bytes of the smallest cache of a type; 0 when there is none.
 *   machine  Each of its processors gets the number of its cache; NULL: the numbers are not needed. */
static uint64_t find_cache(const library *hwloc, hwloc_topology_t topology, hwloc_obj_type_t type, os_machine *machine)
{
    int depth = hwloc->hwloc_get_type_depth(topology, type);
    unsigned count = depth < 0 ? 0 : hwloc->hwloc_get_nbobjs_by_depth(topology, depth);
    uint64_t least = 0;

    for (unsigned i = 0; i < count; i++) {
        hwloc_obj_t cache = hwloc->hwloc_get_obj_by_depth(topology, depth, i);
        if (least == 0 || cache->attr->cache.size < least)
            least = cache->attr->cache.size;
        for (uint32_t j = 0; machine && j < machine->count; j++)
            if (hwloc->hwloc_bitmap_isset(cache->cpuset, machine->cpus[j].number))
                machine->cpus[j].cache = (uint32_t)hwloc->hwloc_bitmap_first(cache->cpuset);
    }
    return least;
}

static void find_shared_caches(const library *hwloc, hwloc_topology_t topology, os_machine *machine)
{
    hwloc_obj_type_t type = HWLOC_OBJ_L5CACHE;

    while (type > HWLOC_OBJ_L1CACHE && !(machine->cache = find_cache(hwloc, topology, type, machine)))
        type--;
    if (type > HWLOC_OBJ_L1CACHE)
        machine->core_cache = find_cache(hwloc, topology, type - 1, NULL);
}

static void find_memory_nodes(const library *hwloc, hwloc_topology_t topology, os_machine *machine)
{
    int depth = hwloc->hwloc_get_type_depth(topology, HWLOC_OBJ_NUMANODE);
    unsigned count = hwloc->hwloc_get_nbobjs_by_depth(topology, depth);

    for (unsigned i = 0; i < count; i++) {
        hwloc_obj_t node = hwloc->hwloc_get_obj_by_depth(topology, depth, i);
        for (uint32_t j = 0; j < machine->count; j++)
            if (hwloc->hwloc_bitmap_isset(node->cpuset, machine->cpus[j].number))
                machine->cpus[j].node = node->os_index;
    }
}

void topology_complete(os_machine *machine)
{
    hwloc_topology_t topology;
    library hwloc;

    if (!load_hwloc(&hwloc))
        return;
    if (hwloc.hwloc_topology_init(&topology) == 0) {
        if (hwloc.hwloc_topology_load(topology) == 0) {
            find_shared_caches(&hwloc, topology, machine);
            find_memory_nodes(&hwloc, topology, machine);
        }
        hwloc.hwloc_topology_destroy(topology);
    }
    uv_dlclose(&hwloc.handle);
}
