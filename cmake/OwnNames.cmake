# A static library holds functions that its files share, and a program's own may have the same names: the linker would
# take the program's for both, or refuse.  So all names but the public ones get a prefix, after the library was made.
#
# Names stay as they are where objcopy cannot know all of them, or not this kind of file: that is told, and harmless
# until two meet.
#
# Usage: cmake -D NM=... -D OBJCOPY=... -D LIBRARY=... -P OwnNames.cmake
cmake_minimum_required(VERSION 3.25)

# Optimised at link time, names are in another form besides.
file(STRINGS ${LIBRARY} link_time REGEX "[.](gnu|llvm)[.]lto" LIMIT_COUNT 1)
execute_process(COMMAND ${NM} -g -P ${LIBRARY} OUTPUT_VARIABLE listing RESULT_VARIABLE failed ERROR_QUIET)
if(link_time OR failed OR listing MATCHES "__(asan|hwasan|msan|tsan)_") # sanitizers have tables that would not follow
  message(STATUS "The names inside of ${LIBRARY} stay as they are")
  return()
endif()

set(public "^_?(xf_|__wrap_)") # the second is what the linker leads calls to; a _ is 32-bit Windows' own
string(REGEX MATCHALL "\n[^ \n]+ [A-TV-Z]" lines "\n${listing}") # U is of others
list(TRANSFORM lines REPLACE "\n([^ ]+) [A-Z]" "\\1" OUTPUT_VARIABLE names)
list(REMOVE_DUPLICATES names)
list(FILTER names EXCLUDE REGEX "${public}")

set(map "")
foreach(name IN LISTS names)
  if(name MATCHES "^[.]refptr[.](.+)$") # of Windows: where the address of that name is kept
    if(CMAKE_MATCH_1 IN_LIST names)
      string(APPEND map "${name} .refptr.xf__${CMAKE_MATCH_1}\n")
    endif()
  else()
    string(APPEND map "${name} xf__${name}\n")
  endif()
endforeach()
file(WRITE ${LIBRARY}.map "${map}")
execute_process(COMMAND ${OBJCOPY} --redefine-syms=${LIBRARY}.map ${LIBRARY} ${LIBRARY}.renamed RESULT_VARIABLE failed)
if(failed)
  message(STATUS "The names inside of ${LIBRARY} stay as they are: objcopy cannot change them")
else()
  file(RENAME ${LIBRARY}.renamed ${LIBRARY})
endif()
file(REMOVE ${LIBRARY}.map ${LIBRARY}.renamed)
