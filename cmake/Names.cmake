# Writes a header of defines by which the functions and variables that files of the library share get the prefix xf__, so that
# a static library has no name that a program's own may meet:
#
#     #define ring_push xf__ring_push
#
# The compiler reads it before each file (-include).  The names are those that the headers of src/ declare in the first
# column, which is where clang-format puts declarations; the test `exports` fails when a name was missed.
#
# Usage: cmake -D SOURCE=src -D OUTPUT=names.h -P Names.cmake
cmake_minimum_required(VERSION 3.25)

file(GLOB_RECURSE headers ${SOURCE}/*.h)
set(names "")
foreach(header IN LISTS headers)
  file(READ ${header} text)
  string(REGEX REPLACE "[][;]" "@" text "${text}") # which have a meaning in lists
  string(REGEX MATCHALL "\n[A-Za-z_][A-Za-z0-9_ *]*[ *][a-z_][a-z0-9_]*[(@]" lines "${text}")
  list(FILTER lines EXCLUDE REGEX "^\n(static|typedef) |^\n(struct|enum|union) [a-z_]+@")
  list(TRANSFORM lines REPLACE "^.*[ *]([a-z_0-9]+).$" "\\1")
  list(APPEND names ${lines})
endforeach()
list(REMOVE_DUPLICATES names)
list(FILTER names EXCLUDE REGEX "^(xf_|__)") # what is public, and names that the linker gives a meaning
list(SORT names)
list(TRANSFORM names REPLACE "^(.+)$" "#define \\1 xf__\\1\n")
list(JOIN names "" text)
file(WRITE ${OUTPUT}.new "/* Made by Names.cmake. */\n${text}")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
file(REMOVE ${OUTPUT}.new)
