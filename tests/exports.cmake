# Goal: a library's names are what the public headers declare, all of it, and nothing else but BESIDES; in a static one,
# what begins with xf__ and can meet no name of a program's.
#
# Usage: cmake -D LISTER="nm;-D;--defined-only" -D LIBRARY=... -D CC=... -D INCLUDE=... -D BESIDES=... -P exports.cmake
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${LISTER} ${LIBRARY} OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
# nm: "0000000000012345 T xf_main", of Windows also ".refptr.xf_main", where an address is; objdump, in one of its tables: "[  12] xf_main".
string(FIND "${listing}" "[Ordinal/Name Pointer] Table" table)
if(NOT table EQUAL -1)
  string(SUBSTRING "${listing}" ${table} -1 listing)
  string(FIND "${listing}" "\n\n" end)
  string(SUBSTRING "${listing}" 0 ${end} listing)
endif()
string(REGEX MATCHALL "( [A-Z] |\\[ *[0-9]+\\] )[^ \n]+\n" lines "${listing}\n")
list(TRANSFORM lines STRIP)
list(TRANSFORM lines REPLACE "^.* " "" OUTPUT_VARIABLE exported)
list(FILTER exported EXCLUDE REGEX "^(xf__|[.]refptr[.](xf_|__)|_+(odr_)?asan_)") # the last are a sanitizer's
list(REMOVE_DUPLICATES exported)
list(SORT exported)

# As the compiler sees them, because macros declare some.
execute_process(COMMAND ${CC} -E -DXF_SHARED -I${INCLUDE} ${INCLUDE}/crossfork.h OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "(visibility\\(\"default\"\\)|dllimport)\\)\\) [^;(]*[ *]xf_[a-z0-9_]+\\(" declared "${text}")
list(TRANSFORM declared REPLACE "^.*[ *](xf_[a-z0-9_]+)\\($" "\\1")
list(SORT declared)

list(LENGTH declared count)
if(count LESS 100)
  message(FATAL_ERROR "only ${count} functions are found in the headers")
endif()
set(missing ${declared})
list(REMOVE_ITEM missing ${exported})
list(REMOVE_ITEM exported ${declared} ${BESIDES})
if(missing OR exported)
  message(FATAL_ERROR "declared and not exported: ${missing}\nexported and not declared: ${exported}")
endif()
message(STATUS "${count} functions, and nothing else")
