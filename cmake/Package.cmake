# Packages of an installation, by cpack: archives, and on Debian a package.
set(CPACK_PACKAGE_NAME crossfork)
set(CPACK_PACKAGE_VENDOR crossfork)
set(CPACK_PACKAGE_CONTACT crossfork CACHE STRING "Who makes the packages, with an address")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_GENERATOR TGZ ZIP)

# One package for those who build programs and, with a shared library, for the programs too.
find_program(XF_DPKG dpkg)
find_program(XF_DPKG_SHLIBDEPS dpkg-shlibdeps) # of dpkg-dev
if(XF_DPKG AND NOT CMAKE_CROSSCOMPILING AND (XF_DPKG_SHLIBDEPS OR NOT XF_KIND STREQUAL SHARED_LIBRARY))
  list(APPEND CPACK_GENERATOR DEB)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_NAME libcrossfork-dev)
  set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS libdw1) # is loaded when a stack is to be unwound
  if(XF_KIND STREQUAL SHARED_LIBRARY)
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
    set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
  else()
    set(CPACK_DEBIAN_PACKAGE_DEPENDS "libuv1-dev (>= 1.42), pkg-config")
    if(NETTLE_FOUND)
      string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", nettle-dev")
    endif()
  endif()
endif()
include(CPack)
