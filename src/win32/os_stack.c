/* The recorded stack of a child: walked in the child, where the system knows how, and told by the parent. */
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winternl.h>

/* ---- In the child ----------------------------------------------------------------------------------------------- */

/* NtQueryVirtualMemory and its MemoryMappedFilenameInformation, which GetMappedFileNameW comes to. */
enum { MAPPED_NAME = 2 };
NTSTATUS NTAPI NtQueryVirtualMemory(HANDLE process, void *address, int what, void *data, SIZE_T size, SIZE_T *needed);

static void take_path(record_module *module)
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

/* The system has put the base where the module is into the header, if that is not where it was linked to be. */
static void take_headers(record_module *module)
{
    const uint8_t *image = (const uint8_t *)(uintptr_t)module->base;
    const IMAGE_NT_HEADERS *headers = (const void *)(image + ((const IMAGE_DOS_HEADER *)image)->e_lfanew);

    module->size = headers->OptionalHeader.SizeOfImage;
    module->timestamp = headers->FileHeader.TimeDateStamp;
    module->checksum = headers->OptionalHeader.CheckSum;
    module->preferred_base = headers->OptionalHeader.ImageBase;
}

/* The number of the module that code is in; NO_MODULE where it is in none, or there is no room. */
static uint32_t take_module(os_record *record, uint64_t address)
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
    take_headers(module);
    take_path(module);
    return record->module_count++;
}

/* A function without unwinding data has called nobody and moved nothing: "x64 exception handling". */
static void step(CONTEXT *context)
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

/* Where the stack that is at that address ends; 0: there is none. */
static uint64_t stack_end(uint64_t address)
{
    MEMORY_BASIC_INFORMATION region;

    if (!VirtualQuery((const void *)(uintptr_t)address, &region, sizeof region) || region.State != MEM_COMMIT ||
        region.Protect != PAGE_READWRITE)
        return 0;
    return (uintptr_t)region.BaseAddress + region.RegionSize;
}

/* What is found is in the record at once, should the stack be so broken that walking it fails. */
void stack_capture(os_record *record, const CONTEXT *context)
{
    uint64_t end = stack_end(context->Rsp), before = 0;
    CONTEXT at = *context;

    record->frame_count = record->module_count = 0;
    while (record->frame_count < OS_FRAMES_MAX && (at.Rip != 0 || record->frame_count == 0)) {
        record->module_of[record->frame_count] = take_module(record, at.Rip);
        record->frames[record->frame_count++] = at.Rip;
        if (at.Rsp <= before || at.Rsp % sizeof(DWORD64) != 0 || at.Rsp + sizeof(DWORD64) > end)
            break;
        before = at.Rsp;
        step(&at);
    }
}

/* ---- In the parent ---------------------------------------------------------------------------------------------- */

/* What is looked at is a copy, so that it stays as it was checked. */
typedef struct stack {
    os_record record;
    struct {
        bool seen, there;
        uint64_t linked_base;
        char path[1024];
        char build_id[2 * 20 + 1];
    } files[RECORD_MODULES];
} stack;

/* \Device\HarddiskVolume3\... begins with what a drive stands for: "Obtaining a file name from a file handle". */
static bool to_drive(const wchar_t *path, wchar_t *out, size_t size)
{
    wchar_t drive[] = L"A:", device[MAX_PATH];

    for (; drive[0] <= L'Z'; drive[0]++) {
        size_t length;
        if (!QueryDosDeviceW(drive, device, MAX_PATH))
            continue;
        length = wcslen(device);
        if (_wcsnicmp(path, device, length) == 0 && path[length] == L'\\')
            return swprintf(out, size, L"%ls%ls", drive, path + length) > 0;
    }
    return false;
}

/* The system's own name of a file as programs say it. */
static bool to_dos(const wchar_t *path, wchar_t *out, size_t size)
{
    if (wcsncmp(path, L"\\??\\", 4) == 0) /* Wine's way */
        return swprintf(out, size, L"%ls", path + 4) > 0;
    if (path[0] == L'\\' && path[1] != L'\\')
        return to_drive(path, out, size);
    return *path && swprintf(out, size, L"%ls", path) > 0;
}

static bool is_same(const module_file *file, const record_module *module)
{
    return file->headers.FileHeader.TimeDateStamp == module->timestamp &&
           file->headers.OptionalHeader.CheckSum == module->checksum &&
           file->headers.OptionalHeader.SizeOfImage == module->size;
}

/* The file at the path may have been replaced. */
static void look_for_file(stack *self, uint32_t number)
{
    record_module *module = &self->record.modules[number];
    wchar_t path[RECORD_PATH + 8];
    module_file file;

    if (self->files[number].seen)
        return;
    self->files[number].seen = true;
    module->path[RECORD_PATH - 1] = 0;
    if (!to_dos(module->path, path, RECORD_PATH + 8) ||
        WideCharToMultiByte(CP_UTF8, 0, path, -1, self->files[number].path, sizeof self->files[number].path - 16, NULL,
                            NULL) == 0) {
        *self->files[number].path = 0;
        return;
    }
    if (module_open(&file, path)) {
        self->files[number].there = is_same(&file, module);
        self->files[number].linked_base = file.headers.OptionalHeader.ImageBase;
        if (self->files[number].there)
            module_build_id(&file, self->files[number].build_id, sizeof self->files[number].build_id);
        CloseHandle(file.handle);
    }
    if (!self->files[number].there)
        strcat(self->files[number].path, " (deleted)");
}

/* The first is where the fault was, the others are where calls return to. */
static void describe(stack *self, uint32_t number, os_frame *frame)
{
    uint32_t module = self->record.module_of[number];
    uint64_t pc = self->record.frames[number] - (number > 0);
    uint64_t base;

    *frame = (os_frame){.address = pc, .offset = pc};
    if (module >= self->record.module_count)
        return;
    base = self->record.modules[module].base;
    if (pc < base || pc - base >= self->record.modules[module].size)
        return;
    look_for_file(self, module);
    frame->offset =
        pc - base +
        (self->files[module].there ? self->files[module].linked_base : self->record.modules[module].preferred_base);
    strcpy(frame->module, self->files[module].path);
    strcpy(frame->build_id, self->files[module].build_id);
}

size_t os_record_frames(const os_record *record, os_frame *frames, size_t room)
{
    stack *self = room > 0 ? calloc(1, sizeof *self) : NULL;
    uint32_t count = 0;

    if (!self)
        return 0;
    memcpy(&self->record, record, sizeof self->record);
    if (self->record.module_count > RECORD_MODULES)
        self->record.module_count = RECORD_MODULES;
    while (count < self->record.frame_count && count < OS_FRAMES_MAX && count < room) {
        describe(self, count, &frames[count]);
        count++;
    }
    free(self);
    return count;
}
