# UNTESTED: this recipe has never been run.  For Conan 2: conan create packaging/conan
from os.path import dirname, join

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy
from conan.tools.gnu import PkgConfigDeps


class CrossforkRecipe(ConanFile):
    name = "crossfork"
    version = "0.2.0"
    description = "Multiprocessing for C, the same on Windows and on POSIX"
    license = "MIT"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False]}
    default_options = {"shared": False, "fPIC": True}
    requires = "libuv/[>=1.42 <2]"
    tool_requires = "pkgconf/[>=2]", "cmake/[>=3.25]"

    def configure(self):
        self.settings.rm_safe("compiler.cppstd")
        self.settings.rm_safe("compiler.libcxx")

    def export_sources(self):
        root = dirname(dirname(self.recipe_folder))
        for pattern in "CMakeLists.txt", "LICENSE", "README.md", "CHANGELOG.md", "cmake/*", "include/*", "src/*":
            copy(self, pattern, root, self.export_sources_folder)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        CMakeDeps(self).generate()
        PkgConfigDeps(self).generate()
        toolchain = CMakeToolchain(self)
        for part in "XF_BUILD_TESTS", "XF_BUILD_EXAMPLES", "XF_BUILD_BENCH", "XF_SYMBOLS", "XF_UNWIND":
            toolchain.cache_variables[part] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.set_property("cmake_target_name", "crossfork::crossfork")
        self.cpp_info.set_property("pkg_config_name", "crossfork")
        self.cpp_info.libs = ["crossfork"]
        if self.options.shared:
            self.cpp_info.defines.append("XF_SHARED")
        if self.settings.os == "Windows":
            self.cpp_info.defines.append("__USE_MINGW_ANSI_STDIO=1")
            self.cpp_info.system_libs = ["bcrypt", "ntdll"]
        else:
            options = ["-Wl,-z,now", "-Wl,--build-id"] # with musl, what docs/platforms/porting.md says of exit besides
            self.cpp_info.exelinkflags = options
            self.cpp_info.sharedlinkflags = options
