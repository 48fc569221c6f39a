# Goal: docs/troubleshooting.md quotes texts that crossfork has.
#
# Usage: cmake -D ROOT=... -P troubleshooting.cmake
# In each row that begins with a text between backticks, what is around "..." must be in src/ or include/ as it stands.

cmake_minimum_required(VERSION 3.25)
file(GLOB_RECURSE sources ${ROOT}/src/*.c ${ROOT}/include/*.h)
set(all "")
foreach(source IN LISTS sources)
  file(READ ${source} text)
  string(REPLACE ";" "," text "${text}")
  string(REGEX REPLACE "\"[ \n]+\"" "" text "${text}") # strings that are continued on the next line
  string(APPEND all "${text}")
endforeach()

file(STRINGS ${ROOT}/docs/troubleshooting.md rows REGEX "^\\| `")
set(checked 0)
foreach(row IN LISTS rows)
  string(REGEX REPLACE "^\\| `([^`]+)`.*$" "\\1" quoted "${row}")
  if(quoted MATCHES "^find_package")
    continue()
  endif()
  string(REPLACE "..." ";" parts "${quoted}")
  foreach(part IN LISTS parts)
    string(STRIP "${part}" part)
    string(FIND "${all}" "${part}" at)
    if(at LESS 0)
      message(SEND_ERROR "no source has \"${part}\"")
    endif()
    math(EXPR checked "${checked} + 1")
  endforeach()
endforeach()
if(checked LESS 30)
  message(FATAL_ERROR "only ${checked} texts were found")
endif()
message(STATUS "${checked} texts, all there")
