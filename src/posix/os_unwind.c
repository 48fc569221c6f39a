/* Unwinds the recorded stack of a child, with the help of the files of its modules. */
#include "os_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(XF_UNWIND)
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <uv.h>
#endif

enum { MODULES_MAX = 256 };

/* Code of a file that was mapped into the child. */
typedef struct module {
    uint64_t start, end, offset; /* offset: where the mapping begins in the file */
    unsigned major, minor;
    uint64_t inode;
    char path[1024]; /* as recorded; later as it is reported */
    char build_id[2 * 20 + 1];
    bool seen;                         /* whether the file has been looked for */
    bool there;                        /* whether it was found, and is the one that was mapped */
    uint64_t bias;                     /* an address in the child minus the address as linked */
    uint64_t linked_start, linked_end; /* of the whole file */
} module;

/* The unwinding of one record, of which it has a copy, so that the child cannot change what has been checked. */
typedef struct stack {
    os_record record;
    size_t module_count;
    module modules[MODULES_MAX];
    uint64_t pcs[OS_FRAMES_MAX]; /* addresses within the calls, not of the instructions after them */
    size_t count, room;
} stack;

/* ---- The record's registers and memory ------------------------------------------------------- */

/* The registers that unwinding begins with. */
typedef struct registers {
    uint64_t pc, sp;
    uint64_t fp; /* 0: not known */
    uint64_t lr; /* the return address of a function that was just called; 0: it is on the stack */
} registers;

#if defined(__x86_64__)
enum { R8, R9, R10, R11, R12, R13, R14, R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, REGISTERS };

#if defined(XF_UNWIND)
/* The registers in DWARF's order: System V ABI, AMD64 supplement, figure 3.36. */
enum { DWARF_SP = 7 };
static const uint8_t dwarf_order[] = {RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP, R8,
                                      R9,  R10, R11, R12, R13, R14, R15, RIP};
#endif

static registers recorded_registers(const os_record *record)
{
    return (registers){record->head.registers[RIP], record->head.registers[RSP], record->head.registers[RBP], 0};
}
#elif defined(__aarch64__)
enum { FP = 29, LR, SP, PC, REGISTERS };

#if defined(XF_UNWIND)
enum { DWARF_SP = 31 };
static const uint8_t dwarf_order[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                      16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, LR, SP};
#endif

static registers recorded_registers(const os_record *record)
{
    return (registers){record->head.registers[PC], record->head.registers[SP], record->head.registers[FP],
                       record->head.registers[LR]};
}
#else
#undef XF_UNWIND
enum { REGISTERS = 2 };

static registers recorded_registers(const os_record *record)
{
    size_t room = sizeof record->head.registers / sizeof *record->head.registers;
    size_t count = record->head.register_count < room ? record->head.register_count : room;

    if (count < REGISTERS)
        return (registers){0, 0, 0, 0};
    return (registers){record->head.registers[count - 1], record->head.registers[count - 2], 0, 0};
}
#endif

/* Reads a word from the copy of the stack. */
static bool read_word(const os_record *record, uint64_t address, uint64_t *value)
{
    uint64_t at = address - record->stack_at;
    uintptr_t word;

    if (record->stack_size < sizeof word || at > record->stack_size - sizeof word)
        return false;
    memcpy(&word, record->stack + at, sizeof word);
    *value = word;
    return true;
}

/* ---- Modules --------------------------------------------------------------------------------- */

/* Parses one line of /proc/PID/maps: proc(5); false for a mapping without code, which cannot be in a stack. */
static bool parse_mapping(const char *line, module *mapping)
{
    char rights[5];
    int path = 0;

    memset(mapping, 0, sizeof *mapping);
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &mapping->start, &mapping->end,
               rights, &mapping->offset, &mapping->major, &mapping->minor, &mapping->inode, &path) < 7)
        return false;
    if (path == 0 || line[path] != '/' || strlen(line + path) >= sizeof mapping->path || !strchr(rights, 'x'))
        return false;
    strcpy(mapping->path, line + path);
    return mapping->start < mapping->end;
}

