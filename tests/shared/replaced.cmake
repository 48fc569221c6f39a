# Runs replaced_test in a directory with a copy of the library, which the test replaces.
#
# Usage: cmake -D PROGRAM=... -D LIBRARY=... -D NEXT=... -D OUT=... [-D EMULATOR=...] -P replaced.cmake
cmake_minimum_required(VERSION 3.25)

get_filename_component(program ${PROGRAM} NAME)
get_filename_component(library ${LIBRARY} NAME)
file(REMOVE_RECURSE ${OUT})
file(COPY ${PROGRAM} ${LIBRARY} DESTINATION ${OUT} FOLLOW_SYMLINK_CHAIN)
configure_file(${NEXT} ${OUT}/next COPYONLY)
set(ENV{LD_LIBRARY_PATH} ${OUT})
set(ENV{XF_START} spawn)
execute_process(COMMAND ${EMULATOR} ${OUT}/${program} ${OUT}/${library} ${OUT}/next COMMAND_ERROR_IS_FATAL ANY)
