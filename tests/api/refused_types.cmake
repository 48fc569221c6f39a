# Goal: XF_TASK refuses types that cannot be aligned in a child or, in C++, cannot be copied as bytes.
#
# Usage: cmake -D CC=... -D CXX=... -D INCLUDE=... -P refused_types.cmake; CXX may be empty.

cmake_minimum_required(VERSION 3.25)

# expect(REASON OPTION...): REASON is a part of the compiler's message, or empty where it compiles.
function(expect reason)
  execute_process(COMMAND ${ARGN} -fsyntax-only -I${INCLUDE} ${CMAKE_CURRENT_LIST_DIR}/refused_types.c
      RESULT_VARIABLE code ERROR_VARIABLE said OUTPUT_QUIET)
  if(reason AND (code EQUAL 0 OR NOT said MATCHES "${reason}"))
    message(FATAL_ERROR "${ARGN}: compiles, or for another reason than \"${reason}\": ${said}")
  elseif(NOT reason AND NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${said}")
  endif()
endfunction()

set(compilers "${CC} -std=c11")
if(CXX)
  list(APPEND compilers "${CXX} -x c++ -std=c++11")
endif()
foreach(compiler IN LISTS compilers)
  separate_arguments(compiler)
  foreach(place IN ITEMS INPUT OUTPUT)
    expect("" ${compiler} -DXF_TEST_${place} -DXF_TEST_ALIGN=64)
    expect("aligned to more than" ${compiler} -DXF_TEST_${place} -DXF_TEST_ALIGN=128)
  endforeach()
endforeach()
if(CXX)
  foreach(place IN ITEMS INPUT OUTPUT)
    expect("not trivially copyable" ${CXX} -x c++ -std=c++11 -DXF_TEST_${place} -DXF_TEST_ALIGN=8 -DXF_TEST_NOT_TRIVIAL)
  endforeach()
endif()
