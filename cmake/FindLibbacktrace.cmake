# Finds libbacktrace: installed by itself, or among gcc's own libraries, which other compilers can use as well.
# Sets Libbacktrace_FOUND, and makes the target Libbacktrace::Libbacktrace.
find_path(Libbacktrace_INCLUDE_DIR backtrace.h)
find_library(Libbacktrace_LIBRARY backtrace)

if(CMAKE_C_COMPILER_ID STREQUAL GNU)
  set(Libbacktrace_GCC "${CMAKE_C_COMPILER}")
elseif(NOT CMAKE_CROSSCOMPILING)
  find_program(Libbacktrace_GCC gcc)
endif()
if(Libbacktrace_GCC AND NOT Libbacktrace_LIBRARY)
  foreach(file include libbacktrace.a) # gcc prints the name as it was given when it has no such file
    execute_process(COMMAND "${Libbacktrace_GCC}" -print-file-name=${file}
        OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(EXISTS "${path}/backtrace.h")
      set_property(CACHE Libbacktrace_INCLUDE_DIR PROPERTY VALUE "${path}")
    elseif(IS_ABSOLUTE "${path}" AND EXISTS "${path}" AND NOT IS_DIRECTORY "${path}")
      set_property(CACHE Libbacktrace_LIBRARY PROPERTY VALUE "${path}")
    endif()
  endforeach()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libbacktrace REQUIRED_VARS Libbacktrace_LIBRARY Libbacktrace_INCLUDE_DIR)
mark_as_advanced(Libbacktrace_INCLUDE_DIR Libbacktrace_LIBRARY)

if(Libbacktrace_FOUND AND NOT TARGET Libbacktrace::Libbacktrace)
  # gcc's directory also holds its own standard headers, which are no good to other compilers.
  set(Libbacktrace_HEADERS "${CMAKE_CURRENT_BINARY_DIR}/libbacktrace")
  file(COPY "${Libbacktrace_INCLUDE_DIR}/backtrace.h" DESTINATION "${Libbacktrace_HEADERS}")
  add_library(Libbacktrace::Libbacktrace UNKNOWN IMPORTED)
  set_target_properties(Libbacktrace::Libbacktrace PROPERTIES IMPORTED_LOCATION "${Libbacktrace_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${Libbacktrace_HEADERS}")
endif()
