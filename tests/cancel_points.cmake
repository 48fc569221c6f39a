# Goal: no function that a program calls comes to a cancellation point of the system before it holds cancellation off.
#
# Usage: cmake -D OBJDUMP=... -D LIBRARY=... -P cancel_points.cmake
# Follows the calls, and the addresses that are taken, from each function of the library that a program can call, as far as
# functions with OS_HOLD_CANCEL (src/os/cancel.h).

cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND ${OBJDUMP} -dr --no-show-raw-insn ${LIBRARY}
    COMMAND awk -f ${CMAKE_CURRENT_LIST_DIR}/cancel_points.awk RESULTS_VARIABLE statuses OUTPUT_VARIABLE found)
if(NOT statuses STREQUAL "0;0")
  message(FATAL_ERROR "cancellation points that are not held off, and how they are come to:\n${found}")
endif()
message(STATUS "${found}")
