# Runs an example and compares its output with a file, which is a regular expression for all of it, in which % stands for
# anything up to the end of the line.
#   cmake -D EXPECTED=FILE [-D STATUS=N] [-D EMULATOR=LIST] [-D BEFORE=LIST] [-D FEEDS=LIST] [-D DIRECTORY=DIR] \
#         -P run.cmake -- PROGRAM ARGUMENT...
#   STATUS     the expected exit code; 0 by default
#   DIRECTORY  made anew, for the files that the example writes
#   BEFORE     a program with arguments that is run before
#   FEEDS      a program with arguments whose output is the example's input
# A LIST has | between its elements.
cmake_policy(VERSION 3.25)

foreach(name IN ITEMS EMULATOR BEFORE FEEDS)
  string(REPLACE "|" ";" ${name} "${${name}}")
endforeach()
if(NOT DEFINED STATUS)
  set(STATUS 0)
endif()

set(command)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE 1 ${last})
  if(found)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(found TRUE)
  endif()
endforeach()

if(DIRECTORY)
  file(REMOVE_RECURSE "${DIRECTORY}")
  file(MAKE_DIRECTORY "${DIRECTORY}")
endif()
if(BEFORE)
  execute_process(COMMAND ${EMULATOR} ${BEFORE} COMMAND_ERROR_IS_FATAL ANY)
endif()

if(FEEDS)
  execute_process(COMMAND ${EMULATOR} ${FEEDS} COMMAND ${EMULATOR} ${command}
      OUTPUT_VARIABLE output RESULTS_VARIABLE statuses)
  set(STATUS "0;${STATUS}")
else()
  execute_process(COMMAND ${EMULATOR} ${command} OUTPUT_VARIABLE output RESULTS_VARIABLE statuses)
endif()

file(READ "${EXPECTED}" expected)
string(REPLACE "%" "[^\n]*" expected "${expected}")
string(REPLACE "\r" "" output "${output}")
if(NOT statuses STREQUAL STATUS)
  message(FATAL_ERROR "exit code ${statuses} instead of ${STATUS}; printed:\n${output}")
endif()
if(NOT output MATCHES "^${expected}$")
  message(FATAL_ERROR "printed:\n${output}\ninstead of ${EXPECTED}:\n${expected}")
endif()
