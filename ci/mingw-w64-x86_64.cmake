# CMake toolchain: builds for 64-bit Windows with Debian's MinGW-w64; tests run under Wine.
#   XF_WINDOWS_SYSROOT  where ci/windows-sysroot put libuv, cmocka and xxhash.h; pkg-config looks there and nowhere else.
#   XF_WINDOWS_CC       the compiler: Debian's MinGW-w64, or clang.
#   XF_WINDOWS_CRT      the C library: msvcrt, the compiler's own, or ucrt, which Windows itself has had since 10.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_VERSION 10.0)
set(CMAKE_SYSTEM_PROCESSOR x86_64)

# The win32 flavour of the compiler needs no libwinpthread.
set(XF_WINDOWS_CC x86_64-w64-mingw32-gcc-win32 CACHE STRING "the C compiler")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES XF_WINDOWS_CC)
set(CMAKE_C_COMPILER ${XF_WINDOWS_CC})
set(CMAKE_C_COMPILER_TARGET x86_64-w64-windows-gnu) # is for clang
find_program(XF_WINDOWS_CXX x86_64-w64-mingw32-g++-win32) # only tests want it
set(CMAKE_CXX_COMPILER ${XF_WINDOWS_CXX})
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)

# Debian's compiler knows msvcrt only, so a copy of its link rules names the other one.
set(XF_WINDOWS_CRT msvcrt CACHE STRING "the C library: msvcrt or ucrt")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES XF_WINDOWS_CRT)
if(XF_WINDOWS_CRT STREQUAL ucrt)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -dumpspecs OUTPUT_VARIABLE specs COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "-lmsvcrt" "-lucrt" specs "${specs}")
  file(WRITE "${CMAKE_BINARY_DIR}/ucrt.specs" "${specs}")
  set(CMAKE_C_FLAGS_INIT "-D_UCRT -specs=${CMAKE_BINARY_DIR}/ucrt.specs")
  set(CMAKE_CXX_FLAGS_INIT "${CMAKE_C_FLAGS_INIT}")
endif()

# clang takes no version of gcc for one that has the flavour in its name (12-win32), and knows neither its libraries nor,
# then, its linker.
if(XF_WINDOWS_CC MATCHES "clang")
  execute_process(COMMAND x86_64-w64-mingw32-gcc-win32 -print-libgcc-file-name OUTPUT_VARIABLE libgcc
      OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  cmake_path(GET libgcc PARENT_PATH libgcc)
  set(link_options "-B/usr/x86_64-w64-mingw32/bin -B${libgcc} -L${libgcc}") # for g++ it is nothing new
endif()

# Nothing but the .exe has to be found at run time.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static ${link_options}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-static-libgcc ${link_options}")

set(XF_WINDOWS_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../build/windows-sysroot" CACHE PATH "libraries built for Windows")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES XF_WINDOWS_SYSROOT)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32 "${XF_WINDOWS_SYSROOT}")
foreach(prefix IN LISTS CMAKE_PREFIX_PATH crossfork_ROOT) # what was built for Windows is found where the user says
  list(APPEND CMAKE_FIND_ROOT_PATH "${prefix}")
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} "${XF_WINDOWS_SYSROOT}/lib/pkgconfig")
set(ENV{PKG_CONFIG_PATH} "")

set(CMAKE_CROSSCOMPILING_EMULATOR "${CMAKE_CURRENT_LIST_DIR}/wine-run")
