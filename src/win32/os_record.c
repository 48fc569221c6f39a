/* The parts of a record: registers, and the stack as addresses in modules.
 *
 * This runs in an exception filter of a process that crashed (see os_crash.c), or while the main thread is
 * suspended. */
#include "os_private.h"

#include <string.h>
#include <winternl.h>

/* NtQueryVirtualMemory and its MemoryMappedFilenameInformation, on which GetMappedFileNameW is built. */
enum { MAPPED_NAME = 2 };
NTSTATUS NTAPI NtQueryVirtualMemory(HANDLE process, void *address, int what, void *data, SIZE_T size, SIZE_T *needed);

static void read_module_path(record_module *module)
{
    struct {
        UNICODE_STRING name;
        wchar_t letters[RECORD_PATH];
    } mapped;
    size_t length;

    if (NtQueryVirtualMemory(GetCurrentProcess(), (void *)(uintptr_t)module->base, MAPPED_NAME, &mapped, sizeof mapped,
                             NULL) < 0)
        return;
    length = mapped.name.Length / sizeof(wchar_t);
    if (length < RECORD_PATH)
        memcpy(module->path, mapped.name.Buffer, length * sizeof(wchar_t));
}

/* Reads the headers of a module.  If the module is not where it was linked to be, the system has written the actual
 * base into the header. */
static void read_module_headers(record_module *module)
{
    const uint8_t *image = (const uint8_t *)(uintptr_t)module->base;
    const IMAGE_NT_HEADERS *headers = (const void *)(image + ((const IMAGE_DOS_HEADER *)image)->e_lfanew);

    module->size = headers->OptionalHeader.SizeOfImage;
    module->timestamp = headers->FileHeader.TimeDateStamp;
    module->checksum = headers->OptionalHeader.CheckSum;
    module->preferred_base = headers->OptionalHeader.ImageBase;
}

/* The number of the module that has the code; NO_MODULE when none has it, or there is no room for another. */
static uint32_t find_or_add_module(os_record *record, uint64_t address)
{
    MEMORY_BASIC_INFORMATION region;
    record_module *module;
    uint64_t base;

    if (!VirtualQuery((const void *)(uintptr_t)address, &region, sizeof region) || region.Type != MEM_IMAGE)
        return NO_MODULE;
    base = (uintptr_t)region.AllocationBase;
    for (uint32_t i = 0; i < record->module_count; i++)
        if (record->modules[i].base == base)
            return i;
    if (record->module_count == RECORD_MODULES)
        return NO_MODULE;
    module = &record->modules[record->module_count];
    memset(module, 0, sizeof *module);
    module->base = base;
    read_module_headers(module);
    read_module_path(module);
    return record->module_count++;
}

/* Goes from a frame to its caller.  A function without unwinding data has called no other function and has not moved
 * the stack pointer: "x64 exception handling". */
void record_step(CONTEXT *context)
{
    DWORD64 base, frame;
    void *data;
    RUNTIME_FUNCTION *function = RtlLookupFunctionEntry(context->Rip, &base, NULL);

    if (function) {
        RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, context->Rip, function, context, &data, &frame, NULL);
    } else {
        context->Rip = *(const DWORD64 *)context->Rsp;
        context->Rsp += sizeof(DWORD64);
    }
}

/* The end of the stack that is at the address; 0 when there is none. */
static uint64_t stack_end(uint64_t address)
{
    MEMORY_BASIC_INFORMATION region;

    if (!VirtualQuery((const void *)(uintptr_t)address, &region, sizeof region) || region.State != MEM_COMMIT ||
        region.Protect != PAGE_READWRITE)
        return 0;
    return (uintptr_t)region.BaseAddress + region.RegionSize;
}

/* Adds each frame to the record at once, because the stack may be so broken that walking it faults. */
void record_stack(os_record *record, const CONTEXT *context)
{
    uint64_t end = stack_end(context->Rsp), before = 0;
    CONTEXT at = *context;

    record->frame_count = record->module_count = 0;
    while (record->frame_count < OS_FRAMES_MAX && (at.Rip != 0 || record->frame_count == 0)) {
        record->module_of[record->frame_count] = find_or_add_module(record, at.Rip);
        record->frames[record->frame_count++] = at.Rip;
        if (at.Rsp <= before || at.Rsp % sizeof(DWORD64) != 0 || at.Rsp + sizeof(DWORD64) > end)
            break;
        before = at.Rsp;
        record_step(&at);
    }
}

/* Copies the registers in the order of os.register_names, which is that of the context. */
void record_registers(os_record_head *head, const CONTEXT *context)
{
#if defined(__x86_64__) || defined(_M_X64)
    head->register_count = 18;
    memcpy(head->registers, &context->Rax, 17 * sizeof context->Rax);
    head->registers[17] = context->EFlags;
#else
    (void)context;
    head->register_count = 0;
#endif
}
