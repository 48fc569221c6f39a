/* Programs and shared libraries: PE files. */
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Files ----------------------------------------------------------------------------------- */

static bool read_at(HANDLE handle, void *data, size_t size, uint64_t offset)
{
    OVERLAPPED at = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
    DWORD count;

    return ReadFile(handle, data, (DWORD)size, &count, &at) && count == size;
}

static bool read_headers(module_file *file)
{
    IMAGE_DOS_HEADER first;

    return read_at(file->handle, &first, sizeof first, 0) && first.e_magic == IMAGE_DOS_SIGNATURE &&
           first.e_lfanew > 0 &&
           read_at(file->handle, &file->headers, sizeof file->headers, (uint64_t)first.e_lfanew) &&
           file->headers.Signature == IMAGE_NT_SIGNATURE &&
           file->headers.OptionalHeader.Magic == IMAGE_NT_OPTIONAL_HDR_MAGIC;
}

bool module_open(module_file *file, const wchar_t *path)
{
    file->handle = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                               OPEN_EXISTING, 0, NULL);
    if (file->handle == INVALID_HANDLE_VALUE)
        return false;
    if (GetFileType(file->handle) == FILE_TYPE_DISK && GetFileInformationByHandle(file->handle, &file->facts) &&
        read_headers(file))
        return true;
    CloseHandle(file->handle);
    return false;
}

/* ---- Build ids ------------------------------------------------------------------------------- */

static void print_bytes(const void *data, size_t count, char *text, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < count && 2 * i + 2 < size; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
}

/* Finds the position in the file of an address in memory, by the headers of the sections. */
static bool file_offset(const module_file *file, DWORD address, uint64_t *offset)
{
    const IMAGE_OPTIONAL_HEADER *optional = &file->headers.OptionalHeader;
    uint64_t at;
    IMAGE_DOS_HEADER first;
    IMAGE_SECTION_HEADER section;

    if (!read_at(file->handle, &first, sizeof first, 0))
        return false;
    at = (uint64_t)first.e_lfanew + offsetof(IMAGE_NT_HEADERS, OptionalHeader) +
         file->headers.FileHeader.SizeOfOptionalHeader;
    for (int i = 0; i < file->headers.FileHeader.NumberOfSections && at < optional->SizeOfHeaders; i++) {
        if (!read_at(file->handle, &section, sizeof section, at))
            return false;
        if (address >= section.VirtualAddress && address - section.VirtualAddress < section.SizeOfRawData) {
            *offset = (uint64_t)section.PointerToRawData + (address - section.VirtualAddress);
            return true;
        }
        at += sizeof section;
    }
    return false;
}

/* Reads the build id that the linker has written for debuggers: "RSDS", 16 bytes, and a number. */
static bool read_build_id(const module_file *file, uint8_t id[OS_BUILD_ID_SIZE])
{
    const IMAGE_DATA_DIRECTORY *directory = &file->headers.OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_DEBUG];
    IMAGE_DEBUG_DIRECTORY entry;
    uint8_t data[4 + OS_BUILD_ID_SIZE];
    uint64_t offset;

    if (directory->Size == 0 || !file_offset(file, directory->VirtualAddress, &offset))
        return false;
    for (size_t i = 0; i < directory->Size / sizeof entry && read_at(file->handle, &entry, sizeof entry, offset); i++) {
        if (entry.Type == IMAGE_DEBUG_TYPE_CODEVIEW && entry.SizeOfData >= sizeof data &&
            read_at(file->handle, data, sizeof data, entry.PointerToRawData) && memcmp(data, "RSDS", 4) == 0) {
            memcpy(id, data + 4, OS_BUILD_ID_SIZE);
            return true;
        }
        offset += sizeof entry;
    }
    return false;
}

void module_build_id(const module_file *file, char *text, size_t size)
{
    const IMAGE_NT_HEADERS *headers = &file->headers;
    const DWORD facts[OS_BUILD_ID_SIZE / sizeof(DWORD)] = {
        headers->FileHeader.TimeDateStamp, headers->OptionalHeader.CheckSum, headers->OptionalHeader.SizeOfImage,
        headers->OptionalHeader.AddressOfEntryPoint, headers->OptionalHeader.SizeOfInitializedData};
    uint8_t id[OS_BUILD_ID_SIZE];

    print_bytes(read_build_id(file, id) ? (const void *)id : facts, sizeof id, text, size);
}

/* ---- Code ------------------------------------------------------------------------------------ */

/* Converts a path to the system's code page, in which the C library's open takes it.  If that code page lacks some
 * letters of the path, the short name is taken. */
static bool narrow_path(const wchar_t *wide, char *path, size_t size)
{
    wchar_t brief[MAX_PATH];
    BOOL lost = FALSE;
    DWORD length;

    if (WideCharToMultiByte(CP_ACP, WC_NO_BEST_FIT_CHARS, wide, -1, path, (int)size, NULL, &lost) > 0 && !lost)
        return true;
    length = GetShortPathNameW(wide, brief, MAX_PATH);
    return length > 0 && length < MAX_PATH &&
           WideCharToMultiByte(CP_ACP, WC_NO_BEST_FIT_CHARS, brief, -1, path, (int)size, NULL, &lost) > 0 && !lost;
}

static bool read_location(const wchar_t *path, uint64_t offset, os_location *place)
{
    const IMAGE_OPTIONAL_HEADER *optional;
    module_file file;
    bool inside;

    if (!module_open(&file, path))
        return false;
    optional = &file.headers.OptionalHeader;
    inside = offset >= optional->ImageBase && offset - optional->ImageBase < optional->SizeOfImage;
    place->identity[0] = file.facts.dwVolumeSerialNumber;
    place->identity[1] = (uint64_t)file.facts.nFileIndexHigh << 32 | file.facts.nFileIndexLow;
    place->identity[2] =
        (uint64_t)file.facts.ftLastWriteTime.dwHighDateTime << 32 | file.facts.ftLastWriteTime.dwLowDateTime;
    place->identity[3] = (uint64_t)file.facts.nFileSizeHigh << 32 | file.facts.nFileSizeLow;
    place->address = (uintptr_t)offset;
    CloseHandle(file.handle);
    return inside;
}

bool os_module_locate(const char *module, uint64_t offset, os_location *place)
{
    wchar_t *wide;
    bool found;

    if (wide_text(module, &wide) < 0)
        return false;
    found = read_location(wide, offset, place) && narrow_path(wide, place->file, sizeof place->file);
    free(wide);
    return found;
}
