/* Describes the recorded stack of a child, with the help of the files of its modules. */
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The unwinding of one record, of which it has a copy, so that the child cannot change what has been checked. */
typedef struct stack {
    os_record record;
    struct {
        bool seen, there;
        uint64_t linked_base;
        char path[1024];
        char build_id[2 * 20 + 1];
    } files[RECORD_MODULES];
} stack;

/* Replaces the device at the start of a path such as \Device\HarddiskVolume3\... by its drive: "Obtaining a file name
 * from a file handle". */
static bool path_with_drive(const wchar_t *path, wchar_t *out, size_t size)
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

/* Turns the system's internal path of a file into one that programs use. */
static bool dos_path(const wchar_t *path, wchar_t *out, size_t size)
{
    if (wcsncmp(path, L"\\??\\", 4) == 0) /* as Wine writes it */
        return swprintf(out, size, L"%ls", path + 4) > 0;
    if (path[0] == L'\\' && path[1] != L'\\')
        return path_with_drive(path, out, size);
    return *path && swprintf(out, size, L"%ls", path) > 0;
}

static bool is_recorded_file(const module_file *file, const record_module *module)
{
    return file->headers.FileHeader.TimeDateStamp == module->timestamp &&
           file->headers.OptionalHeader.CheckSum == module->checksum &&
           file->headers.OptionalHeader.SizeOfImage == module->size;
}

/* Finds the file of a module; the file at the path may have been replaced. */
static void unwind_find_file(stack *self, uint32_t number)
{
    record_module *module = &self->record.modules[number];
    wchar_t path[RECORD_PATH + 8];
    module_file file;

    if (self->files[number].seen)
        return;
    self->files[number].seen = true;
    module->path[RECORD_PATH - 1] = 0;
    if (!dos_path(module->path, path, RECORD_PATH + 8) ||
        WideCharToMultiByte(CP_UTF8, 0, path, -1, self->files[number].path, sizeof self->files[number].path - 16, NULL,
                            NULL) == 0) {
        *self->files[number].path = 0;
        return;
    }
    if (module_open(&file, path)) {
        self->files[number].there = is_recorded_file(&file, module);
        self->files[number].linked_base = file.headers.OptionalHeader.ImageBase;
        if (self->files[number].there)
            module_build_id(&file, self->files[number].build_id, sizeof self->files[number].build_id);
        CloseHandle(file.handle);
    }
    if (!self->files[number].there)
        strcat(self->files[number].path, " (deleted)");
}

/* Describes a frame.  The first is where the fault was; the others are addresses that calls return to, so 1 is
 * subtracted. */
static void unwind_describe(stack *self, uint32_t number, os_frame *frame)
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
    unwind_find_file(self, module);
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
        unwind_describe(self, count, &frames[count]);
        count++;
    }
    free(self);
    return count;
}