static void list_modules(stack *self)
{
    char *next = self->record.maps;

    for (char *line = strsep(&next, "\n"); line && self->module_count < MODULES_MAX; line = strsep(&next, "\n"))
        if (parse_mapping(line, &self->modules[self->module_count]))
            self->module_count++;
}

/* The module that has the address; NULL when there is no code. */
static module *find_module(stack *self, uint64_t address)
{
    for (size_t i = 0; i < self->module_count; i++)
        if (address >= self->modules[i].start && address < self->modules[i].end)
            return &self->modules[i];
    return NULL;
}

/* Whether the file is the one that was mapped.  On some file systems (overlayfs, btrfs) the device and inode in maps
 * are not those that stat reports.  So this maps the file and asks the kernel for its line in maps. */
static bool was_mapped(int fd, const module *module)
{
    void *page = mmap(NULL, OS_PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    FILE *maps = fopen("/proc/self/maps", "re");
    uint64_t start, inode;
    unsigned major, minor;
    bool same = false;
    char line[256]; /* a line that is cut off here does not parse, or does not begin where the page does */

    while (page != MAP_FAILED && maps && !same && fgets(line, sizeof line, maps))
        same = sscanf(line, "%" SCNx64 "-%*x %*s %*x %x:%x %" SCNu64, &start, &major, &minor, &inode) == 4 &&
               start == (uintptr_t)page && major == module->major && minor == module->minor && inode == module->inode;
    if (maps)
        fclose(maps);
    if (page != MAP_FAILED)
        munmap(page, OS_PAGE);
    return same;
}

static bool open_as_mapped(module_file *file, const char *path, const module *module)
{
    if (!module_open(file, path))
        return false;
    if (was_mapped(file->fd, module))
        return true;
    close(file->fd);
    return false;
}

/* Finds the file of a module.  The file at the path may have been replaced; the file of the running program can still
 * be opened then. */
static void unwind_find_file(module *module)
{
    static const char own[] = "/proc/self/exe", gone[] = " (deleted)"; /* as the kernel marks it */
    size_t length = strlen(module->path);
    module_file file;
    uint64_t linked;

    if (module->seen)
        return;
    module->seen = true;
    if (open_as_mapped(&file, module->path, module)) {
        module->there = true;
    } else if (open_as_mapped(&file, own, module)) {
        module->there = true;
        strcpy(module->path, own);
    } else if ((length < sizeof gone || strcmp(module->path + length + 1 - sizeof gone, gone) != 0) &&
               length + sizeof gone <= sizeof module->path) {
        strcat(module->path, gone);
    }
    if (!module->there)
        return;
    module->there =
        module_linked(&file, module->offset, &linked) && module_span(&file, &module->linked_start, &module->linked_end);
    module->bias = module->start - linked;
    module_build_id(&file, module->build_id, sizeof module->build_id);
    close(file.fd);
}

/* ---- By frame pointers ----------------------------------------------------------------------- */

/* Follows frame pointers up the stack and collects the return addresses.  A sound chain always leads up the stack, and
 * from code to code. */
static void walk_frame_pointers(stack *self, uint64_t fp)
{
    uint64_t next, pc;

    while (self->count < self->room && read_word(&self->record, fp, &next) &&
           read_word(&self->record, fp + sizeof(void *), &pc) && find_module(self, pc - 1)) {
        self->pcs[self->count++] = pc - 1;
        if (next <= fp)
            break;
        fp = next;
    }
}

/* ---- By call frame information --------------------------------------------------------------- */

#if defined(XF_UNWIND)
/* libdw brings five more libraries along, and every program that uses crossfork would pay for loading them.  So it is
 * not linked, but loaded when it is needed. */
#define LIBDW_FUNCTIONS(X)                                                                                             \
    X(elf_version)                                                                                                     \
    X(elf_begin)                                                                                                       \
    X(elf_end)                                                                                                         \
    X(dwfl_begin)                                                                                                      \
    X(dwfl_end)                                                                                                        \
    X(dwfl_report_begin)                                                                                               \
    X(dwfl_report_module)                                                                                              \
    X(dwfl_report_end)                                                                                                 \
    X(dwfl_module_info)                                                                                                \
    X(dwfl_attach_state)                                                                                               \
    X(dwfl_getthread_frames)                                                                                           \
    X(dwfl_frame_pc)                                                                                                   \
    X(dwfl_thread_state_registers)                                                                                     \
    X(dwfl_thread_state_register_pc)

static struct {
    bool loaded;
    uv_lib_t library;
#define LIBDW_MEMBER(name) __typeof__(name) *name;
    LIBDW_FUNCTIONS(LIBDW_MEMBER)
#undef LIBDW_MEMBER
} dw;

/* Loads libdw.  The name says the version of the interface that <elfutils/libdwfl.h> declares; libelf comes with the
 * library. */
static void load_libdw(void)
{
    bool all = uv_dlopen("libdw.so.1", &dw.library) == 0;

#define LIBDW_LOAD(name) all = all && uv_dlsym(&dw.library, #name, (void **)&dw.name) == 0;
    LIBDW_FUNCTIONS(LIBDW_LOAD)
#undef LIBDW_LOAD
    dw.loaded = all && dw.elf_version(EV_CURRENT) != EV_NONE;
    if (!all)
        uv_dlclose(&dw.library);
}

static bool libdw_is_there(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load_libdw);
    return dw.loaded;
}

