/* The differences between compilers and systems in the public headers: visibility, printf checks, start-up hooks. */
#ifndef CROSSFORK_EXPORT_H
#define CROSSFORK_EXPORT_H

#if defined(_WIN32) && defined(XF_SHARED)
#ifdef XF_BUILDING
#define XF_API __declspec(dllexport)
#else
#define XF_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define XF_API __attribute__((visibility("default")))
#else
#define XF_API
#endif

/* A parameter that not every function of its kind uses. */
#if defined(__GNUC__)
#define XF_MAYBE_UNUSED __attribute__((unused))
#else
#define XF_MAYBE_UNUSED
#endif

/* The format string is argument `text`; the arguments that it formats begin at `first`. */
#if defined(__MINGW32__) && !defined(__clang__)
#define XF_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#elif defined(__GNUC__)
#define XF_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define XF_PRINTF(text, first)
#endif

/* XF_BEFORE_MAIN(name) { ... }  defines a function that runs before main. */
#if defined(_MSC_VER)
#pragma section(".CRT$XCU", read)
#define XF_BEFORE_MAIN(name)                                                                                           \
    static void __cdecl name(void);                                                                                    \
    __declspec(allocate(".CRT$XCU")) static void(__cdecl * name##_hook)(void) = name;                                  \
    static void __cdecl name(void)
#else
#define XF_BEFORE_MAIN(name)                                                                                           \
    static void name(void) __attribute__((constructor));                                                               \
    static void name(void)
#endif

#endif
