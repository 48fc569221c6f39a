# What an installation holds: the library, its headers, and how CMake and pkg-config find them.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(XF_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/crossfork)
get_target_property(XF_KIND crossfork TYPE)

target_include_directories(crossfork INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS crossfork EXPORT crossforkTargets)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# ---- Man pages --------------------------------------------------------------------------------------------------

# A page for each function and type; pages of constants say what the header says, and are left out.
if(XF_MAN)
  find_program(DOXYGEN doxygen REQUIRED)
  file(GLOB_RECURSE XF_HEADERS CONFIGURE_DEPENDS include/*.h)
  set(XF_REFERENCE ${PROJECT_BINARY_DIR}/reference)
  add_custom_command(OUTPUT ${XF_REFERENCE}/man/man3/xf_main.3
      COMMAND ci/reference ${XF_REFERENCE} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
      DEPENDS ${XF_HEADERS} docs/Doxyfile docs/reference.awk ci/reference COMMENT "Making man pages")
  add_custom_target(man ALL DEPENDS ${XF_REFERENCE}/man/man3/xf_main.3)
  install(DIRECTORY ${XF_REFERENCE}/man/man3/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 FILES_MATCHING PATTERN xf_*.3)
endif()

# ---- What a static library is linked to -------------------------------------------------------------------------

# Libbacktrace is the compiler's own, in a directory that changes with its version, or was built for this.  So it is installed,
# too; the other libraries are for the user to have.
set(XF_BACKTRACE "")
if(XF_KIND STREQUAL STATIC_LIBRARY AND Libbacktrace_FOUND AND Libbacktrace_LIBRARY MATCHES "[.]a$")
  set(XF_BACKTRACE ${CMAKE_INSTALL_LIBDIR}/crossfork/libbacktrace.a)
  install(FILES ${Libbacktrace_LIBRARY} DESTINATION ${CMAKE_INSTALL_LIBDIR}/crossfork RENAME libbacktrace.a)
endif()

# ---- find_package(crossfork) ------------------------------------------------------------------------------------

install(EXPORT crossforkTargets NAMESPACE crossfork:: DESTINATION ${XF_CONFIG_DIR})
configure_package_config_file(cmake/crossforkConfig.cmake.in crossforkConfig.cmake INSTALL_DESTINATION ${XF_CONFIG_DIR})
write_basic_package_version_file(crossforkConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/crossforkConfig.cmake ${PROJECT_BINARY_DIR}/crossforkConfigVersion.cmake
    cmake/FindLibbacktrace.cmake DESTINATION ${XF_CONFIG_DIR})

# ---- pkg-config crossfork ---------------------------------------------------------------------------------------

# Only one kind of the library is installed.  What a static one needs is therefore said to everybody, and not only to
# those who ask with --static; a shared one needs nothing when a program is linked.
set(XF_PC_NAME crossfork)
set(XF_PC_REQUIRES "")
set(XF_PC_LIBS "")
set(XF_PC_FLAGS "")
if(XF_KIND STREQUAL SHARED_LIBRARY)
  string(APPEND XF_PC_FLAGS " -DXF_SHARED")
else()
  set(XF_PC_REQUIRES "libuv >= 1.42")
  if(NETTLE_FOUND)
    string(APPEND XF_PC_REQUIRES ", nettle")
  endif()
  if(XF_BACKTRACE)
    string(APPEND XF_PC_LIBS " \${libdir}/crossfork/libbacktrace.a")
  elseif(Libbacktrace_FOUND)
    string(APPEND XF_PC_LIBS " -lbacktrace")
  endif()
  if(WIN32)
    string(APPEND XF_PC_LIBS " -lbcrypt -lntdll")
  endif()
endif()
if(WIN32)
  string(APPEND XF_PC_FLAGS " -D__USE_MINGW_ANSI_STDIO=1")
else()
  string(APPEND XF_PC_LIBS " -Wl,-z,now -Wl,--build-id")
  if(NOT XF_ON_EXIT)
    string(APPEND XF_PC_LIBS " -Wl,--wrap=exit,--undefined=__wrap_exit")
  endif()
endif()

# The installed tree may be moved: paths are relative to the file.
file(RELATIVE_PATH XF_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" XF_PC_PREFIX "${XF_PC_PREFIX}")
configure_file(cmake/crossfork.pc.in crossfork.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/crossfork.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# For programs that are linked -static: where libuv is shared and static, as in Debian, each has a file of its own.
if(XF_KIND STREQUAL STATIC_LIBRARY AND NOT WIN32)
  set(XF_PC_NAME crossfork-static)
  string(REPLACE "libuv >=" "libuv-static >=" XF_PC_REQUIRES "${XF_PC_REQUIRES}")
  configure_file(cmake/crossfork.pc.in crossfork-static.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/crossfork-static.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
