# Functions that build test programs and register them.

if(WIN32)
  include(CheckSymbolExists)
  check_symbol_exists(_UCRT stdio.h XF_UCRT) # which C library
  set(XF_TEST_METHODS spawn)
else()
  set(XF_TEST_METHODS fork spawn server)
endif()
set(XF_TEST_SUPPORT ${CMAKE_CURRENT_LIST_DIR}/support)

# gcc's thread sanitizer takes for a race what a libuv does that was not built with it.
if(CMAKE_C_FLAGS MATCHES "fsanitize=thread")
  list(GET UV_LINK_LIBRARIES 0 libuv)
  file(STRINGS "${libuv}" instrumented REGEX "__tsan_init" LIMIT_COUNT 1)
  if(NOT instrumented)
    message(FATAL_ERROR "${libuv} was built without the thread sanitizer: run ci/tsan-libuv, and configure with --fresh")
  endif()
endif()

# ---- Programs ---------------------------------------------------------------------------------------------------

# xf_test_program(NAME [SOURCE ...]) builds NAME from NAME.c and the sources, with the library's own headers at hand.
function(xf_test_program name)
  add_executable(${name} ${name}.c ${ARGN})
  target_link_libraries(${name} PRIVATE test_support xf_inside crossfork)
endfunction()

# xf_test_plain(NAME [SOURCE ...]) builds a program that starts no child, and registers it once.
function(xf_test_plain name)
  xf_test_program(${name} ${ARGN})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS plain)
endfunction()

# xf_test_method(NAME METHOD) registers a program for one start method.
function(xf_test_method name method)
  add_test(NAME ${name}.${method} COMMAND ${name})
  set_tests_properties(${name}.${method} PROPERTIES LABELS ${method} ENVIRONMENT "XF_START=${method}")
endfunction()

# xf_test_methods(NAME) registers a program for each start method.
function(xf_test_methods name)
  foreach(method IN LISTS XF_TEST_METHODS)
    xf_test_method(${name} ${method})
  endforeach()
endfunction()

# xf_test(NAME [SOURCE ...]) builds a program and registers it for each start method.
function(xf_test name)
  xf_test_program(${name} ${ARGN})
  xf_test_methods(${name})
endfunction()

# ---- Calls that fail on demand (support/faults.h) ---------------------------------------------------------------

# The names of all wrappers, as their sources have them.
set(XF_FAULTS ${XF_TEST_SUPPORT}/faults.c ${XF_TEST_SUPPORT}/${XF_SYSTEM}/faults.c)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${XF_FAULTS})
foreach(file IN LISTS XF_FAULTS)
  file(READ ${file} text)
  string(REGEX MATCHALL "(X\\(|__wrap_|WRAP\\()[A-Za-z0-9_]+[,()]" wrappers "${text}")
  list(TRANSFORM wrappers REPLACE "^(X\\(|__wrap_|WRAP\\()(.*).$" "\\2")
  list(TRANSFORM wrappers REPLACE "^(channel|os|server)_.*$" "xf__\\0") # the library's own
  list(TRANSFORM wrappers PREPEND "-Wl,--wrap=")
  list(APPEND XF_WRAP_OPTIONS ${wrappers})
endforeach()
list(REMOVE_DUPLICATES XF_WRAP_OPTIONS)

# xf_test_faults(NAME) lets a program make calls fail.
function(xf_test_faults name)
  target_sources(${name} PRIVATE ${XF_FAULTS})
  target_link_options(${name} PRIVATE ${XF_WRAP_OPTIONS})
endfunction()
