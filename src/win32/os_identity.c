/* Facts about this process, its threads, and other processes. */
#include "os_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- Facts ----------------------------------------------------------------------------------- */

/* Finds the build id that the linker has written for debuggers: "RSDS", 16 bytes, and a number. */
static const uint8_t *image_build_id(const uint8_t *image, const IMAGE_NT_HEADERS *headers)
{
    const IMAGE_DATA_DIRECTORY *directory = &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_DEBUG];
    const IMAGE_DEBUG_DIRECTORY *entries = (const void *)(image + directory->VirtualAddress);

    for (size_t i = 0; i < directory->Size / sizeof *entries; i++) {
        const uint8_t *data = image + entries[i].AddressOfRawData;
        if (entries[i].Type == IMAGE_DEBUG_TYPE_CODEVIEW && entries[i].SizeOfData >= 4 + OS_BUILD_ID_SIZE &&
            memcmp(data, "RSDS", 4) == 0)
            return data + 4;
    }
    return NULL;
}

static void add_build(uint8_t build[OS_BUILD_ID_SIZE], const void *module)
{
    const uint8_t *image = module;
    const IMAGE_NT_HEADERS *headers = (const void *)(image + ((const IMAGE_DOS_HEADER *)image)->e_lfanew);
    const DWORD facts[OS_BUILD_ID_SIZE / sizeof(DWORD)] = {
        headers->FileHeader.TimeDateStamp, headers->OptionalHeader.CheckSum, headers->OptionalHeader.SizeOfImage,
        headers->OptionalHeader.AddressOfEntryPoint, headers->OptionalHeader.SizeOfInitializedData};
    const uint8_t *linked = image_build_id(image, headers);
    const uint8_t *id = linked ? linked : (const void *)facts;

    for (size_t i = 0; i < OS_BUILD_ID_SIZE; i++)
        build[i] ^= id[i];
}

void os_self_build(uint8_t build[OS_BUILD_ID_SIZE])
{
    const void *program = GetModuleHandleW(NULL);

    memset(build, 0, OS_BUILD_ID_SIZE);
    add_build(build, program);
    if (program != &__ImageBase)
        add_build(build, &__ImageBase);
}

bool os_self_locate(uintptr_t code, char *path, size_t size, uint64_t *offset)
{
    enum { LONGEST = 32768 };
    static const DWORD how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    HMODULE module;
    wchar_t *wide = malloc(LONGEST * sizeof *wide);
    bool found = wide && GetModuleHandleExW(how, (LPCWSTR)code, &module) &&
                 GetModuleFileNameW(module, wide, LONGEST) > 0 &&
                 WideCharToMultiByte(CP_UTF8, 0, wide, -1, path, (int)size, NULL, NULL) > 0;

    free(wide);
    if (found)
        *offset = code - (uintptr_t)module;
    return found;
}

bool os_self_is_privileged(void)
{
    return false;
}

void os_self_show(const char *task)
{
    (void)task;
}

uint32_t os_self_generation(void)
{
    return 0;
}

const volatile uint32_t *os_self_generation_at(void)
{
    static const uint32_t generation;

    return &generation;
}

int os_self_threads(void)
{
    return 0;
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { THREAD_STAMP_BITS = OS_THREAD_BITS - 32, ID_BITS = 24, STAMP_BITS = OS_PROCESS_BITS - ID_BITS };

/* Reduces a start time to some bits.  It leaves out the lowest 16, which differ only between times less than 7 ms
 * apart. */
static uint64_t stamp_from(const FILETIME *time, int bits)
{
    uint64_t start = (uint64_t)time->dwHighDateTime << 32 | time->dwLowDateTime;

    return start >> 16 & ((UINT64_C(1) << bits) - 1);
}

static uint64_t stamp_of_thread(HANDLE thread)
{
    FILETIME created, unused;

    return GetThreadTimes(thread, &created, &unused, &unused, &unused) ? stamp_from(&created, THREAD_STAMP_BITS) : 0;
}

static _Thread_local uint64_t own_thread;

uint64_t os_self_thread(void)
{
    if (!own_thread)
        own_thread = stamp_of_thread(GetCurrentThread()) << 32 | GetCurrentThreadId();
    return own_thread;
}

/* A thread about which nothing can be found out counts as living. */
bool os_thread_lives(uint64_t thread)
{
    HANDLE handle = OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)thread);
    bool lives;

    if (!handle)
        return GetLastError() != ERROR_INVALID_PARAMETER;
    lives = WaitForSingleObject(handle, 0) == WAIT_TIMEOUT && stamp_of_thread(handle) == thread >> 32;
    CloseHandle(handle);
    return lives;
}

static uint64_t stamp_of_process(HANDLE process)
{
    FILETIME created, unused;

    return GetProcessTimes(process, &created, &unused, &unused, &unused) ? stamp_from(&created, STAMP_BITS) : 0;
}

uint64_t os_self_process(void)
{
    return stamp_of_process(GetCurrentProcess()) << ID_BITS | GetCurrentProcessId() / 4;
}

bool os_process_lives(uint64_t process)
{
    DWORD id = 4 * (DWORD)(process & ((1U << ID_BITS) - 1));
    HANDLE handle = OpenProcess(SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION, FALSE, id);
    bool lives;

    if (!handle)
        return GetLastError() != ERROR_INVALID_PARAMETER;
    lives = WaitForSingleObject(handle, 0) == WAIT_TIMEOUT && stamp_of_process(handle) == process >> ID_BITS;
    CloseHandle(handle);
    return lives;
}
