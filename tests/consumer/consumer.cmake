# Builds and runs hello.c as a user of the library does, in one of the ways below.
#
# Usage: cmake -D WAY=... -D SOURCE=... -D BUILD=... -D OUT=... -D OPTIONS=... (see CMakeLists.txt) -P consumer.cmake
cmake_minimum_required(VERSION 3.25)

string(REPLACE "|" ";" options "${OPTIONS}") # the options of this project, for the consumer's project
set(installed ${OUT}/installed)
set(libraries ${installed}/${LIBDIR})
set(moved ${OUT}/moved-${WAY}) # a copy of it
set(work ${OUT}/${WAY})

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# Configures, builds and runs the project of that way.
function(build_project)
  file(REMOVE_RECURSE ${work})
  run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/${WAY} -B ${work} ${options} ${ARGV})
  run(${CMAKE_COMMAND} --build ${work} --parallel 2)
  run(${CMAKE_CTEST_COMMAND} --test-dir ${work} --output-on-failure --no-tests=error)
endfunction()

# Programs without a path to a shared library find it by these.
set(ENV{LD_LIBRARY_PATH} ${libraries})
set(ENV{WINEPATH} ${installed}/bin)

# Installs into a fresh directory.  No installed file may name the directory that it was built in.
function(install_way)
  file(REMOVE_RECURSE ${installed})
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${installed})
  file(GLOB_RECURSE texts ${installed}/*.cmake ${installed}/*.pc ${installed}/*.h)
  if(MAN AND NOT EXISTS ${installed}/share/man/man3/xf_pool_map.3)
    message(FATAL_ERROR "no man page was installed")
  endif()
  list(LENGTH texts count)
  if(count LESS 15)
    message(FATAL_ERROR "only ${count} files of text were installed")
  endif()
  foreach(text IN LISTS texts)
    file(READ ${text} content)
    string(FIND "${content}" "${BUILD}" built)
    string(FIND "${content}" "${SOURCE}/src" sources)
    if(NOT built EQUAL -1 OR NOT sources EQUAL -1)
      message(FATAL_ERROR "${text} names the tree that it was built in")
    endif()
    if(text MATCHES "[.](pc|cmake)$" AND content MATCHES "[ =\"]/[a-z][^ \"]*[.]a[\" \n]")
      message(FATAL_ERROR "${text} names a library by where it is on this machine")
    endif()
  endforeach()
endfunction()

# Makes a copy of the installed tree, which is to be used in its place.
function(move_installed)
  file(REMOVE_RECURSE ${moved})
  file(COPY ${installed}/ DESTINATION ${moved})
  set(ENV{LD_LIBRARY_PATH} ${moved}/${LIBDIR})
  set(ENV{WINEPATH} ${moved}/bin)
endfunction()

function(find_package_way)
  move_installed()
  build_project(-DCMAKE_PREFIX_PATH=${moved})
  build_project(-Dcrossfork_ROOT=${moved})
endfunction()

# Uses a compiler and pkg-config, and nothing else.
#   module  What pkg-config is asked for; further arguments are options of both.
function(build_by_pkg_config module)
  file(MAKE_DIRECTORY ${work})
  if(PKG_CONFIG_LIBDIR)
    set(ENV{PKG_CONFIG_LIBDIR} ${PKG_CONFIG_LIBDIR})
  endif()
  set(ENV{PKG_CONFIG_PATH} ${moved}/${LIBDIR}/pkgconfig)
  execute_process(COMMAND ${PKG_CONFIG} --cflags --libs ${module}
      OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${CC} ${ARGN} -std=c11 -Wall -Wextra -Wpedantic -Werror "-DVERSION=\"${VERSION}\"" ${CMAKE_CURRENT_LIST_DIR}/hello.c
      -o ${work}/hello${SUFFIX} ${flags})
  run(${EMULATOR} ${work}/hello${SUFFIX})
endfunction()

function(pkg_config_way)
  move_installed()
  build_by_pkg_config(crossfork)
endfunction()

# A program that needs no shared library.
function(static_way)
  move_installed()
  build_by_pkg_config(crossfork-static -static)
  set(WAY find_package)
  build_project(-DCMAKE_PREFIX_PATH=${moved} -Dcrossfork_STATIC=ON -DCMAKE_EXE_LINKER_FLAGS=-static)
endfunction()

function(subdirectory_way)
  build_project(-DCROSSFORK_SOURCE=${SOURCE} -DCROSSFORK_VERSION=${VERSION})
endfunction()

function(fetch_way)
  set(archive ${OUT}/crossfork.tar.gz)
  execute_process(COMMAND ${CMAKE_COMMAND} -E tar cz ${archive} CMakeLists.txt LICENSE README.md CHANGELOG.md cmake include src
      WORKING_DIRECTORY ${SOURCE} COMMAND_ERROR_IS_FATAL ANY)
  build_project(-DCROSSFORK_URL=file://${archive} -DCROSSFORK_VERSION=${VERSION})
endfunction()

# Fails unless each of the names that follow is in a listing, below any directory.
function(expect_files what listing)
  foreach(name IN LISTS ARGN)
    if(NOT listing MATCHES "[/ ]${name}\n")
      message(FATAL_ERROR "${what} holds no ${name}:\n${listing}")
    endif()
  endforeach()
endfunction()

# Each package that cpack makes has the files that programs need, and Debian's package names its dependencies.
function(package_way)
  file(REMOVE_RECURSE ${work})
  include(${BUILD}/CPackConfig.cmake)
  set(names include/crossfork.h include/crossfork/pool.h ${LIBDIR}/cmake/crossfork/crossforkConfig.cmake
      ${LIBDIR}/pkgconfig/crossfork.pc ${LIBRARY} doc/crossfork/LICENSE)
  if(MAN)
    list(APPEND names man3/xf_pool_map.3)
  endif()
  run(${CPACK} --config ${BUILD}/CPackConfig.cmake -B ${work})
  file(GLOB archives ${work}/*.tar.gz ${work}/*.zip ${work}/*.deb)
  list(LENGTH archives found)
  list(LENGTH CPACK_GENERATOR wanted)
  if(NOT found EQUAL wanted)
    message(FATAL_ERROR "${CPACK_GENERATOR} were to be made, and these were: ${archives}")
  endif()
  foreach(archive IN LISTS archives)
    if(archive MATCHES "[.]deb$")
      execute_process(COMMAND dpkg-deb --fsys-tarfile ${archive} OUTPUT_FILE ${work}/deb.tar COMMAND_ERROR_IS_FATAL ANY)
      execute_process(COMMAND dpkg-deb --field ${archive} Depends OUTPUT_VARIABLE depends COMMAND_ERROR_IS_FATAL ANY)
      if(NOT depends MATCHES "libuv1(-dev)? [(]>= 1[.]")
        message(FATAL_ERROR "${archive} depends on no libuv: ${depends}")
      endif()
      execute_process(COMMAND ${CMAKE_COMMAND} -E tar tf ${work}/deb.tar OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
    else()
      execute_process(COMMAND ${CMAKE_COMMAND} -E tar tf ${archive} OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
    endif()
    expect_files(${archive} "${listing}" ${names})
  endforeach()
endfunction()

cmake_language(CALL ${WAY}_way)
