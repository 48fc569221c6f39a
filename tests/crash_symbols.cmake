# Goal: the code that runs after a crash of a child calls no function that may wait or allocate.
#
# Usage: cmake -D NM=... -D SYSTEM=posix|win32 -D OBJECTS=... -P crash_symbols.cmake
# Reads the undefined symbols of the object files of os_crash.c and os_record.c, and fails on one that is not in the list.

cmake_minimum_required(VERSION 3.25)

# POSIX: used functions that are async-signal-safe by POSIX.1-2017, 2.4.3.
set(posix
  record_maps record_pc record_registers record_stack # of the other file
  chdir close getpid memchr memcpy memset mkdir open poll raise read rmdir sigaction sigemptyset
  __errno_location          # errno
  gettid process_vm_readv   # plain system calls of Linux
  __stack_chk_fail _GLOBAL_OFFSET_TABLE_
  limit_mark_refused        # of os_limit.c: mmap and munmap, plain system calls everywhere
  # Called where handlers are installed, or by exit(), and not in a handler.
  getrlimit pthread_sigmask setrlimit sigaltstack)

# Windows: calls into the kernel, and functions that walk a stack by the tables of the images alone.
set(win32
  record_registers record_stack record_step # of the other file
  GetCurrentProcess GetCurrentThreadId GetLastError SetEvent Sleep TerminateProcess VirtualQuery NtQueryVirtualMemory
  RtlCaptureContext RtlRestoreContext RtlLookupFunctionEntry RtlVirtualUnwind
  GetThreadContext ResumeThread SuspendThread
  __ImageBase               # the address where the program or DLL begins
  limit_mark_refused        # of os_limit.c: VirtualAlloc and VirtualFree, calls into the kernel
  memcpy memset _errno __chkstk_ms ___chkstk_ms
  abort                     # never called, because TerminateProcess does not return
  # Called where handlers are installed, or by exit(), and not in a filter.
  AddVectoredExceptionHandler FlsAlloc FlsSetValue GetModuleHandleW GetProcAddress OpenThread SetThreadStackGuarantee
  SetUnhandledExceptionFilter _set_error_mode signal)

string(REPLACE "|" ";" objects "${OBJECTS}")
list(FILTER objects INCLUDE REGEX "/os_(crash|record)\\.c")
list(LENGTH objects count)
if(NOT count EQUAL 2)
  message(FATAL_ERROR "no object files of os_crash.c and os_record.c in ${OBJECTS}")
endif()
execute_process(COMMAND ${NM} -u ${objects} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "\n[^\n]*:\n" "\n" symbols "\n${symbols}") # names of files
string(REGEX REPLACE "[ \n]+U " ";" symbols "\n${symbols}")
string(STRIP "${symbols}" symbols)
set(unsafe "")
set(checked 0)
foreach(symbol IN LISTS symbols)
  string(REGEX REPLACE "@.*$|^__imp_|^xf__|[ \n]" "" symbol "${symbol}")
  if(symbol STREQUAL "")
    continue()
  endif()
  math(EXPR checked "${checked} + 1")
  if(NOT symbol IN_LIST ${SYSTEM})
    list(APPEND unsafe ${symbol})
  endif()
endforeach()
if(unsafe)
  message(FATAL_ERROR "not known to be safe in a crashed process: ${unsafe}")
endif()
if(checked LESS 5)
  message(FATAL_ERROR "only ${checked} symbols were found: ${symbols}")
endif()
message(STATUS "${checked} symbols, all safe")
