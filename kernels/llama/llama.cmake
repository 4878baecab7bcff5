# Options for the build of llama.cpp. CMake includes this file at llama.cpp's project() call.

# llama-cpp-python forces LLAMA_BUILD_COMMON into the cache, but its Python package does not use llama.cpp's `common`. A
# normal variable hides the cached one. This cuts the build to a third of the time.
set(LLAMA_BUILD_COMMON OFF)

# No AMX. GCC before 14 tells its optimizer that _tile_loadconfig reads only 8 of its 64 bytes, so the rest of ggml's
# tile configuration is never stored, and the first product of an odd shape crashes with a general protection fault. AMX
# also rounds differently from the kernels for a single row, which --exact rules out.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  include(CheckCXXCompilerFlag)
  foreach(feature IN ITEMS amx-tile amx-int8 amx-bf16)
    check_cxx_compiler_flag("-mno-${feature}" "CGCLI_NO_${feature}")
    if(CGCLI_NO_${feature})
      add_compile_options("-mno-${feature}")
    endif()
  endforeach()
endif()