/* The argument of the callbacks. */
typedef struct unwinding {
    stack *stack;
    registers from;
} unwinding;

static int open_elf(Dwfl_Module *dwfl_module, void **data, const char *name, Dwarf_Addr start, char **path, Elf **elf)
{
    module *module = *data;

    (void)dwfl_module, (void)name, (void)start, (void)elf;
    *path = strdup(module->path);
    return *path ? open(*path, O_RDONLY | O_CLOEXEC) : -1;
}

/* Finds no files with debugging data: call frame information is in the modules themselves, and libdw would ask servers
 * in the network for the rest. */
static int open_no_debug_data(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr start, const char *path,
                              const char *link, GElf_Word check, char **found)
{
    (void)module, (void)data, (void)name, (void)start, (void)path, (void)link, (void)check, (void)found;
    return -1;
}

static const Dwfl_Callbacks files = {.find_elf = open_elf, .find_debuginfo = open_no_debug_data};

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    pid_t thread = *thread_arg ? 0 : getpid(); /* there is one thread, and libdw uses its number for nothing */

    (void)dwfl;
    *thread_arg = arg;
    return thread;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *value, void *arg)
{
    const unwinding *unwinding = arg;

    (void)dwfl;
    return read_word(&unwinding->stack->record, address, value);
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
    const unwinding *unwinding = arg;
    Dwarf_Word values[sizeof dwarf_order];

    for (size_t i = 0; i < sizeof dwarf_order; i++)
        values[i] = unwinding->stack->record.head.registers[dwarf_order[i]];
    values[DWARF_SP] = unwinding->from.sp;
    dw.dwfl_thread_state_register_pc(thread, unwinding->from.pc);
    return dw.dwfl_thread_state_registers(thread, 0, sizeof dwarf_order, values);
}

static const Dwfl_Thread_Callbacks process = {
    .next_thread = next_thread, .memory_read = read_memory, .set_initial_registers = set_registers};

/* Keeps a frame.  The first frame is where unwinding began, which is recorded already. */
static int take_frame(Dwfl_Frame *frame, void *arg)
{
    unwinding *unwinding = arg;
    stack *stack = unwinding->stack;
    bool exact;
    Dwarf_Addr pc;

    if (!dw.dwfl_frame_pc(frame, &pc, &exact) || stack->count == stack->room)
        return DWARF_CB_ABORT;
    if (pc != unwinding->from.pc || !exact)
        stack->pcs[stack->count++] = pc - !exact;
    return DWARF_CB_OK;
}

