# Options for the build of llama.cpp. CMake includes this file at llama.cpp's project() call.

# llama-cpp-python forces LLAMA_BUILD_COMMON into the cache, but its Python package does not use llama.cpp's `common`. A
# normal variable hides the cached one. This cuts the build to a third of the time.
set(LLAMA_BUILD_COMMON OFF)

# Every library goes where the Python package looks for it, and finds the others there. The headers are for a test.
set(CMAKE_INSTALL_INCLUDEDIR llama_cpp/include)
set(CMAKE_INSTALL_LIBDIR llama_cpp/lib)
set(CMAKE_INSTALL_BINDIR llama_cpp/lib)
set(CMAKE_INSTALL_RPATH "$ORIGIN")
install(FILES LICENSE DESTINATION ${SKBUILD_METADATA_DIR}/licenses/llama.cpp)

# No AMX. GCC before 14 tells its optimizer that _tile_loadconfig reads only 8 of its 64 bytes, so the rest of ggml's
# tile configuration is never stored, and the first product of an odd shape crashes with a general protection fault. AMX
# also rounds differently from the kernels for a single row, which --exact rules out.
set(no_amx)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  include(CheckCXXCompilerFlag)
  foreach(feature IN ITEMS amx-tile amx-int8 amx-bf16)
    check_cxx_compiler_flag("-mno-${feature}" "CGCLI_NO_${feature}")
    if(CGCLI_NO_${feature})
      list(APPEND no_amx "-mno-${feature}")
    endif()
  endforeach()
  add_compile_options(${no_amx})
endif()

# What can only be changed once llama.cpp has added its targets.
function(cgcli_adjust_targets)
  # A wheel has no symbolic links: a library with a version would lie in it three times.
  foreach(target IN ITEMS llama ggml ggml-base LISTS GGML_AVAILABLE_BACKENDS)
    set_property(TARGET ${target} PROPERTY VERSION)
    set_property(TARGET ${target} PROPERTY SOVERSION)
  endforeach()
  # The variant that ggml compiles with AMX. "SHELL:" keeps CMake from dropping these options as repetitions.
  if(TARGET ggml-cpu-sapphirerapids)
    list(JOIN no_amx " " options)
    target_compile_options(ggml-cpu-sapphirerapids PRIVATE "SHELL:${options}")
  endif()
endfunction()
cmake_language(DEFER CALL cgcli_adjust_targets)

# The portable build has the CPU's part of ggml once for each generation of processors. A program without a back end makes
# llama.cpp load one, and it then runs every libggml-cpu-*.so of the current directory: so the package loads one first.
if(GGML_BACKEND_DL)
  install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/libgomp DESTINATION ${SKBUILD_METADATA_DIR}/licenses)
  set(package ${CMAKE_SOURCE_DIR}/llama_cpp/__init__.py)
  set(addition [=[

from ._ggml import libggml as _ggml, libggml_base_path as _folder

if not _ggml.ggml_backend_reg_count():
    _ggml.ggml_backend_load_all_from_path(str(_folder).encode())
]=])
  file(READ ${package} source)
  string(FIND "${source}" "${addition}" found)
  if(found EQUAL -1)
    file(APPEND ${package} "${addition}")
  endif()
endif()
