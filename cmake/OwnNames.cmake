# A static library holds functions that its files share, and a program's own may have the same names: the linker would
# take the program's for both, or refuse.  So all names but the public ones get a prefix, after the library was made.
#
# Usage: cmake -D NM=... -D OBJCOPY=... -D LIBRARY=... -P OwnNames.cmake
cmake_minimum_required(VERSION 3.25)

set(public "^(xf_|__wrap_|__gnu_lto)") # the second is what the linker leads calls to; the last is no name at all
execute_process(COMMAND ${NM} -g --defined-only -P ${LIBRARY} OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\n[^ \n]+ [A-Z]" lines "\n${listing}")
list(TRANSFORM lines REPLACE "\n([^ ]+) [A-Z]" "\\1" OUTPUT_VARIABLE names)
list(REMOVE_DUPLICATES names)
list(FILTER names EXCLUDE REGEX "${public}")

foreach(name IN LISTS names)
  if(name MATCHES "^[.]refptr[.](.+)$") # of Windows: where the address of that name is kept
    if(CMAKE_MATCH_1 IN_LIST names)
      string(APPEND map "${name} .refptr.xf__${CMAKE_MATCH_1}\n")
    endif()
  else()
    string(APPEND map "${name} xf__${name}\n")
  endif()
endforeach()
if(map)
  file(WRITE ${LIBRARY}.names "${map}")
  execute_process(COMMAND ${OBJCOPY} --redefine-syms=${LIBRARY}.names ${LIBRARY} COMMAND_ERROR_IS_FATAL ANY)
endif()
