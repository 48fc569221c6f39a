/* Records of a stack on Windows. */
#include "record.h"

#include "unit.h"
#include "win32/os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

os_record *record_new(void)
{
    os_record *record = calloc(1, sizeof *record);

    assert_non_null(record);
    return record;
}

size_t record_size(void)
{
    return sizeof(os_record);
}

void record_take(void *arg)
{
    os_record *record = arg;
    CONTEXT context;

    RtlCaptureContext(&context);
    record_stack(record, &context);
    atomic_store(&record->head.state, 2);
}

void record_truncate(os_record *record)
{
    record->frame_count = record->frame_count > 2 ? 2 : record->frame_count;
}

void record_smash(os_record *record)
{
    for (uint32_t i = 1; i < OS_FRAMES_MAX; i++) {
        record->frames[i] = 0x1234 * (uint64_t)i;
        record->module_of[i] = NO_MODULE;
    }
}

void record_replace(os_record *record)
{
    for (uint32_t i = 0; i < record->module_count; i++)
        record->modules[i].timestamp++;
}

/* ---- Modules that are not what they seem ----------------------------------------------------- */

/* Of the file's headers, as far as there are any. */
static void copy_facts(record_module *module, const wchar_t *path)
{
    IMAGE_DOS_HEADER first;
    IMAGE_NT_HEADERS headers;
    FILE *file = _wfopen(path, L"rb");

    if (!file)
        return;
    if (fread(&first, sizeof first, 1, file) == 1 && fseek(file, first.e_lfanew, SEEK_SET) == 0 &&
        fread(&headers, sizeof headers, 1, file) == 1) {
        module->timestamp = headers.FileHeader.TimeDateStamp;
        module->checksum = headers.OptionalHeader.CheckSum;
        module->size = headers.OptionalHeader.SizeOfImage;
        module->preferred_base = headers.OptionalHeader.ImageBase;
    }
    fclose(file);
}

void record_point_to(os_record *record, const char *path)
{
    record_module *module = &record->modules[0];
    bool is_plain = path[0] && path[1] == ':';

    memset(record, 0, sizeof *record);
    module->base = 0x7f0000000000;
    module->size = 0x100000;
    MultiByteToWideChar(CP_UTF8, 0, path, -1, module->path, RECORD_PATH);
    for (wchar_t *at = module->path; *at; at++)
        if (*at == L'/')
            *at = L'\\';
    if (is_plain)
        copy_facts(module, module->path);
    if (module->size < 0x100)
        module->size = 0x100000;
    record->module_count = record->frame_count = 1;
    record->frames[0] = module->base + 0x40;
    atomic_store(&record->head.state, OS_RECORD_WHOLE);
}

static void spoil_sections(IMAGE_NT_HEADERS *headers, int number, char *bytes, size_t size)
{
    IMAGE_SECTION_HEADER *sections = IMAGE_FIRST_SECTION(headers);

    for (int i = 0; i < headers->FileHeader.NumberOfSections; i++) {
        if (number == 0)
            sections[i].PointerToRawData = UINT32_MAX;
        if (number == 1)
            sections[i].SizeOfRawData = UINT32_MAX;
        if (number == 2)
            sections[i].Misc.VirtualSize = sections[i].VirtualAddress = UINT32_MAX;
        if (number == 3 && i > 0 && sections[i].PointerToRawData < size &&
            sections[i].SizeOfRawData <= size - sections[i].PointerToRawData)
            memset(bytes + sections[i].PointerToRawData, 0xFF, sections[i].SizeOfRawData);
    }
}

bool record_spoil(char *bytes, size_t size, int number)
{
    IMAGE_DOS_HEADER *first = (void *)bytes;
    IMAGE_NT_HEADERS *headers = (void *)(bytes + first->e_lfanew);

    spoil_sections(headers, number, bytes, size);
    if (number == 4)
        headers->FileHeader.NumberOfSections = UINT16_MAX;
    if (number == 5)
        headers->FileHeader.SizeOfOptionalHeader = UINT16_MAX;
    if (number == 6)
        headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_DEBUG] = (IMAGE_DATA_DIRECTORY){1, UINT32_MAX};
    if (number == 7)
        headers->FileHeader.NumberOfSymbols = UINT32_MAX / 20;
    if (number == 8)
        headers->FileHeader.PointerToSymbolTable = UINT32_MAX;
    if (number == 9)
        first->e_lfanew = INT32_MAX;
    return number <= 9;
}

bool record_make_path(char *path, size_t room, const char *scratch, int number, const char *program, size_t size)
{
    static const char *const paths[] = {
        "\\\\.\\pipe\\crossfork-test",    "\\\\192.0.2.1\\share\\module.dll", "\\\\.\\PhysicalDrive0", "CON", "C:\\",
        "\\\\?\\GLOBALROOT\\Device\\Null"};
    enum { PATHS = sizeof paths / sizeof *paths };

    (void)scratch, (void)program, (void)size;
    snprintf(path, room, "%s", number < PATHS ? paths[number] : "");
    return number < PATHS;
}

void record_drop_path(const char *path, const char *scratch)
{
    (void)path, (void)scratch;
}