/* Tells libdw where the modules are.  libdw wants the range of a whole file, from its first part on. */
static bool report_modules(stack *self, Dwfl *dwfl)
{
    dw.dwfl_report_begin(dwfl);
    for (size_t i = 0; i < self->module_count; i++) {
        module *module = &self->modules[i];
        Dwfl_Module *reported;
        void **data;
        unwind_find_file(module);
        if (!module->there)
            continue;
        reported = dw.dwfl_report_module(dwfl, module->path, module->bias + module->linked_start,
                                         module->bias + module->linked_end);
        if (!reported)
            return false;
        dw.dwfl_module_info(reported, &data, NULL, NULL, NULL, NULL, NULL, NULL);
        *data = module;
    }
    return dw.dwfl_report_end(dwfl, NULL, NULL) == 0;
}

/* Unwinds with libdw.  libdw takes the kind of machine from this process's own program, whatever the modules say. */
static void walk_call_frames(stack *self, const registers *from)
{
    unwinding unwinding = {self, *from};
    int own;
    Elf *elf;
    Dwfl *dwfl;

    if (!libdw_is_there())
        return;
    own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    elf = dw.elf_begin(own, ELF_C_READ_MMAP, NULL); /* NULL when open() failed */
    dwfl = elf ? dw.dwfl_begin(&files) : NULL;
    if (dwfl && report_modules(self, dwfl) && dw.dwfl_attach_state(dwfl, elf, getpid(), &process, &unwinding))
        dw.dwfl_getthread_frames(dwfl, getpid(), take_frame, &unwinding);
    dw.dwfl_end(dwfl);
    dw.elf_end(elf);
    fd_close(&own);
}
#else
static void walk_call_frames(stack *self, const registers *from)
{
    (void)self, (void)from;
}
#endif

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Goes back to the caller when the program counter is not in code.  A call to such an address leaves only the address
 * that it returns to. */
static bool return_from_nowhere(stack *self, registers *from)
{
    uint64_t pc = from->lr;

    if (find_module(self, from->pc) || (pc == 0 && !read_word(&self->record, from->sp, &pc)) ||
        !find_module(self, pc - 1))
        return false;
    from->sp += from->lr == 0 ? sizeof(void *) : 0;
    from->pc = pc - 1;
    return true;
}

static void unwind_stack(stack *self)
{
    registers from = recorded_registers(&self->record);
    size_t first;

    self->pcs[self->count++] = from.pc;
    if (self->count < self->room && return_from_nowhere(self, &from))
        self->pcs[self->count++] = from.pc;
    first = self->count;
    walk_call_frames(self, &from);
    if (self->count == first)
        walk_frame_pointers(self, from.fp);
}

/* Describes a frame.  Where the module's file is not available, the offset in the mapping has to do: most modules are
 * linked so that it is the address as linked. */
static void unwind_describe(stack *self, uint64_t pc, os_frame *frame)
{
    module *module = find_module(self, pc);

    *frame = (os_frame){.address = pc, .offset = pc};
    if (!module)
        return;
    unwind_find_file(module);
    frame->offset = module->there ? pc - module->bias : pc - module->start + module->offset;
    strcpy(frame->module, module->path);
    strcpy(frame->build_id, module->build_id);
}

/* Takes a copy of the record, and limits its sizes to the room that there is. */
static stack *copy_record(const os_record *record)
{
    stack *self = malloc(sizeof *self);

    if (!self)
        return NULL;
    memcpy(&self->record, record, sizeof self->record);
    if (self->record.stack_size > sizeof self->record.stack)
        self->record.stack_size = sizeof self->record.stack;
    if (self->record.maps_size >= sizeof self->record.maps)
        self->record.maps_size = sizeof self->record.maps - 1;
    self->record.maps[self->record.maps_size] = 0;
    self->module_count = self->count = 0;
    return self;
}

size_t os_record_frames(const os_record *record, os_frame *frames, size_t room)
{
    stack *self = room > 0 ? copy_record(record) : NULL;
    size_t count = 0;

    if (!self)
        return 0;
    self->room = room < OS_FRAMES_MAX ? room : OS_FRAMES_MAX;
    if (self->record.head.register_count >= REGISTERS) {
        list_modules(self);
        unwind_stack(self);
    }
    for (; count < self->count; count++)
        unwind_describe(self, self->pcs[count], &frames[count]);
    free(self);
    return count;
}
